"""The last step: everything that was measured, as a report, figures and a file of BD figures."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import __version__
from vcmbench.analysis.correlated import Correlated
from vcmbench.analysis.correlation import Comparison
from vcmbench.analysis.run import Findings
from vcmbench.analysis.summary import Summary
from vcmbench.data.effort import efforts
from vcmbench.data.estimate import Estimate
from vcmbench.io.files import check_inside
from vcmbench.iqa import METRICS
from vcmbench.measure import ground_truth
from vcmbench.measure.run import MeasureRun
from vcmbench.report import fill, ledger
from vcmbench.report.comparable import comparable
from vcmbench.report.content import (
    Cloud,
    CorrelationRow,
    CorrelationTable,
    Facts,
    ReportContent,
    Scatter,
    Series,
)
from vcmbench.report.figures import write_figures
from vcmbench.report.frames import Gallery
from vcmbench.report.headroom import headroom, judged
from vcmbench.report.html.page import write_report
from vcmbench.report.sequences import against_intra
from vcmbench.report.text import listed, many, sources
from vcmbench.report.timeline import timelines
from vcmbench.tasks.predictions import palette

REPORT, FIGURES = "report.html", "figures"
_CURVE_POINTS = 60
_PACKAGES = ("torch", "mmsegmentation", "mmengine", "piq", "piqa", "timm", "numpy", "scipy", "bjontegaard", "pillow")


def write(run: MeasureRun, shown: ReportContent, path: Path | None = None) -> Path:
    """Write the report (to `path`, or into the experiment's folder), its figures and `bd.json`. Returns its path."""
    target = path or run.store.folder / REPORT
    if path is None:
        check_inside(run.data.root, target)
        check_inside(run.data.root, target.parent / FIGURES / "any")
    write_report(shown, target)
    write_figures(shown, target.parent / FIGURES if path is None else target.with_suffix("") / FIGURES)
    known = {(row.anchor, row.test) for row in shown.bd}
    rows = [*shown.bd, *(row for row in shown.headroom if (row.anchor, row.test) not in known)]
    run.store.write_table("bd.json", _bd_json(rows))
    return target


def _bd_json(rows: Any) -> bytes:
    return json.dumps([asdict(row) for row in rows], indent=1, allow_nan=False).encode()


def report_content(run: MeasureRun, findings: Findings, *, pictures: bool = True) -> ReportContent:
    """What the report of a run shows; without `pictures`, which take a while to decode, its figures alone."""
    outcome, summary = findings.outcome, findings.summary
    near = comparable(summary)
    gallery = Gallery(run, summary, near.points)
    overlays, worst = (gallery.overlays(ledger.rows_of(run, summary)), gallery.worst()) if pictures else ([], [])
    over_time = timelines(run, summary, gallery, near) if pictures else []
    experiment = run.experiment
    profile = experiment.metrics.profile
    better = {name: METRICS[name].higher_is_better(profile) for name in findings.outcome.names}
    measures = fill.shown_measures(summary, better)
    of_sequences = [fill.shown_measures(part, better) for part in summary.of_sequences()]
    curves = {name: [summary.points[number].configuration for number in numbers]
              for name, numbers in summary.series().items()}  # fmt: skip
    worked = efforts(((unit.folder, unit.record) for unit in run.units), curves)
    points = sum(not point.is_reference for point in summary.points)
    return ReportContent(
        title=f"{experiment.name}: what compression did to the {'pictures' if summary.kind is None else 'machine'}",
        experiment=experiment.name,
        created=datetime.now(UTC).date().isoformat(),
        summary=f"{sources(len(summary.images), summary.sequences)} under {many(points, 'coding configuration')} of "
        f"{many(len({point.label for point in summary.points if not point.is_reference}), 'codec')}.",
        pictures=len(summary.images),
        sequences=summary.sequences,
        facts=_facts(run, summary),
        findings=_monotone(summary),
        warnings=run.warnings,
        curves=fill.curve_list(summary, [*measures, *fill.flicker(summary)]),
        correlations=[table for one in findings.correlated for table in _tables(one, run)],
        scatters=_scatters(run, findings),
        class_damage=fill.class_damage(summary, near),
        band_damage=fill.band_damage(summary, near),
        comparisons=fill.comparisons(summary),
        bd=fill.bd_rows(summary, measures, worked, experiment.report.anchor, of_sequences),
        against_intra=against_intra(summary, measures),
        headroom=headroom(summary, measures),
        judged=judged((unit.record for unit in run.units), _identity(summary)),
        overlays=overlays,
        worst=worst,
        timelines=over_time,
        commands=outcome.commands,
        provenance=_provenance(run, summary),
        missing=[*_missing(findings), *(near.missing if summary.has_confusions else ()), *gallery.missing],
        classes=summary.class_names if summary.has_confusions else (),
        palette=palette(),
    )


def _facts(run: MeasureRun, summary: Summary) -> list[tuple[str, str]]:
    metrics = run.experiment.metrics
    n, sequences = len(summary.images), summary.sequences
    of = ("Frames", sources(n, sequences)) if sequences else ("Pictures", str(n))
    facts = [of, ("Configurations", str(len(summary.points)))]
    if (task := run.experiment.task) is not None:
        by = "files in P_GT and P_hat_C" if task.predictions == "files" else Path(task.model).name
        facts.append(("Task", f"{task.name}, {by}"))
    return [*facts, ("Metrics", f"{len(run.names)}, profile {metrics.profile}")]


def _monotone(summary: Summary) -> list[str]:
    """A sentence on each measure that rises when the rate is lowered, and one on all curves where none does."""
    curves = summary.monotone()
    holding = [name for name, found in curves.items()  # without intervals two pictures would be a finding
               if all(one.holds and all(step.change.interval for step in one.steps)
                      for one in found.values())]  # fmt: skip
    findings = []
    if holding:
        findings.append(f"No measure rises, beyond its interval, when the rate is lowered, for {listed(holding)}.")
    for name, found in curves.items():
        for measure, one in found.items():
            if one.holds is False:
                findings.append(f"{name}: {measure} {one.statement}.")
    return findings


def _tables(one: Correlated, run: MeasureRun) -> list[CorrelationTable]:
    if one.whole is None:
        return []
    level, _, size = one.level.partition(" ")
    tables = [correlation_table(one.whole, level, "all", one.note)]
    tables += [correlation_table(found, level, codec) for codec, found in one.codecs.items()]
    # what was left out together counts as one there; here it is said how many pictures there are
    return [replace(table, machine=one.machine_in_words, size=size, clusters=max(one.clusters, table.clusters))
            for table in tables]  # fmt: skip


def correlation_table(found: Comparison, level: str, group: str = "all", note: str = "") -> CorrelationTable:
    """What `correlation.compare` found, strongest first."""
    rows = []
    for name, one in found.ranked:
        test = found.against_best(name)
        rows.append(CorrelationRow(name, one.values, found.verdict(name), test.p_holm if test else None, one.oriented))
    beside = [CorrelationRow(name, one.values, "baseline", oriented=one.oriented)
              for name, one in found.baselines.items()]  # fmt: skip
    return CorrelationTable(level, found.n, found.clusters, rows, group, note=note, baselines=beside)


def _scatters(run: MeasureRun, findings: Findings) -> list[Scatter]:
    """Every metric against the machine's score: of blocks where there are some, else of whole pictures."""
    level = next((sampled.level for sampled in findings.outcome.sampled), "image")
    if (samples := findings.samples.get(level)) is None:
        return []
    encoders = {point.label: point.encoder for point in findings.summary.points}
    machine, labels = np.array(samples.machine), np.array(samples.labels)
    words = next((one.machine_in_words for one in findings.correlated if one.level == level), "accuracy")
    found = []
    for name, column in samples.values.items():
        if not np.isfinite(values := np.array(column)).any():
            continue
        clouds = [Cloud(Series(label, encoders[label]), values[labels == label], machine[labels == label])
                  for label in dict.fromkeys(samples.labels) if label]  # fmt: skip
        better = METRICS[name].convention(run.experiment.metrics.profile).higher_is_better
        srocc, fit = _fitted(findings, level, name, values)
        found.append(Scatter(level.split()[0], name, clouds, words.split(" against")[0].capitalize(),
                             higher_is_better=better, srocc=srocc, fit=fit))  # fmt: skip
    return found


def _fitted(
    findings: Findings, level: str, name: str, values: NDArray[np.float64]
) -> tuple[Estimate | None, NDArray[np.float64] | None]:
    """The rank correlation of a metric, and its fitted curve, (m, 2) of metric and machine score."""
    whole = next((one.whole for one in findings.correlated if one.level == level), None)
    if whole is None or name not in whole.metrics:
        return None, None
    found = whole.metrics[name]
    curve = None
    if found.fit is not None:
        known = values[np.isfinite(values)]
        at = np.linspace(known.min(), known.max(), _CURVE_POINTS)
        curve = np.column_stack([at, found.fit.of(at)])
    return found.values["SROC"], curve


def _missing(findings: Findings) -> list[tuple[str, str]]:
    outcome, summary = findings.outcome, findings.summary
    missing = [(reason.split(":")[0], reason.partition(": ")[2] or reason) for reason in outcome.reasons]
    missing += [(f"correlations, {one.level}", one.reason) for one in findings.correlated if one.reason]
    missing += [(title, str(error)) for title, error in outcome.failed[:20]]
    if len(outcome.failed) > 20:
        missing.append(("more failures", str(len(outcome.failed) - 20)))
    missing += fill.truths(summary) + fill.unequal(summary) + fill.missed_rates(summary)
    if summary.left_out:
        missing.append(("pictures", f"{summary.left_out} are not in every configuration and were left out"))
    return missing


def _provenance(run: MeasureRun, summary: Summary) -> list[Facts]:
    versions = [("vcmbench", __version__), ("Python", platform.python_version())]
    for name in _PACKAGES:
        try:
            versions.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    tools: dict[str, str] = {}
    for unit in run.units:
        encode = unit.record["tool"]["encode"]
        tools.setdefault(unit.record["encoder"], ", ".join(str(value) for value in encode.values() if value))
    blocks = [Facts("Versions", versions), Facts("Encoders", sorted(tools.items()))]
    if identity := _identity(summary):
        blocks.append(Facts("Machine", [(name, str(value)) for name, value in identity.items()]))
    if summary.has_confusions:
        words = ground_truth.in_words(ground_truth.weights_of(run.experiment))
        lacking = summary.lacking("importance")
        blocks.append(Facts("Importance", [("map", f"none: {lacking}" if lacking else words)]))
    return [*blocks, Facts("Random draws", [("seed", str(run.experiment.seed))])]


def _identity(summary: Summary) -> dict[str, Any] | None:
    """The machine's."""
    return next((score["machine"].get("identity") for point in summary.points for score in point.scores.values()
                 if score["machine"]), None)  # fmt: skip
