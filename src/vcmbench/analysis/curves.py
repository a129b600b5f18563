"""Rate-accuracy curves: rate and accuracy of every coding point, their intervals, steps and paired differences.

All figures are ratios of sums over images (all bits over all pixels, IoU from summed confusion matrices), never means
of ratios. Intervals are percentile bootstraps over images (A. C. Davison, D. V. Hinkley, 1997, section 3.8): a resample
says how often each image was drawn, and an image comes with all of its coding points. So what images differ in takes no
part in differences between points. Nothing here reads or writes files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vcmbench.analysis.bdrate import Curve
from vcmbench.analysis.correlation import check_resamples
from vcmbench.errors import RequestError

FEWEST_IMAGES = 5
QUALITIES = ("accuracy", "miou", "micro_iou")
_LEVEL = 0.05
_MOST_UNDEFINED = 0.05

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CurveEstimate:
    """A figure and its 95 % interval; where one of them is None, `reason` says why."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Resampled:
    """One figure of every coding point, (points,), NaN where it is not defined, and of every resample.

    `samples` is (resamples, points), the same resamples in every Sampled of one `ImageDraws`; None where there are
    none, and `lacking` says why.
    """

    values: Array
    samples: Array | None = field(default=None, repr=False)
    lacking: str = ""

    def estimate(self, point: int) -> CurveEstimate:
        """The figure of one point."""
        return _estimate(self.values[point], None if self.samples is None else self.samples[:, point], self.lacking)

    def difference(self, point: int, reference: int) -> CurveEstimate:
        """The figure of a point minus that of another, both on the same images.

        Of a figure that is a mean over images this is the mean of their differences.
        """
        samples = None if self.samples is None else self.samples[:, point] - self.samples[:, reference]
        return _estimate(self.values[point] - self.values[reference], samples, self.lacking)

    def relative(self, point: int, reference: int) -> CurveEstimate:
        """How far the figure of a point is above that of another, as a share of it: 0.01 for one per cent more."""
        with np.errstate(divide="ignore", invalid="ignore"):
            samples = None if self.samples is None else self.samples[:, point] / self.samples[:, reference] - 1
            return _estimate(self.values[point] / self.values[reference] - 1, samples, self.lacking)


class ImageDraws:
    """`resamples` draws of as many images as there are, with replacement; all figures of one run take the same.

    The seed decides them, so two of the same arguments are the same draws. `resamples` is 0 (no intervals) or
    100..20000; below 5 images there are no intervals. Raises RequestError for another number.
    """

    def __init__(self, images: int, resamples: int = 1000, seed: int | Sequence[int] = 0) -> None:
        check_resamples(resamples)
        if images < 1:
            raise RequestError(f"{images} images: a curve needs at least one")
        self.images = images
        self.lacking = ""
        if not resamples:
            self.lacking = "no bootstrap was asked for"
        elif images < FEWEST_IMAGES:
            self.lacking = f"{images} image{'s' * (images != 1)}; an interval needs {FEWEST_IMAGES}"
        shares = np.full(images, 1 / images)
        drawn = 0 if self.lacking else resamples
        # float64, because sums of pixels are whole numbers that float32 cannot hold
        self._counts = np.random.default_rng(seed).multinomial(images, shares, drawn).astype(np.float64)

    def ratio(self, part: NDArray[np.generic], whole: NDArray[np.generic]) -> Resampled:
        """Sum of part over sum of whole: of (points, images), or of (images,) where it is the same for all points.

        Correct pixels over pixels, for accuracy; score times importance over importance; scores over ones, for a mean.
        NaN in an image makes its point missing. Raises RequestError for other shapes.
        """
        parts, wholes = np.broadcast_arrays(
            np.atleast_2d(np.asarray(part, np.float64)), np.atleast_2d(np.asarray(whole, np.float64))
        )
        if parts.shape[1] != self.images:
            raise RequestError(f"{parts.shape} sums for {self.images} images; (points, {self.images}) is needed")
        values = _quotient(parts.sum(axis=1), wholes.sum(axis=1))
        samples = None if self.lacking else _quotient(self._counts @ parts.T, self._counts @ wholes.T)
        return Resampled(values, samples, self.lacking)

    def rate_bpp(self, bits: NDArray[np.generic], pixels: NDArray[np.generic]) -> Resampled:
        """Bits per pixel of (points, images) bits and (images,) or (points, images) pixels; a picture in a stack has
        its share of the stack's bits."""
        return self.ratio(bits, pixels)

    def segmentation(self, confusions: NDArray[np.integer]) -> dict[str, Resampled]:
        """Accuracy, mean IoU and micro IoU, by the names of QUALITIES, of (points, images, 19, 20) counts.

        Rows are the truth's classes, columns the prediction's, the last one no class at all. As
        `vcmbench.tasks.confusion` has them: accuracy over the truth's pixels; mean IoU over the classes that occur in
        truth or prediction, in a resample of those whose truth was drawn; micro IoU of all classes together. Raises
        RequestError for other shapes.
        """
        shape = confusions.shape
        if len(shape) != 4 or shape[1] != self.images or shape[3] != shape[2] + 1:
            raise RequestError(f"counts of {shape}; (points, {self.images}, classes, classes + 1) is needed")
        classes = shape[2]
        rows: dict[str, list[Array]] = {name: [] for name in QUALITIES}
        for counts in confusions:  # one by one: all points at once would be gigabytes
            correct = np.diagonal(counts[:, :, :classes], axis1=1, axis2=2)
            margins = np.hstack([correct, counts.sum(axis=2), counts[:, :, :classes].sum(axis=1)]).astype(np.float64)
            summed = np.vstack([margins.sum(axis=0), self._counts @ margins])  # the data first, resamples below
            for name, values in _of_margins(*np.split(summed, 3, axis=1)).items():
                rows[name].append(values)
        found = {name: np.column_stack(values) for name, values in rows.items()}
        return {
            name: Resampled(table[0], None if self.lacking else table[1:], self.lacking)
            for name, table in found.items()
        }


@dataclass(frozen=True)
class CurveStep:
    """From a point down to the next lower rate: the change of quality, and whether it is a rise beyond chance.

    `rises` is None where the change has no interval and is no fall either.
    """

    dearer: int
    cheaper: int
    change: CurveEstimate
    rises: bool | None


@dataclass(frozen=True)
class Monotonicity:
    """Whether quality falls with the rate, step by step from the highest; `holds` is None where it cannot be told."""

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
        return Monotonicity(steps, None, "cannot be told: fewer than two points")
    if rising:
        told = "; ".join(f"{name(s.dearer)} to {name(s.cheaper)}: {_told(s.change)}" for s in rising)
        return Monotonicity(steps, False, f"rises as the rate falls: {told}")
    if unsure:
        step = unsure[0]
        told = f"{name(step.dearer)} to {name(step.cheaper)}: {_told(step.change)}"
        return Monotonicity(steps, None, f"cannot be told: {told}: {step.change.reason}")
    if up:
        told = f"{len(up)} of {len(steps)} steps rise, none beyond its interval"
        return Monotonicity(steps, True, f"falls with the rate within its interval: {told}")
    return Monotonicity(steps, True, f"falls with the rate or stays: none of {len(steps)} steps rises")


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


def _estimate(value: float, samples: Array | None, lacking: str) -> CurveEstimate:
    if not np.isfinite(value):
        return CurveEstimate(reason="not defined: an image's figure is missing, or there is nothing to count")
    if samples is None:
        return CurveEstimate(float(value), reason=f"no interval: {lacking}")
    known = samples[np.isfinite(samples)]
    undefined = 1 - len(known) / len(samples)
    if undefined > _MOST_UNDEFINED:
        return CurveEstimate(float(value), reason=f"no interval: not defined in {undefined:.0%} of the resamples")
    low, high = np.percentile(known, [100 * _LEVEL / 2, 100 * (1 - _LEVEL / 2)])
    return CurveEstimate(float(value), float(low), float(high))


def _step(quality: Resampled, dearer: int, cheaper: int) -> CurveStep:
    change = quality.difference(cheaper, dearer)
    if change.value is None:
        return CurveStep(dearer, cheaper, change, None)
    if change.value <= 0:
        return CurveStep(dearer, cheaper, change, False)
    return CurveStep(dearer, cheaper, change, None if change.low is None else change.low > 0)


def _told(change: CurveEstimate) -> str:
    if change.value is None:
        return "missing"
    return f"{change.value:+.4f}" + ("" if change.low is None else f" [{change.low:+.4f}, {change.high:+.4f}]")
