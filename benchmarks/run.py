"""Every benchmark, one after the other, and one table: `make bench` (about an hour; `--small` a few minutes).

A benchmark is a module of this folder with a function `rows(small)` that yields rows of the table. Each has a process
of its own, so that cores that it binds itself to, memory and threads of its libraries are gone with it, and one that
fails is a failed row and no more. Rows are printed as they come; at the end of a full run the table is written into
docs/performance.md. `--small` tries that all of it works: its ratios say little, and fail nothing.

Exits with 1, after all have run, where a row is outside of its bound or a benchmark failed; each is named.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from table import Row, load, put_between_markers, regressions, render

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs/performance.md"


def found() -> list[str]:
    """The modules that have rows, the harness first. Their text is asked: importing some of them takes seconds."""
    names = [path.stem for path in HERE.glob("*.py") if _has_rows(path)]
    return sorted(names, key=lambda name: (name != "harness", name))


def _has_rows(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "rows" for node in tree.body)


def child(name: str, small: bool) -> None:
    """One benchmark in this process: rows as lines of JSON, and whatever else it prints on standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        for row in importlib.import_module(name).rows(small):
            print(json.dumps(asdict(row)), file=channel, flush=True)
    except Exception as error:
        traceback.print_exc()
        text = str(error).splitlines() or [""]
        print(json.dumps(asdict(failed(name, f"{type(error).__name__}: {text[0]}"))), file=channel, flush=True)


def failed(name: str, why: str) -> Row:
    return Row(name, f"failed ({why})", None, "")


def parsed(line: str) -> Row:
    content = json.loads(line)
    return Row(**{**content, "spread": None if content["spread"] is None else tuple(content["spread"])})


def measure(name: str, small: bool) -> Iterator[Row]:
    """The rows of one benchmark as they come, a failed one where it did not come to its end."""
    argv = [sys.executable, str(HERE / "run.py"), "--child", name, *(["--small"] if small else [])]
    count = 0
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            count += 1
            yield parsed(line)
    if process.returncode or not count:
        yield failed(name, f"its process ended with {process.returncode} after {count} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", choices=found(), metavar="NAME", help="only this one; may be repeated"
    )
    parser.add_argument("--small", action="store_true", help="tiny sizes; bounds are shown and not held")
    parser.add_argument(
        "--write", action=argparse.BooleanOptionalAction, help="write the table (default: where all ran in full size)"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.small)
        return
    names = [name for name in found() if not arguments.only or name in arguments.only]
    load_before, rows = load(), []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        for row in measure(name, arguments.small):
            print(row.line(), flush=True)
            rows.append(row)
    how = "all benchmarks" if names == found() else "only " + ", ".join(names)
    if arguments.small:
        how += " in tiny sizes, which say little"
    if arguments.write or (arguments.write is None and not arguments.only and not arguments.small):
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(put_between_markers(page, render(rows, how, load_before)), encoding="utf-8")
        print(f"written: {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")
    # tiny sizes are mostly start-up: there only what could not be measured counts
    broken = regressions([row for row in rows if row.value is None or not arguments.small])
    if broken:
        sys.exit("not as it should be:\n" + "\n".join(broken))


if __name__ == "__main__":
    main()
