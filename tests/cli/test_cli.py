"""Commands, their help, and the repository's promises about itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.helpers.commands import type_command
from tests.helpers.docs import typed_in
from tests.helpers.paths import CHECKOUT
from vcmbench import cli
from vcmbench.cli import table, terminal


@pytest.mark.parametrize("command", ["", "demo", "compress", "decode", "encoders", "encoders build", "doctor"])
def test_help(command: str) -> None:
    done = type_command(*command.split(), "--help")
    assert done.code == 0
    assert done.out.startswith("usage: vcmbench")


def test_help_of_the_script_shows_examples() -> None:
    done = subprocess.run([sys.executable, CHECKOUT / "run_compression.py", "--help"], capture_output=True, text=True)
    assert "python run_compression.py -d data -s quick" in done.stdout
    assert "exit codes: 0 all done, 1 some jobs failed" in done.stdout


def test_doctor_names_every_encoder() -> None:
    done = type_command("doctor")
    assert done.code == 0, done.err
    for name in ("hm", "jm", "x265", "vvenc"):
        assert re.search(rf"^{name}: ", done.out, re.MULTILINE)


def test_listing_encoders_needs_no_engine() -> None:
    import os

    done = type_command("encoders", "list", env={**os.environ, "DOCKER_HOST": "unix:///nowhere.sock"})
    assert done.code == 0
    assert "no Docker engine answers" in done.err
    assert re.search(r"^x265 .* no engine$", done.out, re.MULTILINE)
    assert max(map(len, done.out.splitlines())) <= 100 and "not shown" not in done.out


@pytest.mark.parametrize("words", [["doctor"], ["encoders", "list"], ["tasks", "list"], ["plan", "-s", "quick"]])
def test_what_is_a_table_is_json_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, "-q"]) == 0
    shown = capsys.readouterr().out
    assert cli.main([*words, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    first = found[0]
    rows = {"encoders": found, "doctor": first.get("encoders"), "tasks": first.get("tasks"), "plan": first.get("rows")}
    names = [row if isinstance(row, str) else row["encoder"] for row in rows[words[0]]]
    assert names
    assert all(re.search(rf"^{name}\b", shown, re.MULTILINE) for name in names)


@pytest.mark.parametrize("words", [["encoders", "build", "none"], ["encoders", "build", "x", "--build-arg", "a"]])
def test_building_what_cannot_be_built(words: list[str]) -> None:
    done = type_command(*words)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_builtin_tools_have_command_lines(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6\n2 1\n255\n" + bytes(6))
    module = [sys.executable, "-m", "vcmbench.execution.runner.builtin"]
    encode = [*module, "pillow-jpeg", "encode", "--quality", "90", "a.ppm", "a.jpg"]
    assert subprocess.run(encode, cwd=tmp_path, check=True, capture_output=True).returncode == 0
    assert (tmp_path / "a.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert subprocess.run(module, capture_output=True).returncode == 1


def test_pinned_requirements_cover_the_package() -> None:
    """requirements/*.in repeat the dependencies of pyproject.toml, and the *.txt pin each with hashes."""

    def names(lines: list[str]) -> set[str]:
        return {re.split(r"[<>=~ \[]", line)[0] for line in lines if line and not line.startswith(("#", "-"))}

    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    wanted = names(project["project"]["dependencies"])
    build = {"editables", "hatchling"}
    held_back = {"networkx", "scipy", "tifffile"}
    command_line = names((CHECKOUT / "requirements/cli.in").read_text().splitlines())
    base = names((CHECKOUT / "requirements/base.in").read_text().splitlines())
    assert base | command_line == wanted | build | held_back
    measuring = names(project["project"]["optional-dependencies"]["metrics"])
    assert names((CHECKOUT / "requirements/metrics.in").read_text().splitlines()) == measuring
    for file, needed in (("base.txt", base), ("cli.txt", command_line), ("metrics.txt", measuring)):
        text = (CHECKOUT / "requirements" / file).read_text()
        assert needed <= set(re.findall(r"^([a-z0-9-]+)==[^ ]+ .*\\\n    --hash=sha256:", text, re.M))


def test_the_readme_names_only_commands_that_exist() -> None:
    text = (CHECKOUT / "README.md").read_text() + "".join(p.read_text() for p in (CHECKOUT / "docs").glob("*.md"))
    makefile = (CHECKOUT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z]+)\b", text, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for command in set(re.findall(r"(?:^|`)vcmbench ([a-z]+)", text, re.MULTILINE)):
        assert command in cli.discover(), command


def test_relative_links_of_the_docs_lead_somewhere() -> None:
    for page in [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *(CHECKOUT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
STANDS_FOR = {"N": "1", "G": "1", "WxH": "1x1"}
"""A value for what synopses call a number or a size."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_commands_are_such_that_the_parsers_take(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^ *```(?:sh|bash)?\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE))
    inline = "\n".join(re.findall(r"`((?:vcmbench|python run_\w+\.py) [^`\n]+)`", text))  # may leave things out
    for words, is_whole in [(one, True) for one in typed_in(blocks)] + [(one, False) for one in typed_in(inline)]:
        words = [STANDS_FOR.get(word, word) for word in words]
        try:
            cli.build_parser(words[0]).parse_args(words)
        except SystemExit as stop:
            said = capsys.readouterr().err
            is_short = not is_whole and "the following arguments are required" in said
            assert stop.code == 0 or is_short, f"{page.name}: vcmbench {' '.join(words)}\n{said}"


def test_tables_fit_100_columns_and_say_what_they_leave_out() -> None:
    """What is the same everywhere is said once; then intervals go from the right, texts are wrapped, columns go."""
    wide = "qp_map=block-absolute-delta6-size16 match=rate"
    header = ("coded by", "chroma", "options", *(f"measure {i}" for i in range(6)))
    rows = [(name, "420", words, *[f"0.{i}234 [0.1000, 0.2000]"] * 6)
            for i, (name, words) in enumerate((("x265", wide), ("JPEG", wide), ("VVENC", "")))]  # fmt: skip

    def widest(text: str) -> int:
        return max(map(len, text.splitlines()))

    text = table.render(header[:1] + header[3:6], [row[:1] + row[3:6] for row in rows])
    assert widest(text) <= 100 and "0.1234 [0.1000, 0.2000]" in text and "not shown" not in text
    text = table.render(header, rows)
    assert widest(text) <= 100 and "in all rows: chroma: 420" in text
    assert "intervals of measure 0, measure 1," in text and text.split("\n-")[0].count("measure") == 6
    assert "absolute- delta6" not in text and "size16" in text and "match=rate" in text, "wrapped, not cut"
    empty = table.render((*header, "against the best"), [(*rows[0], "")])
    assert widest(empty) <= 100 and "best" in empty, "the title of a column that holds nothing is wrapped, too"
    many = [(f"codec {i}", *[f"{i}.25 [1, 2]"] * 20) for i in range(3)]
    text = table.render(("coded by", *(f"metric {i}" for i in range(20))), many)
    assert widest(text) <= 100 and "not shown, since they are too wide (--wide shows all)" in text
    left = text.split("columns ")[1].split(", ")
    assert left[-1] == "metric 19" and all(one not in text.splitlines()[0] for one in left)
    terminal.widen(is_wide=True)
    try:
        assert "match=rate" in table.render(header, rows).splitlines()[2]
    finally:
        terminal.widen(is_wide=False)
