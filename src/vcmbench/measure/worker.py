"""Where pictures are measured: what a process holds for it, and pieces of the work that can go to other processes.

A piece is what belongs together because it shares a pristine picture: all configurations of one picture, or of a stack
of them. Whoever does it needs nothing but the data root and the settings: units are found again by their records.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vcmbench.data.dataset import Source, find_sources, open_root
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.base import Runner
from vcmbench.execution.runner.choice import RunnerChoice
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.execution.runner.opening import open_runner
from vcmbench.experiment import Experiment
from vcmbench.io.progress import Progress
from vcmbench.iqa import Scorer
from vcmbench.measure import ground_truth
from vcmbench.measure.bitstreams import Unit, find
from vcmbench.measure.decoders import Decoders
from vcmbench.measure.pictures_run import MeasuredPictures, PicturesRun
from vcmbench.measure.pipeline import Pipeline
from vcmbench.measure.predictions import FilePredictor, NetworkPredictor, Predictor
from vcmbench.measure.pristine import PristineCache
from vcmbench.measure.records import ScoreStore
from vcmbench.measure.steps import Steps
from vcmbench.measure.todo import ImageLevel
from vcmbench.tasks import devices


class MeasureWorker:
    """What a process holds while it measures pictures of an experiment: decoders, the machine, metrics, threads.

    `names` are the metrics of whole pictures, `held` is what is to be closed with it. Several pieces may be measured at
    once, on threads of their own: then the network finds the pictures of the next one ready when it is through with
    those of the last. A context manager.
    """

    def __init__(
        self, experiment: Experiment, store: Store, runner: Runner, answers: Predictor | None, scorer: Scorer | None,
        names: Sequence[str], jobs: int, timeout_s: float, stop: threading.Event | None = None,
        held: ExitStack | None = None,
    ) -> None:  # fmt: skip
        self.experiment, self.store, self.runner = experiment, store, runner
        self.answers, self.scorer, self._names = answers, scorer, names
        self._stop = stop or threading.Event()
        self._weights = ground_truth.weights_of(experiment)
        self._scores = ScoreStore(store)
        self._held = held or ExitStack()
        self._line = self._held.enter_context(Pipeline(answers, jobs))
        self._decoders = self._held.enter_context(Decoders(store.data.root, runner, jobs, timeout_s))

    def measure(self, units: Sequence[Unit], progress: Progress, *, force: bool, waits: bool) -> MeasuredPictures:
        """Find out what is not known of some units. Those that another run is at work on are waited for, or left."""
        data = self.store.data
        level = ImageLevel(data, self._scores, self.answers, self.scorer, self._names, self._weights)
        finding = Steps(data, self._scores, self.answers, self.scorer, level)
        return PicturesRun(
            units, self.store, level, finding, PristineCache(data, self._weights), self._decoders, self._line,
            self._stop, progress, force=force,
        ).execute(waits=waits)  # fmt: skip

    @property
    def is_stopped(self) -> bool:
        return self._stop.is_set()

    @cached_property
    def _sources(self) -> dict[str, Source]:
        """The experiment's pictures by their names."""
        return {str(source.name): source for source in find_sources(self.store.data, self.experiment.dataset)}

    def units(self, piece: Piece) -> list[Unit]:
        """The units of a piece, by the records that lie there now. Raises RequestError where there are none."""
        sources = [self._sources[name] for name in piece.sources if name in self._sources]
        wanted = set(piece.bitstreams)
        found = find(self.experiment, self.store.data, sources, self.store, partial=True) if sources else []
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
    """How a place is opened, in this process or in another one that sees the same data root: can be pickled.

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
            answers = open_answers(self.experiment, store, self.tasks, self.gpu, self.jobs, held)
            runner = open_runner(self.runner)
            scorer = open_scorer(self.experiment, self.gpu, self.weights, runner)
            names = list(dict.fromkeys(self.experiment.metrics.iqa)) if "image" in self.levels else []
            return MeasureWorker(
                self.experiment, store, runner, answers, scorer, names, self.jobs, self.timeout_s,
                held=held.pop_all(),
            )  # fmt: skip


def open_answers(
    experiment: Experiment, store: Store, tasks: str, gpu: str, jobs: int, held: ExitStack
) -> Predictor | None:
    """Whoever answers for the machine: a network, which `held` closes, files, or nobody where there is no [task]."""
    from vcmbench.tasks import open_task

    if experiment.task is None:
        return None
    if experiment.task.predictions == "files":
        return FilePredictor(store.data.root)
    return NetworkPredictor(held.enter_context(open_task(experiment.task, tasks, gpu, jobs)), store)


def open_scorer(experiment: Experiment, gpu: str, weights: Path | None, runner: Runner) -> Scorer | None:
    """The metrics of an experiment, None where it asks for none. `runner` finds FFmpeg for them, if it is local."""
    names = list(dict.fromkeys(experiment.metrics.iqa))
    local = runner if isinstance(runner, LocalRunner) else None
    return Scorer(names, experiment.metrics.profile, devices.local(gpu), weights, None, local) if names else None


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


def measure_piece(place: MeasureWorker, piece: Piece, force: bool = False) -> PieceOutcome:
    """Find out what is not known of a piece. Doing it twice does no harm, nor does doing it in two processes at once.

    Raises nothing that a picture is at fault for: that is in `failed`.
    """
    try:
        units = place.units(piece)
    except RequestError as error:
        return PieceOutcome(failed=tuple((name, str(error)) for name in piece.bitstreams for _ in piece.sources))
    there = {unit.record["bitstream"] for unit in units}
    gone = [(name, "the bitstream, or its record, is not there any more") for name in piece.bitstreams
            for _ in piece.sources if name not in there]  # fmt: skip
    with Progress(piece.pictures, "picture", quiet=True) as progress:
        found = place.measure(units, progress, force=force, waits=False)
    put_off = tuple(unit.record["bitstream"] for unit in found.put_off)
    return PieceOutcome(
        found.done, found.resumed, (*gone, *((title, str(error)) for title, error in found.failed)),
        Piece(piece.sources, put_off) if put_off else None, frozenset(found.known), found.truths, place.is_stopped,
    )  # fmt: skip


def together(outcomes: Iterable[PieceOutcome]) -> MeasuredPictures:
    """What became of all pieces, as `MeasureWorker.measure` tells it."""
    found = MeasuredPictures()
    for one in outcomes:
        found.done, found.resumed = found.done + one.done, found.resumed + one.resumed
        found.failed += [(title, JobError(why)) for title, why in one.failed]
        found.known |= one.known
        found.truths |= one.truths
    return found


@dataclass(frozen=True)
class Machine:
    """Who answers at a place: what keys and later steps need to know of it."""

    kind: str
    classes: tuple[str, ...]
    identity: dict[str, Any]


def describe(place: MeasureWorker, _: object = None) -> tuple[Machine | None, dict[str, str]]:
    """The machine at a place, None where there is none or it is files; and the metrics that it lacks, with reasons.

    All places of a run must say the same: keys are made of it.
    """
    answers, missing = place.answers, place.scorer.missing if place.scorer else {}
    if not isinstance(answers, NetworkPredictor):
        return None, dict(missing)
    return Machine(answers.kind.name, answers.classes, answers.identity()), dict(missing)
