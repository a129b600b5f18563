"""One picture with a quantiser a block: the map put into the tool's terms, searched for a rate, and proved."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress import evidence, importance_steps, luma_errors, rate_search
from vcmbench.compress.allocation import filtering
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
from vcmbench.encoder.quantisers import Quantisers
from vcmbench.errors import JobError

I32 = NDArray[np.int32]


class BlockAllocation:
    """A job with a quantiser a block."""

    def __init__(self, coder: Coder, importance: NDArray[np.float32]) -> None:
        self.coder, self.importance = coder, importance
        self.encoder, self.coding, self.clip = coder.job.encoder, coder.job.coding, coder.geometry.clip
        self.map = self.coding.qp_map
        self.method = self.encoder.method(self.coding)
        self.quality = start_quality(coder)
        is_qp = self.encoder.scale.name == "QP"
        self.wanted = importance_steps.block_steps(
            importance, self.coding, coder.geometry, self.quality if is_qp else 0
        )
        self.block_px = self.map.block_size if self.map else 1
        self.unit_px = self.encoder.map_unit_px(self.coding, self.clip)
        size = self.clip.width, self.clip.height
        self.steps = quantisers.finest(self.wanted, *size, self.block_px, self.unit_px)
        self.attempts: dict[float, Attempt] = {}
        """By shift; `tuned` ones, at the shift found before, by the filter's strength, dither's phase or excess."""
        self.tuned: dict[float, Attempt] = {}
        self.filter_s = 0.0

    @property
    def _region(self) -> float:
        return self.coding.importance.region if self.coding.importance else 1.0

    @cached_property
    def steps_of_pixels(self) -> NDArray[np.float32]:
        return importance_steps.pixel_steps(self.importance, self.coding, self.coder.geometry)

    def code(self) -> Coded:
        coder, coding = self.coder, self.coding
        uniform: Uniform | None = None
        found: FoundRate | None = None
        shift = 0.0
        if coding.match_rate:
            uniform = uniform_of(coder, self.quality)
            found = self._search(uniform.size_bytes)
        elif coding.target_bpp is not None:
            found = self._search(target_bytes(coder))
        else:
            self._encode(shift)
        if found is not None:
            shift = found.shift
        best = self.attempts[shift]
        coder.bitstream.write_bytes(best.data)
        decoded = coder.decode(best.coding)
        squared = luma_errors.squared_errors(*next(coder.lumas()))
        proof = self._prove(best, shift, squared, uniform)
        reported = self.encoder.coded_qp(best.encoded.done.log)
        means_something = self.encoder.logs_mean_qp or self.method == "prefilter"
        missing = {} if means_something else {"coded_qp": "differs from block to block; see evidence"}
        if not np.any(self.importance >= self._region):
            missing["region"] = f"no pixel has an importance of {self._region:g} or more"
        fields = self._fields(best, shift, squared, uniform, found) | {"evidence": proof}
        coded_qp = reported if means_something else None
        csv = self._csv(shift)
        return Coded(
            best.coding,
            best.encoded,
            decoded,
            coded_qp,
            fields,
            missing,
            notes=self._notes(uniform is not None),
            csv=csv,
        )

    def _notes(self, has_uniform: bool) -> tuple[str, ...]:
        """What a reader of the record should know of the map, and of what stands beside it."""
        program, others = self.coder.job.tools.encode.program, [tool.program for tool in self.encoder.encode_tools]
        if has_uniform and program not in others:
            beside = f"`uniform` is coded by {program}, as the map is; without a map the tool is {' or '.join(others)}"
            return (beside, *self._why_flat())
        return self._why_flat()

    def _why_flat(self) -> tuple[str, ...]:
        """That the whole picture has one quantiser, but for the dither of a search, and why."""
        if not np.ptp(self.wanted):
            return ("the QP map is flat: coded with one quantiser",)
        if self.method == "prefilter":
            return ()
        sent = self.encoder.quantisers(self.quality, self.steps, 0.0, self.unit_px)
        if np.ptp(sent.steps) or sent.clamped:
            return ()
        return (
            f"the QP map's differences of {np.ptp(self.wanted):g} steps in blocks of {self.block_px} px vanish in what "
            f"{self.encoder.name} takes, blocks of {self.unit_px} px whose QPs differ by {self.encoder.map_multiple} "
            "at least: coded with one quantiser; a larger delta or a smoother map would show",
        )

    def _csv(self, shift: float) -> bytes:
        """The map that was asked for: QPs within the scale, or for other scales steps from the uniform quality."""
        cells = self._qps(round(shift)) if self.encoder.scale.name == "QP" else self.wanted + round(shift)
        rows = cells.astype(np.int64).tolist()
        return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()

    def _qps(self, shift: float) -> NDArray[np.float64]:
        """The QPs that the map asks for, moved by `shift` and within the scale."""
        scale = self.encoder.scale
        return np.clip(self.wanted + self.quality + shift, scale.minimum, scale.maximum)

    def _search(self, target_bytes: float) -> FoundRate:
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
        found = rate_search.find(self._encode, target_bytes, start, bounds, max_encodes=most)
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
            return self._encode(shift, excess=excess)

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
            size = self._encode(found.shift, phase=phase)
            tried.append((found.shift, size))
            if abs(size / target_bytes - 1) < abs(best.error):
                best = replace(best, size_bytes=size)
                self.attempts[found.shift] = self.tuned[float(phase)]
            if best.is_equal:
                break
        return replace(best, tried=tried)

    def _search_filter(self, target_bytes: float, start: float, bounds: tuple[float, float]) -> FoundRate:
        found, strength = filtering.find(self._encode, target_bytes, start, bounds)
        if strength != 1:
            self.attempts[found.shift] = self.tuned[strength]
        return found

    def _encode(self, shift: float, strength: float = 1.0, phase: int = 0, excess: float | None = None) -> int:
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
        base, base_steps = filtering.base_of(self.encoder, self.quality, float(self.steps.min()) + shift)
        excess = np.maximum(self.steps + shift - base_steps, 0.0)
        of_pixels = self.steps_of_pixels + np.float32(shift - base_steps)
        start = time.perf_counter()
        self.coder.write_filtered([filtering.sigma_px(excess, of_pixels, self.unit_px, strength)])
        self.filter_s = time.perf_counter() - start
        clamped = int(np.sum(self.steps + shift < base_steps - 1e-9))
        return Quantisers(base, excess, self.unit_px, base_steps + excess, clamped)

    def _prove(self, best: Attempt, shift: float, squared: I32, uniform: Uniform | None) -> dict[str, Any]:
        """Evidence that the map took effect; the strongest kind that tool and bitstream give."""
        doubt = {}
        if self.method == "native":
            try:
                proof = self._proof_by_qps(best, shift)
                if proof is not None:
                    return proof
            except JobError as error:  # a blank picture codes no QP at all: its errors have the last word
                doubt = {"doubt": str(error)}
        return self._proof_by_errors(best, shift, squared, uniform) | doubt

    def _proof_by_qps(self, best: Attempt, shift: float) -> dict[str, Any] | None:
        """By the QPs that were coded; None where nothing reports them, or their mean would prove nothing."""
        encoder, sent = self.encoder, best.quantisers
        qps = self.quality + sent.steps
        asked = {"requested_mean_qp": round(float(np.mean(self._qps(shift))), 4)}
        coded = self.coder.block_qps()
        if coded is not None:
            return asked | evidence.of_block_qps(qps, coded[0])
        mean = encoder.coded_qp(best.encoded.done.log) if encoder.logs_mean_qp else None
        if mean is None:
            return None
        proof = evidence.of_mean_qp(qps, mean)
        if not evidence.proves(proof, sent.base):
            return None
        evidence.check_mean(proof, sent.base)
        return asked | proof

    def _proof_by_errors(self, best: Attempt, shift: float, squared: I32, uniform: Uniform | None) -> dict[str, Any]:
        """By what became of the blocks' errors against the uniform encode at about the same quality."""
        coder, encoder, sent, geometry = self.coder, self.encoder, best.quantisers, self.coder.geometry
        if uniform is None:
            coder.write_source()
            near = round(encoder.quality_at(self.quality, shift))
            uniform = uniform_of(coder, min(max(near, encoder.scale.minimum), encoder.scale.maximum))
            coder.bitstream.write_bytes(best.data)
            coder.decode(best.coding)
        unit = (
            self.unit_px * geometry.height / geometry.scaled_height,
            self.unit_px * geometry.width / geometry.scaled_width,
        )
        rows, columns = sent.steps.shape
        errors = [luma_errors.block_means(one, rows, columns, unit) for one in (squared, uniform.squared[0])]
        is_identical = bool(np.array_equal(squared, uniform.squared[0]))
        # against the very quality that it is compared with: at the end of the scale a map may be flat
        apart = (encoder.log2_step(uniform.coding.quality or 0) - encoder.log2_step(self.quality)) * 6
        return evidence.of_block_errors(
            sent.steps - apart, *errors, is_identical=is_identical, method=self.method, asked=self.steps
        )

    def _fields(
        self, best: Attempt, shift: float, squared: I32, uniform: Uniform | None, found: FoundRate | None
    ) -> dict[str, Any]:
        clip = self.clip
        inside = self.importance >= self._region
        fidelity = quantisers.fidelity(self.wanted, self.block_px, best.quantisers, shift, clip.width, clip.height)
        fields: dict[str, Any] = {
            "map": {
                "method": self.method,
                "version": importance_steps.VERSION,
                "quality": self.quality,
                "shift_steps": round(shift, 4),
                "base": round(float(best.quantisers.base), 4),
                **fidelity,
            },
            "region": luma_errors.inside_and_outside(squared, inside).as_record(),
        }
        if self.method == "prefilter":
            fields["map"] |= {"filter_strength": round(best.strength, 4), "filter_s": round(self.filter_s, 6)}
        if found is not None:
            fields["rate_search"] = search_record(found)
        if uniform is not None:
            pixels = squared.size
            total = int(uniform.squared[0].sum(dtype=np.int64))
            fields["uniform"] = {
                "quality": uniform.coding.quality,
                "size_bytes": uniform.size_bytes,
                "rate_bpp": uniform.size_bytes * 8 / pixels,
                "coded_qp": uniform.coded_qp,
                "psnr_y_db": luma_errors.psnr_of(total, pixels),
                "region": luma_errors.inside_and_outside(uniform.squared[0], inside).as_record(),
            }
        return fields
