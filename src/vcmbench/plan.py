"""The jobs of an experiment over a data root, which of them are done, and what the rest will cost."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath

from PIL import Image

from vcmbench import mapping
from vcmbench.coding import CodingConfiguration
from vcmbench.dataset import DataRoot, Source, read_picture
from vcmbench.encoder import Encoder, Tool, Typical
from vcmbench.encoder import get as get_encoder
from vcmbench.errors import JobError
from vcmbench.experiment import Experiment
from vcmbench.job import Job, Tools
from vcmbench.recipe import Measured, Recipe
from vcmbench.runner.base import Runner
from vcmbench.runner.found import FoundTool
from vcmbench.store import Record, Store


def measure(source: Source) -> Measured:
    try:
        str(source.path).encode()
    except UnicodeEncodeError:
        return Measured(problem=f"{source.path}: its name is not UTF-8; rename it")
    try:
        with Image.open(source.path) as image:
            width, height = image.size
        return Measured(source.sha256(), width, height)
    except Exception:  # whatever a hostile header makes the decoder raise; read_picture names it
        try:
            read_picture(source.path)
        except JobError as error:
            return Measured(problem=str(error))
        return Measured(problem=f"{source.path}: cannot be read")


_SEARCH_ENCODES = 4  # about as many as the search for a rate takes, the uniform encode among them

Toolbox = dict[tuple[str, tuple[Tool, ...]], FoundTool]
"""For each encoder's name and choice of tools, the one that was found: containers have an image an encoder."""


def find_tools(experiment: Experiment, runner: Runner) -> tuple[Toolbox, dict[str, str]]:
    """The tools that an experiment calls, and for each encoder that lacks one, a line that says so.

    A tool that is missing is replaced by one that cannot be called, so that a plan can still be made.
    """
    tools: Toolbox = {}
    missing: dict[str, str] = {}
    for coding in experiment.configurations():
        one = get_encoder(coding.encoder)
        for wanted in (one.tools_to_encode(coding), one.decode_tools):
            if (one.name, wanted) not in tools:
                found = runner.find(one, wanted)
                if found is None:
                    missing.setdefault(one.name, runner.missing(one, wanted))
                tools[one.name, wanted] = found or FoundTool(wanted[0].program, "", "missing", "")
    return tools, missing


def jobs(
    experiment: Experiment,
    data: DataRoot,
    sources: list[Source],
    tools: Toolbox,
    measure: Callable[[Source], Measured] = measure,
) -> Iterator[Job]:
    """Every job of an experiment, long ones first, so that no worker is left alone with one at the end: stacks, then
    picture by picture, so that the configurations of one share its preparation; large pictures before small ones, and
    of each the costliest configurations first.

    Pictures are measured as they come up, so that the first jobs can start at once.
    """
    digest = lru_cache(maxsize=4096)(lambda source, wanted: mapping.digest(data, source, wanted))
    stacked: list[Recipe] = []
    single: list[Recipe] = []
    for coding in experiment.configurations():
        one = get_encoder(coding.encoder)
        found = Tools(tools[one.name, one.tools_to_encode(coding)], tools[one.name, one.decode_tools])
        (stacked if coding.stacked else single).append(Recipe(data, one, coding, found, digest))

    groups: defaultdict[PurePosixPath, list[Source]] = defaultdict(list)
    for source in sources:
        groups[source.group].append(source)
    stacks = [(recipe, group) for group in groups.values() for recipe in stacked]
    for recipe, group in sorted(stacks, key=lambda one: -_cost_per_mpx(one[0]) * len(one[1])):
        yield recipe.job(tuple(group), [measure(source) for source in group])
    single.sort(key=lambda one: -_cost_per_mpx(one))
    for source in sorted(sources, key=lambda one: -_octave(one)) if single else ():
        measured = [measure(source)]
        for recipe in single:
            yield recipe.job((source,), measured)


def _cost_per_mpx(recipe: Recipe) -> float:
    return _cost(recipe.encoder, recipe.coding, 1e6 * recipe.coding.subsampling_factor**2)


def _octave(source: Source) -> int:
    """Of the size of a picture's file, which tells about how large the picture is, and opens none."""
    try:
        return source.path.stat().st_size.bit_length()
    except (OSError, UnicodeError):
        return 0


def seconds(job: Job) -> float:
    """How long a job will take on one core, by built-in figures: enough to know which are the long ones."""
    clip = job.geometry.clip if job.geometry else None
    return _cost(job.encoder, job.coding, clip.width * clip.height * clip.frames if clip else 0)


def _cost(encoder: Encoder, coding: CodingConfiguration, pixels: float) -> float:
    return encoder.typical.seconds_per_mpx * pixels / 1e6 * (_SEARCH_ENCODES if coding.is_searched else 1)


@dataclass
class Figures:
    """What one encoder's jobs cost: bits per coded pixel by quality, seconds per coded megapixel."""

    typical: Typical
    bpp: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds_per_mpx: list[float] = field(default_factory=list)

    def add(self, record: Record) -> None:
        pixels = record["coded_width_px"] * record["coded_height_px"] * record["frames"]
        quality = record["quality"] or 0 if record["target_bpp"] is None else record.get("found_quality")
        if isinstance(quality, int):  # a map with a target has none of its own
            self.bpp[quality].append(record["size_bytes"] * 8 / pixels)
        self.seconds_per_mpx.append((record["encode_s"] + record["decode_s"]) / pixels * 1e6)

    def bits(self, quality: int | None, pixels: int) -> float:
        """Estimated bits: log-linear between the nearest known qualities."""
        known = {q: sum(values) / len(values) for q, values in self.bpp.items()} or dict(self.typical.bpp)
        return pixels * _interpolate(sorted(known.items()), quality or 0)

    def seconds(self, pixels: int) -> float:
        known = self.seconds_per_mpx
        return pixels / 1e6 * (sum(known) / len(known) if known else self.typical.seconds_per_mpx)


def _interpolate(anchors: list[tuple[int, float]], quality: int) -> float:
    if len(anchors) == 1:
        return anchors[0][1]
    index = next((i for i in range(1, len(anchors)) if quality <= anchors[i][0]), len(anchors) - 1)
    (q0, b0), (q1, b1) = anchors[index - 1], anchors[index]
    slope = (math.log(b1) - math.log(b0)) / (q1 - q0)
    return math.exp(math.log(b0) + slope * (quality - q0))


@dataclass
class Estimate:
    """One encoder's row of a dry run."""

    jobs: int = 0
    done: int = 0
    bits: float = 0.0
    seconds: float = 0.0
    is_measured: bool = False


def estimate(all_jobs: Iterable[Job], store: Store) -> dict[str, Estimate]:
    """Per encoder: how many jobs there are, how many are done, and what the rest will cost in bits and core-seconds.

    Figures come from the records of this data root where there are any, else from the encoder's built-in ones.
    """
    rows: defaultdict[str, Estimate] = defaultdict(Estimate)
    figures: dict[str, Figures] = {}
    waiting: list[Job] = []
    for job in all_jobs:
        known = figures.setdefault(job.encoder.name, Figures(job.encoder.typical))
        rows[job.encoder.name].jobs += 1
        record = store.finished(job.bitstream, job.key, adopt=False) if job.key else None
        if record is not None:
            rows[job.encoder.name].done += 1
            known.add(record)
        else:
            waiting.append(job)
    for job in waiting:
        if job.geometry is not None:
            clip = job.geometry.clip
            pixels = clip.width * clip.height * clip.frames
            row, known = rows[job.encoder.name], figures[job.encoder.name]
            if job.coding.target_bpp is not None:
                row.bits += job.coding.target_bpp * job.geometry.width * job.geometry.height * clip.frames
            else:
                row.bits += known.bits(job.coding.quality, pixels)
            row.seconds += known.seconds(pixels) * (_SEARCH_ENCODES if job.coding.is_searched else 1)
            row.is_measured = bool(known.bpp)
    return dict(rows)
