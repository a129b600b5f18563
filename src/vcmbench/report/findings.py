"""What the data say, in plain words. Every sentence comes from numbers of the report and gives n and interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vcmbench.data import effort
from vcmbench.data.effort import Effort
from vcmbench.data.estimate import Estimate
from vcmbench.report.content import (
    BdRow,
    CorrelationRow,
    CorrelationTable,
    Losses,
    MapComparison,
    RateCurve,
    ReportContent,
    Series,
    by_measure,
)
from vcmbench.report.sequences import sentences
from vcmbench.report.text import (
    AGAINST,
    capital,
    figure,
    held_against,
    listed,
    many,
    measure_words,
    measures,
    number,
    of_n,
    percent,
    rate,
    sources,
    together,
)

_TARGETS = (0.9, 0.95, 0.8, 0.99, 0.7, 0.6, 0.5)
_FEW_PICTURES = 30
MAIN = ("accuracy", "top1", "ap")
"""The measures that a machine is judged by first, one of each kind of task."""
_LEAST_SHARE = 0.001
"""Of all pixels: what a class with fewer loses is not said of the class, but of a few objects."""


@dataclass(frozen=True)
class RateAt:
    """The rate at which a curve reaches a target, and where the limits of its band do (None: not within the curve)."""

    curve: RateCurve
    rate: float | None
    low: float | None
    high: float | None


def rate_at(curve: RateCurve, target: float) -> RateAt:
    """Where a curve comes to `target` from above, going down in rate: linear between its points in log rate.

    The interval is that of rates whose 95 % band holds the target, so it is as wide as the pointwise band says.
    """
    points = curve.shown
    rates = [rate for rate, _, _ in points]
    banded = [(rate, value.interval) for rate, value, _ in points if value.interval]
    return RateAt(
        curve,
        _crossing(rates, [value.value or 0.0 for _, value, _ in points], target),
        _crossing([rate for rate, _ in banded], [ends[1] for _, ends in banded], target),
        _crossing([rate for rate, _ in banded], [ends[0] for _, ends in banded], target),
    )


def _crossing(rates: Sequence[float], values: Sequence[float], target: float) -> float | None:
    """The rate above which all values are at least `target`; None where that is below or above all points."""
    for index in range(len(rates) - 1, 0, -1):
        low, high = values[index - 1], values[index]
        if high < target:
            return None
        if low < target:
            share = (target - low) / (high - low)
            return math.exp((1 - share) * math.log(rates[index - 1]) + share * math.log(rates[index]))
    return None


def findings(content: ReportContent) -> list[str]:
    """The report's key findings, at most one or two sentences for each kind of data that is there."""
    found = [*content.findings]
    for against in AGAINST:
        found += _rates([c for c in content.curves if c.against == against and c.measure in MAIN])
    found += _saved(content.bd)
    found += sentences(content)
    found += [sentence for table in content.correlations if table.group == "all"
              for sentence in _metrics(table, "frame" if content.sequences else "image")]  # fmt: skip
    found += [sentence for damage in content.class_damage for sentence in _classes(damage)]
    found += [sentence for damage in content.band_damage for sentence in _bands(damage)]
    found += _maps(content.comparisons)
    return found


def cautions(content: ReportContent) -> list[str]:
    """What a reader has to know before believing the findings."""
    found = [f"{capital(warning)}." for warning in content.warnings]
    if content.pictures is not None and (content.sequences or content.pictures) < _FEW_PICTURES:
        units = " sequences" if content.sequences else ""
        found.append(
            f"Everything here stands on {sources(content.pictures, content.sequences, 'source picture')}. With fewer "
            f"than {_FEW_PICTURES}{units} the intervals are wide, and other scenes may behave differently."
        )
    if warning := time_warning(content.bd):
        found.append(warning)
    rising = [curve for curve in content.curves if _falls_with_rate(curve)]
    for curve in rising:
        found.append(
            f"{measures()[curve.measure]} of {curve.series.label} against {held_against(curve.against)} is worse at a "
            "higher rate, beyond both intervals: look at that configuration before comparing codecs."
        )
    return found


def time_warning(rows: Sequence[BdRow]) -> str:
    """What to think of BD-rates whose encoders took very different times; empty where they did not."""
    return effort.warning(((row.anchor.label, row.anchor_effort), (row.test.label, row.test_effort)) for row in rows)


def with_effort(series: Series, effort: Effort | None) -> str:
    """A codec with preset and seconds, where they are known."""
    if effort is None:
        return series.label
    return series.label + " " + together(effort.beside(series.label).removeprefix(series.label).lstrip())


def _falls_with_rate(curve: RateCurve) -> bool:
    sign = 1 if curve.higher_is_better else -1
    ends = [value.scaled(sign).interval for _, value, _ in curve.shown]
    return any(after[1] < before[0] for before, after in pairwise(filter(None, ends)))


@dataclass(frozen=True)
class KeptRates:
    """Which rate each codec needs for a `target`, in words and as a `value`: least first, then those that keep it at
    every rate or at none."""

    target: str
    value: float
    found: list[RateAt]


def kept_rates(curves: Sequence[RateCurve]) -> KeptRates | None:
    """For the target that most codecs reach; of each encoder its first series only. None where no codec does."""
    first: dict[str, RateCurve] = {}
    for curve in curves:
        if len(curve.shown) > 1:
            first.setdefault(curve.series.encoder, curve)
    curves = list(first.values())
    if not curves:
        return None
    top = [curve.pristine.value for curve in curves if curve.pristine and curve.pristine.value is not None]
    scale = max(top, default=1.0)
    counts = [sum(rate_at(curve, share * scale).rate is not None for curve in curves) for share in _TARGETS]
    if not max(counts):
        return None
    share = _TARGETS[counts.index(max(counts))]
    found = sorted((rate_at(curve, share * scale) for curve in curves), key=lambda one: one.rate or math.inf)
    what = "AP" if curves[0].measure == "ap" else "accuracy"
    words = f"{percent(share)} of the pristine pictures\u2019 {what}" if top else f"An {what} of {share:.2f}"
    return KeptRates(words, share * scale, found)


def _rates(curves: Sequence[RateCurve]) -> list[str]:
    """The rates of all codecs, and those that keep the target at all rates or at none."""
    if (kept := kept_rates(curves)) is None:
        return []
    stands = of_n(point.value for one in kept.found for point in one.curve.points)
    target = kept.target[:1].lower() + kept.target[1:]
    head = f"Against {held_against(curves[0].against)}{stands}, {target} is kept by "
    reached = [f"{one.curve.series.label} at {rate_in_words(one)}" for one in kept.found if one.rate]
    sentence = f"{head}{listed(reached)}."
    others = [one.curve for one in kept.found if not one.rate]
    below = [curve.series.label for curve in others if (curve.shown[-1][1].value or 0.0) < kept.value]
    always = [
        f"{c.series.label} (from {rate(c.shown[0][0])} {c.unit} on)" for c in others if c.series.label not in below
    ]
    sentence += f" {listed(always)} {_verb('keep', always)} it at every rate measured." if always else ""
    sentence += f" {listed(below)} {_verb('do', below, 'does')} not, at any rate measured." if below else ""
    return [sentence]


def _verb(plural: str, names: Sequence[str], singular: str | None = None) -> str:
    return plural if len(names) > 1 else singular or f"{plural}s"


def rate_in_words(one: RateAt) -> str:
    """The rate with its interval. Where an end of the band lies beyond all rates measured, it says so."""
    if one.rate is None:
        return ""
    rates = [point for point, _, _ in one.curve.shown]
    low = f"< {rate(rates[0])}" if one.low is None else rate(one.low)
    high = f"> {rate(rates[-1])}" if one.high is None else rate(one.high)
    banded = any(value.interval for _, value, _ in one.curve.shown)
    return together(f"{rate(one.rate)} {one.curve.unit}" + (f" [{low}, {high}]" if banded else ""))


def _saved(rows: Sequence[BdRow]) -> list[str]:
    """What equal accuracy costs each codec, by one measure and interpolation."""
    # without an interval, two pictures would be a finding
    known = [row for row in rows if row.bd_rate_percent.interval]
    if not known:
        return []
    measure = "miou" if any(row.measure == "miou" for row in known) else known[0].measure
    chosen = [row for row in known if row.measure == measure]
    chosen = [row for row in chosen if (row.against, row.method) == (chosen[0].against, chosen[0].method)]
    chosen = [row for row in chosen if row.anchor == chosen[0].anchor]
    parts = [
        f"{with_effort(row.test, row.test_effort)} {figure(row.bd_rate_percent, 1, signed=True)}" for row in chosen
    ]
    return [
        f"At equal {measure_words(measure)} against {held_against(chosen[0].against)}, the rate differs from that of "
        f"{with_effort(chosen[0].anchor, chosen[0].anchor_effort)} as follows"
        f"{of_n(row.bd_rate_percent for row in chosen)}, as BD-rate in %: {'; '.join(parts)}."
    ]


def _metrics(table: CorrelationTable, one: str) -> list[str]:
    """The best metric, those that are not different from it, and PSNR for comparison."""
    best = best_metric(table)
    if best is None:
        return none_follows(table)
    what = f"decoded {one}" if table.level == "image" else table.level
    stands = f"{many(table.n, what)} of {many(table.clusters, 'frame' if one == 'frame' else 'source picture')}"
    sentence = f"Of {many(len(table.rows), 'quality metric')}, {best.metric} follows the machine best on {stands}: "
    sentence += f"SROCC {figure(best.oriented, 2)}."
    others = [row for row in table.rows if row is not best and row.verdict]
    same = [row.metric for row in others if row.verdict == "not different"]
    if same and len(same) == len(others):
        sentence += f" None of the other {len(same)} is shown to be worse." if len(same) > 1 else ""
    elif same:
        sentence += f" Not different from it after Holm\u2019s correction: {listed(same)}."
    psnr = next((row.oriented for row in table.rows if row.metric == "PSNR" and row is not best), None)
    if psnr is not None and psnr.value is not None:
        sentence += f" PSNR reaches {figure(psnr, 2)}."
    beside = [f"{row.metric} {figure(row.oriented, 2)}" for row in table.baselines if row.oriented.value is not None]
    if beside:
        sentence += f" As baselines, {listed(beside)}."
    return [sentence]


def best_metric(table: CorrelationTable) -> CorrelationRow | None:
    """The metric that follows the machine best; None where none is shown to follow it."""
    return next((row for row in table.rows if row.verdict == "best"), None)


def none_follows(table: CorrelationTable) -> list[str]:
    """What is said where none is."""
    if not table.rows or table.rows[0].oriented.value is None:
        return []
    nearest = table.rows[0]
    return [
        f"No metric is shown to follow the machine: {nearest.metric}, the nearest, has SROCC "
        f"{figure(nearest.oriented, 2)}, n = {table.n}."
    ]


def _worst(damage: Losses) -> list[tuple[str, float, Estimate]]:
    """Rows by their mean loss over the columns that have one, worst first, each with its largest loss; of classes those
    that have a share of the pixels."""
    found = []
    pixels = damage.pixels or [1] * len(damage.rows)
    for name, row, count_ in zip(damage.rows, damage.losses, pixels, strict=True):
        if count_ < _LEAST_SHARE * sum(pixels):
            continue
        known = [cell for cell in row if cell.value is not None]
        if known:
            largest = max(known, key=lambda cell: cell.value or 0.0)
            found.append((name, float(np.mean([cell.value for cell in known])), largest))
    return sorted(found, key=lambda one: -one[1])


def _classes(damage: Losses) -> list[str]:
    rows = _worst(damage)
    if len(rows) < 2:
        return []
    named = [f"{name} ({number(mean, 2)}, at most {figure(largest, 2)})" for name, mean, largest in rows[:3]]
    measure, codecs = measures().get(damage.measure, damage.measure), many(len(damage.columns), "codec")
    return [
        f"{capital(damage.condition)}, against {held_against(damage.against)}, the classes that lose most {measure} on "
        f"the mean of {codecs}{_stands(damage)} are {listed(named)}; {rows[-1][0]} loses least "
        f"({number(rows[-1][1], 2)})."
    ]


def _bands(damage: Losses) -> list[str]:
    means = {name: mean for name, mean, _ in _worst(damage)}
    known = [f"{number(means[name], 2)} ({together(name)})" for name in damage.rows if name in means]
    if len(known) < 2:
        return []
    return [
        f"{capital(damage.condition)}, {measure_words(damage.measure)} that is lost by {damage.by} against "
        f"{held_against(damage.against)}, on the mean of "
        f"{many(len(damage.columns), 'codec')}{_stands(damage)}: {listed(known)}."
    ]


def _stands(damage: Losses) -> str:
    return of_n(cell for row in damage.losses for cell in row)


def _maps(comparisons: Sequence[MapComparison]) -> list[str]:
    """For each measure: how many configurations gained or lost for certain, and the median difference."""
    parts = []
    for name, found in by_measure(comparisons).items():
        if known := [effect.difference for _, effect in found if effect.difference.value is not None]:
            parts.append(f"{together(name[:1].lower() + name[1:])} {effect(known)}")
    if not parts:
        return []
    stands = of_n(effect.difference for one in comparisons for effect in one.effects)
    return [
        f"Bits by importance instead of uniformly, at equal rate{stands}, change what the machine sees as follows "
        f"(median of {many(len(comparisons), 'configuration')}; in brackets how many of them gain and lose beyond "
        f"their intervals): {'; '.join(parts)}."
    ]


def effect(known: Iterable[Estimate]) -> str:
    values = list(known)
    ends = [value.interval for value in values if value.interval]
    if not ends:
        return f"{number(float(np.median([value.value or 0.0 for value in values])), 3, signed=True)} (no intervals)"
    better, worse = sum(low > 0 for low, _ in ends), sum(high < 0 for _, high in ends)
    middle = number(float(np.median([value.value or 0.0 for value in values])), 3, signed=True)
    return f"{middle} ({better} gain, {worse} lose)"
