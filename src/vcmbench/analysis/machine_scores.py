"""From score records to the figures that are told: what the machine scored, and how metrics follow it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import tasks
from vcmbench.analysis import correlation
from vcmbench.analysis.correlation import Comparison
from vcmbench.analysis.resampling import check_resamples
from vcmbench.encoder.plugins import loses_nothing
from vcmbench.errors import RequestError
from vcmbench.experiment import Experiment, Metrics
from vcmbench.measure.records import Score
from vcmbench.tasks import kind as kinds
from vcmbench.tasks.kind import Kind

_FEWEST = 3


def is_reference(score: Score) -> bool:
    return loses_nothing(score["encoder"], score["color_subsampling"], score["subsampling_factor"])


def kind_of(experiment: Experiment) -> Kind:
    """The kind of task that an experiment asks for; files of predictions are a segmentation's."""
    task = experiment.task
    return kinds.get(kinds.DEFAULT if task is None or task.predictions == "files" else tasks.get(task.name).kind)


def machine_score(score: Score, measure: str, against: str) -> float | None:
    """The machine's score on one picture, by name; None where it is not known."""
    part = score["machine"]
    if part is None or part[against] is None:
        return None
    return kinds.get(part["kind"]).correlated_score(part[against], part["classes"], measure)


def why_not(values: Sequence[float], images: int) -> str | None:
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


def compare(
    metrics: Mapping[str, Sequence[float]],
    machine: Sequence[float],
    clusters: Sequence[str],
    wanted: Metrics,
    seed: int,
    done: Callable[[str], None],
    groups: Sequence[str] | None = None,
) -> tuple[Comparison, dict[str, Comparison]]:
    """All samples together, and those of each group (codec) by itself. Clustered by source image."""
    columns = {name: np.asarray(values, np.float64) for name, values in metrics.items()}
    scores, labels = np.asarray(machine, np.float64), np.asarray(clusters)

    def of(chosen: NDArray[np.bool_], stream: int) -> Comparison:
        return correlation.compare(
            {name: values[chosen] for name, values in columns.items()}, scores[chosen], labels[chosen].tolist(),
            wanted.bootstrap, (seed, stream), done,
        )  # fmt: skip

    whole = of(np.ones(len(scores), bool), 0)
    found: dict[str, Comparison] = {}
    of_group = np.asarray(groups if groups is not None else [])
    for stream, group in enumerate(dict.fromkeys(groups or ()), 1):
        chosen = of_group == group
        if why_not(scores[chosen].tolist(), len(set(labels[chosen]))) is None:
            found[group] = of(chosen, stream)
    return whole, found


def check(wanted: Metrics) -> None:
    """Raises RequestError for a number of resamples that cannot be."""
    try:
        check_resamples(wanted.bootstrap)
    except RequestError as error:
        raise RequestError(f"metrics.bootstrap: {error}") from None


def about(wanted: Metrics, seed: int, level: str, machine: str, note: str = "") -> dict[str, Any]:
    """What a file of correlations says of itself."""
    return {
        "schema_version": 1, "level": level, "against": machine,
        "resamples": wanted.bootstrap, "seed": seed, "clustered_by": "image", "notes": [note] if note else [],
    }  # fmt: skip
