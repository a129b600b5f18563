"""What sequences show beyond pictures: what prediction over time saves, and the flicker that coding adds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vcmbench.analysis.summary import Summary
from vcmbench.report.content import BdRow, RateCurve, ReportContent
from vcmbench.report.fill import Shown, bd_row
from vcmbench.report.text import figure, measure_words, of_n, rate

_OF_STRUCTURE = ("structure=", "intra_period=", "gop=", "layer_offsets=")


def against_intra(summary: Summary, measures: Sequence[Shown]) -> list[BdRow]:
    """Every series that predicts over time against the same coding of intra pictures, at equal luma PSNR and by the
    machine's first measure; none where the experiment does not code both."""
    codings: dict[tuple[object, ...], list[list[int]]] = {}
    for numbers in summary.series().values():
        point = summary.points[numbers[0]]
        others = [word for word in point.options.split() if not word.startswith(_OF_STRUCTURE)]
        key = (point.encoder, point.color_subsampling, point.subsampling_factor, point.target_name, *others)
        codings.setdefault(key, []).append(numbers)
    pairs = [(intra, other) for found in codings.values() for intra in found if _is(summary, intra, "intra")
             for other in found if _is(summary, other, "lowdelay", "randomaccess")]  # fmt: skip
    shown = [_luma(summary), *(measures[:1] if summary.kind is not None else ())] if pairs else []
    return [bd_row(summary, one, intra, other) for one in shown for intra, other in pairs]


def _is(summary: Summary, numbers: Sequence[int], *kinds: str) -> bool:
    words = summary.points[numbers[0]].options.split()
    return any(f"structure={kind}" in words for kind in kinds)


def _luma(summary: Summary) -> Shown:
    values = np.array([[point.scores[image]["psnr_y_db"] for image in summary.images] for point in summary.points],
                      float)  # fmt: skip
    rates, unit = summary.rate_and_unit
    return Shown("pristine", "psnr_y", summary.jackknife.ratio(values, np.ones(values.shape)), rates, unit=unit)


def sentences(content: ReportContent) -> list[str]:
    """One on prediction over time, one on flicker; of pictures none."""
    return _predicted(content.against_intra) + _flicker([one for one in content.curves if one.measure == "instability"])


def _predicted(rows: Sequence[BdRow]) -> list[str]:
    groups: dict[str, list[BdRow]] = {}
    for row in rows:
        if row.bd_rate_percent.value is not None:
            groups.setdefault(row.measure, []).append(row)
    parts = []
    for measure, found in groups.items():
        values = [f"{row.test.label} {figure(row.bd_rate_percent, 1, signed=True)}" for row in found]
        parts.append(
            f"at equal {measure_words(measure)}{of_n(row.bd_rate_percent for row in found)}: {', '.join(values)}"
        )
    head = "Predicted over time, the rate differs from that of intra pictures of the same codec, as BD-rate in %"
    return [f"{head}, {'; '.join(parts)}."] if parts else []


def _flicker(found: Sequence[RateCurve]) -> list[str]:
    parts, ends = [], []
    for curve in found:
        if len(curve.shown) > 1:
            found_at = sorted(curve.shown, key=lambda one: one[1].value or 0.0)
            least, most = ((value.scaled(100), at) for at, value, _ in (found_at[0], found_at[-1]))
            ends += [least[0], most[0]]
            words = (f"{figure(value, 2, signed=True)} (at {rate(at)} {curve.unit})" for value, at in (least, most))
            parts.append(f"{curve.series.label} {' to '.join(words)}")
    if not parts:
        return []
    return [
        "Flicker that coding adds, as % of the pixels that change class from frame to frame less those of the pristine "
        f"frames, the least to the most of all rates{of_n(ends)}: {', '.join(parts)}."
    ]
