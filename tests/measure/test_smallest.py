"""`vcmbench smallest` on drawn scenes, with real encoders and the embedded network."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.helpers.measuring import draw, typed, write_toml

X265 = 'encoder = "x265"\nquality = [4, 40]\npreset = "ultrafast"'
JPEG = 'encoder = "jpeg"\nquality = [5, 95]\nsubsampling_factor = [1.0, 0.5]'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smallest") / "data"
    draw(folder)
    return folder


def smallest(root: Path, config: Path, *words: object) -> tuple[int, str, str]:
    done = typed("smallest", "-d", root, "-s", config, "--runner", "local", "--gpu", "none", *words)
    return done.code, done.out, done.err


def test_what_is_found_is_confirmed_and_codes_a_folder(root: Path, tmp_path: Path) -> None:
    config = write_toml(tmp_path, X265, JPEG, head='[task]\n[report]\nanchor = "x265"\n')
    words = ("--within", 15, "--measure", "accuracy", "--json")
    code, out, err = smallest(root, config, *words)
    assert code == 0, err
    tried = json.loads(out)["tried"]
    assert [one["coding"] for one in tried] == ["x265 ultrafast", "jpeg", "jpeg x0.5"]
    anchor = tried[0]
    assert 4 <= anchor["quality"] < 40 and anchor["loses"] <= 15 and anchor["verdict"] == "within"
    assert f"x265 ultrafast {anchor['quality'] + 1}: " in err, "the next quality was tried, and loses more"
    assert anchor["confirmed bytes"] and float(anchor["confirmed loss"]) > 0, "one picture has a loss, but no interval"
    folder = root / "results/trial-smallest"
    rows = list(csv.DictReader((folder / "smallest.csv").open(encoding="utf-8")))
    assert [row["coding"] for row in rows] == [one["coding"] for one in tried]
    again = smallest(root, config, *words)
    assert (again[0], again[1]) == (code, out), "what was tried is known"
    assert not list(root.glob("results/trial/*")), "the experiment's own results stay as they are"
    coded = typed("compress", "-d", root, "-s", folder / "smallest.toml", "--runner", "local")
    assert coded.code == 0, coded.err


@pytest.mark.parametrize(
    ("head", "words", "said"),
    [
        ("", ("--within", 1), "has no [task]"),
        ("[task]\n", ("--within", -1), "--within -1: must be points of 100"),
        ("[task]\n", ("--within", 1, "--measure", "ap"), "--measure ap: of a segmentation it may be accuracy, "),
        ("[task]\n", ("--within", 1, "--limit", 1), "one picture or sequence: two are needed"),
    ],
)
def test_what_cannot_be_asked_is_a_line(
    root: Path, tmp_path: Path, head: str, words: tuple[object, ...], said: str
) -> None:
    code, _, err = smallest(root, write_toml(tmp_path, JPEG, head=head), *words)
    assert code == 2 and said in err


def test_the_anchor_is_the_plain_coding_and_others_may_lack_tools(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order of the tables; files in the working directory have no say."""
    monkeypatch.chdir(tmp_path)
    for name in ("jpeg", "x264"):
        (tmp_path / name).mkdir()
    off = 'encoder = "x264"\nquality = [4]\npreset = "ultrafast"\noff = ["deblocking"]'
    plain = (
        'encoder = "x264"\nquality = [4]\npreset = "ultrafast"\nsubsampling_factor = [0.5, 1.0]\nresampler = "lanczos"'
    )
    config = write_toml(
        tmp_path, 'encoder = "hm"\nquality = [30]', off, plain, head='[metrics]\nagainst = "labels"\n[task]\n'
    )
    code, _, err = smallest(root, config, "--within", 90)
    assert code == 2 and "nothing was started" in err and "hm: " in err
    alone = write_toml(tmp_path, 'encoder = "hm"\nquality = [30]', head="[task]\n", name="alone")
    code, _, err = smallest(root, alone, "--within", 90, "--skip-missing")
    assert code == 2 and "nothing is left of the experiment" in err
    code, out, err = smallest(root, config, "--within", 90, "--json", "--skip-missing")
    assert code == 0, err
    tried = [one["coding"] for one in json.loads(out)["tried"]]
    assert tried == ["x264 ultrafast", "x264 ultrafast off=deblocking", "x264 x0.5 ultrafast resampler=lanczos"]
    assert 'encoder = "x264"' in (root / "results/trial-smallest/smallest.toml").read_text()
    assert "in all rows" not in err and "loses" in err


def test_a_classification_races_by_its_accuracy(tmp_path: Path) -> None:
    from vcmbench.cli.commands import smallest as command
    from vcmbench.experiment import Experiment

    wanted = Experiment.model_validate(
        {"name": "x" * 64, "task": {"name": "classification", "model": "resnet18"}, "coding": [{"encoder": "none"}]}
    )
    assert command._measure_of(wanted, None) == "accuracy"
    others = {command._named(wanted.model_copy(update={"name": "x" * 60 + end})).name for end in ("a", "b")}
    assert len(others) == 2 and all(len(name) <= 64 for name in others)


def test_nothing_within_is_said(root: Path, tmp_path: Path) -> None:
    code, out, err = smallest(
        root, write_toml(tmp_path, 'encoder = "jpeg"\nquality = [2]', head="[task]\n"), "--within", 0
    )
    assert code == 1 and "never within" in out and "nothing is within 0 points" in err
