"""HEVC by x265, through FFmpeg."""

import re
from typing import ClassVar

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

# x265 lowers intra frames by ipratio=1.4, that is 3 QP, unless told not to; info=0 leaves out the text that it
# writes about itself, more than a kilobyte a file. One thread: more would change the bits (no wavefront with none).
_EXACT = "qp={qp}:ipratio=1:keyint=1:aq-mode=0:pools=none:frame-threads=1:info=0"
# x265 refuses to look ahead less far than it has B pictures in a row, as its fast presets do
_INTER = "qp={qp}:{structure}:rc-lookahead=20:aq-mode=0:pools=none:frame-threads=1:info=0"
_FRAME_LOG = f":csv={FRAME_LOG}:csv-log-level=1"
# A constant QP ignores regions without a word, and so does adaptive quantisation of strength 0. A rate factor with
# qcomp=1 is a constant QP that obeys them.
_MAPPED = "crf={qp}:aq-mode=1:aq-strength=0.01:cutree=0:{structure}:pools=none:frame-threads=1:info=0"
_INTRA = "qcomp=1:ipratio=1:keyint=1"
# Quantisation groups as large as the map's blocks, in coding tree units of 32 at least: units of 16 gain 0.5 to 1.2 dB
# inside over those of 64, and take from the machine more than a map gives (docs/importance.md).
_UNITS = ":ctu={ctu}:qg-size={group}"
_LEAST_CTU_PX = 32
# The published set, as published: it codes QP - 3. pools and frame-threads bound the threads, not the bits.
_QOMEX2023 = (
    "qp={qp}:amp=1:rskip=0:no-limit-modes=1:no-info=1:fps=1:keyint=1:ref=1:no-open-gop=1:weightp=0:weightb=0"
    ":cutree=0:rc-lookahead=0:bframes=0:scenecut=0:b-adapt=0:repeat-headers=1:rdoq-level=2:psy-rdoq=0:psy-rd=0"
    ":pools=1:frame-threads=1"
)


class X265(Encoder):
    label = "x265"
    extension = ".265"
    quality = QualityScale("QP", 0, 51, "low")
    chroma = ("420", "422", "444", "400")
    presets = ffmpeg.X26X_PRESETS
    min_side_px = 16
    encode_tools = (ffmpeg.encoder_tool("libx265"),)
    decode_tools = (ffmpeg.decoder_tool("hevc"),)
    compat = ("qomex2023",)
    published_stacked = True
    fixed_parameters = ffmpeg.RATE_CONTROL
    fixed_with_structure = ffmpeg.STRUCTURE
    # searches of QPs around the one that was told
    fixed_with_map = frozenset({"rd-refine", "dynamic-rd", "tu-inter-depth", "tu-intra-depth", "max-tu-size"})
    # "deblock=0" would be the offsets of a filter that is on
    switches: ClassVar[Switches] = {
        "deblocking": {"no-deblock": 1}, "sao": {"no-sao": 1}, "psy": {"psy-rd": 0, "psy-rdoq": 0},
    }  # fmt: skip
    map_method = "native"
    map_units_px = (16, 32, 64)
    logs_mean_qp = True
    structures = ("intra", "lowdelay", "randomaccess")
    map_structures = structures
    zones = True
    search_rates = ((0, 5.09), (6, 3.56), (12, 1.98), (22, 0.564), (32, 0.168), (42, 0.0476), (51, 0.0132))
    rough_s_per_mpx = (
        ("", 0.3),
        ("ultrafast", 0.15),
        ("slow", 0.5),
        ("slower", 0.6),
        ("veryslow", 0.6),
        ("placebo", 0.8),
        ("qomex2023", 0.55),
    )

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        if coding.compat == "qomex2023":
            parameters = _QOMEX2023.format(qp=coding.quality)
            options = {**self._options(coding, parameters), "preset": "slow", "signal_colour": False}
        else:
            parameters = _EXACT.format(qp=coding.quality)
            if coding.structure and coding.structure.kind != "intra":
                structure = ffmpeg.inter_parameters(coding.structure, clip.frames)
                parameters = _INTER.format(qp=coding.quality, structure=structure)
            options = self._options(coding, parameters + self._more(coding))
        return Command(ffmpeg.encode(clip, self.bitstream, "hevc", **options))

    def encode_mapped(self, program: str, coding: CodingConfiguration, clip: Clip, quantisers: Quantisers) -> Command:
        if quantisers.frames:
            # with pictures of a GOP of one, x265 looks a zone up for the picture before it
            parameters = _MAPPED.format(qp=coding.quality, structure=_INTRA)
            parameters += f":zones={ffmpeg.zones(quantisers, first=1)}{self._more(coding)}"
            return Command(ffmpeg.encode(clip, self.bitstream, "hevc", **self._options(coding, parameters)))
        structure = _INTRA
        if coding.structure and coding.structure.kind != "intra":
            structure = f"{ffmpeg.mapped_parameters(coding.structure, clip.frames)}:rc-lookahead=20"
        parameters = _MAPPED.format(qp=int(quantisers.base), structure=structure)
        parameters += self._units(coding, clip, quantisers.unit_px) + self._more(coding)
        options = self._options(coding, parameters)
        return ffmpeg_regions.encode_mapped(clip, self.bitstream, "hevc", quantisers, **options)

    def _options(self, coding: CodingConfiguration, parameters: str) -> dict[str, str]:
        return {"c:v": "libx265", "preset": coding.preset or "medium", "x265-params": parameters}

    def _more(self, coding: CodingConfiguration) -> str:
        return (_FRAME_LOG if coding.structure else "") + ffmpeg.more_parameters(self, coding)

    def _units(self, coding: CodingConfiguration, clip: Clip, unit_px: int) -> str:
        # x265 refuses units that are larger than the picture
        fitting = max(size for size in self.map_units_px if size <= min(clip.width, clip.height))
        ctu = min(max(unit_px, _LEAST_CTU_PX), fitting)
        # its transform trees are deeper than units of 16 allow
        depths = ":tu-inter-depth=3:tu-intra-depth=3" if coding.preset == "placebo" and ctu == 16 else ""
        return _UNITS.format(ctu=ctu, group=min(unit_px, ctu)) + depths

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command(ffmpeg.decode(clip, self.bitstream, "hevc"))

    def coded_qp(self, log: str) -> float | None:
        found = re.search(r"encoded \d+ frames.{1,200}?Avg QP: *(\d{1,9}(?:\.\d{1,9})?)", log)
        return float(found[1]) if found else None

    def coded_frames(self, log: str, frame_log: str) -> list[CodedFrame] | None:
        rows = re.findall(r"([IiPBb])-SLICE, *(\d{1,9}), *(-?\d{1,9}\.\d{1,9}),", frame_log)
        # it reckons with QPs beyond those of HEVC, and codes the last one
        return by_picture_order((order, kind, str(min(float(qp), self.scale.maximum))) for kind, order, qp in rows)

    def layer_offsets(self, structure: Structure, quality: int) -> dict[str, float]:
        return ffmpeg.inter_offsets(structure)

    def check_structure(self, structure: Structure) -> None:
        ffmpeg.check_inter(self.name, structure)

    def complaint(self, log: str) -> str | None:
        return ffmpeg.complaint(log)

    def reported_bytes(self, log: str) -> int | None:
        return ffmpeg.reported_bytes(log)
