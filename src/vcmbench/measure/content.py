"""From a summary to what the report shows: curves, damage, comparisons, BD figures. Only figures; pictures are in
`gallery`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vcmbench import bdrate, curves, labels, perception
from vcmbench.curves import Sampled
from vcmbench.measure.machine import dense
from vcmbench.measure.summary import AGAINST, Point, Summary
from vcmbench.report.content import BdRow, Curve, Damage, Estimate, MapComparison, MapEffect, Series
from vcmbench.report.content import Point as CurvePoint

MEASURES = {"accuracy": "accuracy", "miou": "miou"}
_FEWEST_BD = 4


def series_of(point: Point) -> Series:
    return Series(point.series, point.encoder)


def estimate(found: curves.Estimate, n: int) -> Estimate:
    return Estimate(found.value, found.low, found.high, n, reason=found.reason)


def _measures(summary: Summary) -> Iterator[tuple[str, str, Sampled]]:
    """Against, the report's name of the measure, and the measure."""
    for against in AGAINST:
        if summary.has(against):
            found = summary.measures(against)
            for name, shown in MEASURES.items():
                if name in found:
                    yield against, "top1" if summary.kind() == "classification" else shown, found[name]


def curve_list(summary: Summary) -> list[Curve]:
    """Every measure over rate, a curve for each series."""
    n = len(summary.images)
    pristine = summary.pristine_measures()
    found = []
    for against, measure, values in _measures(summary):
        reference = None
        if against == "labels" and pristine is not None:
            inverse = {shown: name for name, shown in MEASURES.items()}
            reference = estimate(pristine[inverse[measure]].estimate(0), n)
        for numbers in summary.series().values():
            points = [
                CurvePoint(summary.points[i].quality, float(summary.rate.values[i]), estimate(values.estimate(i), n))
                for i in numbers
            ]
            found.append(Curve(series_of(summary.points[numbers[0]]), against, measure, points, reference))
    return found


def monotone(summary: Summary) -> dict[str, dict[str, curves.Monotonicity]]:
    """For each curve and measure against the pseudo ground truth, whether it falls with the rate."""
    if not summary.has("pseudo"):
        return {}
    found = summary.measures("pseudo")
    names = [point.name for point in summary.points]
    return {
        series: {name: curves.monotonicity(summary.rate, values, numbers, names) for name, values in found.items()}
        for series, numbers in summary.series().items()
    }


def chosen_points(summary: Summary) -> tuple[float, list[int]]:
    """A rate in the middle of all, in bpp, and the point of each series that is nearest to it."""
    series = summary.series()
    rates = summary.rate.values
    logs = [math.log(rates[i]) for numbers in series.values() for i in numbers if rates[i] > 0]
    if not logs:
        return 0.0, []
    middle = math.exp(float(np.median(logs)))
    return middle, [min(numbers, key=lambda i: abs(math.log(max(float(rates[i]), 1e-9) / middle)))
                    for numbers in series.values()]  # fmt: skip


def class_damage(summary: Summary) -> list[Damage]:
    """IoU lost by class, at comparable rates."""
    if summary.kind() != "segmentation" or summary.classes != len(labels.CLASSES):
        return []
    rate, chosen = chosen_points(summary)
    found = []
    for against in AGAINST:
        if not chosen or not summary.has(against):
            continue
        counts = summary.confusions(against)[chosen].astype(np.int64)
        if against == "labels":
            pristine = _pristine_counts(summary)
            if pristine is None:
                continue
            counts = np.concatenate([counts, pristine[None]])
        inside = np.diagonal(counts[..., :-1], axis1=2, axis2=3)
        union = counts.sum(axis=3) + counts[..., :-1].sum(axis=2) - inside
        pixels = counts[0].sum(axis=(0, 2))
        rows = [i for i in range(len(labels.CLASSES)) if pixels[i]]
        losses = []
        for i in rows:
            if against == "pseudo":
                lost = summary.draws.ratio(union[..., i] - inside[..., i], union[..., i])
                losses.append([lost.estimate(k) for k in range(len(chosen))])
            else:
                iou = summary.draws.ratio(inside[..., i], union[..., i])
                losses.append([iou.difference(len(chosen), k) for k in range(len(chosen))])
        found.append(_damage(summary, against, "iou", rate, chosen, [labels.CLASSES[i] for i in rows], losses,
                             [int(pixels[i]) for i in rows]))  # fmt: skip
    return found


def _pristine_counts(summary: Summary) -> NDArray[np.int64] | None:
    if summary.pristine_measures() is None:
        return None
    parts = [summary.pristine[image]["machine"]["labels"] for image in summary.images]
    return np.stack([dense(part["confusion"], summary.classes) for part in parts])


def _damage(
    summary: Summary, against: str, measure: str, rate: float, chosen: list[int], rows: list[str],
    losses: Sequence[Sequence[curves.Estimate]], pixels: list[int] | None,
) -> Damage:  # fmt: skip
    n = len(summary.images)
    columns = [Series(summary.points[i].name, summary.points[i].encoder) for i in chosen]
    table = [[estimate(one, n) for one in row] for row in losses]
    return Damage(against, measure, f"at the rate nearest to {rate:.2g} bpp", rows, columns, table, pixels)


def band_damage(summary: Summary) -> list[Damage]:
    """Accuracy lost by distance, against the pseudo ground truth, at comparable rates."""
    if summary.kind() != "segmentation" or not summary.has("pseudo"):
        return []
    rate, chosen = chosen_points(summary)
    bands = summary.by_band("pseudo")
    if isinstance(bands, str) or not chosen:
        return []
    losses = [[_one_minus(band.estimate(i)) for i in chosen] for band in bands]
    return [_damage(summary, "pseudo", "accuracy", rate, chosen, band_names(), losses, None)]


def band_names() -> list[str]:
    """How perception.BANDS_M are called."""
    return [f"{a:g} to {b:g} m" if math.isfinite(b) else f"beyond {a:g} m" for a, b in perception.BANDS_M]


def _one_minus(found: curves.Estimate) -> curves.Estimate:
    if found.value is None:
        return found
    low = None if found.high is None else 1 - found.high
    high = None if found.low is None else 1 - found.low
    return curves.Estimate(1 - found.value, low, high, found.reason)


def comparisons(summary: Summary) -> list[MapComparison]:
    """What an importance map changed at equal rate, for each mapped point that has a uniform one beside it."""
    pairs = summary.matched()
    if not pairs or not summary.has("pseudo") or summary.kind() != "segmentation":
        return []
    n = len(summary.images)
    measures = summary.measures("pseudo")
    named: dict[str, Sampled] = {"Accuracy": measures["accuracy"], "mIoU": measures["miou"]}
    if not isinstance(weighted := summary.weighted("pseudo"), str):
        named["Accuracy by importance"] = weighted
    if not isinstance(bands := summary.by_band("pseudo"), str):
        named |= {f"Accuracy, {name}": band for name, band in zip(band_names(), bands, strict=True)}
    if summary.has("labels"):
        named["mIoU against labels"] = summary.measures("labels")["miou"]
    found = []
    for mapped, plain in pairs:
        point = summary.points[mapped]
        effects = [
            MapEffect(name, estimate(values.estimate(plain), n), estimate(values.estimate(mapped), n),
                      estimate(values.difference(mapped, plain), n))
            for name, values in named.items()
        ]  # fmt: skip
        method = next(iter(point.scores.values())).get("map_method") or ""
        found.append(MapComparison(
            series_of(summary.points[plain]), point.quality, method, float(summary.rate.values[plain]),
            estimate(summary.rate.relative(mapped, plain), n), effects, point.options,
        ))  # fmt: skip
    return found


def bd_rows(summary: Summary) -> list[BdRow]:
    """Every series against one anchor: x265 where it is there, else the one with most points."""
    n = len(summary.images)
    series = {name: numbers for name, numbers in summary.series().items() if len(numbers) >= _FEWEST_BD}
    if len(series) < 2:
        return []
    anchor = next((name for name in series if name == "x265"), max(series, key=lambda name: len(series[name])))
    names = [point.name for point in summary.points]
    rows = []
    for against, measure, values in _measures(summary):
        for method in bdrate.METHODS:
            for name, numbers in series.items():
                if name == anchor:
                    continue
                first = curves.curve(summary.rate, values, series[anchor], names)
                second = curves.curve(summary.rate, values, numbers, names)
                rate, value = bdrate.bd_rate(first, second, method), bdrate.bd_accuracy(first, second, method)
                rows.append(BdRow(
                    series_of(summary.points[series[anchor][0]]), series_of(summary.points[numbers[0]]), against,
                    measure, method, _delta(rate, n), _delta(value, n), _overlap(rate, value),
                ))  # fmt: skip
    return rows


def _delta(found: bdrate.Delta, n: int) -> Estimate:
    return Estimate(found.value, found.low, found.high, n, reason=found.reason)


def _overlap(rate: bdrate.Delta, value: bdrate.Delta) -> str:
    texts = [f"{found.overlap:.0%} of the {what}" for found, what in ((rate, "values"), (value, "rates"))
             if found.overlap is not None]  # fmt: skip
    return ", ".join(texts)
