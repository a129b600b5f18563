"""From what other rooms computed to what the report shows."""

from __future__ import annotations

from vcmbench.analysis import correlation
from vcmbench.report.content import CorrelationRow, CorrelationTable, Estimate
from vcmbench.report.vocabulary import STATISTICS


def estimate(value: correlation.Value, n: int | None = None) -> Estimate:
    """A correlation's value as the report's."""
    return Estimate(value.value, value.low, value.high, n, value.p, value.reason)


def correlation_table(
    found: correlation.Comparison, level: str, group: str = "all", resamples: int = 0, note: str = ""
) -> CorrelationTable:
    """What `correlation.compare` found, strongest first."""
    names = sorted(found.metrics, key=lambda name: -found.metrics[name].strength)
    rows = []
    for name in names:
        test = found.against_best(name)
        values = {key: estimate(found.metrics[name].values[key], found.metrics[name].n) for key in STATISTICS}
        rows.append(CorrelationRow(name, values, _verdict(found, name), test.p_holm if test else None))
    return CorrelationTable(level, found.n, found.clusters, rows, group, resamples, note=note)


def _verdict(found: correlation.Comparison, name: str) -> str:
    if name == found.best:
        return "best"
    test = found.against_best(name)
    return "" if test is None else "not different" if test.p_holm >= correlation.LEVEL else "worse"
