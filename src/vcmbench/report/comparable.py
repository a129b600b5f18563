"""Which configurations stand for their codecs where each has one figure: coded plainly, and at about one rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vcmbench.analysis.summary import Summary
from vcmbench.report.text import rate

_NEAR = 1.5
"""By which factor rates may differ from the common one; steps of five QP are about twice that apart."""


@dataclass(frozen=True)
class Comparable:
    """A rate in its unit, the number of one point of each encoder near it, and what is said of encoders that have
    none."""

    rate: float
    unit: str
    points: list[int]
    missing: list[tuple[str, str]]


def plain_series(summary: Summary) -> dict[str, list[int]]:
    """The numbers of the points of each encoder's first curve without a map and at full size; else of its first."""
    curves = sorted(
        summary.series().values(),
        key=lambda numbers: (summary.points[numbers[0]].is_mapped, -summary.points[numbers[0]].subsampling_factor),
    )
    found: dict[str, list[int]] = {}
    for numbers in curves:
        found.setdefault(summary.points[numbers[0]].encoder, numbers)
    return found


def comparable(summary: Summary) -> Comparable:
    """Of each encoder the point nearest to the rate that most of them have one near to, in the middle of all rates."""
    if not summary.images:  # all of them failed
        return Comparable(0.0, "bpp", [], [])
    rates, unit = summary.rate_and_unit
    logs = {number: math.log(value) for numbers in plain_series(summary).values() for number in numbers
            if (value := float(rates.values[number])) > 0}  # fmt: skip
    curves = [known for numbers in plain_series(summary).values() if (known := [n for n in numbers if n in logs])]
    if not curves:
        return Comparable(0.0, unit, [], [])
    middle = float(np.median(list(logs.values())))

    def nearest(numbers: list[int], to: float) -> tuple[float, int]:
        return min((abs(logs[number] - to), number) for number in numbers)

    def reached(to: float) -> int:
        return sum(nearest(numbers, to)[0] <= math.log(_NEAR) for numbers in curves)

    target = min([middle, *logs.values()], key=lambda to: (-reached(to), abs(to - middle)))
    common = math.exp(target)
    points, missing = [], []
    for numbers in curves:
        distance, number = nearest(numbers, target)
        if distance <= math.log(_NEAR):
            points.append(number)
        else:
            point = summary.points[number]
            why = f"{point.name} is its nearest, at {rate(math.exp(logs[number]))} {unit}"
            missing.append((f"{point.label} at about {rate(common)} {unit}", why))
    return Comparable(common, unit, points, missing)
