"""What maps save of each codec's bits: every mapped coding against the same codec without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vcmbench.analysis.points import CodingPoint
from vcmbench.analysis.summary import Summary
from vcmbench.report.content import BdRow
from vcmbench.report.fill import Shown, bd_row
from vcmbench.report.text import listed


def headroom(summary: Summary, measures: Sequence[Shown]) -> list[BdRow]:
    """BD-rates, codec by codec: of the uniform codings of like chroma and size, the one with the fewest options is the
    anchor. Against the codec itself they say what a map is worth, where those of `fill.bd_rows` compare codecs, too."""
    plain: dict[tuple[object, ...], list[int]] = {}
    mapped: list[tuple[tuple[object, ...], list[int]]] = []
    for numbers in summary.series().values():
        point = summary.points[numbers[0]]
        key = (point.encoder, point.color_subsampling, point.subsampling_factor, point.target_name)
        if point.is_mapped:
            mapped.append((key, numbers))
        elif key not in plain or _options(point) < _options(summary.points[plain[key][0]]):
            plain[key] = numbers
    pairs = [(plain[key], numbers) for key, numbers in sorted(mapped, key=lambda one: str(one[0])) if key in plain]
    return [bd_row(summary, one, anchor, numbers) for one in measures for anchor, numbers in pairs]


def _options(point: CodingPoint) -> int:
    return len(point.options.split())


def judged(records: Iterable[Mapping[str, Any]], judge: Mapping[str, Any] | None) -> str:
    """Which networks were asked where bits go, by records of codings, and which one judges; empty where none was asked,
    or where this is not known. `judge` is the identity that answers were given under."""
    asked = {str(found.get("weights_sha256")): str(found.get("network")) for record in records
             if (found := (record.get("evidence") or {}).get("asked"))}  # fmt: skip
    if not asked or judge is None:
        return ""
    first = f"Asked where bits go: {listed(sorted(set(asked.values())))}."
    if str(judge.get("weights_sha256")) in asked:
        return f"{first} The same network judges; another one may gain less, or lose."
    return f"{first} {judge.get('network')} judges, which was not asked."
