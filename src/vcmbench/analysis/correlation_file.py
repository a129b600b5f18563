"""Correlations as JSON: the published form, and ours, which has intervals, fits and tests beside it."""

from __future__ import annotations

import math
from typing import Any

from vcmbench.analysis.correlation import ALIKE, STATISTICS, Comparison, Correlation
from vcmbench.data.estimate import Estimate

ABOUT = "vcmbench"
"""The key of what is said of all metrics together; no metric can have that name."""


def published(comparison: Comparison) -> dict[str, dict[str, list[float] | float]]:
    """The published form: r and p of PLCC, SROC and KROCC for each metric; a bare NaN where a score is NaN, two where r
    is not defined."""

    def cell(value: Estimate) -> list[float] | float:
        if value.value is None and "NaN" in (value.reason or ""):
            return math.nan
        return [math.nan if x is None else x for x in (value.value, value.p)]

    return {
        name: {key: cell(value) for key, value in found.values.items() if key in STATISTICS[:3]}
        for name, found in comparison.metrics.items()
    }


def document(whole: Comparison, codecs: dict[str, Comparison], about: dict[str, Any]) -> dict[str, Any]:
    """Our form: the published keys for each metric, null for NaN, and more beside them; `vcmbench` holds the rest."""
    result: dict[str, Any] = {}
    for name, found in whole.metrics.items():
        result[name] = _entry(found)
        if codecs:
            result[name]["codecs"] = {codec: _entry(of.metrics[name]) for codec, of in codecs.items()}
    result[ABOUT] = about | _tests(whole) | ({"codecs": {c: _tests(of) for c, of in codecs.items()}} if codecs else {})
    return result


def _entry(found: Correlation) -> dict[str, Any]:
    values = found.values
    return {
        **{key: [value.value, value.p] for key, value in values.items()},
        "n": found.n,
        "intervals": {key: value.interval for key, value in values.items()},
        "fit": found.fit and vars(found.fit),
        "reasons": {key: value.reason for key, value in values.items() if value.reason},
    }


def _tests(comparison: Comparison) -> dict[str, Any]:
    """The best metric, and the matrices of the tests: row less column, null on the diagonal and where none was made."""
    names = list(comparison.metrics)
    matrices: dict[str, Any] = {
        key: [[None] * len(names) for _ in names] for key in ("difference", "interval", "p", "p_holm")
    }
    for test in comparison.differences:
        for a, b, one in ((test.a, test.b, test.estimate), (test.b, test.a, test.estimate.scaled(-1))):
            cells = {"difference": one.value, "interval": one.interval, "p": one.p, "p_holm": test.p_holm}
            for key, cell in cells.items():
                matrices[key][names.index(a)][names.index(b)] = cell
    alike = [name for name in names if comparison.verdict(name) == ALIKE]
    return {
        "n": comparison.n,
        "clusters": comparison.clusters,
        "best": comparison.best,
        "baselines": {name: _entry(found) for name, found in comparison.baselines.items()},
        "not_different_from_best": alike,
        "tests": {"of": "oriented SROCC", "correction": "Holm, against the best", "metrics": names, **matrices},
    }
