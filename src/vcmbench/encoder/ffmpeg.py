"""FFmpeg command lines that several encoders share, built with ffmpeg-python."""

from __future__ import annotations

import re
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from vcmbench.encoder.base import DECODED, FRAME_LOG, QPS, SOURCE, Clip, CodedFrame, Encoder, Tool
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.quantisers import Quantisers
from vcmbench.encoder.structure import Structure
from vcmbench.errors import RequestError

# x264 named them; x265 and kvazaar took the names over
X26X_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip

# -progress reports the exact number of bytes written, which is how a cut-off file is told from a complete one.
QUIET = {"hide_banner": None, "nostdin": None, "y": None}


def encoder_tool(component: str) -> Tool:
    return Tool("ffmpeg", needs=f"encoder:{component}")


def decoder_tool(component: str) -> Tool:
    return Tool("ffmpeg", needs=f"decoder:{component}")


def encode(clip: Clip, output: str, muxer: str, *, signal_colour: bool = True, **options: str | int) -> tuple[str, ...]:
    """argv that codes the raw source of `clip` into the elementary stream `output`; all-intra unless `options` say
    otherwise, one thread.

    `signal_colour` writes matrix and range into the stream, so that a player shows it as it was meant.
    """
    source = ffmpeg.input(
        SOURCE["yuv"],
        f="rawvideo",
        pix_fmt=clip.chroma.pixel_format,
        s=f"{clip.width}x{clip.height}",
        **QUIET,
    )
    return encode_from(source, clip, output, muxer, signal_colour=signal_colour, **options)


def encode_from(
    source: Any, clip: Clip, output: str, muxer: str, *, signal_colour: bool = True, **options: str | int
) -> tuple[str, ...]:
    """The same of `source`, a stream of ffmpeg-python."""
    colours = {"colorspace": "smpte170m", "color_range": "tv"} if signal_colour and clip.chroma.has_chroma else {}
    settings = {"f": muxer, "threads": 1, "g": 1, "progress": "pipe:1", **colours, **options}
    return tuple(ffmpeg.compile(ffmpeg.output(source, output, **settings)))


RATE_CONTROL = frozenset({
    "qp", "qp-constant", "crf", "crf-min", "crf-max", "bitrate", "vbv-maxrate", "vbv-bufsize", "lossless",
    "qpmin", "qpmax", "qpstep", "qp-min", "qp-max", "qp-step", "qcomp", "ipratio", "pbratio", "ip-factor", "pb-factor",
    "aq-mode", "aq-strength", "aq-bias-strength", "aq-motion", "hevc-aq", "cutree", "mbtree", "zones", "zonefile",
    "qpfile", "pass", "stats", "keyint", "keyint-max", "min-keyint", "keyint-min", "bframes", "threads", "pools",
    "cu-lossless", "frame-threads", "slices", "ctu", "qg-size", "csv", "log", "log-level", "recon",
    "interlaced", "tff", "bff", "sliced-threads", "lookahead-threads", "dump-yuv", "opts",
})  # fmt: skip
"""Parameters of x264 and x265 by which the QP of a block, the one thread or the intra pictures would be lost, or that
name files."""


STRUCTURE = frozenset({
    "scenecut", "scenecut-bias", "hist-scenecut", "scenecut-aware-qp", "open-gop", "b-adapt", "b-pyramid",
    "intra-refresh", "radl", "gop-lookahead", "temporal-layers", "frame-dup", "csv-log-level", "mcstf",
})  # fmt: skip
"""Parameters of x264 and x265 by which the types of a sequence's pictures, or the log of them, would be lost."""


def inter_parameters(structure: Structure, frames: int) -> str:
    """x264's and x265's parameters for a structure that is not intra: low delay is P pictures in closed groups, random
    access a pyramid of two levels in open ones. With ratios of 1 every picture has the QP that is asked for."""
    period = structure.intra_period or max(frames, 2)  # with 1 every picture would be an intra picture
    bframes, is_open = (structure.gop - 1, 1) if structure.kind == "randomaccess" else (0, 0)
    ratios = "ipratio=1.4:pbratio=1.3" if structure.layer_offsets else "ipratio=1:pbratio=1"
    return f"{ratios}:keyint={period}:bframes={bframes}:b-adapt=0:open-gop={is_open}:scenecut=0"


def mapped_parameters(structure: Structure, frames: int) -> str:
    """The same beside a rate factor, the constant QP that obeys maps. With a qcomp of 1 both would code the first intra
    picture without its offset; this near to it, how hard pictures are moves no QP by 0.1."""
    return f"qcomp=0.999:{inter_parameters(structure, frames)}"


def inter_offsets(structure: Structure) -> dict[str, float]:
    """What those ratios are in whole QPs: 6 log2(1.4) and 6 log2(1.3); "B" is referred to, and half-way to "b"."""
    if structure.kind == "intra":
        return {"I": 0.0}
    offsets = {"I": -3.0, "P": 0.0}
    if structure.kind == "randomaccess":
        offsets |= {"B": 1.0, "b": 2.0} if structure.gop > 2 else {"b": 2.0}
    return offsets if structure.layer_offsets else dict.fromkeys(offsets, 0.0)


def check_inter(name: str, structure: Structure) -> None:
    """Raises RequestError where x264 or x265 cannot code by `structure`."""
    if structure.kind == "randomaccess" and structure.gop > 17:
        raise RequestError(f"gop {structure.gop}: {name} takes 2..17, since it has at most 16 B pictures in a row")


def more_parameters(encoder: Encoder, coding: CodingConfiguration) -> str:
    """A coding's own parameters, and what switches off what it has off, to be put behind ours in x264's and x265's
    notation."""
    return "".join(f":{name}={value}" for name, value in [*encoder.switched_off(coding).items(), *coding.parameters])


def zones(quantisers: Quantisers, first: int = 0) -> str:
    """x264's and x265's `zones`: a QP for each picture of a stack, counted from `first`."""
    return "/".join(f"{n},{n},q={qp}" for n, qp in enumerate(quantisers.frames, first))


def h264_block_qps(clip: Clip, bitstream: str) -> tuple[str, ...]:
    """argv with which the H.264 decoder tells every macroblock's QP, as codecview paints it into a chroma plane."""
    source = ffmpeg.input(bitstream, f="h264", threads=1, export_side_data="venc_params", v="error", **QUIET)
    painted = "format=yuv420p,codecview=qp=true,extractplanes=u"
    settings = {"f": "rawvideo", "pix_fmt": "gray", "fps_mode": "passthrough", "vf": painted}
    return tuple(ffmpeg.compile(ffmpeg.output(source, QPS, **settings)))


def read_block_qps(data: bytes, clip: Clip) -> NDArray[np.float64]:
    """The QPs that `h264_block_qps` made FFmpeg write: (frames, rows, columns) of 16x16 macroblocks."""
    plane = -(-clip.height // 2), -(-clip.width // 2)
    painted = np.frombuffer(data, np.uint8).reshape(-1, *plane)[:, ::8, ::8].astype(np.float64)
    # codecview paints qp * 128 / 31, rounded down
    return np.ceil(painted * 31 / 128)


FRAME_LOGGED = {"vstats_file": FRAME_LOG, "stats_enc_post": "pipe:1", "stats_enc_post_fmt": "coded {pts}"}
"""Options with which FFmpeg reports every picture that an encoder of its own hands over: QP and type in the log of
pictures, the place in display order among what it prints."""


def coded_frames(log: str, frame_log: str) -> list[CodedFrame] | None:
    """What those options made it report."""
    places = re.findall(r"^coded (\d{1,9})$", log, re.MULTILINE)
    pictures = re.findall(r"\bq= *(\d{1,9}(?:\.\d{1,9})?) .*\btype= *([IPB])\b", frame_log)
    if not places or len(places) != len(pictures):
        return None
    return [CodedFrame(int(place), kind, float(qp)) for place, (qp, kind) in zip(places, pictures, strict=True)]


def decode(clip: Clip, bitstream: str, demuxer: str, decoder: str | None = None) -> tuple[str, ...]:
    """argv that decodes an elementary stream into raw planar frames and stops at the first damage that it sees."""
    settings = {"c:v": decoder} if decoder else {}
    source = ffmpeg.input(
        bitstream, f=demuxer, threads=1, err_detect="explode", xerror=None, v="error", **settings, **QUIET
    )
    pixel_format = clip.chroma.pixel_format
    # passthrough: frames come out as they were coded, none dropped or repeated to fit a frame rate
    raw = ffmpeg.output(source, DECODED["yuv"], f="rawvideo", pix_fmt=pixel_format, fps_mode="passthrough")
    return tuple(ffmpeg.compile(raw))


def complaint(log: str) -> str | None:
    """What FFmpeg says of an encoder's parameter that it passes over: it goes on without."""
    found = re.search(r"Error parsing option '[^'\n]*'|Unknown option: \S+|Invalid value for [^\n]*", log)
    return found[0] if found else None


def reported_bytes(log: str) -> int | None:
    """The last total_size of FFmpeg's -progress output."""
    sizes = re.findall(r"^total_size=(\d{1,18})$", log, re.MULTILINE)
    return int(sizes[-1]) if sizes else None
