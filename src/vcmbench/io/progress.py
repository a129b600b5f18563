"""Progress on stderr: a bar with an ETA on a terminal, a line now and then elsewhere. `LOG`'s level says how much."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from vcmbench.io.text import lines

T = TypeVar("T")

LOG = logging.getLogger("vcmbench")
"""Its level is what the user asked for: above INFO no progress and no prose, DEBUG a line for every job."""
_LINE_EVERY_S = 5.0
_BAR_EVERY_S = 0.1
_SHORT_S = 2.0
"""What users wait for without asking."""
_BAR_COLUMNS = 72
"""What the bar and its figures keep of a terminal's width; what was done last has the rest."""


def clock(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _said(what: str | Callable[[], str]) -> str:
    return lines(what if isinstance(what, str) else what())


class Progress:
    """Counts finished jobs out of `total`. Use as a context manager. What ends within `delay_s` shows nothing."""

    def __init__(self, total: int, unit: str = "job", quiet: bool = False, delay_s: float = 0.0) -> None:
        self._quiet, self._has_news = quiet, not quiet and LOG.level <= logging.INFO
        self.total, self.done, self.unit = total, 0, unit
        self._start = self._last_line = time.monotonic()
        self._delay_s, self._bar = delay_s, None
        # a bar moves the cursor, which others may not (see `cli.terminal`)
        self._terminal = getattr(sys.stderr, "plain", sys.stderr)
        if sys.stderr.isatty() and total and self._has_news and LOG.level != logging.DEBUG:
            from tqdm import tqdm  # only a terminal needs it, and its import costs as much as a small job

            self._bar = tqdm(total=total, unit=unit, dynamic_ncols=True, smoothing=0.1, file=self._terminal,
                             delay=delay_s)  # fmt: skip

    def advance(self, what: str | Callable[[], str], done: int | None = None) -> None:
        """One more is done, or `done` of them are. `what` is only asked for where it is shown."""
        step = 1 if done is None else done - self.done
        self.done += step
        if self._bar is not None:
            if time.monotonic() - self._last_line >= _BAR_EVERY_S:
                self._last_line = time.monotonic()
                columns = (self._bar.ncols or shutil.get_terminal_size().columns) - _BAR_COLUMNS
                self._bar.set_postfix_str(_said(what)[: max(columns, 0)], refresh=False)
            self._bar.update(step)
            return
        if not self.done:
            return
        now = time.monotonic()
        if now - self._start < self._delay_s:
            return
        if now - self._last_line >= _LINE_EVERY_S or self.done == self.total or LOG.level == logging.DEBUG:
            self._last_line = now
            remaining = (now - self._start) / self.done * (self.total - self.done)
            self.say(f"{self.done}/{self.total} {self.unit}s, ETA {clock(remaining)}, last: {_said(what)}")

    def say(self, line: str) -> None:
        """A line above the bar."""
        if self._bar is not None:
            self._bar.write(lines(line), file=self._terminal)
        elif self._has_news:
            print(lines(line), file=sys.stderr, flush=True)

    def failed(self, line: str) -> None:
        """What failed and why: shown also where no progress is."""
        if self._has_news:
            self.say(f"failed: {line}")
        elif not self._quiet:
            print(lines(f"failed: {line}"), file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def counted(items: Iterable[T], total: int, unit: str, what: Callable[[T], str], *, quiet: bool = False) -> Iterator[T]:
    """The items as they come, with progress where they take longer than users wait without asking."""
    with Progress(total, unit, quiet, _SHORT_S) as progress:
        for item in items:
            yield item
            progress.advance(what(item))
