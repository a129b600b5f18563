"""Bits of a JPEG file's blocks, held against the file itself and against libjpeg's own reading of it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vcmbench.encoder.jpeg_bits import block_bits, unit_px


def jpeg(picture: NDArray[np.uint8], subsampling: int = 2, **more: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "jpeg", subsampling=subsampling, **more)
    return file.getvalue()


def scan_bits(data: bytes) -> int:
    """Of all that follows the header of the scan, without stuffed bytes."""
    start = data.index(b"\xff\xda")
    scan = data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") : -2]
    return 8 * (len(scan) - scan.count(b"\xff\x00"))


@pytest.mark.parametrize("is_optimised", [False, True])
@pytest.mark.parametrize(("subsampling", "unit"), [(0, (8, 8)), (1, (16, 8)), (2, (16, 16))])
@pytest.mark.parametrize("quality", [3, 60, 98])
def test_they_sum_to_the_scan(
    astronaut: NDArray[np.uint8], quality: int, subsampling: int, unit: tuple[int, int], is_optimised: bool
) -> None:
    picture = astronaut[:121, :203]
    data = jpeg(picture, subsampling, quality=quality, optimize=is_optimised)
    found = block_bits(data)
    assert unit_px(data) == unit
    assert found.shape == (-(-121 // unit[1]), -(-203 // unit[0]))
    assert 0 <= scan_bits(data) - found.sum() < 8, "all but the padding of the last byte"


def test_a_block_of_noise_takes_the_bits() -> None:
    picture = np.full((64, 64), 128, np.uint8)
    picture[16:24, 40:48] = np.random.default_rng(0).integers(0, 256, (8, 8))
    found = block_bits(jpeg(picture, quality=80))
    assert found.shape == (8, 8)
    assert np.unravel_index(found.argmax(), found.shape) == (2, 5)
    assert found.max() > 10 * np.median(found)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JPEG file"),
        (jpeg(np.zeros((8, 8, 3), np.uint8))[:200], "cut off"),
        (jpeg(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8), quality=90)[:2000], "cut off"),
        (jpeg(np.zeros((8, 8, 3), np.uint8), progressive=True), "progressive"),
    ],
    ids=["nothing", "header", "scan", "progressive"],
)
def test_what_it_cannot_count_is_said(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        block_bits(data)
