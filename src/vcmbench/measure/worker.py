"""Where pictures are measured: what a process holds for it, and pieces of the work that can go to other processes.

A piece is what belongs together because it shares a pristine picture: all configurations of one picture, or of a stack
of them. Another process needs nothing but the data root and the settings: units are found again by their
records.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vcmbench.data.dataset import DataRoot, Source, find_sources, open_root
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.base import Runner
from vcmbench.execution.runner.choice import RunnerChoice
from vcmbench.execution.runner.opening import open_runner
from vcmbench.experiment import Experiment
from vcmbench.io.progress import Progress
from vcmbench.iqa import METRICS, Scorer
from vcmbench.measure.bitstreams import Unit, find
from vcmbench.measure.decoders import Decoders
from vcmbench.measure.pictures_run import MeasuredPictures, PicturesRun
from vcmbench.measure.pipeline import Pipeline
from vcmbench.measure.predictions import NetworkPredictor, Predictor, of_files
from vcmbench.measure.todo import MeasureContext
from vcmbench.tasks import TaskSettings, devices
from vcmbench.tasks.flips import ExpectedFlips


class MeasureWorker:
    """What a process holds while it measures pictures of an experiment: decoders, the machine, metrics, threads.

    `held` is what is to be closed with it. Several pieces may be measured at
    once, on threads of their own: then the network finds the pictures of the next one ready when it is through with
    those of the last. A context manager.
    """

    def __init__(
        self, context: MeasureContext, runner: Runner, jobs: int, timeout_s: float,
        stop: threading.Event | None = None, held: ExitStack | None = None,
    ) -> None:  # fmt: skip
        self.context, self.runner = context, runner
        self._stop = stop or threading.Event()
        self._held = held or ExitStack()
        self._pipeline = self._held.enter_context(Pipeline(context.predictor, jobs))
        self._decoders = self._held.enter_context(Decoders(context.store.data.root, runner, jobs, timeout_s))

    def measure(self, units: Sequence[Unit], progress: Progress, *, force: bool, waits: bool) -> MeasuredPictures:
        """Find out what is not known of some units. Those that another run is at work on are waited for, or left."""
        run = PicturesRun(units, self.context, self._decoders, self._pipeline, self._stop, progress, force=force)
        return run.execute(waits=waits)

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    @property
    def _data(self) -> DataRoot:
        return self.context.store.data

    @cached_property
    def _sources(self) -> dict[str, Source]:
        """The experiment's pictures by their names."""
        return {str(source.name): source for source in find_sources(self._data, self.context.experiment.dataset)}

    def units(self, piece: Piece) -> list[Unit]:
        """The units of a piece, by the records that lie there now. Raises RequestError where there are none."""
        sources = [self._sources[name] for name in piece.sources if name in self._sources]
        wanted = set(piece.bitstreams)
        found = find(self.context.experiment, self._data, sources, self.context.store, partial=True) if sources else []
        return [unit for unit in found if unit.record["bitstream"] in wanted]

    def cancel(self) -> None:
        """End what is running, at once. May be called from another thread."""
        self._stop.set()
        self.runner.cancel()

    def close(self) -> None:
        """Give back what it holds. Doing so twice is no error."""
        self._held.close()

    def __enter__(self) -> MeasureWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class MeasureWorkerSpec:
    """How a worker is opened, in this process or in another one that sees the same data root: can be pickled.

    `levels` as `--level` says, `tasks` and `gpu` as `--runner` and `--gpu` do for networks. Paths in the experiment and
    `weights` must mean the same there.
    """

    run_id: str
    data_root: Path
    experiment: Experiment
    runner: RunnerChoice
    levels: tuple[str, ...] = ("image", "block")
    tasks: str = "auto"
    gpu: str = "auto"
    weights: Path | None = None
    jobs: int = 1
    timeout_s: float = 600.0

    def open(self) -> MeasureWorker:
        """Raises RequestError where this process does not see the data, or has not what networks or metrics need."""
        store = Store(open_root(self.data_root), self.experiment.name, self.experiment.seed)
        with ExitStack() as held:
            predictor = open_predictor(self.experiment, store, self.tasks, self.gpu, self.jobs, held)
            runner = open_runner(self.runner)
            scorer = open_scorer(self.experiment, self.gpu, self.weights, runner)
            names = tuple(dict.fromkeys(self.experiment.metrics.iqa)) if "image" in self.levels else ()
            context = MeasureContext(self.experiment, store, predictor, scorer, names)
            return MeasureWorker(context, runner, self.jobs, self.timeout_s, held=held.pop_all())


def open_predictor(
    experiment: Experiment, store: Store, tasks: str, gpu: str, jobs: int, held: ExitStack
) -> Predictor | None:
    """Where predictions come from: a network, which `held` closes, or files; None where there is no [task]."""
    from vcmbench.tasks import open_task

    if experiment.task is None:
        return None
    if experiment.task.predictions == "files":
        return of_files(store.data.root, experiment.task)
    task = held.enter_context(open_task(experiment.task, tasks, gpu, jobs))
    return NetworkPredictor(task, store, experiment.task.score)


def open_scorer(experiment: Experiment, gpu: str, weights: Path | None, runner: Runner) -> Scorer | None:
    """The metrics of an experiment, None where it asks for none. `runner` has FFmpeg for them."""
    names = list(dict.fromkeys(experiment.metrics.iqa))
    if not names:
        return None
    model, network = experiment.metrics.network, None
    if model is not None and any(METRICS[name].needs == "network" for name in names):
        network = ExpectedFlips(TaskSettings(name="segmentation", model=model))
    return Scorer(names, experiment.metrics.profile, devices.local(gpu), weights, runner=runner, network=network)


# --- pieces


@dataclass(frozen=True)
class Piece:
    """Bitstreams with the same pictures in them, all by name."""

    sources: tuple[str, ...]
    bitstreams: tuple[str, ...]

    @property
    def pictures(self) -> int:
        """How many scores it is about."""
        return len(self.sources) * len(self.bitstreams)


def pieces(units: Iterable[Unit]) -> list[Piece]:
    """The pieces that some units are, in their order."""
    groups: dict[tuple[Source, ...], list[str]] = {}
    for unit in units:
        groups.setdefault(unit.sources, []).append(unit.record["bitstream"])
    return [Piece(tuple(str(one.name) for one in sources), tuple(names)) for sources, names in groups.items()]


@dataclass(frozen=True)
class PieceOutcome:
    """What became of a piece: small, and can be pickled."""

    done: int = 0
    resumed: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    """Titles and reasons."""
    put_off: Piece | None = None
    """What another run was at work on: to be asked for again."""
    known: frozenset[str] = frozenset()
    """Metrics that some record knows, as they would be computed today."""
    truths: dict[str, str] = field(default_factory=dict)
    """By picture, what decides the truth that the machine was held against."""
    is_stopped: bool = False


def measure_piece(worker: MeasureWorker, piece: Piece, force: bool = False) -> PieceOutcome:
    """Find out what is not known of a piece. Doing it twice does no harm, nor does doing it in two processes at once.

    Raises nothing that a picture is at fault for: that is in `failed`.
    """
    try:
        units = worker.units(piece)
    except RequestError as error:
        return PieceOutcome(failed=tuple((name, str(error)) for name in piece.bitstreams for _ in piece.sources))
    there = {unit.record["bitstream"] for unit in units}
    gone = [(name, "the bitstream, or its record, is not there any more") for name in piece.bitstreams
            for _ in piece.sources if name not in there]  # fmt: skip
    with Progress(piece.pictures, "picture", quiet=True) as progress:
        found = worker.measure(units, progress, force=force, waits=False)
    put_off = tuple(unit.record["bitstream"] for unit in found.put_off)
    return PieceOutcome(
        found.done, found.resumed, (*gone, *((title, str(error)) for title, error in found.failed)),
        Piece(piece.sources, put_off) if put_off else None, frozenset(found.known), found.truths, worker.is_stopped,
    )  # fmt: skip


def together(outcomes: Iterable[PieceOutcome]) -> MeasuredPictures:
    """What became of all pieces, as `MeasureWorker.measure` returns it."""
    found = MeasuredPictures()
    for one in outcomes:
        found.done, found.resumed = found.done + one.done, found.resumed + one.resumed
        found.failed += [(title, JobError(why)) for title, why in one.failed]
        found.known |= one.known
        found.truths |= one.truths
    return found


@dataclass(frozen=True)
class Machine:
    """The network of a worker: what keys and later steps need to know of it."""

    kind: str
    classes: tuple[str, ...]
    identity: dict[str, Any]


def describe(worker: MeasureWorker, _: object = None) -> tuple[Machine | None, dict[str, str]]:
    """The network of a worker, None where there is none or predictions are files; and the metrics that it lacks, with
    reasons.

    All workers of a run must say the same: keys are made of it.
    """
    predictor, scorer = worker.context.predictor, worker.context.scorer
    missing = scorer.missing if scorer else {}
    if not isinstance(predictor, NetworkPredictor):
        return None, dict(missing)
    return Machine(predictor.kind.name, predictor.classes, predictor.identity()), dict(missing)
