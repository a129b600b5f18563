"""Bjontegaard deltas between two rate-quality curves: what one costs more in rate, or gains in quality, on average.

BD-rate is the mean gap of log rate over the qualities that both curves have, in per cent; BD-accuracy the mean gap of
quality over the log rates that both have, in the quality's unit (G. Bjontegaard, VCEG-M33, 2001; with accuracies in
place of PSNR as is usual in video coding for machines). The values are those of the package `bjontegaard`
(C. Herglotz et al., "Beyond Bjontegaard", 2022), which interpolates by PCHIP or Akima. It takes what it is given; what
makes such a figure meaningless (few points, curves that turn back, no overlap) is found here before it is asked, and
the figure is then missing with the reason.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from functools import cache
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.estimate import PER_CENT, PLAIN, Estimate, interval
from vcmbench.errors import RequestError
from vcmbench.io import resources

METHODS = ("pchip", "akima")
FEWEST_POINTS = 4
# Below it, more than half of the range that was measured says nothing about the two. (The package warns below 0.75.)
ENOUGH_OVERLAP = 0.5
# How far Akima's figure may be from PCHIP's: in the logarithm of the rate (3 %), or as a share of the qualities' range.
# On curves of codecs they differ by 1 % where points lie evenly.
_FARTHEST_APART = 0.03
_LOOKED_AT, _ROUNDING = 2001, 1e-12
_MOST_POINTS_NAMED = 3

Array = NDArray[np.float64]
Kind = Literal["rate", "accuracy"]


@dataclass(frozen=True)
class Curve:
    """One codec's points in any order: rates, (n,) in any unit that both curves share, and qualities, (n,).

    `names` says what each point is called in messages; without it, it is its number from 0. For an interval,
    `rate_samples` and `quality_samples`, (units, n), hold both anew without each unit of the images, the same units for
    both curves (`analysis.curves` makes them); `lacking` says why there are none. `label` names the curve
    in messages, in place of "anchor" and "test".
    """

    rates: Array
    qualities: Array
    names: tuple[str, ...] = ()
    rate_samples: Array | None = field(default=None, repr=False)
    quality_samples: Array | None = field(default=None, repr=False)
    lacking: str = "its images are not known"
    label: str = ""
    n: int | None = None
    """How many images it stands on."""

    def __post_init__(self) -> None:
        n = len(self.rates)
        if self.rates.shape != (n,) or self.qualities.shape != (n,) or len(self.names) not in (0, n):
            raise RequestError(
                f"{self.rates.shape} rates, {self.qualities.shape} qualities, {len(self.names)} names: one each is "
                "needed for a point"
            )
        for samples in (self.rate_samples, self.quality_samples):
            if samples is not None and (samples.ndim != 2 or samples.shape[1] != n):
                raise RequestError(f"samples of shape {samples.shape} for {n} points; (units, {n}) is needed")

    def point(self, index: int) -> str:
        """What a point is called."""
        return self.names[index] if self.names else f"point {index}"

    def only(self, points: NDArray[np.intp]) -> Curve:
        """The curve of some of its points, named by their indices."""
        samples = [None if of is None else of[:, points] for of in (self.rate_samples, self.quality_samples)]
        names = tuple(self.names[int(i)] for i in points) if self.names else ()
        rates, qualities = self.rates[points], self.qualities[points]
        return replace(self, rates=rates, qualities=qualities, names=names, rate_samples=samples[0],
                       quality_samples=samples[1])  # fmt: skip


@dataclass(frozen=True)
class Delta:
    """A BD-rate (`kind` "rate", in per cent) or BD-accuracy ("accuracy", in the quality's unit) of test against anchor.

    `overlap` is the share of the union of both curves' ranges that both have, None where there is no range; `note`
    warns of a small one. `points` are the numbers of points of anchor and test.
    """

    kind: Kind
    method: str
    points: tuple[int, int]
    estimate: Estimate
    overlap: float | None = None
    note: str | None = None


def bd_rate(anchor: Curve, test: Curve, method: str = "pchip", higher_is_better: bool = True) -> Delta:
    """By how many per cent the test's rate is above the anchor's at equal quality; negative where it needs less.

    Raises RequestError for an unknown method, and where the package is not installed.
    """
    return _delta("rate", anchor, test, method, higher_is_better)


def bd_accuracy(anchor: Curve, test: Curve, method: str = "pchip", higher_is_better: bool = True) -> Delta:
    """How far the test's quality is above the anchor's at equal rate, in the quality's unit (for PSNR: BD-PSNR).

    Where `higher_is_better` is False, a gain is negative. Raises RequestError as `bd_rate` does.
    """
    return _delta("accuracy", anchor, test, method, higher_is_better)


def unusable(curve: Curve, higher_is_better: bool = True) -> str | None:
    """Why no delta can be computed with this curve, naming the points at fault and what to do; None where one can."""
    rates, qualities, n = curve.rates, curve.qualities, len(curve.rates)
    if n < FEWEST_POINTS:
        return f"{n} point{'s' * (n != 1)}; {FEWEST_POINTS} are needed"
    for values, what in ((rates, "rate"), (qualities, "quality")):
        if len(bad := np.flatnonzero(~np.isfinite(values))):
            return f"no finite {what}: {_named(curve, bad)}; leave such points out"
    if len(bad := np.flatnonzero(rates <= 0)):
        return f"a rate is not above 0: {_named(curve, bad)}"
    order = np.argsort(rates, kind="stable")
    better = qualities[order] if higher_is_better else -qualities[order]
    pairs = [(int(order[i]), int(order[i + 1])) for i in range(n - 1)]
    if equal := [pair for pair in pairs if rates[pair[0]] == rates[pair[1]]]:
        return f"equal rates: {_pairs(curve, equal)}; leave one of each out"
    if falls := [pairs[i] for i in np.flatnonzero(np.diff(better) < 0)]:
        return (
            f"more rate with less quality: {_pairs(curve, falls)}; measure more images, or leave out the points "
            "that others beat at less rate"
        )
    if flat := [pairs[i] for i in np.flatnonzero(np.diff(better) == 0)]:
        return (
            f"more rate with the same quality: {_pairs(curve, flat)}; where quality is saturated, leave out all of "
            "the equal points but the one of the lowest rate"
        )
    return None


def _named(curve: Curve, points: NDArray[np.intp]) -> str:
    names = [curve.point(int(i)) for i in points]
    return ", ".join(names[:_MOST_POINTS_NAMED]) + (f", {len(names)} in all" if len(names) > _MOST_POINTS_NAMED else "")


def _pairs(curve: Curve, pairs: list[tuple[int, int]]) -> str:
    texts = [
        f"{curve.point(a)} ({curve.rates[a]:.5g}, {curve.qualities[a]:.5g}) and "
        f"{curve.point(b)} ({curve.rates[b]:.5g}, {curve.qualities[b]:.5g})"
        for a, b in pairs
    ]
    return "; ".join(texts[:_MOST_POINTS_NAMED]) + (
        f"; {len(texts)} such pairs" if len(texts) > _MOST_POINTS_NAMED else ""
    )


def _delta(kind: Kind, anchor: Curve, test: Curve, method: str, higher_is_better: bool) -> Delta:
    if method not in METHODS:
        raise RequestError(f"method {method!r}: must be one of {', '.join(METHODS)}")
    n = min((curve.n for curve in (anchor, test) if curve.n is not None), default=None)

    def missing(reason: str) -> Estimate:
        return Estimate(n=n, reason=f"not computable: {reason}")

    found = Delta(kind, method, (len(anchor.rates), len(test.rates)), missing("not tried"))
    for curve, name in ((anchor, "anchor"), (test, "test")):
        if why := unusable(curve, higher_is_better):
            return replace(found, estimate=missing(f"{curve.label or name}: {why}"))
    sides = [(curve.rates, curve.qualities) for curve in (anchor, test)]
    overlap = _overlap(kind, sides)
    found = replace(found, overlap=max(overlap, 0.0))
    if overlap <= 0:
        why = f"the curves have no {_axis(kind)} in common: {_ranges(kind, anchor, test)}"
        return replace(found, estimate=missing(f"{why}; measure points where they meet"))
    if overlap < ENOUGH_OVERLAP:
        note = f"only {overlap:.0%} of their {_axis(kind)} in common: {_ranges(kind, anchor, test)}"
        found = replace(found, note=note)
    value = _value(kind, sides, method, higher_is_better)
    if isinstance(value, str):
        return replace(found, estimate=missing(value))
    return _with_interval(replace(found, estimate=Estimate(value, n=n)), anchor, test, higher_is_better)


def _overlap(kind: Kind, sides: list[tuple[Array, Array]]) -> float:
    """Intersection over union of what both curves are integrated over; negative where there is a gap."""
    axes = [qualities if kind == "rate" else np.log10(rates) for rates, qualities in sides]
    low, high = [float(axis.min()) for axis in axes], [float(axis.max()) for axis in axes]
    return (min(high) - max(low)) / (max(high) - min(low))


def _axis(kind: Kind) -> str:
    return "quality" if kind == "rate" else "rate"


def _ranges(kind: Kind, anchor: Curve, test: Curve) -> str:
    texts = []
    for curve, name in ((anchor, "anchor"), (test, "test")):
        values = curve.qualities if kind == "rate" else curve.rates
        texts.append(f"{curve.label or name} has {values.min():.4g} to {values.max():.4g}")
    return ", ".join(texts)


def _value(kind: Kind, sides: list[tuple[Array, Array]], method: str, higher_is_better: bool) -> float | str:
    """The package's figure for curves that are fit for it, points in any order; or why there is none."""
    sign = 1.0 if higher_is_better else -1.0  # it wants curves that rise with the rate
    ordered: list[Array] = []
    for rates, qualities in sides:
        order = np.argsort(rates, kind="stable")
        ordered += [rates[order], sign * qualities[order]]
    function = _package().bd_rate if kind == "rate" else _package().bd_psnr

    def by(name: str) -> float:
        with np.errstate(all="ignore"):
            return float(function(*ordered, method=name, require_matching_points=False, min_overlap=0))

    value = by(method)
    if not np.isfinite(value):
        return "the result is beyond all numbers"
    if method == "akima" and (why := _akima_misleads(kind, ordered, value, by("pchip"))):
        return f"{why}; take pchip"
    return value if kind == "rate" else sign * value


def _akima_misleads(kind: Kind, ordered: list[Array], akima: float, pchip: float) -> str:
    """Why Akima's figure says more about its curves between the points than about the points; empty where it does not.

    `ordered` are rates and qualities of anchor and test, rising.
    """
    from scipy.interpolate import Akima1DInterpolator

    axes = [(y, np.log10(x)) if kind == "rate" else (np.log10(x), y) for x, y in (ordered[:2], ordered[2:])]
    common = max(x[0] for x, _ in axes), min(x[-1] for x, _ in axes)
    for (x, y), name in zip(axes, ("anchor", "test"), strict=True):
        drawn = Akima1DInterpolator(x, y)(np.linspace(*common, _LOOKED_AT))
        if (np.diff(drawn) < -_ROUNDING * (y[-1] - y[0])).any():
            return f"Akima's curve of the {name} turns back between its points"
    apart = abs(np.log1p(akima / 100) - np.log1p(pchip / 100)) if kind == "rate" else abs(akima - pchip) / np.ptp(
        np.concatenate([y for _, y in axes])
    )  # fmt: skip
    if apart <= _FARTHEST_APART:
        return ""
    return f"Akima's figure, {akima:+.4g}, is far from that of PCHIP, {pchip:+.4g}"


@cache
def _package() -> ModuleType:
    try:
        return importlib.import_module("bjontegaard")  # with it comes matplotlib: only where it is needed
    except ImportError as error:
        raise RequestError(
            f"Bjontegaard deltas need the package bjontegaard ({error}); {resources.how_to_measure()}"
        ) from None


def _with_interval(found: Delta, anchor: Curve, test: Curve, higher_is_better: bool) -> Delta:
    """The delta with its interval.

    BD-accuracy is defined whether or not quality falls somewhere, so without a unit it may; BD-rate is not.
    """
    samples = [(curve.rate_samples, curve.quality_samples) for curve in (anchor, test)]
    known = [(rates, qualities) for rates, qualities in samples if rates is not None and qualities is not None]
    if len(known) < 2:
        lacking = next(c.lacking for c in (anchor, test) if c.rate_samples is None or c.quality_samples is None)
        return replace(found, estimate=interval(found.estimate, None, f"no interval: {lacking}"))
    units = {len(part) for side in known for part in side}
    if len(units) > 1 or min(units) < 2:
        raise RequestError(f"{sorted(units)} units for anchor and test; the same, 2 or more, are needed")
    values = [
        _value_without(found.kind, [(rates[unit], qualities[unit]) for rates, qualities in known], found.method,
                       higher_is_better)
        for unit in range(units.pop())
    ]  # fmt: skip
    turns = "quality turns back, or " if found.kind == "rate" else ""
    undefined = f"not computable ({turns}the curves do not overlap)"
    scale = PER_CENT if found.kind == "rate" else PLAIN
    return replace(found, estimate=interval(found.estimate, np.array(values), undefined=undefined, scale=scale))


def _value_without(kind: Kind, sides: list[tuple[Array, Array]], method: str, higher_is_better: bool) -> float:
    """NaN where it has none."""
    for rates, qualities in sides:
        if not (np.isfinite(rates).all() and np.isfinite(qualities).all() and (rates > 0).all()):
            return np.nan
        order = np.argsort(rates, kind="stable")
        rises = np.diff(qualities[order]) * (1 if higher_is_better else -1)
        if (np.diff(rates[order]) <= 0).any() or (kind == "rate" and (rises <= 0).any()):
            return np.nan
    value = np.nan if _overlap(kind, sides) <= 0 else _value(kind, sides, method, higher_is_better)
    return np.nan if isinstance(value, str) else value
