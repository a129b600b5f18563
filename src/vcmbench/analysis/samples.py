"""What is correlated, as columns: the machine's score of each sample and the metrics', or why there is none."""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vcmbench.analysis.correlation import Comparison

_MOST_REASONS = 3
_NOT_COMPUTED = "not computed"


class Samples:
    """Samples (`what`: pictures, blocks) one by one; `values[name]`, `machine`, `images` and `labels` (of codecs) have
    one entry each, `places` two of each block, x and y in px. Those that the machine has no score of are only counted,
    as are `references`, which lose nothing."""

    def __init__(self, names: Sequence[str], what: str) -> None:
        self.names, self.what = list(names), what
        self.values = {name: array("d") for name in self.names}
        self.machine, self.images, self.labels = array("d"), list[str](), list[str]()
        self.places = array("d")
        self.count = self.references = 0
        self._all: dict[str, Counter[str]] = {name: Counter() for name in self.names}
        self._scored: dict[tuple[str, str], Counter[str]] = {}

    def add(
        self, machine: float | None, image: str, label: str, scores: Mapping[str, Mapping[str, Any]],
        place: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        """A sample; `scores` has the `value`, or the `reason` for none, of each metric."""
        self.count += 1
        if machine is not None:
            self.machine.append(machine)
            self.images.append(image)
            self.labels.append(label)
            self.places.extend(place or ())
        for name in self.names:
            entry = scores.get(name) or {"value": None, "reason": None}
            value = entry["value"]
            if value is None:
                why = entry["reason"] or _NOT_COMPUTED
                self._all[name][why] += 1
                if machine is not None:
                    self._scored.setdefault((name, label), Counter())[why] += 1
            if machine is not None:
                self.values[name].append(math.nan if value is None else value)

    def missing(self, name: str) -> str:
        """How many samples lack a metric, and why; empty where none does."""
        return self._words(self._all[name], self.count) if self._all[name] else ""

    def explained(self, found: Comparison, label: str | None = None) -> Comparison:
        """Correlations of all samples, or of those of a codec, with the metrics' own reasons where they are missing: a
        metric that lacks one sample has no correlation, so that all metrics are compared on the same ones."""
        metrics = dict(found.metrics)
        for name, one in found.metrics.items():
            counts: Counter[str] = Counter()
            for (metric, codec), reasons in self._scored.items():
                if metric == name and label in (None, codec):
                    counts += reasons
            if counts:
                why = self._words(counts, one.n)
                values = {key: replace(value, reason=why) for key, value in one.values.items()}
                metrics[name] = replace(one, values=values)
        return replace(found, metrics=metrics)

    def digest(self, settings: Sequence[Any]) -> str:
        """SHA-256 (hex) of what is correlated and how, but for metrics that have no value at all."""
        names = [name for name, values in self.values.items() if not all(map(math.isnan, values))]
        found = hashlib.sha256(json.dumps([list(settings), names, self.images, self.labels]).encode())
        for column in (self.machine, *(self.values[name] for name in names)):
            found.update(column.tobytes())
        return found.hexdigest()

    def _words(self, counts: Counter[str], total: int) -> str:
        ordered = counts.most_common()
        missing = f"no score for {sum(counts.values())} of {total} {self.what}: "
        if len(ordered) == 1:
            return missing + ordered[0][0]
        named = [f"{why} ({count})" for why, count in ordered[:_MOST_REASONS]]
        more = sum(count for _, count in ordered[_MOST_REASONS:])
        return missing + "; ".join(named + ([f"other reasons ({more})"] if more else []))
