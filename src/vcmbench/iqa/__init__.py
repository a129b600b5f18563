"""Full-reference image quality: the table of metrics, and `Scorer`, which computes them.

The table needs no torch; `Scorer` is imported with it when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vcmbench.iqa.metric import PROFILES, Convention, Metric, Missing, Smallest, metric
from vcmbench.iqa.table import METRICS, check

if TYPE_CHECKING:
    from vcmbench.iqa.scorer import MetricScores, Scorer

__all__ = [
    "METRICS",
    "PROFILES",
    "Convention",
    "Metric",
    "MetricScores",
    "Missing",
    "Scorer",
    "Smallest",
    "check",
    "metric",
]


def __getattr__(name: str) -> Any:
    if name in ("Scorer", "MetricScores"):
        from vcmbench.iqa import scorer

        return getattr(scorer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
