"""Full-reference image quality: the table of metrics, and `Scorer`, which computes them.

torch is imported when the first `Scorer` is made.
"""

from vcmbench.iqa.metric import PROFILES, Convention, Metric, Missing, Smallest, metric
from vcmbench.iqa.scorer import MetricScores, Scorer
from vcmbench.iqa.table import METRICS, check

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
