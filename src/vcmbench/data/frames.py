"""Raw pictures as tools read and write them: planar 8-bit Y'CbCr, and binary PPM."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcmbench.data.colour import ChromaFormat
from vcmbench.errors import JobError

U8 = NDArray[np.uint8]
_PPM_HEADER = re.compile(rb"P6\s+(\d{1,9})\s+(\d{1,9})\s+255\s")


def scaled_side(side_px: int, factor: float) -> int:
    """A side after downscaling by a subsampling factor."""
    return max(1, round(side_px * factor))


def resize_area(values: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """An (H, W) float32 map at another size: every new pixel the mean of the area that it covers."""
    if values.shape == (height, width):
        return values
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX))


def pad(picture: U8, width: int, height: int) -> U8:
    """Grow an (H, W, 3) picture to the right and below by repeating its edge."""
    rows, columns = height - picture.shape[0], width - picture.shape[1]
    return np.pad(picture, ((0, rows), (0, columns), (0, 0)), mode="edge") if rows or columns else picture


def ppm_bytes(rgb: U8) -> bytes:
    """An (H, W, 3) uint8 picture as a binary PPM file."""
    return b"P6\n%d %d\n255\n" % (rgb.shape[1], rgb.shape[0]) + rgb.tobytes()


def read_ppm(path: Path, width: int, height: int) -> U8:
    """The picture of a binary PPM file. Raises JobError where it is not of the size that was coded."""
    data = path.read_bytes()
    header = _PPM_HEADER.match(data)
    if header is None:
        raise JobError(f"the decoder wrote no PPM picture ({len(data)} bytes)")
    found = (int(header[1]), int(header[2]))
    if found != (width, height) or len(data) - header.end() != width * height * 3:
        raise JobError(f"decoded picture is {found[0]}x{found[1]} px, coded was {width}x{height} px")
    return np.frombuffer(data, np.uint8, offset=header.end()).reshape(height, width, 3)


def read_planes(file: IO[bytes], width: int, height: int, chroma: ChromaFormat) -> list[U8]:
    """The next frame of a raw planar file: [Y, Cb, Cr] or [Y]."""
    return [
        np.frombuffer(file.read(rows * columns), np.uint8).reshape(rows, columns)
        for rows, columns in chroma.plane_shapes(width, height)
    ]


def check_raw_size(path: Path, width: int, height: int, chroma: ChromaFormat, names: Sequence[object]) -> None:
    """Raises JobError unless a raw file holds exactly one frame of that size for each name."""
    one = chroma.frame_bytes(width, height)
    size = path.stat().st_size
    frames = len(names)
    if size != one * frames:
        missing = f"; the first missing is {names[size // one]}" if size < one * frames and frames > 1 else ""
        raise JobError(
            f"the decoder wrote {size} bytes, {size / one:.2f} frames; "
            f"coded were {frames} frames of {width}x{height} px ({one * frames} bytes){missing}"
        )
