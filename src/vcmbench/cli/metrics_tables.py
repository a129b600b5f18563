"""What `vcmbench metrics` prints: the machine over rate, and the metrics by how well they follow it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from vcmbench.analysis import bdrate
from vcmbench.analysis.correlation import Comparison
from vcmbench.analysis.curves import Resampled
from vcmbench.analysis.run import Findings
from vcmbench.analysis.summary import Summary
from vcmbench.cli import table, terminal
from vcmbench.report.content import BdRow, ReportContent
from vcmbench.report.findings import time_warning
from vcmbench.report.text import listed, many, measure_words, sources

_MEASURES = {"accuracy": "accuracy", "miou": "mIoU"}
_REASONS = 3  # are said below a table; bd.json has all


def all_of(findings: Findings, content: ReportContent) -> Iterator[str]:
    """The tables, each a text that ends with an empty line."""
    summary = findings.summary
    if summary.images:
        if machine := _of_machine(summary):
            yield f"{sources(len(summary.images), summary.sequences)}\n{rates(summary, machine)}\n"
        if metrics := _of_metrics(summary, findings.outcome.names):
            yield f"{sources(len(summary.images), summary.sequences)}\n{rates(summary, metrics)}\n"
        if summary.has_confusions:
            yield steps(summary) + "\n"
        if content.bd:
            yield bd_rates(content.bd) + "\n"
    for one in findings.correlated:
        if one.whole is not None:
            stands = many(one.clusters, "frame" if summary.sequences else "picture")
            samples = f"{one.whole.n} samples of {stands}, with {one.machine_in_words}"
            yield f"{one.level}: {samples}\n{correlations(one.whole)}\n"


def _of_machine(summary: Summary) -> dict[str, Resampled]:
    found: dict[str, Resampled] = {}
    for against in ("pseudo", "labels"):
        if summary.has(against):
            measures = summary.measures(against)
            n = len(summary.over(against).images)
            of = "" if n == len(summary.images) else f", n = {n}"
            found |= {f"{shown} ({against}{of})": measures[name]
                      for name, shown in _shown(summary).items()}  # fmt: skip
    if (flicker := summary.instability()) is not None:
        found["added flicker"] = flicker
    return found


def _shown(summary: Summary) -> dict[str, str]:
    """The measures that have curves, and what columns call them."""
    if (kind := summary.kind) is None:
        return {}
    return {name: _MEASURES.get(name, kind.measures[name]) for name in kind.curves or kind.measures}


def _of_metrics(summary: Summary, names: list[str]) -> dict[str, Resampled]:
    return {name: mean for name in names if not isinstance(mean := summary.metric(name), str)}


def rates(summary: Summary, columns: Mapping[str, Resampled]) -> str:
    """One row a coding configuration."""
    rate, unit = summary.rate_and_unit
    digits = 4 if unit == "bpp" else 1
    rows = [
        (
            point.series, "-" if point.quality is None else str(point.quality), f"{rate.values[i]:.{digits}f}",
            *(f"{values.estimate(i):.4f}" for values in columns.values()),
        )
        for i, point in enumerate(summary.points)
    ]  # fmt: skip
    return table.render(("coded by", "quality", unit, *columns), rows)


def bd_rates(found: Sequence[BdRow]) -> str:
    """What each curve costs in rate, by PCHIP; preset and seconds stand beside it, since they decide it, too."""
    rows, found = [], [row for row in found if row.method == bdrate.METHODS[0]]
    for row in found:
        against = "" if row.against == "pristine" else f" ({row.against})"
        efforts = table.of_effort(row.anchor_effort, row.test_effort)
        rows.append((f"{measure_words(row.measure)}{against}", row.test.label, row.anchor.label,
                     f"{row.bd_rate_percent:+.1f}", *efforts))  # fmt: skip
    header = ("at equal", "test", "anchor", "BD-rate %", *table.EFFORT)
    lines = [table.render(header, rows)]
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for row, (measure, *_) in zip(found, rows, strict=True):
        if row.bd_rate_percent.value is None and row.bd_rate_percent.reason:
            reasons[row.bd_rate_percent.reason].append(measure)
    said = [f"- at equal {listed(list(dict.fromkeys(names)))}: {reason}"
            for reason, names in sorted(reasons.items())[:_REASONS]]  # fmt: skip
    if warning := time_warning(found):
        said.append(f"! {warning}")
    return "\n".join([*lines, *(terminal.wrapped(one, "  ") for one in said)])


def steps(summary: Summary) -> str:
    """Whether mIoU falls with the rate, a row a curve."""
    rows = [(name, found["miou"].statement) for name, found in summary.monotone().items()]
    return table.render(("curve", "mIoU (pseudo) over rate"), rows)


def correlations(found: Comparison) -> str:
    """Metrics, strongest first."""
    header = ("metric", "oriented", "SROCC", "PLCC", "KROCC", "PLCC fitted", "against the best")
    rows = []
    for name, one in [*found.ranked, *found.baselines.items()]:
        strength = "-" if one.oriented.value is None else f"{one.strength:.4f}"
        cells = [f"{one.values[key]:.4f}" for key in ("SROC", "PLCC", "KROCC", "PLCC_fit")]
        verdict = "baseline" if name in found.baselines else found.verdict(name)
        rows.append((name, strength, *cells, "missing" if one.oriented.value is None else verdict))
    return table.render(header, rows)
