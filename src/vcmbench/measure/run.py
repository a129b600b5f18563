"""One run of `vcmbench metrics`: what is not known yet is found out, and then everything is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from shlex import quote

from vcmbench.data.dataset import DataRoot, find_sources, open_root
from vcmbench.data.labels import CLASSES
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.base import Runner
from vcmbench.execution.runner.scratch import remove_stale_scratch
from vcmbench.experiment import Experiment
from vcmbench.io.progress import Progress
from vcmbench.io.signals import interruptible
from vcmbench.iqa import Scorer
from vcmbench.measure import points, statistics, truth
from vcmbench.measure.answers import Answers, FileAnswers, ToldAnswers
from vcmbench.measure.block_run import BlockRun
from vcmbench.measure.block_state import Sampled
from vcmbench.measure.image_run import Found
from vcmbench.measure.outcome import Outcome, Settings, asked, forget, keep, recall
from vcmbench.measure.place import MeasurePlace
from vcmbench.measure.records import FOUND_OUT, PRISTINE, Score, Scores, begin
from vcmbench.measure.slim import Slimmer
from vcmbench.measure.summary import Summary
from vcmbench.measure.telling import Teller
from vcmbench.measure.units import find

_NAMED = 3


class Run:
    """An experiment's measurements over a data root. `execute` is called once."""

    def __init__(
        self, experiment: Experiment, folder: Path, runner: Runner, settings: Settings, config: str = ""
    ) -> None:
        """`config` is what `-s` named, for the commands that messages tell."""
        statistics.check(experiment.metrics)
        self.experiment, self.runner, self.settings = experiment, runner, settings
        self.data: DataRoot = open_root(folder)
        self.sources = find_sources(self.data, experiment.dataset)
        self.store = Store(self.data, experiment.name, experiment.seed)
        self.config = config or experiment.name
        self.units = find(
            experiment, self.data, self.sources, self.store, partial=settings.skip_missing, config=self.config
        )
        self.scores = Scores(self.store)
        self.names = list(dict.fromkeys(experiment.metrics.iqa))
        self.levels: tuple[str, ...] = tuple(experiment.metrics.levels)
        self.warnings = _warnings(experiment, self.data)
        self._unavailable: dict[str, str] = {}
        self._summary: Summary | None = None

    def execute(
        self, answers: Answers | None, scorer: Scorer | None, levels: Sequence[str], commands: Sequence[str] = (),
        elsewhere: Callable[[threading.Event], Found] | None = None,
    ) -> Outcome:  # fmt: skip
        """Measure, then tell. `commands` are what was typed, for the report. `elsewhere` measures whole pictures, where
        that is done by other processes, until all are known or the event is set.

        Raises RequestError before anything starts: where predictions or blocks of files cannot be taken, or predictions
        of others would be lost.
        """
        self._check(answers, levels)
        self.store.prepare()
        before = recall(self.store)
        forget(self.store)
        remove_stale_scratch()
        self.levels = tuple(levels)
        outcome = Outcome(self.levels, commands=list(commands))
        if scorer is not None:
            self._unavailable = outcome.unavailable = dict(scorer.missing)
            outcome.reasons += [f"{name}: {why}" for name, why in scorer.missing.items()]
        with interruptible(self.runner.cancel) as stop:
            found = (elsewhere or self._here(answers, scorer))(stop)
            outcome.done, outcome.resumed, outcome.failed = found.done, found.resumed, list(found.failed)
            if not stop.is_set() and "block" in levels:
                self._blocks().execute(answers, scorer, found.truths, outcome, stop)
            outcome.interrupted = stop.is_set()
        remove_stale_scratch()  # what a killed run's processes still held at the start
        if not outcome.interrupted:
            kept = []
            if "block" not in levels:
                kept = self._blocks().of_before(answers, scorer, found.truths, before, outcome)
            outcome.kept = [sampled.name for sampled in kept]
            names = [name for name in self.names if name in self.image_names or name in found.known]
            self._tell(outcome, names, self.all_scores(names), kept, writes=True)
            keep(self.store, self.experiment, outcome)
        return outcome

    def _here(self, answers: Answers | None, scorer: Scorer | None) -> Callable[[threading.Event], Found]:
        """What measures whole pictures in this process."""

        def measure(stop: threading.Event) -> Found:
            settings, total = self.settings, sum(len(unit.sources) for unit in self.units)
            with (
                Progress(total, "picture", quiet=settings.quiet) as progress,
                MeasurePlace(
                    self.experiment, self.store, self.runner, answers, scorer, self.image_names, settings.jobs,
                    settings.timeout_s, stop,
                ) as place,
            ):  # fmt: skip
                return place.measure(self.units, progress, force=settings.force, waits=True)

        return measure

    def _check(self, answers: Answers | None, levels: Sequence[str]) -> None:
        file = self.experiment.metrics.blocks.file
        if file is not None and "block" in levels:
            self._blocks().named(Path(file))
        if isinstance(answers, FileAnswers) and (missing := answers.missing(self.units)):
            raise RequestError(f'task.predictions = "files": {len(missing)} predictions are not there:{_some(missing)}')
        if isinstance(answers, ToldAnswers) and (foreign := answers.foreign(self.units)):
            raise RequestError(
                f"{len(foreign)} predictions lie there that vcmbench did not make and would replace; say "
                f'task.predictions = "files" to use them, or move them away:{_some(foreign)}'
            )

    @property
    def image_names(self) -> list[str]:
        """The metrics of whole pictures."""
        return self.names if "image" in self.levels else []

    def _blocks(self) -> BlockRun:
        return BlockRun(self.experiment, self.data, self.store, self.units, self.runner, self.settings)

    # --- telling

    def recall(self) -> Outcome:
        """What the last run found out, told again. Nothing is measured.

        Raises RequestError where there was none, it did not end, or what it is about has changed since.
        """
        known = recall(self.store)
        again = f"run first: python run_metrics.py -d {quote(str(self.data.root))} -s {quote(self.config)}"
        if known is None:
            raise RequestError(f"experiment {self.experiment.name}: no run has measured all of it yet; {again}")
        if known["asked"] != asked(self.experiment):
            raise RequestError(f"experiment {self.experiment.name}: it was changed since it was measured; {again}")
        failed = [(title, JobError(error)) for title, error in known["failed"]]
        outcome = Outcome(tuple(known["levels"]), failed=failed, reasons=known["missing"], commands=known["commands"])
        outcome.unavailable = self._unavailable = known["unavailable"]
        self.levels = outcome.levels
        level = self._blocks().level(len(CLASSES), "")
        for name in known["blocks"]:
            if (found := level.recall(name, self.names, outcome.unavailable)) is None:
                raise RequestError(f"experiment {self.experiment.name}: its blocks {name} are not there; {again}")
            outcome.sampled.append(found)
        self._tell(outcome, self.image_names, self._current(dict(failed), again), writes=False)
        return outcome

    def _tell(
        self, outcome: Outcome, names: list[str], scores: Iterator[Score], kept: Sequence[Sampled] = (), *, writes: bool
    ) -> None:
        """Tell what the records say, each of which is read once. `names` are the metrics that the table has."""
        teller = Teller(self.experiment, self.store, names, outcome, kept, quiet=self.settings.quiet, writes=writes)
        self._summary = self._summarised(teller.passing(scores))
        teller.finish()
        if writes:
            points.write(self.store, self._summary, names)

    @property
    def summary(self) -> Summary:
        """What all records say together, as they were when they were told."""
        if self._summary is None:
            self._summary = self._summarised(self.all_scores(self.image_names))
        return self._summary

    def _summarised(self, scores: Iterator[Score]) -> Summary:
        found = ((source, self.scores.read(PRISTINE, source)) for source in self.sources)
        slimmer = Slimmer()
        pristine = {str(source.name): slimmer.slim(score) for source, score in found if score is not None}
        return Summary(scores, pristine, self.experiment.metrics.bootstrap, self.experiment.seed)

    def all_scores(self, names: Sequence[str]) -> Iterator[Score]:
        """The records, each with those metrics only; parts that others asked for are left out."""
        for score in self.scores.all(self.units):
            yield self._asked(score, names)

    def _current(self, failed: Collection[str], again: str) -> Iterator[Score]:
        """The same of the last run. Raises RequestError after them where bitstreams are others by now."""
        stale: dict[str, None] = {}
        otherwise: dict[str, None] = {}
        now_there = truth.Now(self.data, truth.weights_of(self.experiment))
        for unit in self.units:
            for index, source in enumerate(unit.sources):
                score, now = self.scores.read(unit.folder, source), begin(unit, index)
                changed = score is None or any(score.get(name) != now[name] for name in now if name not in FOUND_OUT)
                if changed and unit.title not in failed:
                    stale[unit.title] = None
                elif score is not None:
                    told = self._asked(score, self.image_names)
                    if not now_there.is_of(source, told["machine"]):
                        otherwise[source.name.name] = None
                    yield told
        if otherwise and not stale:
            raise RequestError(
                f"experiment {self.experiment.name}: labels, distances or importance of {len(otherwise)} pictures are "
                f"others than those that were measured with, such as {next(iter(otherwise))}; {again}"
            )
        if stale:
            raise RequestError(
                f"experiment {self.experiment.name}: {len(stale)} bitstreams are others than those that were measured, "
                f"such as {next(iter(stale))}; {again}"
            )

    def _asked(self, score: Score, names: Sequence[str]) -> Score:
        if self.experiment.task is None:
            score["machine"] = None
        # what cannot be computed here cannot be checked, either: its old values stay in the record, untold
        lacking = {name: {"value": None, "reason": why, "key": ""} for name, why in self._unavailable.items()}
        score["iqa"] = {
            name: (score["iqa"] | lacking)[name] for name in names if name in score["iqa"] or name in lacking
        }
        return score


def _warnings(experiment: Experiment, data: DataRoot) -> list[str]:
    task = experiment.task
    if task is None or task.predictions == "files" or task.model != "demo" or (data.pristine / "demo.json").is_file():
        return []
    return ["the embedded network has seen drawn scenes only; on other pictures it says little (docs/tasks.md)"]


def _some(paths: Sequence[Path]) -> str:
    return "".join(f"\n  {path}" for path in paths[:_NAMED]) + ("\n  ..." if len(paths) > _NAMED else "")
