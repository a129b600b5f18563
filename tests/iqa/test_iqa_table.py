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


@pytest.mark.parametrize("module", ["vcmbench.iqa", "vcmbench.cli.commands.compress", "vcmbench.cli.commands.metrics"])
def test_torch_is_imported_when_a_scorer_is_made(module: str) -> None:
    code = f"import sys, {module}, vcmbench.iqa; vcmbench.iqa.check(['VSI']); sys.exit('torch' in sys.modules)"
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


def test_what_filters_say_of_identical_pictures(astronaut: U8) -> None:
    same = astronaut[None, :176, :176]
    scores = Scorer(["XPSNR", "VMAF"]).score(same, same)
    assert scores.reasons["XPSNR"] == ("both pictures have the same luma: it is infinite (inf)",)
    assert 97 < scores.values["VMAF"][0] < 98  # without motion no 100


def test_what_flat_pictures_lack(astronaut: U8) -> None:
    texture, flat = astronaut[:64, :64], np.full((64, 64, 3), 100, np.uint8)
    pristine, decoded = np.stack((flat, texture, flat * 0)), np.stack((texture, flat, flat * 0 + 255))
    reasons = Scorer(["VIFp", "VSI"]).score(pristine, decoded).reasons
    assert "flat" in str(reasons["VIFp"][0]) and reasons["VIFp"][1] is None
    # piq's formula calls black and white the same
    assert "flat" in str(reasons["VSI"][2]) and reasons["VSI"][:2] == (None, None)


def test_an_identity_is_json_and_tells_profiles_apart() -> None:
    known = {profile: Scorer(["PSNR", "VMAF"], profile) for profile in PROFILES}
    for name in ("PSNR", "VMAF"):
        identities = [json.dumps(scorer.identity(name), sort_keys=True) for scorer in known.values()]
        assert len(set(identities)) == 2
        assert identities[0] == json.dumps(Scorer([name]).identity(name), sort_keys=True)
    assert known["standard"].identity("VMAF")["ffmpeg"]["digest"].startswith("sha256:")
    assert "ffmpeg" not in known["standard"].identity("PSNR")
