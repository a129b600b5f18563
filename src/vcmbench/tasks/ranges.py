"""Which range of distance, and of importance, objects of a picture are in: by the median of the pixels they cover."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.importance.settings import MIN_VALID_PIXELS
from vcmbench.tasks import confusion
from vcmbench.tasks.kind import Truth

RANGES = {"distance": confusion.BANDS, "importance": ("important", "unimportant")}
_FEWEST = {"distance": MIN_VALID_PIXELS, "importance": 1}
_SIDES = (len(confusion.BANDS) + 1, 3)
"""How many ranges there are, and one for what is not known."""
Covered = Callable[[NDArray[Any], NDArray[Any]], Iterable[NDArray[Any]]]
"""The pixels of (H, W) values that each object of N shapes lies on."""


def known(truth: Truth) -> list[str]:
    """Which of RANGES a truth can tell apart."""
    maps = {"distance": truth.distance_m, "importance": truth.importance}
    return [by for by, values in maps.items() if values is not None]


def outside(truth: Truth, shapes: NDArray[Any], covered: Covered) -> NDArray[np.bool_]:
    """Which objects (N,) are outside each range that the truth knows, (ranges, N). Of an even number of pixels the
    median is the lower one in the middle; of too few that are valid it is not known, and they are in no range."""
    by, size = known(truth), (len(shapes), *_SIDES)
    if not by:
        return np.zeros((0, len(shapes)), np.bool_)
    most = math.prod(_SIDES)
    counts = [np.bincount(pixels.ravel(), minlength=most) for pixels in covered(_codes(truth), shapes)]
    table = np.array(counts, np.int64).reshape(size)
    found = []
    for name in by:
        of_one = table.sum(axis=2 if name == "distance" else 1)[:, 1:].cumsum(axis=1)
        total = of_one[:, -1:]
        place = (of_one <= (total - 1) // 2).sum(axis=1)
        place[total[:, 0] < _FEWEST[name]] = -1
        if name == "importance":  # counted from the least important on
            place = np.where(place < 0, -1, 1 - place)
        found.append(place != np.arange(len(RANGES[name]))[:, None])
    return np.concatenate(found)


@lru_cache(maxsize=4)
def _codes(truth: Truth) -> NDArray[np.uint8]:
    """Of each pixel (H, W) its band of distance, from 1, and 1 or, where it is important, 2; 0 of what is not known."""
    maps = [one for one in (truth.distance_m, truth.importance) if one is not None]
    band: NDArray[np.uint8]
    band, important = np.zeros((2, *maps[0].shape), np.uint8)
    if truth.distance_m is not None:
        for start_m, _ in confusion.BANDS_M:
            band += truth.distance_m >= start_m
    if truth.importance is not None:
        important += truth.importance >= 0
        important += truth.importance >= np.float32(truth.region)
    band *= _SIDES[1]
    band += important
    return band
