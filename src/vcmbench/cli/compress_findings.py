"""What `vcmbench compress` found, in a few sentences: bits, decibels and seconds by codec, and gains of maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vcmbench.compress.equal_rate import EqualRateRow
from vcmbench.compress.summary import CompressSummary, Sums
from vcmbench.data.estimate import Estimate
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.plugins import get
from vcmbench.report.text import many, number, rate, significant


@dataclass(frozen=True)
class _Curve:
    """An encoder under one set of options: points of (bpp, PSNR-Y in dB, kbit/s of sequences, else 0), ascending, and
    seconds a megapixel."""

    points: Sequence[tuple[float, float, float]]
    s_per_mpx: float

    def psnr_at(self, bpp: float) -> float:
        """Linear between points over the logarithm of the rate."""
        rates, psnr, _ = zip(*self.points, strict=True)
        return float(np.interp(np.log(bpp), np.log(rates), psnr))


def sentences(summary: CompressSummary, comparisons: Sequence[EqualRateRow]) -> list[str]:
    """At most four, each of what there is."""
    curves = _curves(summary.rows)
    return [*_rates(curves), *_quality(curves), *_seconds(curves), *_maps(comparisons)]


def _curves(rows: Mapping[CodingConfiguration, Sums]) -> dict[str, _Curve]:
    """Of what loses something and takes no map, by name."""
    found: dict[CodingConfiguration, list[Sums]] = {}
    for coding, sums in rows.items():
        if sums.pixels and sums.psnr_pictures and coding.qp_map is None:
            found.setdefault(replace(coding, quality=None, target_bpp=None), []).append(sums)
    return {
        _name(coding): _Curve(
            sorted(
                (sums.bits / sums.pixels, sums.psnr_sum_db / sums.psnr_pictures, sums.kbps or 0.0) for sums in points
            ),
            sum(sums.encode_s for sums in points) / sum(sums.pixels for sums in points) * 1e6,
        )
        for coding, points in found.items()
    }


def _name(coding: CodingConfiguration) -> str:
    tool = get(coding.encoder)
    chroma = "" if coding.color_subsampling == tool.chroma[0] else coding.color_subsampling
    factor = "" if coding.subsampling_factor == 1 else f"x{coding.subsampling_factor:g}"
    return " ".join(filter(None, (tool.label, chroma, factor, *coding.extras)))


def _rates(curves: Mapping[str, _Curve]) -> list[str]:
    ends = [(*point, name) for name, curve in curves.items() for point in (curve.points[0], curve.points[-1])]
    if not ends:
        return []
    low, high = (f"{_in_words(bpp, kbps)}{number(psnr, 1)} dB PSNR-Y, {name})"
                 for bpp, psnr, kbps, name in (min(ends), max(ends)))  # fmt: skip
    return [f"Rates from {low} to {high}." if low != high else f"One rate, {low}."]


def _in_words(bpp: float, kbps: float) -> str:
    return f"{rate(kbps)} kbit/s ({rate(bpp)} bpp, " if kbps else f"{rate(bpp)} bpp ("


def _quality(curves: Mapping[str, _Curve]) -> list[str]:
    """In the middle of the rates that all curves of two points or more have."""
    known = {name: curve for name, curve in curves.items() if len(curve.points) > 1 and curve.points[0][0] > 0}
    low = max((curve.points[0][0] for curve in known.values()), default=0.0)
    high = min((curve.points[-1][0] for curve in known.values()), default=0.0)
    if len(known) < 2 or low > high:
        return []
    middle = float(np.sqrt(low * high))
    best, *_, worst = sorted(((curve.psnr_at(middle), name) for name, curve in known.items()), reverse=True)
    return [f"PSNR-Y at {rate(middle)} bpp: {number(best[0], 1)} dB with {best[1]} to {number(worst[0], 1)} dB "
            f"with {worst[1]}, of {many(len(known), 'curve')}."]  # fmt: skip


def _seconds(curves: Mapping[str, _Curve]) -> list[str]:
    if not curves:
        return []
    order = sorted((curve.s_per_mpx, name) for name, curve in curves.items())
    ends = dict.fromkeys((order[0], order[-1]))
    return [f"Encoding takes {' to '.join(f'{significant(s, 2)} s/Mpx with {name}' for s, name in ends)}."]


def _maps(rows: Sequence[EqualRateRow]) -> list[str]:
    parts = [f"{_range(known)} {where}" for where, found in (
        ("where it matters", [row.inside for row in rows]), ("elsewhere", [row.outside for row in rows])
    ) if (known := [one for one in found if one.value is not None])]  # fmt: skip
    what = many(len(rows), "configuration")
    return [f"PSNR-Y by importance, at equal rate, of {what}: {', '.join(parts)}."] if parts else []


def _range(known: Sequence[Estimate]) -> str:
    """From the least to the most gain."""
    values = [one.value or 0.0 for one in known]
    ends = dict.fromkeys(number(value, 1, signed=True) for value in (min(values), max(values)))
    return f"{' to '.join(ends)} dB"
