"""A low-pass that differs from pixel to pixel: nothing where it is 0, more where it is more."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from vcmbench.compress import prefilter
from vcmbench.data.colour import CHROMA_FORMATS

SIGMAS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0, 2.4, 2.8, 3.4, 4.0)


def noise(height: int = 96, width: int = 128) -> Any:
    return np.random.default_rng(6).integers(0, 256, (height, width), np.uint8)


def everywhere(plane: Any, sigma: float) -> Any:
    return prefilter.low_pass(plane, np.full(plane.shape, sigma, np.float32))


def detail(plane: Any) -> float:
    """Energy of the differences between neighbours: what a low-pass takes away."""
    values = plane.astype(float)
    return float(np.square(np.diff(values, axis=0)).mean() + np.square(np.diff(values, axis=1)).mean())


def test_nothing_changes_where_sigma_is_0(astronaut: Any) -> None:
    for plane in (noise(), np.ascontiguousarray(astronaut[..., 1])):
        assert np.array_equal(everywhere(plane, 0.0), plane)
    plane = noise()
    sigma = np.zeros(plane.shape, np.float32)
    sigma[20:50, 30:90] = 3.0
    filtered = prefilter.low_pass(plane, sigma)
    assert np.array_equal(filtered[sigma == 0], plane[sigma == 0])
    assert not np.array_equal(filtered[sigma > 0], plane[sigma > 0])


def test_a_pixel_depends_on_its_neighbourhood_alone() -> None:
    plane, other = noise(), noise()
    other[:, 80:] = 255 - other[:, 80:]
    before, after = everywhere(plane, 2.0), everywhere(other, 2.0)
    assert np.array_equal(before[:, :60], after[:, :60])
    assert not np.array_equal(before[:, 80:], after[:, 80:])


def test_a_larger_sigma_leaves_less_detail(astronaut: Any) -> None:
    for plane in (noise(), np.ascontiguousarray(astronaut[..., 1])):
        left = [detail(plane), *(detail(everywhere(plane, sigma)) for sigma in SIGMAS)]
        assert all(after < before for before, after in itertools.pairwise(left))


@pytest.mark.parametrize("node", [0.5, 0.7, 1.0, 1.4, 2.0, 2.8])
def test_there_is_no_jump_between_the_gaussians_that_are_mixed(node: float) -> None:
    below, above = everywhere(noise(), node - 0.002).astype(int), everywhere(noise(), node + 0.002).astype(int)
    assert np.abs(below - above).max() <= 2


def test_a_sigma_that_grows_over_the_picture() -> None:
    """Interpolated for every pixel: each column is what a filter of its sigma everywhere would have made of it."""
    plane = noise()
    sigma = np.linspace(0, 4, plane.shape[1], dtype=np.float32)[None].repeat(plane.shape[0], 0)
    mixed = prefilter.low_pass(plane, sigma)
    for column in range(0, plane.shape[1], 9):
        assert np.array_equal(mixed[:, column], everywhere(plane, sigma[0, column])[:, column])


@pytest.mark.parametrize("name", ["420", "422", "444"])
def test_planes_keep_their_shapes(name: str) -> None:
    chroma = CHROMA_FORMATS[name]
    sigma = np.full((48, 80), 1.0, np.float32)
    sigma[:, 40:] = 0
    steps = ((1, 1), *[(chroma.step_x, chroma.step_y)] * 2)
    for shape, step in zip(chroma.plane_shapes(80, 48), steps, strict=True):
        plane = noise(*shape)
        filtered = prefilter.low_pass(plane, sigma, step)
        assert (filtered.shape, filtered.dtype) == (shape, np.uint8)
        half = shape[1] // 2
        assert np.array_equal(filtered[:, half:], plane[:, half:]), "sigma is looked up where the sample lies"
        assert detail(filtered[:, :half]) < detail(plane[:, :half])


def test_sigma_counts_in_luma_pixels() -> None:
    """Over half as many chroma samples the same blur is half as wide."""
    plane = noise(48, 64)
    halved = prefilter.low_pass(plane, np.full((96, 128), 2.0, np.float32), (2, 2))
    assert np.array_equal(halved, everywhere(plane, 1.0))


@pytest.mark.parametrize("value", [0, 16, 127, 255])
def test_a_constant_plane_stays_as_it_is(value: int) -> None:
    plane = np.full((40, 56), value, np.uint8)
    for sigma in SIGMAS:
        assert np.array_equal(everywhere(plane, sigma), plane)


def test_the_brightness_stays(astronaut: Any) -> None:
    plane = np.ascontiguousarray(astronaut[..., 1])
    for sigma in (0.3, 1.0, 4.0):
        assert everywhere(plane, sigma).mean() == pytest.approx(plane.mean(), abs=0.5)


def test_sigma_of_steps() -> None:
    steps = np.array([[0.0, 3.0, 6.0, 12.0, 480.0]], np.float32)
    found = prefilter.sigma_px(steps)
    assert found == pytest.approx(np.array([[0, 0.25, 0.5, 1.0, 4.0]])), "in a straight line, up to the widest"
    assert prefilter.sigma_px(steps, 2.0) == pytest.approx(np.array([[0, 0.5, 1.0, 2.0, 4.0]]))
    assert found.dtype == np.float32
