from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio

from vcmbench.compress import luma_errors
from vcmbench.data import colour, frames
from vcmbench.errors import JobError


def test_psnr_equals_scikit_image(astronaut: NDArray[np.uint8]) -> None:
    luma = colour.luma(astronaut)
    noisy = np.clip(luma + np.random.default_rng(1).normal(0, 9, luma.shape), 0, 255).astype(np.uint8)
    assert luma_errors.psnr_db(luma, noisy) == pytest.approx(peak_signal_noise_ratio(luma, noisy), abs=1e-9)
    assert luma_errors.psnr_db(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)) == pytest.approx(0.0)


def test_psnr_of_identical_pictures_is_missing_not_infinite() -> None:
    picture = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert luma_errors.psnr_db(picture, picture) is None


def test_ppm_there_and_back(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    path = tmp_path / "a.ppm"
    path.write_bytes(frames.ppm_bytes(astronaut))
    np.testing.assert_array_equal(frames.read_ppm(path, 320, 256), astronaut)
    with pytest.raises(JobError, match="320x256 px, coded was 320x128"):
        frames.read_ppm(path, 320, 128)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(JobError):
        frames.read_ppm(path, 320, 256)


def test_raw_files_must_have_exactly_the_coded_frames(tmp_path: Path) -> None:
    chroma = colour.CHROMA_FORMATS["420"]
    path = tmp_path / "a.yuv"
    path.write_bytes(bytes(96 * 2))
    frames.check_raw_size(path, 8, 8, chroma, "ab")
    with pytest.raises(JobError, match=r"2.00 frames; coded were 3 frames"):
        frames.check_raw_size(path, 8, 8, chroma, "abc")


def test_padding_repeats_the_edge() -> None:
    picture = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    padded = frames.pad(picture, 4, 2)
    assert padded.shape == (2, 4, 3)
    assert (padded[:, 1:] == picture[0, 1]).all()
    assert frames.pad(picture, 2, 1) is picture
