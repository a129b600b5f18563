"""From a user's map to what a tool is told: against loops over pixels and blocks, and by properties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vcmbench.encoder import quantisers
from vcmbench.encoder.quantisers import Quantisers

SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)
shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)
maps_of_steps = hnp.arrays(np.float64, shapes, elements=st.integers(-12, 12).map(float))
shifts = st.floats(-20, 20)


def random_steps(rows: int, columns: int, seed: int = 3) -> Any:
    return np.random.default_rng(seed).integers(-6, 7, (rows, columns)).astype(np.float64)


def of_pixels(blocks: Any, width: int, height: int, side: int) -> Any:
    """A map of blocks as a map of pixels, one by one."""
    return np.array([[blocks[y // side, x // side] for x in range(width)] for y in range(height)])


def over_blocks(pixels: Any, side: int, of: Any) -> Any:
    """`of` the pixels of every block, whose last ones are as large as what is left."""
    height, width = pixels.shape
    return np.array(
        [[of(pixels[y : y + side, x : x + side]) for x in range(0, width, side)] for y in range(0, height, side)]
    )


# whole_steps: a search needs a size that follows its shift without ever falling back


@SETTINGS
@given(maps_of_steps, shifts, st.floats(0, 5), st.sampled_from([1, 2, 3]))
def test_a_larger_shift_makes_no_block_finer(steps: Any, shift: float, more: float, multiple: int) -> None:
    before = quantisers.whole_steps(steps, shift, multiple)
    after = quantisers.whole_steps(steps, shift + more, multiple)
    assert np.all(after >= before)
    assert np.all((after - after[0, 0]) % multiple == 0)
    assert before.dtype == np.int64


@pytest.mark.parametrize("multiple", [1, 2])
def test_the_mean_follows_the_shift_as_closely_as_64_thresholds_allow(multiple: int) -> None:
    flat = np.zeros((16, 24))
    for shift in np.linspace(-3, 3, 97):
        mean = quantisers.whole_steps(flat, float(shift), multiple).mean()
        assert abs(mean - shift) <= multiple / 128 + 1e-9


def test_each_block_of_a_tile_has_a_threshold_of_its_own() -> None:
    """64 shifts between two whole ones lift one block each: no jumps."""
    sums = [quantisers.whole_steps(np.zeros((8, 8)), n / 64).sum() for n in range(65)]
    assert sums == list(range(65))


def test_lifted_blocks_are_whole_rows_spread_over_the_height() -> None:
    """Rows stay few rectangles. A quarter of 16 rows is every fourth, and what is left of a row begins at its left."""
    lifted = quantisers.whole_steps(np.zeros((16, 24)), 1 / 4)
    assert [row for row in range(16) if lifted[row].all()] == [0, 4, 8, 12]
    assert lifted.sum() == 4 * 24
    more = quantisers.whole_steps(np.zeros((16, 24)), 1 / 4 + 10 / (16 * 24))
    (row,) = np.flatnonzero((more != lifted).any(axis=1))
    assert more[row].tolist() == [1] * 10 + [0] * 14


@SETTINGS
@given(maps_of_steps, st.integers(-20, 20))
def test_a_whole_shift_moves_the_map_as_it_is(steps: Any, shift: int) -> None:
    assert np.array_equal(quantisers.whole_steps(steps, shift), steps + shift)


@SETTINGS
@given(maps_of_steps, shifts, st.sampled_from([1, 2]))
def test_no_block_is_further_from_its_wish_than_rounding_takes_it(steps: Any, shift: float, multiple: int) -> None:
    error = quantisers.whole_steps(steps, shift, multiple) - (steps + shift)
    assert np.abs(error).max() < multiple


@pytest.mark.parametrize("seed", range(4))
def test_multiples_do_not_move_the_mean(seed: int) -> None:
    """What lies between two multiples goes up as often as down."""
    steps = np.random.default_rng(seed).integers(-6, 7, (64, 128)).astype(float)
    assert abs((quantisers.whole_steps(steps, 0.0, 2) - steps).mean()) < 0.03


def test_the_most_frequent_step_is_met_whatever_its_parity() -> None:
    steps = np.full((8, 16), 5.0)
    assert np.all(quantisers.whole_steps(steps, 0.0, 2) == 5), "a flat map stays flat"
    steps[2:6, 4:12] = -6
    found = quantisers.whole_steps(steps, 0.0, 2)
    assert np.all(found[steps == 5] == 5)
    assert set(found[steps == -6].tolist()) == {-5, -7}
    assert found[steps == -6].mean() == -6


# integer_quantisers


@SETTINGS
@given(maps_of_steps, shifts, st.integers(0, 51), st.sampled_from([1, 2]))
def test_what_is_told_is_accounted_for(steps: Any, shift: float, quality: int, multiple: int) -> None:
    told = quantisers.integer_quantisers(quality, steps, shift, 16, (0, 51), multiple)
    wanted = [[quality + int(whole) for whole in row] for row in quantisers.whole_steps(steps, shift, multiple)]
    qps = told.base + told.offsets
    assert np.array_equal(told.steps, qps - quality), "steps are against the uniform encode"
    assert qps.tolist() == [[min(max(qp, 0), 51) for qp in row] for row in wanted]
    assert told.clamped == sum(not 0 <= qp <= 51 for row in wanted for qp in row)
    assert 0 <= told.base <= 51
    assert told.unit_px == 16


def test_quantisers_done_by_hand() -> None:
    told = quantisers.integer_quantisers(48, np.array([[-6.0, 0.0, 6.0]]), 1.0, 16, (0, 51))
    assert (told.base, told.offsets.tolist()) == (49, [[-6, 0, 2]]), "54 is 51 at most"
    assert told.steps.tolist() == [[-5, 1, 3]]
    assert told.clamped == 1


def test_multiples_keep_blocks_from_differing_by_one() -> None:
    """x264 leaves a block the QP of the one before where they differ by one."""
    told = quantisers.integer_quantisers(30, random_steps(9, 13), 0.7, 16, (0, 51), 2)
    assert np.all((told.offsets - told.offsets[0, 0]) % 2 == 0)


# nearest_levels: AV1 has eight segments


def squared_error(values: Any, levels: Any) -> float:
    return float(np.square(values - levels).sum())


def evenly_spaced(values: Any, count: int) -> Any:
    levels = np.linspace(values.min(), values.max(), count)
    return levels[np.abs(values[..., None] - levels).argmin(axis=-1)]


@SETTINGS
@given(hnp.arrays(np.float64, shapes, elements=st.floats(-24, 24)), st.integers(1, 9))
def test_there_are_at_most_as_many_levels_as_asked_for(values: Any, count: int) -> None:
    found = quantisers.nearest_levels(values, count)
    assert found.shape == values.shape
    assert len(np.unique(found)) <= count
    assert np.array_equal(found, quantisers.nearest_levels(values.copy(), count)), "the same input gives the same"
    assert np.all((found >= values.min() - 1e-9) & (found <= values.max() + 1e-9))
    order = np.argsort(values, axis=None)
    assert np.all(np.diff(found.ravel()[order]) >= 0), "a coarser block never gets a finer level than a finer block"


@pytest.mark.parametrize("seed", range(8))
def test_levels_are_better_than_evenly_spaced_ones(seed: int) -> None:
    """Over the kinds of maps of whole steps that there are: uniform, bell-shaped, two heaps, few far away."""
    random = np.random.default_rng(seed)
    heaps = np.where(random.random((20, 30)) < 0.2, random.normal(-6, 0.5, (20, 30)), random.normal(5, 1, (20, 30)))
    for values in (
        random.uniform(-12, 12, (20, 30)),
        random.normal(0, 6, (20, 30)),
        heaps,
        random.random((20, 30)) ** 12 * 24 - 12,
    ):
        values = np.rint(values)
        for count in (2, 5, 8):
            found = quantisers.nearest_levels(values, count)
            assert squared_error(values, found) <= squared_error(values, evenly_spaced(values, count)) + 1e-9


def test_levels_that_are_enough_change_nothing() -> None:
    constant = np.full((5, 7), 2.25)
    assert np.array_equal(quantisers.nearest_levels(constant, 8), constant)
    eight = np.resize(np.arange(8.0), (6, 9))
    assert np.array_equal(quantisers.nearest_levels(eight, 8), eight)
    assert np.allclose(quantisers.nearest_levels(eight, 1), eight.mean())


# regrid, finest, mean_steps: tools have blocks of their own

GRIDS = [(24, 16), (16, 64), (64, 16), (16, 16), (16, 1024), (100, 7)]


@pytest.mark.parametrize(("from_px", "to_px"), GRIDS)
def test_regrid_is_the_mean_over_pixels(from_px: int, to_px: int) -> None:
    width, height = 300, 451
    blocks = random_steps(-(-height // from_px), -(-width // from_px))
    wanted = over_blocks(of_pixels(blocks, width, height, from_px), to_px, np.mean)
    found = quantisers.regrid(blocks, width, height, from_px, to_px)
    assert found.shape == wanted.shape
    assert np.allclose(found, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("from_px", "to_px"), GRIDS)
def test_finest_is_the_least_over_pixels(from_px: int, to_px: int) -> None:
    width, height = 300, 451
    blocks = random_steps(-(-height // from_px), -(-width // from_px))
    wanted = over_blocks(of_pixels(blocks, width, height, from_px), to_px, np.min)
    assert np.array_equal(quantisers.finest(blocks, width, height, from_px, to_px), wanted)


sides = st.integers(1, 40)


@SETTINGS
@given(sides, sides, sides, sides, st.integers(0, 100))
def test_any_grid_on_any_picture(width: int, height: int, from_px: int, to_px: int, seed: int) -> None:
    blocks = random_steps(-(-height // from_px), -(-width // from_px), seed)
    pixels = of_pixels(blocks, width, height, from_px)
    found = quantisers.regrid(blocks, width, height, from_px, to_px)
    assert np.allclose(found, over_blocks(pixels, to_px, np.mean), rtol=0, atol=1e-9)
    least = quantisers.finest(blocks, width, height, from_px, to_px)
    assert np.array_equal(least, over_blocks(pixels, to_px, np.min))
    assert math.isclose(quantisers.mean_steps(blocks, width, height, from_px), pixels.mean(), abs_tol=1e-9)


def test_blocks_at_the_edge_count_as_far_as_they_lie_inside() -> None:
    # 16 + 4 pixels wide: 0 over 16 of them, 10 over 4
    assert quantisers.mean_steps(np.array([[0.0, 10.0]]), 20, 16, 16) == pytest.approx(2.0)


# fidelity


def test_a_map_that_a_tool_takes_as_it_is_has_no_error() -> None:
    wanted = random_steps(5, 7)
    told = quantisers.integer_quantisers(30, wanted, 2.0, 16, (0, 51))
    record = quantisers.fidelity(wanted, 16, told, 2.0, 7 * 16, 5 * 16)
    assert (record["rms_error_steps"], record["max_error_steps"], record["clamped_units"]) == (0, 0, 0)
    assert record["levels"] == record["levels_wanted"] == len(np.unique(wanted))
    assert record["mean_steps"] == pytest.approx(record["requested_mean_steps"], abs=1e-3)
    assert record["mean_steps"] == pytest.approx(wanted.mean() + 2, abs=1e-3), "the shift is in both"
    assert (record["blocks"], record["units"]) == ([5, 7], [5, 7])


def test_what_got_lost_on_coarser_units() -> None:
    """Two blocks of 16 px, -4 and 0, in a unit of 32 px that is told -4: the second is wrong by 4."""
    wanted = np.array([[-4.0, 0.0]])
    told = Quantisers(30, np.array([[-4]]), 32, np.array([[-4.0]]), clamped=1)
    assert quantisers.fidelity(wanted, 16, told, 0.0, 32, 16) == {
        "block_size_px": 16,
        "unit_px": 32,
        "blocks": [1, 2],
        "units": [1, 1],
        "levels_wanted": 2,
        "levels": 1,
        "rms_error_steps": round(math.sqrt((0 + 16) / 2), 4),
        "max_error_steps": 4.0,
        "clamped_units": 1,
        "requested_mean_steps": -2.0,
        "mean_steps": -4.0,
    }


# rectangles: what FFmpeg's addroi takes


def paint(found: list[quantisers.Rectangle], rows: int, columns: int, unit_px: int) -> Any:
    """What a tool makes of them, in which earlier rectangles go before later: the last is painted first."""
    result = np.zeros((rows, columns), np.int64)
    for x, y, width, height, offset in reversed(found):
        assert not any(value % unit_px for value in (x, y, width, height))
        assert width > 0
        assert height > 0
        top, left, low, right = (value // unit_px for value in (y, x, y + height, x + width))
        assert low <= rows
        assert right <= columns
        result[top:low, left:right] = offset
    return result


@settings(max_examples=200, deadline=None, derandomize=True)
@given(hnp.arrays(np.int64, shapes, elements=st.integers(-2, 2)), st.sampled_from([8, 16]))
def test_rectangles_say_the_same_as_the_map(offsets: Any, unit_px: int) -> None:
    found = quantisers.rectangles(offsets, unit_px)
    assert np.array_equal(paint(found, *offsets.shape, unit_px), offsets)
    assert len(found) <= offsets.size
    assert all(type(value) is int for one in found for value in one), "they are printed"


@pytest.mark.parametrize("levels", [2, 3, 9])
def test_dense_maps_and_maps_of_things_are_painted_as_they_are(levels: int) -> None:
    """Rectangles meet, reach around each other, and must not grow over what is not theirs."""
    for seed in range(200):
        random = np.random.default_rng(seed)
        dense = random.integers(0, levels, random.integers(1, 10, 2))
        things = np.zeros((8, 12), np.int64)
        for _ in range(6):
            y, x = random.integers(0, 8), random.integers(0, 12)
            things[y : y + random.integers(1, 6), x : x + random.integers(1, 8)] = random.integers(0, levels)
        for offsets in (dense, things):
            found = quantisers.rectangles(offsets - levels // 2, 16)
            assert np.array_equal(paint(found, *offsets.shape, 16), offsets - levels // 2)


def first_obeyed(found: list[quantisers.Rectangle], x: int, y: int) -> int:
    return next(
        (offset for left, top, w, h, offset in found if left <= x < left + w and top <= y < top + h),
        0,
    )


def test_the_first_rectangle_that_holds_a_pixel_has_its_offset() -> None:
    offsets = random_steps(6, 9).astype(np.int64)
    found = quantisers.rectangles(offsets, 16)
    read = [[first_obeyed(found, 16 * column + 5, 16 * row + 5) for column in range(9)] for row in range(6)]
    assert read == offsets.tolist()


def test_things_in_a_street_need_few_rectangles() -> None:
    offsets = np.zeros((64, 128), np.int64)
    offsets[10:30, 20:40] = -6
    offsets[40:64, 0:50] = 3
    offsets[0:5, 100:128] = 4
    assert len(quantisers.rectangles(offsets, 16)) == 3
    offsets += 2  # the background now has an offset, too: one more, over everything, last
    found = quantisers.rectangles(offsets, 16)
    assert len(found) == 4
    assert found[-1] == (0, 0, 128 * 16, 64 * 16, 2)
    assert np.array_equal(paint(found, 64, 128, 16), offsets)


def test_nothing_to_say_needs_no_rectangle() -> None:
    assert quantisers.rectangles(np.zeros((4, 5), np.int64), 16) == []
    assert quantisers.rectangles(np.full((4, 5), -3), 16) == [(0, 0, 80, 64, -3)]
