"""What an encoder was asked for beside its quality, and how long it took: without both, a BD-rate is of no codec."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

COLUMNS = ("preset_used", "encode_s_per_mpx")
"""Of an effort, in tables."""
TIMES = 2.0
"""Encode times that differ by more are warned of."""


@dataclass(frozen=True)
class Effort:
    """`preset`: as the tool was called with it, empty where it has none. `s_per_mpx`: seconds of encoding a million
    pixels of the original size, the median over pictures."""

    preset: str
    s_per_mpx: float

    @property
    def words(self) -> str:
        """ "medium, 0.45 s/Mpx"."""
        return ", ".join(filter(None, (self.preset, f"{self.s_per_mpx:.2g} s/Mpx")))

    def beside(self, name: str) -> str:
        """ "x265 (medium, 0.45 s/Mpx)"; a preset that the name has is not said twice."""
        words = f"{self.s_per_mpx:.2g} s/Mpx" if self.preset in name.split() else self.words
        return f"{name} ({words})"

    def ratio(self, other: Effort) -> float:
        """How many times the time of the faster the slower one takes."""
        low, high = sorted((self.s_per_mpx, other.s_per_mpx))
        return high / max(low, 1e-9)

    def differs(self, other: Effort) -> bool:
        """Whether one takes more than twice the time of the other."""
        return self.ratio(other) > TIMES

    def times(self, other: Effort) -> str:
        """The ratio as "3.9", or "56"."""
        ratio = self.ratio(other)
        return f"{ratio:.{1 if ratio < 10 else 0}f}"


def efforts(records: Iterable[tuple[str, Mapping[str, Any]]], curves: Mapping[str, Sequence[str]]) -> dict[str, Effort]:
    """The effort of each curve, by its name, from (configuration, record) of all bitstreams; `curves` has the
    configurations of each."""
    presets: dict[str, dict[str, None]] = {}
    seconds: dict[str, list[float]] = {}
    for configuration, record in records:
        presets.setdefault(configuration, {})[preset_of(record)] = None
        seconds.setdefault(configuration, []).append(seconds_per_mpx(record))
    found = {}
    for name, configurations in curves.items():
        known = [one for one in configurations if one in seconds]
        if times := [second for one in known for second in seconds[one]]:
            named = dict.fromkeys(preset for one in known for preset in presets[one])
            found[name] = Effort(" and ".join(filter(None, named)), median(times))
    return found


def seconds_per_mpx(record: Mapping[str, Any]) -> float:
    """A bitstream's; a stack's seconds are shared by its pictures."""
    pixels = int(record["width_px"]) * int(record["height_px"]) * int(record["frames"])
    return float(record["encode_s"]) / (pixels / 1e6)


def preset_of(record: Mapping[str, Any]) -> str:
    """The preset that the tool was called with, whether it was asked for or is ours by default."""
    argv = [str(word) for word in (record.get("argv") or {}).get("encode") or ()]
    for word, after in pairwise([*argv, ""]):
        if word in ("-preset", "--preset"):
            return after
        if given := re.search(r"(?:^|[:,])preset=([^:,]+)", word):
            return given[1]
    return str(record.get("preset") or record.get("compat") or "")


def warning(pairs: Iterable[tuple[tuple[str, Effort | None], tuple[str, Effort | None]]]) -> str:
    """What to think of deltas between curves, each a name and its effort, that took very different times; empty where
    they did not, or it is not known."""
    found = [((anchor, one), (test, other)) for (anchor, one), (test, other) in pairs if one and other]
    if not any(one.differs(other) for (_, one), (_, other) in found):
        return ""
    known = dict(side for pair in found for side in pair)
    low, *_, high = sorted(known, key=lambda name: known[name].s_per_mpx)
    ends = " to ".join(known[name].beside(name) for name in (low, high))
    return (
        f"Encode times differ by up to {known[low].times(known[high])} times, from {ends}: above {TIMES:g} times, "
        "BD-rates compare presets rather than codecs."
    )
