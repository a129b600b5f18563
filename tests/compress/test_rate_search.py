"""The search for a file's size: over sizes that fall as they should, and over ones that do not quite."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcmbench.compress import rate_search

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
BOUNDS = (-40.0, 40.0)


class Encodes:
    """Counts what it is asked for: an encode costs seconds."""

    def __init__(self, size_of: Callable[[float], float]) -> None:
        self.size_of = size_of
        self.calls: list[float] = []

    def __call__(self, shift: float) -> int:
        self.calls.append(shift)
        return max(1, round(self.size_of(shift)))


def exponential(per_step: float, size: float = 1e10) -> Callable[[float], float]:
    return lambda shift: size * 2 ** (per_step * shift)


def check(encodes: Encodes, found: rate_search.FoundRate, bounds: tuple[float, float]) -> None:
    """What holds of every search."""
    assert 1 <= len(encodes.calls) <= rate_search.MAX_ENCODES
    assert len(set(encodes.calls)) == len(encodes.calls), "nothing is encoded twice"
    assert all(bounds[0] <= shift <= bounds[1] for shift in encodes.calls)
    assert [shift for shift, _ in found.tried] == encodes.calls
    assert (found.shift, found.size_bytes) in found.tried
    errors = [abs(math.log(size / found.target_bytes)) for _, size in found.tried]
    assert abs(math.log(found.size_bytes / found.target_bytes)) == min(errors)
    assert found.is_equal == (abs(found.size_bytes / found.target_bytes - 1) <= 0.01)


# continuous shifts

slopes = st.floats(-0.5, -0.09)  # octaves a step; -1/6 is what the search expects
targets = st.floats(-20, 20)  # where the target lies, as a shift


@SETTINGS
@given(slopes, targets, st.floats(-30, 30))
def test_smooth_sizes_are_met(per_step: float, at: float, start: float) -> None:
    encodes = Encodes(exponential(per_step))
    found = rate_search.find(encodes, encodes.size_of(at), start, BOUNDS)
    check(encodes, found, BOUNDS)
    assert found.is_equal


@SETTINGS
@given(st.floats(-0.19, -0.15), targets, st.floats(-30, 30))
def test_sizes_that_fall_as_expected_take_few_encodes(per_step: float, at: float, start: float) -> None:
    """The logarithm of such sizes is a straight line: two guesses, and what lies between them."""
    encodes = Encodes(exponential(per_step))
    check(encodes, found := rate_search.find(encodes, encodes.size_of(at), start, BOUNDS), BOUNDS)
    assert found.is_equal
    assert len(encodes.calls) <= 4


@SETTINGS
@given(st.floats(-0.3, -0.1), st.floats(-0.004, 0.004), targets)
def test_bent_curves_are_met(per_step: float, bend: float, at: float) -> None:
    """The slope of real encoders differs between the ends of their scale."""
    encodes = Encodes(lambda shift: 1e6 * 2 ** (per_step * shift + bend * per_step * shift * abs(shift)))
    found = rate_search.find(encodes, encodes.size_of(at), 0.0, BOUNDS)
    check(encodes, found, BOUNDS)
    assert found.is_equal


@pytest.mark.parametrize(("left", "right"), [(-0.5, -0.1), (-0.1, -0.5), (-0.3, -0.09)])
def test_a_kink_does_not_hold_the_search_at_one_end(left: float, right: float) -> None:
    """Plain false position creeps up from one side, and misses every sixth of these; the Illinois variant does not."""
    misses = 0
    for at in np.arange(-15, 15, 0.3):
        for start in (-12.0, -5.0, 0.0, 5.0, 12.0):
            encodes = Encodes(lambda shift: 1e10 * 2 ** ((left if shift < 0 else right) * shift))
            found = rate_search.find(encodes, encodes.size_of(float(at)), start, BOUNDS)
            check(encodes, found, BOUNDS)
            assert abs(found.error) < 0.1
            misses += not found.is_equal
    assert misses <= 10, "of 500"


@pytest.mark.parametrize("seed", range(20))
def test_noise_smaller_than_the_tolerance_does_no_harm(seed: int) -> None:
    random = np.random.default_rng(seed)
    level, phase, at = random.uniform(10, 20), random.uniform(0, 6), random.uniform(-15, 15)
    encodes = Encodes(lambda shift: 1e6 * 2 ** (-shift / 6) * (1 + 0.004 * math.sin(level * shift + phase)))
    found = rate_search.find(encodes, 1e6 * 2 ** (-at / 6), 0.0, BOUNDS)
    check(encodes, found, BOUNDS)
    assert found.is_equal


@SETTINGS
@given(st.floats(0.05, 0.3), targets)
def test_noise_larger_than_the_tolerance_ends_near(noise: float, at: float) -> None:
    encodes = Encodes(lambda shift: 1e6 * 2 ** (-shift / 6) * (1 + noise * math.sin(37 * shift)))
    found = rate_search.find(encodes, 1e6 * 2 ** (-at / 6), 0.0, BOUNDS)
    check(encodes, found, BOUNDS)
    assert abs(found.error) <= 2 * noise


@SETTINGS
@given(st.floats(0.01, 1.0), targets)
def test_fine_plateaus_are_met_and_coarse_ones_as_near_as_they_come(plateau: float, at: float) -> None:
    """Sizes that move in jumps, as the whole QPs of a flat map make them."""
    encodes = Encodes(lambda shift: 1e6 * 2 ** (-math.floor(shift / plateau) * plateau / 6))
    found = rate_search.find(encodes, 1e6 * 2 ** (-at / 6), 0.0, BOUNDS)
    check(encodes, found, BOUNDS)
    jump = 2 ** (plateau / 6) - 1
    assert abs(found.error) <= max(rate_search.TOLERANCE, jump)


def test_a_jump_over_the_target_is_not_searched_to_its_last_digit() -> None:
    """One block less, and the size falls by 10 %: shifts that close are the same map."""
    encodes = Encodes(lambda shift: 1e6 if shift < 0.37 else 0.9e6)
    found = rate_search.find(encodes, 0.94e6, 0.0, BOUNDS, resolution=1.0)
    check(encodes, found, BOUNDS)
    assert found.size_bytes == 0.9e6
    finer = Encodes(encodes.size_of)
    rate_search.find(finer, 0.94e6, 0.0, BOUNDS, resolution=1 / 64)
    assert len(encodes.calls) < len(finer.calls)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("factor", "end"), [(1000.0, -10.0), (0.001, 10.0)])
def test_a_target_out_of_reach_ends_at_the_bound(whole: bool, factor: float, end: float) -> None:
    encodes = Encodes(exponential(-1 / 6))
    found = rate_search.find(encodes, 1e10 * factor, 0.0, (-10.0, 10.0), whole=whole)
    check(encodes, found, (-10.0, 10.0))
    assert found.shift == end
    assert not found.is_equal
    assert len(encodes.calls) <= 3, "a bound that does not do is not tried again"


def test_sizes_that_do_not_move_end_the_search() -> None:
    encodes = Encodes(lambda shift: 5000)
    found = rate_search.find(encodes, 4000, 0.0, (-5.0, 5.0))
    check(encodes, found, (-5.0, 5.0))
    assert found.error == pytest.approx(0.25)


def test_a_start_that_does_is_one_encode() -> None:
    encodes = Encodes(exponential(-1 / 6))
    found = rate_search.find(encodes, 1e10, 0.0, BOUNDS)
    assert (encodes.calls, found.shift, found.error, found.is_equal) == ([0.0], 0.0, 0.0, True)


@pytest.mark.parametrize(("start", "first"), [(-99.0, -40.0), (99.0, 40.0)])
def test_a_start_out_of_bounds_is_the_bound(start: float, first: float) -> None:
    encodes = Encodes(exponential(-1 / 6))
    rate_search.find(encodes, 1e10, start, BOUNDS)
    assert encodes.calls[0] == first


@SETTINGS
@given(slopes, targets, st.booleans(), st.integers(1, 8))
def test_the_same_input_makes_the_same_calls(per_step: float, at: float, whole: bool, budget: int) -> None:
    first, second = Encodes(exponential(per_step)), Encodes(exponential(per_step))
    found = [
        rate_search.find(one, one.size_of(at), 1.0, BOUNDS, whole=whole, max_encodes=budget) for one in (first, second)
    ]
    assert first.calls == second.calls
    assert found[0] == found[1]
    assert len(first.calls) <= budget


# whole shifts: scales of an encoder


def nearest(encodes: Encodes, target: float, bounds: tuple[int, int]) -> float:
    """The least error of all whole shifts, as |log size / target|."""
    return min(abs(math.log(encodes(shift) / target)) for shift in range(bounds[0], bounds[1] + 1))


def check_whole(
    size_of: Callable[[float], float], target: float, start: float, bounds: tuple[int, int], slope: float
) -> None:
    encodes = Encodes(size_of)
    found = rate_search.find(encodes, target, start, bounds, per_step=slope, whole=True)
    check(encodes, found, bounds)
    assert all(shift == round(shift) for shift in encodes.calls)
    error = abs(math.log(found.size_bytes / target))
    assert found.is_equal or error == pytest.approx(nearest(Encodes(size_of), target, bounds), abs=1e-12)


@pytest.mark.parametrize("wanted", range(1, 101))
def test_every_whole_target_of_a_scale_of_a_hundred(wanted: int) -> None:
    check_whole(exponential(-0.05), exponential(-0.05)(wanted), 50, (1, 100), -0.05)


@pytest.mark.parametrize("start", [0, 20, 51])
@pytest.mark.parametrize("slope", [-0.1, -1 / 6, -0.3])
def test_between_two_qps_the_nearer_one_wins(slope: float, start: int) -> None:
    for at in np.linspace(0, 51, 103):
        check_whole(exponential(slope), exponential(slope)(float(at)), start, (0, 51), -1 / 6)


@SETTINGS
@given(st.lists(st.floats(0.04, 0.25), min_size=51, max_size=51), st.floats(0, 51), st.integers(0, 51))
def test_uneven_steps_between_qps(falls: list[float], at: float, start: int) -> None:
    sizes = 1e7 * 2 ** -np.concatenate([[0], np.cumsum(falls)])
    target = float(np.interp(at, range(52), sizes))
    check_whole(lambda shift: float(sizes[int(shift)]), target, start, (0, 51), -1 / 6)
