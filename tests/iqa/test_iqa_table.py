"""The table, what is refused, and pictures at the edge of what metrics take."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.iqa_reference import FREE
from vcmbench.errors import RequestError
from vcmbench.iqa import METRICS, PROFILES, Scorer, check

U8 = NDArray[np.uint8]


def textured(height: int, width: int, seed: int = 0) -> U8:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def test_the_published_losses_are_lower_for_better() -> None:
    losses = {
        name
        for name in FREE
        if METRICS[name].higher_is_better("standard") != METRICS[name].higher_is_better("qomex2023")
    }
    assert losses == {"FSIM", "SR_SIM", "VSI", "VIFp", "DSS"}
    assert all(not METRICS[name].higher_is_better("qomex2023") for name in losses)


def test_the_table_needs_no_torch() -> None:
    code = "import sys, vcmbench.iqa; vcmbench.iqa.check(['VSI']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("names", "profile", "said"),
    [
        (["PNSR"], "standard", "metric 'PNSR' is unknown; known: PSNR, SSIM,"),
        (["PSNR"], "qomex", "profile 'qomex': is unknown; known: standard, qomex2023"),
        ([], "standard", "no metric is named"),
        (["PSNR", "PSNR"], "standard", "PSNR is named twice"),
    ],
)
def test_unknown_names_are_refused(names: list[str], profile: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        check(names, profile)
    with pytest.raises(RequestError, match=said):
        Scorer(names, profile)


@pytest.mark.parametrize("device", ["cuda:99", "meta", "gpu?"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(RequestError, match="device"):
        Scorer(["PSNR"], device=device)


def test_wrong_pictures_are_refused() -> None:
    scorer, good = Scorer(["PSNR"]), textured(8, 8)
    for pristine, decoded in (
        (good, textured(8, 9)),
        (good[0], good[0]),
        (good / 255, good),
        (good[..., :1], good[..., :1]),
    ):
        with pytest.raises(RequestError, match="iqa: "):
            scorer.score(pristine, decoded)
    with pytest.raises(RequestError, match="empty"):
        scorer.score(good[:, :0], good[:, :0])


def test_no_pictures_have_no_scores() -> None:
    scores = Scorer(FREE).score(textured(64, 64)[:0], textured(64, 64)[:0])
    assert all(len(values) == 0 for values in scores.values.values())


@pytest.mark.parametrize("profile", PROFILES)
def test_published_bounds(profile: str) -> None:
    bounds = {name: METRICS[name].convention("qomex2023").smallest for name in METRICS}
    sides = {"SSIM": 4, "MS_SSIM": 64, "VIFp": 41, "FSIM": 2, "SR_SIM": 16, "LPIPS": 16, "PieAPP": 64}
    assert all(bounds[name].side_px == side for name, side in sides.items())
    assert bounds["MS_GMSD"].longer_px == 16 and bounds["DSS"].area_px == 1024


def test_what_filters_say_of_identical_pictures(astronaut: U8) -> None:
    same = astronaut[None, :176, :176]
    scores = Scorer(["XPSNR", "VMAF"]).score(same, same)
    assert scores.reasons["XPSNR"] == ("both pictures have the same luma: it is infinite (inf)",)
    assert 97 < scores.values["VMAF"][0] < 98  # without motion no 100


@pytest.mark.parametrize("profile", PROFILES)
def test_flat_pictures_have_a_value_or_a_reason(astronaut: U8, profile: str) -> None:
    texture = astronaut[:64, :64]
    flat = np.full_like(texture, 100)
    pristine = np.stack((flat, flat, texture, np.zeros_like(flat)))
    decoded = np.stack((flat, texture, flat, np.full_like(flat, 255)))
    scores = Scorer(FREE, profile).score(pristine, decoded)
    for name in FREE:
        for value, reason in zip(scores.values[name], scores.reasons[name], strict=True):
            assert np.isfinite(value) == (reason is None), name
    if profile == "standard":
        assert "flat" in str(scores.reasons["VIFp"][0]) and scores.reasons["VIFp"][2] is None
        # piq's formula calls black and white the same
        assert "flat" in str(scores.reasons["VSI"][3]) and scores.reasons["VSI"][1:3] == (None, None)


def test_an_identity_is_json_and_tells_profiles_apart() -> None:
    known = {profile: Scorer(["PSNR", "VMAF"], profile) for profile in PROFILES}
    for name in ("PSNR", "VMAF"):
        identities = [json.dumps(scorer.identity(name), sort_keys=True) for scorer in known.values()]
        assert len(set(identities)) == 2
        assert identities[0] == json.dumps(Scorer([name]).identity(name), sort_keys=True)
    assert known["standard"].identity("VMAF")["ffmpeg"]["digest"].startswith("sha256:")
    assert "ffmpeg" not in known["standard"].identity("PSNR")
