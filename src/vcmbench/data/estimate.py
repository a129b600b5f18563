"""A figure with its interval, and the one way in which intervals are made.

Whatever is reported of pictures is an `Estimate`: gains, accuracies, correlations, differences, BD-rates. Which
resamples they rest on is the caller's; what is made of the resamples is decided here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
"""Of tests; intervals hold 1 - LEVEL."""
FEWEST = 5
"""Fewer pictures give no interval."""
_MOST_UNDEFINED = 0.05


@dataclass(frozen=True)
class Estimate:
    """A figure, its 95 % interval, how many samples it stands on, and p (two-sided) where there was a test.

    `reason` says why the value is missing, or, where it is there, why its interval is. Raises ValueError for a value or
    limit that is not finite, half an interval, and a missing value without a reason.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    p: float | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        numbers = (self.value, self.low, self.high, self.p)
        if any(number is not None and not math.isfinite(number) for number in numbers):
            raise ValueError(f"{self!r}: not finite; what is not known is None, with a reason")
        if self.value is None and not self.reason:
            raise ValueError("an estimate without a value needs a reason")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{self!r}: an interval has both its ends, or none")

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both limits, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def __format__(self, form: str) -> str:
        """Value and interval, each in that form: "0.12 [0.10, 0.15]", "0.12", or "-" where there is no value."""
        if self.value is None:
            return "-"
        ends = "" if self.interval is None else " [{}, {}]".format(*(format(end, form) for end in self.interval))
        return format(self.value, form) + ends

    def scaled(self, factor: float, plus: float = 0.0) -> Estimate:
        """This times a factor, plus something: in per cent, or what is lost of 1."""
        if self.value is None:
            return self
        low, high = sorted(end * factor + plus for end in self.interval) if self.interval else (None, None)
        return replace(self, value=self.value * factor + plus, low=low, high=high)

    def magnitude(self) -> Estimate:
        """|value|, such as the strength of a correlation; where the interval holds 0, its own starts there."""
        if self.value is None or self.interval is None:
            return self if self.value is None else replace(self, value=abs(self.value))
        low, high = self.interval
        near, far = sorted((abs(low), abs(high)))
        return replace(self, value=abs(self.value), low=0.0 if low < 0 < high else near, high=far)


def interval(
    found: Estimate,
    samples: NDArray[np.float64] | None,
    lacking: str = "",
    undefined: str = "not defined in {share:.0%} of the resamples",
) -> Estimate:
    """The estimate with the interval that (resamples,) bootstrap values of it give: percentiles (B. Efron, 1979).

    Values that are not finite are resamples in which the figure is not defined. Where those are more than 5 %, the rest
    would look too certain: there is no interval then, and the reason is `undefined`, with their share. None in place of
    samples: there are none, and `lacking` is the reason. An estimate without a value stays as it is.
    """
    if found.value is None:
        return found
    if samples is None:
        return replace(found, reason=lacking)
    known = samples[np.isfinite(samples)]
    missing = len(samples) - len(known)
    if missing > _MOST_UNDEFINED * len(samples):
        return replace(found, reason="no interval: " + undefined.format(share=missing / len(samples)))
    low, high = np.percentile(known, [100 * LEVEL / 2, 100 * (1 - LEVEL / 2)])
    return replace(found, low=float(low), high=float(high))


def too_few(count: int, what: str = "picture", fewest: int = FEWEST) -> str:
    """Why so many of them give no interval; empty where they do."""
    return "" if count >= fewest else f"{count} {what}{'s' * (count != 1)}; an interval needs {fewest}"
