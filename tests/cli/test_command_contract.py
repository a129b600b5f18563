"""What every command keeps to: ours, and those of the folders that VCMBENCH_PLUGINS names."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest

from tests.helpers.commands import JPEG, compress, type_command
from tests.helpers.docs import example, typed_in
from vcmbench import cli

COLUMNS = 80
HEAVY = {"torch", "matplotlib", "distributed", "dask", "docker", "scipy.stats", "skimage"}


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))


def check(name: str) -> None:
    path = cli.discover()[name]
    assert len(cli.summary(path)) > 10, f"{path}: its docstring's first line is what `vcmbench --help` says of it"
    parser = cli.build_parser(name)  # raises what is wrong with the module
    for one in (subparsers(parser)[name], *subparsers(subparsers(parser)[name]).values()):
        text = one.format_help()
        long = [line for line in text.splitlines() if len(line) > COLUMNS]
        assert not long, f"{path}: more than {COLUMNS} columns, which a terminal breaks: {long}"
        examples = list(typed_in(text))
        assert examples, f"{path}: add_arguments must set parser.epilog with an example, such as `  {one.prog} ...`"
        for words in examples:
            arguments = cli.build_parser(words[0]).parse_args(words)  # ends with what is wrong with the example
            assert callable(arguments.run), f"{path}: has no function run, nor does the action of `{words}`"
    with pytest.raises(SystemExit) as stop, redirect_stderr(StringIO()) as wrong:
        cli.main([name, "--no-such-option"])
    assert stop.value.code == 2, f"{path}: exits with {stop.value.code} for an option that it does not have; must be 2"
    line = wrong.getvalue()
    assert re.fullmatch(rf"vcmbench {name}.*: error: .*\n", line), f"{path}: a wrong option is one clear line"


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of its commands or actions, by name."""
    several = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(several[0].choices) if several else {}


@pytest.mark.parametrize("name", sorted(cli.discover()))
def test_a_command_keeps_the_contract(name: str) -> None:
    check(name)


def test_help_lists_all_of_them() -> None:
    shown = type_command("--help").out
    assert all(re.search(rf"^    {name}\b", shown, re.MULTILINE) for name in cli.discover())


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in ("compress", "metrics", "report"))])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = f"""
import sys
from vcmbench import cli
try:
    cli.main(sys.argv[1:])
except SystemExit:
    pass
sys.exit(str(sorted({HEAVY} & sys.modules.keys())))
"""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.stderr.strip() == "[]", "import what is heavy inside run, not at the top of the module"


@pytest.mark.parametrize("name", ["metrics", "report"])
def test_measuring_says_what_this_python_lacks(name: str) -> None:
    code = "import sys; sys.modules['torch'] = None; from vcmbench import cli; sys.exit(cli.main(sys.argv[1:]))"
    argv = [sys.executable, "-c", code, name, "-d", "data", "-s", "quick"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("vcmbench: error: measuring needs torch, which this Python does not have; install")


def test_one_file_is_a_command(plugins: Path, photos: Path, write_experiment: object) -> None:
    example("adding-a-command.md", plugins)
    config = photos.parent / "trial.toml"
    config.write_text(f'name = "trial"\n[[coding]]\n{JPEG}\n')
    assert compress(photos, config).code == 0
    done = type_command("largest", "-d", photos, "-s", "trial", "-n", "1")
    assert done.code == 0, done.err
    assert len(done.out.strip().splitlines()) == 3  # two of them are the head
    check("largest")


def test_a_faulty_command_is_named_and_the_others_work(plugins: Path) -> None:
    folder = plugins / "commands"
    folder.mkdir()
    (folder / "broken.py").write_text('"""Does nothing well."""\nimport no_such_module\n')
    (folder / "raises.py").write_text(
        '"""Raises what it likes."""\ndef add_arguments(parser): pass\ndef run(arguments): raise LookupError("x")\n'
    )
    (folder / "doctor.py").write_text('"""Another doctor."""\n')
    broken, raises = type_command("broken"), type_command("raises")
    assert (broken.code, raises.code) == (2, 1)
    assert f"{folder / 'broken.py'}, line 2: ModuleNotFoundError" in broken.err.splitlines()[-1]
    assert raises.err.splitlines()[-1] == "vcmbench: error: raises has a fault, which is not yours: LookupError('x')"
    assert "Another doctor" not in type_command("--help").out, "ours is not replaced"
