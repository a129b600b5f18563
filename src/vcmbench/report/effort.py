"""What an encoder was asked for beside its quality, and how long it took: without both, a BD-rate is of no codec."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from vcmbench.data.record import Record

TIMES = 2.0
"""Encode times that differ by more are warned of."""


@dataclass(frozen=True)
class Effort:
    """`preset`: as the tool was called with it, empty where it has none. `encode_s`: seconds a picture, the mean."""

    preset: str
    encode_s: float

    @property
    def words(self) -> str:
        """ "medium, 0.045 s"."""
        return ", ".join(filter(None, (self.preset, f"{self.encode_s:.2g} s")))

    def differs(self, other: Effort) -> bool:
        """Whether one takes more than twice the time of the other."""
        low, high = sorted((self.encode_s, other.encode_s))
        return high > TIMES * low


def efforts(records: Iterable[tuple[str, Record]], curves: Mapping[str, Sequence[str]]) -> dict[str, Effort]:
    """The effort of each curve, by its name, from (configuration, record) of all bitstreams; `curves` has the
    configurations of each. A stack's seconds are shared by its pictures."""
    presets: dict[str, dict[str, None]] = {}
    seconds: dict[str, list[float]] = {}
    for configuration, record in records:
        presets.setdefault(configuration, {})[preset_of(record)] = None
        seconds.setdefault(configuration, []).append(record["encode_s"] / record["frames"])
    found = {}
    for name, configurations in curves.items():
        known = [one for one in configurations if one in seconds]
        if times := [second for one in known for second in seconds[one]]:
            named = dict.fromkeys(preset for one in known for preset in presets[one])
            found[name] = Effort(" and ".join(filter(None, named)), sum(times) / len(times))
    return found


def preset_of(record: Mapping[str, Any]) -> str:
    """The preset that the tool was called with, whether it was asked for or is ours by default."""
    argv = [str(word) for word in (record.get("argv") or {}).get("encode") or ()]
    for word, after in pairwise([*argv, ""]):
        if word in ("-preset", "--preset"):
            return after
        if given := re.search(r"(?:^|[:,])preset=([^:,]+)", word):
            return given[1]
    return str(record.get("preset") or record.get("compat") or "")
