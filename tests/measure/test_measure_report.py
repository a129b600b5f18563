"""The report of a run: what it is made of, that it can be written again, and when it must not be."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.measuring import (
    CODINGS,
    HEAD,
    METRICS,
    TASK,
    U8,
    Results,
    compressed,
    copy,
    counts,
    measure,
    outcome,
    tree,
    typed,
    write_toml,
)
from tests.helpers.pictures import save
from vcmbench import experiment
from vcmbench.analysis.correlation import correlate
from vcmbench.analysis.run import recalled
from vcmbench.data.record import as_json
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.measure.outcome import MeasureSettings
from vcmbench.measure.run import MeasureRun
from vcmbench.report.build import report_content
from vcmbench.report.content import ReportContent
from vcmbench.tasks.predictions import read_prediction, write_prediction


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return copy(tmp_path_factory, tmp_path)


@pytest.fixture
def config(tmp_path: Path, results: Results) -> Path:
    return tmp_path / "trial.toml"


def content(results: Results, config: Path) -> ReportContent:
    """What the report would show, without drawing it."""
    run = MeasureRun(
        experiment.load(str(config)), results.root, LocalRunner(), MeasureSettings(quiet=True), str(config)
    )
    return report_content(run, recalled(run))


def report(root: Path, config: object, *words: object) -> Any:
    return typed("report", "-d", root, "-s", config, "--runner", "local", *words)


def test_a_report_is_written_and_written_again(tmp_path: Path, astronaut: U8) -> None:
    """With names that are HTML, quotes and Korean: the second time from the records alone, and the same."""
    name = "<b>bold&'\"서울"
    root = tmp_path / name
    for number, picture in enumerate(("<i>a.png", "b'.png")):
        save(root / picture, np.roll(astronaut, 40 * number, axis=1)[:64, :96])
    head = TASK + '[metrics]\niqa = ["PSNR", "LPIPS"]\nintervals = false\nlevels = ["image"]\n'
    config = write_toml(tmp_path, 'encoder = "jpeg"\nquality = [5, 40]', head=head)
    compressed(root, config)
    (tmp_path / "weights").mkdir()
    done = typed(
        "metrics", "-d", root, "-s", config, "--runner", "local", "--gpu", "none", "--weights", tmp_path / "weights"
    )
    assert done.code == 0, done.err
    folder = Results(root).folder
    written = (folder / "report.html").read_text(encoding="utf-8")
    assert f"report: {folder / 'report.html'}" in done.err
    assert "<i>a" not in written and "&lt;i&gt;a" in written
    assert "lpips-vgg.pth" in written, "what is missing is said"
    assert "python run_metrics.py -d DATA -s trial.toml" in written
    assert str(root) not in written.replace(str(tmp_path / "weights"), ""), "no place of this machine"
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert {"accuracy_pseudo.svg", "accuracy_pseudo.pdf"} <= figures
    again = report(root, config, "-o", tmp_path / "new" / "again.html")
    assert again.code == 0, again.err
    assert undated((tmp_path / "new/again.html").read_text(encoding="utf-8")) == undated(written)
    before = tree(folder)
    assert report(root, config).code == 0
    after = tree(folder)
    assert {name for name in before if before[name] != after.get(name)} <= {"report.html"} | {
        name for name in before if name.startswith("figures/")
    }
    assert before.keys() == after.keys()


def undated(text: str) -> str:
    return re.sub(r"\d{4}-\d{2}-\d{2}", "DATE", text)


def test_nothing_measured_yet(results: Results, config: Path) -> None:
    never = write_toml(config.parent, *CODINGS, name="never")
    compressed(results.root, never)
    done = report(results.root, never)
    assert done.code == 2
    assert f"no run has measured all of it yet; run first: python run_metrics.py -d {results.root} -s" in done.err
    (results.folder / "measured.json").write_text("{")
    assert report(results.root, config).code == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (TASK, ""),
        (TASK, '[task]\nmodel = "other"\n'),
        ("intervals", 'profile = "qomex2023"\nintervals'),
        ('"SSIM"', '"GMSD"'),
        ("strata = 3", "strata = 2"),
        ("quality = [5, 40]", "quality = [5]"),
    ],
)
def test_an_experiment_that_was_changed_is_measured_first(results: Results, config: Path, old: str, new: str) -> None:
    """Else the report would call figures by the name of what did not make them."""
    config.write_text(config.read_text().replace(old, new, 1))
    before = tree(results.root)
    done = report(results.root, config)
    assert done.code == 2
    assert "it was changed since it was measured; run first: python run_metrics.py" in done.err
    assert tree(results.root) == before


def test_bitstreams_that_were_coded_anew_are_measured_first(results: Results, config: Path) -> None:
    record = results.folder / f"records/{json.loads(results.score_path('jpeg 40').read_bytes())['bitstream']}.json"
    record.write_bytes(as_json({**json.loads(record.read_bytes()), "key": "0" * 64}))
    done = report(results.root, config)
    assert done.code == 2
    assert "1 bitstreams are others than those that were measured" in done.err


def test_it_says_what_the_run_said(results: Results, config: Path) -> None:
    """Failures, missing metrics, levels and blocks are the run's, not those that the experiment asks for."""
    results.prediction("x265").unlink()
    bitstream = results.root / json.loads(results.score_path("x265").read_bytes())["bitstream"]
    data = bitstream.read_bytes()
    bitstream.write_bytes(data[:-1] + b"\0")
    done = measure(results.root, config, "--level", "image")
    assert done.code == 1
    shown = content(results, config)
    assert any("its SHA-256 is not the one in its record" in reason for _, reason in shown.missing)
    assert ("pictures", "1 are not in every configuration and were left out") in shown.missing
    assert {table.level for table in shown.correlations} == {"image"}
    assert shown.commands[-1] == "python run_metrics.py -d DATA -s trial.toml --level image"
    assert shown.pictures == 2


def test_blocks_of_a_file_stay_those_of_the_report(results: Results, config: Path, tmp_path: Path) -> None:
    places = [(city, x) for city in ("lindau", "munster") for x in (0, 40, 80, 120)]
    blocks = {str(i): [f"{city}/{city}_000000_000019", [1, 40, "420", 1.0], [x, 8], [24, 24], 0.5]
              for i, (city, x) in enumerate(places)}  # fmt: skip
    (tmp_path / "b_val_blocks.json").write_text(json.dumps(blocks))
    assert measure(results.root, config, "--blocks", tmp_path / "b_val_blocks.json").code == 0
    (tmp_path / "b_val_blocks.json").unlink()
    shown = content(results, config)
    assert next(table.n for table in shown.correlations if table.level == "block") == 8
    assert shown.commands[-1].endswith("--blocks b_val_blocks.json")


def test_predictions_of_another_network_are_not_shown_as_its_own(results: Results, config: Path) -> None:
    """Two experiments share P_GT and P_hat_C; whose pictures lie there, the report must not guess."""
    shown = content(results, config)
    assert shown.worst and not any("prediction" in what for what, _ in shown.missing)
    for path in results.root.glob("P_*/**/*.png"):
        write_prediction(path, read_prediction(path), "0" * 64)
    shown = content(results, config)
    assert not shown.worst
    reason = "the predictions that lie there are of another network; run the metrics again"
    assert reason in {why for _, why in shown.missing}
    assert all("Lost pixels" in overlay.missing for overlay in shown.overlays)


def test_predictions_of_files_that_were_replaced_are_not_shown(results: Results, config: Path) -> None:
    config.write_text(config.read_text().replace(TASK, '[task]\npredictions = "files"\n'))
    assert measure(results.root, config, "--level", "image").code == 0
    assert content(results, config).worst
    for city in ("frankfurt", "lindau", "munster"):
        for folder in ("jpeg 5", "jpeg 40", "x265"):
            shutil.copy(results.prediction("lossless", city), results.prediction(folder, city))
    assert not content(results, config).worst


@pytest.mark.parametrize("count", [3, 19])
def test_classes_have_the_names_that_they_were_given(results: Results, config: Path, count: int) -> None:
    """Of files, too; the head says that they are files, and what is not there for such classes has a reason."""
    names = [f"thing {number}" for number in range(count)]
    config.write_text(config.read_text().replace(TASK, f'[task]\npredictions = "files"\nclasses = {names}\n'))
    for path in results.root.glob("P_*/**/*.png"):
        write_prediction(path, read_prediction(path) % count)
    done = measure(results.root, config, "--level", "image")
    assert done.code == 0, done.err
    shown = content(results, config)
    (damage,) = shown.class_damage
    assert set(damage.rows) <= set(names) and 1 < len(damage.rows) <= count
    assert damage.rows == [name for name in shown.classes if name in damage.rows]
    assert ("Task", "segmentation, files in P_GT and P_hat_C") in shown.facts
    assert ("against labels", "the network knows none of the labelled classes") in shown.missing
    (machine,) = (facts for facts in shown.provenance if facts.title == "Machine")
    assert machine.rows == [("predictions", "files of P_GT and P_hat_C")]
    assert shown.worst
    config.write_text(config.read_text().replace("thing 0", "stuff"))
    assert counts(measure(results.root, config, "--level", "image"))[0] == 12, "other names are other counts"


def test_a_picture_that_changed_is_not_shown_as_the_pristine_one(results: Results, config: Path) -> None:
    for city in ("frankfurt", "lindau", "munster"):
        save(results.picture(city), np.asarray(Image.open(results.picture(city))).copy()[::-1])
    shown = content(results, config)
    assert not shown.worst and not shown.overlays
    assert any("is another picture than the one that was compressed" in reason for _, reason in shown.missing)


def test_equal_rate_comparison_of_maps(results: Results, tmp_path: Path) -> None:
    """A mapped point stands beside its uniform one, and the differences are those of the tables."""
    plain = 'encoder = "x264"\nquality = [38]'
    mapped = f'{plain}\nqp_map = {{ delta = 6 }}\nmatch = "rate"'
    config = write_toml(tmp_path, plain, mapped, head=TASK + METRICS.replace("100", "0"), name="maps")
    compressed(results.root, config)
    done = measure(results.root, config, "--level", "image")
    assert done.code == 0, done.err
    found = Results(results.root, "maps")
    (comparison,) = content(found, config).comparisons
    effects = {effect.measure: effect for effect in comparison.effects}
    sums = {"": np.zeros(2), "qp_map": np.zeros(2)}
    for score in found.scores():
        sums["qp_map" if score["qp_map"] else ""] += score["machine"]["pseudo"]["importance"]
    weighted = effects["Accuracy by importance"]
    assert weighted.uniform.value == pytest.approx(sums[""][0] / sums[""][1])
    assert weighted.mapped.value == pytest.approx(sums["qp_map"][0] / sums["qp_map"][1])
    assert weighted.difference.value == pytest.approx(weighted.mapped.value - weighted.uniform.value)
    assert abs(comparison.size_difference.value or 0) < 0.05


def test_each_level_says_what_it_is_held_against(results: Results, config: Path) -> None:
    """What the experiment chooses is for whole pictures; blocks are drawn by their accuracy."""
    config.write_text(config.read_text().replace("intervals", 'machine = "miou"\nagainst = "labels"\nintervals'))
    assert measure(results.root, config).code == 0
    assert results.json("correlation_image.json")["vcmbench"]["against"] == "miou, labels"
    assert results.json("correlation_block_32x32.json")["vcmbench"]["against"] == "accuracy, pseudo"
    rows = [row for row in results.table("image_scores") if row["encoder"] != "lossless"]
    columns = (np.array([float(row[name]) for row in rows]) for name in ("SSIM", "miou_labels"))
    by_hand = correlate(*columns)
    assert results.json("correlation_image.json")["SSIM"]["SROC"][0] == pytest.approx(by_hand.values["SROC"].value)
    told = {table.level: table.machine for table in content(results, config).correlations}
    assert told == {"image": "mIoU against the labels", "block": "accuracy against the pseudo ground truth"}


def test_another_experiment_is_none_of_it(results: Results, config: Path) -> None:
    other = write_toml(config.parent, *CODINGS[1:], head=HEAD, name="other")
    compressed(results.root, other)
    done = measure(results.root, other, "--level", "image")
    assert outcome(done)["correlations"] == {"image": "correlation_image.json"}
    assert len(content(results, config).curves[0].points) == 2
