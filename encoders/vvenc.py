"""VVC by VVenC: its own vvencFFapp and vvdecapp, or libvvenc and the VVC decoder of FFmpeg."""

import re
from typing import ClassVar

from vcmbench.encoder import (
    DECODED,
    SOURCE,
    Clip,
    CodedFrame,
    CodingConfiguration,
    Command,
    Encoder,
    QualityScale,
    Structure,
    Switches,
    Tool,
    by_picture_order,
    ffmpeg,
    layers,
)

# What else moves a picture's QP: presets code intra pictures 3 QP finer, and in a stack the temporal filter (MCTF) and
# block importance mapping (BIM), which cannot be on without it, let it depend on the neighbours.
_EXACT: dict[str, str | int] = {"IntraQPOffset": 0, "MCTF": 0, "BIM": 0}


def _structure(structure: Structure) -> dict[str, str | int]:
    """VVenC's parameters for a structure that is not intra. Its groups are spelled out, since of those that it knows by
    itself there are few sizes, and none without offsets."""
    is_low = structure.kind == "lowdelay"
    pictures, by_layer = layers.group(structure), layers.layers(structure)
    # it takes no other refresh with low delay
    refresh = {"DecodingRefreshType": "none", "PicReordering": 0} if is_low else {"DecodingRefreshType": "cra"}
    return {
        "GOPSize": len(pictures),
        "IntraPeriod": structure.intra_period or -1,
        "IntraQPOffset": layers.INTRA[structure.kind] if structure.layer_offsets else 0,
        "poc0idr": 1,
        **refresh,
        **{f"Frame{place}": _picture(one, by_layer[one.layer], is_low) for place, one in enumerate(pictures, 1)},
    }


def _picture(picture: layers.CodedPicture, layer: layers.QpLayer, is_low: bool) -> str:
    """A picture of a group in VVenC's words: slice type, number, QP offset and how it follows the QP, offsets of
    chroma, factor of lambda, deblocking offsets, temporal layer, then two lists of how far back references lie."""
    after = [-one for one in picture.ahead]
    lists = (picture.back + after[:1], after + picture.back if after else picture.back)
    counted = " ".join(f"{len(one)} {len(one)} {' '.join(map(str, one))}" for one in lists)
    offset = f"{layer.offset} {layer.shift} {layer.scale}"
    return f"B {picture.number} {offset} 0 0 1.0 0 0 0 0 0 0 {0 if is_low else picture.layer} {counted}"


def _words(parameters: dict[str, str | int]) -> list[str]:
    return [word for name, value in parameters.items() for word in (f"--{name}", str(value))]


# Of stacks of so many pictures FFmpeg writes none, when the encoder looks ahead for more than it is given; without
# parallel pictures, of which one thread has none, it has the same bytes and all of them.
_LOST = range(7, 11)


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
    structures = ("intra", "lowdelay", "randomaccess")
    switches: ClassVar[Switches] = {
        "deblocking": {"LoopFilterDisable": 1}, "sao": {"SAO": 0}, "alf": {"ALF": 0, "CCALF": 0},
    }  # fmt: skip
    search_rates = ((0, 4.91), (6, 4.21), (12, 2.42), (22, 0.692), (32, 0.2), (42, 0.0539), (52, 0.0137), (63, 0.00284))
    rough_s_per_mpx = (("", 0.5), ("fast", 1.7), ("medium", 5.6), ("slow", 14.0), ("slower", 40.0), ("qomex2023", 2.0))

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        published = coding.compat == "qomex2023"
        preset = "fast" if published else coding.preset or "faster"
        if program == "vvencFFapp":
            return Command(self._app_argv(program, coding, clip, preset, published))
        # verbosity 4 prints a line a picture, with its QP
        parameters: dict[str, str | int] = {"internalbitdepth": 8, "verbosity": 4}
        parameters |= {"ALFSpeed": 0} if published else _EXACT
        if coding.structure and coding.structure.kind != "intra":
            parameters |= _structure(coding.structure)
        parameters |= self.switched_off(coding)
        if coding.structure or clip.frames in _LOST:
            parameters["MaxParallelFrames"] = 0
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
        # a line of FFmpeg's progress would run into one of pictures
        quiet = {"nostats": None} if coding.structure else {}
        return Command(ffmpeg.encode(clip, self.bitstream, "vvc", signal_colour=not published, **options, **quiet))

    def _app_argv(
        self, program: str, coding: CodingConfiguration, clip: Clip, preset: str, published: bool
    ) -> tuple[str, ...]:
        size = ("-s", f"{clip.width}x{clip.height}", "-f", str(clip.frames), "-fr", "1")
        depth = ("--InputBitDepth", "8", "--InternalBitDepth", "8")
        intra = ("-g", "1", "--IntraPeriod", "1", "-t", "0")
        exact = _words(_EXACT | self.switched_off(coding))
        if coding.structure and coding.structure.kind != "intra":
            intra = ("-t", "0")
            exact = _words(_EXACT | _structure(coding.structure) | self.switched_off(coding))
        tuning = ("--ALFSpeed", "0", "-qpa", "1") if published else ("-qpa", "0", *exact)
        if coding.structure:
            tuning += ("-v", "4")
        files = ("-i", SOURCE["yuv"], "-b", self.bitstream)
        return (program, *files, *size, *depth, *intra, "--preset", preset, *tuning, "-q", str(coding.quality))

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        if program == "vvdecapp":
            return Command((program, "-t", "0", "-b", self.bitstream, "-o", DECODED["yuv"]))
        return Command(ffmpeg.decode(clip, self.bitstream, "vvc"))

    def coded_frames(self, log: str, frame_log: str) -> list[CodedFrame] | None:
        rows = re.findall(r"^POC +(\d{1,9}) .*?\b([IPBipb])-SLICE, QP (-?\d{1,9})\b", log, re.MULTILINE)
        return by_picture_order(rows)

    def layer_offsets(self, structure: Structure, quality: int) -> dict[str, float]:
        return layers.offsets(structure, quality)

    def check_structure(self, structure: Structure) -> None:
        layers.check(self.name, structure)

    def coded_qp(self, log: str) -> float | None:
        qps = [float(qp) for qp in re.findall(r"^POC +\d+ .*?I-SLICE, QP (-?\d{1,9})\b", log, re.MULTILINE)]
        return sum(qps) / len(qps) if qps else None

    def reported_bytes(self, log: str) -> int | None:
        found = re.search(r"^Bytes written to file: (\d{1,18})\b", log, re.MULTILINE)  # of vvencFFapp
        return int(found[1]) if found else ffmpeg.reported_bytes(log)
