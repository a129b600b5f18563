"""H.264 by x264, through FFmpeg."""

import re

from vcmbench import ffmpeg
from vcmbench.coding import CodingConfiguration
from vcmbench.encoder import Clip, Command, Encoder, QualityScale, Typical


class X264(Encoder):
    label = "x264"
    extension = ".264"
    quality = QualityScale("QP", 0, 51, "low")
    chroma = ("420", "422", "444", "400")
    presets = ffmpeg.X26X_PRESETS
    min_side_px = 16
    encode_tools = (ffmpeg.encoder_tool("libx264"),)
    decode_tools = (ffmpeg.decoder_tool("h264"),)
    typical = Typical(((12, 2.44), (22, 0.81), (32, 0.27), (42, 0.084)), 0.1)

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        options = {
            "c:v": "libx264",
            "preset": coding.preset or "medium",
            # ipratio=1: x264 would otherwise lower intra frames by 3 QP
            "x264-params": f"qp={coding.quality}:ipratio=1:keyint=1:aq-mode=0:mbtree=0",
            # drops the text about itself that x264 writes into an SEI message (NAL unit type 6), about 700 bytes
            "bsf:v": "filter_units=remove_types=6",
        }
        return Command(ffmpeg.encode(clip, self.bitstream, "h264", **options))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command(ffmpeg.decode(clip, self.bitstream, "h264"))

    def coded_qp(self, log: str) -> float | None:
        found = re.search(r"frame I:\d+\s+Avg QP:\s*([\d.]+)", log)
        return float(found[1]) if found else None

    def reported_bytes(self, log: str) -> int | None:
        return ffmpeg.reported_bytes(log)
