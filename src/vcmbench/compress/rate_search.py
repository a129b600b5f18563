"""The search for a file of a certain size, in as few encodes as it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

TOLERANCE = 0.01
MAX_ENCODES = 8


@dataclass
class FoundRate:
    """What a search came to: the best `shift`, and every (shift, bytes) that was tried, in order."""

    shift: float
    size_bytes: int
    target_bytes: float
    tried: list[tuple[float, int]] = field(default_factory=list)

    @property
    def error(self) -> float:
        """How far the size is from the target, as a share of the target."""
        return self.size_bytes / self.target_bytes - 1

    @property
    def is_equal(self) -> bool:
        return abs(self.error) <= TOLERANCE


def find(
    size_of: Callable[[float], int],
    target_bytes: float,
    start: float,
    bounds: tuple[float, float],
    *,
    per_step: float = -1 / 6,
    whole: bool = False,
    max_encodes: int = MAX_ENCODES,
    resolution: float = 1 / 64,
) -> FoundRate:
    """The shift within `bounds` at which `size_of`, falling in it, comes within 1 % of `target_bytes`.

    False position on the logarithm of the size (Illinois variant), which is nearly a straight line of slope
    `per_step` octaves a step; that guess serves until two points are known. `whole` allows whole shifts only, and then
    the nearest size wins; else those less than `resolution` apart are taken for the same. `size_of` is called
    `max_encodes` times at most; the best shift is returned, equal or not.
    """
    low, high = (math.ceil(bounds[0]), math.floor(bounds[1])) if whole else bounds
    known: dict[float, int] = {}
    below: tuple[float, float] | None = None  # the last point with too many bytes, and its log2 error
    above: tuple[float, float] | None = None
    shift, halved = min(max(start, low), high), None
    while len(known) < max_encodes:
        shift = float(round(shift)) if whole else shift
        if shift in known:
            break
        known[shift] = size_of(shift)
        error = math.log2(known[shift] / target_bytes)
        if abs(known[shift] / target_bytes - 1) <= TOLERANCE:
            break
        if error > 0:
            below = shift, error
            if halved == "above" and above:
                above = above[0], above[1] / 2
            halved = "above"
        else:
            above = shift, error
            if halved == "below" and below:
                below = below[0], below[1] / 2
            halved = "below"
        if below and above and not whole and abs(above[0] - below[0]) < resolution:
            break
        slope = per_step if below and above else _slope(list(known.items()), per_step)
        shift = _next(below, above, slope, (low, high), whole)
    best = min(known, key=lambda one: abs(math.log(known[one] / target_bytes)))
    return FoundRate(best, known[best], target_bytes, list(known.items()))


def _slope(known: list[tuple[float, int]], guess: float) -> float:
    """Octaves a step: by the last two points where both lie on one side of the target, within reason of the guess."""
    if len(known) < 2:
        return guess
    (one, size), (other, another) = known[-2:]
    return min(max(math.log2(size / another) / (one - other), 8 * guess), guess / 8)


def _next(
    below: tuple[float, float] | None,
    above: tuple[float, float] | None,
    per_step: float,
    bounds: tuple[float, float],
    whole: bool,
) -> float:
    if below and above:
        (left, more), (right, less) = below, above
        shift = left + (right - left) * more / (more - less)
        if whole:  # never a known end while something lies between
            return min(max(round(shift), left + 1), right - 1) if right - left > 1 else left
        # an end that is too close teaches nothing
        margin = 0.02 * (right - left)
        return min(max(shift, left + margin), right - margin)
    at, error = below or above or (0.0, 0.0)
    step = -error / per_step
    if whole:
        step = math.copysign(max(1, round(abs(step))), step)
    # a little beyond what the slope says, so that the two points lie on both sides
    return min(max(at + step * (1 if whole else 1.1), bounds[0]), bounds[1])
