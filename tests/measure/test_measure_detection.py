"""A detector on drawn scenes, from bitstreams to the report; and its files as those of others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from tests.helpers.measuring import Results, compressed, counts, draw, measure, network, outcome, typed, write_toml
from vcmbench import tasks
from vcmbench.tasks import kind as kinds
from vcmbench.tasks.detection import Detection

CODINGS = (
    'encoder = "lossless"',
    'encoder = "jpeg"\nquality = [2, 10, 30, 70]',
    'encoder = "x264"\nquality = [50, 42, 34, 26]\npreset = "veryfast"',
)
PICTURES, CONFIGURATIONS = 6, 9
METRICS = '[metrics]\niqa = ["PSNR"]\nlevels = ["image"]\n'


def toml(keys: dict[str, Any]) -> str:
    """[task] as TOML; JSON's texts, numbers and lists are TOML's, too."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if not isinstance(value, dict)]
    for name, table in keys.items():
        if isinstance(table, dict):
            inside = ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.items() if key != "boxes")
            boxes = ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.get("boxes", {}).items())
            lines.append(f"{name} = {{{inside}{f', boxes = {{{boxes}}}' if boxes else ''}}}")
    return "[task]\n" + "\n".join(lines) + "\n"


def test_a_detector_from_bitstreams_to_the_report(tmp_path: Path) -> None:
    root, kind = tmp_path / "data", kinds.get("detection")
    draw(root, val_per_city=2)
    keys = {"name": "detection", **tasks.get("detection").example(tmp_path), "classes": ["car", "person"]}
    config = write_toml(tmp_path, *CODINGS, head=toml({**keys, "score": 0.6}) + METRICS)
    compressed(root, config)
    done = measure(root, config)
    assert (done.code, counts(done)) == (0, (PICTURES * CONFIGURATIONS, 0, 0)), done.err
    results = Results(root)
    with network(**keys) as task:
        for score in results.scores()[::7]:
            pristine, decoded = task.predict(list(results.decoded(score)))
            part = score["machine"]
            assert part["boxes"] == [len(pristine), len(decoded)] and part["identity"]["pseudo_score"] == 0.6
            truths = sum(one["truths"][0] for one in part["pseudo"]["matches"].values())
            assert truths == np.count_nonzero(pristine[:, 5] >= 0.6)
            files = root / f"P_hat_C/{score['configuration']}"
            (path,) = files.rglob(f"{Path(score['source']).name}.json")
            assert kind.files is not None and np.array_equal(kind.files.read(path, (96, 192), keys["classes"]), decoded)
    _tables(results, kind)
    _page(root, config, tmp_path)
    again = measure(root, config)
    assert (again.code, counts(again)) == (0, (0, PICTURES * CONFIGURATIONS, 0)), "nothing is asked twice"
    checked = typed("verify", "-d", root, "-s", config)
    assert checked.code == 0, checked.err
    with mock.patch.object(Detection, "predict", side_effect=AssertionError("the network was asked")):
        config.write_text(config.read_text().replace("score = 0.6", "score = 0.7"))
        again = measure(root, config)
    assert (again.code, counts(again)) == (0, (PICTURES * CONFIGURATIONS, 0, 0)), again.err
    assert all(score["machine"]["identity"]["pseudo_score"] == 0.7 for score in results.scores())
    config.write_text(config.read_text().replace("score = 0.7", "score = 0.6"))
    assert measure(root, config).code == 0
    _of_others(root, tmp_path, results)


def _tables(results: Results, kind: kinds.Kind) -> None:
    """Figures of points are those of all pictures' matches together, and lossless coding loses nothing."""
    points = {row["configuration"]: row for row in results.table("points")}
    for folder, row in points.items():
        own = [one["machine"] for one in results.scores() if one["configuration"] == folder]
        for against in ("pseudo", "labels"):
            parts = [one[against] for one in own]
            assert all(parts), "drawn scenes have labelled objects"
            found = kind.reduce(parts, 2, np.ones((1, PICTURES)))
            for by in kind.ranges:
                found |= kind.by_range(parts, np.ones((1, PICTURES)), by=by)
            for name, values in found.items():
                told = row[f"{name}_{against}"]
                assert (float(told) if told else np.nan) == pytest.approx(values[0], nan_ok=True), (folder, name)
    lossless = next(row for folder, row in points.items() if row["encoder"] == "lossless")
    assert {lossless[f"ap_{name}_pseudo"] for name in ("0_15m", "15_30m", "important")} == {"1.0"}
    assert lossless["ap_pseudo"] == "1.0" and lossless["ap_large_pseudo"] == ""
    worst = next(row for row in points.values() if (row["encoder"], row["quality"]) == ("jpeg", "2"))
    assert float(worst["ap_pseudo_low"]) < float(worst["ap_pseudo"]) < 1
    classes = results.table("classes")
    assert {row["class"] for row in classes} == {"car", "person"} and len(classes) == 2 * 2 * CONFIGURATIONS
    own = [float(row["ap"]) for row in classes if row["configuration"] == worst["configuration"]
           and row["against"] == "pseudo"]  # fmt: skip
    assert np.mean(own) == pytest.approx(float(worst["ap_pseudo"]))


def _page(root: Path, config: Path, folder: Path) -> None:
    told = typed("report", "-d", root, "-s", config, "--runner", "local", "-o", folder / "r.html")
    assert told.code == 0, told.err
    page = (folder / "r.html").read_text(encoding="utf-8")
    assert "By distance, against the pseudo ground truth" in page and "15 to 30 m" in page
    assert "By importance, against the pseudo ground truth" in page and "AP that is lost by importance" in page
    assert "AP against the pseudo ground truth, over rate" in page and "BD-rate" in page and "AP50" in page
    rows = json.loads((root / "results/trial/bd.json").read_bytes())
    assert {row["measure"] for row in rows} == {"ap", "ap50"}
    assert any(row["bd_rate_percent"]["value"] is not None for row in rows)


def _of_others(root: Path, folder: Path, results: Results) -> None:
    """The same files as bare lists of COCO's results: the same figures, but for those of distances that are gone."""
    shutil.rmtree(root / "cityscapes/disparity")
    before = {row["configuration"]: row["ap_pseudo"] for row in results.table("points")}
    for path in [*root.glob("P_GT/**/*.json"), *root.glob("P_hat_C/**/*.json")]:
        path.write_text(json.dumps(json.loads(path.read_bytes())["annotations"]))
    head = toml({"name": "detection", "predictions": "files", "classes": ["car", "person"], "score": 0.6})
    config = write_toml(folder, *CODINGS, head=head + METRICS)
    done = measure(root, config)
    assert (done.code, counts(done)) == (0, (PICTURES * CONFIGURATIONS, 0, 0)), done.err
    assert {row["configuration"]: row["ap_pseudo"] for row in results.table("points")} == before
    assert outcome(done)["failed"] == []
    assert not any("0_15m" in name or "important" in name for name in results.table("points")[0])
    told = typed("report", "-d", root, "-s", config, "--runner", "local", "-o", folder / "r.html")
    page = (folder / "r.html").read_text(encoding="utf-8")
    assert told.code == 0 and "By distance" not in page and "AP by distance" in page and "_disparity.png" in page
