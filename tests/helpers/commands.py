"""Command lines as users type them, and what they leave."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcmbench import cli
from vcmbench.encoder import plugins

ENCODERS = list(plugins.discover())
X265 = 'encoder = "x265"\nquality = [32]\npreset = "ultrafast"'
JPEG = 'encoder = "jpeg"\nquality = [30]'


@dataclass(frozen=True)
class Typed:
    """What came of a typed command."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def records(self) -> list[dict[str, Any]]:
        """In the order of their paths: two threads finish their jobs in any order."""
        return sorted((e["record"] for e in self.events if "record" in e), key=lambda record: str(record["bitstream"]))


def typed(*words: object) -> Typed:
    """`vcmbench WORDS`, through the same `main` in this process: to start one takes longer than most commands do."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
    return Typed(code, out.getvalue(), err.getvalue())


def type_command(*words: object, **options: Any) -> Typed:
    """Run `vcmbench WORDS` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "vcmbench", *map(str, words)], capture_output=True, text=True, timeout=600, **options
    )
    return Typed(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Larger ones fail half-written, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def compress(root: Path, config: object, *words: object, **options: Any) -> Typed:
    """`vcmbench compress` as a process of its own."""
    return type_command("compress", "-d", root, "-s", config, "--runner", "local", "--json", *words, **options)


def compress_here(root: Path, config: object, *words: object) -> Typed:
    """`vcmbench compress` in this process."""
    return typed("compress", "-d", root, "-s", config, "--runner", "local", "--json", *words)


def tree(root: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, with its hash; but for the log of runs, which tells how long each
    took, and what is remembered of a table's file: they are no results."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in ("runs.jsonl", "compression.state.json")
    }


def half_written(root: Path) -> list[Path]:
    """What is neither a result nor a record; a run that was killed -9 may leave it until the next one begins."""
    return list(root.glob("results/.tmp/*"))
