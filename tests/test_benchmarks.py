"""The benchmarks' own machinery: the table, what counts as a regression, and that every benchmark is found and runs.

What they measure is not tested here: tests have no timing asserts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
MODULES = ("table", "run")


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, ModuleType]]:
    """`table` and `run` as they import each other; they are gone afterwards, for their names are plain."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    try:
        import run
        import table

        yield table, run
    finally:
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture
def table(modules: tuple[ModuleType, ModuleType]) -> ModuleType:
    return modules[0]


@pytest.fixture
def run(modules: tuple[ModuleType, ModuleType]) -> ModuleType:
    return modules[1]


def test_bounds_are_held_against_ratios_and_else_against_values(table: ModuleType) -> None:
    row = table.Row
    fine = [
        row("a", "informs", 1e9, "s", "other: 1 s", 1e9),
        row("a", "just", 99.0, "s", "other: 90 s", 1.10, 1.10),
        row("a", "fast enough", 1.0, "s", "other: 2 s", 1.8, 1.8, "at least"),
        row("a", "few seconds", 9.0, "s", bound=10.0),
    ]
    broken = [
        row("b", "slow", 1.0, "s", "other: 1 s", 1.11, 1.10),
        row("b", "hardly faster", 1.0, "s", "other: 2 s", 1.79, 1.8, "at least"),
        row("b", "many seconds", 10.1, "s", bound=10.0),
        row("b", "no number", 1.0, "s", "other: 0 s", float("nan"), 1.10),
        row("b", "failed (of itself)", None, ""),
    ]
    assert table.regressions(fine) == []
    assert table.regressions([*fine, *broken]) == [
        "b: slow: 1.11 is not at most 1.10",
        "b: hardly faster: 1.79 is not at least 1.80",
        "b: many seconds: 10.1 is not at most 10.0",
        "b: no number: nan is not at most 1.10",
        "b: failed (of itself)",
    ]


def test_two_sides_are_compared_round_by_round(table: ModuleType) -> None:
    slower = table.compared("g", "w", [2.0, 4.0, 9.0], [1.0, 4.0, 6.0], "s", "the other", 1.2)
    assert (slower.value, slower.ratio, slower.against) == (4.0, 1.5, "the other: 4.00 s")
    assert slower.spread == (1.25, 1.75)
    assert slower.broken() == "g: w: 1.50 is not at most 1.20"
    faster = table.compared("g", "w", [2.0], [5.0], "s", "the other", 1.8, speedup=True)
    assert (faster.ratio, faster.direction, faster.spread, faster.broken()) == (2.5, "at least", None, None)
    rate = table.compared("g", "w", [20.0], [50.0], "jobs/s", "the other", 0.5, "at least")
    assert rate.ratio == 0.4 and rate.broken() is not None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.00"), (0.0123, "0.0123"), (1.0, "1.00"), (99.94, "99.9"), (120.4, "120"), (98765.4, "98,765"),
     (float("inf"), "inf")],
)  # fmt: skip
def test_numbers_have_three_digits(table: ModuleType, value: float, shown: str) -> None:
    assert table.number(value) == shown


def test_the_table_tells_where_and_when_and_what_is_broken(table: ModuleType) -> None:
    rows = [
        table.Row("harness", "x265 | medium", 12.34, "s", "FFmpeg: 12 s", 1.02, 1.10, spread=(1.0, 1.04)),
        table.Row("harness", "`none`", 8.9, "ms"),
        table.Row("memory", "many", 90.0, "MB", "few: 60 MB", 1.5, 1.10),
        table.Row("iqa", "failed (no\nsuch module)", None, ""),
    ]
    lines = table.render(rows, "all benchmarks", 0.25).splitlines()
    assert "all benchmarks" in lines[0] and "cores" in lines[0] and "Python" in lines[0] and "0.2" in lines[0]
    assert lines[2:] == [
        "|  | what | here | against | ratio | bound |",
        "|---|---|---|---|---|---|",
        "| harness | x265 \\| medium | 12.3 s | FFmpeg: 12 s | 1.02 (1.00 to 1.04) | ≤ 1.10 |",
        "|  | `none` | 8.90 ms |  |  |  |",
        "| memory | many | 90.0 MB | few: 60 MB | 1.50 | **broken: ≤ 1.10** |",
        "| iqa | failed (no such module) | **failed** |  |  |  |",
    ]


def test_only_what_stands_between_the_markers_is_replaced(table: ModuleType) -> None:
    page = f"# Speed\n\nby hand\n\n{table.BEGIN}\nold\n{table.END}\n\nby hand, too\n"
    once = table.put_between_markers(page, "new\n\n| a |")
    assert once == f"# Speed\n\nby hand\n\n{table.BEGIN}\nnew\n\n| a |\n{table.END}\n\nby hand, too\n"
    assert table.put_between_markers(once, "new\n\n| a |") == once
    for wrong in ("none", table.BEGIN, table.END, table.END + table.BEGIN, page + page):
        with pytest.raises(ValueError, match="wants one"):
            table.put_between_markers(wrong, "new")


def test_the_page_of_the_docs_has_its_markers(run: ModuleType, table: ModuleType) -> None:
    assert table.put_between_markers(run.PAGE.read_text(encoding="utf-8"), "new")


def test_every_benchmark_with_rows_is_found(run: ModuleType) -> None:
    with_rows = {path.stem for path in BENCHMARKS.glob("*.py") if "\ndef rows(small: bool)" in path.read_text()}
    assert set(run.found()) == with_rows
    assert with_rows == {
        "blocks", "harness", "importance", "iqa", "maps", "memory", "networks", "resume", "scaling", "throughput",
        "video",
    }  # fmt: skip
    assert run.found()[0] == "harness"


def bench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    argv = [sys.executable, str(folder / "run.py"), *words]
    return subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=folder.parent)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The runner with benchmarks of made-up rows, and a page for their table."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    for name in MODULES:
        (folder / f"{name}.py").write_text((BENCHMARKS / f"{name}.py").read_text(encoding="utf-8"), encoding="utf-8")
    head = "import os\nfrom table import Row\ndef rows(small):\n    print('prose')\n    os.system('echo of a tool')\n"
    (folder / "good.py").write_text(f"{head}    yield Row('good', f'small={{small}}', 1.0, 's', spread=(1, 2))\n")
    (folder / "worse.py").write_text(f"{head}    yield Row('worse', 'ratio', 1.0, 's', 'other', 2.0, 1.5)\n")
    (folder / "raises.py").write_text(f"{head}    yield Row('raises', 'first', 1.0, 's')\n    raise ValueError('no')\n")
    (folder / "dies.py").write_text(f"{head}    yield Row('dies', 'first', 1.0, 's')\n    os._exit(3)\n")
    (folder / "library.py").write_text("def helper(): ...\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/performance.md").write_text("top\n<!-- bench: begin -->\n<!-- bench: end -->\nend\n")
    return folder


def test_all_run_whatever_fails_and_each_that_is_broken_is_named(copied: Path) -> None:
    done = bench(copied)
    assert done.returncode == 1
    told = done.stdout.splitlines()
    assert told[0] == "dies: first: 1.00 s" and "prose" not in done.stdout and "of a tool" not in done.stdout
    assert {"good: small=False: 1.00 s", "raises: failed (ValueError: no)"} <= set(told)
    named = done.stderr[done.stderr.index("not as it should be:") :].splitlines()[1:]
    assert named == [
        "dies: failed (its process ended with 3 after 1 rows)",
        "raises: failed (ValueError: no)",
        "worse: ratio: 2.00 is not at most 1.50",
    ]
    page = (copied.parent / "docs/performance.md").read_text(encoding="utf-8")
    assert page.startswith("top\n") and page.endswith("\nend\n")
    assert "| good | small=False | 1.00 s |" in page and "**broken: ≤ 1.50**" in page and "**failed**" in page


def test_parts_and_tiny_sizes_write_nothing_unless_asked(copied: Path) -> None:
    page = copied.parent / "docs/performance.md"
    before = page.read_bytes()
    assert bench(copied, "--only", "good").returncode == 0
    done = bench(copied, "--small", "--only", "good", "--only", "worse")
    assert done.returncode == 0 and "small=True" in done.stdout  # tiny sizes hold no bounds
    assert bench(copied, "--small", "--only", "raises").returncode == 1
    assert bench(copied, "--only", "nothing").returncode == 2
    assert page.read_bytes() == before
    assert bench(copied, "--small", "--only", "good", "--write").returncode == 0
    assert "only good in tiny sizes" in page.read_text(encoding="utf-8")


def test_a_real_one_runs_in_tiny_sizes() -> None:
    done = bench(BENCHMARKS, "--small", "--only", "memory")
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] in (["memory"], ["memory"] * 2)


def test_coverage_is_simulated_of_every_figure() -> None:
    words = [sys.executable, "-m", "benchmarks.coverage", "--trials", "5", "--pictures", "6"]
    done = subprocess.run(words, cwd=BENCHMARKS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures = {line.split(" | ")[0].strip("| "): float(line.split("|")[2]) for line in done.stdout.splitlines()[2:]}
    assert len(figures) == 18 and all(share > 0.3 for name, share in figures.items() if "test" not in name)
