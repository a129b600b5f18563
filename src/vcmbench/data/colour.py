"""RGB to Y'CbCr and back: the one place that names matrix, range and chroma siting.

ITU-R BT.601 matrix, limited range (luma 16..235, chroma 16..240), 8 bits, chroma sited as H.264, HEVC and VVC assume
for 4:2:0 (type 0, "left": on the even luma columns, midway between two luma rows). It is what FFmpeg does with an RGB
picture when nothing is asked for, hence what the published experiment coded. Coefficients: ITU-R BT.601-7, 2.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CONVERSION = {"matrix": "bt601", "range": "limited", "siting": "left"}

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

LUMA = _KR, _KG, _KB = 0.299, 0.587, 0.114
"""Luma of R'G'B', ITU-R BT.601."""
_LUMA = tuple(float(k * 219 / 255) for k in (_KR, _KG, _KB))
_CB = tuple(float(k * 224 / 255) for k in (-_KR / (1 - _KB) / 2, -_KG / (1 - _KB) / 2, 0.5))
_CR = tuple(float(k * 224 / 255) for k in (0.5, -_KG / (1 - _KR) / 2, -_KB / (1 - _KR) / 2))
_TO_RGB = np.linalg.inv(np.array([_LUMA, _CB, _CR]))


@dataclass(frozen=True)
class ChromaFormat:
    """How chroma is stored: name as in folder names, FFmpeg's pixel format, and luma pixels per chroma sample."""

    name: str
    pixel_format: str
    step_x: int
    step_y: int
    has_chroma: bool = True

    def plane_shapes(self, width: int, height: int) -> list[tuple[int, int]]:
        """(rows, columns) of each plane of a picture whose sides are multiples of the steps."""
        chroma = (height // self.step_y, width // self.step_x)
        return [(height, width), *([chroma, chroma] if self.has_chroma else [])]

    def frame_bytes(self, width: int, height: int) -> int:
        """Bytes of one 8-bit planar frame."""
        return sum(rows * columns for rows, columns in self.plane_shapes(width, height))


CHROMA_FORMATS = {
    "400": ChromaFormat("400", "gray", 1, 1, has_chroma=False),
    "420": ChromaFormat("420", "yuv420p", 2, 2),
    "422": ChromaFormat("422", "yuv422p", 2, 1),
    "444": ChromaFormat("444", "yuv444p", 1, 1),
}


# No matrix products below: numpy would hand them to a BLAS that keeps every core spinning, and the cores are coding.


def _to_u8(values: F32) -> U8:
    # `values` is always a fresh array here, so rounding and clipping may work in place.
    np.rint(values, out=values)
    np.clip(values, 0, 255, out=values)
    return values.astype(np.uint8)


def _mix(channels: tuple[NDArray[Any], ...], weights: Iterable[float], offset: float) -> F32:
    """The weighted sum of three planes, plus an offset."""
    result: F32 = np.full(channels[0].shape, offset, np.float32)
    for channel, weight in zip(channels, weights, strict=True):
        result += np.multiply(channel, np.float32(weight), dtype=np.float32)
    return result


def luma(rgb: U8) -> U8:
    """Y' of an (H, W, 3) uint8 R'G'B' picture: (H, W) uint8 in 16..235."""
    # Pillow's matrix conversion does it in one pass over the pixels: float32, rounded to nearest.
    return np.asarray(Image.fromarray(rgb).convert("L", (*_LUMA, 16.0)))


def rgb_to_planes(rgb: U8, chroma: ChromaFormat) -> list[U8]:
    """(H, W, 3) uint8 R'G'B' to planes [Y, Cb, Cr] (or [Y] for 4:0:0), uint8; sides must be multiples of the steps."""
    planes = [luma(rgb)]
    if chroma.has_chroma:
        # Filtering R'G'B' and then applying the matrix is the same as the other way round (both are linear), on
        # a quarter of the samples. The sums stay below 8 * 255: exact in 16 bits.
        if chroma.step_y == 2:
            sums = np.add(rgb[0::2], rgb[1::2], dtype=np.uint16)
        else:
            sums = rgb.astype(np.uint16)
        scale = chroma.step_y
        if chroma.step_x == 2:
            sums = _subsample_x(sums)
            scale *= 4
        channels = (sums[..., 0], sums[..., 1], sums[..., 2])
        planes += [_to_u8(_mix(channels, (weight / scale for weight in row), 128)) for row in (_CB, _CR)]
    return planes


def _subsample_x(sums: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Four times the even columns low-passed with [1 2 1] / 4, the edge repeated; (H, W, 3) to (H, W / 2, 3)."""
    # Sums of neighbours over whole rows first: contiguous, hence faster than picking columns and then adding.
    pairs = sums[:, :-1] + sums[:, 1:]
    filtered = pairs[:, :-1] + pairs[:, 1:]
    result = np.empty((sums.shape[0], sums.shape[1] // 2, 3), np.uint16)
    result[:, 0] = 3 * sums[:, 0] + sums[:, 1]
    result[:, 1:] = filtered[:, 1::2]
    return result


def _upsample_x(plane: F32) -> F32:
    """Linear interpolation between left-sited samples; (H, W / 2) to (H, W)."""
    result = np.repeat(plane, 2, axis=1)
    result[:, 1:-1:2] = (plane[:, :-1] + plane[:, 1:]) / 2
    return result


def _upsample_y(plane: F32) -> F32:
    """Linear interpolation between samples midway of two rows; (H / 2, W) to (H, W)."""
    above = np.vstack([plane[:1], plane[:-1]])
    below = np.vstack([plane[1:], plane[-1:]])
    result = np.empty((plane.shape[0] * 2, plane.shape[1]), np.float32)
    result[0::2] = plane * np.float32(0.75) + above * np.float32(0.25)
    result[1::2] = plane * np.float32(0.75) + below * np.float32(0.25)
    return result


def planes_to_rgb(planes: list[U8], chroma: ChromaFormat) -> U8:
    """Planes [Y, Cb, Cr] (or [Y]) uint8 to (H, W, 3) uint8 R'G'B'."""
    channels: list[NDArray[Any]] = [planes[0]]
    offsets = [-16.0, 0.0, 0.0]
    for index, plane in enumerate(planes[1:], start=1):
        full = plane.astype(np.float32)
        full = _upsample_y(full) if chroma.step_y == 2 else full
        channels.append(_upsample_x(full) if chroma.step_x == 2 else full)
        offsets[index] = -128.0
    used = len(channels)
    rgb = [_to_u8(_mix(tuple(channels), row[:used], float(row[:used] @ offsets[:used]))) for row in _TO_RGB]
    return np.stack(rgb, axis=-1)
