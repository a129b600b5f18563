"""Baselines beside the metrics: ridge regressions that have not seen the picture they speak of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vcmbench.analysis import baselines
from vcmbench.analysis.correlation import compare


def drawn(n: int = 120, pictures: int = 8) -> tuple[dict[str, baselines.Array], baselines.Array, list[str]]:
    rng = np.random.default_rng(0)
    metrics = {name: rng.normal(size=n) * 10 + 3 for name in "abc"}
    machine = metrics["a"] - 2 * metrics["b"] + rng.normal(size=n) * 5
    return metrics, machine, [f"picture {number}" for number in rng.integers(0, pictures, n)]


def test_each_picture_is_predicted_from_the_others() -> None:
    """Fitted one by one, without sums that are taken apart, by a least-squares problem with rows for the penalty."""
    metrics, machine, pictures = drawn()
    columns, mine = np.column_stack(list(metrics.values())), np.array(pictures)
    expected = np.empty(len(machine))
    for picture in set(pictures):
        seen = mine != picture
        mean, spread = columns[seen].mean(0), columns[seen].std(0)
        rows = np.vstack([(columns[seen] - mean) / spread, np.sqrt(baselines.PENALTY) * np.eye(3)])
        centre = machine[seen].mean()
        slopes = np.linalg.lstsq(rows, np.concatenate([machine[seen] - centre, np.zeros(3)]), rcond=None)[0]
        expected[~seen] = (columns[~seen] - columns.mean(0)) / spread @ slopes
    np.testing.assert_allclose(baselines.unseen(columns, machine, pictures), expected, rtol=1e-9)


@pytest.mark.parametrize(("pictures", "blocks"), [(8, 20), (12, 40), (40, 40)])
def test_noise_predicts_nothing(pictures: int, blocks: int) -> None:
    """Though pictures differ in their mean, which a fit that saw them would know."""
    found = []
    for seed in range(20):
        rng, labels = np.random.default_rng(seed), np.arange(pictures).repeat(blocks)
        machine = 2 * rng.normal(size=pictures)[labels] + rng.normal(size=len(labels))
        noise = {name: rng.normal(size=len(labels)) for name in "abcd"}
        places = rng.uniform(0, 500, (len(labels), 2))
        predicted = baselines.predictions(noise, machine, labels.tolist(), places)
        found.append([stats.spearmanr(one, machine)[0] for one in predicted.values()])
    assert np.abs(np.mean(found, axis=0)).max() < 0.1


def test_ranks_are_scipys_and_take_what_is_infinite() -> None:
    values = np.array([2.0, np.inf, -1.0, 2.0, 7.0, -np.inf])
    np.testing.assert_array_equal(baselines.ranks(values), stats.rankdata(values) - 1)
    metrics, machine, pictures = drawn()
    before = baselines.predictions(metrics, machine, pictures)[baselines.TOGETHER]
    metrics["a"][metrics["a"].argmax()] = np.inf
    np.testing.assert_array_equal(baselines.predictions(metrics, machine, pictures)[baselines.TOGETHER], before)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_machine_that_goes_by_the_place_is_foreseen(axis: int) -> None:
    metrics, _, pictures = drawn()
    places = np.random.default_rng(2).integers(0, 500, (120, 2)).astype(float)
    horizon = -((places[:, axis] - 200) ** 2)
    found = compare(metrics, horizon, pictures, places=places)
    assert found.baselines[baselines.POSITION].strength > 0.95
    assert found.baselines[baselines.POSITION].values["SROC"].interval is None
    assert abs(found.baselines[baselines.TOGETHER].strength) < 0.5
    assert baselines.POSITION not in {name for name, _ in found.ranked}


def test_where_there_is_no_baseline() -> None:
    metrics, machine, pictures = drawn()
    assert not compare(metrics, machine, None, intervals=False).baselines
    assert not baselines.predictions(metrics, machine, ["one"] * 120)
    broken = {"a": metrics["a"], "b": np.full(120, 2.0), "c": np.full(120, np.nan)}
    assert not baselines.predictions(broken, machine, pictures, np.full((120, 2), np.nan))
