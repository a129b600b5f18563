"""AV1 by SVT-AV1: through FFmpeg, and with a QP map through SvtAv1EncApp, the only one that takes it.

SvtAv1EncApp wraps every stream in IVF, whose bytes are not the codec's: it is unwrapped.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vcmbench.encoder import (
    SOURCE,
    Clip,
    CodedFrame,
    CodingConfiguration,
    Command,
    Encoder,
    QualityScale,
    Structure,
    Switches,
    Tool,
    ffmpeg,
)
from vcmbench.encoder.quantisers import Quantisers, dithered, nearest_levels
from vcmbench.errors import RequestError

# The AC quantiser steps of 8-bit AV1 by quantiser index (AV1 specification, 7.12.2): runs of (from, to, by), then the
# rest. The step grows by 5 to 12 % an index at the fine end, by 2 % at the coarse one.
_RUNS = ((4, 4, 1), (8, 102, 1), (104, 152, 2), (155, 203, 3), (207, 255, 4), (260, 305, 5), (311, 359, 6),
         (366, 408, 7), (416, 456, 8), (465, 510, 9), (520, 560, 10))  # fmt: skip
_REST = (571, 582, 593, 604, 615, 627, 639, 651, 663, 676, 689, 702, 715, 729, 743, 757, 771, 786, 801, 816, 832, 848,
         864, 881, 898, 915, 933, 951, 969, 988, 1007, 1026, 1046, 1066, 1087, 1108, 1129, 1151, 1173, 1196, 1219, 1243,
         1267, 1292, 1317, 1343, 1369, 1396, 1423, 1451, 1479, 1508, 1537, 1567, 1597, 1628, 1660, 1692, 1725, 1759,
         1793, 1828)  # fmt: skip
_LOG2_STEPS = np.log2([*(step for low, high, by in _RUNS for step in range(low, high + 1, by)), *_REST])
# SVT-AV1's QP 1..63 as quantiser indices
_INDICES = np.array([*range(0, 245, 4), 249, 255])
_SEGMENTS = 8
# By how much of the step SVT-AV1 codes key pictures and the layers of a group finer, from the lowest up; those of the
# highest, which are not referred to, never. Its parameters hold 64 indices at most.
_KEY_SHARE, _SHARES = 0.76, (0.60, 0.30, 0.15, 0.08)
_MOST_FINER = 64
_LOW_DELAY_LAYERS = 4
_HIGHEST_LAYER = 5
_MAP = "roi.txt"


class SvtAv1(Encoder):
    label = "SVTAV1"
    extension = ".obu"
    quality = QualityScale("QP", 1, 63, "low")
    chroma = ("420",)
    presets = tuple(str(preset) for preset in range(14))
    min_side_px = 64
    encode_tools = (ffmpeg.encoder_tool("libsvtav1"),)
    decode_tools = (ffmpeg.decoder_tool("libdav1d"),)
    structures = ("intra", "lowdelay", "randomaccess")
    map_structures = structures
    switches: ClassVar[Switches] = {
        "deblocking": {"enable-dlf": 0}, "cdef": {"enable-cdef": 0}, "restoration": {"enable-restoration": 0},
    }  # fmt: skip
    map_method = "native"
    map_units_px = (64,)
    map_tools = (Tool("SvtAv1EncApp"),)
    search_rates = (
        (1, 3.29),
        (6, 1.15),
        (12, 0.644),
        (22, 0.36),
        (32, 0.192),
        (42, 0.0941),
        (52, 0.044),
        (63, 0.00978),
    )
    rough_s_per_mpx = (("", 0.13), ("0", 6.0), ("1", 1.6), ("2", 0.7), ("3", 0.6), ("4", 0.3), ("5", 0.3))

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        if program == "SvtAv1EncApp":
            return self._app(clip, coding, coding.quality)
        options: dict[str, str | int] = {
            "c:v": "libsvtav1",
            "preset": coding.preset or "8",
            # rc 0 with aq-mode 0: one quantiser for the whole picture. Without fixed offsets SVT-AV1 still moves it
            # far from the one that was asked for, as if pictures to come were to be predicted from this one.
            "svtav1-params": f"rc=0:aq-mode=0:use-fixed-qindex-offsets=1:qp={coding.quality}:lp=1"
            + "".join(f":{name}={value}" for name, value in self.switched_off(coding).items()),
        }
        if coding.structure:
            options |= ffmpeg.FRAME_LOGGED
            if coding.structure.kind != "intra":
                options["g"] = coding.structure.intra_period or max(clip.frames, 2)
                options["svtav1-params"] = (
                    f"{options['svtav1-params']}{self._structure(coding.structure, coding.quality)}"
                )
        return Command(ffmpeg.encode(clip, self.bitstream, "obu", **options))

    def _structure(self, structure: Structure, quality: int | None) -> str:
        """The kind of prediction, the layers of a group, and their offsets as indices."""
        kind = 1 if structure.kind == "lowdelay" else 2
        asked = quality or self.scale.minimum
        key, *layers = (
            int(_INDICES[int(asked + qps)] - _INDICES[asked]) for qps in self.layer_offsets(structure, asked).values()
        )
        listed = ",".join(map(str, [*layers, *[0] * (_HIGHEST_LAYER + 1 - len(layers))]))
        return (
            f":pred-struct={kind}:hierarchical-levels={len(layers) - 1}:key-frame-qindex-offset={key}"
            f":qindex-offsets=[{listed}]"
        )

    def layer_offsets(self, structure: Structure, quality: int) -> dict[str, float]:
        if structure.kind == "intra":
            return {"I": 0.0}
        count = _LOW_DELAY_LAYERS if structure.kind == "lowdelay" else structure.gop.bit_length()
        shares = [_KEY_SHARE, *([*_SHARES, 0.0, 0.0][: count - 1]), 0.0]
        if not structure.layer_offsets:
            shares = [0.0] * len(shares)
        names = ["I", *map(str, range(count))]
        return {name: self._finer(quality, share) for name, share in zip(names, shares, strict=True)}

    def _finer(self, quality: int, share: float) -> float:
        """Whole QPs, 0 or below, that take `share` off the quantiser step of `quality`."""
        finest = 1 + int(np.searchsorted(_INDICES[1:], _INDICES[quality] - _MOST_FINER))
        wanted = self.log2_step(quality) + np.log2(1 - share)
        steps = [self.log2_step(one) for one in range(finest, quality + 1)]
        return float(finest + int(np.argmin(np.abs(np.array(steps) - wanted))) - quality)

    def check_structure(self, structure: Structure) -> None:
        if structure.kind == "randomaccess" and structure.gop not in (2, 4, 8, 16, 32):
            raise RequestError(f"gop {structure.gop}: {self.name} takes 2, 4, 8, 16 or 32")

    def coded_frames(self, log: str, frame_log: str) -> list[CodedFrame] | None:
        return ffmpeg.coded_frames(log, frame_log)

    def encode_mapped(self, program: str, coding: CodingConfiguration, clip: Clip, quantisers: Quantisers) -> Command:
        # a line a picture: its number, then the offset of every block of 64x64 in reading order
        text = "".join(
            f"{number} {' '.join(map(str, offsets.ravel().tolist()))}\n"
            for number, offsets in enumerate(quantisers.pictures or (quantisers.offsets,))
        )
        return self._app(clip, coding, int(quantisers.base), ("--roi-map-file", f"../in/{_MAP}"), {_MAP: text})

    def _app(
        self,
        clip: Clip,
        coding: CodingConfiguration,
        qp: int | None,
        more: tuple[str, ...] = (),
        files: dict[str, str] | None = None,
    ) -> Command:
        source = ("-i", SOURCE["yuv"], "-w", clip.width, "-h", clip.height, "-n", clip.frames, "--fps", 25)
        form = ("--input-depth", 8, "--color-format", 1, "--matrix-coefficients", 6, "--color-range", 0)
        rate = ("--rc", 0, "--aq-mode", 0, "--use-fixed-qindex-offsets", 1, "--qp", qp, "--preset", coding.preset or 8)
        period: tuple[str | int, ...] = ("--keyint", 1)
        if coding.structure is not None and coding.structure.kind != "intra":
            # what svtav1-params take, as words of the command line
            names = (part.split("=") for part in self._structure(coding.structure, qp)[1:].split(":"))
            period = ("--keyint", coding.structure.intra_period or max(clip.frames, 2))
            period += tuple(word for name, value in names for word in (f"--{name}", value))
        off = tuple(word for name, value in self.switched_off(coding).items() for word in (f"--{name}", value))
        words = (*source, *form, *rate, *period, *off, "--lp", 1, "--progress", 0, "-b", "coded.ivf", *more)
        unwrap = ("ivf-to-obu", "coded.ivf", self.bitstream)
        return Command(("SvtAv1EncApp", *map(str, words)), files or {}, (unwrap,))

    log2_step_of_one = 3.0  # AV1's transforms are 8 times as large

    def log2_step(self, quality: int) -> float:
        return float(_LOG2_STEPS[_INDICES[quality]])

    def quantisers(self, quality: int, steps: NDArray[np.float64], shift: float, unit_px: int) -> Quantisers:
        # The encoder weighs rate against distortion for its base QP whatever the offset of a block; with the base at
        # the finest block's the blocks that matter are weighed as they should be (+1.6 to 2.0 dB inside, against +1.2
        # to 1.4 with the base in the middle).
        uniform = _LOG2_STEPS[_INDICES[quality]]
        levels = nearest_levels(steps, _SEGMENTS - 1)
        wanted = uniform + (levels + shift) / 6
        # on a logarithmic scale, and never index 0, which is lossless
        exact = np.interp(wanted, _LOG2_STEPS[1:], np.arange(1, 256))
        # the last segment splits the largest level, so that a file's size can be met between two indices
        values, counts = np.unique(levels, return_counts=True)
        indices = np.where(levels == values[counts.argmax()], dithered(exact), np.rint(exact).astype(np.int64))
        base = int(np.clip(np.searchsorted(_INDICES, indices.min(), side="right") - 1, 1, 63))
        told = (_LOG2_STEPS[indices] - uniform) * 6
        clamped = int(np.sum((wanted < _LOG2_STEPS[1]) | (wanted > _LOG2_STEPS[-1])))
        return Quantisers(base, indices - _INDICES[base], unit_px, told, clamped)

    def sequence_quantisers(
        self, quality: int, pictures: Sequence[NDArray[np.int8]], shift: float, unit_px: int
    ) -> Quantisers:
        # as one tall picture: they have one base, and its segments
        tall = self.quantisers(quality, np.concatenate(pictures).astype(np.float64), shift, unit_px)
        each = np.split(tall.offsets.astype(np.int16), len(pictures))
        return Quantisers(tall.base, unit_px=unit_px, clamped=tall.clamped, pictures=tuple(each))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command(ffmpeg.decode(clip, self.bitstream, "obu", "libdav1d"))

    def reported_bytes(self, log: str) -> int | None:
        found = re.search(r"Total Frames\s+Frame Rate\s+Byte Count.{0,200}\n\s*\d+\s+[\d.]+ fps\s+(\d{1,18})\b", log)
        return int(found[1]) if found else ffmpeg.reported_bytes(log)
