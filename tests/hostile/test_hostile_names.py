"""Names of files that nobody chose with us in mind, through compressing, importance maps and decoding."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import hostile
from tests.helpers.commands import JPEG, X265, compress, tree
from tests.helpers.pictures import save
from vcmbench.compress import job_keys
from vcmbench.data.dataset import DataRoot, Source, open_root
from vcmbench.encoder import plugins
from vcmbench.encoder.configuration import CodingConfiguration

U8 = NDArray[np.uint8]
Write = Callable[..., Path]
FOLDER = "images_JPEG(quality=30, color_subsampling=420, subsampling_factor=1.0)"


@pytest.fixture
def root(tmp_path: Path, astronaut: U8) -> Path:
    """Small pictures under every one of the names."""
    for number, name in enumerate(hostile.NAMES):
        save(tmp_path / "photos" / f"{name}.png", np.roll(astronaut, 16 * number, axis=1)[:64, :96])
    return tmp_path / "photos"


def test_they_are_coded_resumed_and_decoded(root: Path, tmp_path: Path, write_experiment: Write) -> None:
    config = write_experiment(JPEG, X265)
    done = hostile.compress(root, config)
    assert done.code == 0, done.err
    names = {event["record"]["sources"][0]["name"] for event in done.events}
    assert names == set(hostile.NAMES)
    assert all((root / FOLDER / f"{name}.jpg").is_file() for name in hostile.NAMES)
    again = hostile.compress(root, config)
    assert {event["state"] for event in again.events} == {"resumed"}
    done = hostile.typed("decode", root / "results/trial/records" / FOLDER, "-o", tmp_path / "out", "--runner", "local")
    assert done.code == 0, done.err
    assert {path.stem for path in (tmp_path / "out").rglob("*.png")} == set(hostile.NAMES)
    hostile.printable(done)


def test_names_are_utf_8_whatever_the_locale(photos: Path, write_experiment: Write) -> None:
    (photos / "a.png").rename(photos / "Größe 서울.png")
    (photos / "b.png").unlink()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUTF8"}
    done = compress(
        photos, write_experiment(JPEG), env=environment | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}, encoding="utf-8"
    )
    assert done.code == 0, done.err
    assert [record["sources"][0]["name"] for record in done.records()] == ["Größe 서울"]
    assert (photos / FOLDER / "Größe 서울.jpg").is_file()


def test_the_table_holds_them_as_they_are(root: Path, write_experiment: Write) -> None:
    """A cell that begins with = or @ is a formula to a spreadsheet. It is the picture's name to every program that
    joins tables by it, so it is not changed; docs/hostile.md says how such a table is opened."""
    done = hostile.compress(root, write_experiment(JPEG))
    assert done.code == 0, done.err
    with (root / "results/trial/compression.csv").open(encoding="utf-8", newline="") as file:
        found = {row["source"] for row in csv.DictReader(file)}
    assert found == set(hostile.NAMES)
    assert any(name.startswith("=") for name in found)


def test_what_is_printed_is_text_alone(root: Path, write_experiment: Write, tmp_path: Path) -> None:
    for path in root.iterdir():
        path.write_bytes(b"no picture")
    done = hostile.typed("compress", "-d", root, "-s", write_experiment(JPEG), "--runner", "local")
    assert done.code == 1
    hostile.printable(done)
    lines = [line for line in done.err.splitlines() if "not an image that can be read" in line]
    assert len(lines) >= len(hostile.NAMES), "a line each, whatever line breaks are in a name"
    assert "\\x1b[2J" in done.err
    assert "\\u202e" in done.err


def test_names_that_are_no_text(photos: Path, write_experiment: Write, astronaut: U8) -> None:
    """Bytes that are no UTF-8: the job fails and says so; records and tables are UTF-8."""
    bad = os.fsdecode(b"caf\xe9")
    save(photos / f"{bad}.png", astronaut[:64, :64])
    save(photos / bad / "inside.png", astronaut[:64, :64])
    done = hostile.compress(photos, write_experiment(JPEG))
    assert done.code == 1
    states = sorted(event["state"] for event in done.events)
    assert states == ["done", "done", "failed", "failed"]
    assert "its name is not UTF-8; rename it" in done.err
    hostile.printable(done)


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600"])
def test_names_as_long_as_they_can_be(letter: str, photos: Path, write_experiment: Write, astronaut: U8) -> None:
    """The longest whose record still has a name, and one byte more."""
    size = len(letter.encode())
    longest = letter * ((255 - len(".jpg.json")) // size)
    too_long = "y" * 250
    save(photos / f"{longest}.png", astronaut[:64, :64])
    save(photos / f"{too_long}.png", astronaut[:64, :64])
    done = hostile.compress(photos, write_experiment(JPEG))
    assert done.code == 1
    states = {Path(event["bitstream"]).stem: event["state"] for event in done.events}
    assert states == {"a": "done", "b": "done", longest: "done", too_long: "failed"}
    assert "File name too long" in done.err
    assert not list((photos / FOLDER).glob("y*"))


def test_letters_that_look_the_same(photos: Path, write_experiment: Write, astronaut: U8) -> None:
    """Composed and decomposed letters, and letters of other alphabets, are other names: each has its own results."""
    names = ["\u00e9", "e\u0301", "\u0430", "a\u200b"]
    for number, name in enumerate(names):
        save(photos / f"{name}.png", np.roll(astronaut, number, axis=1)[:64, :64])
    done = hostile.compress(photos, write_experiment(JPEG))
    assert done.code == 0, done.err
    records = {event["record"]["sources"][0]["name"]: event["record"]["bitstream_sha256"] for event in done.events}
    assert set(records) == {"a", "b", *names}
    assert len(set(records.values())) == len(records)


@pytest.mark.parametrize("name", ["results", "P_GT", "P_hat_C", "importance_map", f"{FOLDER}", "cityscapes.png"])
def test_pictures_that_are_named_as_results(name: str, photos: Path, write_experiment: Write, astronaut: U8) -> None:
    """A folder of that name is taken for results and its pictures are not coded; nothing of it is lost."""
    save(photos / name / "mine.png", astronaut[:64, :64])
    save(photos / f"{name}.png", astronaut[:64, :64])
    before = tree(photos)
    done = hostile.compress(photos, write_experiment(JPEG))
    assert "Traceback" not in done.err
    after = tree(photos)
    assert {path: after[path] for path in before} == before


def test_no_name_leads_out_of_the_data_root() -> None:
    """Whatever a picture and its folder are called, its bitstream lies below the root."""
    data = DataRoot(Path("/data"), False)
    tool = plugins.get("jpeg")
    for name in hostile.NAMES:
        source = Source(Path(name), Path("/data") / name)  # type: ignore[arg-type]
        place = job_keys.bitstream_path(data, tool, CodingConfiguration("jpeg", 30), (source,))
        assert not place.is_absolute()
        assert ".." not in place.parts


# --- scenes


def test_importance_of_scenes(tmp_path: Path, astronaut: U8) -> None:
    """Cities are names of folders, too."""
    data = tmp_path / "data/cityscapes"
    picture = astronaut[:64, :96]
    cities = [name for name in hostile.NAMES if len(name.encode()) < 60]
    for city in cities:
        for part, ending, values in (
            ("leftImg8bit", "leftImg8bit", picture),
            ("gtFine", "gtFine_labelIds", np.full((64, 96), 7, np.uint8)),
            ("gtFine", "gtFine_instanceIds", np.full((64, 96), 7, np.uint16)),
            ("disparity", "disparity", np.full((64, 96), 900, np.uint16)),
        ):
            save(data / part / "val" / city / f"{city}_000000_000019_{ending}.png", values)  # type: ignore[arg-type]
    done = hostile.typed("importance", "-d", tmp_path / "data", "--json")
    assert done.code == 0, done.err
    images = {json.loads(line)["image"] for line in done.out.splitlines()}
    assert images == {f"val/{city}/{city}_000000_000019" for city in cities}
    places = {path.parent.name for path in (tmp_path / "data/importance_map").rglob("*_importance.npy")}
    assert places == set(cities)
    done = hostile.typed("importance", "-d", tmp_path / "data")
    assert done.code == 0, done.err
    hostile.printable(done)


def test_importance_of_a_scene_whose_name_is_no_text(streets: Path) -> None:
    bad = os.fsdecode(b"caf\xe9")
    labels = streets / f"cityscapes/gtFine/val/{bad}/{bad}_000000_000019_gtFine_labelIds.png"
    picture = streets / f"cityscapes/leftImg8bit/val/{bad}/{bad}_000000_000019_leftImg8bit.png"
    for path in (labels, picture):
        save(path, np.full((64, 96), 7, np.uint8))
    done = hostile.typed("importance", "-d", streets, "--no-distance")
    assert done.code == 1
    assert "its name is not UTF-8; rename it" in done.err
    assert "internal error" not in done.err
    hostile.printable(done)


@pytest.mark.parametrize("city", ["..", "../val", "/etc", ".", "a/b", "", "a\nb", "*", "-x", "a" * 300])
def test_cities_and_splits_that_are_asked_for(city: str, streets: Path, tmp_path: Path) -> None:
    """On the command line and in an experiment: names of one folder that is there, and nothing else."""
    before = tree(tmp_path)
    for words in ([f"--split={city}"], ["--cities", f"{city}"] if not city.startswith("-") else [f"--split={city}/"]):
        done = hostile.typed("importance", "-d", streets, *words)
        assert done.code == 2, done.err
        assert "Traceback" not in done.err
    assert tree(tmp_path) == before


def test_a_data_root_with_such_a_name(tmp_path: Path, astronaut: U8, write_experiment: Write) -> None:
    for number, name in enumerate(hostile.NAMES):
        root = tmp_path / str(number) / name
        save(root / "a.png", astronaut[:64, :64])
        assert open_root(root).root == root
        done = hostile.compress(root, write_experiment(JPEG))
        assert done.code == 0, done.err
