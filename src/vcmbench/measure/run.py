"""One run of `vcmbench metrics`: what is not known yet is found out, and then everything is told."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from vcmbench.dataset import DataRoot, Source, find_sources, open_root
from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.experiment import Experiment
from vcmbench.interrupts import interruptible
from vcmbench.iqa import Scorer
from vcmbench.labels import CLASSES
from vcmbench.measure import block_state, points, statistics, truth
from vcmbench.measure.answers import Answers, FileAnswers, NetworkAnswers
from vcmbench.measure.block_level import BlockLevel, name_of
from vcmbench.measure.block_state import Sampled
from vcmbench.measure.decoding import Decoders
from vcmbench.measure.finding import Finding
from vcmbench.measure.image_level import ImageLevel
from vcmbench.measure.image_run import ImageRun
from vcmbench.measure.line import Line
from vcmbench.measure.outcome import Outcome, Settings, as_job_error, asked, forget, keep, recall
from vcmbench.measure.pristine import Shelf
from vcmbench.measure.records import FOUND_OUT, PRISTINE, Score, Scores, begin
from vcmbench.measure.sharing import alone
from vcmbench.measure.slim import Slimmer
from vcmbench.measure.summary import Summary
from vcmbench.measure.telling import Teller
from vcmbench.measure.units import find
from vcmbench.progress import Progress
from vcmbench.runner.base import Runner, remove_stale_scratch
from vcmbench.store import Store, job_key

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
        self, answers: Answers | None, scorer: Scorer | None, levels: Sequence[str], commands: Sequence[str] = ()
    ) -> Outcome:
        """Measure, then tell. `commands` are what was typed, for the report.

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
            level = ImageLevel(
                self.data, self.scores, answers, scorer, self.image_names,
                truth.weights_of(self.experiment),
            )  # fmt: skip
            self._images(level, answers, scorer, outcome, stop)
            if not stop.is_set() and "block" in levels:
                self._blocks(answers, scorer, level.truths, outcome, stop)
            outcome.interrupted = stop.is_set()
        if not outcome.interrupted:
            kept = self._blocks_of_before(answers, scorer, level.truths, before, outcome)
            outcome.kept = [sampled.name for sampled in kept]
            names = [name for name in self.names if name in self.image_names or name in level.known]
            self._tell(outcome, names, self.all_scores(names), kept, writes=True)
            keep(self.store, self.experiment, outcome)
        return outcome

    def _images(
        self, level: ImageLevel, answers: Answers | None, scorer: Scorer | None, outcome: Outcome, stop: threading.Event
    ) -> None:
        jobs, timeout_s = self.settings.jobs, self.settings.timeout_s
        finding = Finding(self.data, self.scores, answers, scorer, level)
        shelf = Shelf(self.data, truth.weights_of(self.experiment))
        total = sum(len(unit.sources) for unit in self.units)
        with (
            Progress(total, "picture", quiet=self.settings.quiet) as progress,
            Line(answers, jobs) as line,
            Decoders(self.data.root, self.runner, jobs, timeout_s) as decoders,
        ):
            run = ImageRun(
                self.units, self.store, level, finding, shelf, decoders, line, stop, progress, force=self.settings.force
            )
            found = run.execute(waits=True)
        outcome.done, outcome.resumed, outcome.failed = found.done, found.resumed, list(found.failed)

    def _check(self, answers: Answers | None, levels: Sequence[str]) -> None:
        file = self.experiment.metrics.blocks.file
        if file is not None and "block" in levels:
            self._block_level(1, "").named(Path(file))
        if isinstance(answers, FileAnswers) and (missing := answers.missing(self.units)):
            raise RequestError(f'task.predictions = "files": {len(missing)} predictions are not there:{_some(missing)}')
        if isinstance(answers, NetworkAnswers) and (foreign := answers.foreign(self.units)):
            raise RequestError(
                f"{len(foreign)} predictions lie there that vcmbench did not make and would replace; say "
                f'task.predictions = "files" to use them, or move them away:{_some(foreign)}'
            )

    @property
    def image_names(self) -> list[str]:
        """The metrics of whole pictures."""
        return self.names if "image" in self.levels else []

    # --- blocks

    def _block_level(self, classes: int, key: str) -> BlockLevel:
        return BlockLevel(self.data, self.store, self.units, classes, key)

    def _blocks(
        self, answers: Answers | None, scorer: Scorer | None, truths: dict[Source, str], outcome: Outcome,
        stop: threading.Event,
    ) -> None:  # fmt: skip
        if (reason := _why_no_blocks(answers, scorer, outcome)) or answers is None or scorer is None:
            outcome.reasons.append(f"blocks: {reason}")
            return
        wanted = self.experiment.metrics.blocks
        level = self._block_level(len(answers.classes), self._predictions_key(answers, truths))
        if not level.pairs:
            outcome.reasons.append("blocks: no configuration loses anything, so none would differ")
            return
        for size_px in [0] if wanted.file else dict.fromkeys(wanted.size_px):
            title = f"blocks of {wanted.file}" if wanted.file else f"blocks of {size_px} px"
            try:
                name = name_of(Path(wanted.file)) if wanted.file else level.drawn_name(size_px)
                with alone(self.store, f"{block_state.FOLDER}/{name}", stop):
                    sampled = self._blocks_of(level, size_px, scorer, stop)
            except Cancelled:
                return
            except (RequestError, JobError, OSError) as error:
                outcome.failed.append((title, as_job_error(error)))
            else:
                outcome.sampled.append(sampled)

    def _predictions_key(self, answers: Answers, truths: dict[Source, str]) -> str:
        return job_key({"answers": [answers.key(unit, i) for unit in self.units for i in range(len(unit.sources))],
                        "truths": [truths[source] for unit in self.units for source in unit.sources]})  # fmt: skip

    def _blocks_of_before(
        self, answers: Answers | None, scorer: Scorer | None, truths: dict[Source, str], before: dict[str, Any] | None,
        outcome: Outcome,
    ) -> list[Sampled]:  # fmt: skip
        """Blocks that the run `before` measured, which still hold and this one was not asked for."""
        if "block" in self.levels or answers is None or scorer is None or _why_no_blocks(answers, scorer, outcome):
            return []
        wanted = self.experiment.metrics.blocks
        if before is not None and before["asked"] == asked(self.experiment):
            names = [*before["blocks"], *before["kept"]]
        elif wanted.file is not None:
            names = [name_of(Path(wanted.file))]
        else:
            names = [self._block_level(1, "").drawn_name(size_px) for size_px in dict.fromkeys(wanted.size_px)]
        if not any(block_state.read(self.store, name) for name in names):
            return []
        level = self._block_level(len(answers.classes), self._predictions_key(answers, truths))
        return [found for name in names if (found := level.known(name, scorer, self.names)) is not None]

    def _blocks_of(self, level: BlockLevel, size_px: int, scorer: Scorer, stop: threading.Event) -> Sampled:
        """Blocks of one size, or those of the file, and their scores."""
        wanted, quiet, jobs = self.experiment.metrics.blocks, self.settings.quiet, self.settings.jobs

        def go_on() -> None:
            if stop.is_set():
                raise Cancelled

        with Progress(level.pairs, "picture", quiet=quiet) as progress:

            def sampling(name: str) -> None:
                go_on()
                progress.advance(f"sampling blocks in {name}")

            if wanted.file is not None:
                sampled = level.of_file(Path(wanted.file))
            else:
                sampled = level.drawn(wanted, size_px, self.experiment.seed, jobs, sampling)
        with Progress(len(sampled.blocks), "block", quiet=quiet) as progress:
            return level.score(
                sampled, scorer, self.names, self.runner, jobs, self.settings.timeout_s, stop.is_set,
                lambda n: progress.advance("quality of blocks", progress.done + n), force=self.settings.force,
            )  # fmt: skip

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
        level = self._block_level(len(CLASSES), "")
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


def _why_no_blocks(answers: Answers | None, scorer: Scorer | None, outcome: Outcome) -> str:
    """Why no blocks are drawn; empty where they are."""
    if answers is None:
        return "no [task] in the experiment; blocks are drawn by what a machine predicts"
    if scorer is None:
        return "no metric was asked for (metrics.iqa)"
    if answers.kind != "segmentation":
        return f"the task is a {answers.kind}; only pictures of labels have blocks"
    return "some pictures failed; mend that and run again" if outcome.failed else ""


def _warnings(experiment: Experiment, data: DataRoot) -> list[str]:
    task = experiment.task
    if task is None or task.predictions == "files" or task.model != "demo" or (data.pristine / "demo.json").is_file():
        return []
    return ["the embedded network has seen drawn scenes only; on other pictures it says little (docs/tasks.md)"]


def _some(paths: Sequence[Path]) -> str:
    return "".join(f"\n  {path}" for path in paths[:_NAMED]) + ("\n  ..." if len(paths) > _NAMED else "")
