"""`vcmbench importance` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.commands import tree, typed
from vcmbench.demo import cityscapes


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("command")
    cityscapes.write(path, width=256, height=128, train_scenes=0, sequences=0, jobs=1)
    return path


def test_maps_and_a_table(root: Path) -> None:
    done = typed("importance", "-d", root, "--cities", "frankfurt", "lindau")
    assert done.code == 0, done.err
    assert "val/frankfurt" in done.out
    assert done.out.splitlines()[-1].startswith("all")
    assert "2 done, 0 were done before, 0 failed" in done.err
    assert str(root / "importance_map") in done.err
    assert "Traceback" not in done.err
    assert len(list(root.glob("importance_map/val/*/*_importance.npy"))) == 2


def test_an_ablation_is_one_flag(root: Path, tmp_path: Path) -> None:
    before = tree(root / "cityscapes")
    values = {}
    for flag in ("--force", "--no-distance", "--no-class", "--no-speed"):
        done = typed("importance", "-d", root, "--limit", 1, "-o", tmp_path, "--visualize-every", 0, flag)
        assert done.code == 0, done.err
        values[flag] = np.load(tmp_path / "val/frankfurt/frankfurt_000000_000019_importance.npy").tobytes()
    assert len(set(values.values())) == 4
    assert tree(root / "cityscapes") == before


def test_one_json_object_a_picture(root: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "cityscapes").symlink_to(root / "cityscapes")
    done = typed("importance", "-d", data, "--json", "--aggregate", "class", "-j", 1)
    assert done.code == 0, done.err
    assert [event["state"] for event in done.events] == ["done"] * 3
    assert done.events[0]["image"] == "val/frankfurt/frankfurt_000000_000019"
    assert done.events[0]["record"]["settings"]["aggregate"] == "class"


def test_a_broken_picture_fails_and_the_others_finish(tmp_path: Path) -> None:
    cityscapes.write(tmp_path, width=128, height=64, train_scenes=0, sequences=0, jobs=1)
    broken = tmp_path / "cityscapes/disparity/val/lindau/lindau_000000_000019_disparity.png"
    broken.unlink()
    (tmp_path / "cityscapes/vehicle/val/munster/munster_000000_000019_vehicle.json").unlink()
    done = typed("importance", "-d", tmp_path, "--visualize-every", 0, "--json")
    assert done.code == 1
    assert f"failed: val/lindau/lindau_000000_000019: {broken}: is missing" in done.err
    assert "2 done, 0 were done before, 1 failed" in done.err
    assert "fallback: speed is missing for 1 picture" in done.err
    assert sorted(event["state"] for event in done.events) == ["done", "done", "failed"]
    assert json.dumps(str(broken))[1:-1] in next(e["error"] for e in done.events if e["state"] == "failed")


def test_what_is_wrong_with_polygons_is_said_at_the_end(tmp_path: Path) -> None:
    cityscapes.write(tmp_path, width=128, height=64, train_scenes=0, sequences=0, jobs=1)
    folder = tmp_path / "cityscapes/gtFine/val"
    broken = folder / "lindau/lindau_000000_000019_gtFine_polygons.json"
    outside = folder / "munster/munster_000000_000019_gtFine_polygons.json"
    broken.write_text("{")
    far = {"label": "car", "polygon": [[-9, -9], [-5, -9], [-5, -5]]}
    outside.write_text(json.dumps({"objects": [far]}))
    for states in ("3 done, 0 were done before, 0 failed", "0 done, 3 were done before, 0 failed"):
        done = typed("importance", "-d", tmp_path)
        assert done.code == 0, done.err
        said = done.err.splitlines()
        assert states in said
        after = said[said.index(states) :]
        assert any(line.startswith(f"no picture of distances: {broken}: not JSON") for line in after)
        assert f"{outside}: polygons outside of the picture: 1" in after
    assert len(list(tmp_path.glob("importance_map/val/*/*_importance.npy"))) == 3


def test_the_table_sums_up_the_records(root: Path, tmp_path: Path) -> None:
    done = typed("importance", "-d", root, "-o", tmp_path, "--visualize-every", 0, "-j", 2)
    rows = {line.split()[0]: line.split()[1:] for line in done.out.splitlines()}
    records = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("val/*/*.json"))]
    assert list(rows)[-4:] == ["val/frankfurt", "val/lindau", "val/munster", "all"]
    assert rows["val/lindau"][0] == "1"
    assert rows["val/lindau"][1] == f"{records[1]['mean_importance']:.4f}"
    count, mean, share, objects, within, _ = rows["all"]
    assert count == "3"
    assert mean == f"{sum(record['mean_importance'] for record in records) / 3:.4f}"
    assert share == f"{sum(record['share_at_one'] for record in records) / 3 * 100:.2f}"
    listed = [one for record in records for one in record["objects"]]
    assert (objects, within) == (str(len(listed)), str(sum(one["within"] for one in listed)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--reaction-time", "-1"], "reaction_s: -1.0"),
        (["--d-safe-floor", "nan"], "d_safe_floor_m: nan"),
        (["--split", "../x"], "--split, --cities: names of folders"),
        (["--split", "rome"], "no such split"),
        (["--classes", "/nowhere.toml"], "/nowhere.toml: class table cannot be read"),
    ],
)
def test_a_wrong_request_is_one_line(root: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done = typed("importance", "-d", root, "-o", tmp_path / "out", *words)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_flat_folder_has_no_labels(photos: Path) -> None:
    done = typed("importance", "-d", photos)
    assert done.code == 2
    assert "flat folder" in done.err
    assert "importance_map/<name>_importance.npy" in done.err
