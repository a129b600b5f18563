"""The jobs of an experiment over a data root, which of them are done, and what the rest will cost."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from vcmbench.compress import allocation
from vcmbench.compress.forecast.figures import Figures, rough
from vcmbench.compress.job import Job, Tools
from vcmbench.compress.job_keys import JobMaker, Measured
from vcmbench.compress.sensitivity import Sensitivity
from vcmbench.data.dataset import DataRoot, Source
from vcmbench.data.store import Store
from vcmbench.encoder.base import Tool
from vcmbench.encoder.plugins import get as get_encoder
from vcmbench.errors import JobError
from vcmbench.execution.runner.base import Runner
from vcmbench.execution.runner.tool import FoundTool
from vcmbench.experiment import Experiment
from vcmbench.importance.source import ImportanceSource


def measure(source: Source) -> Measured:
    try:
        str(source.path).encode()
    except UnicodeEncodeError:
        return Measured(problem=f"{source.path}: its name is not UTF-8; rename it")
    try:
        width, height = source.size()
        return Measured(source.sha256(), width, height)
    except Exception:  # whatever a hostile header makes the decoder raise; read_picture names it
        try:
            source.read()
        except JobError as error:
            return Measured(problem=str(error))
        return Measured(problem=f"{source.path}: cannot be read")


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
                    why = "; only codings with a map call it" if wanted == one.map_tools else ""
                    missing.setdefault(one.name, f"{runner.missing(one, wanted)}{why}")
                tools[one.name, wanted] = found or FoundTool(wanted[0].program, "", "missing", "")
    return tools, missing


def jobs_of(
    experiment: Experiment,
    data: DataRoot,
    sources: list[Source],
    tools: Toolbox,
    measure: Callable[[Source], Measured] = measure,
    asked: Sensitivity | None = None,
) -> Iterator[Job]:
    """Every job of an experiment, long ones first, so that no worker is left alone with one at the end: stacks, then
    picture by picture, so that the configurations of one share its preparation; large pictures before small ones, and
    of each the costliest configurations first.

    Pictures are measured as they come up, so that the first jobs can start at once. `asked` is the network that codings
    ask, which is a part of their keys.
    """
    identity = json.dumps([allocation.REFINED, asked.identity()], sort_keys=True) if asked is not None else ""

    @lru_cache(maxsize=4096)
    def digest(source: Source, wanted: ImportanceSource) -> str:
        found = wanted.digest(data, source)
        return hashlib.sha256((found + identity).encode()).hexdigest() if wanted.origin.is_asked else found

    stacked: list[JobMaker] = []
    single: list[JobMaker] = []
    for coding in experiment.configurations():
        one = get_encoder(coding.encoder)
        found = Tools(tools[one.name, one.tools_to_encode(coding)], tools[one.name, one.decode_tools])
        (stacked if coding.stacked else single).append(JobMaker(data, one, coding, found, digest))

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


def _cost_per_mpx(recipe: JobMaker) -> float:
    return rough(recipe.encoder, recipe.coding, 1.0).seconds


def _octave(source: Source) -> int:
    """Of the size of a picture's file, which tells about how large the picture is, and opens none."""
    try:
        return source.path.stat().st_size.bit_length()
    except (OSError, UnicodeError):
        return 0


def seconds(job: Job) -> float:
    """How long a job will take on one core, roughly: enough to know which are the long ones."""
    return rough(job.encoder, job.coding, job.mpx).seconds


@dataclass
class Remaining:
    """One encoder's row of a dry run."""

    jobs: int = 0
    done: int = 0
    bits: float = 0.0
    seconds: float = 0.0
    estimated_from: str = "rough"


def estimate(all_jobs: Iterable[Job], store: Store) -> dict[str, Remaining]:
    """Per encoder: how many jobs there are, how many are done, and what the rest will cost in bits and core-seconds.

    By the figures of `vcmbench plan`, which also carries out the schedule.
    """
    rows: defaultdict[str, Remaining] = defaultdict(Remaining)
    figures = Figures()
    waiting: list[Job] = []
    for job in all_jobs:
        rows[job.encoder.name].jobs += 1
        record = store.finished(job.bitstream, *job.keys, adopt=False) if job.key else None
        if record is not None:
            rows[job.encoder.name].done += 1
            figures.add(record)
        else:
            waiting.append(job)
    for job in waiting:
        if job.geometry is not None:
            row, cost = rows[job.encoder.name], figures.job(job.encoder, job.coding, job.mpx)
            row.bits += cost.bits
            row.seconds += cost.seconds
    for name, row in rows.items():
        row.estimated_from = figures.source(name)
    return dict(rows)
