"""What is left out, one unit at a time, so that intervals and tests know how much a figure hangs on single pictures.

A unit is a picture, or pictures that belong together (crops of one photograph, frames of a sequence) and hence say less
than as many strangers would.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.estimate import too_few

FEWEST_FRAMES, MOST_RUNS = 8, 20
MOST_UNITS = 200
"""More units than that are left out several at a time: t of 199 degrees of freedom is the normal distribution's."""


class Jackknife:
    """Samples without one of their units, all at once.

    `units` says to which unit each sample belongs. `weights` is (units, samples) float64, a row a unit, 0 where a
    sample is left out and 1 elsewhere; above MOST_UNITS a row leaves out several, which chance puts together, always
    the same. Where units are too few for an interval, or none is `wanted`, it is (0, samples), and `lacking` says why.
    """

    def __init__(self, units: Sequence[Hashable], what: str = "picture", wanted: bool = True) -> None:
        numbers = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
        own = np.array([numbers[unit] for unit in units], np.intp)
        self.samples, self.units = len(own), len(numbers)
        self.lacking = too_few(self.units, what) if wanted else "none was asked for"
        if self.units > MOST_UNITS:
            own = np.random.default_rng(0).permutation(self.units)[own] % MOST_UNITS
        rows = 0 if self.lacking else min(self.units, MOST_UNITS)
        # float64, because sums of pixels are whole numbers that float32 cannot hold
        self.weights = (own != np.arange(rows)[:, None]).astype(np.float64)

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """The mean of (samples,) values without each unit, (units,); None where there is no interval."""
        return None if self.lacking else np.asarray(self.weights @ values / self.weights.sum(axis=1))


def units_of(names: Sequence[str], groups: str | None) -> list[str]:
    """The unit of each picture by its name, in which `groups`, a regular expression, finds what its group is called:
    its first parenthesis, or all that it matches. A picture in whose name it finds nothing is by itself."""
    if groups is None:
        return list(names)
    found = [re.search(groups, name) for name in names]
    return [name if one is None else f"group {one.group(min(1, one.re.groups)) or one.group()}"
            for name, one in zip(names, found, strict=True)]  # fmt: skip


@dataclass(frozen=True)
class Grouping:
    """Which pictures belong together: by a `pattern` of their names (see `units_of`), else frames of one sequence, by
    `sequences`, the name of each one's. Others are by themselves."""

    pattern: str | None = None
    sequences: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str | None:
        """What decides the units, for digests; None where every picture is one."""
        return self.pattern if self.pattern is not None or not self.sequences else f"runs of {FEWEST_FRAMES}"

    def units(self, names: Sequence[str]) -> list[str]:
        """The unit of each picture. Neighbouring frames say nearly the same, so sequences are units; where they are too
        few for an interval, runs of at least FEWEST_FRAMES frames of them, about MOST_RUNS in all."""
        if self.pattern is not None or not self.sequences:
            return units_of(names, self.pattern)
        sequences = [self.sequences.get(name, name) for name in names]
        return [self._runs.get(name, name) for name in names] if too_few(len(set(sequences))) else sequences

    def called(self, names: Sequence[str]) -> str:
        """What their units are, for words."""
        if self.pattern is not None or not self.sequences.keys() & set(names):
            return "group" if len(set(self.units(names))) < len(set(names)) else "image"
        return "run of frames" if too_few(len({self.sequences.get(name, name) for name in names})) else "sequence"

    @cached_property
    def _runs(self) -> dict[str, str]:
        """The run of every frame, whichever of them a figure is of."""
        frames: defaultdict[str, list[str]] = defaultdict(list)
        for name, sequence in sorted(self.sequences.items()):
            frames[sequence].append(name)
        length = max(FEWEST_FRAMES, math.ceil(len(self.sequences) / MOST_RUNS))
        unit: dict[str, str] = {}
        for sequence, own in frames.items():
            runs = max(1, len(own) // length)  # a rest is no run of its own
            unit |= {name: f"{sequence} run {min(place // length, runs - 1)}" for place, name in enumerate(own)}
        return unit


EACH = Grouping()
"""Every picture by itself."""
