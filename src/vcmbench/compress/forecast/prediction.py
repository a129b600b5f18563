"""From an experiment, and a data root where there is one, to what it will take on some workers."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from vcmbench.compress.forecast.figures import Figures, rough
from vcmbench.compress.job import geometry
from vcmbench.compress.job_keys import bitstream_path
from vcmbench.data import runlog
from vcmbench.data.dataset import DataRoot, Source, find_sources, open_root
from vcmbench.data.selection import Selection
from vcmbench.data.store import Store
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.plugins import get as get_encoder
from vcmbench.errors import RequestError
from vcmbench.experiment import Experiment

MOST = 100_000
"""Workers, GPUs and pictures that may be asked for."""
_LARGEST_SIDE_PX = 65_535
_CITYSCAPES_VAL = {"frankfurt": 267, "lindau": 59, "munster": 174}
_CITYSCAPES_SIZE = (2048, 1024)
_WORTH = 0.05
"""Workers help no longer where twice as many save less than this share of the time."""
_RECORD_BYTES, _FRAME_BYTES = 2480, 210
GPU_SPEED = 20
"""How many cores a GPU is taken for. An assumption, not a measurement."""
_ENOUGH_DONE = 20
"""So many measured pictures that a run's time says more than rough figures."""

Sizes = dict[Source, tuple[int, int]]


@dataclass(frozen=True)
class Measuring:
    """What measuring takes, roughly: seconds of one core and bytes for a picture (more for each of its megapixels), and
    once at the end."""

    s_per_mpx: float
    bytes_per_picture: float
    bytes_per_mpx: float
    end_s: float
    end_bytes: float


@dataclass(frozen=True)
class PlanRequest:
    """What is asked: on how many workers and GPUs, for which pictures, and whether what is done counts.

    `data` None: as many pictures as Cityscapes' val has, or `count`, of `size` px.
    """

    workers: int
    gpus: int = 0
    data: Path | None = None
    count: int | None = None
    size: tuple[int, int] | None = None
    everything: bool = False

    def check(self) -> None:
        """Raises RequestError where it cannot be answered."""
        for name, value, least in (("workers", self.workers, 1), ("gpus", self.gpus, 0), ("pictures", self.count, 1)):
            if value is not None and not least <= value <= MOST:
                raise RequestError(f"--{name} {value}: must be {least} to {MOST}")
        if self.size is not None and not all(1 <= side <= _LARGEST_SIDE_PX for side in self.size):
            raise RequestError(f"--size {self.size[0]}x{self.size[1]}: sides must be 1 to {_LARGEST_SIDE_PX} px")
        if self.data is not None and (self.count is not None or self.size is not None):
            raise RequestError("--pictures and --size are for a plan without data; leave them out, or -d DATA")


@dataclass(frozen=True)
class Row:
    """One encoder: its jobs, and what those that are not done will take."""

    encoder: str
    jobs: int
    done: int
    core_s: float
    bitstream_bytes: float
    source: str


@dataclass(frozen=True)
class Rung:
    """The wall time on a number of workers, and the share of their time in which they work."""

    workers: int
    wall_s: float
    utilisation: float


@dataclass(frozen=True)
class Step:
    """One step, compressing or measuring; seconds and bytes are of what is not done. `longest` bounds the time whatever
    the number of workers; `useful_workers` is how many can be kept busy."""

    jobs: int
    done: int
    core_s: float
    wall_s: float
    workers: int
    ladder: tuple[Rung, ...]
    longest: str
    longest_s: float
    useful_workers: int
    storage: dict[str, int]


@dataclass(frozen=True)
class Prediction:
    """All of it. `records` is how many were looked at."""

    experiment: str
    pictures: str
    configurations: int
    workers: int
    gpus: int
    rows: tuple[Row, ...]
    compress: Step
    metrics: Step | None
    records: int
    notes: tuple[str, ...] = ()
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    schema_version: int = 2

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class _Planned(NamedTuple):
    """A job, and which of its pictures are measured."""

    coding: CodingConfiguration
    sources: tuple[Source, ...]
    mpx: float
    done: bool
    measured: frozenset[Source]

    @property
    def title(self) -> str:
        what = self.sources[0].name.name
        if len(self.sources) > 1:
            what = f"{self.sources[0].group.name or 'all'} ({len(self.sources)} pictures)"
        return f"{get_encoder(self.coding.encoder).folder_name(self.coding)} {what}"


def ask(experiment: Experiment, request: PlanRequest, measuring: Measuring | None) -> tuple[Prediction, Store | None]:
    """The prediction, and the results that it is about. Raises RequestError."""
    request.check()
    store, notes = None, []
    if request.data is not None:
        data = open_root(request.data)
        store = Store(data, experiment.name, experiment.seed)
        sizes, unreadable = _of_data(data, experiment.dataset)
        what = f"{len(sizes)} pictures of the data root"
        notes += [f"{unreadable} pictures cannot be read, and are left out"] if unreadable else []
    else:
        data = DataRoot(Path(), is_cityscapes=request.count is None)
        sizes, what = _made(experiment.dataset, request.count, request.size or _CITYSCAPES_SIZE)
    figures, impossible = Figures(), Counter[str]()
    jobs = list(_jobs(experiment, data, sizes, (store, request.everything), figures, impossible))
    notes += [f"{count} jobs cannot be done: {reason}" for reason, count in impossible.items()]
    if request.gpus:
        notes.append(f"a GPU is taken for {GPU_SPEED} cores in networks and metrics: an assumption, not a measurement")
    prediction = Prediction(
        experiment.name, what, len(experiment.configurations()), request.workers, request.gpus,
        tuple(_row(one.name, jobs, figures) for one in experiment.encoders()), _compress(jobs, figures, request),
        _metrics(jobs, measuring, request, store) if measuring else None, figures.records, tuple(notes),
    )  # fmt: skip
    return prediction, store


def _of_data(data: DataRoot, wanted: Selection) -> tuple[Sizes, int]:
    """The pictures of a data root by their headers, and how many cannot be read; nothing is hashed or decoded."""
    sizes: Sizes = {}
    unreadable: list[Exception] = []
    for source in find_sources(data, wanted):
        try:
            sizes[source] = source.size()
        except Exception as error:  # whatever a hostile header makes the decoder raise; the run itself names it
            unreadable.append(error)
    if not sizes:
        raise RequestError(f"{data.root}: no picture can be read")
    return sizes, len(unreadable)


def _made(wanted: Selection, count: int | None, size: tuple[int, int]) -> tuple[Sizes, str]:
    """As many pictures in as many cities as Cityscapes' val has, or `count` in one folder."""
    folders, where = _CITYSCAPES_VAL, "as Cityscapes' val"
    if count is not None:
        folders, where = {"pictures": count}, "in one folder"
    elif unknown := [city for city in wanted.cities or [] if city not in folders]:
        raise RequestError(f"dataset.cities: no city {unknown[0]!r} in Cityscapes' val; it has {', '.join(folders)}")
    elif wanted.cities:
        folders = {city: folders[city] for city in wanted.cities}
    names = [PurePosixPath(folder, f"{number:06}") for folder, many in folders.items() for number in range(many)]
    sizes = {Source(name, Path(name)): size for name in names[: wanted.limit]}
    return sizes, f"{len(sizes)} pictures of {size[0]}x{size[1]} px {where}"


def _jobs(
    experiment: Experiment, data: DataRoot, sizes: Sizes, known: tuple[Store | None, bool], figures: Figures,
    impossible: Counter[str],
) -> Iterator[_Planned]:  # fmt: skip
    """Every job in the order of the engine: stacks, then picture by picture, each with its costliest codings first.
    `figures` learn from the records that are there; what cannot be coded is counted in `impossible`, by reason."""

    @cache
    def problem(coding: CodingConfiguration, size: tuple[int, int], frames: int) -> str:
        try:
            geometry(get_encoder(coding.encoder), coding, *size, frames)
        except Exception as error:  # a fault in an encoder's file, too
            return f"{coding.encoder}: {error}"
        return ""

    def job(coding: CodingConfiguration, chosen: tuple[Source, ...]) -> _Planned | None:
        size = sizes[chosen[0]]
        why = problem(coding, size, len(chosen))
        if any(sizes[one] != size for one in chosen):
            why = "pictures differ in size"
        if why:
            impossible[why] += 1
            return None
        done, measured = _found(data, coding, chosen, known, figures)
        return _Planned(coding, chosen, size[0] * size[1] * len(chosen) / 1e6, done, measured)

    groups: defaultdict[PurePosixPath, list[Source]] = defaultdict(list)
    for source in sizes:
        groups[source.group].append(source)
    codings = sorted(experiment.configurations(), key=lambda one: -rough(get_encoder(one.encoder), one, 1).seconds)
    every = [(coding, tuple(group)) for coding in codings if coding.stacked for group in groups.values()]
    every += [(coding, (source,)) for source in sizes for coding in codings if not coding.stacked]
    for coding, chosen in every:
        if (planned := job(coding, chosen)) is not None:
            yield planned


def _found(
    data: DataRoot, coding: CodingConfiguration, chosen: tuple[Source, ...], known: tuple[Store | None, bool],
    figures: Figures,
) -> tuple[bool, frozenset[Source]]:  # fmt: skip
    """Whether a job is done, by what lies there: a record and its bitstream, by name (a run finds out whether its
    key still holds); and which of its pictures have scores."""
    store, everything = known
    if store is None:
        return False, frozenset()
    bitstream = bitstream_path(data, get_encoder(coding.encoder), coding, chosen)
    record = store.read(bitstream) or next(store.of_all_experiments(bitstream), None)
    if record is not None:
        figures.add(record)
    if everything:
        return False, frozenset()
    names = [str(one.name) for one in chosen]
    done = record is not None and [one["name"] for one in record["sources"]] == names
    scores = store.folder / "scores" / bitstream.parts[0]
    measured = frozenset(one for one in chosen if Path(f"{scores / one.name}.json").is_file())
    return done and (data.root / bitstream).is_file(), measured


def _row(name: str, jobs: Sequence[_Planned], figures: Figures) -> Row:
    own = [job for job in jobs if job.coding.encoder == name]
    costs = [figures.job(get_encoder(name), job.coding, job.mpx) for job in own if not job.done]
    core_s, size_bytes = sum(cost.seconds for cost in costs), sum(cost.bits for cost in costs) / 8
    return Row(name, len(own), len(own) - len(costs), core_s, size_bytes, figures.source(name))


def _compress(jobs: Sequence[_Planned], figures: Figures, request: PlanRequest) -> Step:
    todo = [job for job in jobs if not job.done]
    costs = [figures.job(get_encoder(job.coding.encoder), job.coding, job.mpx) for job in todo]
    # stacks come first, the longest ahead; a stable sort leaves the others as they are
    tasks = sorted(zip((cost.seconds for cost in costs), todo, strict=True),
                   key=lambda one: -one[0] if one[1].coding.stacked else 0.0)  # fmt: skip
    records = sum(_RECORD_BYTES + _FRAME_BYTES * len(job.sources) for job in todo)
    storage = {"bitstreams": round(sum(cost.bits for cost in costs) / 8), "records": records}
    return _step(tasks, request.workers, len(jobs), len(jobs) - len(todo), storage)


def _metrics(jobs: Sequence[_Planned], wanted: Measuring, request: PlanRequest, store: Store | None) -> Step:
    """Every decoded picture once: a stack is a task, and so is a picture with all its single codings."""
    runs = [run for run in (runlog.read(store) if store else ()) if run.step == "metrics" and run.done >= _ENOUGH_DONE]
    frames = sum(len(job.sources) for job in jobs)
    tasks: dict[object, tuple[float, _Planned]] = {}
    done, todo_mpx = 0, 0.0
    for job in jobs:
        todo = len(job.sources) - len(job.measured)
        done += len(job.measured)
        mpx = job.mpx / len(job.sources) * todo
        todo_mpx += mpx
        seconds = mpx * wanted.s_per_mpx / (GPU_SPEED if request.gpus else 1)
        if runs and not request.gpus:  # what this experiment's last one took
            seconds = todo * runs[-1].wall_s * runs[-1].workers / runs[-1].done
        if todo:
            unit = job if job.coding.stacked else job.sources
            tasks[unit] = tasks.get(unit, (0.0, job))[0] + seconds, job
    storage = {"predictions, scores and tables": round(wanted.bytes_per_mpx * todo_mpx
                                                       + wanted.bytes_per_picture * (frames - done)),
               "report": round(wanted.end_bytes) if tasks else 0}  # fmt: skip
    return _step(
        list(tasks.values()), request.gpus or request.workers, frames, done, storage, wanted.end_s if tasks else 0.0
    )


def _step(
    tasks: list[tuple[float, _Planned]], workers: int, jobs: int, done: int, storage: dict[str, int], end_s: float = 0.0
) -> Step:
    busy_s = sum(seconds for seconds, _ in tasks)

    @cache
    def wall_s(many: int) -> float:
        return simulate([seconds for seconds, _ in tasks], many) + end_s

    steps = [1 << power for power in range((workers - 1).bit_length())] + [workers]
    ladder = tuple(Rung(many, wall_s(many), busy_s / (wall_s(many) * many) if tasks else 1.0) for many in steps)
    longest_s, longest = max(tasks, key=lambda one: one[0]) if tasks else (0.0, None)
    useful = _first(lambda many: wall_s(2 * many) > (1 - _WORTH) * wall_s(many), len(tasks))
    return Step(jobs, done, busy_s + end_s, wall_s(workers), workers, ladder,
                longest.title if longest else "", longest_s, useful, storage)  # fmt: skip


def simulate(seconds: Sequence[float], workers: int) -> float:
    """The wall time of jobs that are taken in their order by whichever of `workers` is free."""
    free = [0.0] * max(1, min(workers, len(seconds)))
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def _first(is_enough: Callable[[int], bool], most: int) -> int:
    """The smallest power of two that is enough, but not more than `most`; at least 1."""
    workers = 1
    while workers < most and not is_enough(workers):
        workers *= 2
    return max(1, min(workers, most))
