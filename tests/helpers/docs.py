"""Examples of the documentation, run as they are printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.paths import CHECKOUT

MOST_LINES = 60


def typed_in(text: str) -> Iterator[list[str]]:
    """The words after `vcmbench` of every command line in a text, those of the two scripts with their commands' names.

    A line that ends in `\\` goes on; what follows a pipe, `>` or `#` is the shell's. In synopses `[--option VALUE]` is
    taken, and the first of `one|two|three`.
    """
    for line in text.replace("\\\n", " ").splitlines():
        found = re.match(r"\s*(?:[A-Z_]+=\S+ )*(?:vcmbench|python (run_compression|run_metrics)\.py) (.*)", line)
        if found is None:
            continue
        script = {"run_compression": "compress", "run_metrics": "metrics", None: None}[found[1]]
        line = found[2]
        for pattern in (r"\[([^\[\]]*)\]", r"\[([^\[\]]*)\]"):  # options within options
            line = re.sub(pattern, lambda group: group[1].split(" | ")[0], line)
        line = re.split(r"\s(?:>|\||#|&&)(?:\s|$)", f"{line} ")[0]
        words = [re.sub(r"^([A-Za-z0-9]+)\|[A-Za-z0-9|]+$", r"\1", word) for word in shlex.split(line)]
        yield [*([script] if script else []), *words]


def example(page: str, folder: Path) -> Path:
    """The first Python block of `docs/<page>`, written to the file that its first line names, below `folder`."""
    text = (CHECKOUT / "docs" / page).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES, f"docs/{page} is longer than {MOST_LINES} lines"
    block = re.search(r"```python\n(# (\S+\.py)\n.*?)```", text, re.DOTALL)
    assert block, f"docs/{page}: its first Python block must begin with a line such as `# commands/hello.py`"
    path = folder / block[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block[1], encoding="utf-8")
    return path
