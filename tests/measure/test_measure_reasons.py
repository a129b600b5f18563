"""What is missing is said with its reason everywhere, and a run for less takes nothing away that holds."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import measuring
from tests.helpers.measuring import CONFIGURATIONS, PICTURES, TASK, Results, copy, counts, measure, outcome, tree
from vcmbench import experiment
from vcmbench.analysis import tables
from vcmbench.analysis.run import recalled
from vcmbench.data.record import as_json
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.iqa import Scorer
from vcmbench.iqa.scorer import MetricScores
from vcmbench.measure import records
from vcmbench.measure.blocks import sampler
from vcmbench.measure.outcome import MeasureSettings, asked
from vcmbench.measure.run import MeasureRun
from vcmbench.report.build import report_content
from vcmbench.report.content import ReportContent
from vcmbench.tasks import TaskSettings, networks
from vcmbench.tasks.base import Task

ALL = CONFIGURATIONS * PICTURES
LOSING = ALL - PICTURES


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return copy(tmp_path_factory, tmp_path)


@pytest.fixture
def config(tmp_path: Path, results: Results) -> Path:
    return tmp_path / "trial.toml"


def run_of(results: Results, config: Path) -> MeasureRun:
    return MeasureRun(
        experiment.load(str(config)), results.root, LocalRunner(), MeasureSettings(quiet=True), str(config)
    )


def content(results: Results, config: Path) -> ReportContent:
    run = run_of(results, config)
    return report_content(run, recalled(run))


def change(config: Path, old: str, new: str) -> None:
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new, 1))


# --- reasons


def test_too_small_is_said_everywhere(results: Results, config: Path) -> None:
    """In the correlations, on the command line, in its JSON and in the report; not that scores are NaN."""
    change(config, '"SSIM"', '"SSIM", "MS_SSIM"')
    done = measure(results.root, config)
    assert done.code == 0, done.err
    too_small = Scorer(["MS_SSIM"]).convention("MS_SSIM").smallest
    why = {
        "image": f"no score for {LOSING} of {LOSING} pictures: {results.scores()[0]['iqa']['MS_SSIM']['reason']}",
        "block 32x32": f"no score for 40 of 40 blocks: {too_small.reason(32, 32)}",
    }
    for level, told in why.items():
        assert "161" in told
        found = results.json(f"correlation_{level.replace(' ', '_')}.json")
        assert set(found["MS_SSIM"]["reasons"].values()) == {told}
        assert found["SSIM"]["SROC"][0] is not None
        for codec in found["MS_SSIM"]["codecs"].values():
            assert all("161" in reason and "NaN" not in reason for reason in codec["reasons"].values())
        assert f"MS_SSIM, {level}: {told}" in outcome(done)["missing"]
        assert f"missing: MS_SSIM, {level}: {told}" in done.err
        assert (f"MS_SSIM, {level}", told) in content(results, config).missing
    assert "NaN" not in (results.folder / "correlation_image.json").read_text()
    missing = [one for one in content(results, config).missing if "bpp" not in one[0]]  # of codecs far from the others
    assert len(missing) == len(set(missing)) == 2


def test_a_metric_that_some_pictures_lack(results: Results, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no correlation on all samples, and has one for the codec that lacks none."""
    original = Scorer.score

    def score(self: Scorer, pristine: Any, decoded: Any, names: Any = None, flips: Any = None) -> MetricScores:
        found = original(self, pristine, decoded, names, flips)
        if "GMSD" in found.values and decoded.shape[1] > 32:
            blocky = np.abs(decoded[:, :, 8::8].astype(int) - decoded[:, :, 7:-1:8]).mean((1, 2, 3))
            lacking = blocky > np.abs(np.diff(decoded.astype(int), axis=2)).mean((1, 2, 3)) * 1.3  # JPEG alone
            reasons = tuple("nothing there (inf)" if lacks else None for lacks in lacking)
            return MetricScores(found.values, found.reasons | {"GMSD": reasons})
        return found

    monkeypatch.setattr(Scorer, "score", score)
    change(config, '"SSIM"', '"SSIM", "GMSD"')
    done = measure(results.root, config)
    assert done.code == 0, done.err
    lacking = [s for s in results.scores() if s["iqa"]["GMSD"]["value"] is None]
    assert {s["encoder"] for s in lacking} == {"jpeg"} and len(lacking) < LOSING
    found = results.json("correlation_image.json")["GMSD"]
    told = f"no score for {len(lacking)} of {LOSING} pictures: nothing there (inf)"
    assert found["SROC"] == [None, None] and set(found["reasons"].values()) == {told}
    codecs = found["codecs"]
    assert codecs["JPEG"]["SROC"] == [None, None] and codecs["x265"]["SROC"][0] is not None
    assert f"of {codecs['JPEG']['n']} pictures: nothing there (inf)" in codecs["JPEG"]["reasons"]["SROC"]
    assert outcome(done)["missing"] == [f"GMSD, image: {told}"]


# --- a run for less


def test_blocks_alone_leave_the_pictures_metrics(results: Results, config: Path) -> None:
    before = tree(results.folder)
    done = measure(results.root, config, "--level", "block")
    assert (done.code, counts(done)) == (0, (0, ALL, 0)), done.err
    assert list(outcome(done)["correlations"]) == ["block 32x32"]
    after = tree(results.folder)
    assert {name for name in before | after if before.get(name) != after.get(name)} == {
        "measured.json",
        "measured.sha256",
    }
    assert {table.level for table in content(results, config).correlations} == {"block"}, "what the run did"
    assert measure(results.root, config, "--level", "block", "--force").code == 0
    assert {name for name in after if tree(results.folder).get(name) != after[name]} == set()


def test_pictures_alone_leave_the_blocks(results: Results, config: Path) -> None:
    before = tree(results.folder)
    for _ in range(2):
        done = measure(results.root, config, "--level", "image")
        assert (done.code, counts(done)) == (0, (0, ALL, 0)), done.err
        assert list(outcome(done)["correlations"]) == ["image"]
        after = tree(results.folder)
        assert {name for name in before | after if before.get(name) != after.get(name)} == {
            "measured.json",
            "measured.sha256",
        }
    assert {table.level for table in content(results, config).correlations} == {"image"}
    assert {scatter.level for scatter in content(results, config).scatters} == {"image"}


def test_what_holds_no_longer_goes(results: Results, config: Path) -> None:
    """Of the level that is not asked for, too: other bitstreams, other blocks, another seed."""
    rng = np.random.default_rng(3)
    score = json.loads(results.score_path("jpeg 40").read_bytes())
    record = results.folder / f"records/{score['bitstream']}.json"
    other = json.loads(record.read_bytes()) | {"bitstream_sha256": rng.bytes(32).hex()}
    bitstream = results.root / score["bitstream"]
    shutil.copy(bitstream, bitstream.with_suffix(".kept"))
    bitstream.write_bytes(bitstream.read_bytes() + b"\0")
    import hashlib

    data = bitstream.read_bytes()
    other |= {"bitstream_sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    record.write_bytes(as_json(other))
    done = measure(results.root, config, "--level", "block")
    assert done.code == 0, done.err
    row = next(r for r in results.table("image_scores") if r["source"] == score["source"] and r["quality"] == "40")
    assert row["PSNR"] == "", "of the bitstream that was there before"
    assert not (results.folder / "correlation_image.json").exists()
    assert (results.folder / "correlation_block_32x32.json").exists()
    change(config, "intervals = true", "intervals = false")
    assert measure(results.root, config, "--level", "image").code == 0
    assert not list(results.folder.glob("correlation_block*"))


def test_other_predictions_take_the_blocks_with_them(results: Results, config: Path) -> None:
    change(config, TASK, '[task]\npredictions = "files"\n')
    assert measure(results.root, config, "--level", "image").code == 0
    assert not list(results.folder.glob("block_scores*")) and not list(results.folder.glob("correlation_block*"))
    assert (results.folder / "correlation_image.json").exists()


def test_blocks_of_a_file_stay_as_well(results: Results, config: Path, tmp_path: Path) -> None:
    path = tmp_path / "their_val_blocks.json"
    blocks = json.loads((results.folder / "blocks/trial_32x32_val_blocks.json").read_bytes())
    path.write_text(json.dumps({key: blocks[key] for key in list(blocks)[:30]}))
    assert measure(results.root, config, "--blocks", path).code == 0
    before = tree(results.folder)
    assert measure(results.root, config, "--level", "image").code == 0
    after = tree(results.folder)
    assert len(results.table("block_scores")) == 30
    assert {name for name in before | after if before.get(name) != after.get(name)} == {
        "measured.json",
        "measured.sha256",
    }


# --- what decides blocks, and who is asked


def test_another_sampler_draws_again(results: Results, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    original = sampler.sample

    def sample(*words: Any, **more: Any) -> Any:
        drawn.append(1)
        return original(*words, **more)

    monkeypatch.setattr(sampler, "sample", sample)
    assert measure(results.root, config).code == 0
    assert not drawn
    monkeypatch.setattr(sampler, "VERSION", sampler.VERSION + 1)
    assert measure(results.root, config).code == 0
    assert drawn == [1]


def test_the_runner_is_obeyed_for_tasks(results: Results, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    original = measuring._opened

    def opened(settings: TaskSettings, *where: Any) -> Task:
        asked.append(where)
        return original(settings, *where)

    monkeypatch.setattr(measuring, "_opened", opened)
    assert measure(results.root, config, "--jobs", 1).code == 0
    assert asked == [("local", "none", 1)]


def test_a_config_that_is_a_program_is_said_to_run(results: Results, config: Path) -> None:
    network = json.loads((networks.FOLDER / "demo.json").read_bytes())
    program = config.parent / "net.py"
    program.write_text("".join(f"{name} = {value!r}\n" for name, value in network.items()))
    shutil.copy(networks.FOLDER / "demo.safetensors", config.parent / "net.safetensors")
    change(config, TASK, f'[task]\nmodel = "{program}"\ncheckpoint = "net.safetensors"\n')
    done = measure(results.root, config, "--level", "image")
    assert f"running the config {program}: it is a program" in done.err
    change(config, "net.py", "net.json")
    (config.parent / "net.json").write_bytes((networks.FOLDER / "demo.json").read_bytes())
    assert "it is a program" not in measure(results.root, config, "--level", "image").err


# --- memory


def test_records_are_read_once_and_not_kept(results: Results, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To be told and reported; what stays of one is a tenth of it, and none is alive while the next is read."""
    read: list[Path] = []
    original = records.read

    def reading(path: Path) -> Any:
        read.append(path)
        return original(path)

    monkeypatch.setattr(records, "read", reading)
    run = run_of(results, config)
    findings = recalled(run)
    report_content(run, findings)
    assert len(read) == len(set(read)) == ALL + PICTURES
    for point in findings.summary.points:
        for score in point.scores.values():
            for against in ("pseudo", "labels"):
                part = score["machine"][against]
                assert isinstance(part["confusion"], np.ndarray) and part["bands"].shape == (4, 2)


def test_tables_are_written_as_they_come(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of Parquet, and nothing of either file until the last row."""
    from pyarrow import parquet

    monkeypatch.setattr(tables, "_ROWS_AT_ONCE", 2)
    run = run_of(results, results.root.parent / "trial.toml")
    with tables.writing(run.store, "many", ["source", "quality", "PSNR"]) as add:
        for number in range(5):
            add({"source": f"서울 {number}", "quality": number, "PSNR": 1 if number else None})
        assert not list(results.folder.glob("many*"))
    assert parquet.ParquetFile(results.folder / "many.parquet").num_row_groups == 3
    rows = parquet.read_table(results.folder / "many.parquet").to_pylist()
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows] == results.table("many")
    assert results.table("many")[1] == {"source": "서울 1", "quality": "1", "PSNR": "1.0"}
    before = tree(results.root)
    with pytest.raises(KeyError), tables.writing(run.store, "many", ["source"]) as add:
        add({"source": "half"})
        raise KeyError
    assert tree(results.root) == before
    with tables.writing(run.store, "many", ["source"]):
        pass
    assert not list(results.folder.glob("many*"))


def test_what_was_asked_before_there_were_sequences_is_still_the_same() -> None:
    """A report of results from before needs no new run."""
    wanted = experiment.load("quick")
    before = asked(wanted) | {"dataset": {"split": "val", "cities": None, "limit": 20}}
    assert before["dataset"] == asked(wanted)["dataset"]
    assert not {"structure", "gop", "input", "clips"} & set(re.findall(r"\w+", json.dumps(before)))
    changed = wanted.model_copy(update={"dataset": wanted.dataset.model_copy(update={"frames": 5})})
    assert asked(changed) != asked(wanted)
