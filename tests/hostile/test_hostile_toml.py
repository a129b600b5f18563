"""Experiments and class tables that others wrote: one clear line, in bounded time and memory."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import hostile
from tests.helpers.commands import tree
from vcmbench import experiment
from vcmbench.errors import RequestError
from vcmbench.importance import classes

X265 = '[[coding]]\nencoder = "x265"\nquality = [22]\n'
NAMED = 'name = "a"\n'
ROW = '[[class]]\nid = 0\nname = "a"\nkind = "void"\n'


def numbers(count: int, text: str = "{}") -> str:
    lines = ",\n".join(text.format(i) for i in range(count))
    return f"[{lines}]"


LONG, QUOTED = numbers(10_000), '"x"'
GRID = f'[[coding]]\nencoder = "x265"\nquality = {LONG}\nsubsampling_factor = {numbers(9_000, "0.1")}\n'
SMALL_GRID = f'[[coding]]\nencoder = "x265"\nquality = {numbers(300)}\nsubsampling_factor = {numbers(300, "0.1")}\n'
MANY = f"parameters = {{ {', '.join(f'a{i} = {i}' for i in range(60))} }}"
EXPERIMENTS: dict[str, tuple[str, str]] = {
    "lists in lists": ("a = " + "[" * 100_000, "nested too deeply"),
    "tables in tables": ("a = " + "{a = " * 50_000, "nested too deeply"),
    "closed lists": ("a = " + "[" * 120 + "]" * 120, "nested too deeply"),
    "a key of many parts": (".".join("a" * 20_000) + " = 1", "19999 dots"),
    "a quoted key of many parts": (".".join(['"\u2028,="'] * 5_000) + " = 1", "4999 dots"),
    "a header of many parts": (f"[{'.'.join('a' * 10_000)}]", "9999 dots"),
    "a key of some parts": (".".join("a" * 300) + " = 1", "nested too deeply"),
    "many keys": (NAMED + "\n".join(f"k{i} = 1" for i in range(20_000)) + f"\n{X265}", r"unknown key.*and \d+ more"),
    "a million keys": (NAMED + "\n".join(f"k{i}=1" for i in range(1_000_000)), "such a file has at most"),
    "a long whole number": (f"{NAMED}seed = {'9' * 10_000}", "4300 digits"),
    "a whole number of 65 bits": (f"{NAMED}seed = {2**64}\n{X265}", "64 bits"),
    "a long hexadecimal number": (f"{NAMED}seed = 0x{'f' * 100_000}\n{X265}", "a whole number of 400000 bits"),
    "a hexadecimal quality": (NAMED + X265.replace("22", "0x" + "f" * 100_000), "a whole number of 400000 bits"),
    "a negative seed": (f"{NAMED}seed = -1\n{X265}", "seed: .*greater than or equal to 0"),
    "no number": (f"{NAMED}{X265}qp_map = {{ delta = nan }}", "delta: .*finite"),
    "infinity": (f"{NAMED}{X265}parameters = {{ qcomp = inf }}", "parameters"),
    "a NUL in a file's name": (f'{NAMED}[metrics.blocks]\nfile = "a\\u0000b"\n{X265}', "NUL"),
    "a NUL in a table's name": (f'{NAMED}[importance]\nclasses = "a\\u0000b"\n{X265}', "NUL"),
    "a NUL in a checkpoint's name": (f'{NAMED}[task]\ncheckpoint = "a\\u0000b"\n{X265}', "NUL"),
    "a grid without end": (NAMED + GRID, "asks for 90000000 configurations; an experiment has at most 100000"),
    "many grids": (NAMED + SMALL_GRID * 50, "asks for 4500000 configurations"),
    "a list of a hundred thousand": (NAMED + X265.replace("[22]", f"[{'1,' * 100_001}]"), "asks for 100001 config"),
    "many mistakes": (NAMED + X265.replace("[22]", numbers(20_000, QUOTED)), r"found 'x'.*and \d+ more"),
    "a long name of an encoder": (f'{NAMED}[[coding]]\nencoder = "{"x" * 100_000}"', "unknown"),
    "a long city": (f'{NAMED}[dataset]\ncities = ["{"x" * 100_000}"]\n{X265}', r"cities\[1\]"),
    "a long folder": (NAMED + X265 + MANY, "file systems take 255"),
    "a long key": (f'{NAMED}"{"k" * 100_000}" = 1\n{X265}', "unknown key"),
    "a key that moves the cursor": (f'{NAMED}"\\u001b[2J" = 1\n{X265}', re.escape(r"'\x1b[2J': unknown key")),
    "a path as a split": (f'{NAMED}[dataset]\nsplit = "../val"\n{X265}', "pattern"),
    "a path as a city": (f'{NAMED}[dataset]\ncities = ["/etc"]\n{X265}', "pattern"),
    "a path as a name": (f'name = "../../x"\n{X265}', "pattern"),
    "a hidden name": (f'name = ".tmp"\n{X265}', "pattern"),
    "a split of a line": (f'{NAMED}[dataset]\nsplit = "val\\n"\n{X265}', "pattern"),
    "a path as an encoder": (f'{NAMED}[[coding]]\nencoder = "../encoders/x265"', "unknown"),
    "a path as a preset": (f'{NAMED}{X265}preset = "../../x"', "preset"),
    "more in a parameter": (f'{NAMED}{X265}parameters = {{ qcomp = "1:qp=3" }}', "names match"),
    "a path as a metric": (f'{NAMED}[metrics]\niqa = ["../x"]\n{X265}', "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("what", EXPERIMENTS)
def test_experiments(what: str, tmp_path: Path) -> None:
    text, complaint = EXPERIMENTS[what]
    path = tmp_path / "trial.toml"
    path.write_text(text)
    with hostile.within(10), pytest.raises(RequestError, match=complaint) as error:
        experiment.load(str(path))
    assert hostile.one_line(error.value).startswith(f"{path}: ")


def test_as_many_configurations_as_are_allowed(tmp_path: Path) -> None:
    """They are counted before they are made; the bound is far above what anybody codes."""
    path = tmp_path / "trial.toml"
    qualities, factors = list(range(52)), [round(0.5 + i / 200, 3) for i in range(100)]
    path.write_text(
        f'{NAMED}[[coding]]\nencoder = "x265"\nquality = {qualities}\ncolor_subsampling = ["420", "444"]\n'
        f"subsampling_factor = {factors}\n"
    )
    with hostile.within(20):
        assert len(experiment.load(str(path)).configurations()) == 10_400


CLASSES: dict[str, tuple[str, str]] = {
    "lists in lists": ("a = " + "[" * 100_000, "nested too deeply"),
    "a key of many parts": (".".join("a" * 20_000) + " = 1", "19999 dots"),
    "many classes": ("".join(ROW.replace('"a"', f'"{i}"') for i in range(3_000)), "at most 256"),
    "a long whole number": (ROW.replace("id = 0", f"id = {'9' * 10_000}"), "4300 digits"),
    "a long hexadecimal number": (ROW.replace("id = 0", f"id = 0x{'f' * 50_000}"), "bits"),
    "a long name": (ROW.replace('"a"', f'"{"x" * 100_000}"'), "at most 64"),
    "a NUL": (ROW.replace('"a"', '"\\u0000"'), "NUL"),
    "no number": (ROW.replace('"void"', '"fixed"\nimportance = nan'), "importance"),
    "a long key": (f'"{"k" * 100_000}" = 1\n{ROW}', "unknown key"),
    "a megabyte": ("#" * (1 << 20), "such a file has at most"),
}


@pytest.mark.parametrize("what", CLASSES)
def test_class_tables(what: str, tmp_path: Path) -> None:
    text, complaint = CLASSES[what]
    path = tmp_path / "classes.toml"
    path.write_text(text)
    with hostile.within(10), pytest.raises(RequestError, match=complaint) as error:
        classes.load(path)
    assert hostile.one_line(error.value).startswith(f"{path}: ")
    whole = tmp_path / "trial.toml"
    whole.write_text(f'{NAMED}[importance]\nclasses = "classes.toml"\n{X265}qp_map = {{ delta = 2 }}')
    with hostile.within(10), pytest.raises(RequestError, match=complaint) as error:
        experiment.load(str(whole))
    hostile.one_line(error.value)


@pytest.mark.parametrize("load", [lambda path: experiment.load(str(path)), classes.load], ids=["experiment", "classes"])
def test_what_is_no_file(load: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for make in (hostile.pipe, lambda path: hostile.sparse(path), Path.mkdir):
        make(path)
        with hostile.within(10), pytest.raises(RequestError) as error:
            load(path)
        hostile.one_line(error.value)
        path.rmdir() if path.is_dir() else path.unlink()
    path.symlink_to("/dev/zero")
    with hostile.within(10), pytest.raises(RequestError):
        load(path)


def test_files_that_an_experiment_names(photos: Path, tmp_path: Path) -> None:
    """Blocks, class tables and checkpoints may lie anywhere, and are looked at as what they should be. Nothing of what
    they hold is told, and nothing is written beside them."""
    secret = tmp_path / "elsewhere/secret.txt"
    secret.parent.mkdir()
    secret.write_text("hunter2\n" * 10)
    before = tree(secret.parent)
    for key in ("[importance]\nclasses", "[task]\ncheckpoint"):
        path = tmp_path / "trial.toml"
        path.write_text(f'{NAMED}{key} = "elsewhere/secret.txt"\n{X265}qp_map = {{ delta = 2 }}\n')
        done = hostile.typed("metrics", "-d", photos, "-s", path, "--runner", "local")
        assert done.code == 2
        assert "Traceback" not in done.err
        assert "hunter2" not in done.err + done.out
    assert tree(secret.parent) == before


def test_the_command_says_so(photos: Path, tmp_path: Path) -> None:
    before = tree(photos)
    for what in ("lists in lists", "a key of many parts", "a grid without end", "a hexadecimal quality"):
        path = tmp_path / "trial.toml"
        path.write_text(EXPERIMENTS[what][0])
        with hostile.within(60):
            done = hostile.typed("compress", "-d", photos, "-s", path, "--runner", "local")
        assert done.code == 2, done.err
        assert "Traceback" not in done.err
        assert re.search(EXPERIMENTS[what][1], done.err)
        assert done.err.count("\n") == 1
    assert tree(photos) == before
