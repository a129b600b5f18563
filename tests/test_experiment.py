"""Every mistake in an experiment is one line that names the key, the value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcmbench import experiment
from vcmbench.encoder import plugins
from vcmbench.errors import RequestError
from vcmbench.io import resources, validation

SHIPPED = sorted(path.stem for path in resources.folder("val_config").glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_experiments_load_under_their_own_name(name: str) -> None:
    assert experiment.load(name).name == name


def test_numbers_as_people_write_them(write_experiment: Callable[..., Path]) -> None:
    text = 'encoder = "x265"\nquality = [32]\ncolor_subsampling = [420]\nsubsampling_factor = [1]'
    (coding,) = experiment.load(str(write_experiment(text))).configurations()
    assert (coding.color_subsampling, coding.subsampling_factor) == ("420", 1.0)
    assert isinstance(coding.subsampling_factor, float)


def test_the_published_grid() -> None:
    published = experiment.load("qomex2023")
    folders = {plugins.get(c.encoder).folder_name(c) for c in published.configurations()}
    assert len(published.configurations()) == len(folders) == 176
    # the names that the published data set has
    assert "JPEG(quality=90, color_subsampling=420, subsampling_factor=1.0)" in folders
    assert "JM(quality=0, color_subsampling=420, subsampling_factor=0.25)" in folders
    assert "VVENC(quality=50, color_subsampling=420, subsampling_factor=0.75)" in folders


def test_options_beyond_the_published_ones_are_named_where_they_are_set(write_experiment: Callable[..., Path]) -> None:
    codings = experiment.load(
        str(
            write_experiment(
                'encoder = "x265"\nquality = [32]',
                'encoder = "x265"\nquality = [32]\npreset = "slow"',
                'encoder = "x265"\nquality = [32]\nstacked = true',
                'encoder = "x265"\nquality = [32]\ncompat = "qomex2023"',
                'encoder = "lossless"',
            )
        )
    ).configurations()
    common = "color_subsampling=420, subsampling_factor=1.0"
    assert [plugins.get(c.encoder).folder_name(c) for c in codings] == [
        f"x265(quality=32, {common})",
        f"x265(quality=32, {common}, preset=slow)",
        f"x265(quality=32, {common}, stacked=true)",
        f"x265(quality=32, {common}, compat=qomex2023)",
        "LOSSLESS(color_subsampling=444, subsampling_factor=1.0)",
    ]


@pytest.mark.parametrize(
    ("coding", "complaint"),
    [
        ('encoder = "x266"\nquality = [32]', r"coding\[1\].*encoder 'x266': unknown; there are .*x265"),
        ('encoder = "x265"\nquality = [52]', r"quality 52 is out of range: x265 takes QP 0\.\.51 \(low is better\)"),
        ('encoder = "x265"', r"quality is missing: x265 takes QP 0\.\.51"),
        ('encoder = "x265"\nquality = [32.5]', r"quality.*integer.*32\.5"),
        ('encoder = "x265"\nquality = []', r"quality.*at least 1 item"),
        ('encoder = "x265"\nqualty = [32]', r"coding\[1\]\.qualty: unknown key; known here: encoder, quality"),
        ('encoder = "none"\nquality = [1]', r"none has no quality scale"),
        ('encoder = "vvenc"\nquality = [32]\ncolor_subsampling = ["444"]', r"color_subsampling '444': vvenc takes 420"),
        (
            'encoder = "x265"\nquality = [32]\nsubsampling_factor = [1.5]',
            r"subsampling_factor.*less than or equal to 1",
        ),
        ('encoder = "x265"\nquality = [32]\nsubsampling_factor = [0.0]', r"subsampling_factor.*greater than 0"),
        ('encoder = "x265"\nquality = [32]\nsubsampling_factor = [nan]', r"subsampling_factor"),
        ('encoder = "x265"\nquality = [32]\ncolor_subsampling = [411]', r"color_subsampling '411': x265 takes 420 422"),
        ('encoder = "x265"\nquality = [32]\npreset = "turbo"', r"preset 'turbo': x265 takes ultrafast"),
        ('encoder = "jpeg"\nquality = [30]\nstacked = true', r"stacked: jpeg codes single images only"),
        ('encoder = "x264"\nquality = [30]\ncompat = "qomex2023"', r"compat 'qomex2023': x264 takes none"),
        ('encoder = "x265"\nquality = [30]\ncompat = "qomex2023"\npreset = "slow"', r"preset: compat .* fixes"),
        ('encoder = "x265"\nquality = [30, 30]', r"x265\(quality=30.*asked for twice$"),
        (
            'encoder = "jpeg"\nquality = [30]\n[[coding]]\nencoder = "jpeg"\nquality = [30]\ncompat = "qomex2023"',
            r"JPEG\(quality=30.*asked for twice, with and without compat = 'qomex2023': make them two",
        ),
    ],
)
def test_wrong_codings(write_experiment: Callable[..., Path], coding: str, complaint: str) -> None:
    path = write_experiment(coding)
    with pytest.raises(RequestError, match=complaint) as caught:
        experiment.load(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"name: Field required"),
        ('name = "a"', r"coding: Field required"),
        ('name = "../a"\n[[coding]]\nencoder = "none"', r"name: .*pattern"),
        ('name = "a"\n[report]\nanchor = "x265"\n[[coding]]\nencoder = "none"', r"report.anchor 'x265': .* none"),
        ('name = "a"\n[[codings]]\nencoder = "none"', r"codings: unknown key; .*; did you mean coding\?"),
        ('name = "a"\n[[coding]]\nencoder = "x265"\ncrf = 20', r"crf: unknown key; .*; did you mean quality\?"),
        ('name = "a"\n[[coding]]\ncodec = "x265"\nQP = 20', r"codec: unknown key; .*; did you mean encoder\?"),
        ('name = "a"\n[[coding]]\nencoder = "x265"\nQP = 20', r"QP: unknown key; .*; did you mean quality\?"),
        (
            'name = "a"\n[coding]\nencoder = "x265"',
            r"coding: there may be several of these tables: write \[\[coding\]\]",
        ),
        ('name = "a"\nspeed = 1\n[[coding]]\nencoder = "none"', r"speed: unknown key; known here: name, seed"),
        ('name = "a"\n[dataset]\nsplits = "val"\n[[coding]]\nencoder = "none"', r"dataset\.splits: unknown key"),
        ('name = "a"\n[dataset]\nlimit = 0\n[[coding]]\nencoder = "none"', r"dataset\.limit: .*greater than or equal"),
        ('name = "a"\nname = "b"', r"not TOML"),
        ('name = "a"\n[dataset]\nsplit = "../../other"\n[[coding]]\nencoder = "none"', r"dataset\.split: .*pattern"),
        ('name = "a"\n[dataset]\nsplit = "/etc"\n[[coding]]\nencoder = "none"', r"dataset\.split: .*pattern"),
        ('name = "a"\n[dataset]\ncities = [".."]\n[[coding]]\nencoder = "none"', r"dataset\.cities\[1\]: .*pattern"),
        ("\x00", r"not TOML"),
        ("#" * (1 << 20) + "#", r"bytes, such a file has at most"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(RequestError, match=complaint):
        experiment.load(str(path))


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("dataset.limit=5", "dataset.limit", 5),
        ("dataset.cities = ['a', \"b\"]", "dataset.cities", ["a", "b"]),
        ("metrics.blocks.count=7", "metrics.blocks.count", 7),
        ("metrics.against=labels", "metrics.against", "labels"),
        ("coding.quality=[30, 40]", "coding.0.quality", [30, 40]),
        ("coding.quality=[30, 40]", "coding.1.quality", [30, 40]),
        ("coding[2].quality=[9]", "coding.1.quality", [9]),
        ("coding[2].quality=[9]", "coding.0.quality", [32]),
        ("task.checkpoint=w.pth", "task.checkpoint", str(Path.cwd() / "w.pth")),
        ("name=other", "name", "other"),
    ],
)
def test_a_value_that_is_set(write_experiment: Callable[..., Path], change: str, key: str, value: object) -> None:
    path = write_experiment('encoder = "x265"\nquality = [32]', 'encoder = "x264"\nquality = [32]',
                            head='[task]\nmodel = "demo"')  # fmt: skip
    found: Any = experiment.load(str(path), [change]).model_dump(mode="json")
    for part in key.split("."):
        found = found[int(part) if part.isdigit() else part]
    assert found == value


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("limit", r"--set 'limit': must be KEY=VALUE"),
        ("a..b=1", r"must be KEY=VALUE"),
        ("coding[3].quality=[1]", r"coding\[3\]: they are numbered from 1, and there are 2"),
        ("coding[0].quality=[1]", r"coding\[0\]: they are numbered from 1, and there are 2"),
        ("name.first=a", r"first: stands in no table, but in 'trial'"),
        (
            "dataset.limit=0",
            r"--set dataset.limit=0: dataset\.limit: .* equal to 1 \(found 0\)",
        ),
        ("dataset.splits=val", r"dataset\.splits: unknown key; known here: split"),
        ("coding[2].quality=[1", r"coding\[2\]\.quality: .*list \(found '\[1'\)"),
        ("dataset.limit=5\nseed=3", r"dataset\.limit: .*integer"),
    ],
)
def test_a_wrong_value_that_is_set_is_refused_as_in_the_file(
    write_experiment: Callable[..., Path], change: str, complaint: str
) -> None:
    path = write_experiment('encoder = "x265"\nquality = [32]', 'encoder = "x264"\nquality = [32]')
    with pytest.raises(RequestError, match=complaint) as caught:
        experiment.load(str(path), [change])
    assert "\n" not in str(caught.value)


_ASK = r": give the path of a .toml file or one of .*photos"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("nothing", _ASK), ("", _ASK), (".", _ASK), ("../val_config", _ASK), ("no/such.toml", ": there is no such file"),
     ("quik", r"; did you mean quick\? There are .*photos")],
)  # fmt: skip
def test_no_such_experiment(name: str, complaint: str) -> None:
    with pytest.raises(RequestError, match=rf"no experiment '{re.escape(name)}'{complaint}"):
        experiment.load(name)


def test_paths_are_meant_from_the_experiment_and_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file begins with a byte order mark, as some editors write one."""
    monkeypatch.setenv("HOME", "/home/me")
    path = tmp_path / "mine.toml"
    text = 'name = "mine"\n[task]\nmodel = "~/m.py"\ncheckpoint = "c.pth"\nclasses = "names.txt"\n'
    path.write_text(text + '[[coding]]\nencoder = "jpeg"\nquality = [30]\n', encoding="utf-8-sig")
    task = experiment.load(str(path)).task
    assert task is not None
    found = (task.model, task.checkpoint, task.classes)
    assert found == ("/home/me/m.py", str(tmp_path / "c.pth"), str(tmp_path / "names.txt"))
    long = experiment.load(str(path), [f"task.model={'x' * 300}"]).task  # no file is called so
    assert long is not None and long.model == "x" * 300


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_bytes(b'name = "\xff\xfe"')
    with pytest.raises(RequestError, match="not TOML"):
        experiment.load(str(path))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


_coding = st.dictionaries(st.sampled_from([*experiment.CodingGrid.model_fields]), _values)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["name", "seed", "dataset", "coding", "other"]), _values)
    | st.fixed_dictionaries({"name": st.just("a"), "coding": st.lists(_coding, max_size=2)})
)
def test_whatever_a_file_holds_it_is_an_experiment_or_one_clear_line(content: dict[str, object]) -> None:
    from pydantic import ValidationError

    try:
        loaded = experiment.Experiment.model_validate(content)
    except ValidationError as error:
        line = validation.one_line(error, experiment.Experiment, experiment._NESTED)
        assert line
        assert len(line) < 5000
    else:
        assert loaded.configurations()
