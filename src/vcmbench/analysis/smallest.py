"""The smallest coding that loses no more than so much: families of codings race, each along its qualities.

A family is a coding configuration but for its quality; its steps are its qualities, the best one first. Along them
files become smaller and the loss grows. The first family is measured until its largest step within the loss is found
(bisection). Each of the others is only coded until it is smaller than the best so far, and leaves the race if the
machine loses too much there; else the bisection goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from vcmbench.errors import JobError


@dataclass(frozen=True)
class Raced:
    """How far a family came. `step` is its smallest coding within the loss, or the one that it left the race with, None
    where it failed; `loss` is in points, None where it was not measured. `is_in` says whether it was the smallest of
    all so far."""

    step: int | None
    size_bytes: int | None
    loss: float | None
    is_in: bool
    verdict: str


def race(
    steps: Sequence[int], size: Callable[[int, int], int], loss: Callable[[int, int], float], within: float
) -> list[Raced]:
    """What becomes of each family, in order. `steps` has how many steps each has; `size(family, step)` is in bytes and
    `loss(family, step)` in points, lower is better; both may raise JobError, which ends that family's race."""
    found: list[Raced] = []
    for family, count in enumerate(steps):
        best = next((one.size_bytes for one in reversed(found) if one.is_in), None)
        try:
            found.append(_raced(count, partial(size, family), partial(loss, family), within, best))
        except JobError as error:
            found.append(Raced(None, None, None, False, f"failed: {error}"))
    return found


def _raced(
    count: int, size: Callable[[int], int], loss: Callable[[int], float], within: float, best: int | None
) -> Raced:
    last = count - 1
    start = 0 if best is None else _first(lambda step: size(step) < best, 0, last)
    if start is None:
        return Raced(last, size(last), None, False, "larger")
    if loss(start) > within:
        why = "never within" if start == 0 else "loses more"
        return Raced(start, size(start), loss(start), False, why)
    over = _first(lambda step: loss(step) > within, start + 1, last)
    step = last if over is None else over - 1
    verdict = "coarsest" if over is None and last > start else "within"
    return Raced(step, size(step), loss(step), True, verdict)


def _first(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """The first of low..high from which on `holds`, by bisection; None where it does at none."""
    if low > high or not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
