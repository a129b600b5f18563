"""No coding at all: raw pixels in, raw pixels out. It measures the harness itself."""

from vcmbench.encoder import DECODED, SOURCE, Clip, CodingConfiguration, Command, Encoder, Tool


class Uncoded(Encoder):
    label = "NONE"
    extension = ".ppm"
    quality = None
    chroma = ("444",)
    pixels = "rgb"
    lossless = True
    stackable = False
    max_side_px = 65535
    encode_tools = decode_tools = (Tool("raw-copy"),)
    rough_s_per_mpx = (("", 0.0015),)

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command((program, SOURCE["rgb"], self.bitstream))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command((program, self.bitstream, DECODED["rgb"]))
