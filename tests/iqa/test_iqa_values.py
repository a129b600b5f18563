"""Values: against piq and piqa by hand, against scikit-image, against kept numbers, alone and in company."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tests.helpers.iqa_reference import FREE, coarse, pairs, tensor
from tests.helpers.paths import PHOTOGRAPHS
from vcmbench.iqa import METRICS, PROFILES, Scorer, ssim

U8 = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photograph() -> U8:
    with Image.open(PHOTOGRAPHS / "coffee.png") as image:
        return np.asarray(image.convert("RGB"))


def takes(name: str, profile: str, height: int, width: int) -> bool:
    return METRICS[name].convention(profile).smallest.reason(width, height) is None


@pytest.mark.parametrize("profile", PROFILES)
@given(order=st.permutations(range(5)), count=st.integers(1, 5), jobs=st.integers(1, 3))
@settings(max_examples=4, deadline=None)
def test_company_changes_nothing(profile: str, order: list[int], count: int, jobs: int) -> None:
    with Image.open(PHOTOGRAPHS / "coffee.png") as image:
        pristine, decoded = pairs(np.asarray(image.convert("RGB")), 41, 44)
    names = [name for name in FREE if takes(name, profile, 41, 44)]
    chosen = order[:count]
    together = Scorer(names, profile, jobs=jobs).score(pristine[chosen], decoded[chosen])
    alone = Scorer(names, profile, jobs=1)
    for at, index in enumerate(chosen):
        one = alone.score(pristine[index : index + 1], decoded[index : index + 1])
        for name in names:
            assert together.values[name][at] == one.values[name][0], name


def test_psnr_agrees_with_scikit_image(photograph: U8) -> None:
    pristine, decoded = pairs(photograph, 64, 80)
    found = Scorer(["PSNR"]).score(pristine, decoded).values["PSNR"]
    for value, y, x in zip(found, pristine, decoded, strict=True):
        exact = peak_signal_noise_ratio(y, x)
        # piq adds 1e-8 to the mean squared error; float32 holds dB to some 4e-6
        assert value == pytest.approx(-10 * np.log10(10 ** (-exact / 10) + 1e-8), abs=1e-5)


def test_ssim_agrees_with_scikit_image(photograph: U8) -> None:
    pristine, decoded = pairs(photograph, 64, 80)
    found = Scorer(["SSIM"]).score(pristine, decoded).values["SSIM"]
    weights = np.array([0.299, 0.587, 0.114])
    for value, y, x in zip(found, pristine, decoded, strict=True):
        y, x = y @ weights / 255, x @ weights / 255
        # scikit-image's window has 11 taps, too (truncated at 3.5 sigma), and its mean leaves out 5 px at each side,
        # where the window leaves the picture: piq and we have no window there.
        wanted = structural_similarity(
            y, x, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )  # fmt: skip
        # the taps are rounded to single precision, ours and piq's
        planes = (torch.from_numpy(plane)[None, None] for plane in (x, y))
        assert float(ssim.means(*planes, 11, ssim.textbook)[0]) == pytest.approx(wanted, abs=5e-6)
        # in single precision, as piq, variances of smooth places are differences of nearly equal numbers
        assert value == pytest.approx(wanted, abs=1e-4)


def test_kept_numbers_of_the_published_library() -> None:
    """One pair under piqa 1.2.2, which the published experiment ran; written down from a run of that version."""
    with Image.open(PHOTOGRAPHS / "astronaut.png") as image:
        whole = np.asarray(image.convert("RGB"))
    kept = json.loads((Path(__file__).parent / "piqa_1_2_2.json").read_text())
    for size, wanted in kept.items():
        side = int(size)
        pristine, decoded = whole[None, :side, :side], coarse(whole)[None, :side, :side]
        found = Scorer(list(wanted), "qomex2023").score(pristine, decoded).values
        for name, value in wanted.items():
            # HaarPSI has a logit and MDSI a fourth root: they enlarge rounding errors
            assert found[name][0] == pytest.approx(value, abs=2e-5 if name in ("HaarPSI", "MDSI") else 1e-6), name


def test_piqa_1_3_has_another_mdsi(photograph: U8) -> None:
    """Why MDSI of the published conventions is not piqa's of today: it depends on the pictures of the call."""
    import piqa

    pristine, decoded = pairs(photograph, 64, 64)
    y, x = tensor(pristine, "qomex2023"), tensor(decoded, "qomex2023")
    metric = piqa.MDSI(reduction="none")
    assert (metric(x, y)[0] - metric(x[:1], y[:1])[0]).abs() > 1e-3
    ours = Scorer(["MDSI"], "qomex2023").score(pristine, decoded).values["MDSI"]
    assert np.abs(ours - metric(x, y).numpy()).max() > 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("profile", PROFILES)
def test_a_gpu_gives_the_same(photograph: U8, profile: str) -> None:
    pristine, decoded = pairs(photograph, 64, 64)
    names = [name for name in FREE if takes(name, profile, 64, 64)]
    here, there = (Scorer(names, profile, device).score(pristine, decoded) for device in ("cpu", "cuda"))
    for name in names:
        assert np.abs(here.values[name] - there.values[name]).max() <= 1e-4, name


def test_a_picture_that_memory_cannot_hold_is_missing(photograph: U8, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(["PSNR", "GMSD"])

    def full(_: object) -> torch.Tensor:
        return torch.empty(1 << 50)

    monkeypatch.setitem(scorer._functions, "GMSD", full)
    scores = scorer.score(photograph[None], photograph[None])
    assert scores.reasons == {"PSNR": (None,), "GMSD": ("600x400 px: not enough memory on cpu",)}
