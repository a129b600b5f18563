"""AV1 by SVT-AV1, through FFmpeg (SvtAv1EncApp wraps every stream in IVF, whose bytes are not the codec's)."""

from vcmbench import ffmpeg
from vcmbench.coding import CodingConfiguration
from vcmbench.encoder import Clip, Command, Encoder, QualityScale, Typical


class SvtAv1(Encoder):
    label = "SVTAV1"
    extension = ".obu"
    quality = QualityScale("QP", 1, 63, "low")
    chroma = ("420",)
    presets = tuple(str(preset) for preset in range(14))
    min_side_px = 64
    encode_tools = (ffmpeg.encoder_tool("libsvtav1"),)
    decode_tools = (ffmpeg.decoder_tool("libdav1d"),)
    typical = Typical(((10, 0.96), (30, 0.32), (45, 0.115), (60, 0.029)), 0.17)

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        options = {
            "c:v": "libsvtav1",
            "preset": coding.preset or "8",
            # rc 0 with aq-mode 0: one quantiser for the whole picture. Without fixed offsets SVT-AV1 still moves it
            # far from the one that was asked for, as if pictures to come were to be predicted from this one.
            "svtav1-params": f"rc=0:aq-mode=0:use-fixed-qindex-offsets=1:qp={coding.quality}:lp=1",
        }
        return Command(ffmpeg.encode(clip, self.bitstream, "obu", **options))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command(ffmpeg.decode(clip, self.bitstream, "obu", "libdav1d"))

    def reported_bytes(self, log: str) -> int | None:
        return ffmpeg.reported_bytes(log)
