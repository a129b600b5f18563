"""Rate-accuracy curves: rate and accuracy of every coding point, their intervals, steps and paired differences.

All figures are ratios of sums over images (all bits over all pixels, IoU from summed confusion matrices), never means
of ratios. Intervals are percentile bootstraps over images (A. C. Davison, D. V. Hinkley, 1997, section 3.8): a resample
says how often each image was drawn, and an image comes with all of its coding points. So what images differ in takes no
part in differences between points. Nothing here reads or writes files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vcmbench.analysis.bdrate import Curve
from vcmbench.analysis.draws import Draws
from vcmbench.data.estimate import Estimate, interval
from vcmbench.errors import RequestError

QUALITIES = ("accuracy", "miou", "micro_iou")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Resampled:
    """One figure of every coding point, (points,), NaN where it is not defined, and of every resample of `n` images.

    `samples` is (resamples, points), the same resamples in every one of the same `ImageDraws`; None where there are
    none, and `lacking` says why.
    """

    values: Array
    samples: Array | None = field(default=None, repr=False)
    lacking: str = ""
    n: int | None = None

    def estimate(self, point: int) -> Estimate:
        """The figure of one point."""
        return self._of(lambda figures: figures[..., point])

    def difference(self, point: int, reference: int) -> Estimate:
        """The figure of a point minus that of another, both on the same images.

        Of a figure that is a mean over images this is the mean of their differences.
        """
        return self._of(lambda figures: figures[..., point] - figures[..., reference])

    def relative(self, point: int, reference: int) -> Estimate:
        """How far the figure of a point is above that of another, as a share of it: 0.01 for one per cent more."""
        return self._of(lambda figures: figures[..., point] / figures[..., reference] - 1)

    def _of(self, figure: Callable[[Array], Array]) -> Estimate:
        """What is computed alike of the data and of every resample."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(figure(self.values))
            samples = None if self.samples is None else figure(self.samples)
        if not np.isfinite(value):
            return Estimate(n=self.n, reason="not defined: an image's figure is missing, or there is nothing to count")
        return interval(Estimate(value, n=self.n), samples, f"no interval: {self.lacking}")


class ImageDraws(Draws):
    """Draws of images; all figures of one run take the same."""

    def __init__(self, images: int, resamples: int = 1000, seed: int | Sequence[int] = 0) -> None:
        if images < 1:
            raise RequestError(f"{images} images: a curve needs at least one")
        super().__init__(images, resamples, seed, "image")

    def ratio(self, part: NDArray[np.generic], whole: NDArray[np.generic]) -> Resampled:
        """Sum of part over sum of whole: of (points, images), or of (images,) where it is the same for all points.

        Bits over pixels, for a rate (a picture in a stack has its share of the stack's bits); correct pixels over
        pixels, for accuracy; score times importance over importance; scores over ones, for a mean.
        NaN in an image makes its point missing. Raises RequestError for other shapes.
        """
        parts, wholes = np.broadcast_arrays(
            np.atleast_2d(np.asarray(part, np.float64)), np.atleast_2d(np.asarray(whole, np.float64))
        )
        if parts.shape[1] != self.clusters:
            raise RequestError(f"{parts.shape} sums for {self.clusters} images; (points, {self.clusters}) is needed")
        values = _quotient(parts.sum(axis=1), wholes.sum(axis=1))
        return self._resampled(values, _quotient(self.counts @ parts.T, self.counts @ wholes.T))

    def _resampled(self, values: Array, samples: Array) -> Resampled:
        return Resampled(values, None if self.lacking else samples, self.lacking, self.clusters)

    def segmentation(self, confusions: NDArray[np.integer]) -> dict[str, Resampled]:
        """Accuracy, mean IoU and micro IoU, by the names of QUALITIES, of (points, images, 19, 20) counts.

        Rows are the truth's classes, columns the prediction's, the last one no class at all. As
        `vcmbench.tasks.confusion` has them: accuracy over the truth's pixels; mean IoU over the classes that occur in
        truth or prediction, in a resample of those whose truth was drawn; micro IoU of all classes together. Raises
        RequestError for other shapes.
        """
        shape = confusions.shape
        if len(shape) != 4 or shape[1] != self.clusters or shape[3] != shape[2] + 1:
            raise RequestError(f"counts of {shape}; (points, {self.clusters}, classes, classes + 1) is needed")
        classes = shape[2]
        rows: dict[str, list[Array]] = {name: [] for name in QUALITIES}
        for counts in confusions:  # one by one: all points at once would be gigabytes
            correct = np.diagonal(counts[:, :, :classes], axis1=1, axis2=2)
            margins = np.hstack([correct, counts.sum(axis=2), counts[:, :, :classes].sum(axis=1)]).astype(np.float64)
            summed = np.vstack([margins.sum(axis=0), self.counts @ margins])  # the data first, resamples below
            for name, values in _of_margins(*np.split(summed, 3, axis=1)).items():
                rows[name].append(values)
        tables = {name: np.column_stack(values) for name, values in rows.items()}
        return {name: self._resampled(table[0], table[1:]) for name, table in tables.items()}


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
        within = f"{len(up)} of {len(steps)} steps do within it"
        return Monotonicity(steps, True, f"never rises beyond its interval where the rate is lowered: {within}")
    return Monotonicity(steps, True, f"never rises where the rate is lowered, in {len(steps)} steps")


def curve(rate: Resampled, quality: Resampled, points: Sequence[int], names: Sequence[str] = ()) -> Curve:
    """Some points as a curve for `vcmbench.analysis.bdrate`, with its resamples; `names` are those of all points."""
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


def _of_margins(correct: Array, truth: Array, predicted: Array) -> dict[str, Array]:
    """QUALITIES from counts by class, (rows, classes) each, (rows,) each, NaN where there is nothing to count.

    The first row is the data, the others are resamples. A class that the data have and a resample does not is left out
    of that resample's mean: what is wrongly predicted as it would count as an IoU of 0, and draw all resamples down.
    """
    union = truth + predicted - correct
    was_not_drawn = (truth == 0) & (truth[:1] > 0)
    occurs = (union > 0) & ~was_not_drawn
    iou = np.divide(correct, union, out=np.zeros_like(correct), where=occurs)
    return {
        "accuracy": _quotient(correct.sum(axis=1), truth.sum(axis=1)),
        "miou": _quotient(iou.sum(axis=1), occurs.sum(axis=1).astype(np.float64)),
        "micro_iou": _quotient(correct.sum(axis=1), union.sum(axis=1)),
    }


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
