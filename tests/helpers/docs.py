"""Examples of the documentation, run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

from tests.helpers.paths import CHECKOUT

MOST_LINES = 60


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
