"""Rate-accuracy curves: rate and accuracy of every coding point, their intervals, steps and paired differences.

All figures are ratios of sums over images (all bits over all pixels, IoU from summed confusion matrices), never means
of ratios. For intervals each is computed anew without one image, or the images of one group, with all of its coding
points. So what images differ in takes no part in differences between points. Nothing here reads or writes files.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vcmbench.analysis.bdrate import Curve
from vcmbench.data.estimate import PLAIN, SHARE, Estimate, Scale, interval, of_share
from vcmbench.data.jackknife import Jackknife
from vcmbench.errors import RequestError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Resampled:
    """One figure of every coding point of `n` images, (points,), NaN where it is not defined, and without each unit.

    `samples` is (units, points), a row without each unit, the same in every one of the same `ImageJackknife`; None
    where there is no interval, and `lacking` says why. `scale` is that of the figure itself. `is_share`: the figure is
    the share of the images that have something, each of which is a unit.
    """

    values: Array
    samples: Array | None = field(default=None, repr=False)
    lacking: str = ""
    n: int | None = None
    scale: Scale = PLAIN
    is_share: bool = False

    def estimate(self, point: int) -> Estimate:
        """The figure of one point."""
        if self.is_share and self.samples is not None and self.n and np.isfinite(self.values[point]):
            return of_share(round(float(self.values[point]) * self.n), self.n)
        return self._of(lambda figures: figures[..., point], self.scale)

    def difference(self, point: int, reference: int) -> Estimate:
        """The figure of a point minus that of another, both on the same images.

        Of a figure that is a mean over images this is the mean of their differences.
        """
        return self._of(lambda figures: figures[..., point] - figures[..., reference])

    def relative(self, point: int, reference: int) -> Estimate:
        """How far the figure of a point is above that of another, as a share of it: 0.01 for one per cent more."""
        return self._of(lambda figures: figures[..., point] / figures[..., reference] - 1)

    def _of(self, figure: Callable[[Array], Array], scale: Scale = PLAIN) -> Estimate:
        """What is computed alike of all images and without each unit."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(figure(self.values))
            samples = None if self.samples is None else figure(self.samples)
        if not np.isfinite(value):
            return Estimate(n=self.n, reason="not defined: an image's figure is missing, or there is nothing to count")
        found = interval(Estimate(value, n=self.n), samples, f"no interval: {self.lacking}", scale=scale)
        if self.is_share and found.interval is not None and found.low == found.high:  # of two that agree on all images
            return replace(found, low=None, high=None, reason="no interval: it is the same on every image")
        return found


class ImageJackknife(Jackknife):
    """Images with one left out at a time; all figures of one run take the same.

    `images` is how many there are, or the unit of each: those of one unit are left out together. `what` calls a unit.
    """

    def __init__(self, images: int | Sequence[Hashable], wanted: bool = True, what: str | None = None) -> None:
        units = range(images) if isinstance(images, int) else images
        if not len(units):
            raise RequestError("0 images: a curve needs at least one")
        super().__init__(units, what or ("image" if len(set(units)) == len(units) else "group"), wanted)

    def ratio(self, part: NDArray[np.generic], whole: NDArray[np.generic], scale: Scale = PLAIN) -> Resampled:
        """Sum of part over sum of whole: of (points, images), or of (images,) where it is the same for all points.

        Bits over pixels, for a rate (a picture in a stack has its share of the stack's bits); correct pixels over
        pixels, for accuracy; score times importance over importance; scores over ones, for a mean.
        NaN in an image makes its point missing. Raises RequestError for other shapes.
        """
        parts, wholes = np.broadcast_arrays(
            np.atleast_2d(np.asarray(part, np.float64)), np.atleast_2d(np.asarray(whole, np.float64))
        )
        if parts.shape[1] != self.samples:
            raise RequestError(f"{parts.shape} sums for {self.samples} images; (points, {self.samples}) is needed")
        values = _quotient(parts.sum(axis=1), wholes.sum(axis=1))
        return self._resampled(values, _quotient(self.weights @ parts.T, self.weights @ wholes.T), scale)

    def shares(self, has: NDArray[np.generic]) -> Resampled:
        """The share of the images that have something: of (points, images), 1 where one has it and 0 where not."""
        return replace(self.ratio(has, np.ones(has.shape), SHARE), is_share=self.units == self.samples)

    def _resampled(self, values: Array, samples: Array, scale: Scale) -> Resampled:
        return Resampled(values, None if self.lacking else samples, self.lacking, self.samples, scale)

    def reduced(self, reduce: Callable[[Array], dict[str, Array]], scale: Scale = PLAIN) -> dict[str, Resampled]:
        """Figures of one point that are no plain quotients: `reduce` makes them, (rows,) each, of (rows, images)
        weights, of which the first row has all images."""
        rows = np.vstack([np.ones((1, self.samples)), self.weights])
        return {name: self._resampled(values[:1], values[1:, None], scale) for name, values in reduce(rows).items()}


def joined(points: Sequence[Resampled]) -> Resampled:
    """The figures of single points as those of all."""
    samples = [one.samples for one in points if one.samples is not None]
    values = np.concatenate([one.values for one in points])
    return replace(points[0], values=values, samples=np.hstack(samples) if samples else None)


@dataclass(frozen=True)
class CurveStep:
    """From a point down to the next lower rate: the change of quality, and whether it is a rise beyond chance.

    `rises` is None where the change has no interval and is no fall either.
    """

    dearer: int
    cheaper: int
    change: Estimate
    rises: bool | None


@dataclass(frozen=True)
class Monotonicity:
    """Whether quality falls with the rate, step by step from the highest; `holds` is None where it is not known."""

    steps: tuple[CurveStep, ...]
    holds: bool | None
    statement: str


def monotonicity(rate: Resampled, quality: Resampled, points: Sequence[int], names: Sequence[str] = ()) -> Monotonicity:
    """Whether quality falls with the rate over some points, within the interval of each step.

    A step breaks it where the whole 95 % interval of its paired change lies above 0; each step is tested by itself, so
    of many flat steps one in 40 seems to rise. Quality is one that is higher for less damage. `names` are those of all
    points, for the statement.
    """
    order = sorted(points, key=lambda point: -float(rate.values[point]))
    steps = tuple(_step(quality, dearer, cheaper) for dearer, cheaper in pairwise(order))
    rising = [step for step in steps if step.rises]
    unsure = [step for step in steps if step.rises is None]
    up = [step for step in steps if step.change.value is not None and step.change.value > 0]

    def name(point: int) -> str:
        return names[point] if names else f"point {point}"

    if not steps:
        return Monotonicity(steps, None, "not known: fewer than two points")
    if rising:
        what = "; ".join(f"{name(s.dearer)} to {name(s.cheaper)}: {_words(s.change)}" for s in rising)
        return Monotonicity(steps, False, f"rises where the rate is lowered: {what}")
    if unsure:
        step = unsure[0]
        what = f"{name(step.dearer)} to {name(step.cheaper)}: {_words(step.change)}"
        return Monotonicity(steps, None, f"not known: {what}: {step.change.reason}")
    if up:
        within = f"{len(up)} of {len(steps)} steps {'does' if len(up) == 1 else 'do'} within it"
        return Monotonicity(steps, True, f"never rises beyond its interval where the rate is lowered: {within}")
    count = f"{len(steps)} step{'s' * (len(steps) != 1)}"
    return Monotonicity(steps, True, f"never rises where the rate is lowered, in {count}")


def curve(rate: Resampled, quality: Resampled, points: Sequence[int], names: Sequence[str] = ()) -> Curve:
    """Some points as a curve for `analysis.bdrate`, also without each unit; `names` are those of all points."""
    chosen = list(points)
    samples = [None if of.samples is None else of.samples[:, chosen] for of in (rate, quality)]
    return Curve(
        rate.values[chosen],
        quality.values[chosen],
        tuple(names[point] for point in chosen) if names else (),
        samples[0],
        samples[1],
        rate.lacking or quality.lacking,
        n=rate.n,
    )


def _quotient(part: Array, whole: Array) -> Array:
    """part / whole, NaN where there is no whole."""
    quotient: Array = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
    return quotient


def _step(quality: Resampled, dearer: int, cheaper: int) -> CurveStep:
    change = quality.difference(cheaper, dearer)
    if change.value is None:
        return CurveStep(dearer, cheaper, change, None)
    if change.value <= 0:
        return CurveStep(dearer, cheaper, change, False)
    return CurveStep(dearer, cheaper, change, None if change.low is None else change.low > 0)


def _words(change: Estimate) -> str:
    return "missing" if change.value is None else f"{change:+.4f}"
