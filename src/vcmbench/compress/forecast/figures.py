"""What one job's tools take: bits, seconds and memory, from built-in figures that records correct.

The built-in figures (`encoder.Typical`, measured by `benchmarks/figures.py`) say how a job's cost follows quality, size
and preset. A record says how much this data and this machine differ from that: a ratio at its quality. Ratios are
interpolated between the qualities that are known and kept beyond them. Where nothing is known of an encoder its time
is corrected by the machine's pace with the others.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from vcmbench.compress.job import Geometry
from vcmbench.data.colour import CHROMA_FORMATS
from vcmbench.data.frames import scaled_side
from vcmbench.data.record import Record
from vcmbench.encoder import plugins
from vcmbench.encoder.base import Anchors, Clip, Encoder, Typical
from vcmbench.encoder.configuration import CodingConfiguration, from_record
from vcmbench.errors import RequestError

USUAL_MPX = 2.097152
"""Of the pictures that built-in figures are of, 2048x1024."""
DETAIL_SECONDS = 0.3
SEARCH_ENCODES = 4.0
"""Encodes of a search for a rate, where no record tells."""

Source = Literal["records", "pace", "built-in"]


@dataclass(frozen=True)
class Cost:
    """Of a job's tools: bits of what it leaves, seconds of all its encodes and decodes, and of one decode alone."""

    bits: float
    seconds: float
    decode_s: float


@dataclass
class _Sums:
    """What records of one quality say, against what the built-in figures would have."""

    bits: float = 0.0
    seconds: float = 0.0
    decode_s: float = 0.0
    builtin_bits: float = 0.0
    builtin_s: float = 0.0
    builtin_decode_s: float = 0.0

    def add(self, other: _Sums) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class _Ratios:
    """Measured over built-in."""

    bits: float = 1.0
    seconds: float = 1.0
    decode_s: float = 1.0


_Variant = tuple[str, str | None, str | None, str, str]
_ByQuality = dict[int, _Sums]


@dataclass
class _Known:
    """The records of a variant: by quality, and by quality for each downscaling factor."""

    every: _ByQuality = field(default_factory=lambda: defaultdict(_Sums))
    of_factor: dict[float, _ByQuality] = field(default_factory=lambda: defaultdict(lambda: defaultdict(_Sums)))


def at(anchors: Anchors | list[tuple[int, float]], quality: int) -> float:
    """A figure at a quality: log-linear between the anchors, and beyond them as steep as at the end."""
    if len(anchors) == 1:
        return anchors[0][1]
    index = next((i for i in range(1, len(anchors)) if quality <= anchors[i][0]), len(anchors) - 1)
    (q0, y0), (q1, y1) = anchors[index - 1], anchors[index]
    return math.exp(math.log(y0) + (math.log(y1) - math.log(y0)) / (q1 - q0) * (quality - q0))


def _clamped(points: list[tuple[int, float]], quality: int) -> float:
    """The same, but beyond the ends as at the end: ratios of one end say nothing about what lies beyond."""
    return at(points, min(max(quality, points[0][0]), points[-1][0]))


def quality_of(typical: Typical, coding: CodingConfiguration, shrinking: float) -> int:
    """The quality of a configuration, or the one at which the built-in figures reach its target; `shrinking` are pixels
    of the original over coded ones."""
    if coding.quality is not None or coding.target_bpp is None:
        return coding.quality or 0
    wanted = coding.target_bpp * shrinking
    low, high = typical.bpp[0][0], typical.bpp[-1][0]
    return min(range(low, high + 1), key=lambda quality: abs(math.log(at(typical.bpp, quality) / wanted)))


def memory_mb(encoder: Encoder, clip: Clip) -> float:
    """Peak resident memory of the larger of a job's tools, in MB."""
    base, per_mpx, more_in_stacks = encoder.typical.memory_mb
    return base + (per_mpx + (more_in_stacks if clip.frames > 1 else 0.0)) * clip.width * clip.height / 1e6


def _detail_bits(bpp: float) -> float:
    """A smaller picture has more detail in a pixel: bits per pixel grow by this power of the ratio of the sides.

    0.2 at 2 bpp, 0.65 at 0.05 bpp: x265, SVT-AV1 and JPEG on street scenes of 2048x1024, downscaled by 2 and 4 or
    drawn as small.
    """
    return min(max(0.33 - 0.085 * math.log2(bpp), 0.0), 0.7)


def builtin(encoder: Encoder, coding: CodingConfiguration, quality: int, clip: Clip) -> Cost:
    """One encode and one decode by the built-in figures alone."""
    typical = encoder.typical
    seconds_factor = bits_factor = 1.0
    for name, on_seconds, on_bits in typical.variants:
        if name in (coding.preset, coding.compat, coding.color_subsampling):
            seconds_factor, bits_factor = seconds_factor * on_seconds, bits_factor * on_bits
    mpx = clip.width * clip.height * clip.frames / 1e6
    sides = math.sqrt(USUAL_MPX * 1e6 / (clip.width * clip.height))
    detail, bpp = sides**DETAIL_SECONDS, at(typical.bpp, quality)
    # a pair of processes: the start is half the decoder's
    decode_s = typical.start_s / 2 + mpx * at(typical.decode_s_per_mpx, quality) * detail
    encode_s = typical.start_s / 2 + mpx * at(typical.encode_s_per_mpx, quality) * detail * seconds_factor
    bits = mpx * 1e6 * bpp * bits_factor * sides ** _detail_bits(bpp)
    return Cost(bits, encode_s + decode_s, decode_s)


def rough_seconds(encoder: Encoder, coding: CodingConfiguration, width: int, height: int, frames: int = 1) -> float:
    """A job's tool seconds by built-in figures alone, of pictures of this original size: for an order of work."""
    wide, high = (scaled_side(side, coding.subsampling_factor) for side in (width, height))
    clip = Clip(wide, high, frames, CHROMA_FORMATS[coding.color_subsampling])
    quality = quality_of(encoder.typical, coding, width * height / (clip.width * clip.height))
    return builtin(encoder, coding, quality, clip).seconds * (SEARCH_ENCODES if coding.is_searched else 1)


def _variant(encoder: Encoder, coding: CodingConfiguration) -> _Variant:
    method = encoder.method(coding) if coding.qp_map is not None else ""
    return coding.encoder, coding.preset, coding.compat, coding.color_subsampling, method


class Figures:
    """Built-in figures, corrected by what `add` was told of records."""

    def __init__(self) -> None:
        self._known: dict[_Variant, _Known] = defaultdict(_Known)
        self._of_encoder: dict[str, _Known] = defaultdict(_Known)
        self._all = _Sums()
        self._encodes: dict[str, list[int]] = defaultdict(list)
        self._cost = lru_cache(maxsize=65536)(self._compute)
        self.records = 0

    def add(self, record: Record) -> None:
        """Learn from a record; one that tells nothing of a quality is passed over."""
        try:
            tool, coding = plugins.get(record["encoder"]), from_record(record)
        except (RequestError, TypeError):  # an encoder that is no longer there, a map of another version
            return
        search = record.get("rate_search") or {}
        if isinstance(search.get("encodes"), int):
            self._encodes[coding.encoder].append(search["encodes"])
        quality = record["quality"] if record["target_bpp"] is None else record.get("found_quality")
        if quality is None and tool.quality is not None:  # a map with a target has none of its own
            return
        clip = Clip(
            record["coded_width_px"],
            record["coded_height_px"],
            record["frames"],
            CHROMA_FORMATS[coding.color_subsampling],
        )
        usual = builtin(tool, coding, quality or 0, clip)
        sums = _Sums(
            record["size_bytes"] * 8, record["encode_s"] + record["decode_s"], record["decode_s"],
            usual.bits, usual.seconds, usual.decode_s,
        )  # fmt: skip
        self._all.add(sums)
        for known in (self._known[_variant(tool, coding)], self._of_encoder[coding.encoder]):
            known.every[quality or 0].add(sums)
            known.of_factor[coding.subsampling_factor][quality or 0].add(sums)
        self.records += 1
        self._cost.cache_clear()

    @property
    def pace(self) -> float:
        """How many times the built-in seconds this machine takes, by all records; 1 without any."""
        return self._all.seconds / self._all.builtin_s if self._all.seconds and self._all.builtin_s else 1.0

    def source(self, name: str) -> Source:
        """Where an encoder's figures come from: its records, the machine's pace with others, or built-in alone."""
        if name in self._of_encoder:
            return "records"
        return "pace" if self.records else "built-in"

    def encodes(self, name: str) -> float:
        """How many encodes a search for a rate takes with an encoder."""
        found = self._encodes.get(name)
        return sum(found) / len(found) if found else SEARCH_ENCODES

    def job(self, encoder: Encoder, coding: CodingConfiguration, geometry: Geometry) -> Cost:
        """What a job will take. All jobs of one configuration and size cost the same."""
        return self._cost(encoder, coding, geometry)

    def _compute(self, encoder: Encoder, coding: CodingConfiguration, geometry: Geometry) -> Cost:
        clip = geometry.clip
        quality = quality_of(encoder.typical, coding, geometry.width * geometry.height / (clip.width * clip.height))
        usual, ratios = builtin(encoder, coding, quality, clip), self._ratios(encoder, coding, quality)
        decode_s = usual.decode_s * ratios.decode_s
        encode_s = max(usual.seconds * ratios.seconds - decode_s, 0.0)
        # with a map the uniform encode comes on top, to prove the map's effect or for its rate
        uniform = 1 if coding.qp_map is not None else 0
        encodes = self.encodes(coding.encoder) if coding.is_searched else 1
        bits = usual.bits * ratios.bits
        if coding.target_bpp is not None:
            bits = coding.target_bpp * geometry.width * geometry.height * clip.frames
        return Cost(bits, encode_s * (encodes + uniform) + decode_s * (1 + uniform), decode_s)

    def _ratios(self, encoder: Encoder, coding: CodingConfiguration, quality: int) -> _Ratios:
        known = self._known.get(_variant(encoder, coding)) or self._of_encoder.get(coding.encoder)
        if known is None:
            return _Ratios(1.0, self.pace, self.pace)
        points = known.of_factor.get(coding.subsampling_factor) or known.every

        def ratio(name: Literal["bits", "seconds", "decode_s"]) -> float:
            of = "builtin_bits" if name == "bits" else "builtin_s" if name == "seconds" else "builtin_decode_s"
            found = [(quality, getattr(sums, name) / getattr(sums, of)) for quality, sums in sorted(points.items())
                     if getattr(sums, name) > 0 and getattr(sums, of) > 0]  # fmt: skip
            return _clamped(found, quality) if found else 1.0

        return _Ratios(ratio("bits"), ratio("seconds"), ratio("decode_s"))
