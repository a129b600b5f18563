"""Coding points: configurations as curves and tables have them, and how they are called there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from vcmbench.encoder.plugins import loses_nothing
from vcmbench.measure.records import Score

_STRUCTURES = {
    "structure=intra": "intra", "structure=lowdelay": "low delay", "structure=randomaccess": "random access",
}  # fmt: skip


@dataclass(frozen=True)
class CodingPoint:
    """One coding configuration. `series` names all of it but the quality, or the rate that was searched instead."""

    configuration: str
    encoder: str
    label: str
    quality: int | None
    color_subsampling: str
    subsampling_factor: float
    options: str
    is_mapped: bool
    matches_rate: bool
    map_name: str
    target_bpp: float | None
    target_name: str
    """What sets points of searched rates apart from the curve over qualities, where the experiment has both."""
    scores: dict[str, Score] = field(repr=False)
    shared: frozenset[str] = frozenset()
    """Options that set none apart: the intra period, where all sequences that are not all-intra have the same, and the
    importance of maps, where all maps have the same."""

    @property
    def series(self) -> str:
        words = [self.label]
        if self.color_subsampling != "420":
            words.append(self.color_subsampling)
        if self.subsampling_factor != 1:
            words.append(f"x{self.subsampling_factor:g}")
        return " ".join(words + ([self.settings] if self.settings else []))

    @property
    def settings(self) -> str:
        """The options in words: a map is called a map, its settings stand where all configurations do."""
        words = [word for word in self.options.split() if word != "match=rate" and not word.startswith("target_bpp=")]
        words = [self.map_name if word.startswith("qp_map=") else _STRUCTURES.get(word, word) for word in words
                 if word not in self.shared]  # fmt: skip
        return " ".join(words + ([self.target_name] if self.target_name else []))

    @property
    def is_reference(self) -> bool:
        return loses_nothing(self.encoder, self.color_subsampling, self.subsampling_factor)

    @property
    def name(self) -> str:
        if self.target_bpp is not None:
            return f"{self.series} {self.target_bpp:g} bpp"
        return self.series if self.quality is None else f"{self.series} {self.quality}"


def points_of(scores: Iterable[Score]) -> list[CodingPoint]:
    """The points that records are of, in the order in which they first occur."""
    found: dict[str, CodingPoint] = {}
    for score in scores:
        name = score["configuration"]
        if name not in found:
            found[name] = CodingPoint(
                name, score["encoder"], score["label"], score["quality"], score["color_subsampling"],
                float(score["subsampling_factor"]), score["options"], score["qp_map"] is not None,
                bool(score["match_rate"]), _map_name(score["options"]), score["target_bpp"], "", {},
            )  # fmt: skip
        found[name].scores[score["source"]] = score
    points = list(found.values())
    if len({point.map_name for point in points if point.is_mapped}) <= 1:  # nothing to set apart
        points = [replace(point, map_name="with map") for point in points]
    inter = [point for point in points if {"structure=lowdelay", "structure=randomaccess"} & set(point.options.split())]
    shared = _common(inter, "intra_period=") | _common([point for point in points if point.is_mapped], "importance=")
    points = [replace(point, shared=shared) for point in points]
    over_qualities = {point.series for point in points if point.target_bpp is None}
    return [
        replace(point, target_name="at set rates")
        if point.target_bpp is not None and point.series in over_qualities
        else point
        for point in points
    ]


def _common(points: Sequence[CodingPoint], beginning: str) -> frozenset[str]:
    """The option that begins so, where all of the points have the same, or have none."""
    found = {next((word for word in point.options.split() if word.startswith(beginning)), "") for point in points}
    return frozenset(found) if len(found) == 1 else frozenset()


def _map_name(options: str) -> str:
    """The settings of a map, as folders are named after them."""
    return " ".join(word.removeprefix("qp_map=") for word in options.split() if word.startswith("qp_map="))
