"""Baseline JPEG by libjpeg-turbo: its own cjpeg and djpeg, or the copy inside Pillow (same library, same bytes).

Huffman tables are optimised, as the published set's are not: the same pixels in 2 to 36 % fewer bytes.
With a QP map: coded with the quantiser tables of its finest block, then coarsened block by block (`requantise`).
"""

import math

import numpy as np
from numpy.typing import NDArray

from vcmbench.encoder import (
    DECODED,
    SOURCE,
    Clip,
    CodingConfiguration,
    Command,
    Encoder,
    QualityScale,
    Quantisers,
    Tool,
    jpeg_tables,
)

_TABLES, _EXCESS, _FINE = "tables.txt", "excess.csv", "fine.jpg"
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
    map_method = "coefficients"
    map_units_px = (8,)
    log2_step_of_one = math.log2(100 / 16)  # the standard luma table begins with 16
    search_rates = ((5, 0.095), (10, 0.154), (30, 0.36), (50, 0.529), (70, 0.756), (90, 1.5), (98, 3.59))
    rough_s_per_mpx = (("", 0.015),)

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        optimize = () if coding.compat else ("optimize",)
        return Command(self._argv(program, coding, ("quality", str(coding.quality), *optimize), self.bitstream))

    def encode_mapped(self, program: str, coding: CodingConfiguration, clip: Clip, quantisers: Quantisers) -> Command:
        tables = jpeg_tables.scaled_tables(coding.quality or 0, quantisers.base)
        lines = (",".join(f"{excess:.4f}" for excess in row) for row in quantisers.offsets.tolist())
        files = {_TABLES: jpeg_tables.tables_text(*tables), _EXCESS: "\n".join(lines) + "\n"}
        where = ("--map", f"../in/{_EXCESS}", "--block", str(quantisers.unit_px))
        coarsen = ("jpeg-requantise", *where, _FINE, self.bitstream)
        return Command(self._argv(program, coding, ("qtables", f"../in/{_TABLES}"), _FINE), files, (coarsen,))

    def _argv(self, program: str, coding: CodingConfiguration, tables: tuple[str, ...], target: str) -> tuple[str, ...]:
        name, value, *switches = tables
        if program == "pillow-jpeg":
            options = (f"--{name}", value, *(f"--{switch}" for switch in switches))
            return (program, "encode", *options, "--sampling", coding.color_subsampling, SOURCE["rgb"], target)
        gray = coding.color_subsampling == "400"
        sampling = ("-grayscale",) if gray else ("-sample", _SAMPLING_FACTORS[coding.color_subsampling])
        options = (f"-{name}", value, *(f"-{switch}" for switch in switches), "-baseline", "-dct", "int", *sampling)
        return (program, *options, "-outfile", target, SOURCE["rgb"])

    def log2_step(self, quality: int) -> float:
        return math.log2(jpeg_tables.table_percent(quality))

    def quantisers(self, quality: int, steps: NDArray[np.float64], shift: float, unit_px: int) -> Quantisers:
        wanted = steps + shift
        base = float(np.clip(wanted.min(), -jpeg_tables.MAX_EXCESS, jpeg_tables.MAX_EXCESS))
        excess = np.clip(wanted - base, 0, jpeg_tables.MAX_EXCESS)
        luma, uniform = (jpeg_tables.scaled_tables(quality, by)[0] for by in (base, 0.0))
        # entries end at 1 and 255: then the table is not as fine or as coarse as it was to be
        reached = 6 * float(np.mean(np.log2(luma / uniform)))
        is_clamped = np.full(wanted.shape, abs(reached - base) > 0.5) | (excess != wanted - base)
        told = (reached if is_clamped.any() else base) + excess
        return Quantisers(base, excess, unit_px, told, int(np.sum(is_clamped)))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        if program == "pillow-jpeg":
            return Command((program, "decode", self.bitstream, DECODED["rgb"]))
        return Command((program, "-dct", "int", "-rgb", "-pnm", "-outfile", DECODED["rgb"], self.bitstream))
