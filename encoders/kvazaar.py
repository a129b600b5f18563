"""HEVC by kvazaar: its own program, or libkvazaar through FFmpeg."""

import re

from vcmbench.encoder import (
    SOURCE,
    Clip,
    CodingConfiguration,
    Command,
    Encoder,
    QualityScale,
    Quantisers,
    Tool,
    ffmpeg,
)

_MAP = "roi.txt"


def _map_text(quantisers: Quantisers) -> str:
    """kvazaar's map: columns and rows, then the QP offset of every block."""
    rows, columns = quantisers.offsets.shape
    lines = (" ".join(map(str, row)) for row in quantisers.offsets.tolist())
    return f"{columns} {rows}\n" + "\n".join(lines) + "\n"


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
    map_method = "native"
    map_units_px = (64,)
    search_rates = ((0, 5.19), (6, 3.52), (12, 1.87), (22, 0.524), (32, 0.145), (42, 0.0379), (51, 0.011))
    rough_s_per_mpx = (("", 0.2), ("ultrafast", 0.1), ("slower", 0.6), ("veryslow", 0.7), ("placebo", 0.7))

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command(self._argv(program, coding, clip, {"qp": coding.quality}))

    def encode_mapped(self, program: str, coding: CodingConfiguration, clip: Clip, quantisers: Quantisers) -> Command:
        settings = {"qp": int(quantisers.base), "roi": f"../in/{_MAP}"}
        return Command(self._argv(program, coding, clip, settings), {_MAP: _map_text(quantisers)})

    def _argv(
        self, program: str, coding: CodingConfiguration, clip: Clip, quality: dict[str, str | int | None]
    ) -> tuple[str, ...]:
        # The same words on both command lines. info=0 leaves out the text that kvazaar writes about itself, hash=none
        # the checksum of every picture, 21 bytes.
        settings = {"preset": coding.preset or "medium", **quality, "period": 1, "threads": 0, "owf": 0, "hash": "none"}
        if program == "kvazaar":
            size = ("--input-res", f"{clip.width}x{clip.height}", "-n", str(clip.frames))
            words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
            files = ("-i", SOURCE["yuv"], "-o", self.bitstream)
            return (program, *files, *size, *words, "--no-wpp", "--no-info")
        parameters = ",".join(f"{name}={value}" for name, value in settings.items()) + ",wpp=0,info=0"
        return ffmpeg.encode(clip, self.bitstream, "hevc", **{"c:v": "libkvazaar", "kvazaar-params": parameters})

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command(ffmpeg.decode(clip, self.bitstream, "hevc"))

    def coded_qp(self, log: str) -> float | None:
        qps = [float(qp) for qp in re.findall(r"POC +\d+ QP (\d{1,9})\b", log)]
        return sum(qps) / len(qps) if qps else None

    def reported_bytes(self, log: str) -> int | None:
        found = re.search(r"Processed \d+ frames, +(\d{1,18}) bits", log)
        return int(found[1]) // 8 if found else ffmpeg.reported_bytes(log)
