"""The accuracy of every block of a picture, as the number of the stratum that it falls into."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import RequestError
from vcmbench.io import resources

Mask = NDArray[np.bool_]
MOST_STRATA = 100
_NONE = 255


@dataclass(frozen=True)
class Strata:
    """Stratum of the block at every position, (H - height + 1, W - width + 1) uint8; 255 where none is allowed.

    A block of p pixels, c of them right, is in the stratum i with i/k <= c/p < (i+1)/k; in the last one for c = p.
    """

    number: NDArray[np.uint8]
    right: NDArray[Any]
    """Pixels of the block that are right, of the same shape."""
    strata: int

    def counts(self) -> NDArray[np.int64]:
        """(strata,): how many positions each stratum has."""
        return np.array([np.count_nonzero(self.number == stratum) for stratum in range(self.strata)], np.int64)

    def positions(self, stratum: int, ranks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """x and y of the positions of a stratum with these ranks in reading order, 0 being the first."""
        mask = self.number == stratum
        cv2 = _cv2()
        in_row = cv2.reduce(mask.view(np.uint8), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
        ends = np.cumsum(in_row, dtype=np.int64)
        y = np.searchsorted(ends, ranks, side="right")
        in_row_ranks = ranks - (ends - in_row)[y]
        x = [np.flatnonzero(mask[row])[rank] for row, rank in zip(y, in_row_ranks, strict=True)]
        return np.array(x, np.int64), y.astype(np.int64, copy=False)


def strata_of(same: Mask, width: int, height: int, strata: int, forbidden: Mask | None = None) -> Strata | None:
    """The strata of all blocks of `width` x `height` px of a picture; None where the picture is smaller than a block.

    `same` is (H, W): the pixels that are right. `forbidden` has the shape of the positions: where no block may begin.
    """
    if same.shape[0] < height or same.shape[1] < width:
        return None
    right = box_sums(same, width, height)
    pixels = width * height
    # integers only: 0.7 * 90 is less than 63 in floating point
    table = np.minimum(np.arange(pixels + 1, dtype=np.int64) * strata // pixels, strata - 1).astype(np.uint8)
    number = np.take(table, right, mode="clip")  # nothing to clip; NumPy is slower when it has to find that out
    if forbidden is not None:
        number[forbidden] = _NONE
    return Strata(number, right, strata)


def box_sums(mask: Mask, width: int, height: int) -> NDArray[Any]:
    """How many pixels of a mask (H, W) are set in the block at every position, (H - height + 1, W - width + 1)."""
    cv2 = _cv2()
    rows, columns = mask.shape
    depth = cv2.CV_16U if width * height <= 65535 else cv2.CV_32S
    sums = cv2.boxFilter(
        np.ascontiguousarray(mask).view(np.uint8), depth, (width, height), anchor=(0, 0), normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )  # fmt: skip
    return np.ascontiguousarray(sums[: rows - height + 1, : columns - width + 1])


def _cv2() -> ModuleType:
    """OpenCV, loaded here because reading and writing the files of blocks does without."""
    try:
        import cv2
    except ImportError:
        raise RequestError(
            f"sampling blocks needs OpenCV, which this Python does not have; {resources.how_to_measure()}"
        ) from None
    return cv2
