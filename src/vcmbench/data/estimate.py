"""A figure with its interval, and the one way in which intervals are made.

Whatever is reported of pictures is an `Estimate`: gains, accuracies, correlations, differences, BD-rates. The caller
has the figure anew without each unit (`data.jackknife`); what is made of these is decided here: the jackknife's error
(J. W. Tukey, 1958; B. Efron, C. Stein, 1981), and Student's t with a degree of freedom less than there are units
(of shares, two less).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
"""Of tests; intervals hold 1 - LEVEL."""
FEWEST = 5
"""Fewer units give no interval."""
_SAME = 1e-12

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Where the errors of a figure are even and symmetric: the way there, how steep it is, and the way back."""

    there: Callable[[float], float]
    slope: Callable[[float], float]
    back: Callable[[float], float]


PLAIN = Scale(lambda x: x, lambda x: 1.0, lambda x: x)
"""Of means and differences."""
SHARE = Scale(lambda x: math.log(x / (1 - x)), lambda x: 1 / (x * (1 - x)), lambda y: (1 + math.tanh(y / 2)) / 2)
"""Of what lies between 0 and 1, as accuracies do: the logit."""
PER_CENT = Scale(lambda x: math.log1p(x / 100), lambda x: 1 / (100 + x), lambda y: 100 * math.expm1(y))
"""Of ratios, as per cent above 1: BD-rates."""
FISHER = Scale(math.atanh, lambda r: 1 / (1 - r * r), math.tanh)
"""Of correlations (R. A. Fisher, 1921)."""


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
    left_out: Array | None,
    lacking: str = "",
    undefined: str = "not defined",
    scale: Scale = PLAIN,
) -> Estimate:
    """The estimate with the interval that (units,) values of it give, each with one unit left out.

    A value that is not finite: without that unit the figure is not defined. The others alone would look too certain, so
    that there is no interval, and the reason is `undefined`, with how many they are. None in place of values: there are
    none, and `lacking` is the reason. An estimate without a value stays as it is.
    """
    if found.value is None:
        return found
    if left_out is None:
        return replace(found, reason=lacking)
    if missing := int(np.count_nonzero(~np.isfinite(left_out))):
        how_often = f"without one of the pictures, in {missing} of {len(left_out)} cases"
        return replace(found, reason=f"no interval: {undefined} {how_often}")
    from scipy.special import stdtrit  # here, because commands that need no interval start faster without

    error = _error(left_out)
    if error <= _SAME:  # a correlation of 1, say: few that agree are no certainty
        return replace(found, reason="no interval: it is the same without any one of them")
    try:
        if scale is SHARE:
            width = _width_of_share(found.value, left_out)
        else:  # by the slope, since without a unit a correlation or share may be 1, which is nowhere on the scale
            width = float(stdtrit(len(left_out) - 1, 1 - LEVEL / 2)) * error * scale.slope(found.value)
        low, high = (scale.back(scale.there(found.value) + sign * width) for sign in (-1, 1))
        return replace(found, low=low, high=high)
    except (ValueError, ArithmeticError):
        return replace(found, reason="no interval: it is beyond all numbers")


def _width_of_share(share: float, left_out: Array) -> float:
    """Half of the interval on the logit, with the jackknife's bias on top, and one degree of freedom less than others:
    few pictures seldom hold the worst ones, and the simulation of benchmarks/coverage.py shows that without both too
    few intervals reach down to the truth. Without a unit a share may be nearly 1, far out on the logit (0.998 had
    [0.04, 1] by six pictures), or 1, nowhere on it; then errors are taken as they are, by the logit's slope.
    """
    from scipy.special import logit, stdtrit

    times = float(stdtrit(len(left_out) - 2, 1 - LEVEL / 2))

    def half(values: Array, whole: float) -> float:
        return times * _error(values) + (len(values) - 1) * abs(float(values.mean() - whole))

    by_slope = half(left_out, share) * SHARE.slope(share)
    if not ((left_out > 0) & (left_out < 1)).all():
        return by_slope
    on_logit = half(logit(left_out), float(logit(share)))
    return on_logit if on_logit <= 2 * by_slope else by_slope


def of_share(count: int, n: int) -> Estimate:
    """`count` of `n` that have something, with the interval of C. J. Clopper and E. S. Pearson (1934): it holds what it
    says for any n, also where all have it, which no jackknife knows the error of."""
    from scipy.special import betaincinv

    low = float(betaincinv(count, n - count + 1, LEVEL / 2)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, 1 - LEVEL / 2)) if count < n else 1.0
    return Estimate(count / n, low, high, n)


def with_p(found: Estimate, left_out: Array) -> Estimate:
    """A difference with its interval, and p of that there is none (two-sided, t of the same error)."""
    found = interval(found, left_out)
    if found.value is not None and abs(found.value) <= _SAME:
        return replace(found, p=1.0)
    if found.value is None or found.interval is None:
        return found
    if (error := _error(left_out)) <= _SAME:  # units that agree to the last digit are no proof that all others would
        return replace(found, low=None, high=None, reason="no interval: without any one of the pictures it is the same")
    from scipy.special import stdtr

    deviate = abs(found.value) / error
    return replace(found, p=float(2 * stdtr(len(left_out) - 1, -deviate)))


def _error(left_out: Array) -> float:
    """The standard error by the jackknife."""
    with np.errstate(over="ignore"):
        return float(np.sqrt((len(left_out) - 1) * left_out.var()))


def too_few(count: int, what: str = "picture") -> str:
    """Why so many of them give no interval; empty where they do. `what` is one of them: "picture", "run of frames"."""
    one, of, whole = what.partition(" of ")
    return "" if count >= FEWEST else f"{count} {one}{'s' * (count != 1)}{of}{whole}; an interval needs {FEWEST}"
