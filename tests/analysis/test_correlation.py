"""Correlations: the published figures, SciPy as the reference, intervals, tests between metrics, and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit
from scipy.stats import mstats

from tests.helpers.commands import type_command
from tests.helpers.paths import SHARED
from vcmbench.analysis import correlation, logistic
from vcmbench.analysis.clusters import ClusterJackknife
from vcmbench.analysis.correlation import STATISTICS
from vcmbench.data.estimate import FISHER, Estimate, interval, with_p
from vcmbench.errors import RequestError

Array = NDArray[np.float64]
PUBLISHED = SHARED / "data/qomex2023"


@pytest.fixture
def publication() -> dict[str, Path]:
    """The published files of 64x64 blocks."""
    found = {kind: next(iter(PUBLISHED.glob(f"*_64x64_val_{kind}.json")), None) for kind in ("metrics", "blocks")}
    found["correlation"] = next(iter(PUBLISHED.glob("*_64x64_val_correlation.json")), None)
    if None in found.values():
        pytest.skip(f"needs the published files in {PUBLISHED}")
    return {kind: path for kind, path in found.items() if path}


def some(n: int, seed: int = 0, ties: bool = False) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = expit(x + rng.normal(size=n))
    return (x.round(1), y.round(1)) if ties else (x, y)


def test_published_figures(publication: dict[str, Path], tmp_path: Path) -> None:
    words = ("--blocks", publication["blocks"], "--published", "-o", tmp_path / "ours.json", "--json")
    done = type_command("correlate", publication["metrics"], *words, "--no-intervals")
    assert done.code == 0, done.err
    theirs, ours = (json.loads(path.read_text()) for path in (publication["correlation"], tmp_path / "ours.json"))
    assert [(metric, list(of)) for metric, of in ours.items()] == [(metric, list(of)) for metric, of in theirs.items()]
    for metric, figures in theirs.items():
        for name, (r, p) in figures.items():
            assert ours[metric][name][0] == pytest.approx(r, rel=0, abs=1e-15), (metric, name)
            assert ours[metric][name][1] == pytest.approx(p, rel=1e-12, abs=0), (metric, name)
    full = json.loads(done.out)
    assert all(full[metric][name] == ours[metric][name] for metric in theirs for name in theirs[metric])
    assert (full["vcmbench"]["n"], full["vcmbench"]["clusters"]) == (4096, 500)
    assert full["vcmbench"]["best"] == "LPIPS"


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [3, 10, 30, 60])
def test_point_values_are_those_of_the_published_functions(n: int, ties: bool) -> None:
    x, y = some(n, n, ties)
    found = correlation.correlate(x, y)
    for name, function in zip(STATISTICS, (mstats.pearsonr, mstats.spearmanr, mstats.kendalltau), strict=False):
        r, p = function(x, y)
        assert found.values[name].value == pytest.approx(float(r), abs=1e-12), name
        if n > 3:  # SciPy's p of three points on a line are 0 or tiny, by which function you ask
            assert found.values[name].p == pytest.approx(float(p), rel=1e-12), name


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("clusters", [8, 40])
def test_without_a_cluster_the_values_are_scipys_of_the_rest(ties: bool, clusters: int) -> None:
    x, y = some(40, 3, ties)
    labels = np.random.default_rng(1).permutation(np.arange(40) % clusters)
    jackknife = ClusterJackknife(labels.tolist())
    pearson = jackknife.pearson(x, y)
    spearman, differing = jackknife.spearman(x, y)
    kendall = jackknife.kendall(x, y, differing)
    for row, cluster in enumerate(dict.fromkeys(labels)):
        a = x[labels != cluster], y[labels != cluster]
        assert pearson[row] == pytest.approx(stats.pearsonr(*a)[0], abs=1e-10)
        assert spearman[row] == pytest.approx(stats.spearmanr(*a)[0], abs=1e-12)
        assert kendall[row] == pytest.approx(stats.kendalltau(*a)[0], abs=1e-12)


def test_many_samples_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = some(50, 4, ties=True)
    jackknife = ClusterJackknife([i // 3 for i in range(50)])
    whole = jackknife.spearman(x, y)
    kendall = jackknife.kendall(x, y, whole[1])
    monkeypatch.setattr("vcmbench.analysis.clusters._AT_ONCE", 333)
    parts = jackknife.spearman(x, y)
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(kendall, jackknife.kendall(x, y, parts[1]))


def clustered(rng: np.random.Generator, images: int = 40, blocks: int = 8) -> tuple[Array, Array, list[str]]:
    """Blocks whose scores share much within an image; the true correlation is 0.5."""
    image = np.repeat(np.arange(images), blocks)
    a, b = ((0.8**0.5) * rng.normal(size=images)[image] + (0.2**0.5) * rng.normal(size=len(image)) for _ in range(2))
    return a, 0.5 * a + 0.75**0.5 * b, [f"image{i}" for i in image]


def test_intervals_cover_the_truth_by_images_and_not_by_blocks() -> None:
    rng = np.random.default_rng(5)
    trials, hits = 200, {True: 0, False: 0}
    for _ in range(trials):
        x, y, images = clustered(rng, 12)
        for is_clustered in hits:
            values = ClusterJackknife(images if is_clustered else range(len(x))).pearson(x, y)
            low, high = interval(Estimate(float(np.corrcoef(x, y)[0, 1])), values, scale=FISHER).interval or (1, 1)
            hits[is_clustered] += low <= 0.5 <= high
    assert 0.91 * trials <= hits[True] <= 0.99 * trials
    assert hits[False] <= 0.75 * trials


def test_the_paired_test_keeps_its_level() -> None:
    """Of metrics that follow the machine alike, on 6 pictures: the bootstrap's error rejected 12 % at a nominal 5 %."""
    rng, rejected = np.random.default_rng(8), 0
    for _ in range(300):
        _, y, images = clustered(rng, 6)
        a, b = (y + rng.normal(size=6).repeat(8) + rng.normal(size=48) for _ in range(2))
        jackknife = ClusterJackknife(images)
        difference = Estimate(float(stats.spearmanr(a, y)[0] - stats.spearmanr(b, y)[0]))
        found = with_p(difference, jackknife.spearman(a, y)[0] - jackknife.spearman(b, y)[0])
        rejected += found.p is not None and found.p < 0.05
    assert rejected <= 0.07 * 300


def test_figures_do_not_depend_on_what_else_is_asked_for() -> None:
    x, y = some(60)
    images = [f"{i % 12}" for i in range(60)]
    two = correlation.compare({"a": x, "b": -(x**3)}, y, images)
    assert two.metrics["a"] == correlation.compare({"a": x}, y, images).metrics["a"]


def test_metrics_of_unknown_direction_are_ranked_without_their_sign() -> None:
    x, y = some(200)
    weak = x + 3 * np.random.default_rng(9).normal(size=200)
    found = correlation.compare({"weak": weak, "loss": -x, "same": np.exp(x)}, y)
    assert found.best == "loss"
    value = found.metrics["loss"].values["SROC"]
    assert value.value is not None and value.low is not None and value.high is not None
    assert value.low < value.value < value.high < 0
    same, other = found.against_best("same"), found.against_best("weak")
    assert same and same.estimate.p == 1 and same.estimate.value == pytest.approx(0, abs=1e-12)
    assert other and other.p_holm is not None and other.p_holm < 0.001 and other.estimate.value < 0  # type: ignore[operator]
    assert found.against_best("loss") is None


def test_a_metric_that_goes_the_wrong_way_is_never_the_best() -> None:
    x, y = some(200)
    loss = -x + 1.5 * np.random.default_rng(9).normal(size=200)
    rises = {"PSNR": True, "LPIPS": False, "weak": True}
    found = correlation.compare({"PSNR": -x, "LPIPS": loss, "weak": 0 * x + 1}, y, rises=rises)
    assert found.best == "LPIPS" and [name for name, _ in found.ranked] == ["LPIPS", "PSNR", "weak"]
    assert found.metrics["PSNR"].strength == found.metrics["PSNR"].values["SROC"].value < 0  # type: ignore[operator]
    assert found.metrics["LPIPS"].strength > 0 and found.verdict("PSNR") == "worse"
    noise = correlation.compare({"LPIPS": np.random.default_rng(2).normal(size=200), "PSNR": -x}, y, rises=rises)
    assert noise.ranked[0][0] == "LPIPS" and noise.best is None, "its interval holds 0: the first is not the best"
    wrong = correlation.compare({"PSNR": -x}, y, rises=rises)
    assert wrong.best is None and wrong.verdict("PSNR") == ""


def test_an_order_that_is_none_is_never_the_best() -> None:
    y = np.arange(8.0)
    found = correlation.compare({"none": np.array([1.0, 0, 0, 1, 1, 0, 0, 1])}, y)
    assert found.metrics["none"].strength == 0 and found.best is None


def test_holm_goes_over_the_tests_that_are_shown() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=120)
    metrics = {f"m{i}": y + (1 + 0.2 * i) * rng.normal(size=120) for i in range(6)}
    found = correlation.compare(metrics, y, rises=dict.fromkeys(metrics, True))
    shown = [one for one in found.differences if found.best in (one.a, one.b)]
    assert len(found.differences) == 15 and len(shown) == 5
    assert [one.p_holm for one in shown] == correlation.holm([one.estimate.p or 0 for one in shown])
    assert all(one.p_holm is None for one in found.differences if one not in shown)


def test_holm_by_hand() -> None:
    # 0.01 * 4, 0.02 * 3, 0.03 * 2 raised to the one before, 0.5 * 1
    assert correlation.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert correlation.holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert correlation.holm([0.7, 0.6]) == pytest.approx([1.0, 1.0])
    assert correlation.holm([]) == []


@pytest.mark.parametrize("sign", [1, -1])
def test_the_fit_finds_the_logistic_behind_the_data(sign: int) -> None:
    x = np.linspace(20, 50, 300)
    truth = logistic.Fit(0.9, 0.1, 36.0, 2.5) if sign > 0 else logistic.Fit(0.1, 0.9, 36.0, 2.5)
    y = truth.of(x) + np.random.default_rng(0).normal(0, 0.01, 300)
    found = correlation.correlate(x, y)
    assert found.fit is not None
    np.testing.assert_allclose(
        [found.fit.b1, found.fit.b2, found.fit.b3, found.fit.b4], [truth.b1, truth.b2, 36, 2.5], rtol=0.05
    )
    assert found.values["RMSE_fit"].value == pytest.approx(0.01, rel=0.1)
    assert found.values["PLCC_fit"].value > abs(found.values["PLCC"].value or 1)  # type: ignore[operator]


def test_data_without_a_bend_get_a_line() -> None:
    x = np.linspace(-3, 8, 60)
    y = 2 - 0.1 * x + np.random.default_rng(1).normal(0, 0.2, 60)
    found = correlation.correlate(x, y)
    assert found.values["PLCC_fit"].value == pytest.approx(abs(found.values["PLCC"].value or 0), abs=0.01)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([1.0, math.nan, 3, 4, math.nan], "2 of 5 scores are NaN"),
        ([1.0, math.inf, 3, 4, 5], "1 of 5 scores are infinite"),
        ([7.0] * 5, "all scores are 7"),
        ([1e20, 1e20, 1e20 + 2**14, 1e20, 1e20], "hardly differ"),
    ],
)
def test_what_cannot_be_computed_is_missing_with_a_reason(scores: list[float], words: str) -> None:
    y = np.array([0.1, 0.4, 0.2, 0.9, 0.5])
    found = correlation.compare({"bad": np.array(scores), "good": y**2}, y)
    for value in found.metrics["bad"].values.values():
        assert (value.value, value.p, value.low, value.high) == (None, None, None, None)
        assert value.reason and words in value.reason
    assert found.best == "good"
    assert found.metrics["good"].values["PLCC_fit"].reason == "5 blocks; the fit needs 10"


def test_numbers_near_the_largest_leave_ranks_and_reasons() -> None:
    x, y = some(30)
    found = correlation.compare({"huge": np.sign(x) * 1e308 * expit(abs(x))}, y).metrics["huge"]
    assert found.values["SROC"].value and found.values["SROC"].low is not None
    for name in STATISTICS:
        value = found.values[name]
        assert value.reason or (value.value is not None and math.isfinite(value.value)), name


def test_too_few_images_for_an_interval() -> None:
    x, y = some(40)
    value = correlation.compare({"m": x}, y, ["a", "b", "c", "d"] * 10).metrics["m"].values["SROC"]
    assert value.value and value.low is None and value.reason == "4 images; an interval needs 5"


def test_wrong_requests_of_the_library() -> None:
    x, y = some(20)
    with pytest.raises(RequestError, match=r"m: \(19,\) scores"):
        correlation.compare({"m": x[1:]}, y)
    with pytest.raises(RequestError, match="3 images for 20 blocks"):
        correlation.compare({"m": x}, y, ["a", "b", "c"])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Scores of 240 blocks of 30 images and three codecs; one metric has a NaN, one is constant for one codec."""
    rng = np.random.default_rng(2)
    x, y, images = clustered(rng, 30, 8)
    acc = expit(y)
    codec = rng.integers(1, 4, 240)
    table = {
        str(i): {
            "acc": acc[i],
            "GOOD": x[i],
            "LOSS": -x[i] + rng.normal(),
            "PATCHY": math.nan if i == 7 else x[i],
            "FLAT": 1.0 if codec[i] == 1 else x[i],
        }
        for i in range(240)
    }
    blocks = {str(i): [images[i], [int(codec[i]), 30, "420", 1.0], [0, 0], [64, 64], acc[i]] for i in range(240)}
    for name, content in (("m", table), ("b", blocks)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "m.json", tmp_path / "b.json"


def strict(text: str) -> Any:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_command_with_blocks_and_codecs(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "new/c.json"
    done = type_command("correlate", files[0], "--blocks", files[1], "--per-codec", "-o", out)
    assert done.code == 0, done.err
    assert "all blocks: 240 blocks of 30 images" in done.out and "x265: " in done.out
    assert "PATCHY: 1 of 240 scores are NaN" in done.out and "FLAT: all scores are 1" in done.out
    lines = done.out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("---")) + 1
    assert lines[first].startswith("GOOD") and lines[first].endswith("best")
    assert "intervals: 95 %, by source image" in lines[-1]
    found = strict(out.read_text())
    assert list(found) == ["GOOD", "LOSS", "PATCHY", "FLAT", "vcmbench"]
    assert found["PATCHY"]["SROC"] == [None, None] and "NaN" in found["PATCHY"]["reasons"]["SROC"]
    assert found["FLAT"]["codecs"]["JPEG"]["PLCC"] == [None, None]
    assert found["LOSS"]["SROC"][0] < 0
    about = found["vcmbench"]
    assert (about["clustered_by"], about["intervals"], about["groups"], about["best"]) == ("image", True, None, "GOOD")
    assert sum(of["n"] for of in about["codecs"].values()) == 240
    tests = about["tests"]
    assert tests["difference"][0][1] == -tests["difference"][1][0] > 0
    assert tests["p"][0][0] is None and tests["p"][0][2] is None  # itself, and a metric without a value
    assert not [path for path in out.parent.iterdir() if path != out]


def test_command_without_blocks_says_so_and_writes_the_published_form(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "c.json"
    done = type_command("correlate", files[0], "--metrics", "LOSS", "PATCHY", "--published", "-o", out, "--json")
    assert done.code == 0, done.err
    assert strict(done.out)["vcmbench"]["clustered_by"] == "block"
    assert "single blocks" in strict(done.out)["vcmbench"]["notes"][0]
    text = out.read_text()
    assert json.loads(text).keys() == {"LOSS", "PATCHY"}
    assert '"PATCHY": {"PLCC": NaN, "SROC": NaN, "KROCC": NaN}' in text, "as published"


def test_wrong_commands(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from vcmbench.cli import main

    flat = tmp_path / "flat.json"
    flat.write_text(json.dumps({str(i): {"acc": i, "A": 1} for i in range(5)}))
    before = files[0].read_bytes()
    for words, said in (
        ([files[0], "--per-codec"], "--blocks"),
        ([files[0], "--published"], "-o"),
        ([files[0], "-o", files[0]], "would overwrite"),
        ([files[0], "-o", tmp_path], "is a folder"),
        ([files[0], "--blocks", files[0]], "is not [image"),
        ([tmp_path / "none.json"], "No such file"),
        ([tmp_path], "is no regular file"),
        ([flat], "no metric can be correlated; 'A': all scores are 1"),
    ):
        assert main(["correlate", *map(str, words)]) == 2, words
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("vcmbench: error: ") and said in error, error
    assert files[0].read_bytes() == before


def test_blocks_of_another_draw_are_noted(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    from vcmbench.cli import main

    blocks = json.loads(files[1].read_text())
    blocks["5"][4] += 0.1
    files[1].write_text(json.dumps(blocks))
    assert main(["correlate", str(files[0]), "--blocks", str(files[1]), "--no-intervals"]) == 0
    assert "1 of 240 blocks have another accuracy" in capsys.readouterr().out
