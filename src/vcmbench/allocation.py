"""Jobs whose bits go where importance says, and jobs that are to reach a rate: which quantisers, and did they count."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import compare, evidence, mapping, prefilter, quantisers, search
from vcmbench.coding import CodingConfiguration
from vcmbench.dataset import DataRoot
from vcmbench.errors import JobError
from vcmbench.lane import Encoded, Lane
from vcmbench.quantisers import Quantisers
from vcmbench.runner.base import Completed
from vcmbench.search import Found

F64 = NDArray[np.float64]
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
    told: Quantisers
    coding: CodingConfiguration
    strength: float = 1.0
    """Of the filter, where there is one."""


def code(lane: Lane, data: DataRoot) -> Coded:
    """Do the encodes of a job that has a QP map, a target rate, or both; the best lies decoded in the scratch folder.

    Raises JobError where a picture's importance cannot be read, a tool fails, or a map took no effect.
    """
    coding = lane.job.coding
    if coding.qp_map is None:
        return _uniform_at_rate(lane)
    values = [_importance(lane, data, index) for index in range(len(lane.job.sources))]
    notes = tuple(
        f"{source.name}: {note}" for source, one in zip(lane.job.sources, values, strict=True) for note in one.notes
    )
    if coding.qp_map.mode == "frame":
        coded = _frames(lane, [one.values for one in values])
    else:
        coded = _Blocks(lane, values[0].values).code()
    return replace(coded, notes=notes)


def _importance(lane: Lane, data: DataRoot, index: int) -> mapping.Importance:
    source, wanted, geometry = lane.job.sources[index], lane.job.coding.importance, lane.geometry
    if wanted is None:
        raise JobError("internal error: a map without a source of importance")
    key = ("importance", source.path, lane.job.maps[index], wanted)
    return lane.cache.get(key, lambda: mapping.read(data, source, wanted, geometry.width, geometry.height))


def _plain(coding: CodingConfiguration, quality: int) -> CodingConfiguration:
    """The uniform configuration of a quality."""
    return replace(coding, quality=quality, qp_map=None, importance=None, match_rate=False, target_bpp=None)


def start_quality(lane: Lane) -> int:
    """`quality`, or where a target rate decides it, the one that the encoder's built-in figures give for that rate."""
    coding, encoder = lane.job.coding, lane.job.encoder
    if coding.quality is not None or coding.target_bpp is None:
        return coding.quality or 0
    clip = lane.geometry.clip
    bpp = coding.target_bpp * lane.geometry.width * lane.geometry.height / (clip.width * clip.height)
    anchors = sorted((math.log(rate), quality) for quality, rate in encoder.typical.bpp)
    rates, qualities = zip(*anchors, strict=True)
    return round(float(np.interp(math.log(bpp), rates, qualities)))


def _target_bytes(lane: Lane) -> float:
    pixels = lane.geometry.width * lane.geometry.height * len(lane.job.sources)
    return (lane.job.coding.target_bpp or 0.0) * pixels / 8


def _search_record(found: Found) -> dict[str, Any]:
    return {
        "target_bytes": found.target_bytes,
        "size_error": round(found.error, 6),
        "is_equal": found.is_equal,
        "encodes": len(found.tried),
        "tried": [[round(shift, 4), size] for shift, size in found.tried],
    }


def _uniform_at_rate(lane: Lane) -> Coded:
    """The quality whose file comes nearest to the target: qualities are whole, so it may stay off by more than 1 %."""
    encoder, coding = lane.job.encoder, lane.job.coding
    low, high = encoder.scale.minimum, encoder.scale.maximum
    direction = 1 if encoder.scale.better == "low" else -1
    attempts: dict[float, Attempt] = {}

    def size_of(coarseness: float) -> int:
        plain = _plain(coding, round(coarseness) * direction)
        encoded = lane.encode(plain)
        attempts[coarseness] = Attempt(encoded, lane.bitstream.read_bytes(), Quantisers(0), plain)
        return encoded.size_bytes

    bounds = (low, high) if direction == 1 else (-high, -low)
    octaves = math.log2(encoder.typical.bpp[-1][1] / encoder.typical.bpp[0][1])
    per_step = -abs(octaves / (encoder.typical.bpp[-1][0] - encoder.typical.bpp[0][0]))
    start = start_quality(lane) * direction
    found = search.find(size_of, _target_bytes(lane), start, bounds, per_step=per_step, whole=True)
    best = attempts[found.shift]
    lane.bitstream.write_bytes(best.data)
    fields = {"found_quality": best.coding.quality, "rate_search": _search_record(found)}
    return Coded(best.coding, best.encoded, lane.decode(best.coding), encoder.coded_qp(best.encoded.done.log), fields)


def _uniform(lane: Lane, quality: int) -> Uniform:
    """The uniform encode of a job's pictures, from the cache where another map has asked for it already."""
    job, coding = lane.job, _plain(lane.job.coding, quality)

    def make() -> Uniform:
        encoded = lane.encode(coding)
        lane.decode(coding)
        squared = tuple(compare.squared_errors(*pair) for pair in lane.lumas())
        return Uniform(coding, encoded.size_bytes, job.encoder.coded_qp(encoded.done.log), squared)

    if len(job.sources) > 1:  # errors of a whole stack are too large to keep
        return make()
    tools = job.tools.encode.digest, job.tools.encode.program, job.tools.decode.digest
    return lane.cache.get(("uniform", job.sources[0].path, job.sha256, coding, lane.geometry, tools), make)


class _Blocks:
    """A job with a quantiser a block."""

    def __init__(self, lane: Lane, importance: NDArray[np.float32]) -> None:
        self.lane, self.importance = lane, importance
        self.encoder, self.coding, self.clip = lane.job.encoder, lane.job.coding, lane.geometry.clip
        self.map = self.coding.qp_map
        self.method = self.encoder.method(self.coding)
        self.quality = start_quality(lane)
        is_qp = self.encoder.scale.name == "QP"
        self.wanted = mapping.block_steps(importance, self.coding, lane.geometry, self.quality if is_qp else 0)
        self.block_px = self.map.block_size if self.map else 1
        self.unit_px = self.encoder.map_unit_px(self.coding)
        size = self.clip.width, self.clip.height
        self.steps = quantisers.finest(self.wanted, *size, self.block_px, self.unit_px)
        self.attempts: dict[float, Attempt] = {}
        """By shift; `tuned` ones by the strength of the filter, at the shift that was found before."""
        self.tuned: dict[float, Attempt] = {}

    @cached_property
    def steps_of_pixels(self) -> NDArray[np.float32]:
        return mapping.pixel_steps(self.importance, self.coding, self.lane.geometry)

    def code(self) -> Coded:
        lane, coding = self.lane, self.coding
        uniform: Uniform | None = None
        found: Found | None = None
        shift = 0.0
        if coding.match_rate:
            uniform = _uniform(lane, self.quality)
            found = self._search(uniform.size_bytes)
        elif coding.target_bpp is not None:
            found = self._search(_target_bytes(lane))
        else:
            self._encode(shift)
        if found is not None:
            shift = found.shift
        best = self.attempts[shift]
        lane.bitstream.write_bytes(best.data)
        decoded = lane.decode(best.coding)
        squared = compare.squared_errors(*next(lane.lumas()))
        proof = self._prove(best, shift, squared, uniform)
        reported = self.encoder.coded_qp(best.encoded.done.log)
        means_something = self.encoder.logs_mean_qp or self.method == "prefilter"
        missing = {} if means_something else {"coded_qp": "differs from block to block; see evidence"}
        fields = self._fields(best, shift, squared, uniform, found) | {"evidence": proof}
        coded_qp = reported if means_something else None
        return Coded(best.coding, best.encoded, decoded, coded_qp, fields, missing, csv=self._csv(shift))

    def _csv(self, shift: float) -> bytes:
        """The map that was asked for: QPs, or for other scales steps from the uniform quality."""
        base = self.quality + round(shift) if self.encoder.scale.name == "QP" else round(shift)
        rows = (self.wanted + base).astype(np.int64).tolist()
        return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()

    def _search(self, target_bytes: float) -> Found:
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
        return search.find(self._encode, target_bytes, start, bounds)

    def _search_filter(self, target_bytes: float, start: float, bounds: tuple[float, float]) -> Found:
        """A whole QP first; what is left to the target is made up for by the strength of the filter."""
        budget = search.MAX_ENCODES
        found = search.find(self._encode, target_bytes, start, bounds, whole=True, max_encodes=budget - 3)
        if found.is_equal:
            return found

        def size_of(octaves: float) -> int:
            return self._encode(found.shift, 2.0**octaves)

        limits = math.log2(prefilter.STRENGTHS[0]), math.log2(prefilter.STRENGTHS[1])
        # as steep as it was on photographs: a sigma twice as large saved a third to a half of the bits
        guess = math.log2(found.size_bytes / target_bytes) / 0.6
        left = budget - len(found.tried)
        tuned = search.find(size_of, target_bytes, guess, limits, per_step=-0.6, max_encodes=left)
        tried = [*found.tried, *((found.shift, size) for _, size in tuned.tried)]
        if abs(tuned.error) >= abs(found.error):
            return replace(found, tried=tried)
        self.attempts[found.shift] = self.tuned[2.0**tuned.shift]
        return replace(tuned, shift=found.shift, tried=tried)

    def _encode(self, shift: float, strength: float = 1.0) -> int:
        """Encode with the whole map moved by `shift` steps; the size in bytes."""
        if self.method == "prefilter":
            told = self._filtered(shift, strength)
            plain = _plain(self.coding, int(told.base))
            encoded = self.lane.encode(plain)
        else:
            plain = _plain(self.coding, self.quality)
            told = self.encoder.quantisers(self.quality, self.steps, shift, self.unit_px)
            encoded = self.lane.encode(plain, told)
        attempt = Attempt(encoded, self.lane.bitstream.read_bytes(), told, plain, strength)
        if strength == 1:
            self.attempts[shift] = attempt
        else:
            self.tuned[strength] = attempt
        return encoded.size_bytes

    def _filtered(self, shift: float, strength: float) -> Quantisers:
        """Write the low-passed source: the quality of the finest block for all, what is coarser is filtered away."""
        encoder, scale = self.encoder, self.encoder.scale
        finest = encoder.quality_at(self.quality, float(self.steps.min()) + shift)
        rounded = math.floor(finest) if scale.better == "low" else math.ceil(finest)
        base = min(max(rounded, scale.minimum), scale.maximum)
        base_steps = (encoder.log2_step(base) - encoder.log2_step(self.quality)) * 6
        excess = np.maximum(self.steps + shift - base_steps, 0.0)
        rows, columns = (np.arange(side) // self.unit_px for side in (self.clip.height, self.clip.width))
        of_pixels = self.steps_of_pixels + np.float32(shift - base_steps)
        spared = np.minimum(excess.astype(np.float32)[rows][:, columns], np.maximum(of_pixels, 0))
        self.lane.write_filtered(prefilter.sigma_px(spared, strength))
        clamped = int(np.sum(self.steps + shift < base_steps - 1e-9))
        return Quantisers(base, excess, self.unit_px, base_steps + excess, clamped)

    def _prove(self, best: Attempt, shift: float, squared: I32, uniform: Uniform | None) -> dict[str, Any]:
        """Evidence that the map took effect; the strongest kind that tool and bitstream give."""
        lane, encoder, told = self.lane, self.encoder, best.told
        if self.method == "native":
            requested = self.quality + told.steps
            coded = lane.block_qps()
            if coded is not None:
                return evidence.of_block_qps(requested, coded[0])
            mean = encoder.coded_qp(best.encoded.done.log) if encoder.logs_mean_qp else None
            if mean is not None:
                proof = evidence.of_mean_qp(requested, mean)
                if evidence.tells(proof, told.base):
                    evidence.check_mean(proof, told.base)
                    return proof
        if uniform is None:
            lane.write_source()
            near = round(encoder.quality_at(self.quality, shift))
            uniform = _uniform(lane, min(max(near, encoder.scale.minimum), encoder.scale.maximum))
            lane.bitstream.write_bytes(best.data)
            lane.decode(best.coding)
        rows, columns = told.steps.shape
        geometry = lane.geometry
        unit = (
            self.unit_px * geometry.height / geometry.scaled_height,
            self.unit_px * geometry.width / geometry.scaled_width,
        )
        errors = [compare.block_means(one, rows, columns, unit) for one in (squared, uniform.squared[0])]
        is_identical = bool(np.array_equal(squared, uniform.squared[0]))
        return evidence.of_block_errors(told.steps, *errors, is_identical=is_identical)

    def _fields(
        self, best: Attempt, shift: float, squared: I32, uniform: Uniform | None, found: Found | None
    ) -> dict[str, Any]:
        coding, clip = self.coding, self.clip
        region = coding.importance.region if coding.importance else 1.0
        inside = self.importance >= region
        fidelity = quantisers.fidelity(self.wanted, self.block_px, best.told, shift, clip.width, clip.height)
        fields: dict[str, Any] = {
            "map": {
                "method": self.method,
                "version": mapping.VERSION,
                "quality": self.quality,
                "shift_steps": round(shift, 4),
                "base": round(float(best.told.base), 4),
                **fidelity,
            },
            "region": compare.inside_and_outside(squared, inside).as_record(),
        }
        if self.method == "prefilter":
            fields["map"]["filter_strength"] = round(best.strength, 4)
        if found is not None:
            fields["rate_search"] = _search_record(found)
        if uniform is not None:
            pixels = squared.size
            total = int(uniform.squared[0].sum(dtype=np.int64))
            fields["uniform"] = {
                "quality": uniform.coding.quality,
                "size_bytes": uniform.size_bytes,
                "rate_bpp": uniform.size_bytes * 8 / pixels,
                "coded_qp": uniform.coded_qp,
                "psnr_y_db": compare.psnr_of(total, pixels),
                "region": compare.inside_and_outside(uniform.squared[0], inside).as_record(),
            }
        return fields


def _frames(lane: Lane, pictures: list[NDArray[np.float32]]) -> Coded:
    """A job with a quality a picture: the seed's zones."""
    encoder, coding = lane.job.encoder, lane.job.coding
    steps = mapping.frame_steps(pictures, coding)
    quality = coding.quality or 0
    means = [round(float(values.mean(dtype=np.float64)), 6) for values in pictures]
    if len(pictures) == 1:
        plain = _plain(coding, round(encoder.quality_at(quality, steps[0])))
        encoded = lane.encode(plain)
        coded_qp = encoder.coded_qp(encoded.done.log)
        told = {"method": "frame", "steps": round(steps[0], 4), "quality": plain.quality, "mean_importance": means[0]}
        proof = {"kind": "the quality that the tool was told", "requested_quality": plain.quality, "coded_qp": coded_qp}
        return Coded(plain, encoded, lane.decode(plain), coded_qp, {"map": told, "evidence": proof})
    return _stack(lane, start_quality(lane), steps, means)


def _stack(lane: Lane, quality: int, steps: list[float], means: list[float]) -> Coded:
    encoder, coding = lane.job.encoder, lane.job.coding
    plain = _plain(coding, quality)
    uniform = _uniform(lane, quality)
    attempts: dict[float, Attempt] = {}

    def size_of(shift: float) -> int:
        whole = np.rint(np.array(steps) + shift).astype(int)
        qualities = np.clip(quality + whole, encoder.scale.minimum, encoder.scale.maximum)
        told = Quantisers(quality, frames=tuple(int(one) for one in qualities))
        encoded = lane.encode(plain, told)
        attempts[shift] = Attempt(encoded, lane.bitstream.read_bytes(), told, plain)
        return encoded.size_bytes

    found = _match_stack(lane, size_of, uniform, steps)
    shift = found.shift if found else 0.0
    if found is None:
        size_of(shift)
    best = attempts[shift]
    lane.bitstream.write_bytes(best.data)
    decoded = lane.decode(plain)
    mse = np.array([float(compare.squared_errors(*pair).mean()) for pair in lane.lumas()])
    uniform_mse = np.array([float(one.mean()) for one in uniform.squared])
    coded_steps = np.array(best.told.frames) - quality
    mean = encoder.coded_qp(best.encoded.done.log)
    proof = evidence.of_pictures(coded_steps.astype(np.float64), mse, uniform_mse) | {
        "requested_mean_qp": round(float(np.mean(best.told.frames)), 4),
        "coded_mean_qp": mean,
    }
    fields: dict[str, Any] = {
        "map": {
            "method": "zones", "quality": quality, "shift_steps": round(shift, 4), "qualities": list(best.told.frames),
            "mean_importance": means,
        },
        "uniform": {"quality": quality, "size_bytes": uniform.size_bytes, "coded_qp": uniform.coded_qp},
        "evidence": proof,
    }  # fmt: skip
    if found is not None:
        fields["rate_search"] = _search_record(found)
    return Coded(plain, best.encoded, decoded, mean, fields)


def _match_stack(lane: Lane, size_of: Callable[[float], int], uniform: Uniform, steps: list[float]) -> Found | None:
    coding = lane.job.coding
    if coding.target_bpp is None and not coding.match_rate:
        return None
    target = uniform.size_bytes if coding.match_rate else _target_bytes(lane)
    low, high = lane.job.encoder.shift_range(uniform.coding.quality or 0)
    return search.find(size_of, target, -float(np.mean(steps)), (low - max(steps), high - min(steps)))
