"""Plain text tables."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from vcmbench.cli import terminal
from vcmbench.compress.equal_rate import EqualRateRow
from vcmbench.compress.summary import CompressSummary
from vcmbench.data.effort import Effort
from vcmbench.encoder.plugins import get
from vcmbench.io.text import visible


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--wide`, for commands that print tables."""
    words = f"tables as wide as they are, not in {terminal.WIDTH} columns"
    parser.add_argument("--wide", action="store_true", help=words)


def render(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side; those whose cells look like numbers are set to the right.

    Where they do not fit into `terminal.width()`, a line below says what is not shown: first what is the same in all
    rows is said there, and titles are wrapped; then columns lose their intervals, from the right; then texts are
    wrapped, and last whole columns are left out, from the right.
    """
    columns = [_Column(visible(title), [visible(row[i]).replace("\n", "\\n") for row in rows])
               for i, title in enumerate(header)]  # fmt: skip
    most = terminal.width()
    notes: list[str] = []
    bare: list[str] = []
    gone: list[str] = []
    if not _fits(columns, most) and len(rows) > 1:
        same = [column for column in columns[1:] if len(set(column.cells)) == 1]
        columns = [column for column in columns if column not in same]
        if said := [f"{column.name}: {column.cells[0]}" for column in same if column.cells[0]]:
            notes.append(f"in all rows: {'; '.join(said)}")
    if not _fits(columns, most):
        for column in columns:
            column.wrap_title()
    for column in reversed(columns):
        if not _fits(columns, most) and any(_INTERVAL.search(cell) for cell in column.cells):
            column.cells = [_INTERVAL.sub("", cell) for cell in column.cells]
            column.wrap_title()
            bare.insert(0, column.name)
    texts = [column for column in columns[1:] if not column.is_number]
    for width in range(max((column.width for column in texts), default=0), _NARROWEST - 1, -1):
        for column in texts:
            if column.width > width and not _fits(columns, most):
                column.wrap(width)
    while not _fits(columns, most) and len(columns) > 2:
        gone.insert(0, columns.pop().name)
    bare = [name for name in bare if name not in gone]
    if left := [f"{what} {', '.join(of)}" for what, of in (("intervals of", bare), ("columns", gone)) if of]:
        notes.append(f"not shown, since they are too wide (--wide shows all): {'; '.join(left)}")
    return "\n".join([*_lines(columns), *(terminal.wrapped(note, "  ", most or 10**6) for note in notes)])


_INTERVAL = re.compile(r" \[[^]]*\]$")
_NARROWEST, _GAP = 11, 2


@dataclass(eq=False)
class _Column:
    title: str
    cells: list[str]
    whole: list[str] = field(default_factory=list)
    """Title and cells before they were wrapped."""

    @property
    def name(self) -> str:
        return " ".join(self.title.split())

    @property
    def width(self) -> int:
        return max(len(line) for cell in (self.title, *self.cells) for line in cell.split("\n"))

    @property
    def is_number(self) -> bool:
        return all(not cell or cell[0].isdigit() or cell[0] == "-" for cell in self.cells)

    def wrap_title(self) -> None:
        """To the width of the cells."""
        self.title = textwrap.fill(self.title, max(1, *map(len, self.cells)), break_long_words=False)

    def wrap(self, width: int) -> None:
        """Break title and cells into lines of so many columns, as far as their words allow it."""
        self.whole = self.whole or [self.name, *self.cells]
        self.title, *self.cells = (textwrap.fill(text, width, break_long_words=False) for text in self.whole)


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width + _GAP for column in columns) - _GAP


def _fits(columns: Sequence[_Column], most: int | None) -> bool:
    return most is None or _total(columns) <= most


def _lines(columns: Sequence[_Column]) -> Iterator[str]:
    """The rows, a cell of several lines in several of them."""
    for number, row in enumerate(zip(*((column.title, *column.cells) for column in columns), strict=True)):
        for parts in zip_longest(*(cell.split("\n") for cell in row), fillvalue=""):
            cells = [part.rjust(column.width) if column.is_number else part.ljust(column.width)
                     for part, column in zip(parts, columns, strict=True)]  # fmt: skip
            yield (" " * _GAP).join(cells).rstrip()
        if not number:
            yield (" " * _GAP).join("-" * column.width for column in columns)


EFFORT = ("preset, time", "anchor's preset, time", "times")


def of_effort(anchor: Effort | None, test: Effort | None) -> tuple[str, str, str]:
    """The cells below EFFORT; times that differ too much have a mark."""
    times = anchor.times(test) + (" !" if anchor.differs(test) else "") if anchor and test else ""
    return test.words if test else "-", anchor.words if anchor else "-", times


def comparison(rows: list[EqualRateRow]) -> str:
    """Mapped against uniform at equal rate: PSNR-Y gained where it matters and lost elsewhere, with 95 % intervals."""
    header = (
        "encoder", "quality", "chroma", "factor", "options", "by", "n", "bytes diff", "important PSNR-Y dB",
        "n important", "elsewhere dB",
    )  # fmt: skip
    cells = [
        (
            get(row.encoder).label,
            str(row.quality),
            row.color_subsampling,
            str(row.subsampling_factor),
            row.options.removesuffix(" match=rate"),
            row.method,
            str(row.equal) if row.equal == row.pictures else f"{row.equal} of {row.pictures}",
            f"{row.size_error:+.2%}",
            f"{row.inside:+.2f}",
            str(row.inside.n),
            f"{row.outside:+.2f}",
        )
        for row in rows
    ]
    return render(header, cells)


def summary(results: CompressSummary) -> str:
    """One row a coding configuration: rate, quality and time per picture."""
    over_time = any(sums.kbps is not None for sums in results.rows.values())
    rates = ("kbit/s", "bpp") if over_time else ("bpp",)
    header = ("encoder", "quality", "chroma", "factor", "options", "n", *rates, "PSNR-Y dB", "QP", "enc s", "dec s")
    rows = []
    for coding, sums in results.rows.items():
        if sums.pictures == 0:
            continue
        psnr = f"{sums.psnr_sum_db / sums.psnr_pictures:.2f}" if sums.psnr_pictures else "-identical-"
        rows.append(
            (
                get(coding.encoder).label,
                "-" if coding.quality is None else str(coding.quality),
                coding.color_subsampling,
                str(coding.subsampling_factor),
                " ".join(coding.extras),
                str(sums.pictures),
                *(["-" if sums.kbps is None else f"{sums.kbps:.1f}"] if over_time else []),
                f"{sums.bits / sums.pixels:.4f}",
                psnr,
                f"{sums.qp_sum / sums.qp_pictures:.2f}" if sums.qp_pictures else "-",
                f"{sums.encode_s / sums.pictures:.3f}",
                f"{sums.decode_s / sums.pictures:.3f}",
            )
        )
    return render(header, rows)
