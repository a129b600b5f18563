"""No coding at all: raw pixels in, raw pixels out. It measures the harness itself."""

from vcmbench.encoder import DECODED, SOURCE, Clip, CodingConfiguration, Command, Encoder, Tool, Typical


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
    typical = Typical(
        bpp=((0, 24),),
        encode_s_per_mpx=((0, 0.000716),),
        decode_s_per_mpx=((0, 0.000752),),
        start_s=0.001,
        memory_mb=(0, 0, 0),
    )  # fmt: skip

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command((program, SOURCE["rgb"], self.bitstream))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command((program, self.bitstream, DECODED["rgb"]))
