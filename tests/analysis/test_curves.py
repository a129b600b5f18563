"""Rate-accuracy curves: leaving images out by hand as the reference, sums, paired differences, steps, missing ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from vcmbench.analysis.bdrate import bd_accuracy, bd_rate
from vcmbench.analysis.curves import ImageJackknife, Resampled, curve, monotonicity
from vcmbench.data.estimate import Estimate
from vcmbench.errors import RequestError
from vcmbench.tasks import confusion
from vcmbench.tasks import kind as kinds

Array = NDArray[np.float64]
MEASURES: dict[str, Callable[[NDArray[np.int64]], float | None]] = {
    "accuracy": confusion.accuracy,
    "miou": confusion.mean_iou,
    "micro_iou": confusion.micro_iou,
}


def confusions(points: int, images: int, seed: int = 0) -> NDArray[np.int64]:
    """Counts as of pictures of different sizes, each with some of the classes, and worse from point to point."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, (points, images, 19, 20))
    pixels = rng.integers(0, 400, (images, 19)) * (rng.random((images, 19)) < 0.3)
    for point in range(points):
        counts[point, :, range(19), range(19)] += (pixels.T * (1 - 0.1 * point)).astype(np.int64)
    counts *= pixels[None, :, :, None] > 0  # no truth, no row
    counts[:, :, 17] = counts[:, :, :, 17] = 0  # a class that occurs nowhere
    return counts


def segmented(jackknife: ImageJackknife, counts: NDArray[np.int64]) -> list[dict[str, Resampled]]:
    """The measures of a segmentation, a point each, of (points, images, 19, 20) counts."""
    kind = kinds.get("segmentation")
    parts = [[{"confusion": confusion.sparse(one)} for one in of_point] for of_point in counts]
    return [jackknife.reduced(lambda weights, row=row: kind.reduce(row, 19, weights)) for row in parts]  # type: ignore[misc]


def test_segmentation_is_that_of_the_images_that_are_left() -> None:
    counts = confusions(3, 12)
    units = "abcdefghijaa"
    found = segmented(ImageJackknife(units), counts)
    assert set(found[0]) == set(MEASURES)
    for name, measure in MEASURES.items():
        for point in range(3):
            samples = found[point][name].samples
            assert samples is not None and samples.shape == (10, 1)
            assert found[point][name].values[0] == pytest.approx(measure(counts[point].sum(axis=0)), rel=1e-14)
            for index, unit in enumerate("abcdefghij"):
                images = [i for i in range(12) if units[i] != unit]
                summed = counts[point, images].sum(axis=0)
                expected = measure(summed)
                if name == "miou":  # a class that went with the unit does not count, though it is predicted
                    lost = (summed.sum(axis=1) == 0) & (counts[point].sum(axis=(0, 2)) > 0)
                    ious = [iou for iou, is_lost in zip(confusion.class_ious(summed), lost, strict=True) if not is_lost]
                    expected = np.mean([iou for iou in ious if iou is not None])
                assert samples[index, 0] == pytest.approx(expected, rel=1e-12), (name, index)


def test_rates_are_sums_not_means() -> None:
    bits, pixels = np.array([[100, 10_000], [50, 5_000]]), np.array([1_000, 10_000])
    found = ImageJackknife(2).ratio(bits, pixels)
    assert found.values == pytest.approx([10_100 / 11_000, 5_050 / 11_000])
    by_point = ImageJackknife(2).ratio(bits, np.stack([pixels, 2 * pixels]))
    assert by_point.values == pytest.approx([10_100 / 11_000, 5_050 / 22_000])


def test_ratios_are_those_of_the_images_that_are_left() -> None:
    rng = np.random.default_rng(3)
    part, whole = rng.uniform(size=(4, 9)), rng.uniform(1, 5, 9)
    samples = ImageJackknife(9).ratio(part, whole).samples
    assert samples is not None
    for image in range(9):
        left = np.delete(np.arange(9), image)
        assert samples[image] == pytest.approx(part[:, left].sum(axis=1) / whole[left].sum())


def test_large_counts_stay_exact() -> None:
    counts = np.zeros((1, 500, 19, 20), np.int64)
    counts[0, :, 0, 0] = 2**21 - 1
    counts[0, 0, 0, 1] = 1
    found = segmented(ImageJackknife(500), counts)[0]["accuracy"]
    assert found.values[0] == (500 * (2**21 - 1)) / (500 * (2**21 - 1) + 1)
    assert found.values[0] < 1


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    score = rng.uniform(0.3, 0.9, 60)
    both = np.stack([score, score + 0.01 + 0.001 * rng.normal(size=60)])
    found = ImageJackknife(60).ratio(both, np.ones(60))
    change = found.difference(1, 0)
    assert change.value == pytest.approx(np.mean(both[1] - both[0]), rel=1e-9)
    alone = found.estimate(0)
    assert None not in (alone.low, alone.high, change.low, change.high)
    assert change.high - change.low < (alone.high - alone.low) / 50  # type: ignore[operator]
    assert 0 < change.low < 0.01 < change.high  # type: ignore[operator]
    back = found.difference(0, 1)
    assert (back.low, back.high) == pytest.approx((-change.high, -change.low))  # type: ignore[operator]
    relative = ImageJackknife(60).ratio(np.stack([score, 1.02 * score]), np.ones(60)).relative(1, 0)
    assert relative.value == pytest.approx(0.02, abs=1e-12), "2 % in each picture"
    assert relative.interval is None and relative.reason, "and in no two ways"


def test_pictures_that_belong_together_count_as_one() -> None:
    """Six copies of each picture say no more than one does."""
    score = np.random.default_rng(1).uniform(0.3, 0.9, 8)
    alone = ImageJackknife(8).ratio(score, np.ones(8)).estimate(0)
    crops = ImageJackknife(np.repeat(np.arange(8), 6).tolist()).ratio(np.repeat(score, 6), np.ones(48)).estimate(0)
    assert crops.interval == pytest.approx(alone.interval) and crops.n == 48
    few = ImageJackknife("aabbccdd").ratio(score, np.ones(8)).estimate(0)
    assert few.reason == "no interval: 4 groups; an interval needs 5"


def test_shares_of_pictures_have_an_interval_that_holds() -> None:
    """Where all agree, too: a jackknife then knows of no error, and said [1, 1]."""
    has = np.array([[1] * 8, [1] * 7 + [0], [0] * 8])
    found = ImageJackknife(8).shares(has)
    for point in range(3):
        theirs = stats.binomtest(int(has[point].sum()), 8).proportion_ci(method="exact")
        assert found.estimate(point).interval == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert found.estimate(0).low == pytest.approx(0.025 ** (1 / 8))
    assert found.difference(1, 0).value == -1 / 8 and found.difference(1, 0).interval is not None
    same = ImageJackknife(8).shares(has[[0, 0]]).difference(0, 1)
    assert (same.value, same.interval) == (0, None)
    assert ImageJackknife("aabbccddee").shares(np.ones((1, 10))).estimate(0).interval is None, (
        "of groups nothing is known"
    )
    assert ImageJackknife(4).shares(np.ones((1, 4))).estimate(0).reason == "no interval: 4 images; an interval needs 5"


def quality(rows: list[list[float]], noise: float = 0.0, images: int = 40) -> Resampled:
    """A quality of each point, alike in all images but for some noise."""
    rng = np.random.default_rng(2)
    return ImageJackknife(images).ratio(np.array(rows) + noise * rng.normal(size=(len(rows), images)), np.ones(images))


def rates(points: int, images: int = 40) -> Resampled:
    return ImageJackknife(images).ratio(np.repeat(2 ** np.arange(points)[::-1, None], images, 1), np.ones(images))


def test_quality_that_falls_with_the_rate() -> None:
    found = monotonicity(rates(4), quality([[0.9], [0.8], [0.7], [0.5]], 0.01), range(4))
    assert found.holds is True and found.statement == "never rises where the rate is lowered, in 3 steps"
    assert [(step.dearer, step.cheaper, step.rises) for step in found.steps] == [
        (0, 1, False),
        (1, 2, False),
        (2, 3, False),
    ]
    assert found.steps[2].change.value == pytest.approx(-0.2, abs=0.01)
    shuffled = monotonicity(rates(4), quality([[0.9], [0.8], [0.7], [0.5]], 0.01), [2, 0, 3, 1])
    assert shuffled == found


def test_a_rise_beyond_chance_breaks_it_one_within_does_not() -> None:
    names = ("QP 22", "QP 27", "QP 32", "QP 37")
    broken = monotonicity(rates(4), quality([[0.9], [0.7], [0.75], [0.5]], 0.01), range(4), names)
    assert broken.holds is False
    assert [step.rises for step in broken.steps] == [False, True, False]
    assert broken.statement.startswith("rises where the rate is lowered: QP 27 to QP 32: +0.0")
    assert monotonicity(rates(2), quality([[0.9], [0.8]]), range(2)).statement.endswith("is lowered, in 1 step")
    within = monotonicity(rates(4), quality([[0.9], [0.7], [0.71], [0.5]], 0.05), range(4), names)
    step = within.steps[1]
    assert step.change.low is not None and step.change.high is not None and step.change.value is not None
    assert step.change.low < 0 < step.change.value < step.change.high, "the test's data must rise a little"
    assert within.holds is True
    assert within.statement == (
        "never rises beyond its interval where the rate is lowered: 1 of 3 steps does within it"
    )


def test_few_images_cannot_tell_whether_a_rise_is_one() -> None:
    few = quality([[0.9], [0.91], [0.5]], images=3)
    found = monotonicity(rates(3, 3), few, range(3))
    assert found.holds is None
    assert found.statement == "not known: point 0 to point 1: +0.0100: no interval: 3 images; an interval needs 5"
    falls = monotonicity(rates(3, 3), quality([[0.9], [0.8], [0.5]], images=3), range(3))
    assert falls.holds is True
    assert monotonicity(rates(3, 3), few, [1]).holds is None
    undefined = monotonicity(rates(3), quality([[0.9], [np.nan], [0.5]]), range(3))
    assert undefined.holds is None and "missing: not defined" in undefined.statement


def test_what_is_missing_says_why() -> None:
    few = ImageJackknife(4).ratio(np.ones((1, 4)), np.full(4, 2))
    assert few.estimate(0) == Estimate(0.5, n=4, reason="no interval: 4 images; an interval needs 5")
    assert few.samples is None and ImageJackknife(1).lacking == "1 image; an interval needs 5"
    none = ImageJackknife(50, False).ratio(np.ones((1, 50)), np.full(50, 2)).estimate(0)
    assert none == Estimate(0.5, n=50, reason="no interval: none was asked for")
    nothing = segmented(ImageJackknife(9), np.zeros((1, 9, 19, 20), np.int64))[0]
    for name in MEASURES:
        estimate = nothing[name].estimate(0)
        assert estimate.value is None and estimate.reason is not None
    assert ImageJackknife(9).ratio(np.array([[1.0] * 8 + [np.nan]]), np.ones(9)).estimate(0).value is None
    # where one image alone has pixels to count, there is nothing without it
    rare = ImageJackknife(9).ratio(np.eye(9)[:1], np.eye(9)[0]).estimate(0)
    assert (rare.value, rare.low) == (1.0, None)
    assert rare.reason is not None and "not defined without one of the pictures, in 1 of 9 cases" in rare.reason


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RequestError, match="at least one"):
        ImageJackknife(0)
    draws = ImageJackknife(10)
    with pytest.raises(RequestError, match=r"\(points, 10\) is needed"):
        draws.ratio(np.ones((3, 9)), np.ones(9))


def test_curves_with_their_resamples_for_bd_rates() -> None:
    images, rng = 30, np.random.default_rng(4)
    share, hard = rng.uniform(0.5, 2, images), rng.normal(0, 0.1, images)
    steps = np.arange(5)[:, None]
    old = np.round(20_000 * 0.6**steps * share)
    bits = np.vstack([old, 0.8 * old])  # the second codec needs a fifth less for the same
    scores = np.tile(0.8 - 0.08 * steps + hard, (2, 1))
    draws = ImageJackknife(images)
    rate, score = draws.ratio(bits, np.full(images, 10_000)), draws.ratio(scores, np.ones(images))
    names = [f"{codec} {step}" for codec in ("old", "new") for step in range(5)]
    anchor, test = curve(rate, score, range(5), names), curve(rate, score, range(5, 10), names)
    assert (anchor.names[0], test.names[4]) == ("old 0", "new 4")
    found = bd_rate(anchor, test)
    # paired: nothing that images differ in is left
    assert found.estimate.value == pytest.approx(-20, abs=1e-9)
    assert found.estimate.reason == "no interval: it is the same without any one of them"
    gain = bd_accuracy(anchor, test)
    assert gain.estimate.low is not None and gain.estimate.high is not None and gain.estimate.value is not None
    assert 0 < gain.estimate.low <= gain.estimate.value <= gain.estimate.high
    few = ImageJackknife(3)
    poor = curve(few.ratio(bits[:, :3], np.full(3, 10_000)), few.ratio(scores[:, :3], np.ones(3)), range(5))
    assert bd_rate(poor, poor).estimate.reason == "no interval: 3 images; an interval needs 5"
