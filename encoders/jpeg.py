"""Baseline JPEG by libjpeg-turbo: its own cjpeg and djpeg, or the copy inside Pillow (same library, same bytes)."""

from vcmbench.coding import CodingConfiguration
from vcmbench.encoder import DECODED, SOURCE, Clip, Command, Encoder, QualityScale, Tool, Typical

_SAMPLING_FACTORS = {"420": "2x2", "422": "2x1", "444": "1x1"}


class Jpeg(Encoder):
    label = "JPEG"
    extension = ".jpg"
    quality = QualityScale("quality", 1, 100, "high")
    chroma = ("420", "422", "444", "400")
    pixels = "rgb"
    stackable = False
    max_side_px = 65500
    encode_tools = (Tool("cjpeg"), Tool("pillow-jpeg"))
    decode_tools = (Tool("djpeg"), Tool("pillow-jpeg"))
    compat = ("qomex2023",)
    typical = Typical(((5, 0.19), (10, 0.26), (30, 0.48), (50, 0.66), (70, 0.91), (90, 1.74)), 0.007)

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        gray = coding.color_subsampling == "400"
        quality = str(coding.quality)
        if program == "pillow-jpeg":
            options = ("encode", "--quality", quality, "--sampling", coding.color_subsampling)
            return Command((program, *options, SOURCE["rgb"], self.bitstream))
        sampling = ("-grayscale",) if gray else ("-sample", _SAMPLING_FACTORS[coding.color_subsampling])
        options = ("-quality", quality, "-baseline", "-dct", "int", *sampling)
        return Command((program, *options, "-outfile", self.bitstream, SOURCE["rgb"]))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        if program == "pillow-jpeg":
            return Command((program, "decode", self.bitstream, DECODED["rgb"]))
        return Command((program, "-dct", "int", "-rgb", "-pnm", "-outfile", DECODED["rgb"], self.bitstream))
