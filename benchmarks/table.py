"""What benchmarks find, as rows of one table: rendering to Markdown, and which rows are regressions.

A row's bound is held against its ratio, or against its value where it has none. A bound is what was measured when the
row was written, with room for a machine that is busy; a row without a bound informs only.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psutil

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
HEAD = ("", "what", "here", "against", "ratio", "bound")
Direction = Literal["at most", "at least"]


@dataclass(frozen=True)
class Row:
    group: str
    what: str
    value: float | None
    """None: it could not be measured, and that is a failure, too."""
    unit: str
    against: str | None = None
    """The other side, with what it took."""
    ratio: float | None = None
    bound: float | None = None
    direction: Direction = "at most"
    spread: tuple[float, float] | None = None
    """Quartiles of the ratios of the rounds."""

    def broken(self) -> str | None:
        """Why this row fails the run, None where it does not."""
        title = f"{self.group}: {self.what}"
        if self.value is None:
            return title
        held = self.value if self.ratio is None else self.ratio
        if self.bound is None:
            return None
        within = held <= self.bound if self.direction == "at most" else held >= self.bound
        if within and not math.isnan(held):
            return None
        return f"{title}: {number(held)} is not {self.direction} {number(self.bound)}"

    def cells(self) -> list[str]:
        ratio = "" if self.ratio is None else number(self.ratio)
        if ratio and self.spread is not None:
            ratio += f" ({number(self.spread[0])} to {number(self.spread[1])})"
        bound = "" if self.bound is None else f"{'≤' if self.direction == 'at most' else '≥'} {number(self.bound)}"
        value = "**failed**" if self.value is None else f"{number(self.value)} {self.unit}".strip()
        if self.broken() and self.value is not None:
            bound = f"**broken: {bound}**"
        return [self.group, self.what, value, self.against or "", ratio, bound]

    def line(self) -> str:
        """For a terminal."""
        if self.value is None:
            return f"{self.group}: {self.what}"
        group, what, value, against, ratio, bound = self.cells()
        parts = [f"against {against}" if against else "", f"ratio {ratio}" if ratio else "", bound.strip("*")]
        return f"{group}: {what}: {value}" + "".join(f"; {part}" for part in parts if part)


def compared(
    group: str, what: str, ours: Sequence[float], theirs: Sequence[float], unit: str, against: str,
    bound: float | None = None, direction: Direction = "at most", *, speedup: bool = False,
) -> Row:  # fmt: skip
    """Two sides that took turns: medians of both, and the median of the ratios of the rounds.

    The ratio is ours to theirs; with `speedup`, of seconds, theirs to ours: how many times as fast ours is, which has a
    least.
    """
    direction = "at least" if speedup else direction
    pairs = list(zip(ours, theirs, strict=True))
    ratios = [b / a if speedup else a / b for a, b in pairs]
    other = f"{against}: {number(statistics.median(theirs))} {unit}"
    spread = quartiles(ratios) if len(ratios) > 1 else None
    return Row(
        group, what, statistics.median(ours), unit, other, statistics.median(ratios), bound, direction, spread
    )  # fmt: skip


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def number(value: float) -> str:
    """Three digits, which is more than most of these numbers are good for."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def regressions(rows: Sequence[Row]) -> list[str]:
    return [reason for row in rows if (reason := row.broken()) is not None]


def machine() -> str:
    """Where it was measured, by what others can compare; not by name."""
    model = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:  # not Linux
        model = platform.processor() or model
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory_gb = psutil.virtual_memory().total / 1e9
    return (
        f"{count} cores ({model}), {memory_gb:.0f} GB of memory, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def load() -> float:
    """Processes that wanted the cores over the last minute; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def render(rows: Sequence[Row], how: str, load_before: float) -> str:
    """What stands between the markers: where and when, and the table."""
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {how}; {machine()}. Load average when it began: {load_before:.1f}.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|---" * len(HEAD) + "|",
    ]
    group = None
    for row in rows:
        cells = [" ".join(cell.split()).replace("|", "\\|") for cell in row.cells()]
        cells[0] = "" if row.group == group else cells[0]
        group = row.group
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def put_between_markers(page: str, content: str) -> str:
    """The page with new content between its markers. Raises ValueError where it has not exactly one pair of them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in before or END in after:
        raise ValueError(f"wants one {BEGIN} and after it one {END}")
    return f"{before}{BEGIN}\n{content}\n{END}{after}"
