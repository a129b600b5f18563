"""RGB to Y'CbCr and back: the one place that names matrix, range and chroma siting.

ITU-R BT.601 matrix, limited range (luma 16..235, chroma 16..240), 8 bits, chroma sited as H.264, HEVC and VVC assume
for 4:2:0 (type 0, "left": on the even luma columns, midway between two luma rows). It is what FFmpeg does with an RGB
picture when nothing is asked for, hence what the published experiment coded. Coefficients: ITU-R BT.601-7, 2.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MATRIX, RANGE, SITING = "bt601", "limited", "left"

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

_KR, _KG, _KB = 0.299, 0.587, 0.114
_LUMA = np.array([_KR, _KG, _KB], np.float32) * np.float32(219 / 255)
_CHROMA = np.array(
    [
        [-_KR / (1 - _KB) / 2, -_KG / (1 - _KB) / 2, 0.5],
        [0.5, -_KG / (1 - _KR) / 2, -_KB / (1 - _KR) / 2],
    ],
    np.float32,
) * np.float32(224 / 255)
_TO_RGB = np.linalg.inv(np.vstack([_LUMA, _CHROMA]).astype(np.float64)).astype(np.float32)


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


def _to_u8(values: F32) -> U8:
    # `values` is always a fresh array here, so rounding and clipping may work in place.
    np.rint(values, out=values)
    np.clip(values, 0, 255, out=values)
    return values.astype(np.uint8)


def luma(rgb: U8) -> U8:
    """Y' of an (H, W, 3) uint8 R'G'B' picture: (H, W) uint8 in 16..235."""
    height, width, _ = rgb.shape
    y = rgb.reshape(-1, 3).astype(np.float32) @ _LUMA
    y += 16
    return _to_u8(y).reshape(height, width)


def _subsample_x(planes: F32) -> F32:
    """Keep the even columns, low-passed with [1 2 1] / 4 around them (left siting); (..., W) to (..., W / 2)."""
    even, odd = planes[..., 0::2], planes[..., 1::2]
    result = even * np.float32(0.5)
    result += odd * np.float32(0.25)
    result[..., 1:] += odd[..., :-1] * np.float32(0.25)
    result[..., :1] += even[..., :1] * np.float32(0.25)  # the column left of the picture repeats its edge
    return result


def rgb_to_planes(rgb: U8, chroma: ChromaFormat) -> list[U8]:
    """(H, W, 3) uint8 R'G'B' to planes [Y, Cb, Cr] (or [Y] for 4:0:0), uint8; sides must be multiples of the steps."""
    planes = [luma(rgb)]
    if chroma.has_chroma:
        # Filtering R'G'B' and then applying the matrix is the same as the other way round (both are linear), on
        # a quarter of the samples.
        small = rgb.astype(np.float32)
        if chroma.step_y == 2:
            small = (small[0::2] + small[1::2]) * np.float32(0.5)
        if chroma.step_x == 2:
            small = _subsample_x(small.transpose(0, 2, 1)).transpose(0, 2, 1)
        cbcr = small @ _CHROMA.T
        cbcr += 128
        values = _to_u8(cbcr)
        planes += [np.ascontiguousarray(values[..., 0]), np.ascontiguousarray(values[..., 1])]
    return planes


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
    height, width = planes[0].shape
    ycc = np.zeros((3, height, width), np.float32)
    ycc[0] = planes[0].astype(np.float32) - 16
    for index, plane in enumerate(planes[1:], start=1):
        full = plane.astype(np.float32) - 128
        full = _upsample_y(full) if chroma.step_y == 2 else full
        ycc[index] = _upsample_x(full) if chroma.step_x == 2 else full
    rgb = _TO_RGB @ ycc.reshape(3, -1)
    return np.ascontiguousarray(_to_u8(rgb).T).reshape(height, width, 3)
