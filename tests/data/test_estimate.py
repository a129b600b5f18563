"""Estimates and their intervals: SciPy's percentile bootstrap as the reference, and what cannot be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from vcmbench.data.estimate import Estimate, interval


@pytest.mark.parametrize("n", [3, 8, 40])
def test_intervals_are_scipys_of_the_same_resamples(n: int) -> None:
    rng = np.random.default_rng(n)
    data = rng.normal(size=n)
    theirs = stats.bootstrap((data,), np.mean, n_resamples=999, method="percentile", rng=rng)
    found = interval(Estimate(float(data.mean()), n=n, p=0.5), theirs.bootstrap_distribution)
    assert found.interval == pytest.approx(tuple(theirs.confidence_interval), rel=1e-12)
    assert (found.value, found.n, found.p, found.reason) == (data.mean(), n, 0.5, None)


def test_resamples_without_a_figure_are_left_out_up_to_a_share() -> None:
    samples = np.arange(1000.0)
    samples[:50] = np.nan
    assert interval(Estimate(1.0), samples).interval == pytest.approx(tuple(np.percentile(samples[50:], [2.5, 97.5])))
    samples[50] = np.inf
    lost = interval(Estimate(1.0), samples)
    assert lost == Estimate(1.0, reason="no interval: not defined in 5% of the resamples")
    assert interval(Estimate(1.0), samples, undefined="{share:.1%} lost").reason == "no interval: 5.1% lost"


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
