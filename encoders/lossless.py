"""PNG: every bit of the picture kept. The reference end of a rate curve, and the published `LOSSLESS`."""

from vcmbench.encoder import DECODED, SOURCE, Clip, CodingConfiguration, Command, Encoder, Tool


class Lossless(Encoder):
    label = "LOSSLESS"
    extension = ".png"
    quality = None
    chroma = ("444", "400")
    pixels = "rgb"
    lossless = True
    stackable = False
    max_side_px = 65535
    encode_tools = decode_tools = (Tool("pillow-png"),)
    compat = ("qomex2023",)
    rough_s_per_mpx = (("", 0.45),)

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        # The published experiment let Pillow search for the smallest file; that costs ten times the time.
        effort = ("--optimize",) if coding.compat else ()
        gray = ("--gray",) if coding.color_subsampling == "400" else ()
        return Command((program, "encode", *effort, *gray, SOURCE["rgb"], self.bitstream))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command((program, "decode", self.bitstream, DECODED["rgb"]))
