"""A uniform encode that is to reach a rate."""

from __future__ import annotations

import math
from dataclasses import replace

from vcmbench.compress import rate_search
from vcmbench.compress.allocation.common import Attempt, Coded, at_quality, search_record, start_quality, target_bytes
from vcmbench.compress.coder import Coder
from vcmbench.encoder.quantisers import Quantisers


def uniform_at_rate(coder: Coder) -> Coded:
    """The quality whose file comes nearest to the target: qualities are whole, so it may stay off by more than 1 %."""
    encoder, coding = coder.job.encoder, coder.job.coding
    low, high = encoder.scale.minimum, encoder.scale.maximum
    direction = 1 if encoder.scale.better == "low" else -1
    attempts: dict[float, Attempt] = {}

    def size_of(coarseness: float) -> int:
        plain = at_quality(coding, round(coarseness) * direction)
        encoded = coder.encode(plain)
        attempts[coarseness] = Attempt(
            encoded, coder.bitstream.read_bytes(), Quantisers(0), plain, frame_log=coder.frame_log()
        )
        return encoded.size_bytes

    bounds = (low, high) if direction == 1 else (-high, -low)
    (first, first_bpp), (last, last_bpp) = encoder.rates[0], encoder.rates[-1]
    per_step = -abs(math.log2(last_bpp / first_bpp) / (last - first))
    start = start_quality(coder) * direction
    found = rate_search.find(size_of, target_bytes(coder), start, bounds, per_step=per_step, whole=True)
    best = attempts[found.shift]
    coder.restore(best.data, best.frame_log)
    tried = [(coarseness * direction, size) for coarseness, size in found.tried]
    fields = {"found_quality": best.coding.quality, "rate_search": search_record(replace(found, tried=tried))}
    return Coded(best.coding, best.encoded, coder.decode(best.coding), encoder.coded_qp(best.encoded.done.log), fields)
