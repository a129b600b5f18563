"""One run over what an experiment compressed: what the machine and the metrics do not know of it yet is measured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from shlex import quote

from vcmbench.compress.job_keys import bitstreams
from vcmbench.data.dataset import DataRoot, Source, look, missing_labels, open_root
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.base import Runner
from vcmbench.execution.runner.scratch import remove_stale_scratch
from vcmbench.experiment import Experiment, grouping
from vcmbench.io.progress import Progress
from vcmbench.io.signals import interruptible
from vcmbench.iqa import Scorer
from vcmbench.measure.bitstreams import find
from vcmbench.measure.blocks.run import BlockRun
from vcmbench.measure.outcome import MeasureOutcome, MeasureSettings, as_job_error, forget, recall
from vcmbench.measure.pictures_run import MeasuredPictures
from vcmbench.measure.predictions import FilePredictor, Predictor, RecordedPredictor
from vcmbench.measure.records import ScoreStore
from vcmbench.measure.stability import Stability
from vcmbench.measure.todo import MeasureContext
from vcmbench.measure.worker import MeasureWorker
from vcmbench.tasks import networks

_NAMED = 3
_LOOKED_AT = 100  # records
_SCORE = "pseudo_score"  # by which answers are counted anew, and not asked for


class MeasureRun:
    """An experiment's measurements over a data root. `execute` is called once."""

    def __init__(
        self, experiment: Experiment, folder: Path, runner: Runner, settings: MeasureSettings, config: str = "",
        sources: list[Source] | None = None,
    ) -> None:  # fmt: skip
        """`config` are the words of a shell after `-s`, for the commands that messages name; `sources` are some of the
        experiment's pictures, in place of all."""
        self.experiment, self.runner, self.settings = experiment, runner, settings
        self.data: DataRoot = open_root(folder)
        looked = look(self.data, experiment.dataset)
        self.sources = looked.sources if sources is None else sources
        self.store = Store(self.data, experiment.name, experiment.seed)
        self.config = config or quote(experiment.name)
        self.units = find(
            experiment, self.data, self.sources, self.store, partial=settings.skip_missing, config=self.config
        )
        self.scores = ScoreStore(self.store)
        self.names = list(dict.fromkeys(experiment.metrics.iqa))
        self.levels: tuple[str, ...] = tuple(experiment.metrics.levels)
        self.warnings = looked.notes + _warnings(experiment, self.data)
        total = sum(1 for _ in bitstreams(experiment, self.data, self.sources))
        if total > len(self.units):
            self.warnings.append(f"--skip-missing: {total - len(self.units)} of {total} bitstreams are left out")

    def execute(
        self, predictor: Predictor | None, scorer: Scorer | None, levels: Sequence[str], commands: Sequence[str] = (),
        elsewhere: Callable[[threading.Event], MeasuredPictures] | None = None,
    ) -> MeasureOutcome:  # fmt: skip
        """Measure. `commands` are what was typed, for the report. `elsewhere` measures whole pictures, where
        that is done by other processes, until all are known or the event is set.

        Raises RequestError before anything starts: where predictions or blocks of files cannot be taken, or predictions
        of others would be lost.
        """
        self._check(predictor, levels)
        self.store.prepare()
        before = recall(self.store)
        forget(self.store)
        remove_stale_scratch()
        self.levels = tuple(levels)
        outcome = MeasureOutcome(self.levels, commands=list(commands))
        if scorer is not None:
            outcome.unavailable = dict(scorer.missing)
            outcome.reasons += [f"{name}: {why}" for name, why in scorer.missing.items()]
            for line in _knows_too_much(predictor, scorer):
                self.warnings.append(line)
                Progress(0).say(f"warning: {line}")
        with interruptible(self.runner.cancel) as stop:
            found = (elsewhere or self._here(predictor, scorer))(stop)
            outcome.done, outcome.resumed, outcome.failed = found.done, found.resumed, list(found.failed)
            if not stop.is_set() and "block" in levels:
                self.blocks().execute(predictor, scorer, found.truths, outcome, stop)
            if not stop.is_set() and predictor is not None:
                self._follow(predictor, outcome, stop)
            outcome.interrupted = stop.is_set()
        remove_stale_scratch()  # what a killed run's processes still held at the start
        if not outcome.interrupted and "block" not in levels:
            outcome.kept = self.blocks().of_before(predictor, scorer, found.truths, before, outcome)
        outcome.names = [name for name in self.names if name in self.image_names or name in found.known]
        return outcome

    def of_another(self, predictor: Predictor | None) -> str:
        """A line where the answers that lie there are of another network, by the first records; empty else."""
        if not isinstance(predictor, RecordedPredictor):
            return ""
        first = islice(self.scores.all(self.units), _LOOKED_AT)
        before = next(
            (score["machine"]["identity"] for score in first if (score["machine"] or {}).get("identity")), None
        )
        now = predictor.identity()
        if before is None or not (differing := sorted(name for name in {*before, *now} - {_SCORE}
                                                      if before.get(name) != now.get(name))):  # fmt: skip
            return ""
        total = sum(len(unit.sources) for unit in self.units)
        return (f"answers of another network are there ({', '.join(differing)} differ): {total} pictures are measured "
                "anew, and theirs are replaced")  # fmt: skip

    def _here(
        self, predictor: Predictor | None, scorer: Scorer | None
    ) -> Callable[[threading.Event], MeasuredPictures]:
        """What measures whole pictures in this process."""
        context = MeasureContext(self.experiment, self.store, predictor, scorer, tuple(self.image_names))

        def measure(stop: threading.Event) -> MeasuredPictures:
            settings, total = self.settings, sum(len(unit.sources) for unit in self.units)
            with (
                Progress(total, "picture", quiet=settings.quiet) as progress,
                MeasureWorker(context, self.runner, settings.jobs, settings.timeout_s, stop) as worker,
            ):
                return worker.measure(self.units, progress, force=settings.force, waits=True)

        return measure

    def stability(self) -> Stability:
        """Of the experiment's sequences, if there are any."""
        return Stability(self.store, self.units, grouping(self.experiment, self.sources).sequences)

    def _follow(self, predictor: Predictor, outcome: MeasureOutcome, stop: threading.Event) -> None:
        """Count how steady the answers are over time."""
        stability = self.stability()
        if not stability.sequences:
            return
        if not predictor.kind.has_label_pictures:
            outcome.reasons.append(f"stability: the task is a {predictor.kind.name}; only pictures of labels have it")
            return
        with Progress(stability.frames, "frame", quiet=self.settings.quiet) as progress:
            for sequence in stability.sequences:
                try:
                    stability.of_sequence(sequence, predictor, stop, progress.advance)
                except (JobError, OSError) as error:  # of a frame that has failed, and is named there
                    outcome.reasons.append(f"stability of {sequence}: {as_job_error(error)}")

    def _check(self, predictor: Predictor | None, levels: Sequence[str]) -> None:
        if predictor is not None and predictor.kind.has_label_pictures:
            _check_labels(self.experiment, self.sources)
        file = self.experiment.metrics.blocks.file
        if file is not None and "block" in levels:
            self.blocks().named(Path(file))
        if isinstance(predictor, FilePredictor) and (missing := predictor.missing(self.units)):
            raise RequestError(f'task.predictions = "files": {len(missing)} predictions are not there:{_some(missing)}')
        if isinstance(predictor, RecordedPredictor) and (foreign := predictor.foreign(self.units)):
            raise RequestError(
                f"{len(foreign)} predictions lie there that vcmbench did not make and would replace; say "
                f'task.predictions = "files" to use them, or move them away:{_some(foreign)}'
            )

    @property
    def image_names(self) -> list[str]:
        """The metrics of whole pictures."""
        return self.names if "image" in self.levels else []

    def blocks(self) -> BlockRun:
        return BlockRun(self.experiment, self.store, self.units, self.runner, self.settings)


def _knows_too_much(predictor: Predictor | None, scorer: Scorer) -> list[str]:
    """A line where a metric looks at the very network that it is held against."""
    weights = None if predictor is None else predictor.identity().get("weights_sha256")
    seen = {name: scorer.identity(name).get("network", {}).get("weights_sha256") for name in scorer.names
            if name not in scorer.missing}  # fmt: skip
    return [f"{name}: metrics.network is the network that is measured, so that it knows too much; name another one"
            for name, known in seen.items() if weights is not None and known == weights]  # fmt: skip


def _check_labels(experiment: Experiment, sources: Sequence[Source]) -> None:
    """Raises RequestError where metrics are to be held against labels, and no picture has any."""
    missing = missing_labels(sources)
    if experiment.metrics.against == "labels" and missing and len(missing) == len(sources):
        raise RequestError(f'metrics.against = "labels": none of {len(sources)} pictures has its labels there, no '
                           f'{missing[0]}; mend dataset.labels or dataset.split, or say "pseudo"')  # fmt: skip


def _warnings(experiment: Experiment, data: DataRoot) -> list[str]:
    task = experiment.task
    if task is None or task.predictions == "files" or task.model not in networks.EMBEDDED.get(task.name, ()):
        return []
    if (data.pristine / "demo.json").is_file():
        return []
    return ["the embedded network has seen drawn scenes only; on other pictures it says little (docs/tasks.md)"]


def _some(paths: Sequence[Path]) -> str:
    return "".join(f"\n  {path}" for path in paths[:_NAMED]) + ("\n  ..." if len(paths) > _NAMED else "")
