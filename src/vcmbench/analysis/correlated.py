"""Metrics held against the machine's score, level by level, and the files that say what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.analysis import correlation
from vcmbench.analysis.correlation import Comparison
from vcmbench.analysis.correlation_file import ABOUT, document
from vcmbench.analysis.samples import Samples
from vcmbench.data.jackknife import Grouping
from vcmbench.data.store import Store
from vcmbench.experiment import Experiment
from vcmbench.io import documents
from vcmbench.io.progress import Progress
from vcmbench.iqa import METRICS
from vcmbench.tasks import kind as kinds

OF_BLOCKS = "accuracy, pseudo"
"""What metrics of blocks are held against."""
_FEWEST = 3
_DIGEST = "samples"
_MAX_BYTES = 1 << 26


@dataclass(frozen=True)
class Correlated:
    """The correlations of one level: `whole` and by codec; or why there are none.

    `machine` is the machine's score that metrics are held against: what it is, and against which truth. `digest` is of
    what was correlated, by which a later run sees whether a file still holds.
    """

    level: str
    machine: str
    digest: str
    whole: Comparison | None = None
    codecs: dict[str, Comparison] = field(default_factory=dict)
    clusters: int = 0
    reason: str = ""
    note: str = ""

    @property
    def machine_in_words(self) -> str:
        measure, _, against = self.machine.partition(", ")
        truth = {"pseudo": "the pseudo ground truth", "labels": "the labels"}[against]
        # by its name where no kind of task knows it any more
        known = dict(kind.correlated(one) for kind in kinds.discover().values() for one in kind.measures)
        return f"{known.get(measure, measure)} against {truth}"

    @property
    def file(self) -> str:
        return f"correlation_{self.level.replace(' ', '_')}.json"


def digest(samples: Samples, machine: str, experiment: Experiment, grouping: Grouping) -> str:
    """SHA-256 (hex) of what is correlated and how."""
    metrics = experiment.metrics
    return samples.digest([machine, metrics.profile, "jackknife", metrics.intervals, grouping.tag])


def correlate(
    level: str,
    samples: Samples,
    machine: str,
    experiment: Experiment,
    grouping: Grouping,
    note: str = "",
    *,
    quiet: bool,
) -> Correlated:
    """All samples together, and those of each codec by itself, clustered by source image or group of them."""
    found = Correlated(level, machine, digest(samples, machine, experiment, grouping), note=note)
    if not samples.names:
        return replace(found, reason="no metric was asked for")
    if ABOUT in samples.names:
        return replace(found, reason=f"no metric can be named {ABOUT}")
    if samples.references and not samples.count:
        return replace(found, reason="no configuration loses anything; there is no loss to follow")
    found = replace(found, clusters=len(set(samples.images)))
    if (reason := _why_not(samples.machine, found.clusters)) is not None:
        return replace(found, reason=reason)
    columns = {name: np.asarray(values, np.float64) for name, values in samples.values.items()}
    scores, labels = np.asarray(samples.machine, np.float64), np.array(samples.labels)
    images = np.array(grouping.units(samples.images))
    places = np.asarray(samples.places, np.float64).reshape(-1, 2) if samples.places else None
    rises = {name: _rises(name, machine, experiment) for name in columns}

    def of(chosen: NDArray[np.bool_], codec: str | None = None) -> Comparison:
        compared = correlation.compare(
            {name: values[chosen] for name, values in columns.items()}, scores[chosen], images[chosen].tolist(),
            experiment.metrics.intervals, rises,
            lambda name: None if codec is not None else progress.advance(f"correlating {name}, {level}"),
            grouping.called(samples.images), None if places is None else places[chosen],
        )  # fmt: skip
        return samples.explained(compared, codec)

    with Progress(len(samples.names), "metric", quiet=quiet) as progress:
        whole, codecs = of(np.ones(len(scores), bool)), {}
        for codec in dict.fromkeys(samples.labels):
            chosen = labels == codec
            if _why_not(scores[chosen].tolist(), len(set(images[chosen]))) is None:
                codecs[codec] = of(chosen, codec)
    return replace(found, whole=whole, codecs=codecs)


def _rises(metric: str, machine: str, experiment: Experiment) -> bool:
    """Whether a metric rises with the machine's score where it follows it."""
    measure = machine.partition(", ")[0]
    lower = {name for kind in kinds.discover().values() for name in kind.lower_is_better}
    return METRICS[metric].higher_is_better(experiment.metrics.profile) == (measure not in lower)


def _why_not(values: Sequence[float], images: int) -> str | None:
    """Why nothing can be correlated with these machine scores of so many source images; None where it can."""
    if not values:
        return "no machine score is known"
    if images < 2:
        return "one source image only: a correlation would be about its configurations, not about pictures"
    if len(values) < _FEWEST:
        return f"{len(values)} samples; a correlation needs {_FEWEST}"
    if min(values) == max(values):
        return f"the machine's score is {values[0]:g} everywhere; nothing correlates with a constant"
    return None


def write(store: Store, experiment: Experiment, done: Sequence[Correlated], holding: dict[str, str]) -> None:
    """A file for each level that has correlations. Those of earlier runs go, but where they are about the digests of
    samples that are `holding`, by level."""
    made = {one.file: one for one in done if one.whole is not None}
    for path in store.folder.glob("correlation_*.json"):
        about = read_about(path)
        known = about.get(_DIGEST)
        if path.name not in made and (known is None or holding.get(str(about.get("level"))) != known):
            store.write_table(path.name, None)
    for name, one in made.items():
        if one.whole is not None:
            about = {
                "schema_version": 1, "level": one.level, "against": one.machine,
                "intervals": experiment.metrics.intervals, "groups": experiment.dataset.groups, "clustered_by": "image",
                "notes": [one.note] if one.note else [], _DIGEST: one.digest,
            }  # fmt: skip
            content = json.dumps(document(one.whole, one.codecs, about), indent=1, allow_nan=False).encode()
            store.write_table(name, content)


def read_about(path: Path) -> dict[str, Any]:
    """What a file of correlations says of itself; nothing where it is damaged."""
    try:
        about = documents.read_json(path, _MAX_BYTES)[ABOUT]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return about if isinstance(about, dict) else {}
