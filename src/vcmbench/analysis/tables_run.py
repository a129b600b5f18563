"""From score records to the files that are told: tables, and how metrics follow the machine.

Records pass once, on their way to the summary: nothing of them is kept here but the columns that are correlated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

from vcmbench.analysis import machine_scores, tables
from vcmbench.analysis.correlated import Correlated
from vcmbench.analysis.correlation_file import ABOUT, document
from vcmbench.analysis.samples import SAMPLES, Samples, in_words
from vcmbench.data.store import Store
from vcmbench.experiment import Experiment
from vcmbench.io import documents
from vcmbench.io.progress import Progress
from vcmbench.measure.blocks.state import SampledBlocks
from vcmbench.measure.outcome import MeasureOutcome
from vcmbench.measure.records import Score

_MAX_BYTES = 1 << 26


class TablesRun:
    """Writes the tables of an outcome, and correlates. `quiet` is no progress on stderr. Without `writes` no file is
    touched."""

    def __init__(
        self, experiment: Experiment, store: Store, outcome: MeasureOutcome, *, quiet: bool, writes: bool
    ) -> None:
        self._experiment, self._store, self._names, self._outcome = experiment, store, outcome.names, outcome
        self._quiet, self._writes = quiet, writes
        self.images = Samples(outcome.names)
        self._seen = self._losing = 0
        self._kind = machine_scores.kind_of(experiment)
        measure, self._in_words = self._kind.correlated(experiment.metrics.machine)
        self._machine = f"{measure}, {experiment.metrics.against}"
        self._of: dict[tuple[str, str], Score] = {
            (block.image, block.configuration): {} for one in self._all_blocks for block in one.blocks
        }
        """What blocks need of the records of their pictures."""

    @property
    def _all_blocks(self) -> list[SampledBlocks]:
        return [*self._outcome.sampled, *self._outcome.kept]

    def passing(self, scores: Iterable[Score]) -> Iterator[Score]:
        """The records as they come, while their table is written and what is to be correlated is gathered."""
        columns = tables.image_columns(self._names, self._kind)
        with tables.writing(self._store, "image_scores", columns) if self._writes else nullcontext() as add:
            for score in scores:
                if add is not None:
                    add(tables.image_row(score, self._names, self._kind))
                self._gather(score)
                yield score

    def _gather(self, score: Score) -> None:
        which = score["source"], score["configuration"]
        if which in self._of:
            self._of[which] = {name: score[name] for name in (*tables.OF_BLOCKS, "label")}
        self._seen += 1
        if machine_scores.is_reference(score):
            return
        self._losing += 1
        wanted = self._experiment.metrics
        value = machine_scores.machine_score(score, wanted.machine, wanted.against)
        self.images.add(value, score["source"], score["label"], score["iqa"])

    def finish(self) -> list[Correlated]:
        """When all have passed: correlate, and write the other files. What holds no longer
        of earlier runs goes, and what this run was not asked for stays."""
        done: list[Correlated] = []
        if "image" in self._outcome.levels:
            done.append(self._of_images())
        samples = [(one, self._block_samples(one)) for one in self._all_blocks]
        fresh = len(self._outcome.sampled)
        done += [self._of_blocks(one, found) for one, found in samples[:fresh]]
        self._tell_missing("image", "pictures", self.images)
        for one, found in samples[:fresh]:
            self._tell_missing(one.level, "blocks", found)
        if not self._writes:
            return done
        with tables.writing(self._store, "block_scores", tables.block_columns(self._all_blocks)) as add:
            for one in self._all_blocks:
                for row in tables.block_rows(one, self._of):
                    add(row)
        holding = {one.level: self._digest(found, "accuracy, pseudo") for one, found in samples[fresh:]}
        if "image" not in self._outcome.levels:
            holding["image"] = self._digest(self.images, self._machine)
        self._write_correlations(done, holding)
        return done

    def _write_correlations(self, done: list[Correlated], holding: dict[str, str]) -> None:
        """`holding` are the samples, by level, that files of earlier runs may be about."""
        told = {one.file: one for one in done if one.whole is not None}
        for path in self._store.folder.glob("correlation_*.json"):
            about = _about(path)
            level, samples = str(about.get("level")), about.get(SAMPLES)
            if path.name not in told and (samples is None or holding.get(level) != samples):
                self._store.write_table(path.name, None)
        for name, one in told.items():
            if one.whole is not None:
                metrics, seed = self._experiment.metrics, self._experiment.seed
                about = machine_scores.about(metrics, seed, one.level, one.machine, one.note) | {SAMPLES: one.samples}
                content = json.dumps(document(one.whole, one.codecs, about), indent=1, allow_nan=False).encode()
                self._store.write_table(name, content)

    def _digest(self, samples: Samples, machine: str) -> str:
        metrics = self._experiment.metrics
        return samples.digest([machine, metrics.profile, metrics.bootstrap, self._experiment.seed])

    def _tell_missing(self, level: str, what: str, samples: Samples) -> None:
        """Say of each metric what it is missing for; those that are missing altogether are said already."""
        if level.split()[0] not in self._outcome.levels:
            return
        for name in samples.names:
            if name not in self._outcome.unavailable and (counts := samples.missing(name)):
                line = f"{name}, {level}: {in_words(counts, samples.count, what)}"
                if line not in self._outcome.reasons:  # the report of the last run has them
                    self._outcome.reasons.append(line)

    def _of_images(self) -> Correlated:
        if self._seen and not self._losing:
            return Correlated("image", reason="no configuration loses anything; there is no loss to follow")
        found = self._correlate("image", "pictures", self.images)
        found.machine = self._machine
        found.samples = self._digest(self.images, self._machine)
        return found

    def _block_samples(self, sampled: SampledBlocks) -> Samples:
        found = Samples(list(sampled.values))
        why = {name: {number: reason for reason, numbers in reasons.items() for number in numbers}
               for name, reasons in sampled.reasons.items()}  # fmt: skip
        for number, block in enumerate(sampled.blocks):
            scores = {name: {"value": column[number], "reason": why[name].get(number)}
                      for name, column in sampled.values.items()}  # fmt: skip
            label = self._of[block.image, block.configuration]["label"]
            found.add(block.accuracy, block.image, label, scores)
        return found

    def _of_blocks(self, sampled: SampledBlocks, samples: Samples) -> Correlated:
        found = self._correlate(sampled.level, "blocks", samples)
        found.note = "; ".join(sampled.notes)
        found.samples = self._digest(samples, found.machine)
        return found

    def _correlate(self, level: str, what: str, samples: Samples) -> Correlated:
        clusters = len(set(samples.images))
        if not samples.names:
            return Correlated(level, reason="no metric was asked for")
        if ABOUT in samples.names:
            return Correlated(level, reason=f"no metric can be named {ABOUT}")
        if (reason := machine_scores.why_not(samples.machine, clusters)) is not None:
            return Correlated(level, clusters=clusters, reason=reason)
        with Progress(len(samples.names), "metric", quiet=self._quiet) as progress:
            whole, codecs = machine_scores.compare(
                samples.values, samples.machine, samples.images, self._experiment.metrics, self._experiment.seed,
                _once(lambda name: progress.advance(f"correlating {name}, {level}"), len(samples.names)),
                samples.labels,
            )  # fmt: skip
        codecs = {label: samples.explained(found, what, label) for label, found in codecs.items()}
        return Correlated(level, samples.explained(whole, what), codecs, clusters)


def _about(path: Path) -> dict[str, object]:
    try:
        about = documents.read_json(path, _MAX_BYTES)[ABOUT]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return about if isinstance(about, dict) else {}


def _once(tell: Callable[[str], None], count: int) -> Callable[[str], None]:
    """Only the first `count` calls: those of the whole, not of each codec."""
    left = iter(range(count))
    return lambda name: tell(name) if next(left, None) is not None else None
