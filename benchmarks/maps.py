"""What QP maps cost: `python benchmarks/maps.py` (minutes). One core, 2048x1024 and 512x256, scenes of the demo data.

1. Importance and QP map, after the PNGs are read: at most 60 ms at 2048x1024.
2. An encode with the importance map (blocks of 16, delta 6, "absolute") against the same command with the same offset
   for every block, in turn: at most 1.10. A map also changes what is coded, hence the file's size, hence the time. So
   the flat one is coded with the two offsets whose files are next to the map's in size, and its time is read off
   between them. Both sides begin with the steps as an array: what Python does to tell the tool is counted.
   For JPEG the flat one is coarsened block by block, too: there the uniform encode shows the price.
   For comparison, the same against the plain uniform encode of that size; and with the map moved by a fraction of a
   step, as the search for an equal rate does.
3. A random map, every block of the tool different from its neighbours: encodes; the ratio is only shown.

Exits with 1 where a limit is broken. All is processor time, medians over rounds, with quartiles in brackets.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from table import Row
from table import quartiles as spread_of

from vcmbench.compress import importance_steps
from vcmbench.compress.job import geometry
from vcmbench.compress.pixels import prepare
from vcmbench.data.dataset import DataRoot, find_sources, open_root
from vcmbench.data.selection import Selection
from vcmbench.demo import cityscapes
from vcmbench.encoder import SOURCE, plugins, quantisers
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.importance import ImportanceSettings, importance_map, qp_map
from vcmbench.importance.inputs import files_of, read_inputs
from vcmbench.importance.qp_map import QpMap

SIZES = ((2048, 1024), (512, 256))
BOUND_MS, BOUND_RATIO = 60.0, 1.10
REGRESSION = 1.25
"""In the table: 1.10 is the aim and x265 misses it at 512x256 (1.12); what is above this has become worse."""
# coarse ones, where an encode is short and the map's share of it large
QUALITIES = {"x264": 32, "x265": 32, "kvazaar": 32, "jpeg": 30}
BLOCK_PX, DELTA = 16, 6
ROUNDS = {"x264": 21, "x265": 7, "kvazaar": 7, "jpeg": 7}
MATCHING_SHIFT = -3.37
"""About what takes a map's mean back to the base, with a fraction."""

Array = np.ndarray[Any, Any]
Ratios = tuple[list[str], list[float], list[float]]
"""Regions, and the ratios to flat maps and to uniform encodes, scene by scene and round by round."""
exceeded: list[str] = []


def check(title: str, value: float, bound: float) -> None:
    if value > bound:
        exceeded.append(f"{title}: {value:.3f} is more than {bound:g}")


def cpu_seconds(work: Callable[[], object]) -> float:
    """What Python and the tools that it waited for had of the core, whoever else wanted it."""

    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    start = spent()
    work()
    return spent() - start


def quartiles(values: list[float], form: str) -> str:
    low, middle, high = (format(value, form) for value in np.percentile(values, [25, 50, 75]))
    return f"{middle} ({low} to {high})"


def maps(data: DataRoot, rounds: int, bound_ms: float | None) -> tuple[list[Array], dict[str, list[float]]]:
    """The importance of every scene, and milliseconds of importance and QP maps."""
    values: list[Array] = []
    times: dict[str, list[float]] = {"importance": [], "and QP map": [], "and steps of a job": []}
    for source in find_sources(data, Selection()):
        inputs = read_inputs(files_of(data, source), ImportanceSettings())
        coding = CodingConfiguration("x264", 32, qp_map=QpMap(block_size=BLOCK_PX, delta=DELTA))
        height, width = inputs.labels.shape
        size = geometry(plugins.get("x264"), coding, width, height, 1)

        def importance(inputs: Any = inputs) -> Array:
            return importance_map(
                inputs.labels, inputs.instances, inputs.disparity, inputs.fx_px, inputs.baseline_m, inputs.speed_mps
            ).values

        values.append(importance())
        for _ in range(rounds):
            times["importance"].append(cpu_seconds(importance) * 1e3)
            times["and QP map"].append(
                cpu_seconds(lambda: qp_map.qp_map(importance(), BLOCK_PX, 32, DELTA, "absolute")) * 1e3
            )
            times["and steps of a job"].append(
                cpu_seconds(
                    lambda coding=coding, size=size: importance_steps.block_steps(importance(), coding, size, 32)
                )
                * 1e3
            )
    for name, found in times.items():
        print(f"{name + ':':<20}{quartiles(found, '.1f')} ms", flush=True)
        if bound_ms is not None:
            check(f"{name}, ms", statistics.median(found), bound_ms)
    return values, times


def random_steps(rows: int, columns: int, delta: int = DELTA) -> Array:
    """Even steps in [-delta, delta], other than those of the blocks to the left and above."""
    rng, choices = np.random.default_rng(2024), range(-delta, delta + 1, 2)
    steps = np.full((rows + 1, columns + 1), delta + 1)
    for row in range(1, rows + 1):
        for column in range(1, columns + 1):
            taken = steps[row - 1, column], steps[row, column - 1]
            steps[row, column] = rng.choice([value for value in choices if value not in taken])
    return steps[1:, 1:].astype(np.float64)


class Bench:
    """One picture in one encoder's scratch folder."""

    def __init__(self, name: str, data: DataRoot, index: int, values: Array) -> None:
        self.encoder = plugins.get(name)
        self.quality = QUALITIES[name]
        self.is_qp = self.encoder.scale.name == "QP"
        plain = CodingConfiguration(name, self.quality)
        self.coding = plain
        mapped = replace(plain, qp_map=QpMap(block_size=BLOCK_PX, delta=DELTA))
        runner = LocalRunner()
        tool = runner.find(self.encoder, self.encoder.encode_tools)
        if tool is None:
            raise SystemExit(runner.missing(self.encoder, self.encoder.encode_tools))
        self.tool, self.worker = tool, runner.worker()
        source = find_sources(data, Selection())[index]
        size = geometry(self.encoder, plain, values.shape[1], values.shape[0], 1)
        self.clip = size.clip
        pixels = SOURCE[self.encoder.pixels]
        frame = prepare(source, source.sha256(), self.encoder, size).frame
        (self.worker.scratch.inputs / Path(pixels).name).write_bytes(frame)
        self.unit_px = self.encoder.map_unit_px(mapped, self.clip)
        wanted = importance_steps.block_steps(values, mapped, size, self.quality if self.is_qp else 0)
        self.steps = quantisers.finest(wanted, self.clip.width, self.clip.height, BLOCK_PX, self.unit_px)
        self.flat_sizes: dict[int, int] = {}

    def size(self) -> int:
        return (self.worker.scratch.outputs / self.encoder.bitstream).stat().st_size

    def mapped(self, steps: Array, shift: float = 0.0) -> None:
        told = self.encoder.quantisers(self.quality, steps, shift, self.unit_px)
        command = self.encoder.encode_mapped(self.tool.program, self.coding, self.clip, told)
        self.worker.run(self.tool, command, 600)

    def flat(self, step: int, like: Array, shift: float = 0.0) -> None:
        """The command of the map `like` with one offset everywhere, at least zero where JPEG has only excess."""
        told = self.encoder.quantisers(self.quality, like, shift, self.unit_px)
        offset = step + self.quality - told.base if self.is_qp else max(step - told.base, 0)
        flat = np.full_like(told.offsets, offset)
        command = self.encoder.encode_mapped(self.tool.program, self.coding, self.clip, replace(told, offsets=flat))
        self.worker.run(self.tool, command, 600)

    def uniform(self, quality: int) -> None:
        coding = replace(self.coding, quality=quality)
        self.worker.run(self.tool, self.encoder.encode(self.tool.program, coding, self.clip), 600)

    def rectangles(self, steps: Array, shift: float) -> str:
        """How many regions FFmpeg is told of, for tools that take them."""
        told = self.encoder.quantisers(self.quality, steps, shift, self.unit_px)
        texts = self.encoder.encode_mapped(self.tool.program, self.coding, self.clip, told).files
        count = sum(text.count("addroi") for text in texts.values())
        return str(count) if count else "-"


def bracket(size_at: Callable[[int], int], wanted: int, low: int, high: int) -> tuple[int, int]:
    """Neighbours in low..high, sizes descending from low to high, between whose sizes the wanted one lies."""
    while high - low > 1:
        middle = (low + high) // 2
        if size_at(middle) >= wanted:
            low = middle
        else:
            high = middle
    return low, high


def compare(bench: Bench, steps: Array, shift: float, rounds: int) -> tuple[list[float], list[float]]:
    """The ratios of a map's time to that of flat maps and of uniform encodes of its size, round by round."""

    def size_of(work: Callable[..., None], *arguments: Any) -> int:
        work(*arguments)
        return bench.size()

    size = size_of(bench.mapped, steps, shift)
    direction = 1 if bench.encoder.scale.better == "low" else -1
    ends = bench.encoder.scale.minimum, bench.encoder.scale.maximum
    # a flat map of JPEG begins at its map's finest table
    limits = (ends[0] - bench.quality, ends[1] - bench.quality) if bench.is_qp else (-30, 30)
    flats = bracket(lambda step: size_of(bench.flat, step, steps, shift), size, *limits)
    coarse = bracket(lambda at: size_of(bench.uniform, at * direction), size, *sorted(end * direction for end in ends))
    sides: list[tuple[Callable[[], None], int]] = []
    for work in (
        *(lambda step=step: bench.flat(step, steps, shift) for step in flats),
        *(lambda at=at: bench.uniform(at * direction) for at in coarse),
    ):
        work()
        sides.append((work, bench.size()))
    against: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds):
        order = [lambda: bench.mapped(steps, shift), *(work for work, _ in sides)]
        times = {at: cpu_seconds(order[at]) for at in (range(5) if i % 2 else range(4, -1, -1))}
        for found, (a, b) in zip(against, ((1, 2), (3, 4)), strict=True):
            size_a, size_b = sides[a - 1][1], sides[b - 1][1]
            share = min(max((size_a - size) / (size_a - size_b), 0.0), 1.0) if size_a != size_b else 0.5
            found.append(times[0] / (times[a] + share * (times[b] - times[a])))
    return against


def encoders(
    data: DataRoot, values: list[Array], title: str, arguments: argparse.Namespace
) -> Iterator[tuple[str, Ratios]]:
    """The name of each encoder and the ratios of its importance maps."""
    for name in arguments.encoder:
        rounds = max(round(ROUNDS[name] * arguments.effort), 3)
        found_of: dict[str, Ratios] = {}
        for index, importance in enumerate(values[: arguments.scenes]):
            bench = Bench(name, data, index, importance)
            cases = {
                "importance": (bench.steps, 0.0, rounds),
                "moved by a fraction": (bench.steps, MATCHING_SHIFT, rounds),
            }
            if index == 0:
                cases["random"] = (random_steps(*bench.steps.shape), 0.0, 3)
            for case, (steps, shift, count) in cases.items():
                row = found_of.setdefault(case, ([], [], []))
                row[0].append(bench.rectangles(steps, shift))
                for found, more in zip(row[1:], compare(bench, steps, shift, count), strict=True):
                    found += more
            bench.worker.close()
        for case, (regions, flat, uniform) in found_of.items():
            print(
                f"{title:<10}{name:<8} {case:<20}{' '.join(regions):<16}{len(flat):>3}   {quartiles(flat, '.3f'):<24}"
                f"{quartiles(uniform, '.3f')}",
                flush=True,
            )
            if case == "importance":
                check(f"{title} {name} against a flat map", statistics.median(flat), BOUND_RATIO)
        yield name, found_of["importance"]


def measure(arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, list[float]], dict[str, Ratios]]]:
    """Size by size: its title, milliseconds of maps, and ratios by encoder."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, for the tools, too
    for width, height in SIZES:
        title = f"{width}x{height}"
        print(f"{title}, one core; medians (quartiles)")
        with tempfile.TemporaryDirectory() as folder:
            cityscapes.write(Path(folder), width=width, height=height, train_scenes=0, sequences=0, jobs=1)
            data = open_root(Path(folder))
            rounds = max(round(10 * arguments.effort), 3)
            values, times = maps(data, rounds, BOUND_MS if width == SIZES[0][0] else None)
            print(f"{'':<10}{'':<8} {'map':<20}{'regions':<16}{'n':>3}   {'against a flat map':<24}against uniform")
            yield title, times, dict(encoders(data, values, title, arguments))


def rows(small: bool) -> Iterator[Row]:
    names = ["x264"] if small else list(QUALITIES)
    arguments = argparse.Namespace(encoder=names, scenes=1 if small else 3, effort=0.1 if small else 1.0)
    for title, times, by_encoder in measure(arguments):
        largest = title == "x".join(map(str, SIZES[0]))
        ms = statistics.median(times["and QP map"])
        yield Row("maps", f"importance and QP map, {title}, one core", ms, "ms", bound=BOUND_MS if largest else None)
        for name, (_, flat, uniform) in by_encoder.items():
            for against, ratios, bound in (("a flat map", flat, REGRESSION), ("a uniform encode", uniform, None)):
                ratio, spread = statistics.median(ratios), spread_of(ratios)
                what = f"{name} with a map, {title}, processor time of {len(ratios)} encodes"
                yield Row("maps", what, ratio, "times", f"{against} of as many bytes", ratio, bound, spread=spread)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", nargs="*", default=list(QUALITIES), choices=list(QUALITIES))
    parser.add_argument("--scenes", type=int, default=3)
    parser.add_argument("--effort", type=float, default=1.0, help="times as many rounds")
    arguments = parser.parse_args()
    for _ in measure(arguments):
        pass  # it prints
    if exceeded:
        sys.exit("limits exceeded:\n" + "\n".join(exceeded))


if __name__ == "__main__":
    main()
