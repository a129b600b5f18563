"""VVC by VVenC: its own vvencFFapp and vvdecapp, or libvvenc and the VVC decoder of FFmpeg."""

import re

from vcmbench.encoder import (
    DECODED,
    SOURCE,
    Clip,
    CodingConfiguration,
    Command,
    Encoder,
    QualityScale,
    Tool,
    ffmpeg,
)

# What else moves a picture's QP: presets code intra pictures 3 QP finer, and in a stack the temporal filter (MCTF) and
# block importance mapping (BIM), which cannot be on without it, let it depend on the neighbours.
_EXACT = {"IntraQPOffset": 0, "MCTF": 0, "BIM": 0}


class VVenC(Encoder):
    label = "VVENC"
    extension = ".266"
    quality = QualityScale("QP", 0, 63, "low")
    chroma = ("420",)
    presets = ("faster", "fast", "medium", "slow", "slower")
    min_side_px = 16
    side_multiple_px = 8
    encode_tools = (Tool("vvencFFapp"), ffmpeg.encoder_tool("libvvenc"))
    decode_tools = (Tool("vvdecapp"), ffmpeg.decoder_tool("vvc"))
    compat = ("qomex2023",)
    published_stacked = True
    search_rates = ((0, 4.91), (6, 4.21), (12, 2.42), (22, 0.692), (32, 0.2), (42, 0.0539), (52, 0.0137), (63, 0.00284))
    rough_s_per_mpx = (("", 0.5), ("fast", 1.7), ("medium", 5.6), ("slow", 14.0), ("slower", 40.0), ("qomex2023", 2.0))

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        published = coding.compat == "qomex2023"
        preset = "fast" if published else coding.preset or "faster"
        if program == "vvencFFapp":
            return Command(self._app_argv(program, coding, clip, preset, published))
        # verbosity 4 prints a line a picture, with its QP
        parameters = {"internalbitdepth": 8, "verbosity": 4, **({"ALFSpeed": 0} if published else _EXACT)}
        options: dict[str, str | int] = {
            "c:v": "libvvenc",
            "preset": preset,
            "qp": str(coding.quality),
            # perceptual adaptation would move QPs away from the one that was asked for
            "qpa": int(published),
            # libvvenc takes 10-bit frames only; the 8 bits are shifted up here and back by the internal depth
            "pix_fmt": "yuv420p10le",
            "vvenc-params": ":".join(f"{name}={value}" for name, value in parameters.items()),
        }
        return Command(ffmpeg.encode(clip, self.bitstream, "vvc", signal_colour=not published, **options))

    def _app_argv(
        self, program: str, coding: CodingConfiguration, clip: Clip, preset: str, published: bool
    ) -> tuple[str, ...]:
        size = ("-s", f"{clip.width}x{clip.height}", "-f", str(clip.frames), "-fr", "1")
        depth = ("--InputBitDepth", "8", "--InternalBitDepth", "8")
        intra = ("-g", "1", "--IntraPeriod", "1", "-t", "0")
        exact = [word for name, value in _EXACT.items() for word in (f"--{name}", str(value))]
        tuning = ("--ALFSpeed", "0", "-qpa", "1") if published else ("-qpa", "0", *exact)
        files = ("-i", SOURCE["yuv"], "-b", self.bitstream)
        return (program, *files, *size, *depth, *intra, "--preset", preset, *tuning, "-q", str(coding.quality))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        if program == "vvdecapp":
            return Command((program, "-t", "0", "-b", self.bitstream, "-o", DECODED["yuv"]))
        return Command(ffmpeg.decode(clip, self.bitstream, "vvc"))

    def coded_qp(self, log: str) -> float | None:
        qps = [float(qp) for qp in re.findall(r"^POC +\d+ .*?I-SLICE, QP (-?\d{1,9})\b", log, re.MULTILINE)]
        return sum(qps) / len(qps) if qps else None

    def reported_bytes(self, log: str) -> int | None:
        found = re.search(r"^Bytes written to file: (\d{1,18})\b", log, re.MULTILINE)  # of vvencFFapp
        return int(found[1]) if found else ffmpeg.reported_bytes(log)
