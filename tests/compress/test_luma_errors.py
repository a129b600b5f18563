"""Squared errors, told apart by a mask and by blocks: against plain loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcmbench.compress import luma_errors

SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)


def planes(height: int, width: int, seed: int = 2) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return tuple(random.integers(0, 256, (height, width), np.uint8) for _ in range(2))


@SETTINGS
@given(st.integers(1, 20), st.integers(1, 20), st.floats(0, 1), st.integers(0, 99))
def test_inside_and_outside_are_what_a_loop_counts(height: int, width: int, share: float, seed: int) -> None:
    first, second = planes(height, width, seed)
    mask = np.random.default_rng(seed).random((height, width)) < share
    sums, pixels = {True: 0, False: 0}, {True: 0, False: 0}
    for y in range(height):
        for x in range(width):
            sums[bool(mask[y, x])] += (int(first[y, x]) - int(second[y, x])) ** 2
            pixels[bool(mask[y, x])] += 1
    found = luma_errors.inside_and_outside(luma_errors.squared_errors(first, second), mask)
    assert found == luma_errors.Squares(sums[True], pixels[True], sums[False], pixels[False])
    assert all(type(value) is int for value in vars(found).values()), "they are summed up again later, exactly"


def test_the_largest_errors_of_a_large_picture_do_not_overflow() -> None:
    black, white = np.zeros((1024, 2048), np.uint8), np.full((1024, 2048), 255, np.uint8)
    squared = luma_errors.squared_errors(black, white)
    assert np.array_equal(squared, luma_errors.squared_errors(white, black))
    inside = np.zeros(black.shape, bool)
    inside[:512] = True
    found = luma_errors.inside_and_outside(squared, inside)
    assert found.inside == found.outside == 255**2 * 1024 * 1024
    assert luma_errors.psnr_db(black, white) == 0


def test_a_region_that_is_empty_or_everything() -> None:
    squared = luma_errors.squared_errors(*planes(5, 7))
    total = int(squared.sum())
    nothing = luma_errors.inside_and_outside(squared, np.zeros((5, 7), bool)).as_record()
    assert (nothing["pixels_inside"], nothing["psnr_y_inside_db"]) == (0, None)
    assert nothing["squared_error_outside"] == total
    everything = luma_errors.inside_and_outside(squared, np.ones((5, 7), bool)).as_record()
    assert (everything["pixels_outside"], everything["psnr_y_outside_db"]) == (0, None)
    assert everything["psnr_y_inside_db"] == luma_errors.psnr_db(*planes(5, 7))


def test_psnr_done_by_hand() -> None:
    assert luma_errors.psnr_of(100, 100) == pytest.approx(48.1308, abs=1e-4), "an MSE of 1"
    assert luma_errors.psnr_of(255**2 * 6, 6) == 0
    assert luma_errors.psnr_of(0, 100) is None, "nothing differs"
    assert luma_errors.psnr_of(0, 0) is None, "nothing is there"
    first, second = planes(6, 9)
    mse = np.mean((first.astype(float) - second) ** 2)
    assert luma_errors.psnr_db(first, second) == pytest.approx(10 * math.log10(255**2 / mse))
    assert luma_errors.psnr_db(first, first) is None


def mean_of_blocks(squared: Any, rows: int, columns: int, unit_px: tuple[float, float]) -> list[list[float]]:
    """Pixel by pixel: each belongs to the last block that begins at or before it."""

    def block(at: int, unit: float, count: int) -> int:
        return max(i for i in range(count) if round(i * unit) <= at)

    height, width = squared.shape
    heaps: dict[tuple[int, int], list[int]] = {}
    for y in range(height):
        for x in range(width):
            key = block(y, unit_px[0], rows), block(x, unit_px[1], columns)
            heaps.setdefault(key, []).append(int(squared[y, x]))
    return [[sum(heap) / len(heap) for heap in (heaps[r, c] for c in range(columns))] for r in range(rows)]


@pytest.mark.parametrize(
    ("height", "width", "unit"),
    [
        (48, 64, (16.0, 16.0)),
        (45, 70, (16.0, 16.0)),  # the last blocks are as large as what is left
        (7, 5, (16.0, 16.0)),  # one block holds all
        (60, 90, (16 * 60 / 45, 16 * 90 / 67)),  # coded at three quarters of the size: units are no whole pixels
        (33, 31, (3.3, 2.6)),
        (64, 64, (8.0, 32.0)),
    ],
)
def test_block_means_are_those_of_a_loop(height: int, width: int, unit: tuple[float, float]) -> None:
    squared = luma_errors.squared_errors(*planes(height, width))
    rows, columns = (
        sum(round(i * one) < side for i in range(side)) for side, one in ((height, unit[0]), (width, unit[1]))
    )
    found = luma_errors.block_means(squared, rows, columns, unit)
    assert np.allclose(found, mean_of_blocks(squared, rows, columns, unit), rtol=1e-12)


def test_blocks_in_the_padding_repeat_their_neighbours() -> None:
    """A tool codes 3 rows and 4 columns of blocks, the picture fills 2 and 3."""
    blocks = np.array([[1, 2, 3], [4, 5, 6]])
    squared = np.kron(blocks, np.ones((8, 8), np.int32)).astype(np.int32)
    found = luma_errors.block_means(squared, 3, 4, (8.0, 8.0))
    assert found.tolist() == [[1, 2, 3, 3], [4, 5, 6, 6], [4, 5, 6, 6]]


def test_sums_of_large_blocks_do_not_overflow() -> None:
    squared = np.full((1024, 1024), 255**2, np.int32)
    assert luma_errors.block_means(squared, 1, 1, (1024.0, 1024.0)).tolist() == [[255.0**2]]
