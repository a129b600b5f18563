"""A decoded luma plane against the pristine one: as a whole, inside and outside of what matters, block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]


def psnr_of(squared_error: float, pixels: int) -> float | None:
    """10 log10(255^2 / MSE); None where nothing differs (it would be infinite) or nothing is there."""
    return 10 * math.log10(255**2 * pixels / squared_error) if squared_error and pixels else None


@dataclass(frozen=True)
class Squares:
    """Sums of squared luma errors, kept raw, and the pixels that they are over."""

    inside: int
    inside_px: int
    outside: int
    outside_px: int

    def as_record(self) -> dict[str, float | int | None]:
        return {
            "pixels_inside": self.inside_px,
            "squared_error_inside": self.inside,
            "psnr_y_inside_db": psnr_of(self.inside, self.inside_px),
            "pixels_outside": self.outside_px,
            "squared_error_outside": self.outside,
            "psnr_y_outside_db": psnr_of(self.outside, self.outside_px),
        }


def squared_errors(pristine: U8, decoded: U8) -> NDArray[np.int32]:
    """(H, W) uint8 twice to (H, W) int32."""
    difference = np.subtract(pristine, decoded, dtype=np.int16).astype(np.int32)
    return np.square(difference, out=difference)


def psnr_db(reference: U8, decoded: U8) -> float | None:
    """PSNR of two (H, W) uint8 planes, peak 255; None where they are identical."""
    return psnr_of(int(squared_errors(reference, decoded).sum(dtype=np.int64)), reference.size)


def inside_and_outside(squared: NDArray[np.int32], inside: Mask) -> Squares:
    """Errors told apart by a mask of the same shape."""
    total = int(squared.sum(dtype=np.int64))
    sum_inside = int(squared.sum(dtype=np.int64, where=inside))
    pixels = int(np.count_nonzero(inside))
    return Squares(sum_inside, pixels, total - sum_inside, squared.size - pixels)


def block_means(squared: NDArray[np.int32], rows: int, columns: int, unit_px: tuple[float, float]) -> F64:
    """Mean squared error of the blocks of a (rows, columns) grid, each `unit_px` (height, width) pixels, from the top
    left corner; they need not be whole pixels, and the last ones are as large as what is left. Where a row or column
    of blocks lies wholly in the padding, it repeats its neighbour."""
    height, width = squared.shape
    tops = np.rint(np.arange(rows) * unit_px[0]).astype(int)
    lefts = np.rint(np.arange(columns) * unit_px[1]).astype(int)
    tops, lefts = tops[tops < height], lefts[lefts < width]
    sums = np.add.reduceat(np.add.reduceat(squared, lefts, axis=1, dtype=np.int64), tops, axis=0)
    means: F64 = sums / (np.diff(tops, append=height)[:, None] * np.diff(lefts, append=width))
    return np.pad(means, ((0, rows - len(tops)), (0, columns - len(lefts))), mode="edge")
