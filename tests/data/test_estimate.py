"""Estimates and their intervals: Student's, where the answer is known, and what cannot be."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from vcmbench.data.estimate import FEWEST, FISHER, PER_CENT, SHARE, Array, Estimate, Scale, interval, too_few, with_p
from vcmbench.data.jackknife import MOST_UNITS, Grouping, Jackknife, units_of


def left_out(data: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([np.delete(data, i).mean() for i in range(len(data))])


@pytest.mark.parametrize("n", [5, 8, 40])
def test_of_a_mean_the_interval_is_students(n: int) -> None:
    data = np.random.default_rng(n).normal(size=n)
    theirs = stats.ttest_1samp(data, 0.0)
    found = with_p(Estimate(float(data.mean()), n=n), left_out(data))
    assert found.interval == pytest.approx(tuple(theirs.confidence_interval(0.95)), rel=1e-9)
    assert (found.value, found.n, found.p) == (data.mean(), n, pytest.approx(theirs.pvalue))
    assert with_p(Estimate(0.0), np.zeros(5)).p == 1
    agreeing = with_p(Estimate(2.0), np.full(5, 2.0))
    assert (agreeing.interval, agreeing.p) == (None, None), "five that agree to the last digit prove nothing"


@pytest.mark.parametrize(
    ("scale", "there"),
    [(FISHER, np.arctanh), (PER_CENT, lambda x: np.log1p(x / 100)), (SHARE, lambda x: np.log(x / (1 - x)))],
)
def test_scales(scale: Scale, there: Callable[[Array], Array]) -> None:
    """The interval is symmetric there, and for small errors the plain one."""
    for values in (np.array([0.5, 0.7, 0.8, 0.9, 1.0]), 0.8 + 1e-5 * np.arange(-2, 3)):
        found, plain = interval(Estimate(0.8), values, scale=scale), interval(Estimate(0.8), values)
        ends = there(np.array([found.low, 0.8, found.high], float))
        assert ends[2] - ends[1] == pytest.approx(ends[1] - ends[0]) and ends[0] < ends[1]
    assert found.interval and plain.interval
    fewer = stats.t.ppf(0.975, 3) / stats.t.ppf(0.975, 4) if scale is SHARE else 1.0  # degrees of freedom
    assert found.interval[1] - 0.8 == pytest.approx((plain.interval[1] - 0.8) * fewer, rel=1e-3)
    at_the_end = interval(Estimate(1.0), np.ones(5), scale=scale)
    assert at_the_end.interval is None and at_the_end.reason, "a correlation of 1 is no certainty"
    near = np.array([1, 1, 1, 1, 0.99, 0.999])
    without = np.minimum((near.sum() - near) / 5, 1 - 1e-9)  # nearly 1 without the fifth, far out on the logit
    almost = interval(Estimate(float(near.mean())), without, scale=scale)
    assert scale is not SHARE or (almost.low is not None and 0.95 < almost.low < 0.998)
    far = interval(Estimate(0.0), np.array([-99.9999, 1e300, 0, 0, 0]), scale=PER_CENT)
    assert far.interval is None and far.reason == "no interval: it is beyond all numbers"


def test_a_unit_without_which_there_is_no_figure_leaves_no_interval() -> None:
    values = np.array([1.0, np.nan, 1.0, np.inf, 1.0])
    lost = interval(Estimate(1.0), values)
    assert lost == Estimate(1.0, reason="no interval: not defined without one of the pictures, in 2 of 5 cases")
    assert str(interval(Estimate(1.0), values, undefined="lost").reason).startswith("no interval: lost without")


@pytest.mark.parametrize(
    ("pattern", "units"),
    [
        (None, ["a/1_x", "a/1_y", "a/2_x", "b"]),
        ("^a", ["group a", "group a", "group a", "b"]),
        (r"/(\d+)_", ["group 1", "group 1", "group 2", "b"]),
    ],
)
def test_units_are_pictures_or_their_groups(pattern: str | None, units: list[str]) -> None:
    assert units_of(["a/1_x", "a/1_y", "a/2_x", "b"], pattern) == units


def test_many_units_are_left_out_several_at_a_time() -> None:
    data = np.random.default_rng(1).normal(size=1000)
    found = Jackknife(range(1000))
    assert found.weights.shape == (MOST_UNITS, 1000) and (found.weights.sum(axis=0) == MOST_UNITS - 1).all()
    one = interval(Estimate(float(data.mean())), found.means(data))
    assert one.high - one.low == pytest.approx(2 * 1.96 * data.std() / 1000**0.5, rel=0.15)  # type: ignore[operator]
    assert Jackknife("aabbccdd").lacking == "4 pictures; an interval needs 5"
    assert too_few(2, "run of frames") == "2 runs of frames; an interval needs 5"
    assert (Grouping("^.").called(["ab", "ac"]), Grouping("^.").called(["ab"]), Grouping().called("ab")) == (
        "group", "image", "image"
    )  # fmt: skip


def test_what_is_missing_stays_missing() -> None:
    assert interval(Estimate(1.0, n=2), None, "2 pictures") == Estimate(1.0, n=2, reason="2 pictures")
    missing = Estimate(reason="why")
    assert interval(missing, np.ones(100)) is missing and missing.scaled(2) is missing
    assert f"{missing:.2f}" == "-"


def test_scaled_and_shown() -> None:
    loss = Estimate(0.75, 0.5, 0.875, n=4).scaled(-1, 1)
    assert loss == Estimate(0.25, 0.125, 0.5, n=4)
    assert (f"{loss:.2f}", f"{Estimate(0.25):+.1f}") == ("0.25 [0.12, 0.50]", "+0.2")


def test_magnitude_of_negative_values() -> None:
    assert Estimate(-0.7, -0.8, -0.6).magnitude() == Estimate(0.7, 0.6, 0.8)
    assert Estimate(-0.1, -0.3, 0.2).magnitude() == Estimate(0.1, 0.0, 0.3)
    assert Estimate(-0.1, n=3, reason="few").magnitude() == Estimate(0.1, n=3, reason="few")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"value": math.nan}, "not finite"),
        ({"value": 1.0, "low": -math.inf, "high": 2.0}, "not finite"),
        ({"value": 1.0, "low": 0.5}, "both its ends"),
        ({}, "needs a reason"),
    ],
)
def test_what_is_no_estimate_is_refused(fields: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Estimate(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sequences", "frames", "units", "least"),
    [
        (5, 3, 5, 3),  # enough sequences
        (2, 24, 6, 8),
        (1, 15, 1, 15),  # no run is shorter than eight frames
        (2, 1000, 20, 100),
    ],
)
def test_sequences_are_units_and_runs_of_frames_where_they_are_few(
    sequences: int, frames: int, units: int, least: int
) -> None:
    names = [f"s{sequence}/{frame:06d}" for sequence in range(sequences) for frame in range(frames)]
    found = Grouping(sequences={name: name.partition("/")[0] for name in names}).units(names)
    assert Grouping(sequences={name: name.partition("/")[0] for name in names}).units(names * 2) == found * 2
    sizes = Counter(found)
    assert len(sizes) == units
    assert min(sizes.values()) == least
    called = "sequence" if sequences >= FEWEST else "run of frames"
    assert Grouping(sequences={name: name.partition("/")[0] for name in names}).called(names) == called
    # a unit holds neighbours of one sequence
    of_unit = [[name for name, unit in zip(names, found, strict=True) if unit == one] for one in sizes]
    assert all(names[names.index(own[0]) :][: len(own)] == own and len({n[:2] for n in own}) == 1 for own in of_unit)
    assert Grouping(sequences={name: name[:2] for name in names}).units(names[1:]) == found[1:], "whatever is left out"
    assert Grouping("s0", dict.fromkeys(names, "s")).units(names)[0] == "group s0"
