"""One picture with a quantiser a block: the map put into the tool's terms, searched for a rate, and proved."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress import evidence, importance_steps, luma_errors
from vcmbench.compress.allocation.common import (
    Attempt,
    Coded,
    Uniform,
    search_record,
    start_quality,
    target_bytes,
    uniform_of,
)
from vcmbench.compress.allocation.search import MapSearch
from vcmbench.compress.coder import Coder
from vcmbench.compress.rate_search import FoundRate
from vcmbench.encoder import quantisers
from vcmbench.errors import JobError

I32 = NDArray[np.int32]


class BlockAllocation(MapSearch):
    """A job with a quantiser a block."""

    def __init__(self, coder: Coder, importance: NDArray[np.float32]) -> None:
        self.importance = importance
        coding, geometry = coder.job.coding, coder.geometry
        base = start_quality(coder) if coder.job.encoder.scale.name == "QP" else 0
        wanted = importance_steps.block_steps(importance, coding, geometry, base)
        of_pixels = None
        if coder.job.encoder.method(coding) == "prefilter":
            of_pixels = importance_steps.pixel_steps(importance, coding, geometry)
        super().__init__(coder, wanted, quantisers.finest, of_pixels)

    @property
    def _region(self) -> float:
        return self.coding.importance.region if self.coding.importance else 1.0

    def code(self) -> Coded:
        coder, coding = self.coder, self.coding
        uniform: Uniform | None = None
        found: FoundRate | None = None
        shift = 0.0
        if coding.match_rate:
            uniform = uniform_of(coder, self.quality)
            found = self.search(uniform.size_bytes)
        elif coding.target_bpp is not None:
            found = self.search(target_bytes(coder))
        else:
            self.encode(shift)
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
        csv = self.csv(shift)
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
