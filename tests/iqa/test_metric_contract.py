"""What every metric keeps to: ours, and those of the folders that VCMBENCH_PLUGINS names.

Learned metrics of the table have weights here that the tests make (tests/helpers/iqa_weights.py).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.docs import example
from tests.helpers.iqa_reference import blurred, by_hand, jpeg, names_a_call, noisy, pairs, tensor
from tests.helpers.measuring import Results, copy, measure, outcome, write_toml
from tests.helpers.paths import CHECKOUT, PHOTOGRAPHS
from vcmbench.errors import RequestError
from vcmbench.iqa import METRICS, PROFILES, Scorer
from vcmbench.tasks import TaskSettings
from vcmbench.tasks.flips import ExpectedFlips

U8 = NDArray[np.uint8]
NETWORK = ExpectedFlips(TaskSettings())  # the embedded one, opened by what needs it
LADDERS = {
    "noise": [lambda p, s=s: noisy(p, s) for s in (2, 8, 32)],
    "blur": [lambda p, r=r: blurred(p, r) for r in (0.7, 1.5, 4)],
    "JPEG": [lambda p, q=q: jpeg(p, q) for q in (90, 40, 6)],
}
SIZES = ((64, 64), (163, 161), (97, 128))


@pytest.fixture(scope="module")
def photograph() -> U8:
    with Image.open(PHOTOGRAPHS / "coffee.png") as image:
        return np.asarray(image.convert("RGB"))


def textured(height: int, width: int) -> U8:
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def opened(name: str, profile: str, weights: Path) -> Scorer:
    scorer = Scorer([name], profile, weights=weights, network=NETWORK)
    assert not scorer.missing, f"{name}: cannot be opened: {scorer.missing[name]}"
    return scorer


def side_of(name: str, profile: str) -> int:
    """The side of the smallest square that it takes."""
    smallest = METRICS[name].convention(profile).smallest
    return max(smallest.side_px, smallest.longer_px, int(np.ceil(smallest.area_px**0.5)))


def check(name: str, profile: str, picture: U8, weights: Path) -> None:
    scorer = opened(name, profile, weights)
    assert METRICS[name].source, f"{name}: `source` names the paper that it comes from"
    _check_identical(name, scorer, picture)
    if METRICS[name].needs != "weights":  # those of the tests judge nothing
        _check_orientation(name, scorer, picture)
    _check_company(name, scorer, picture, weights)
    _check_sizes(name, scorer)
    _check_flat(name, scorer)


def _check_identical(name: str, scorer: Scorer, picture: U8) -> None:
    perfect = scorer.convention(name).perfect
    value, reason = scorer.score(picture[None], picture[None]).at(name, 0)
    if perfect is not None:
        assert value == pytest.approx(perfect, abs=1e-5), f"{name}: identical pictures must give its `perfect`"
    assert (value is None) == bool(reason), f"{name}: a value that is not finite needs `not_finite`, the reason"


def _check_orientation(name: str, scorer: Scorer, picture: U8) -> None:
    convention = scorer.convention(name)
    for kind, ladder in LADDERS.items():
        decoded = np.stack([hurt(picture) for hurt in ladder])
        scores = scorer.score(np.stack([picture] * len(ladder)), decoded)
        values = scores.values[name]
        assert scores.reasons[name] == (None,) * len(ladder), f"{name}: no value of {kind}: {scores.reasons[name]}"
        better = values if convention.higher_is_better else -values
        assert (np.diff(better) < 0).all(), f"{name}: more {kind} gives {values}; is `higher_is_better` right?"
        assert convention.low is None or values.min() >= convention.low, f"{name}: below its `low`: {values}"
        assert convention.high is None or values.max() <= convention.high, f"{name}: above its `high`: {values}"


def _check_company(name: str, scorer: Scorer, picture: U8, weights: Path) -> None:
    """To the bit: a pair's score depends on nothing but the pair, and other metrics find the batch as it was."""
    side = max(64, side_of(name, scorer.profile))
    pristine, decoded = pairs(picture, side, side)
    together = scorer.score(pristine, decoded).values[name]
    alone = [scorer.score(y[None], x[None]).values[name][0] for y, x in zip(pristine, decoded, strict=True)]
    assert together.tolist() == alone, f"{name}: the score of a pair depends on the others of the call"
    others = [other for other in ("PSNR", "SSIM") if other != name]
    mixed = Scorer([name, *others], scorer.profile, weights=weights, network=NETWORK).score(pristine, decoded).values
    for other, values in Scorer(others, scorer.profile).score(pristine, decoded).values.items():
        assert mixed[other].tolist() == values.tolist(), f"{name}: changes the batch, which {other} shares; copy first"


def _check_sizes(name: str, scorer: Scorer) -> None:
    for height, width in ((1, 1), (1, 9), (2, 5), (3, 64), (31, 33), (64, 1)):
        pristine = textured(height, width)
        value, reason = scorer.score(pristine, noisy(pristine, 9)).at(name, 0)
        assert (value is None) == bool(reason), f"{name}: {width}x{height} px need a value or a reason: `smallest`"
        assert not str(reason).startswith(f"{name} failed"), f"{name}: {width}x{height} px: {reason}; see `smallest`"
    side, smallest = side_of(name, scorer.profile), scorer.convention(name).smallest
    if side == 1:
        return
    enough, less = textured(side, side), textured(side - 1, side - 1)
    value, reason = scorer.score(enough, noisy(enough, 9)).at(name, 0)
    assert value is not None, f"{name}: {side} px are to be enough by its `smallest`, but: {reason}"
    value, reason = scorer.score(less, noisy(less, 9)).at(name, 0)
    assert value is None and "needs " in str(reason), f"{name}: takes fewer pixels than its `smallest` says"
    if smallest.side_px > 1:
        narrow = textured(smallest.side_px - 1, 200)
        assert scorer.score(narrow, narrow).reasons[name] == (
            f"needs a shorter side of {smallest.side_px} px or more; it is {smallest.side_px - 1} px",
        )


def _check_flat(name: str, scorer: Scorer) -> None:
    black, white, texture = np.zeros((1, 64, 64, 3), np.uint8), np.full((1, 64, 64, 3), 255, np.uint8), textured(64, 64)
    for pristine, decoded in ((black, black), (black, white), (white, texture), (texture, white)):
        value, reason = scorer.score(pristine, decoded).at(name, 0)
        assert (value is None) == bool(reason), f"{name}: flat pictures need a value, or `not_finite`, the reason"
        assert not str(reason).startswith(f"{name} failed"), f"{name}: flat pictures: {reason}"


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_keeps_the_contract(name: str, profile: str, astronaut: U8, weights: Path) -> None:
    check(name, profile, astronaut[:192, 60:252], weights)


NAMING = [(name, profile) for name in METRICS for profile in PROFILES if names_a_call(name, profile)]


@pytest.mark.parametrize(("name", "profile"), NAMING)
def test_a_score_is_that_of_the_call_that_it_names(
    name: str, profile: str, photograph: U8, weights: Path, references: None
) -> None:
    """To the last bits, for each picture alone."""
    scorer, call = opened(name, profile, weights), by_hand(name, profile)
    large = np.asarray(Image.fromarray(photograph).resize((770, 391), Image.Resampling.BICUBIC))[None]
    given = [pairs(photograph, *size) for size in SIZES]
    if METRICS[name].needs is None:
        given.append((large, noisy(large, 6)))
    for pristine, decoded in given:
        scores = scorer.score(pristine, decoded)
        if scores.reasons[name][0] is not None:  # too small
            continue
        for index, value in enumerate(scores.values[name]):
            y, x = (tensor(pictures[index : index + 1], profile) for pictures in (pristine, decoded))
            wanted = float(call(x, y)[0])
            size = f"{pristine.shape[2]}x{pristine.shape[1]}"
            assert value == pytest.approx(wanted, abs=1e-6 * max(1, abs(wanted))), f"{name}, {size}: is not its `call`"


def test_the_page_lists_our_metrics() -> None:
    page = (CHECKOUT / "docs/quality.md").read_text(encoding="utf-8")
    table = page[page.index("## Table") : page.index("## What differs")]
    ours = [name for name, metric in METRICS.items() if metric.file is None]
    assert re.findall(r"^\| ([A-Z]\w+) \| ", table, re.MULTILINE) == ours, "docs/quality.md: a row for each, in order"


FAULTY = {
    "is `higher_is_better` right": "(x - y).abs().mean((1, 2, 3))",
    "depends on the others of the call": "1 - (x - y).abs().mean((1, 2, 3)) - torch.rand(len(x)) * 1e-6",
    "changes the batch, which PSNR shares": "1 - x.sub_(y).abs_().mean((1, 2, 3))",
    "must give its `perfect`": "2 - (x - y).abs().mean((1, 2, 3))",
    "flat pictures: FAULTY failed: KeyError": "1 - (x - y).abs().mean((1, 2, 3)) if x.any() else {}[0]",
    "no value of noise: .*failed: ValueError: gives": "1 - (x - y).abs().mean((1, 2))",
}


@pytest.mark.parametrize("said", FAULTY)
def test_the_contract_says_what_is_wrong(plugins: Path, astronaut: U8, weights: Path, said: str) -> None:
    (plugins / "metrics").mkdir()
    (plugins / "metrics/faulty.py").write_text(
        "import torch\nfrom vcmbench.iqa import metric\n\n\ndef faulty(batch):\n    x, y = batch.split(batch.rgb)\n"
        f"    return {FAULTY[said]}\n\n\nMETRIC = metric('FAULTY', 'a test', faulty, higher_is_better=True, "
        f"perfect={'1.0' if 'perfect' in said else 'None'})\n"
    )
    with pytest.raises(AssertionError, match=f"FAULTY: .*{said}"):
        check("FAULTY", "standard", astronaut[:192, 60:252], weights)


def test_two_files_of_one_name(plugins: Path) -> None:
    path = example("adding-a-metric.md", plugins)
    path.with_name("other.py").write_text(path.read_text())
    with pytest.raises(RequestError, match="MAE: several files set METRIC to that name"):
        Scorer(["PSNR", "MAE"])


def test_one_file_is_a_metric(
    plugins: Path, astronaut: U8, weights: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    example("adding-a-metric.md", plugins)
    (plugins / "metrics/broken.py").write_text(
        "from vcmbench.iqa import metric\n\n\ndef broken(batch):\n    raise LookupError('of its own')\n\n\n"
        "METRIC = metric('BROKEN', 'nobody', broken, higher_is_better=True)\n"
    )
    (plugins / "metrics/psnr.py").write_text("from vcmbench.iqa import METRICS\nMETRIC = METRICS['PSNR']\n")
    for profile in PROFILES:
        check("MAE", profile, astronaut[:192, 60:252], weights)
    results = copy(tmp_path_factory, tmp_path)
    config = write_toml(
        tmp_path, head='[task]\n[metrics]\niqa = ["PSNR", "MAE", "BROKEN"]\nlevels = ["image"]\nintervals = false\n'
    )
    done = measure(results.root, config)
    assert done.code == 0, done.err
    rows = Results(results.root).table("image_scores")
    assert all(0 <= float(row["MAE"]) < 1 and float(row["PSNR"]) > 10 and row["BROKEN"] == "" for row in rows)
    assert any("BROKEN failed: LookupError: of its own" in line for line in outcome(done)["missing"])
