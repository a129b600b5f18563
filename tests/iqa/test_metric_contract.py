"""What every metric keeps to: ours, and those of the folders that VCMBENCH_PLUGINS names.

Metrics that need weights are there with weights alone; tests/iqa/test_iqa_learned.py has some of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.docs import example
from tests.helpers.iqa_reference import blurred, jpeg, noisy, pairs
from tests.helpers.measuring import Results, copy, measure, outcome, write_toml
from vcmbench.iqa import METRICS, PROFILES, Scorer

U8 = NDArray[np.uint8]
HERE = [name for name, metric in METRICS.items() if metric.needs != "weights"]
LADDERS = {
    "noise": [lambda p, s=s: noisy(p, s) for s in (2, 8, 32)],
    "blur": [lambda p, r=r: blurred(p, r) for r in (0.7, 1.5, 4)],
    "JPEG": [lambda p, q=q: jpeg(p, q) for q in (90, 40, 6)],
}


def textured(height: int, width: int) -> U8:
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def check(name: str, profile: str, photograph: U8) -> None:
    metric, scorer = METRICS[name], Scorer([name], profile)
    convention = metric.convention(profile)
    assert metric.source, f"{name}: `source` names the paper that it comes from"
    assert not scorer.missing, f"{name}: cannot be opened: {scorer.missing}"
    _check_identical(name, scorer, photograph)
    for kind, ladder in LADDERS.items():
        decoded = np.stack([hurt(photograph) for hurt in ladder])
        values = scorer.score(np.stack([photograph] * len(ladder)), decoded).values[name]
        better = values if convention.higher_is_better else -values
        assert (np.diff(better) < 0).all(), f"{name}: {kind} gives {values}; see higher_is_better"
        assert convention.low is None or values.min() >= convention.low, f"{name}: below its `low`: {values}"
        assert convention.high is None or values.max() <= convention.high, f"{name}: above its `high`: {values}"
    _check_company(name, profile, photograph)
    _check_sizes(name, profile)


def _check_identical(name: str, scorer: Scorer, photograph: U8) -> None:
    perfect = scorer.convention(name).perfect
    value, reason = scorer.score(photograph[None], photograph[None]).at(name, 0)
    if perfect is not None:
        assert value == pytest.approx(perfect, abs=1e-5), f"{name}: identical pictures must give its `perfect`"
    assert (value is None) == bool(reason), f"{name}: a value that is not finite needs `not_finite`, the reason"


def _check_company(name: str, profile: str, photograph: U8) -> None:
    """To the bit: a pair's score depends on nothing but the pair."""
    pristine, decoded = pairs(photograph, 176, 176)
    together = Scorer([name], profile).score(pristine, decoded).values[name]
    alone = [
        Scorer([name], profile).score(y[None], x[None]).values[name][0] for y, x in zip(pristine, decoded, strict=True)
    ]
    assert together.tolist() == alone, f"{name}: the score of a pair depends on the others of the call"


def _check_sizes(name: str, profile: str) -> None:
    smallest = METRICS[name].convention(profile).smallest
    for height, width in ((1, 1), (1, 9), (2, 5), (3, 64), (31, 33), (64, 1)):
        pristine = textured(height, width)
        value, reason = Scorer([name], profile).score(pristine, noisy(pristine, 9)).at(name, 0)
        assert (value is None) == bool(reason), f"{name}: {width}x{height} px need a value or a reason: `smallest`"
    side = max(smallest.side_px, smallest.longer_px, int(np.ceil(smallest.area_px**0.5)))
    if side == 1:
        return
    enough, less = textured(side, side), textured(side - 1, side - 1)
    value, reason = Scorer([name], profile).score(enough, noisy(enough, 9)).at(name, 0)
    assert value is not None, f"{name}: {side} px are to be enough by its `smallest`, but: {reason}"
    value, reason = Scorer([name], profile).score(less, noisy(less, 9)).at(name, 0)
    assert value is None and "needs " in str(reason), f"{name}: takes fewer pixels than its `smallest` says"


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", HERE)
def test_a_metric_keeps_the_contract(name: str, profile: str, astronaut: U8) -> None:
    check(name, profile, astronaut[:192, 60:252])


def test_one_file_is_a_metric(
    plugins: Path, astronaut: U8, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    example("adding-a-metric.md", plugins)
    (plugins / "metrics/broken.py").write_text(
        "from vcmbench.iqa import metric\n\n\ndef broken(batch):\n    raise LookupError('of its own')\n\n\n"
        "METRIC = metric('BROKEN', 'nobody', broken, higher_is_better=True)\n"
    )
    (plugins / "metrics/psnr.py").write_text("from vcmbench.iqa import METRICS\nMETRIC = METRICS['PSNR']\n")
    for profile in PROFILES:
        check("MAE", profile, astronaut[:192, 60:252])
    results = copy(tmp_path_factory, tmp_path)
    config = write_toml(
        tmp_path, head='[task]\n[metrics]\niqa = ["PSNR", "MAE", "BROKEN"]\nlevels = ["image"]\nbootstrap = 0\n'
    )
    done = measure(results.root, config)
    assert done.code == 0, done.err
    rows = Results(results.root).table("image_scores")
    assert all(0 <= float(row["MAE"]) < 1 and float(row["PSNR"]) > 10 and row["BROKEN"] == "" for row in rows)
    assert any("BROKEN failed: LookupError: of its own" in line for line in outcome(done)["missing"])
