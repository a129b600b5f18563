"""What importance maps cost: `python benchmarks/importance.py` (half a minute).

Street scenes of the embedded data set at 2048x1024, one core, after the files are read: `importance_map` under each
aggregate and with each term switched off, against a decode of the three PNG files that it needs, in turn in one run.

Exits with 1 where the median of a default map is over 45 ms. (Maps and QP maps together are to stay below 60 ms.)
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from table import Row, compared

from vcmbench.data.dataset import find_sources, open_root
from vcmbench.data.selection import Selection
from vcmbench.demo import cityscapes
from vcmbench.importance import ImportanceSettings, importance_map
from vcmbench.importance.inputs import Inputs, files_of, read_inputs

WIDTH, HEIGHT = 2048, 1024
BOUND_MS = 45.0
READING = "reading the PNGs"
BOUND_READING = 0.60
"""A default map against reading what it is made of; measured: 0.41, while others used the core too."""
CASES = {
    "instance": ImportanceSettings(),
    "class": ImportanceSettings(aggregate="class"),
    "pixel": ImportanceSettings(aggregate="pixel"),
    "instance, no distance": ImportanceSettings(use_distance=False),
    "instance, no class": ImportanceSettings(use_class=False),
    "instance, no speed": ImportanceSettings(use_speed=False),
}


def compute(inputs: Inputs, settings: ImportanceSettings) -> None:
    importance_map(
        inputs.labels, inputs.instances, inputs.disparity, inputs.fx_px, inputs.baseline_m, inputs.speed_mps, settings
    )


def milliseconds(work: Callable[..., Any], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return (time.perf_counter() - start) * 1e3


def measure(rounds: int) -> tuple[int, dict[str, list[float]]]:
    """How many scenes, and milliseconds by case, scene by scene and round by round."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, whatever libraries would like
    with tempfile.TemporaryDirectory() as folder:
        cityscapes.write(Path(folder), width=WIDTH, height=HEIGHT, train_scenes=0, sequences=0, jobs=1)
        data = open_root(Path(folder))
        files = [files_of(data, source) for source in find_sources(data, Selection())]
        scenes = [read_inputs(one, ImportanceSettings()) for one in files]
        times: dict[str, list[float]] = {name: [] for name in (READING, *CASES)}
        for i in range(rounds + 1):
            for one, inputs in zip(files, scenes, strict=True):
                took = {READING: milliseconds(read_inputs, one, ImportanceSettings())}
                took |= {name: milliseconds(compute, inputs, settings) for name, settings in CASES.items()}
                for name, value in took.items():
                    times[name] += [value] if i else []  # the first round is not counted
    return len(files), times


def rows(small: bool) -> Iterator[Row]:
    scenes, times = measure(1 if small else 20)
    title = f"map of {WIDTH}x{HEIGHT}, one core, {scenes} scenes"
    yield compared("importance", title, times["instance"], times[READING], "ms", READING, BOUND_READING)
    for name in ("class", "pixel", "instance, no class"):
        yield compared("importance", f"{title}: {name}", times[name], times[READING], "ms", READING)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    scenes, times = measure(arguments.rounds)
    print(f"{WIDTH}x{HEIGHT}, one core, {scenes} scenes, {arguments.rounds} rounds; median (smallest to largest)")
    for name, values in times.items():
        print(f"{name + ':':<24}{statistics.median(values):6.1f} ms ({min(values):.1f} to {max(values):.1f})")
    found = statistics.median(times["instance"])
    if found > BOUND_MS:
        sys.exit(f"bound exceeded: {found:.1f} ms is more than {BOUND_MS:g} ms")


if __name__ == "__main__":
    main()
