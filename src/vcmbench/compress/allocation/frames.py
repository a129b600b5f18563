"""A quality a picture, by its mean importance: single pictures, and the pictures of a stack (the seed's zones)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress import evidence, importance_steps, luma_errors, rate_search
from vcmbench.compress.allocation.common import (
    Attempt,
    Coded,
    Uniform,
    at_quality,
    search_record,
    start_quality,
    target_bytes,
    uniform_of,
)
from vcmbench.compress.coder import Coder
from vcmbench.compress.rate_search import FoundRate
from vcmbench.encoder import quantisers
from vcmbench.encoder.base import Encoder
from vcmbench.encoder.quantisers import Quantisers
from vcmbench.errors import JobError


def code_frames(coder: Coder, pictures: list[NDArray[np.float32]]) -> Coded:
    """A job with a quality a picture: the seed's zones."""
    encoder, coding = coder.job.encoder, coder.job.coding
    quality = start_quality(coder)
    means = [round(float(values.mean(dtype=np.float64)), 6) for values in pictures]
    if len(pictures) == 1:
        steps = importance_steps.frame_steps(pictures, coding)
        plain = at_quality(coding, _nearest(encoder, quality, steps[0], coding.qp_map.delta if coding.qp_map else 0))
        encoded = coder.encode(plain)
        coded_qp = encoder.coded_qp(encoded.done.log)
        uniform_map = {
            "method": "frame",
            "steps": round(steps[0], 4),
            "quality": plain.quality,
            "mean_importance": means[0],
        }
        if coded_qp is not None and coding.compat is None and abs(coded_qp - (plain.quality or 0)) > 0.5:
            raise JobError(f"the quality took no effect: asked QP {plain.quality}, {encoder.name} coded {coded_qp:g}")
        proof = {"kind": "the quality that the tool was told", "requested_quality": plain.quality, "coded_qp": coded_qp}
        return Coded(plain, encoded, coder.decode(plain), coded_qp, {"map": uniform_map, "evidence": proof})
    return _stack(coder, quality, importance_steps.frame_steps(pictures, coding, quality), means)


def _nearest(encoder: Encoder, quality: int, steps: float, delta: float) -> int:
    """The whole quality nearest to `steps` coarser than `quality`, of those within delta."""
    low, high = sorted(encoder.quality_at(quality, end) for end in (-delta, delta))
    return min(max(round(encoder.quality_at(quality, steps)), math.ceil(low - 1e-9)), math.floor(high + 1e-9))


def _stack(coder: Coder, quality: int, steps: list[float], means: list[float]) -> Coded:
    encoder, coding = coder.job.encoder, coder.job.coding
    plain = at_quality(coding, quality)
    uniform = uniform_of(coder, quality)
    attempts: dict[float, Attempt] = {}

    def size_of(shift: float) -> int:
        whole = quantisers.whole_steps(np.array([steps]), shift)[0]
        qualities = np.clip(quality + whole, encoder.scale.minimum, encoder.scale.maximum)
        sent = Quantisers(quality, frames=tuple(int(one) for one in qualities))
        encoded = coder.encode(plain, sent)
        attempts[shift] = Attempt(encoded, coder.bitstream.read_bytes(), sent, plain, frame_log=coder.frame_log())
        return encoded.size_bytes

    found = _match_stack(coder, size_of, uniform, steps)
    shift = found.shift if found else 0.0
    if found is None:
        size_of(shift)
    best = attempts[shift]
    coder.restore(best.data, best.frame_log)
    decoded = coder.decode(plain)
    mse = np.array([float(luma_errors.squared_errors(*pair).mean()) for pair in coder.lumas()])
    uniform_mse = np.array([float(one.mean()) for one in uniform.squared])
    coded_steps = np.array(best.quantisers.frames) - quality
    mean = encoder.coded_qp(best.encoded.done.log)
    proof = evidence.of_pictures(coded_steps.astype(np.float64), mse, uniform_mse) | {
        "requested_mean_qp": round(quality + float(np.mean(steps)) + shift, 4),
        "sent_mean_qp": round(float(np.mean(best.quantisers.frames)), 4),
        "coded_mean_qp": mean,
    }
    fields: dict[str, Any] = {
        "map": {
            "method": "zones", "quality": quality, "shift_steps": round(shift, 4),
            "qualities": list(best.quantisers.frames), "mean_importance": means,
        },
        "uniform": {"quality": quality, "size_bytes": uniform.size_bytes, "coded_qp": uniform.coded_qp},
        "evidence": proof,
    }  # fmt: skip
    if found is not None:
        fields["rate_search"] = search_record(found)
    return Coded(plain, best.encoded, decoded, mean, fields)


def _match_stack(
    coder: Coder, size_of: Callable[[float], int], uniform: Uniform, steps: list[float]
) -> FoundRate | None:
    coding = coder.job.coding
    if coding.target_bpp is None and not coding.match_rate:
        return None
    target = uniform.size_bytes if coding.match_rate else target_bytes(coder)
    low, high = coder.job.encoder.shift_range(uniform.coding.quality or 0)
    # one picture more or less is all that can be changed
    resolution = 1 / min(8, len(steps))
    bounds = (low - max(steps), high - min(steps))
    return rate_search.find(size_of, target, -float(np.mean(steps)), bounds, resolution=resolution)
