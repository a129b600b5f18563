"""What `vcmbench metrics` prints: the machine over rate, and the metrics by how well they follow it."""

from __future__ import annotations

from collections.abc import Iterator

from vcmbench.analysis.correlation import Comparison
from vcmbench.analysis.curves import Resampled
from vcmbench.analysis.run import Findings
from vcmbench.analysis.summary import Summary
from vcmbench.cli import table

_SHOWN = ("PSNR", "SSIM", "MS_SSIM")


def all_of(findings: Findings, names: list[str]) -> Iterator[str]:
    """The tables, each a text that ends with an empty line; `names` are the metrics that were asked for."""
    summary = findings.summary
    if summary.images:
        yield rates(summary, names) + "\n"
        if summary.has_confusions:
            yield steps(summary) + "\n"
    for one in findings.correlated:
        if one.whole is not None:
            samples = f"{one.whole.n} samples of {one.clusters} pictures, with {one.machine_in_words}"
            yield f"{one.level}: {samples}\n{correlations(one.whole)}\n"


def rates(summary: Summary, names: list[str]) -> str:
    """One row a coding configuration."""
    columns: dict[str, Resampled] = {}
    for against, told in (("pseudo", "pseudo"), ("labels", "labels")):
        if summary.has(against):
            found = summary.measures(against)
            n = len(summary.over(against).images)
            of = "" if n == len(summary.images) else f", n = {n}"
            columns |= {f"{shown} ({told}{of})": found[name]
                        for name, shown in (("accuracy", "accuracy"), ("miou", "mIoU")) if name in found}  # fmt: skip
    for name in [name for name in names if name in _SHOWN] or names[:2]:
        if not isinstance(metric := summary.metric(name), str):
            columns[name] = metric
    header = ("encoder", "quality", "chroma", "factor", "options", "n", "bpp", *columns)
    rows = [
        (
            point.label, "-" if point.quality is None else str(point.quality), point.color_subsampling,
            str(point.subsampling_factor), point.options, str(len(summary.images)), f"{summary.rate.values[i]:.4f}",
            *(f"{values.estimate(i):.4f}" for values in columns.values()),
        )
        for i, point in enumerate(summary.points)
    ]  # fmt: skip
    return table.render(header, rows)


def steps(summary: Summary) -> str:
    """Whether mIoU falls with the rate, a row a curve."""
    rows = [(name, found["miou"].statement) for name, found in summary.monotone().items()]
    return table.render(("curve", "mIoU (pseudo) over rate"), rows)


def correlations(found: Comparison) -> str:
    """Metrics, strongest first."""
    header = ("metric", "oriented", "SROCC", "PLCC", "KROCC", "PLCC fitted", "against the best")
    rows = []
    for name, one in found.ranked:
        strength = "-" if one.oriented.value is None else f"{one.strength:.4f}"
        cells = [f"{one.values[key]:.4f}" for key in ("SROC", "PLCC", "KROCC", "PLCC_fit")]
        rows.append((name, strength, *cells, "missing" if one.oriented.value is None else found.verdict(name)))
    return table.render(header, rows)
