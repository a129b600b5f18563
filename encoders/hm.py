"""HEVC by HM, the reference software."""

import re

from vcmbench.encoder import DECODED, SOURCE, Clip, CodingConfiguration, Command, Encoder, QualityScale, Tool

# The all-intra main configuration of the common test conditions (JCTVC-L1100), spelled out so that no file is needed.
_INTRA_MAIN = {
    "IntraPeriod": 1, "DecodingRefreshType": 0, "GOPSize": 1,
    "MaxCUWidth": 64, "MaxCUHeight": 64, "MaxPartitionDepth": 4,
    "QuadtreeTULog2MaxSize": 5, "QuadtreeTULog2MinSize": 2, "QuadtreeTUMaxDepthInter": 3, "QuadtreeTUMaxDepthIntra": 3,
    "RDOQ": 1, "RDOQTS": 1, "TransformSkip": 1, "TransformSkipFast": 1, "SignHideFlag": 1, "HadamardME": 1,
    "AMP": 1, "SAO": 1, "InternalBitDepth": 8, "InputBitDepth": 8,
}  # fmt: skip


class Hm(Encoder):
    label = "HM"
    extension = ".265"
    quality = QualityScale("QP", 0, 51, "low")
    chroma = ("420", "422", "444", "400")
    min_side_px = 16
    side_multiple_px = 8
    encode_tools = (Tool("TAppEncoderStatic", ("TAppEncoder",)),)
    decode_tools = (Tool("TAppDecoderStatic", ("TAppDecoder",)),)
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
        settings = {**_INTRA_MAIN, "Profile": profile, **chroma, **size, "QP": coding.quality}
        # without a name for it, HM writes a reconstruction of its own accord
        files = ("-i", SOURCE["yuv"], "-b", self.bitstream, "-o", "reconstruction.yuv")
        return Command((program, *files, *(f"--{name}={value}" for name, value in settings.items())))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command((program, "-b", self.bitstream, "-o", DECODED["yuv"], "-d", "8"))

    def coded_qp(self, log: str) -> float | None:
        qps = [float(qp) for qp in re.findall(r"^POC +\d+ .*?QP (\d{1,9}) \)", log, re.MULTILINE)]
        return sum(qps) / len(qps) if qps else None

    def reported_bytes(self, log: str) -> int | None:
        found = re.search(r"Bytes written to file: (\d{1,18})\b", log)
        return int(found[1]) if found else None
