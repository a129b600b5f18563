"""What is printed: results on stdout, prose on stderr, and all of it text alone: no name of a file or of a codec moves
the cursor or colours a terminal."""

from __future__ import annotations

import logging
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from contextvars import ContextVar
from typing import Any, TextIO, cast

from vcmbench.io.progress import LOG
from vcmbench.io.text import lines, visible

WIDTH = 100
"""Columns that what is printed fits into."""
_IS_WIDE: ContextVar[bool] = ContextVar("is_wide", default=False)


def widen(*, is_wide: bool) -> None:
    """Whether what this thread prints from now on may be wider than WIDTH."""
    _IS_WIDE.set(is_wide)


def width() -> int | None:
    """Into how many columns a table must fit; None: it need not."""
    return None if _IS_WIDE.get() else WIDTH


def wrapped(text: str, hanging: str = "", width: int = WIDTH) -> str:
    """A sentence in lines that fit; all but the first begin with `hanging`. Words are never broken."""
    return textwrap.fill(text, width, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def say(text: str, *, always: bool = False) -> None:
    """Prose on stderr; with `-q` only what is said `always`."""
    if always or LOG.level <= logging.INFO:
        print(text, file=sys.stderr, flush=True)


def detail(text: str) -> None:
    """What `-v` adds."""
    if LOG.level == logging.DEBUG:
        print(text, file=sys.stderr, flush=True)


class _Shown:
    """A stream whose texts are made visible on their way; `plain` is the stream itself."""

    def __init__(self, plain: TextIO) -> None:
        self.plain = plain

    def write(self, text: str) -> int:
        # most of what is printed is fine, and this is quick to see
        shown = "\n".join(line if line.isprintable() else visible(line) for line in text.split("\n"))
        return self.plain.write(shown)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)


@contextmanager
def text_alone() -> Iterator[None]:
    """Standard output and standard error print what can be shown."""
    out, err = (cast(TextIO, _Shown(stream)) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield


@contextmanager
def building(name: str) -> Iterator[Callable[[str], None]]:
    """What shows an image's build as it comes, which may take an hour: all lines with `-v`, nothing with `-q`, else the
    newest in its place on a terminal, and the build's steps elsewhere."""
    if LOG.level == logging.DEBUG:
        yield detail
    elif LOG.level > logging.INFO:
        yield lambda line: None
    elif not sys.stderr.isatty():
        yield lambda line: print(f"{name}: {line:.100}", file=sys.stderr) if line.startswith("Step ") else None
    else:
        plain = getattr(sys.stderr, "plain", sys.stderr)  # the cursor is moved, which others may not
        width = shutil.get_terminal_size().columns - 1
        yield lambda line: print(f"\r{lines(f'{name}: {line}')[:width]:<{width}}", end="", file=plain, flush=True)
        print(f"\r{'':<{width}}\r", end="", file=plain, flush=True)
