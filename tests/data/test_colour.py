"""RGB to Y'CbCr against other implementations, and there and back."""

from __future__ import annotations

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from skimage.color import rgb2ycbcr

from vcmbench.data import colour

U8 = NDArray[np.uint8]


def swscale(rgb: U8, pixel_format: str) -> list[U8]:
    """FFmpeg's own conversion, at its most exact."""
    height, width, _ = rgb.shape
    scale = "scale=flags=bilinear+accurate_rnd+full_chroma_int:out_color_matrix=bt601:out_range=tv"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-i", "-"]
    target = ["-vf", f"{scale},format={pixel_format}", "-f", "rawvideo", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, *target]
    done = subprocess.run(command, input=rgb.tobytes(), capture_output=True, check=True)
    chroma = next(c for c in colour.CHROMA_FORMATS.values() if c.pixel_format == pixel_format)
    planes, start = [], 0
    for rows, columns in chroma.plane_shapes(width, height):
        planes.append(np.frombuffer(done.stdout, np.uint8, rows * columns, start).reshape(rows, columns))
        start += rows * columns
    return planes


def test_444_equals_scikit_image(astronaut: U8) -> None:
    ours = np.stack(colour.rgb_to_planes(astronaut, colour.CHROMA_FORMATS["444"]), axis=-1)
    theirs = rgb2ycbcr(astronaut)
    # Half a step of rounding; scikit-image's rounded coefficients add a few thousandths.
    assert np.abs(ours - theirs).max() < 0.51


@pytest.mark.parametrize("name", ["420", "422", "444"])
def test_close_to_swscale(astronaut: U8, name: str) -> None:
    chroma = colour.CHROMA_FORMATS[name]
    for ours, theirs in zip(
        colour.rgb_to_planes(astronaut, chroma), swscale(astronaut, chroma.pixel_format), strict=True
    ):
        difference = np.abs(ours.astype(int) - theirs)
        assert difference.mean() < 0.6
        assert np.percentile(difference, 99) <= 4  # chroma filters differ at edges


@pytest.mark.parametrize(
    ("rgb", "ycbcr"),
    [((0, 0, 0), (16, 128, 128)), ((255, 255, 255), (235, 128, 128)), ((255, 0, 0), (81, 90, 240)),
     ((0, 255, 0), (145, 54, 34)), ((0, 0, 255), (41, 240, 110))],
)  # fmt: skip
@pytest.mark.parametrize("name", ["400", "420", "422", "444"])
def test_reference_colours(name: str, rgb: tuple[int, int, int], ycbcr: tuple[int, int, int]) -> None:
    """The 100 % bars of BT.601; a flat picture keeps its colour through every chroma filter."""
    planes = colour.rgb_to_planes(np.full((6, 8, 3), rgb, np.uint8), colour.CHROMA_FORMATS[name])
    assert [int(plane.flat[0]) for plane in planes] == list(ycbcr[: len(planes)])
    assert all((plane == plane.flat[0]).all() for plane in planes)


def test_chroma_is_sited_on_even_columns_between_rows() -> None:
    """A step of colour from column 4 on: sample 1 (column 2) sees none of it, sample 2 (column 4) three quarters."""
    rgb = np.zeros((4, 8, 3), np.uint8)
    rgb[:, 4:, 2] = 255
    cb = colour.rgb_to_planes(rgb, colour.CHROMA_FORMATS["420"])[1][0].astype(float) - 128
    np.testing.assert_allclose(cb / 112, [0, 0, 0.75, 1], atol=0.01)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8), st.just(3))))
def test_444_there_and_back(rgb: U8) -> None:
    chroma = colour.CHROMA_FORMATS["444"]
    back = colour.planes_to_rgb(colour.rgb_to_planes(rgb, chroma), chroma)
    # 219 steps of luma and 224 of chroma cannot hold 255 of each; two steps is what rounding may cost
    assert np.abs(back.astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("name", ["420", "422"])
def test_smooth_pictures_survive_subsampling(name: str) -> None:
    y, x = np.mgrid[0:64, 0:96]
    rgb = np.stack([2 * x + 20, 3 * y + 10, x + y + 30], axis=-1).astype(np.uint8)
    chroma = colour.CHROMA_FORMATS[name]
    back = colour.planes_to_rgb(colour.rgb_to_planes(rgb, chroma), chroma)
    assert np.abs(back.astype(int) - rgb)[2:-2, 2:-2].max() <= 3
