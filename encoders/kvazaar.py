"""HEVC by kvazaar: its own program, or libkvazaar through FFmpeg."""

import re
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vcmbench.encoder import (
    BLOCK_BITS,
    SOURCE,
    Clip,
    CodedFrame,
    CodingConfiguration,
    Command,
    Encoder,
    QualityScale,
    Quantisers,
    Structure,
    Switches,
    Tool,
    by_picture_order,
    ffmpeg,
)
from vcmbench.encoder.layers import LOW_DELAY, PYRAMID, QpLayer, group
from vcmbench.errors import RequestError

_MAP = "roi.txt"
# kvazaar has two pyramids, each with its offsets, and codes the intra pictures finer by a layer count of its own
_PYRAMIDS = {
    8: (QpLayer(-2), (QpLayer(0), QpLayer(3, -6.25, 0.25), QpLayer(4, -6.25, 0.25), QpLayer(8, -7.0, 0.245))),
    16: (QpLayer(-3), PYRAMID),
}


def _map_text(quantisers: Quantisers) -> str:
    """kvazaar's map, for a sequence one a picture: columns and rows, then the QP offset of every block."""
    text = ""
    for offsets in quantisers.pictures or (quantisers.offsets,):
        rows, columns = offsets.shape
        lines = (" ".join(map(str, row)) for row in offsets.tolist())
        text += f"{columns} {rows}\n" + "\n".join(lines) + "\n"
    return text


def _structure(structure: Structure) -> dict[str, str | int | None]:
    """Low delay with offsets is a pattern of four pictures in three layers, without them it is no pattern at all."""
    if structure.kind == "intra":
        return {}
    pattern: str | int = structure.gop
    if structure.kind == "lowdelay":
        pattern = "lp-g4d3t1" if structure.layer_offsets else 0
    return {"gop": pattern, "period": structure.intra_period or 0}


def _coding_order(structure: Structure | None, frames: int) -> list[int]:
    """The pictures, by their places in display order, in the order in which they are coded."""
    if structure is None or structure.kind != "randomaccess":
        return list(range(frames))
    numbers = [picture.number for picture in group(structure)]
    places = [0, *(start + number for start in range(0, frames, structure.gop) for number in numbers)]
    return [place for place in places if place < frames]


class Kvazaar(Encoder):
    label = "KVAZAAR"
    extension = ".265"
    quality = QualityScale("QP", 0, 51, "low")
    chroma = ("420",)
    presets = ffmpeg.X26X_PRESETS
    min_side_px = 16
    side_multiple_px = 8
    encode_tools = (Tool("kvazaar"), ffmpeg.encoder_tool("libkvazaar"))
    decode_tools = (ffmpeg.decoder_tool("hevc"),)
    switches: ClassVar[Switches] = {"deblocking": {"no-deblock": 1}, "sao": {"sao": "off"}}
    map_method = "native"
    map_units_px = (64,)
    structures = ("intra", "lowdelay", "randomaccess")
    map_structures = structures
    search_rates = ((0, 5.19), (6, 3.52), (12, 1.87), (22, 0.524), (32, 0.145), (42, 0.0379), (51, 0.011))
    rough_s_per_mpx = (("", 0.2), ("ultrafast", 0.1), ("slower", 0.6), ("veryslow", 0.7), ("placebo", 0.7))

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command(self._argv(program, coding, clip, {"qp": coding.quality}))

    def encode_mapped(self, program: str, coding: CodingConfiguration, clip: Clip, quantisers: Quantisers) -> Command:
        if quantisers.pictures:
            # it takes the next map of the file for the next picture that it codes
            order = _coding_order(coding.structure, clip.frames)
            quantisers = replace(quantisers, pictures=tuple(quantisers.pictures[at] for at in order))
        settings = {"qp": int(quantisers.base), "roi": f"../in/{_MAP}"}
        return Command(self._argv(program, coding, clip, settings), {_MAP: _map_text(quantisers)})

    def _argv(
        self, program: str, coding: CodingConfiguration, clip: Clip, quality: dict[str, str | int | None]
    ) -> tuple[str, ...]:
        # The same words on both command lines. info=0 leaves out the text that kvazaar writes about itself, hash=none
        # the checksum of every picture, 21 bytes.
        settings = {"preset": coding.preset or "medium", **quality, "period": 1, "threads": 0, "owf": 0, "hash": "none"}
        if coding.structure:
            settings |= _structure(coding.structure)
        settings |= self.switched_off(coding)
        if program == "kvazaar":
            size = ("--input-res", f"{clip.width}x{clip.height}", "-n", str(clip.frames))
            flags = [f"--{name}" for name in settings if name.startswith("no-")]
            words = [word for name, value in settings.items() if f"--{name}" not in flags
                     for word in (f"--{name}", str(value))] + flags  # fmt: skip
            files = ("-i", SOURCE["yuv"], "-o", self.bitstream)
            return (program, *files, *size, *words, "--no-wpp", "--no-info")
        parameters = ",".join(f"{name}={value}" for name, value in settings.items()) + ",wpp=0,info=0"
        options = {"c:v": "libkvazaar", "kvazaar-params": parameters}
        return ffmpeg.encode(
            clip, self.bitstream, "hevc", **options, **(ffmpeg.FRAME_LOGGED if coding.structure else {})
        )

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command(ffmpeg.decode(clip, self.bitstream, "hevc"))

    def with_block_bits(self, command: Command) -> Command | None:
        # libkvazaar knows the option, too, but its files are opened by the program alone
        words = ("--stats-file-prefix", BLOCK_BITS.removesuffix("bits.txt"))
        return replace(command, argv=command.argv + words) if command.argv[0] == "kvazaar" else None

    def read_block_bits(self, text: str) -> NDArray[np.int64]:
        # number of the picture, columns and rows; then the bits
        (_, columns, rows), *lines = (
            [int(word) for word in line.split()] for line in text.splitlines() if line.strip()
        )
        return np.array(lines, np.int64).reshape(rows, columns)

    def coded_qp(self, log: str) -> float | None:
        qps = [float(qp) for qp in re.findall(r"POC +\d+ QP (\d{1,9})\b", log)]
        return sum(qps) / len(qps) if qps else None

    def coded_frames(self, log: str, frame_log: str) -> list[CodedFrame] | None:
        rows = re.findall(r"POC +(\d{1,9}) QP (\d{1,9}) .*?\(([IPB])-frame\)", log)
        return by_picture_order((order, kind, qp) for order, qp, kind in rows) or ffmpeg.coded_frames(log, frame_log)

    def layer_offsets(self, structure: Structure, quality: int) -> dict[str, float]:
        if structure.kind == "intra":
            return {"I": 0.0}
        intra, layers = (QpLayer(-1), LOW_DELAY) if structure.kind == "lowdelay" else _PYRAMIDS[structure.gop]
        named = {"I": intra} | {str(number): layer for number, layer in enumerate(layers, 1)}
        return {name: layer.at(quality) if structure.layer_offsets else 0.0 for name, layer in named.items()}

    def check_structure(self, structure: Structure) -> None:
        if structure.kind != "randomaccess":
            return
        if structure.gop not in _PYRAMIDS:
            raise RequestError(f"gop {structure.gop}: {self.name} takes 8 or 16")
        if not structure.layer_offsets:
            raise RequestError(
                f'layer_offsets false: {self.name} has offsets in every pyramid; with structure "lowdelay" it has none'
            )
        if structure.intra_period is not None and structure.intra_period % structure.gop:
            raise RequestError(
                f"intra_period {structure.intra_period}: {self.name} takes multiples of gop, {structure.gop}"
            )

    def reported_bytes(self, log: str) -> int | None:
        found = re.search(r"Processed \d+ frames, +(\d{1,18}) bits", log)
        return int(found[1]) // 8 if found else ffmpeg.reported_bytes(log)
