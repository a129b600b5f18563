"""A sequence coded as video with a QP map a picture: one shift for all of them is searched, and every one is proved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress import evidence, importance_steps, luma_errors, rate_search
from vcmbench.compress.allocation import filtering
from vcmbench.compress.allocation.common import Coded, at_quality, search_record, start_quality, target_bytes
from vcmbench.compress.coder import Coder, Encoded
from vcmbench.compress.luma_errors import Squares
from vcmbench.compress.rate_search import FoundRate
from vcmbench.encoder import quantisers
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.quantisers import Quantisers
from vcmbench.errors import JobError

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I8 = NDArray[np.int8]

_PHASES = 3
"""Encodes of a search that are kept for other phases of the dither."""
_PROVED_BLOCKS_OF = 64
"""Pictures whose blocks' errors are held against their maps, spread over the sequence: memory has a bound."""


@dataclass(frozen=True)
class _Attempt:
    """The best encode so far: what it was given, and what it left."""

    coding: CodingConfiguration
    encoded: Encoded
    quantisers: Quantisers
    data: bytes
    frame_log: str
    strength: float = 1.0
    """Of the filter, where there is one."""


@dataclass
class _Errors:
    """Of a decoded sequence: squared luma errors of every picture inside and outside of what matters, and by blocks
    those of some pictures."""

    squares: list[Squares] = field(default_factory=list)
    blocks: list[F64] = field(default_factory=list)

    @property
    def total(self) -> Squares:
        columns = np.array([(one.inside, one.inside_px, one.outside, one.outside_px) for one in self.squares], object)
        return Squares(*(int(one) for one in columns.sum(axis=0)))

    def psnrs(self, where: str) -> list[float | None]:
        return [one.as_record()[f"psnr_y_{where}_db"] for one in self.squares]


class SequenceAllocation:
    """A sequence with a quantiser a block of every picture. `maps` gives the pictures' importance, in order."""

    def __init__(self, coder: Coder, maps: Callable[[], Iterator[F32]]) -> None:
        self.coder, self.maps = coder, maps
        self.encoder, self.coding, self.clip = coder.job.encoder, coder.job.coding, coder.geometry.clip
        self.method = self.encoder.method(self.coding)
        self.quality = start_quality(coder)
        self.unit_px = self.encoder.map_unit_px(self.coding, self.clip)
        self.block_px = self.coding.qp_map.block_size if self.coding.qp_map else 1
        self.wanted: list[I8] = []
        """What is asked for, by picture, in the user's blocks; `steps` in those that the tool takes."""
        self.steps: list[I8] = []
        self.best: _Attempt | None = None
        self._read_maps()

    @property
    def _masks(self) -> Path:
        return self.coder.worker.scratch.root / "inside.raw"

    def _read_maps(self) -> None:
        """Maps come down to small whole numbers, and where importance reaches the region to a bit a pixel, in a file:
        those of a long sequence are never held all at once."""
        region = self.coding.importance.region if self.coding.importance else 1.0
        base = self.quality if self.encoder.scale.name == "QP" else 0
        size = self.clip.width, self.clip.height
        with self._masks.open("wb") as masks:
            for values in self.maps():
                wanted = importance_steps.block_steps(values, self.coding, self.coder.geometry, base)
                steps = quantisers.finest(wanted, *size, self.block_px, self.unit_px)
                self.wanted.append(wanted.astype(np.int8))
                self.steps.append(steps.astype(np.int8))
                masks.write(np.packbits(values >= region).tobytes())

    def code(self) -> Coded:
        coder, coding = self.coder, self.coding
        found: FoundRate | None = None
        shift = 0.0
        if coding.match_rate:
            plain, size, uniform = self._uniform(self.quality)
            found = self._search(size)
        elif coding.target_bpp is not None:
            found = self._search(target_bytes(coder))
        else:
            self._encode(shift)
        shift = found.shift if found else shift
        if not coding.match_rate:
            if self.method == "prefilter":
                coder.write_source()
            plain, size, uniform = self._uniform(self._nearest_quality(shift))
        best = self.best
        if best is None:
            raise JobError("internal error: a search without an encode")
        coder.restore(best.data, best.frame_log)
        decoded = coder.decode(best.coding)
        errors = self._errors()
        fields = self._fields(best, shift, errors, found) | {
            "uniform": self._uniform_fields(plain, size, uniform),
            "evidence": self._prove(shift, errors, uniform, plain.quality or 0),
        }
        missing = {"coded_qp": "differs from block to block; see evidence"} if self.method == "native" else {}
        notes = () if any(map(np.ptp, self.wanted)) else ("the QP maps are flat: each coded with one quantiser",)
        return Coded(best.coding, best.encoded, decoded, None, fields, missing, notes=notes, csv=self._csv(shift))

    def _nearest_quality(self, shift: float) -> int:
        scale = self.encoder.scale
        return min(max(round(self.encoder.quality_at(self.quality, shift)), scale.minimum), scale.maximum)

    def _search(self, target: float) -> FoundRate:
        means = [quantisers.mean_steps(one.astype(np.float64), self.clip.width, self.clip.height, self.unit_px)
                 for one in self.steps]  # fmt: skip
        low, high = self.encoder.shift_range(self.quality)
        bounds = low - max(int(one.max()) for one in self.steps), high - min(int(one.min()) for one in self.steps)
        start = -float(np.mean(means)) if self.coding.match_rate else 0.0
        if self.method == "prefilter":  # a filter saves less than the quantiser that it stands in for
            start = self.coding.qp_map.delta / 2 if self.coding.qp_map and self.coding.match_rate else 0.0
        sizes: list[int] = []

        def size_of(shift: float, strength: float = 1.0, phase: int = 0) -> int:
            before = self.best
            sizes.append(self._encode(shift, strength, phase))
            if sizes[-1] != min(sizes, key=lambda size: abs(np.log(size / target))):  # only the best is held
                self.best = before
            return sizes[-1]

        if self.method == "prefilter":
            return filtering.find(size_of, target, start, bounds)[0]
        found = rate_search.find(size_of, target, start, bounds, max_encodes=rate_search.MAX_ENCODES - _PHASES)
        phase = 0
        # prediction makes sizes jump by more than 1 % between neighbouring shifts: other blocks are tried instead
        while not found.is_equal and found.shift not in bounds and len(sizes) < rate_search.MAX_ENCODES:
            phase += 1
            size = size_of(found.shift, phase=phase)
            best = min(found.size_bytes, size, key=lambda one: abs(np.log(one / target)))
            found = replace(found, size_bytes=best, tried=[*found.tried, (found.shift, size)])
        return found

    def _encode(self, shift: float, strength: float = 1.0, phase: int = 0) -> int:
        """Encode with all maps moved by `shift` steps; the size in bytes.

        `strength` is that of a filter. With a `phase`, blocks change their places under the dither.
        """
        coder = self.coder
        if self.method == "prefilter":
            sent = self._filtered(shift, strength)
            plain = at_quality(self.coding, int(sent.base))
            encoded = coder.encode(plain)
        else:
            sent = self._dithered(shift, phase)
            plain = at_quality(self.coding, self.quality)
            encoded = coder.encode(plain, sent)
        self.best = _Attempt(plain, encoded, sent, coder.bitstream.read_bytes(), coder.frame_log(), strength)
        return encoded.size_bytes

    def _filtered(self, shift: float, strength: float) -> Quantisers:
        """Write the low-passed source, every picture by its own map: the quality of the finest block for all."""
        finest = min(int(one.min()) for one in self.steps) + shift
        base, base_steps = filtering.base_of(self.encoder, self.quality, finest)

        def sigmas_px() -> Iterator[F32]:
            for values, steps in zip(self.maps(), self.steps, strict=True):
                excess = np.maximum(steps + shift - base_steps, 0.0)
                of_pixels = importance_steps.pixel_steps(values, self.coding, self.coder.geometry)
                of_pixels += np.float32(shift - base_steps)
                yield filtering.sigma_px(excess, of_pixels, self.unit_px, strength)

        self.coder.write_filtered(sigmas_px())
        clamped = sum(int(np.sum(one + shift < base_steps - 1e-9)) for one in self.steps)
        return Quantisers(base, unit_px=self.unit_px, clamped=clamped)

    def _dithered(self, shift: float, phase: int) -> Quantisers:
        """What the tool is given; with a `phase`, the blocks change their places under the dither."""
        move = (3 * phase, 5 * phase)
        rolled = [np.roll(one, move, (0, 1)) for one in self.steps]
        sent = self.encoder.sequence_quantisers(self.quality, rolled, shift, self.unit_px)
        back = tuple(np.roll(one, (-move[0], -move[1]), (0, 1)) for one in sent.pictures)
        return replace(sent, pictures=back)

    def _uniform(self, quality: int) -> tuple[CodingConfiguration, int, _Errors]:
        """The sequence in the same structure with one quantiser, and its errors."""
        plain = at_quality(self.coding, quality)
        encoded = self.coder.encode(plain)
        self.coder.decode(plain)
        return plain, encoded.size_bytes, self._errors()

    def _errors(self) -> _Errors:
        """Of what lies decoded, picture by picture."""
        geometry, found = self.coder.geometry, _Errors()
        pixels = geometry.height * geometry.width
        unit = (
            self.unit_px * geometry.height / geometry.scaled_height,
            self.unit_px * geometry.width / geometry.scaled_width,
        )
        proved = self._proved()
        with self._masks.open("rb") as masks:
            for number, pair in enumerate(self.coder.lumas()):
                squared = luma_errors.squared_errors(*pair)
                bits = np.frombuffer(masks.read(-(-pixels // 8)), np.uint8)
                inside = np.unpackbits(bits, count=pixels).view(bool).reshape(squared.shape)
                found.squares.append(luma_errors.inside_and_outside(squared, inside))
                if number in proved:
                    rows, columns = self.steps[number].shape
                    found.blocks.append(luma_errors.block_means(squared, rows, columns, unit))
        return found

    def _proved(self) -> list[int]:
        count = len(self.steps)
        return sorted({int(one) for one in np.linspace(0, count - 1, min(count, _PROVED_BLOCKS_OF))})

    def _prove(self, shift: float, errors: _Errors, uniform: _Errors, uniform_quality: int) -> dict[str, Any]:
        """By what became of blocks' errors, over pictures together, against the uniform encode. Raises JobError where
        the maps took no effect."""
        asked = np.concatenate([self.steps[number] for number in self._proved()]).astype(np.float64)
        apart = (self.encoder.log2_step(uniform_quality) - self.encoder.log2_step(self.quality)) * 6
        blocks = [np.concatenate(one.blocks) for one in (errors, uniform)]
        proof = evidence.of_block_errors(
            asked + shift - apart, *blocks, is_identical=errors.squares == uniform.squares, method=self.method,
            asked=asked,
        )  # fmt: skip
        frames = {f"{of}psnr_y_{where}_db": one.psnrs(where)
                  for of, one in (("", errors), ("uniform_", uniform)) for where in ("inside", "outside")}  # fmt: skip
        return proof | {"frames": frames}

    def _fields(self, best: _Attempt, shift: float, errors: _Errors, found: FoundRate | None) -> dict[str, Any]:
        of_map = {
            "method": self.method,
            "version": importance_steps.VERSION,
            "quality": self.quality,
            "shift_steps": round(shift, 4),
            "base": round(float(best.quantisers.base), 4),
            "block_size_px": self.block_px,
            "unit_px": self.unit_px,
            "pictures": len(self.steps),
            "different_maps": len({one.tobytes() for one in self.steps}),
            "clamped_units": best.quantisers.clamped,
        }
        if self.method == "prefilter":
            of_map["filter_strength"] = round(best.strength, 4)
        fields: dict[str, Any] = {"map": of_map, "region": errors.total.as_record()}
        return fields | ({"rate_search": search_record(found)} if found is not None else {})

    def _uniform_fields(self, plain: CodingConfiguration, size: int, errors: _Errors) -> dict[str, Any]:
        total = errors.total
        pixels = total.inside_px + total.outside_px
        return {
            "quality": plain.quality,
            "size_bytes": size,
            "rate_bpp": size * 8 / pixels,
            "coded_qp": None,
            "psnr_y_db": luma_errors.psnr_of(total.inside + total.outside, pixels),
            "region": total.as_record(),
        }

    def _csv(self, shift: float) -> bytes:
        """The maps that were asked for, one below the other; every row begins with its picture's number, from 0."""
        scale, lines = self.encoder.scale, []
        for number, wanted in enumerate(self.wanted):
            cells = wanted.astype(np.int64) + round(shift)
            if scale.name == "QP":
                cells = np.clip(cells + self.quality, scale.minimum, scale.maximum)
            lines += [",".join(map(str, [number, *row])) for row in cells.tolist()]
        return ("\n".join(lines) + "\n").encode()
