"""One run of `vcmbench metrics`: what is not known yet is found out, and then everything is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from vcmbench.dataset import DataRoot, Source, find_sources, open_root
from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.experiment import Experiment
from vcmbench.interrupts import interruptible
from vcmbench.iqa import Scorer
from vcmbench.labels import CLASSES
from vcmbench.measure import statistics
from vcmbench.measure.answers import Answers, FileAnswers, NetworkAnswers
from vcmbench.measure.block_level import BlockLevel, Sampled
from vcmbench.measure.image_level import ImageLevel
from vcmbench.measure.image_run import ImageRun
from vcmbench.measure.outcome import Outcome, Settings, as_job_error, asked, forget, keep, recall
from vcmbench.measure.records import FOUND_OUT, Score, Scores, begin
from vcmbench.measure.telling import Teller
from vcmbench.measure.units import Unit, find
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

    def execute(
        self, answers: Answers | None, scorer: Scorer | None, levels: Sequence[str], commands: Sequence[str] = ()
    ) -> Outcome:
        """Measure, then tell. `commands` are what was typed, for the report.

        Raises RequestError before anything starts: where predictions or blocks of files cannot be taken, or predictions
        of others would be lost.
        """
        self._check(answers, levels)
        self.store.prepare()
        forget(self.store)
        remove_stale_scratch()
        self.levels = tuple(levels)
        outcome = Outcome(self.levels, commands=list(commands))
        if scorer is not None:
            outcome.reasons += [f"{name}: {why}" for name, why in scorer.missing.items()]
        with interruptible(self.runner.cancel) as stop:
            level = ImageLevel(self.data, self.scores, answers, scorer if "image" in levels else None, self.image_names)
            chunk = max(self.settings.jobs, self.experiment.task.batch_size if self.experiment.task else 1)
            ImageRun(self.data, self.units, level, self.runner, self.settings, outcome, stop).execute(chunk)
            if not stop.is_set() and "block" in levels:
                self._blocks(answers, scorer, level.truths, outcome, stop)
            outcome.interrupted = stop.is_set()
        if not outcome.interrupted:
            self._teller().tell(list(self.all_scores()), outcome)
            keep(self.store, self.experiment, outcome)
        return outcome

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

    def _teller(self) -> Teller:
        return Teller(self.experiment, self.store, self.image_names, quiet=self.settings.quiet)

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
        key = job_key({"answers": [answers.key(unit, i) for unit in self.units for i in range(len(unit.sources))],
                       "truths": [truths[source] for unit in self.units for source in unit.sources]})  # fmt: skip
        level = self._block_level(len(answers.classes), key)
        if not level.pairs:
            outcome.reasons.append("blocks: no configuration loses anything, so none would differ")
            return
        for size_px in [0] if wanted.file else dict.fromkeys(wanted.size_px):
            title = f"blocks of {wanted.file}" if wanted.file else f"blocks of {size_px} px"
            try:
                sampled = self._blocks_of(level, size_px, scorer, stop)
            except Cancelled:
                return
            except (RequestError, JobError, OSError) as error:
                outcome.failed.append((title, as_job_error(error)))
            else:
                outcome.sampled.append(sampled)

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
        self.levels = outcome.levels
        stale = [unit.title for unit in self.units if unit.title not in dict(failed) and not self._is_current(unit)]
        if stale:
            raise RequestError(
                f"experiment {self.experiment.name}: {len(stale)} bitstreams are others than those that were measured, "
                f"such as {stale[0]}; {again}"
            )
        classes = next((score["machine"]["classes"] for score in self.all_scores() if score["machine"]), len(CLASSES))
        level = self._block_level(classes, "")
        for name in known["blocks"]:
            if (found := level.recall(name, self.names)) is None:
                raise RequestError(f"experiment {self.experiment.name}: its blocks {name} are not there; {again}")
            outcome.sampled.append(found)
        self._teller().tell(list(self.all_scores()), outcome)
        return outcome

    def _is_current(self, unit: Unit) -> bool:
        """Whether what was measured is of the bitstreams that lie there now."""
        for index, source in enumerate(unit.sources):
            score, now = self.scores.read(unit.folder, source), begin(unit, index)
            if score is None or any(score.get(name) != now[name] for name in now if name not in FOUND_OUT):
                return False
        return True

    def all_scores(self) -> Iterator[Score]:
        """The records of what this run asked for; parts of them that others asked for are left out."""
        for score in self.scores.all(self.units):
            if self.experiment.task is None:
                score["machine"] = None
            score["iqa"] = {name: score["iqa"][name] for name in self.image_names if name in score["iqa"]}
            yield score


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
