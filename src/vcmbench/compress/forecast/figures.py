"""What a job takes: rough figures of its encoder, and what the records of this data root make of them.

A record says how many times the rough figure its job took. That ratio holds for jobs of the same configuration, else
for others of the encoder; its time also, as the machine's pace, for encoders without a record.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import astuple, dataclass, replace
from typing import Literal

import numpy as np

from vcmbench.data.record import Record
from vcmbench.encoder import plugins
from vcmbench.encoder.base import Encoder
from vcmbench.encoder.configuration import CodingConfiguration, from_record
from vcmbench.errors import RequestError

_SEARCH_ENCODES = 4
_PASS_S_PER_MPX = 20.0
"""Of a network that is asked after an encode: four gradients and an answer of the embedded one; of others, and other
`points`, records say."""
_UNSCALED_BPP = 12.0
"""Of an encoder without a quality scale."""
_JOB_S, _FRAME_S_PER_MPX = 0.012, 0.01
"""A job beside its tools: two processes, a record; reading, converting and comparing its pictures."""

Source = Literal["records", "rough, this machine's pace", "rough"]


@dataclass(frozen=True)
class Cost:
    """Bits that a job leaves, and seconds of one core that it takes."""

    bits: float
    seconds: float


def rough(encoder: Encoder, coding: CodingConfiguration, mpx: float) -> Cost:
    """A job by its encoder's rough figures alone; `mpx` are megapixels of the original pictures, all together."""
    coded_mpx = mpx * coding.subsampling_factor**2
    usual = bpp = _UNSCALED_BPP
    if encoder.quality is not None:
        rates = encoder.rates
        qualities, logs = [quality for quality, _ in rates], [math.log(rate) for _, rate in rates]
        middle = (encoder.quality.minimum + encoder.quality.maximum) / 2
        usual, bpp = (math.exp(np.interp(at, qualities, logs)) for at in (middle, coding.quality or middle))
    if coding.target_bpp is not None:
        bpp = coding.target_bpp / coding.subsampling_factor**2
    paces = dict(encoder.rough_s_per_mpx)
    pace = paces.get(coding.compat or coding.preset or "", paces[""])
    # eight times the bits take about twice the time; a map's uniform encode comes on top
    seconds = coded_mpx * pace * (bpp / usual) ** (1 / 3) * _encodes(coding, _searches(coding))
    refine = coding.qp_map.refine if coding.qp_map else 0
    return Cost(bpp * coded_mpx * 1e6, seconds + _JOB_S + (_FRAME_S_PER_MPX + refine * _PASS_S_PER_MPX) * mpx)


def _encodes(coding: CodingConfiguration, of_search: int) -> int:
    return (of_search if coding.is_searched else 1) + (coding.qp_map is not None)


def _searches(coding: CodingConfiguration) -> int:
    """Encodes of all searches of a job, one a pass."""
    return _SEARCH_ENCODES * max(1, coding.qp_map.refine if coding.qp_map else 0)


class Figures:
    """Rough figures, corrected by the records that `add` was given."""

    def __init__(self) -> None:
        self._sums: defaultdict[Hashable, list[float]] = defaultdict(lambda: [0.0] * 4)
        self.records = 0

    def add(self, record: Record) -> None:
        """Learn from a record; that of an encoder or a map that is not known here is passed over."""
        try:
            encoder, coding = plugins.get(record["encoder"]), from_record(record)
        except (RequestError, TypeError):
            return
        mpx = record["width_px"] * record["height_px"] * record["frames"] / 1e6
        searched = (record.get("rate_search") or {}).get("encodes")
        encodes = _encodes(coding, searched if isinstance(searched, int) else _searches(coding))
        passes = (record.get("evidence") or {}).get("passes") or []
        asked_s = sum(float(one["network_s"]) for one in passes)
        seconds = record["encode_s"] * encodes + record["decode_s"] + asked_s + _JOB_S + _FRAME_S_PER_MPX * mpx
        values = (record["size_bytes"] * 8.0, seconds, *astuple(rough(encoder, coding, mpx)))
        for key in (*self._keys(coding), ""):
            self._sums[key] = [one + other for one, other in zip(self._sums[key], values, strict=True)]
        self.records += 1

    def job(self, encoder: Encoder, coding: CodingConfiguration, mpx: float) -> Cost:
        """What a job will take; see `rough`."""
        usual, keys = rough(encoder, coding, mpx), list(self._keys(coding))
        return Cost(usual.bits * self._ratio(0, keys), usual.seconds * self._ratio(1, [*keys, ""]))

    def source(self, name: str) -> Source:
        """Where an encoder's figures come from."""
        if name in self._sums:
            return "records"
        return "rough, this machine's pace" if self.records else "rough"

    def _keys(self, coding: CodingConfiguration) -> Iterator[Hashable]:
        yield replace(coding, importance=None)  # which a record's configuration does not have
        yield coding.encoder

    def _ratio(self, which: int, keys: list[Hashable]) -> float:
        sums = next((self._sums[key] for key in keys if key in self._sums), None)
        return sums[which] / sums[which + 2] if sums and sums[which] else 1.0
