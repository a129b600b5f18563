"""Axes: where a value lies on paper, and which values are written beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vcmbench.report.text import MINUS, number

_LOG_STEPS = ((1, 2, 5), (1, 3), (1,))


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on a line from `start` to `end`, in px; `log` for logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        place = ((math.log(value) if self.log else value) - low) / (high - low)
        return self.start + place * (self.end - self.start)

    def inside(self, value: float) -> float:
        """The place of a value, or of the end of the axis where it lies beyond (an interval may)."""
        return self(min(max(value, self.low), self.high))

    def ticks(self, most: int) -> list[float]:
        """Round values inside, about `most` of them at the most, at least two."""
        return _log_ticks(self.low, self.high, most) if self.log else linear_ticks(self.low, self.high, most)

    def labels(self, ticks: Sequence[float]) -> list[str]:
        """The ticks as text, all with as many decimals as they need."""
        if self.log:
            return [f"{tick:.10g}".replace("-", MINUS) for tick in ticks]
        digits = max((_decimals(tick) for tick in ticks), default=0)
        return [number(tick, digits) for tick in ticks]


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten in low..high."""
    step = _nice_step((high - low) / max(most, 1))
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def padded(values: Sequence[float], least: float | None = None, most: float | None = None) -> tuple[float, float]:
    """A range with a little air around all values, not beyond the limits that values of this kind have."""
    low, high = min(values), max(values)
    air = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - air, high + air
    return (low if least is None else max(low, least)), (high if most is None else min(high, most))


def padded_log(values: Sequence[float]) -> tuple[float, float]:
    """The same for a logarithmic axis; all values are positive."""
    low, high = math.log(min(values)), math.log(max(values))
    air = 0.05 * (high - low) or 0.4
    return math.exp(low - air), math.exp(high + air)


def _nice_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9))


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    found: list[float] = []
    for steps in _LOG_STEPS:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [step * 10.0**decade for decade in decades for step in steps]
        found = [float(f"{tick:.6g}") for tick in found if low <= tick <= high]
        if len(found) <= most:
            break
    return found if len(found) > 1 else linear_ticks(low, high, most)


def _decimals(value: float) -> int:
    text = f"{value:.6f}".rstrip("0")
    return len(text.split(".")[1])
