"""From score records to the files that are told: tables, and how metrics follow the machine."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from vcmbench.correlation_file import ABOUT, document
from vcmbench.experiment import Experiment
from vcmbench.measure import statistics, tables
from vcmbench.measure.block_level import Sampled
from vcmbench.measure.outcome import Correlated, Outcome
from vcmbench.measure.records import Score
from vcmbench.progress import Progress
from vcmbench.store import Store


class Teller:
    """Writes what was found out. `names` are the metrics of pictures, `quiet` is no progress on stderr."""

    def __init__(self, experiment: Experiment, store: Store, names: list[str], *, quiet: bool) -> None:
        self._experiment, self._store, self._names, self._quiet = experiment, store, names, quiet

    def tell(self, scores: list[Score], outcome: Outcome) -> None:
        """Write the tables and the files of correlations, which the outcome gets, too. What earlier runs left goes."""
        tables.write(self._store, "image_scores", (tables.image_row(score, self._names) for score in scores))
        of = {(score["source"], score["configuration"]): score for score in scores}
        rows = (row for one in outcome.sampled for row in tables.block_rows(one, of))
        tables.write(self._store, "block_scores", rows)
        if "image" in outcome.levels:
            outcome.correlated.append(self._images(scores))
        outcome.correlated += [self._blocks(sampled, of) for sampled in outcome.sampled]
        for path in self._store.folder.glob("correlation_*.json"):
            self._store.write_table(path.name, None)
        for one in outcome.correlated:
            if one.whole is not None:
                about = statistics.about(
                    self._experiment.metrics, self._experiment.seed, one.level, one.machine, one.note
                )
                content = json.dumps(document(one.whole, one.codecs, about), indent=1, allow_nan=False).encode()
                self._store.write_table(one.file, content)

    def _images(self, scores: list[Score]) -> Correlated:
        if scores and all(map(statistics.is_reference, scores)):
            return Correlated("image", reason="no configuration loses anything; there is no loss to follow")
        known, values = statistics.image_table(scores, self._names, self._experiment.metrics)
        columns = {name: [statistics.metric_score(score, name) for score in known] for name in self._names}
        found = self._correlate(
            "image", columns, values, [score["source"] for score in known], [score["label"] for score in known]
        )
        found.machine = statistics.machine_of(known, self._experiment.metrics)
        return found

    def _blocks(self, sampled: Sampled, of: dict[tuple[str, str], Score]) -> Correlated:
        columns = {
            name: [np.nan if value is None else value for value in column] for name, column in sampled.values.items()
        }
        found = self._correlate(
            f"block {sampled.size}", columns, [block.accuracy for block in sampled.blocks],
            [block.image for block in sampled.blocks],
            [of[block.image, block.configuration]["label"] for block in sampled.blocks],
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
        with Progress(len(columns), "metric", quiet=self._quiet) as progress:
            whole, codecs = statistics.compare(
                columns, machine, images, self._experiment.metrics, self._experiment.seed,
                _once(lambda name: progress.advance(f"correlating {name}, {level}"), len(columns)), labels,
            )  # fmt: skip
        return Correlated(level, whole, codecs, clusters)


def _once(tell: Callable[[str], None], count: int) -> Callable[[str], None]:
    """Only the first `count` calls: those of the whole, not of each codec."""
    left = iter(range(count))
    return lambda name: tell(name) if next(left, None) is not None else None
