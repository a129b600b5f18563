"""What is done to pixels before an encoder and after its decoder, and a fingerprint of it for jobs' keys."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress.job import Geometry
from vcmbench.data import colour, frames, resampling
from vcmbench.data.dataset import Source
from vcmbench.encoder.base import Clip, Encoder
from vcmbench.errors import JobError

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class PreparedPicture:
    """A picture ready to be coded: the bytes of its frame for the tool, and its luma at the original size."""

    frame: bytes
    luma: U8
    notes: tuple[str, ...] = ()


def prepare(
    source: Source, sha256: str, encoder: Encoder, geometry: Geometry, resampler: str = resampling.DEFAULT
) -> PreparedPicture:
    """Read, downscale, pad and convert one picture. Raises JobError where it is damaged or not the one of the plan."""
    picture = source.read()
    if picture.sha256 != sha256:
        raise JobError(f"{source.path}: changed since this run was planned; run it again")
    frame, luma = _frame_and_luma(picture.rgb, encoder.pixels, geometry, resampler)
    return PreparedPicture(frame, luma, picture.notes)


def _frame_and_luma(rgb: U8, pixels: str, geometry: Geometry, resampler: str) -> tuple[bytes, U8]:
    clip = geometry.clip
    scaled = resampling.down(resampler, rgb, geometry.scaled_width, geometry.scaled_height)
    if pixels == "rgb":
        return frames.ppm_bytes(scaled), colour.luma(rgb)
    planes = colour.rgb_to_planes(frames.pad(scaled, clip.width, clip.height), clip.chroma)
    is_full_size = scaled is rgb
    reference = planes[0][: geometry.height, : geometry.width] if is_full_size else colour.luma(rgb)
    return b"".join(plane.tobytes() for plane in planes), np.ascontiguousarray(reference)


def original_size(luma: U8, geometry: Geometry, resampler: str) -> U8:
    """A decoded luma plane of the coded size, without its padding and at the original size: (H, W) uint8."""
    return resampling.up(
        resampler, luma[: geometry.scaled_height, : geometry.scaled_width], geometry.width, geometry.height
    )


def decoded_pictures(
    file: Path, full: tuple[int, int], scaled: tuple[int, int], clip: Clip, pixels: str, resampler: str
) -> Iterator[U8]:
    """What a tool decoded, raw frames or a PPM, as pictures: (H, W, 3) uint8 R'G'B' of the original size `full`;
    `scaled` is that without the padding; both (width, height)."""
    if pixels == "rgb":
        yield resampling.up(resampler, frames.read_ppm(file, *scaled), *full)
        return
    with file.open("rb") as raw:
        for _ in range(clip.frames):
            planes = frames.read_planes(raw, clip.width, clip.height, clip.chroma)
            rgb = colour.planes_to_rgb(planes, clip.chroma)[: scaled[1], : scaled[0]]
            yield resampling.up(resampler, rgb, *full)


@cache
def preparation() -> tuple[str, str]:
    """What decides the pixels that tools are given, for jobs' keys: a hash of what becomes of small pictures on the way
    to a tool and back, by the default resampler, and Pillow's version. However the code is written, results hold as
    long as pixels stay the same."""
    rgb = (np.arange(13 * 19 * 3) ** 2 * 31 % 251).astype(np.uint8).reshape(13, 19, 3)
    total = hashlib.sha256()
    for chroma, pixels in itertools.product(colour.CHROMA_FORMATS.values(), ("yuv", "rgb")):
        for size in ((19, 13), (10, 7)):
            geometry = Geometry(19, 13, *size, Clip(24, 16, 1, chroma))
            frame, luma = _frame_and_luma(rgb, pixels, geometry, resampling.DEFAULT)
            back = original_size(luma[: size[1], : size[0]], geometry, resampling.DEFAULT)
            total.update(frame + luma.tobytes() + back.tobytes())
    total.update(frames.resize_area((rgb[..., 0] / 256).astype(np.float32), 10, 7).tobytes())  # of importance maps
    return total.hexdigest(), metadata.version("pillow")


FIRST = "2eb15ecd94d3bd43115902e1614c971d45098c6e88087276a98457506f7f4767", "13.0.0"
"""The preparation of jobs whose keys do not name it: those before keys did still count."""
