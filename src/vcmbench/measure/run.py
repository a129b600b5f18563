"""One run of `vcmbench metrics`: what is not known yet is found out, and then everything is told."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress import TIMEOUT_S, cores
from vcmbench.correlation import Comparison
from vcmbench.correlation_file import ABOUT, document
from vcmbench.dataset import DataRoot, find_sources, open_root
from vcmbench.errors import JobError, RequestError
from vcmbench.experiment import Experiment
from vcmbench.interrupts import interruptible
from vcmbench.iqa import Scorer
from vcmbench.labels import CLASSES
from vcmbench.measure import statistics, tables
from vcmbench.measure.answers import Answers, FileAnswers
from vcmbench.measure.block_level import BlockLevel, Sampled
from vcmbench.measure.decoding import decoded
from vcmbench.measure.image_level import ImageLevel, Todo
from vcmbench.measure.records import Score, Scores
from vcmbench.measure.units import Unit, find
from vcmbench.progress import Progress
from vcmbench.runner.base import Runner, remove_stale_scratch
from vcmbench.store import Store, job_key

Frame = tuple[Todo, NDArray[np.uint8] | None]
_NAMED = 3


@dataclass(frozen=True)
class Settings:
    """How to run, as opposed to what: nothing here changes a result."""

    jobs: int = field(default_factory=cores)
    force: bool = False
    timeout_s: float = TIMEOUT_S
    quiet: bool = False
    skip_missing: bool = False
    """Measure what is compressed, where some of it is not."""


@dataclass
class Correlated:
    """The correlations of one level: `whole` and by codec; or why there are none."""

    level: str
    whole: Comparison | None = None
    codecs: dict[str, Comparison] = field(default_factory=dict)
    clusters: int = 0
    reason: str = ""
    note: str = ""


@dataclass
class Outcome:
    """What became of a run."""

    done: int = 0
    resumed: int = 0
    failed: list[tuple[str, JobError]] = field(default_factory=list)
    interrupted: bool = False
    sampled: list[Sampled] = field(default_factory=list)
    correlated: list[Correlated] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """What is missing of what was asked for, and why."""


class Run:
    """An experiment's measurements over a data root. `execute` is called once."""

    def __init__(self, experiment: Experiment, folder: Path, runner: Runner, settings: Settings) -> None:
        statistics.check(experiment.metrics)
        self.experiment, self.runner, self.settings = experiment, runner, settings
        self.data: DataRoot = open_root(folder)
        self.sources = find_sources(self.data, experiment.dataset)
        self.store = Store(self.data, experiment.name, experiment.seed)
        self.units = find(experiment, self.data, self.sources, self.store, partial=settings.skip_missing)
        self.scores = Scores(self.store)
        self.names = list(dict.fromkeys(experiment.metrics.iqa))
        self.warnings = _warnings(experiment, self.data)

    def execute(self, answers: Answers | None, scorer: Scorer | None, levels: Sequence[str]) -> Outcome:
        """Measure, then tell. Raises RequestError where predictions of files are not there, before anything starts."""
        if isinstance(answers, FileAnswers):
            _check_files(answers, self.units)
        self.store.prepare()
        remove_stale_scratch()
        outcome = Outcome()
        if scorer is not None:
            outcome.reasons += [f"{name}: {why}" for name, why in scorer.missing.items() if name in self.names]
        with interruptible(self.runner.cancel) as stop:
            self._images(answers, scorer, outcome, stop)
            if not stop.is_set() and "block" in levels and answers is not None and scorer is not None:
                self._blocks(answers, scorer, outcome, stop)
            outcome.interrupted = stop.is_set()
        if not outcome.interrupted:
            self._tell(outcome, levels)
        return outcome

    # --- images

    def _images(self, answers: Answers | None, scorer: Scorer | None, outcome: Outcome, stop: threading.Event) -> None:
        level = ImageLevel(self.data, self.scores, answers, scorer, self.names)
        total = sum(len(unit.sources) for unit in self.units)
        chunk = max(self.settings.jobs, self.experiment.task.batch_size if self.experiment.task else 1)
        with Progress(total, "picture", quiet=self.settings.quiet) as progress:
            frames = self._frames(level, outcome, progress, stop)
            while not stop.is_set() and (group := list(itertools.islice(frames, chunk))):
                self._measure(level, group, outcome, progress)

    def _frames(
        self, level: ImageLevel, outcome: Outcome, progress: Progress, stop: threading.Event
    ) -> Iterator[Frame]:
        """What there is to do, with the decoded picture where it is needed."""
        waiting: dict[str, list[Todo]] = {}
        blind: list[Unit] = []

        def seeing() -> Iterator[Unit]:
            """The units that must be decoded; the others wait in `blind`."""
            for unit in self.units:
                try:
                    todo = list(level.todo(unit, force=self.settings.force))
                except JobError as error:
                    self._fail(outcome, progress, unit, len(unit.sources), error)
                    continue
                for _ in filter(lambda one: one.is_done, todo):
                    outcome.resumed += 1
                    progress.advance(unit.title)
                if any(map(level.needs_picture, todo)):
                    waiting[unit.record["bitstream"]] = todo
                    yield unit
                elif not all(one.is_done for one in todo):
                    blind.append(unit)

        jobs, timeout_s = self.settings.jobs, self.settings.timeout_s
        for frame in decoded(seeing(), self.data.root, self.runner, jobs, timeout_s, stop.is_set):
            name = frame.unit.record["bitstream"]
            left = [one for one in waiting[name] if one.index >= frame.index and not one.is_done]
            if frame.error is not None:
                self._fail(outcome, progress, frame.unit, len(left), frame.error)
                del waiting[name]
                continue
            if left and left[0].index == frame.index:
                yield left[0], frame.picture
            if frame.index == len(frame.unit.sources) - 1:
                del waiting[name]
        for unit in blind:
            yield from ((one, None) for one in level.todo(unit, force=self.settings.force) if not one.is_done)

    def _measure(self, level: ImageLevel, group: list[Frame], outcome: Outcome, progress: Progress) -> None:
        try:
            level.measure(group)
        except (JobError, OSError) as error:
            if len(group) > 1:  # whose fault it is, is found out one by one
                for one in group:
                    self._measure(level, [one], outcome, progress)
                return
            self._fail(outcome, progress, group[0][0].unit, 1, _as_job_error(error))
            return
        for todo, _ in group:
            outcome.done += 1
            progress.advance(todo.unit.title)

    def _fail(self, outcome: Outcome, progress: Progress, unit: Unit, frames: int, error: JobError) -> None:
        if str(error) not in {str(other) for _, other in outcome.failed[-1000:]}:
            progress.say(f"failed: {unit.title}: {error}")
        for _ in range(frames):
            outcome.failed.append((unit.title, error))
            progress.advance(unit.title)

    # --- blocks

    def _blocks(self, answers: Answers, scorer: Scorer, outcome: Outcome, stop: threading.Event) -> None:
        if answers.kind != "segmentation":
            outcome.reasons.append(f"blocks: the task is a {answers.kind}; only pictures of labels have blocks")
            return
        if outcome.failed:
            outcome.reasons.append("blocks: some pictures failed; mend that and run again")
            return
        wanted = self.experiment.metrics.blocks
        key = job_key({"answers": [answers.key(unit, i) for unit in self.units for i in range(len(unit.sources))]})
        level = BlockLevel(self.data, self.store, self.units, len(answers.classes), key)
        quiet, jobs = self.settings.quiet, self.settings.jobs
        for size_px in wanted.size_px[:1] if wanted.file else wanted.size_px:
            try:
                with Progress(level.pairs, "picture", quiet=quiet) as progress:
                    sampled = level.blocks(wanted, size_px, self.experiment.seed, jobs,
                                           lambda name: progress.advance(f"sampling blocks in {name}"))  # fmt: skip
                with Progress(len(sampled.blocks), "block", quiet=quiet) as progress:
                    sampled = level.score(
                        sampled, scorer, self.names, self.runner, jobs, self.settings.timeout_s, stop.is_set,
                        lambda n: progress.advance("quality of blocks", progress.done + n), force=self.settings.force,
                    )  # fmt: skip
            except RequestError as error:
                outcome.reasons.append(f"blocks of {size_px} px: {error}")
                continue
            except (JobError, OSError) as error:
                outcome.failed.append((f"blocks of {size_px} px", _as_job_error(error)))
                continue
            if stop.is_set():
                return
            outcome.sampled.append(sampled)
            outcome.reasons += [f"{name} of blocks of {size_px} px: {why}" for name, why in sampled.reasons.items()
                                if name not in scorer.missing]  # fmt: skip

    def recall(self) -> Outcome:
        """What earlier runs found out, told again. Nothing is measured."""
        outcome = Outcome()
        wanted = self.experiment.metrics
        classes = next((score["machine"]["classes"] for score in self.all_scores() if score["machine"]), len(CLASSES))
        level = BlockLevel(self.data, self.store, self.units, classes, "")
        for size_px in wanted.blocks.size_px[:1] if wanted.blocks.file else wanted.blocks.size_px:
            if "block" in wanted.levels and (found := level.recall(wanted.blocks, size_px, self.names)) is not None:
                outcome.sampled.append(found)
        self._tell(outcome, wanted.levels)
        return outcome

    # --- telling

    def all_scores(self) -> Iterator[Score]:
        return self.scores.all(self.units)

    def _tell(self, outcome: Outcome, levels: Sequence[str]) -> None:
        scores = list(self.all_scores())
        tables.write(self.store, "image_scores", (tables.image_row(score, self.names) for score in scores))
        of = {(score["source"], score["configuration"]): score for score in scores}
        tables.write(
            self.store, "block_scores", (row for one in outcome.sampled for row in tables.block_rows(one, of))
        )
        if "image" in levels:
            outcome.correlated.append(self._correlate_images(scores))
        for sampled in outcome.sampled:
            outcome.correlated.append(self._correlate_blocks(sampled, of))
        for one in outcome.correlated:
            content = None
            if one.whole is not None:
                about = statistics.about(self.experiment.metrics, self.experiment.seed, one.level, one.note)
                content = json.dumps(document(one.whole, one.codecs, about), indent=1, allow_nan=False).encode()
            self.store.write_table(f"correlation_{one.level.replace(' ', '_')}.json", content)

    def _correlate_images(self, scores: list[Score]) -> Correlated:
        wanted = self.experiment.metrics
        known, values = statistics.image_table(scores, self.names, wanted)
        columns = {name: [statistics.metric_score(score, name) for score in known] for name in self.names}
        return self._correlate(
            "image", columns, values, [score["source"] for score in known], [score["label"] for score in known]
        )

    def _correlate_blocks(self, sampled: Sampled, of: dict[tuple[str, str], Score]) -> Correlated:
        columns = {
            name: [np.nan if value is None else value for value in column] for name, column in sampled.values.items()
        }
        labels = [of[block.image, block.configuration]["label"] for block in sampled.blocks]
        size = f"{sampled.blocks[0].width}x{sampled.blocks[0].height}"
        found = self._correlate(
            f"block {size}", columns, [block.accuracy for block in sampled.blocks],
            [block.image for block in sampled.blocks], labels,
        )  # fmt: skip
        found.note = "; ".join(sampled.notes)
        return found

    def _correlate(
        self, level: str, columns: dict[str, list[float]], machine: list[float], images: list[str], labels: list[str]
    ) -> Correlated:
        clusters = len(set(images))
        if not columns:
            return Correlated(level, reason="no metric was asked for")
        if ABOUT in columns:
            return Correlated(level, reason=f"no metric can be named {ABOUT}")
        if (reason := statistics.why_not(machine, clusters)) is not None:
            return Correlated(level, clusters=clusters, reason=reason)
        with Progress(len(columns), "metric", quiet=self.settings.quiet) as progress:
            whole, codecs = statistics.compare(
                columns, machine, images, self.experiment.metrics, self.experiment.seed,
                _once(lambda name: progress.advance(f"correlating {name}, {level}"), len(columns)), labels,
            )  # fmt: skip
        return Correlated(level, whole, codecs, clusters)


def _warnings(experiment: Experiment, data: DataRoot) -> list[str]:
    task = experiment.task
    if task is None or task.predictions == "files" or task.model != "demo" or (data.pristine / "demo.json").is_file():
        return []
    return ["the embedded network has seen drawn scenes only; on other pictures it says little (docs/tasks.md)"]


def _once(tell: Callable[[str], None], count: int) -> Callable[[str], None]:
    """Only the first `count` calls: those of the whole, not of each codec."""
    left = iter(range(count))
    return lambda name: tell(name) if next(left, None) is not None else None


def _as_job_error(error: JobError | OSError) -> JobError:
    return error if isinstance(error, JobError) else JobError(f"{error.filename or 'results'}: {error.strerror}")


def _check_files(answers: FileAnswers, units: Sequence[Unit]) -> None:
    missing = answers.missing(units)
    if missing:
        some = "".join(f"\n  {path}" for path in missing[:_NAMED]) + ("\n  ..." if len(missing) > _NAMED else "")
        raise RequestError(f'task.predictions = "files": {len(missing)} predictions are not there:{some}')
