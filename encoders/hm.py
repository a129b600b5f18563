"""HEVC by HM, the reference software."""

import re
from typing import ClassVar

from vcmbench.encoder import (
    DECODED,
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
    by_picture_order,
    layers,
)
from vcmbench.errors import RequestError

# The all-intra main configuration of the common test conditions (JCTVC-L1100), spelled out so that no file is needed.
_INTRA_MAIN = {
    "IntraPeriod": 1, "DecodingRefreshType": 0, "GOPSize": 1,
    "MaxCUWidth": 64, "MaxCUHeight": 64, "MaxPartitionDepth": 4,
    "QuadtreeTULog2MaxSize": 5, "QuadtreeTULog2MinSize": 2, "QuadtreeTUMaxDepthInter": 3, "QuadtreeTUMaxDepthIntra": 3,
    "RDOQ": 1, "RDOQTS": 1, "TransformSkip": 1, "TransformSkipFast": 1, "SignHideFlag": 1, "HadamardME": 1,
    "AMP": 1, "SAO": 1, "InternalBitDepth": 8, "InputBitDepth": 8,
}  # fmt: skip


def _structure(structure: Structure) -> dict[str, object]:
    """The low-delay and random-access main configurations of the common test conditions, with groups of other sizes.

    IDR pictures close the groups of low delay; those of random access begin with CRA pictures.
    """
    is_low = structure.kind == "lowdelay"
    pictures, by_layer = layers.group(structure), layers.layers(structure)
    return {
        "IntraPeriod": structure.intra_period or -1,
        # IDR wants a period that is longer than the group; intra pictures of shorter ones close none
        "DecodingRefreshType": (2 if (structure.intra_period or 16) >= 16 else 0) if is_low else 1,
        "GOPSize": len(pictures),
        "IntraQPOffset": layers.INTRA[structure.kind] if structure.layer_offsets else 0,
        "LambdaFromQpEnable": 1,
        **{f"Frame{place}": _picture(one, by_layer[one.layer], is_low) for place, one in enumerate(pictures, 1)},
        "FastSearch": 1, "SearchRange": 64 if is_low else 384, "BipredSearchRange": 4, "FEN": 1, "FDM": 1,
    }  # fmt: skip


def _picture(picture: layers.CodedPicture, layer: layers.QpLayer, is_low: bool) -> str:
    """A picture of a group in HM's words: slice type, number, QP offset and how it follows the QP, offsets of chroma,
    factor of lambda, deblocking offsets, temporal layer, how many pictures it refers to, which, and no prediction of
    that list."""
    places = [*(-one for one in picture.back), *picture.ahead]
    active = min(len(places), 4)
    return (
        f"B {picture.number} {layer.offset} {layer.shift} {layer.scale} 0 0 1.0 0 0 {0 if is_low else picture.layer} "
        f"{active} {len(places)} {' '.join(map(str, places))} 0"
    )


class Hm(Encoder):
    label = "HM"
    extension = ".265"
    quality = QualityScale("QP", 0, 51, "low")
    chroma = ("420", "422", "444", "400")
    min_side_px = 16
    side_multiple_px = 8
    encode_tools = (Tool("TAppEncoderStatic", ("TAppEncoder",)),)
    decode_tools = (Tool("TAppDecoderStatic", ("TAppDecoder",)),)
    structures = ("intra", "lowdelay", "randomaccess")
    switches: ClassVar[Switches] = {
        "deblocking": {"LoopFilterDisable": 1}, "sao": {"SAO": 0},
    }  # fmt: skip
    search_rates = ((0, 4.82), (6, 3.8), (12, 1.91), (22, 0.507), (32, 0.143), (42, 0.0399), (51, 0.0112))
    rough_s_per_mpx = (("", 3.5),)

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        size = {
            "SourceWidth": clip.width,
            "SourceHeight": clip.height,
            "FrameRate": 1,
            "FramesToBeEncoded": clip.frames,
        }
        profile = "main" if coding.color_subsampling == "420" else "main-RExt"
        chroma = {"InputChromaFormat": coding.color_subsampling, "ChromaFormatIDC": coding.color_subsampling}
        settings: dict[str, object] = {**_INTRA_MAIN, "Profile": profile, **chroma, **size, "QP": coding.quality}
        if coding.structure and coding.structure.kind != "intra":
            settings |= _structure(coding.structure)
        settings |= self.switched_off(coding)
        # without a name for it, HM writes a reconstruction of its own accord
        files = ("-i", SOURCE["yuv"], "-b", self.bitstream, "-o", "reconstruction.yuv")
        return Command((program, *files, *(f"--{name}={value}" for name, value in settings.items())))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command((program, "-b", self.bitstream, "-o", DECODED["yuv"], "-d", "8"))

    def coded_frames(self, log: str, frame_log: str) -> list[CodedFrame] | None:
        rows = re.findall(r"^POC +(\d{1,9}) .*?\b([IPBipb])-SLICE.*? QP (\d{1,9}) \)", log, re.MULTILINE)
        return by_picture_order(rows)

    def layer_offsets(self, structure: Structure, quality: int) -> dict[str, float]:
        return layers.offsets(structure, quality)

    def check_structure(self, structure: Structure) -> None:
        layers.check(self.name, structure)
        if structure.kind == "lowdelay" and structure.intra_period is not None and structure.intra_period % 8:
            raise RequestError(f"intra_period {structure.intra_period}: {self.name} takes multiples of 8")

    def coded_qp(self, log: str) -> float | None:
        qps = [float(qp) for qp in re.findall(r"^POC +\d+ .*?QP (\d{1,9}) \)", log, re.MULTILINE)]
        return sum(qps) / len(qps) if qps else None

    def reported_bytes(self, log: str) -> int | None:
        found = re.search(r"Bytes written to file: (\d{1,18})\b", log)
        return int(found[1]) if found else None
