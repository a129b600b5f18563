"""A prediction: what an experiment will take, in one frozen value that is printed, written and compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from heapq import nlargest
from typing import Any

from vcmbench.compress.forecast import builtin, builtin_measuring
from vcmbench.compress.forecast.figures import Figures
from vcmbench.compress.forecast.grid import Grid, Planned
from vcmbench.compress.forecast.measuring import Measuring
from vcmbench.compress.forecast.schedule import Schedule, Task, ladder, simulate

SCHEMA_VERSION = 1
WORTH = 0.05
"""Workers help no longer where twice as many save less than this share of the time."""


@dataclass(frozen=True)
class Row:
    """One encoder: its jobs, and what those that are not done will take."""

    encoder: str
    jobs: int
    done: int
    core_s: float
    bitstream_bytes: float
    tool_mb: float
    source: str


@dataclass(frozen=True)
class Rung:
    """The wall time on a number of workers, and how much of their time they work."""

    workers: int
    wall_s: float
    utilisation: float


@dataclass(frozen=True)
class Step:
    """One step, compressing or measuring. Sizes and seconds are of what is not done.

    `longest` is the job that bounds the time whatever the number of workers, and `useful_workers` how many can be kept
    busy by what there is. `storage` is in bytes, `memory_mb` at the peak: of one worker's process, of its largest tool,
    and of all of a machine's workers together; `scratch_bytes` are temporary files of one worker.
    """

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
    memory_mb: dict[str, float]
    scratch_bytes: int = 0
    gpus: int = 0
    gpu_s: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """All of it. `pace` is this machine's time over the built-in figures, `records` how many were looked at."""

    experiment: str
    pictures: str
    configurations: int
    workers: int
    gpus: int
    rows: tuple[Row, ...]
    compress: Step
    metrics: Step | None
    records: int
    pace: float
    notes: tuple[str, ...] = ()
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    schema_version: int = SCHEMA_VERSION

    def as_json(self) -> dict[str, Any]:
        """As it is printed and written; each step has the date, too, since a later plan may keep one of them."""
        told = asdict(self)
        for name in ("compress", "metrics"):
            if told[name] is not None:
                told[name]["date"] = self.date
        return told


def predict(
    experiment: str, pictures: str, grid: Grid, measuring: Measuring | None, workers: int, notes: Sequence[str] = ()
) -> Prediction:
    """Carry out the schedules of both steps on `workers`, and sum up the rest."""
    todo = [job for job in grid.jobs if not job.is_done]
    notes = [*notes, *(f"{count} jobs cannot be done: {reason}" for reason, count in grid.impossible.items())]
    return Prediction(
        experiment, pictures, len(grid.codings), workers, measuring.gpus if measuring else 0, _rows(grid),
        _compress(grid, todo, workers), _metrics(measuring, workers) if measuring else None,
        grid.figures.records, round(grid.figures.pace, 3), tuple(notes),
    )  # fmt: skip


def _rows(grid: Grid) -> tuple[Row, ...]:
    jobs: defaultdict[str, list[Planned]] = defaultdict(list)
    for name in dict.fromkeys(coding.encoder for coding in grid.codings):
        jobs[name] = []
    for job in grid.jobs:
        jobs[job.cost.coding.encoder].append(job)
    return tuple(_row(name, found, grid.figures) for name, found in jobs.items())


def _row(name: str, jobs: list[Planned], figures: Figures) -> Row:
    todo = [job.cost for job in jobs if not job.is_done]
    return Row(
        name, len(jobs), len(jobs) - len(todo), sum(cost.own_s for cost in todo),
        sum(cost.bitstream_bytes for cost in todo), max((cost.tool_mb for cost in todo), default=0.0),
        figures.source(name),
    )  # fmt: skip


def _compress(grid: Grid, todo: list[Planned], workers: int) -> Step:
    tasks = [grid.task(job) for job in todo]
    costs = {id(job.cost): job.cost for job in todo}.values()
    run = _Run(tasks, builtin.START_S + builtin.FINISH_S_PER_JOB * len(grid.jobs) if todo else 0.0)
    rungs, schedule = run.rungs(workers), run.on(workers)
    longest = grid.title(todo[schedule.longest]) if schedule.longest is not None else ""
    together = nlargest(workers, (job.cost.process_mb + job.cost.tool_mb for job in todo))
    return Step(
        len(grid.jobs), len(grid.jobs) - len(todo), schedule.busy_s + run.fixed_s, rungs[-1].wall_s, workers, rungs,
        longest, schedule.longest_s, run.useful_workers(),
        {
            "bitstreams": round(sum(job.cost.bitstream_bytes for job in todo)),
            "maps and reconstructions": round(sum(job.cost.more_bytes for job in todo)),
            "records": round(sum(job.cost.record_bytes for job in todo)),
        },
        {
            "process": max((cost.process_mb for cost in costs), default=0.0),
            "tool": max((cost.tool_mb for cost in costs), default=0.0),
            "all": sum(together) + (builtin.CLIENT_MB if todo else 0.0),
        },
        round(max((cost.scratch_bytes for cost in costs), default=0.0)),
    )  # fmt: skip


def _metrics(measuring: Measuring, workers: int) -> Step:
    """Pictures, then blocks, then what is told: one after the other."""
    has_work = bool(measuring.tasks)
    places = measuring.gpus or workers
    # the blocks' decoders and sampling run on cores, whatever the pictures were measured on
    fixed_s = measuring.fixed_s if has_work else 0.0
    run = _Run(measuring.tasks, fixed_s, measuring.pristine_s, measuring.block_s)
    rungs, schedule = run.rungs(places, workers if measuring.gpus else None), run.on(places)
    on_places_s = schedule.busy_s + measuring.pristine_s
    notes = (measuring.network_note,) if measuring.network_note else ()
    longest = measuring.titles[schedule.longest] if schedule.longest is not None else ""
    if measuring.gpus:
        notes = (*notes, f"a GPU is taken for {builtin_measuring.GPU_SPEED:g} cores in networks and metrics: "
                         "an assumption, not a measurement")  # fmt: skip
    return Step(
        measuring.frames, measuring.done, run.fixed_s + measuring.block_s + (0.0 if measuring.gpus else on_places_s),
        rungs[-1].wall_s, places, rungs, longest, schedule.longest_s,
        run.useful_workers(workers if measuring.gpus else None),
        {
            "predictions": round(measuring.prediction_bytes),
            "scores": round(measuring.score_bytes),
            "tables": round(measuring.rows_bytes),
            "report": measuring.report_bytes if has_work else 0,
        },
        {"process": measuring.process_mb, "tool": 0.0, "all": measuring.process_mb * places} if has_work
        else {"process": 0.0, "tool": 0.0, "all": 0.0},
        round(measuring.largest_stack_mpx * 1e6 * 1.5), measuring.gpus, on_places_s if measuring.gpus else 0.0, notes,
    )  # fmt: skip


class _Run:
    """A step's tasks between a start and an end that no worker shortens, and even work that all of them share."""

    def __init__(self, tasks: list[Task], fixed_s: float, even_s: float = 0.0, on_cores_s: float = 0.0) -> None:
        self.fixed_s = fixed_s
        self._tasks, self._even_s, self._on_cores_s = tasks, even_s, on_cores_s
        self._known: dict[int, Schedule] = {}

    def on(self, workers: int) -> Schedule:
        if workers not in self._known:
            self._known[workers] = simulate(self._tasks, workers)
        return self._known[workers]

    def wall_s(self, workers: int, cores: int | None = None) -> float:
        """On `workers`; `cores` are there for what runs on cores alone, by default as many."""
        even_s = self._even_s / workers + self._on_cores_s / (cores or workers)
        return self.fixed_s + self.on(workers).wall_s + even_s

    def rungs(self, most: int, cores: int | None = None) -> tuple[Rung, ...]:
        """The wall time on 1, 2, 4, .. `most`."""
        return tuple(Rung(one, self.wall_s(one, cores), self.on(one).utilisation) for one in ladder(most))

    def useful_workers(self, cores: int | None = None) -> int:
        """From so many on, twice as many save less than a twentieth of the time."""
        return _first(lambda workers: self.wall_s(2 * workers, cores) > (1 - WORTH) * self.wall_s(workers, cores),
                      len(self._tasks))  # fmt: skip


def _first(is_enough: Callable[[int], bool], most: int) -> int:
    """The smallest power of two that is enough, but not more than `most`; at least 1."""
    workers = 1
    while workers < most and not is_enough(workers):
        workers *= 2
    return max(1, min(workers, most))
