"""What all allocations share: encodes that are kept until the best is known, and the uniform one to compare with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress import luma_errors
from vcmbench.compress.coder import Coder, Encoded
from vcmbench.compress.rate_search import FoundRate
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.quantisers import Quantisers
from vcmbench.execution.runner.base import Completed

I32 = NDArray[np.int32]


@dataclass(frozen=True)
class Coded:
    """What a job came to: the configuration that decodes it, both passes, and what else its record says."""

    coding: CodingConfiguration
    encoded: Encoded
    decoded: Completed
    coded_qp: float | None
    fields: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    csv: bytes = b""
    """The QP map that was asked for, as a file to keep; empty where there is none."""


@dataclass(frozen=True)
class Uniform:
    """The same picture coded with one quantiser: its bytes, and the squared luma errors of its frames."""

    coding: CodingConfiguration
    size_bytes: int
    coded_qp: float | None
    squared: tuple[I32, ...]


@dataclass
class Attempt:
    """One encode of a search, kept until it is known to be the best."""

    encoded: Encoded
    data: bytes
    quantisers: Quantisers
    coding: CodingConfiguration
    strength: float = 1.0
    """Of the filter, where there is one."""
    frame_log: str = ""


def at_quality(coding: CodingConfiguration, quality: int) -> CodingConfiguration:
    """The uniform configuration of a quality."""
    return replace(coding, quality=quality, qp_map=None, importance=None, match_rate=False, target_bpp=None)


def start_quality(coder: Coder) -> int:
    """`quality`, or where a target rate decides it, the one at which `Encoder.rates` has it."""
    coding, encoder = coder.job.coding, coder.job.encoder
    if coding.quality is not None or coding.target_bpp is None:
        return coding.quality or 0
    clip = coder.geometry.clip
    bpp = coding.target_bpp * coder.geometry.width * coder.geometry.height / (clip.width * clip.height)
    anchors = sorted((math.log(rate), quality) for quality, rate in encoder.rates)
    rates, qualities = zip(*anchors, strict=True)
    return round(float(np.interp(math.log(bpp), rates, qualities)))


def target_bytes(coder: Coder) -> float:
    pixels = coder.geometry.width * coder.geometry.height * len(coder.job.sources)
    return (coder.job.coding.target_bpp or 0.0) * pixels / 8


def search_record(found: FoundRate) -> dict[str, Any]:
    return {
        "target_bytes": found.target_bytes,
        "size_error": round(found.error, 6),
        "is_equal": found.is_equal,
        "encodes": len(found.tried),
        "tried": [[round(shift, 4), size] for shift, size in found.tried],
    }


def rate_notes(coded: Coded) -> tuple[str, ...]:
    """That a search ended too far from its target, in words; nothing where it did not."""
    search = coded.fields.get("rate_search")
    if search is None or search["is_equal"]:
        return ()
    return (f"rate not met: {search['size_error']:+.1%} of the target after {search['encodes']} encodes",)


def uniform_of(coder: Coder, quality: int) -> Uniform:
    """The uniform encode of a job's pictures, from the cache where another map has asked for it already."""
    job, coding = coder.job, at_quality(coder.job.coding, quality)

    def make() -> Uniform:
        encoded = coder.encode(coding)
        coder.decode(coding)
        squared = tuple(luma_errors.squared_errors(*pair) for pair in coder.lumas())
        return Uniform(coding, encoded.size_bytes, job.encoder.coded_qp(encoded.done.log), squared)

    if len(job.sources) > 1:  # errors of a whole stack are too large to keep
        return make()
    tools = job.tools.encode.digest, job.tools.encode.program, job.tools.decode.digest
    return coder.cache.get(("uniform", job.sources[0].path, job.sha256, coding, coder.geometry, tools), make)
