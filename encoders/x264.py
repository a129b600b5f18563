"""H.264 by x264, through FFmpeg."""

import re
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vcmbench.encoder import (
    FRAME_LOG,
    Clip,
    CodedFrame,
    CodingConfiguration,
    Command,
    Encoder,
    QualityScale,
    Quantisers,
    Structure,
    Switches,
    by_picture_order,
    ffmpeg,
    ffmpeg_regions,
)

# ipratio=1: x264 would otherwise lower intra frames by 3 QP
_EXACT = "qp={qp}:ipratio=1:keyint=1:aq-mode=0:mbtree=0"
_INTER = "qp={qp}:{structure}:aq-mode=0:mbtree=0"
# what a first pass writes of each picture; the bits are the same
_FRAME_LOG = f":pass=1:stats={FRAME_LOG}"
# A constant QP ignores regions without a word, and so does adaptive quantisation of strength 0. A rate factor with
# qcomp=1 is a constant QP that obeys them.
_MAPPED = "crf={qp}:aq-mode=1:aq-strength=0.01:mbtree=0:{structure}"
_INTRA = "qcomp=1:ipratio=1:keyint=1"
# From subme 10 on x264 searches every block's QP anew.
_SEARCHING_PRESETS = ("veryslow", "placebo")


class X264(Encoder):
    label = "x264"
    extension = ".264"
    quality = QualityScale("QP", 0, 51, "low")
    chroma = ("420", "422", "444", "400")
    presets = ffmpeg.X26X_PRESETS
    min_side_px = 16
    encode_tools = (ffmpeg.encoder_tool("libx264"),)
    decode_tools = (ffmpeg.decoder_tool("h264"),)
    fixed_parameters = ffmpeg.RATE_CONTROL
    fixed_with_structure = ffmpeg.STRUCTURE
    # a search of QPs around the one that was told
    fixed_with_map = frozenset({"subme", "subq"})
    # "deblock=0" would be the offsets of a filter that is on
    switches: ClassVar[Switches] = {"deblocking": {"no-deblock": 1}, "psy": {"psy": 0}}
    map_method = "native"
    map_units_px = (16,)
    # below subme 10 x264 leaves a block the QP of the one before where they differ by one, however long that goes on
    map_multiple = 2
    logs_mean_qp = True
    structures = ("intra", "lowdelay", "randomaccess")
    map_structures = structures
    zones = True
    search_rates = ((0, 4.21), (6, 3.81), (12, 2.15), (22, 0.647), (32, 0.191), (42, 0.057), (51, 0.0218))
    rough_s_per_mpx = (("", 0.045), ("slow", 0.09), ("slower", 0.09), ("veryslow", 0.09), ("placebo", 0.09))

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        if coding.structure is None or coding.structure.kind == "intra":
            return Command(self._argv(coding, clip, _EXACT.format(qp=coding.quality)))
        structure = ffmpeg.inter_parameters(coding.structure, clip.frames)
        return Command(self._argv(coding, clip, _INTER.format(qp=coding.quality, structure=structure)))

    def encode_mapped(self, program: str, coding: CodingConfiguration, clip: Clip, quantisers: Quantisers) -> Command:
        tuning = ":subme=9" if coding.preset in _SEARCHING_PRESETS else ""
        if quantisers.frames:
            parameters = _MAPPED.format(qp=coding.quality, structure=_INTRA) + tuning
            return Command(self._argv(coding, clip, f"{parameters}:zones={ffmpeg.zones(quantisers)}"))
        is_intra = coding.structure is None or coding.structure.kind == "intra"
        structure = _INTRA if is_intra else ffmpeg.mapped_parameters(coding.structure, clip.frames)
        parameters = _MAPPED.format(qp=int(quantisers.base), structure=structure) + tuning
        options = self._options(coding, parameters)
        return ffmpeg_regions.encode_mapped(clip, self.bitstream, "h264", quantisers, **options)

    def _argv(self, coding: CodingConfiguration, clip: Clip, parameters: str) -> tuple[str, ...]:
        return ffmpeg.encode(clip, self.bitstream, "h264", **self._options(coding, parameters))

    def _options(self, coding: CodingConfiguration, parameters: str) -> dict[str, str]:
        return {
            "c:v": "libx264",
            "preset": coding.preset or "medium",
            "x264-params": parameters + (_FRAME_LOG if coding.structure else "") + ffmpeg.more_parameters(self, coding),
            # drops the text about itself that x264 writes into an SEI message (NAL unit type 6), about 700 bytes
            "bsf:v": "filter_units=remove_types=6",
        }

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command(ffmpeg.decode(clip, self.bitstream, "h264"))

    def block_qps(self, program: str, clip: Clip) -> Command | None:
        return Command(ffmpeg.h264_block_qps(clip, self.bitstream))

    def read_block_qps(self, data: bytes, clip: Clip) -> NDArray[np.float64]:
        return ffmpeg.read_block_qps(data, clip)

    def coded_qp(self, log: str) -> float | None:
        found = re.search(r"frame I:\d+ +Avg QP: *(\d{1,9}(?:\.\d{1,9})?)", log)
        return float(found[1]) if found else None

    def coded_frames(self, log: str, frame_log: str) -> list[CodedFrame] | None:
        found = re.findall(
            r"^in:(\d{1,9}) out:\d+ type:([IiPBb]) .*? aq:(-?\d{1,9}\.\d{1,9}) ", frame_log, re.MULTILINE
        )
        return by_picture_order(found)

    def layer_offsets(self, structure: Structure, quality: int) -> dict[str, float]:
        return ffmpeg.inter_offsets(structure)

    def check_structure(self, structure: Structure) -> None:
        ffmpeg.check_inter(self.name, structure)

    def complaint(self, log: str) -> str | None:
        return ffmpeg.complaint(log)

    def reported_bytes(self, log: str) -> int | None:
        return ffmpeg.reported_bytes(log)
