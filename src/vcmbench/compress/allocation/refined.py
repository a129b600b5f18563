"""One picture with the encoder in a network's loop: coded, asked what errors cost, coded again; the best is kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress.allocation import offsets
from vcmbench.compress.allocation.common import Attempt, Coded, at_quality, search_record
from vcmbench.compress.allocation.search import MapSearch
from vcmbench.compress.coder import Coder
from vcmbench.compress.rate_search import FoundRate
from vcmbench.data.frames import resize_area
from vcmbench.encoder import quantisers
from vcmbench.encoder.quantisers import Quantisers
from vcmbench.errors import JobError
from vcmbench.importance.qp_map import block_means

F64 = NDArray[np.float64]
VERSION = 1
"""To be raised with every change of what a pass makes of answers: it is part of the jobs' keys."""


@dataclass(frozen=True)
class Pass:
    """One allocation at the rate of the uniform encode, which is the first."""

    search: MapSearch
    found: FoundRate
    best: Attempt
    agreement: float
    network_s: float
    encode_s: float

    def as_record(self) -> dict[str, Any]:
        steps = self.best.quantisers.steps
        return {
            "size_bytes": self.best.encoded.size_bytes,
            "agreement": round(self.agreement, 6),
            "lowest_step": float(steps.min()),
            "highest_step": float(steps.max()),
            "encodes": len(self.found.tried),
            "network_s": round(self.network_s, 6),
            "encode_s": round(self.encode_s, 6),
        }


class Refinement:
    """A job whose network is asked after each pass."""

    def __init__(self, coder: Coder) -> None:
        if coder.asked is None or coder.job.coding.qp_map is None or coder.job.coding.importance is None:
            raise JobError("internal error: nobody to ask")
        self.coder, self.asked, self.map = coder, coder.asked, coder.job.coding.qp_map
        self.question = coder.job.coding.importance.settings
        self.pristine = coder.job.sources[0].read().rgb

    def code(self) -> Coded:
        """Raises JobError where a tool fails, or the network cannot take the picture."""
        passes = [self.uniform()]
        for _ in range(self.map.refine):
            passes.append(self.refined(passes[-1], passes[0].found.size_bytes))
        fair = [one for one in passes if one.found.is_equal]
        kept = max(fair, key=lambda one: one.agreement)  # of equals the first
        self.coder.bitstream.write_bytes(kept.best.data)
        decoded = self.coder.decode(kept.best.coding)
        encoder = self.coder.job.encoder
        is_uniform = kept is passes[0]
        notes = (f"none of {self.map.refine} passes agreed more than the uniform encode, which is kept",)
        return Coded(
            kept.best.coding, kept.best.encoded, decoded, encoder.coded_qp(kept.best.encoded.done.log),
            self._fields(passes, kept), {"region": 'source "task" tells no region apart'},
            notes=notes if is_uniform else (), csv=kept.search.csv(kept.found.shift),
        )  # fmt: skip

    def uniform(self) -> Pass:
        """The first pass, without a map."""
        coder, size = self.coder, self.map.block_size
        rows, columns = -(-coder.geometry.clip.height // size), -(-coder.geometry.clip.width // size)
        search = self._search(np.zeros((rows, columns)))
        start = time.perf_counter()
        plain = at_quality(coder.job.coding, search.quality)
        encoded = coder.encode(plain)
        sent = Quantisers(search.quality, np.zeros(search.steps.shape, np.int64), search.unit_px, search.steps)
        found = FoundRate(0.0, encoded.size_bytes, encoded.size_bytes, [(0.0, encoded.size_bytes)])
        return self._pass(search, found, Attempt(encoded, coder.bitstream.read_bytes(), sent, plain), start)

    def refined(self, before: Pass, target_bytes: int) -> Pass:
        """The next pass, from what the last one's errors cost; what it left decoded is in the scratch folder."""
        start = time.perf_counter()
        wanted = self.next_steps(before)
        network_s = time.perf_counter() - start
        start = time.perf_counter()
        search = self._search(wanted)
        found = search.search(target_bytes)
        best = search.attempts[found.shift]
        self.coder.bitstream.write_bytes(best.data)
        return self._pass(search, found, best, start, network_s)

    def _search(self, wanted: F64) -> MapSearch:
        """What a filter spares of single pixels is unknown: each has its block's steps."""
        clip, of_pixels = self.coder.geometry.clip, None
        if self.coder.job.encoder.method(self.coder.job.coding) == "prefilter":
            rows, columns = (np.arange(side) // self.map.block_size for side in (clip.height, clip.width))
            of_pixels = wanted[rows][:, columns].astype(np.float32)
        return MapSearch(self.coder, wanted, quantisers.regrid, of_pixels)

    def next_steps(self, before: Pass) -> F64:
        """The steps of the blocks, (rows, columns), that the network's answer to the pass `before` comes to."""
        contributions = self.asked.contributions(self.pristine, self.coder.decoded_rgb(), self.question.points)
        steps = before.search.wanted
        encoder, quality = self.coder.job.encoder, before.search.quality
        log2_steps = (6 * encoder.log2_step(quality) + before.found.shift + steps) / 6 - encoder.log2_step_of_one
        luma = self._scaled(self.coder.prepared(0).luma.astype(np.float32))
        bits = offsets.block_bits(luma, log2_steps, self.map.block_size)
        losses = block_means(self._scaled(contributions), self.map.block_size)
        sigma = self.question.smoothing_px / self.map.block_size
        return offsets.moved(steps, self._of_blocks(losses), self._of_blocks(bits), self.map.delta, sigma)

    def _pass(self, search: MapSearch, found: FoundRate, best: Attempt, start: float, network_s: float = 0.0) -> Pass:
        self.coder.decode(best.coding)
        encode_s, asked = time.perf_counter() - start, time.perf_counter()
        agreement = self.asked.agreement(self.pristine, self.coder.decoded_rgb())
        return Pass(search, found, best, agreement, network_s + time.perf_counter() - asked, encode_s)

    def _scaled(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return resize_area(values, self.coder.geometry.scaled_width, self.coder.geometry.scaled_height)

    def _of_blocks(self, means: F64) -> F64:
        """With the blocks that lie wholly in the padding, which count as their neighbours."""
        clip, size = self.coder.geometry.clip, self.map.block_size
        more = -(-clip.height // size) - means.shape[0], -(-clip.width // size) - means.shape[1]
        return np.pad(means, ((0, more[0]), (0, more[1])), mode="edge")

    def _fields(self, passes: list[Pass], kept: Pass) -> dict[str, Any]:
        coder, first, search, best = self.coder, passes[0], kept.search, kept.best
        clip, shift, pixels = coder.geometry.clip, kept.found.shift, coder.geometry.width * coder.geometry.height
        fidelity = quantisers.fidelity(search.wanted, search.block_px, best.quantisers, shift, clip.width, clip.height)
        is_filtered = search.method == "prefilter" and kept is not passes[0]
        more = {"filter_strength": round(best.strength, 4)} if is_filtered else {}
        tried = [one for each in passes[1:] for one in search_record(each.found)["tried"]]
        return {
            "map": {
                "method": search.method, "version": VERSION, "quality": search.quality,
                "shift_steps": round(shift, 4), "base": round(float(best.quantisers.base), 4), **fidelity, **more,
            },
            "uniform": {
                "quality": search.quality, "size_bytes": first.found.size_bytes,
                "rate_bpp": first.found.size_bytes * 8 / pixels,
                "coded_qp": coder.job.encoder.coded_qp(first.best.encoded.done.log),
            },
            "rate_search": search_record(kept.found) | {"encodes": len(tried), "tried": tried},
            "evidence": {
                "kind": "agreement with the network's answer on the pristine picture",
                "asked": self.asked.identity(),
                "kept_pass": passes.index(kept),
                "passes": [one.as_record() for one in passes],
            },
        }  # fmt: skip
