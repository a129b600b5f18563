"""What maps save of each codec's bits: every mapped coding against the same codec without one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vcmbench.analysis.points import CodingPoint
from vcmbench.analysis.summary import Summary
from vcmbench.report.content import BdRow
from vcmbench.report.fill import Shown, bd_row
from vcmbench.report.text import listed


def headroom(summary: Summary, measures: Sequence[Shown]) -> list[BdRow]:
    """BD-rates, codec by codec: against the uniform coding of like chroma and size with the same other options, that
    the map alone differs; where there is none, against that of the fewest options, and what is saved may be theirs.
    Against the codec itself they say what a map is worth, where those of `fill.bd_rows` compare codecs, too."""
    plain: defaultdict[tuple[object, ...], list[list[int]]] = defaultdict(list)
    mapped: list[tuple[tuple[object, ...], list[int]]] = []
    for numbers in summary.series().values():
        point = summary.points[numbers[0]]
        key = (point.encoder, point.color_subsampling, point.subsampling_factor, point.target_name)
        if point.is_mapped:
            mapped.append((key, numbers))
        else:
            plain[key].append(numbers)

    def anchor(key: tuple[object, ...], numbers: list[int]) -> list[int]:
        own = _options(summary.points[numbers[0]])

        def apart(one: list[int]) -> tuple[bool, int]:
            options = _options(summary.points[one[0]])
            return options != own, len(options)

        return min(plain[key], key=apart)

    pairs = [(anchor(key, numbers), numbers) for key, numbers in sorted(mapped, key=lambda one: str(one[0]))
             if plain[key]]  # fmt: skip
    return [bd_row(summary, one, *pair) for one in measures for pair in pairs]


def _options(point: CodingPoint) -> frozenset[str]:
    """But for those of a map."""
    return frozenset(
        word for word in point.options.split() if not word.startswith(("qp_map=", "match=", "importance="))
    )


def judged(records: Iterable[Mapping[str, Any]], judge: Mapping[str, Any] | None) -> str:
    """Which networks were asked where bits go, by records of codings, and which one judges; empty where none was asked,
    or where this is not known. `judge` is the identity that answers were given under."""
    known = [found for record in records if (found := (record.get("evidence") or {}).get("asked"))]
    asked = {str(one.get("weights_sha256")): _named(one) for one in known}
    if not asked or judge is None:
        return ""
    first = f"Asked where bits go: {listed(sorted(asked.values()))}."
    if (weights := judge.get("weights_sha256")) is None:  # answers from files, of whatever network
        return first
    if str(weights) in asked:
        return f"{first} The same network judges; another one may gain less, or lose."
    return f"{first} {_named(judge)} judges, which was not asked."


def _named(network: Mapping[str, Any]) -> str:
    """By its name, and where that may be another one's, too, by the beginning of its weights' hash."""
    name = str(network.get("network"))
    return name if name.startswith("demo") else f"{name} ({str(network.get('weights_sha256'))[:8]})"
