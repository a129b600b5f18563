"""The data root: layout, names, lists, classes, resuming."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vcmbench.data.labels import train_id_lut
from vcmbench.demo import cityscapes

SMALL = {"width": 256, "height": 128, "train_scenes": 3, "sequences": 1, "frames_per_sequence": 3, "jobs": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo")
    cityscapes.write(path, **SMALL)
    return path


def _digest(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_layout_is_complete(root: Path) -> None:
    folder = root / "cityscapes"
    lines = (folder / "val.txt").read_text().split("\n")
    assert lines[-1] == ""
    assert [line.split("/")[0] for line in lines[:-1]] == ["frankfurt", "lindau", "munster"]
    for split in ("val", "train"):
        names = (folder / f"{split}.txt").read_text().splitlines()
        assert len(names) == 3
        for name in names:
            for part, endings in {
                "leftImg8bit": ["leftImg8bit.png"],
                "gtFine": ["gtFine_labelIds.png", "gtFine_instanceIds.png", "gtFine_color.png", "gtFine_polygons.json"],
                "disparity": ["disparity.png"],
                "camera": ["camera.json"],
                "vehicle": ["vehicle.json"],
            }.items():
                for ending in endings:
                    assert (folder / part / split / f"{name}_{ending}").is_file(), (name, ending)
    sequence = sorted((folder / "leftImg8bit_sequence/val/frankfurt").iterdir())
    assert [p.name for p in sequence] == [f"frankfurt_000000_{n:06d}_leftImg8bit.png" for n in (18, 19, 20)]
    assert not [p for p in folder.rglob("*") if p.name.startswith(".")]


def test_files_have_the_right_modes(root: Path) -> None:
    folder = root / "cityscapes"
    name = "val/frankfurt/frankfurt_000000_000019"
    modes = {
        "leftImg8bit/{}_leftImg8bit.png": {"RGB"},
        "gtFine/{}_gtFine_labelIds.png": {"L"},
        "gtFine/{}_gtFine_instanceIds.png": {"I;16", "I"},
        "gtFine/{}_gtFine_color.png": {"RGB"},
        "disparity/{}_disparity.png": {"I;16", "I"},
    }
    for pattern, allowed in modes.items():
        with Image.open(folder / pattern.format(name)) as image:
            assert image.mode in allowed, pattern
            assert image.size == (256, 128)
    assert json.loads((folder / f"vehicle/{name}_vehicle.json").read_text())["speed"] >= 0
    assert json.loads((folder / f"camera/{name}_camera.json").read_text())["intrinsic"]["fx"] > 0


def test_annotated_frame_is_the_one_of_the_sequence(root: Path) -> None:
    folder = root / "cityscapes"
    one = folder / "leftImg8bit/val/frankfurt/frankfurt_000000_000019_leftImg8bit.png"
    two = folder / "leftImg8bit_sequence/val/frankfurt/frankfurt_000000_000019_leftImg8bit.png"
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("split", ["val", "train"])
def test_three_scenes_show_all_classes(root: Path, split: str) -> None:
    counts = np.zeros(256, int)
    for path in (root / "cityscapes/gtFine" / split).rglob("*_labelIds.png"):
        counts += np.bincount(train_id_lut()[np.asarray(Image.open(path))].ravel(), minlength=256)
    assert (counts[:19] >= 20).all(), counts[:19]


def test_second_run_does_nothing_and_a_lost_file_is_made_again(root: Path) -> None:
    before = _digest(root)
    told: list[tuple[int, int]] = []
    assert cityscapes.write(root, **SMALL, progress=lambda done, total: told.append((done, total))).made == 0
    assert told == [(9, 9)]
    (root / "cityscapes/disparity/val/lindau/lindau_000000_000019_disparity.png").unlink()
    assert cityscapes.write(root, **SMALL).made == 1
    assert _digest(root) == before


def test_same_seed_same_bytes_other_seed_others(root: Path, tmp_path: Path) -> None:
    few = {**SMALL, "train_scenes": 0, "sequences": 0}
    cityscapes.write(tmp_path, **{**few, "jobs": 2})
    one, two = _digest(root), _digest(tmp_path)
    shared = [name for name in two if name.endswith(("png", "json")) and "demo.json" not in name]
    assert len(shared) == 24
    assert all(one[name] == two[name] for name in shared)
    assert cityscapes.write(tmp_path, **few, seed=1).made == 3
    other = _digest(tmp_path)
    assert not any(one[name] == other[name] for name in shared if "leftImg8bit" in name)


def test_foreign_data_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cityscapes").mkdir()
    (tmp_path / "cityscapes/val.txt").write_text("mine\n")
    with pytest.raises(FileExistsError, match="did not make"):
        cityscapes.write(tmp_path, **SMALL)
    assert (tmp_path / "cityscapes/val.txt").read_text() == "mine\n"


def test_impossible_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jobs"):
        cityscapes.write(tmp_path, jobs=0)


def test_every_three_scenes_ask_for_all_rare_classes() -> None:
    for block in range(4):
        asked = {name for i in range(3) for name in cityscapes.wanted(7, "train", 3 * block + i)}
        assert asked >= {"wall", "fence", "terrain", "rider", "truck", "bus", "train", "motorcycle", "bicycle"}
