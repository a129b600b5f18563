"""AV1 by SVT-AV1: its own SvtAv1EncApp, or libsvtav1 through FFmpeg."""

from vcmbench import ffmpeg
from vcmbench.coding import CodingConfiguration
from vcmbench.encoder import SOURCE, Clip, Command, Encoder, QualityScale, Tool, Typical


class SvtAv1(Encoder):
    label = "SVTAV1"
    extension = ".obu"
    quality = QualityScale("QP", 1, 63, "low")
    chroma = ("420",)
    presets = tuple(str(preset) for preset in range(14))
    min_side_px = 64
    encode_tools = (Tool("SvtAv1EncApp"), ffmpeg.encoder_tool("libsvtav1"))
    decode_tools = (ffmpeg.decoder_tool("libdav1d"),)
    typical = Typical(((10, 3.0), (30, 1.1), (45, 0.45), (60, 0.11)), 0.22)

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        preset = coding.preset or "8"
        if program == "SvtAv1EncApp":
            size = ("-w", str(clip.width), "-h", str(clip.height), "--fps", "25", "-n", str(clip.frames))
            # rc 0 with aq-mode 0: one quantiser for the whole picture, no adaptation of its own
            fixed = ("--rc", "0", "--aq-mode", "0", "--lp", "1", "--keyint", "1", "--progress", "0")
            files = ("-i", SOURCE["yuv"], "-b", self.bitstream)
            return Command((program, *files, *size, "--preset", preset, *fixed, "-q", str(coding.quality)))
        options = {
            "c:v": "libsvtav1",
            "preset": preset,
            "svtav1-params": f"rc=0:aq-mode=0:qp={coding.quality}:lp=1",
        }
        return Command(ffmpeg.encode(clip, self.bitstream, "obu", **options))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command(ffmpeg.decode(clip, self.bitstream, "obu", "libdav1d"))

    def reported_bytes(self, log: str) -> int | None:
        return ffmpeg.reported_bytes(log)
