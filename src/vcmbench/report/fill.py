"""From a summary to what the report shows: curves, damage, comparisons, BD figures. Only figures; pictures are in
`gallery`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from vcmbench.analysis import bdrate, curves
from vcmbench.analysis.curves import Resampled
from vcmbench.analysis.points import CodingPoint
from vcmbench.analysis.summary import Summary
from vcmbench.compress.rate_search import TOLERANCE
from vcmbench.data.effort import Effort
from vcmbench.data.estimate import SHARE, Estimate, interval, too_few
from vcmbench.io.progress import counted
from vcmbench.measure.records import AGAINST
from vcmbench.report.comparable import Comparable
from vcmbench.report.content import BdRow, Losses, MapComparison, MapEffect, RateCurve, Series
from vcmbench.report.content import RatePoint as CurvePoint
from vcmbench.report.text import significant
from vcmbench.tasks import confusion
from vcmbench.tasks.confusion import dense

_FEWEST_BD = 4


def series_of(point: CodingPoint) -> Series:
    return Series(point.series, point.encoder)


@dataclass(frozen=True)
class Shown:
    """A measure that has curves and BD-rates: what it is held against, the report's name for it, figures and rates."""

    against: str
    measure: str
    values: Resampled
    rates: Resampled
    higher_is_better: bool = True
    pristine: Estimate | None = None
    """What pristine pictures reach; None where that is no news."""
    unit: str = "bpp"
    """Of the rates."""


def shown_measures(summary: Summary, metrics: Mapping[str, bool]) -> list[Shown]:
    """Those of the machine; where none looked at the pictures, the quality metrics, by name whether more is better."""
    kind, found = summary.kind, []
    pristine = (summary.over("labels").pristine_measures() or {}) if summary.has("labels") else {}
    for against in AGAINST if kind is not None else ():
        if kind is not None and summary.has(against):
            values = summary.measures(against)
            for name in kind.curves or kind.measures:
                reference = pristine[name].estimate(0) if against == "labels" and name in pristine else None
                rates, unit = summary.over(against).rate_and_unit
                found.append(Shown(against, kind.heading(name)[0], values[name], rates, pristine=reference, unit=unit))
    if kind is None:
        means = {name: mean for name in metrics if not isinstance(mean := summary.metric(name), str)}
        for name, mean in means.items():
            rates, unit = summary.rate_and_unit
            found.append(Shown("pristine", name, mean, rates, metrics[name], unit=unit))
    return found


def flicker(summary: Summary) -> list[Shown]:
    """How much less steady than on the pristine frames a machine's answers are, of sequences."""
    found = summary.instability()
    if found is None:
        return []
    rates, unit = summary.rate_and_unit
    return [Shown("pseudo", "instability", found, rates, higher_is_better=False, unit=unit)]


def curve_list(summary: Summary, measures: Sequence[Shown]) -> list[RateCurve]:
    """Every measure over rate, a curve for each series."""
    found = []
    for one in measures:
        for numbers in summary.series().values():
            points = [CurvePoint(summary.points[i].quality, float(one.rates.values[i]), one.values.estimate(i))
                      for i in numbers]  # fmt: skip
            series = series_of(summary.points[numbers[0]])
            found.append(
                RateCurve(series, one.against, one.measure, points, one.pristine, one.higher_is_better, one.unit)
            )
    return found


def class_damage(summary: Summary, near: Comparable) -> list[Losses]:
    """IoU lost by class, a column an encoder."""
    if not summary.has_confusions:
        return []
    chosen, found = near.points, []
    for against in AGAINST:
        if not chosen or not summary.has(against):
            continue
        part = summary.over(against)
        counts = part.confusions(against, chosen).astype(np.int64)
        if against == "labels":
            pristine = _pristine_counts(part)
            if pristine is None:
                continue
            counts = np.concatenate([counts, pristine[None]])
        inside = np.diagonal(counts[..., :-1], axis1=2, axis2=3)
        union = counts.sum(axis=3) + counts[..., :-1].sum(axis=2) - inside
        pixels = counts[0].sum(axis=(0, 2))
        names = summary.class_names
        rows = [i for i in range(len(names)) if pixels[i]]
        losses = []
        for i in rows:
            if against == "pseudo":
                lost = part.jackknife.ratio(union[..., i] - inside[..., i], union[..., i], SHARE)
                losses.append([lost.estimate(k) for k in range(len(chosen))])
            else:
                iou = part.jackknife.ratio(inside[..., i], union[..., i])
                losses.append([iou.difference(len(chosen), k) for k in range(len(chosen))])
        found.append(_damage(summary, against, "iou", near, [names[i] for i in rows], losses,
                             [int(pixels[i]) for i in rows]))  # fmt: skip
    return found


def _pristine_counts(summary: Summary) -> NDArray[np.int64] | None:
    if not summary.has_confusions or summary.pristine_measures() is None:
        return None
    parts = [summary.pristine[image]["machine"]["labels"] for image in summary.images]
    return np.stack([dense(part["confusion"], summary.classes) for part in parts])


def _damage(
    summary: Summary, against: str, measure: str, near: Comparable, rows: list[str],
    losses: Sequence[Sequence[Estimate]], pixels: list[int] | None,
) -> Losses:  # fmt: skip
    rates, digits = summary.rate_and_unit[0].values, 2 if near.unit == "bpp" else 0
    columns = [Series(f"{summary.points[i].name}, {rates[i]:.{digits}f} {near.unit}", summary.points[i].encoder)
               for i in near.points]  # fmt: skip
    condition = f"at about {significant(near.rate, 2)} {near.unit}"
    return Losses(against, measure, condition, rows, columns, losses, pixels)


def band_damage(summary: Summary, near: Comparable) -> list[Losses]:
    """The same for what is lost by distance, and of objects by importance, against the pseudo ground truth."""
    chosen, kind = near.points, summary.kind
    if kind is None or not chosen or not summary.has("pseudo"):
        return []
    found: list[tuple[str, str, dict[str, Resampled]]] = []
    if summary.has_confusions and not isinstance(bands := summary.by_band("pseudo"), str):
        found.append(("accuracy", "distance", dict(zip(band_names(), bands, strict=True))))
    for by in kind.ranges:
        if ranged := _ranged(summary, by):
            found.append((kind.main, by, ranged))
    return [
        replace(_damage(summary, "pseudo", measure, near, list(bands),
                        [[band.estimate(i).scaled(-1, 1) for i in chosen] for band in bands.values()], None), by=by)
        for measure, by, bands in found
    ]  # fmt: skip


def _ranged(summary: Summary, by: str) -> dict[str, Resampled]:
    """The main measure of each range, by the range in words; empty where no picture has what they need."""
    found, kind = summary.by_range("pseudo", by), summary.kind
    if not found or kind is None:
        return {}
    words = band_names() if by == "distance" else kind.ranges[by]
    return {said: found[f"{kind.main}_{name}"] for said, name in zip(words, kind.ranges[by], strict=True)}


def band_names() -> list[str]:
    """How confusion.BANDS_M are called."""
    return [f"{a:g} to {b:g} m" if math.isfinite(b) else f"beyond {a:g} m" for a, b in confusion.BANDS_M]


def comparisons(summary: Summary) -> list[MapComparison]:
    """What an importance map changed at equal rate, for each mapped point that has a uniform one beside it, on the
    images whose files are equally large. Points without such an image are left out, unless there are no others."""
    pairs = summary.matched()
    if not pairs or not summary.has("pseudo") or summary.kind is None or summary.kind.lower_is_better:
        return []
    found = [(_comparison(summary, mapped, plain), bool(summary.at_equal_rate(mapped, plain)))
             for mapped, plain in pairs]  # fmt: skip
    return [one for one, is_known in found if is_known] or [one for one, _ in found]


def _comparison(summary: Summary, mapped: int, plain: int) -> MapComparison:
    point, uniform = summary.points[mapped], summary.points[plain]
    method = next(iter(point.scores.values())).get("map_method") or ""
    images = summary.at_equal_rate(mapped, plain)
    if not images:
        none = Estimate(n=0, reason=_not_equal(summary, mapped, plain))
        effects, size, rate_bpp = [MapEffect(name, none, none, none) for name in _main(summary)], none, None
    else:
        pair = summary.part([plain, mapped], images)
        effects, size = _effects(pair), pair.rate.relative(1, 0)
        rate_bpp = float(pair.rate.values[0])
    return MapComparison(series_of(uniform), point.quality, method, rate_bpp, size, effects, point.options)


def _main(summary: Summary) -> dict[str, str]:
    """The measures that have curves, by what comparisons call them."""
    if (kind := summary.kind) is None:
        return {}
    words = kind.measures | ({"accuracy": "Accuracy"} if kind.has_confusions else {})
    return {words[name]: name for name in kind.curves or kind.measures}


def _effects(pair: Summary) -> list[MapEffect]:
    """Of a summary of two points, uniform and mapped."""
    measures, kind = pair.measures("pseudo"), pair.kind
    named: dict[str, Resampled] = {words: measures[name] for words, name in _main(pair).items()}
    if kind is not None:
        main = kind.measures[kind.main]
        named |= {f"{main}, {words}": one for by in kind.ranges for words, one in _ranged(pair, by).items()}
    if not isinstance(weighted := pair.weighted("pseudo"), str):
        named["Accuracy by importance"] = weighted
    if not isinstance(bands := pair.by_band("pseudo"), str):
        named |= {f"Accuracy, {name}": band for name, band in zip(band_names(), bands, strict=True)}
    if pair.has("labels"):
        words, name = list(_main(pair).items())[1 if pair.has_confusions else 0]
        named[f"{words} against labels"] = pair.measures("labels")[name]
    return [MapEffect(name, values.estimate(0), values.estimate(1), values.difference(1, 0))
            for name, values in named.items()]  # fmt: skip


def _not_equal(summary: Summary, mapped: int, plain: int) -> str:
    """How many pictures a comparison at equal rate leaves out, and why."""
    n = len(summary.images)
    left_out = n - len(summary.at_equal_rate(mapped, plain))
    why = f"{left_out} of {n} pictures are left out: their files are more than {TOLERANCE:.0%} apart in size"
    return why if left_out < n else f"not comparable: {why}"


_TRUTHS = {"labels": "against labels", "distance": "losses by distance", "importance": "accuracy by importance"}


def truths(summary: Summary) -> list[tuple[str, str]]:
    """What is not reported since pictures lack the truth for it, and why, for a report's list of what is missing."""
    if summary.kind is not None and summary.kind.needs_objects:
        main = summary.kind.measures[summary.kind.main]
        known = {"labels": "against labels"} | {by: f"{main} by {by}" for by in summary.kind.ranges}
        return [(name, why) for what, name in known.items() if (why := summary.lacking(what))]
    if not summary.has_confusions:
        return []
    return [(name, why) for what, name in _TRUTHS.items() if (why := summary.lacking(what))]


def unequal(summary: Summary) -> list[tuple[str, str]]:
    """What comparisons at equal rate leave out, and why, for a report's list of what is missing."""
    return [(f"{summary.points[mapped].name}, at equal rate", _not_equal(summary, mapped, plain))
            for mapped, plain in summary.matched()
            if len(summary.at_equal_rate(mapped, plain)) < len(summary.images)]  # fmt: skip


def missed_rates(summary: Summary) -> list[tuple[str, str]]:
    """How many pictures missed the rate that was searched for them, by point. They count with the rate they have."""
    missed = []
    for point in summary.points:
        if point.target_bpp is None:
            continue
        errors = [score["size_error"] for score in (point.scores[image] for image in summary.images)
                  if score.get("is_equal") is False]  # fmt: skip
        if errors:
            why = f"{len(errors)} of {len(summary.images)} pictures are more than {TOLERANCE:.0%} off that rate"
            missed.append((point.name, f"{why}, at most {max(errors, key=abs):+.1%}; they count at the rate they have"))
    return missed


def bd_rows(
    summary: Summary, measures: Sequence[Shown], efforts: Mapping[str, Effort], wanted: str | None = None,
    of_sequences: Sequence[Sequence[Shown]] = (),
) -> list[BdRow]:  # fmt: skip
    """Every series against one anchor: that of the name (or the encoder) `wanted`, else the one with most points.
    `efforts` are by the names of series; `of_sequences` are the measures of each sequence by itself."""
    series = {name: numbers for name, numbers in summary.series().items() if len(numbers) >= _FEWEST_BD}
    if len(series) < 2:
        return []
    named = [name for name in series if wanted in (name, summary.points[series[name][0]].encoder)]
    anchor = next(iter(sorted(named, key=lambda name: name != wanted)), max(series, key=lambda name: len(series[name])))
    names = [point.name for point in summary.points]
    rows = []
    pairs = [one for one in product(enumerate(measures), bdrate.METHODS, series.items()) if one[2][0] != anchor]
    for (place, one), method, (name, numbers) in counted(pairs, len(pairs), "BD-rate", lambda one: one[2][0]):

        def pair(shown: Shown, numbers: Sequence[int] = numbers) -> tuple[bdrate.Curve, bdrate.Curve]:
            first, second = (curves.curve(shown.rates, shown.values, points, names)
                             for points in (series[anchor], numbers))  # fmt: skip
            return first, second

        first, second = pair(one)
        rate = bdrate.bd_rate(first, second, method, one.higher_is_better)
        value = bdrate.bd_accuracy(first, second, method, one.higher_is_better)
        alone = [bdrate.bd_rate(*pair(shown[place]), method, one.higher_is_better).estimate for shown in of_sequences]
        rows.append(BdRow(
            series_of(summary.points[series[anchor][0]]), series_of(summary.points[numbers[0]]), one.against,
            one.measure, method, rate.estimate, value.estimate, _overlap(rate, value), efforts.get(anchor),
            efforts.get(name), _mean(alone) if of_sequences else None,
        ))  # fmt: skip
    return rows


def bd_row(summary: Summary, one: Shown, anchor: Sequence[int], test: Sequence[int]) -> BdRow:
    """Of two series, each by the numbers of its points."""
    names = [point.name for point in summary.points]
    first, second = (curves.curve(one.rates, one.values, numbers, names) for numbers in (anchor, test))
    method, higher = bdrate.METHODS[0], one.higher_is_better
    rate, value = bdrate.bd_rate(first, second, method, higher), bdrate.bd_accuracy(first, second, method, higher)
    return BdRow(series_of(summary.points[anchor[0]]), series_of(summary.points[test[0]]), one.against, one.measure,
                 method, rate.estimate, value.estimate, _overlap(rate, value))  # fmt: skip


def _mean(of_sequences: Sequence[Estimate]) -> Estimate:
    """The mean of the BD-rates of sequences, as common test conditions have it; sequences are what is left out."""
    values = np.array([one.value for one in of_sequences if one.value is not None])
    if len(values) < len(of_sequences):
        why = next(one.reason for one in of_sequences if one.value is None)
        return Estimate(n=len(of_sequences), reason=f"{len(of_sequences) - len(values)} sequences have none: {why}")
    mean = Estimate(float(values.mean()), n=len(values))
    if reason := too_few(len(values), "sequence"):
        return replace(mean, reason=reason)
    return interval(mean, (values.sum() - values) / (len(values) - 1))


def _overlap(rate: bdrate.Delta, value: bdrate.Delta) -> str:
    texts = [f"{found.overlap:.0%} of the {what}" for found, what in ((rate, "values"), (value, "rates"))
             if found.overlap is not None]  # fmt: skip
    return ", ".join(texts)
