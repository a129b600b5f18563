"""Proof that an encoder obeyed: what obeys passes, what is deaf to a map is refused, what proves nothing says so."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import spearmanr

from vcmbench.compress import evidence
from vcmbench.errors import JobError

SHAPE = (8, 12)
pairs = st.integers(2, 60).flatmap(
    lambda size: st.tuples(*[hnp.arrays(np.int64, size, elements=st.integers(0, 9))] * 2)
)


def qp_map(seed: int = 1, low: int = 26, high: int = 38) -> Any:
    return np.random.default_rng(seed).integers(low, high + 1, SHAPE).astype(np.float64)


# rank_correlation


@settings(max_examples=100, deadline=None, derandomize=True)
@given(pairs)
def test_rank_correlation_is_spearmans_with_ties(pair: tuple[Any, Any]) -> None:
    first, second = pair
    found = evidence.rank_correlation(first, second)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        assert found is None, "nothing can be said where one is constant"
    else:
        assert found == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)


def test_rank_correlation_knows_order_only() -> None:
    values = np.random.default_rng(0).normal(size=SHAPE)
    assert evidence.rank_correlation(values, np.exp(3 * values)) == pytest.approx(1)
    assert evidence.rank_correlation(values, -(values**3)) == pytest.approx(-1)


# of_block_qps


def test_an_encoder_that_codes_every_qp_as_asked() -> None:
    requested = qp_map()
    told = evidence.of_block_qps(requested, requested.copy())
    assert told["rank_correlation"] == 1
    assert told["blocks_as_requested"] == told["blocks"] == requested.size
    assert told["blocks_that_repeat"] == 0
    assert told["coded_mean_qp"] == told["sent_mean_qp"] == round(float(requested.mean()), 4)
    assert json.loads(json.dumps(told)) == told, "it goes into a record"


def test_an_encoder_that_keeps_qps_that_would_change_by_one() -> None:
    """x264 does; the map still shows, and these blocks do not count as ones that only repeat."""
    requested = qp_map()
    coded = requested.ravel().copy()
    for i in range(1, len(coded)):
        if abs(coded[i] - coded[i - 1]) == 1:
            coded[i] = coded[i - 1]
    told = evidence.of_block_qps(requested, coded.reshape(SHAPE))
    assert told["rank_correlation"] > 0.9
    assert told["blocks_as_requested"] < told["blocks"]


@pytest.mark.parametrize("qp", [20, 32, 38])
def test_an_encoder_that_ignores_the_map(qp: int) -> None:
    with pytest.raises(JobError, match=r"the QP map took no effect: coded QPs do not follow it \(sent_mean_qp"):
        evidence.of_block_qps(qp_map(), np.full(SHAPE, float(qp)))


def test_an_encoder_that_obeys_another_map() -> None:
    with pytest.raises(JobError, match="the QP map took no effect"):
        evidence.of_block_qps(qp_map(1), qp_map(2))
    with pytest.raises(JobError, match="the QP map took no effect"):
        evidence.of_block_qps(qp_map(1), 64 - qp_map(1))


def test_blocks_without_coefficients_repeat_the_one_before() -> None:
    """Reading order goes on from row to row. The third block takes over 20, the fifth 30; both were asked for else."""
    requested = np.array([[20.0, 20, 30], [30, 40, 40]])
    coded = np.array([[20.0, 20, 20], [30, 30, 40]])
    told = evidence.of_block_qps(requested, coded)
    assert told["blocks_that_repeat"] == 2
    assert told["blocks_as_requested"] == 4
    assert told["coded_mean_qp"] == pytest.approx(160 / 6, abs=1e-4)
    assert told["coded_mean_qp_of_coded_blocks"] == told["sent_mean_qp_of_coded_blocks"] == 110 / 4


def test_many_blocks_that_repeat_do_not_make_an_encoder_disobedient() -> None:
    """A third of a picture without coefficients: the mean of what is coded is still the requested one."""
    random = np.random.default_rng(4)
    requested = np.repeat(qp_map(3), 3, axis=1)
    coded = requested.ravel().copy()
    for i in np.flatnonzero(random.random(coded.size) < 0.3):
        coded[i] = coded[i - 1] if i else coded[i]
    told = evidence.of_block_qps(requested, coded.reshape(requested.shape))
    assert told["blocks_that_repeat"] > 0
    assert told["coded_mean_qp_of_coded_blocks"] == pytest.approx(told["sent_mean_qp_of_coded_blocks"], abs=0.1)


def test_blocks_in_the_padding_do_not_count() -> None:
    requested = qp_map()
    coded = np.pad(requested, ((0, 1), (0, 2)), constant_values=99)
    assert evidence.of_block_qps(requested, coded) == evidence.of_block_qps(requested, requested)


def test_a_map_of_one_level_proves_nothing_and_refuses_nothing() -> None:
    flat = np.full(SHAPE, 32.0)
    assert evidence.of_block_qps(flat, flat)["rank_correlation"] is None


# of_mean_qp, tells, check_mean


def test_a_mean_that_came_to_the_requested_one() -> None:
    proof = evidence.of_mean_qp(np.array([[26.0, 30], [30, 30]]), 29.1)
    assert (proof["sent_mean_qp"], proof["coded_mean_qp"]) == (29, 29.1)
    evidence.check_mean(proof, 32)


@pytest.mark.parametrize("coded", [32.0, 31.6, 30.5])
def test_a_mean_that_stayed_where_it_was(coded: float) -> None:
    """Half-way proves nothing either."""
    proof = evidence.of_mean_qp(np.full((2, 2), 29.0), coded)
    with pytest.raises(JobError, match=rf"took no effect: mean QP {coded:g}, asked 29, uniform 32"):
        evidence.check_mean(proof, 32)


def test_only_a_mean_that_should_have_moved_proves() -> None:
    proof = evidence.of_mean_qp(np.array([[31.0, 33.0]]), 32.0)
    assert not evidence.proves(proof, 32)
    assert not evidence.proves(proof, 32.9)
    assert evidence.proves(proof, 33)
    assert evidence.proves(proof, 31)


# of_block_errors


def errors(steps: Any, gain: float, noise: float = 0.5, seed: int = 7) -> tuple[Any, Any]:
    """Blocks' squared errors with and without a map, where `gain` octaves come of a step."""
    random = np.random.default_rng(seed)
    uniform = random.uniform(5, 80, steps.shape)
    return uniform * 2 ** (gain * steps + random.normal(0, noise, steps.shape)), uniform


STEPS = qp_map(5, -6, 6)


def test_errors_that_follow_the_map() -> None:
    # at high rate a doubled step is four times the squared error, a third of an octave a step
    told = evidence.of_block_errors(STEPS, *errors(STEPS, 1 / 3), is_identical=False)
    assert told["rank_correlation"] > 0.8
    assert 0 < told["blocks"] <= STEPS.size
    assert "note" not in told
    assert json.loads(json.dumps(told)) == told


def test_errors_that_are_the_same_everywhere() -> None:
    uniform = errors(STEPS, 0)[1]
    with pytest.raises(JobError, match="the decoded picture is that of the uniform encode"):
        evidence.of_block_errors(STEPS, uniform, uniform, is_identical=True)


def test_errors_that_changed_evenly() -> None:
    """The base was moved and the map ignored: every block worse by the same, or by chance."""
    uniform = errors(STEPS, 0)[1]
    with pytest.raises(JobError, match="the QP map took no effect"):
        evidence.of_block_errors(STEPS, *errors(STEPS, 0, noise=1.0, seed=3), is_identical=False)
    with pytest.raises(JobError, match="the QP map took no effect"):
        evidence.of_block_errors(STEPS, *errors(STEPS, -1 / 3), is_identical=False)
    doubled = evidence.rank_correlation(STEPS, np.log2((2 * uniform + 0.1) / (uniform + 0.1)))
    assert doubled is not None
    assert abs(doubled) < 0.3


def test_flat_blocks_do_not_outvote_those_with_detail() -> None:
    """A clear sky has nothing to lose, whatever its quantiser: what its blocks do is chance."""
    mapped, uniform = errors(STEPS, 1 / 3)
    sky = np.arange(STEPS.size).reshape(SHAPE) < STEPS.size // 2 - 1
    uniform[sky] /= 1000
    mapped[sky] = uniform[sky] * 2 ** (-STEPS[sky])
    assert evidence.of_block_errors(STEPS, mapped, uniform, is_identical=False)["rank_correlation"] > 0.7


@pytest.mark.parametrize("method", ["native", "coefficients", "prefilter"])
def test_how_much_is_asked_of_whom(method: str) -> None:
    """What we do to coefficients and pixels ourselves may show weakly: then the record has its doubt."""
    random = np.random.default_rng(12)
    steps, uniform = random.integers(-3, 4, (60, 60)).astype(float), np.full((60, 60), 40.0)
    weak, reversed_ = (uniform * 2 ** (gain * steps + random.normal(0, 1, (60, 60))) for gain in (0.1, -0.5))
    of = partial(evidence.of_block_errors, steps, method=method)
    if method == "native":
        for mapped in (weak, reversed_):
            with pytest.raises(JobError, match=r"took no effect: blocks' errors do not follow it \(rank_correlation"):
                of(mapped, uniform, is_identical=False)
    else:
        assert "doubt" not in of(weak, uniform, is_identical=False)
        assert of(reversed_, uniform, is_identical=False)["doubt"].startswith("the QP map shows weakly: blocks' errors")
    with pytest.raises(JobError, match="the decoded picture is that of the uniform encode"):
        of(uniform, uniform, is_identical=True)


def test_differences_of_a_step_may_drown_in_what_blocks_hold() -> None:
    """5 and 6 steps coarser: by how much an error grows is more a matter of the block."""
    random = np.random.default_rng(3)
    steps = random.integers(5, 7, (16, 20)).astype(float)
    uniform = random.uniform(5, 80, steps.shape)
    mapped = uniform * 2 ** (random.uniform(0.1, 0.5, steps.shape) * steps)
    mapped[steps == 6] *= 0.8
    assert "shows weakly" in evidence.of_block_errors(steps, mapped, uniform, is_identical=False)["doubt"]


def test_a_blank_picture_is_the_same_at_any_quantiser() -> None:
    blank = np.full(SHAPE, 0.01)
    assert evidence.of_block_errors(STEPS, blank, blank, is_identical=True)["rank_correlation"] is None


def test_blocks_without_any_error_are_no_trouble() -> None:
    mapped, uniform = errors(STEPS, 1 / 3)
    mapped[0], uniform[0] = 0.0, 0.0
    told = evidence.of_block_errors(STEPS, mapped, uniform, is_identical=False)
    assert np.isfinite(told["mean_error_change_octaves"])


@pytest.mark.parametrize("steps", [np.full((4, 4), 3.0), np.array([[-6.0, 6.0]]), np.linspace(0, 0.9, 16)[None]])
def test_maps_that_prove_nothing_say_so(steps: Any) -> None:
    """One level, few blocks, less than a step: no correlation is asked of them, but a difference is."""
    told = evidence.of_block_errors(steps, *errors(steps, -1.0), is_identical=False)
    assert told["note"].startswith("too flat a map or too few blocks")
    with pytest.raises(JobError, match="took no effect"):
        evidence.of_block_errors(steps, *errors(steps, 0), is_identical=True)


# of_pictures


def test_every_picture_of_a_stack_moved_as_asked() -> None:
    steps, uniform = np.array([3.0, 0, -3, 6]), np.full(4, 40.0)
    # the second was asked for nothing, so that it may do what it likes
    told = evidence.of_pictures(steps, np.array([55.0, 41, 28, 90]), uniform)
    assert told["pictures"] == 3


@pytest.mark.parametrize(
    ("mse", "complaint"),
    [
        ([55, 40, 41, 41], r"picture 3 of 4 was to be coded with -3, its squared error went from 40 to 41"),
        ([39, 40, 41, 30], r"picture 1 of 4 was to be coded with \+3, its squared error went from 40 to 39"),
        ([55, 40, 28, 40], r"picture 4 of 4 was to be coded with \+6, its squared error went from 40 to 40"),
    ],
)
def test_the_first_picture_that_did_not_is_named(mse: list[float], complaint: str) -> None:
    with pytest.raises(JobError, match=complaint):
        evidence.of_pictures(np.array([3.0, 0, -3, 6]), np.array(mse, float), np.full(4, 40.0))
