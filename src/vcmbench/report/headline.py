"""The findings of a report in a few short sentences: it opens with the first three, and a run ends with them."""

from __future__ import annotations

from collections.abc import Sequence

from vcmbench.report.content import BdRow, ReportContent, by_measure
from vcmbench.report.findings import (
    MAIN,
    best_metric,
    effect,
    kept_rates,
    none_follows,
    rate_in_words,
    time_warning,
    with_effort,
)
from vcmbench.report.text import figure, held_against, listed, many, measure_words

MOST = 5
OPENING = 3
"""So many of them open the report."""


def headline(content: ReportContent) -> list[str]:
    """At most MOST sentences, what matters most first; without any finding, what was done."""
    found = _rates(content)
    found += _saved(content.bd)
    found += _metric(content)
    found += _maps(content)
    if warning := time_warning(content.bd):
        found = [*found[: MOST - 1], warning]
    return found[:MOST] or [content.summary]


def _rates(content: ReportContent) -> list[str]:
    kept = kept_rates([c for c in content.curves if c.against == "pseudo" and c.measure in MAIN])
    reached = [one for one in kept.found if one.rate] if kept else []
    if kept is None or not reached:
        return []
    ends = reached[:: max(len(reached) - 1, 1)]
    words = listed([f"{rate_in_words(one)} with {one.curve.series.label}" for one in ends])
    between = f"; {many(len(reached) - 2, 'other codec')} between" if len(reached) > 2 else ""
    return [f"{kept.target} against {held_against('pseudo')} takes {words}{between}."]


def _saved(rows: Sequence[BdRow]) -> list[str]:
    """By mIoU, or the machine's main measure; or by each quality metric."""
    known = [row for row in rows if row.bd_rate_percent.value is not None]
    first = next((row for row in known if row.measure == "miou"), next(iter(known), None))
    if first is None:
        return []
    groups: dict[str, list[BdRow]] = {}
    for row in known:
        if (row.against, row.method) == (first.against, first.method):
            groups.setdefault(row.measure, []).append(row)
    if first.against != "pristine":
        groups = {first.measure: groups[first.measure]}
    return [_range(group) for group in groups.values()][:OPENING]


def _range(rows: Sequence[BdRow]) -> str:
    """From the least to the most rate at equal quality."""
    order = sorted(rows, key=lambda row: row.bd_rate_percent.value or 0.0)
    ends = order[:: max(len(order) - 1, 1)]
    words = " to ".join(
        f"{figure(row.bd_rate_percent, 1, signed=True)} % with {with_effort(row.test, row.test_effort)}"
        for row in ends[:2]
    )
    row = rows[0]
    anchor = with_effort(row.anchor, row.anchor_effort)
    truth = "" if row.against == "pristine" else f" (against {held_against(row.against)})"
    return f"Rate at equal {measure_words(row.measure)}{truth}, against {anchor}: {words}."


def _metric(content: ReportContent) -> list[str]:
    """The metric that follows the machine best, and how many may be as good, at the first level that has one."""
    for table in (table for table in content.correlations if table.group == "all"):
        if (best := best_metric(table)) is None and (said := none_follows(table)):
            return said
        others = [row for row in table.rows if row.verdict in ("not different", "worse")]
        if best is not None and others:
            worse = sum(row.verdict == "worse" for row in others)
            verb = "are" if worse > 1 else "is"
            shown = f"{worse or 'none'} of {many(len(others), 'other metric')} {verb} shown to be worse"
            return [f"{best.metric} follows the machine best: SROCC {figure(best.oriented, 2)}; {shown}."]
    return []


def _maps(content: ReportContent) -> list[str]:
    parts = []
    for name, found in by_measure(content.comparisons).items():
        known = [one.difference for _, one in found if one.difference.value is not None]
        if known and name in ("Accuracy", "mIoU"):
            parts.append(f"{measure_words(name)} {effect(known)}")
    return [f"Bits by importance, at equal rate: {listed(parts)}."] if parts else []
