"""A QP map on its way to a file of a certain size: put into the tool's terms, moved as a whole, and encoded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress import rate_search
from vcmbench.compress.allocation import filtering
from vcmbench.compress.allocation.common import Attempt, at_quality, start_quality
from vcmbench.compress.coder import Coder
from vcmbench.compress.rate_search import FoundRate
from vcmbench.encoder import quantisers
from vcmbench.encoder.quantisers import Quantisers
from vcmbench.errors import JobError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class MapSearch:
    """Encodes of one picture with one map, `wanted`: (rows, columns) of `block_size` coded pixels, in whole steps from
    the uniform quality. `to_units` makes blocks of the tool's size of it. `of_pixels`, (H, W), is what each coded pixel
    would have for itself: a filter spares those that matter more than their block."""

    def __init__(
        self, coder: Coder, wanted: F64, to_units: Callable[[F64, int, int, int, int], F64],
        of_pixels: F32 | None = None,
    ) -> None:  # fmt: skip
        self.coder, self.wanted, self.of_pixels = coder, wanted, of_pixels
        self.encoder, self.coding, self.clip = coder.job.encoder, coder.job.coding, coder.geometry.clip
        self.map = self.coding.qp_map
        self.method = self.encoder.method(self.coding)
        self.quality = start_quality(coder)
        self.block_px = self.map.block_size if self.map else 1
        self.unit_px = self.encoder.map_unit_px(self.coding, self.clip)
        self.steps = to_units(wanted, self.clip.width, self.clip.height, self.block_px, self.unit_px)
        self.attempts: dict[float, Attempt] = {}
        """By shift; `tuned` ones, at the shift found before, by the filter's strength, dither's phase or excess."""
        self.tuned: dict[float, Attempt] = {}
        self.filter_s = 0.0

    def csv(self, shift: float) -> bytes:
        """The map that was asked for: QPs within the scale, or for other scales steps from the uniform quality."""
        cells = self._qps(round(shift)) if self.encoder.scale.name == "QP" else self.wanted + round(shift)
        rows = cells.astype(np.int64).tolist()
        return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()

    def _qps(self, shift: float) -> NDArray[np.float64]:
        """The QPs that the map asks for, moved by `shift` and within the scale."""
        scale = self.encoder.scale
        return np.clip(self.wanted + self.quality + shift, scale.minimum, scale.maximum)

    def search(self, target_bytes: float) -> FoundRate:
        start = -quantisers.mean_steps(self.steps, self.clip.width, self.clip.height, self.unit_px)
        if self.method == "prefilter":  # a filter saves less than the quantiser that it stands in for
            start = self.map.delta / 2 if self.map else 0.0
        if self.coding.target_bpp is not None:
            start = 0.0
        low, high = self.encoder.shift_range(self.quality)
        # beyond these every block would stand at the end of the scale
        bounds = low - float(self.steps.max()), high - float(self.steps.min())
        if self.method == "prefilter":
            return self._search_filter(target_bytes, start, bounds)
        # what is tuned afterwards gets what is left: much of it with JPEG, whose tables jump
        most = rate_search.MAX_ENCODES if self.method == "native" else rate_search.MAX_ENCODES - 3
        found = rate_search.find(self.encode, target_bytes, start, bounds, max_encodes=most)
        is_out_of_reach = found.shift in bounds
        if found.is_equal or is_out_of_reach:
            return found
        tune = self._search_dither if self.method == "native" else self._search_excess
        return tune(found, target_bytes)

    def _search_excess(self, found: FoundRate, target_bytes: float) -> FoundRate:
        """JPEG's tables of whole numbers jump; from the last that is too fine, all coefficients take what is left."""
        finer = [shift for shift, size in found.tried if size > target_bytes]
        left = rate_search.MAX_ENCODES - len(found.tried)
        if not finer:
            return found
        shift = max(finer)

        def size_of(excess: float) -> int:
            return self.encode(shift, excess=excess)

        guess = 8 * math.log2(dict(found.tried)[shift] / target_bytes)
        tuned = rate_search.find(size_of, target_bytes, guess, (0.0, 3.0), per_step=-1 / 8, max_encodes=left)
        tried = [*found.tried, *((shift + excess, size) for excess, size in tuned.tried)]
        if abs(tuned.error) >= abs(found.error):
            return replace(found, tried=tried)
        best = shift + tuned.shift
        self.attempts[best] = self.tuned[tuned.shift]
        return replace(tuned, shift=best, tried=tried)

    def _search_dither(self, found: FoundRate, target_bytes: float) -> FoundRate:
        """A small picture has few blocks, one may be more than 1 % of its bytes: others are tried instead."""
        tried = list(found.tried)
        best = found
        for phase in range(1, rate_search.MAX_ENCODES - len(found.tried) + 1):
            size = self.encode(found.shift, phase=phase)
            tried.append((found.shift, size))
            if abs(size / target_bytes - 1) < abs(best.error):
                best = replace(best, size_bytes=size)
                self.attempts[found.shift] = self.tuned[float(phase)]
            if best.is_equal:
                break
        return replace(best, tried=tried)

    def _search_filter(self, target_bytes: float, start: float, bounds: tuple[float, float]) -> FoundRate:
        found, strength = filtering.find(self.encode, target_bytes, start, bounds)
        if strength != 1:
            self.attempts[found.shift] = self.tuned[strength]
        return found

    def encode(self, shift: float, strength: float = 1.0, phase: int = 0, excess: float | None = None) -> int:
        """Encode with the whole map moved by `shift` steps; the size in bytes.

        `strength` is that of a filter; `phase` moves the dither; `excess` goes on top of all blocks, not into the base.
        """
        if self.method == "prefilter":
            sent = self._filtered(shift, strength)
            plain = at_quality(self.coding, int(sent.base))
            encoded = self.coder.encode(plain)
        else:
            plain = at_quality(self.coding, self.quality)
            sent = self._dithered(shift, phase)
            if excess is not None:
                sent = replace(sent, offsets=sent.offsets + excess, steps=sent.steps + excess)
            encoded = self.coder.encode(plain, sent)
        attempt = Attempt(encoded, self.coder.bitstream.read_bytes(), sent, plain, strength)
        if excess is not None:
            self.tuned[excess] = attempt
        elif strength == 1 and phase == 0:
            self.attempts[shift] = attempt
        else:
            self.tuned[phase or strength] = attempt
        return encoded.size_bytes

    def _dithered(self, shift: float, phase: int) -> Quantisers:
        """What the tool is given; with a `phase`, the blocks change their places under the dither."""
        move = (3 * phase, 5 * phase)
        there = self.encoder.quantisers(self.quality, np.roll(self.steps, move, (0, 1)), shift, self.unit_px)
        back = (-move[0], -move[1])
        return replace(there, offsets=np.roll(there.offsets, back, (0, 1)), steps=np.roll(there.steps, back, (0, 1)))

    def _filtered(self, shift: float, strength: float) -> Quantisers:
        """Write the low-passed source: the quality of the finest block for all, what is coarser is filtered away."""
        if self.of_pixels is None:
            raise JobError("internal error: a filter without a map of pixels")
        base, base_steps = filtering.base_of(self.encoder, self.quality, float(self.steps.min()) + shift)
        excess = np.maximum(self.steps + shift - base_steps, 0.0)
        of_pixels = self.of_pixels + np.float32(shift - base_steps)
        start = time.perf_counter()
        self.coder.write_filtered([filtering.sigma_px(excess, of_pixels, self.unit_px, strength)])
        self.filter_s = time.perf_counter() - start
        clamped = int(np.sum(self.steps + shift < base_steps - 1e-9))
        return Quantisers(base, excess, self.unit_px, base_steps + excess, clamped)
