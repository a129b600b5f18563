"""The objects of a picture: which pixels belong together, how far away they are, and what importance follows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcmbench.importance import classes
from vcmbench.importance.classes import Classes
from vcmbench.importance.settings import MIN_VALID_PIXELS, UNKNOWN_IMPORTANCE, distance_importance

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
LEVELS = 1 << 16
_NO_CLASS = 254  # instance ids 256 to 999 belong to no class


@dataclass(frozen=True)
class ObjectDistance:
    """One object: an instance, a group region (`instance_id` is then the label id), or a class under `class`.

    `distance_m`: median over its valid pixels, may be infinite; None where fewer than five are valid. `within`: whether
    that is within the safe distance.
    """

    label: str
    instance_id: int
    distance_m: float | None
    within: bool
    pixels: int
    valid_pixels: int


def distances_m(fx_times_baseline: float) -> F64:
    """Distance in metres (65536,) of every raw disparity; infinite at 1, and at 0, where nobody looks."""
    result = np.full(LEVELS, np.inf)
    result[2:] = fx_times_baseline * 256 / np.arange(1, LEVELS - 1)
    return result


def owner_table() -> U8:
    """The class (65536,), as an 8-bit id, to which each instance id belongs."""
    ids = np.arange(LEVELS)
    owners = np.where(ids >= 1000, ids // 1000, np.where(ids < _NO_CLASS, ids, _NO_CLASS)).astype(np.uint8)
    owners[[classes.MINUS_ONE, LEVELS - 1]] = classes.MINUS_ONE
    return owners


class Objects:
    """The objects of some pixels, their median distances, and the importance that follows.

    `groups` (N,) uint16 says which object a pixel belongs to, `raw` (N,) uint16 is its disparity. `importance` (65536,)
    float32 is that of every group; what has no distance of its own borrows its class's.
    """

    def __init__(self, groups: U16, raw: U16, distances: F64, d_safe_m: float) -> None:
        self._groups, self._raw, self._distances, self._d_safe = groups, raw, distances, d_safe_m
        counts = np.bincount(groups, minlength=LEVELS)
        self.ids = np.flatnonzero(counts)
        self.pixels = counts[self.ids]
        # One sort of (group, disparity) pairs puts the median of every group in reach, its invalid zeros first.
        pairs = (groups.astype(np.uint32) << 16) | raw
        pairs.sort()
        first = np.searchsorted(pairs, self.ids.astype(np.uint32) << 16, side="right")
        self.valid = np.cumsum(self.pixels) - first
        self.is_measured = self.valid >= MIN_VALID_PIXELS
        self.medians = np.full(self.ids.size, np.nan)
        start, count = first[self.is_measured], self.valid[self.is_measured]
        middle = [distances[pairs[start + (count - odd) // 2] & 0xFFFF] for odd in (1, 0)]
        self.medians[self.is_measured] = (middle[0] + middle[1]) / 2
        self.owners = owner_table()[self.ids]
        self.borrowed = self._borrow()
        self.importance = self._importance()

    def _borrow(self) -> F64:
        """Distances with gaps filled by the median over the class's other objects; NaN where there are none."""
        filled = self.medians.copy()
        for owner in np.unique(self.owners[~self.is_measured]):
            of_class = self.owners == owner
            known = self.medians[of_class & self.is_measured]
            if known.size:
                filled[of_class & ~self.is_measured] = np.median(known)
        return filled

    def _importance(self) -> F32:
        table = np.zeros(LEVELS, np.float32)
        known = ~np.isnan(self.borrowed)
        table[self.ids] = UNKNOWN_IMPORTANCE
        table[self.ids[known]] = distance_importance(self.borrowed[known], self._d_safe)
        return table

    def pixel_values(self) -> F32:
        """Importance (N,) by each pixel's own disparity; where that is invalid, by its object."""
        result = distance_importance(self._distances, self._d_safe).astype(np.float32)[self._raw]
        invalid = np.flatnonzero(self._raw == 0)
        result[invalid] = self.importance[self._groups[invalid]]
        return result

    def listed(self, table: Classes) -> tuple[ObjectDistance, ...]:
        rows = zip(
            self.ids.tolist(),
            self.owners.tolist(),
            self.medians.tolist(),
            self.pixels.tolist(),
            self.valid.tolist(),
            strict=True,
        )
        return tuple(
            ObjectDistance(
                table.name(owner),
                -1 if owner == classes.MINUS_ONE else group,
                None if math.isnan(distance) else distance,
                distance <= self._d_safe,
                pixels,
                valid,
            )
            for group, owner, distance, pixels, valid in rows
        )

    def notes(self, what: str) -> tuple[str, ...]:
        unmeasured = int((~self.is_measured).sum())
        if not unmeasured:
            return ()
        unknown = int(np.isnan(self.borrowed).sum())
        return (
            f"{what} with fewer than {MIN_VALID_PIXELS} valid disparities: {unmeasured}, of which "
            f"{unmeasured - unknown} took the median distance of their class, {unknown} the importance "
            f"{UNKNOWN_IMPORTANCE:g}",
        )
