"""The table, what is refused, and pictures at the edge of what metrics take."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.iqa_reference import FREE, blurred, jpeg, noisy
from vcmbench.errors import RequestError
from vcmbench.iqa import METRICS, PROFILES, Scorer, check

U8 = NDArray[np.uint8]
FILTERS = ("XPSNR", "VMAF")


def textured(height: int, width: int, seed: int = 0) -> U8:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def test_the_table_is_complete() -> None:
    learned = {"LPIPS", "PieAPP", "DISTS"}
    assert set(METRICS) == {*FREE, *learned, *FILTERS}
    for name, metric in METRICS.items():
        assert metric.name == name and metric.source
        assert metric.needs == ("weights" if name in learned else "ffmpeg" if name in FILTERS else None)
        for profile in PROFILES:
            assert callable(metric.convention(profile).resolve())


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
@pytest.mark.parametrize("name", [*FREE, *FILTERS])
def test_the_smallest_side_is_the_smallest(name: str, profile: str) -> None:
    smallest = METRICS[name].convention(profile).smallest
    side = max(smallest.side_px, smallest.longer_px, int(np.ceil(smallest.area_px**0.5)))
    if side == 1:
        return
    scorer = Scorer([name], profile)
    enough, less = textured(side, side), textured(side - 1, side - 1)
    scores = scorer.score(enough, noisy(enough, 9))
    assert np.isfinite(scores.values[name][0]) and scores.reasons[name] == (None,)
    scores = scorer.score(less, noisy(less, 9))
    assert np.isnan(scores.values[name][0]) and "needs " in str(scores.reasons[name][0])
    if smallest.side_px > 1:
        scores = scorer.score(textured(smallest.side_px - 1, 200), textured(smallest.side_px - 1, 200))
        assert scores.reasons[name] == (
            f"needs a shorter side of {smallest.side_px} px or more; it is {smallest.side_px - 1} px",
        )


@pytest.mark.parametrize("profile", PROFILES)
def test_published_bounds(profile: str) -> None:
    bounds = {name: METRICS[name].convention("qomex2023").smallest for name in METRICS}
    sides = {"SSIM": 4, "MS_SSIM": 64, "VIFp": 41, "FSIM": 2, "SR_SIM": 16, "LPIPS": 16, "PieAPP": 64}
    assert all(bounds[name].side_px == side for name, side in sides.items())
    assert bounds["MS_GMSD"].longer_px == 16 and bounds["DSS"].area_px == 1024


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 5), (3, 64), (31, 33), (64, 1)])
def test_odd_and_tiny_pictures_have_a_value_or_a_reason(size: tuple[int, int], profile: str) -> None:
    pristine = textured(*size)
    scores = Scorer(FREE, profile).score(pristine, noisy(pristine, 9))
    for name in FREE:
        assert np.isfinite(scores.values[name][0]) == (scores.reasons[name][0] is None), name


@pytest.mark.parametrize("profile", PROFILES)
def test_identical_pictures_are_perfect(astronaut: U8, profile: str) -> None:
    names = [*FREE, *FILTERS]
    same = astronaut[None, :176, :176]
    scores = Scorer(names, profile).score(same, same)
    for name in FREE:
        assert scores.values[name][0] == pytest.approx(METRICS[name].convention(profile).perfect, abs=1e-5), name
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


LADDERS = {
    "noise": [lambda p, s=s: noisy(p, s) for s in (2, 8, 32)],
    "blur": [lambda p, r=r: blurred(p, r) for r in (0.7, 1.5, 4)],
    "JPEG": [lambda p, q=q: jpeg(p, q) for q in (90, 40, 6)],
}


@pytest.mark.parametrize("kind", LADDERS)
@pytest.mark.parametrize("profile", PROFILES)
def test_more_damage_is_worse(astronaut: U8, profile: str, kind: str) -> None:
    picture = astronaut[:192, 60:252]
    decoded = np.stack([hurt(picture) for hurt in LADDERS[kind]])
    scores = Scorer([*FREE, *FILTERS], profile).score(np.stack([picture] * 3), decoded)
    for name, values in scores.values.items():
        convention = METRICS[name].convention(profile)
        better = values if convention.higher_is_better else -values
        assert (np.diff(better) < 0).all(), (name, values)
        assert convention.low is None or values.min() >= convention.low
        assert convention.high is None or values.max() <= convention.high


def test_an_identity_is_json_and_tells_profiles_apart() -> None:
    known = {profile: Scorer(["PSNR", "VMAF"], profile) for profile in PROFILES}
    for name in ("PSNR", "VMAF"):
        identities = [json.dumps(scorer.identity(name), sort_keys=True) for scorer in known.values()]
        assert len(set(identities)) == 2
        assert identities[0] == json.dumps(Scorer([name]).identity(name), sort_keys=True)
    assert known["standard"].identity("VMAF")["ffmpeg"]["digest"].startswith("sha256:")
    assert "ffmpeg" not in known["standard"].identity("PSNR")
