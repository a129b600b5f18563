"""FFmpeg command lines that several encoders share, built with ffmpeg-python."""

from __future__ import annotations

import re

import ffmpeg

from vcmbench.encoder import DECODED, SOURCE, Clip, Tool

# x264 named them; x265 and kvazaar took the names over
X26X_PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip

# -progress reports the exact number of bytes written, which is how a cut-off file is told from a complete one.
_QUIET = {"hide_banner": None, "nostdin": None, "y": None}


def encoder_tool(component: str) -> Tool:
    return Tool("ffmpeg", needs=f"encoder:{component}")


def decoder_tool(component: str) -> Tool:
    return Tool("ffmpeg", needs=f"decoder:{component}")


def encode(clip: Clip, output: str, muxer: str, *, signal_colour: bool = True, **options: str | int) -> tuple[str, ...]:
    """argv that codes the raw source of `clip` into the elementary stream `output`; all-intra, one thread.

    `signal_colour` writes matrix and range into the stream, so that a player shows it as it was meant.
    """
    source = ffmpeg.input(
        SOURCE["yuv"],
        f="rawvideo",
        pix_fmt=clip.chroma.pixel_format,
        s=f"{clip.width}x{clip.height}",
        **_QUIET,
    )
    colours = {"colorspace": "smpte170m", "color_range": "tv"} if signal_colour and clip.chroma.has_chroma else {}
    settings = {"f": muxer, "threads": 1, "g": 1, "progress": "pipe:1", **colours, **options}
    return tuple(ffmpeg.compile(ffmpeg.output(source, output, **settings)))


def decode(clip: Clip, bitstream: str, demuxer: str, decoder: str | None = None) -> tuple[str, ...]:
    """argv that decodes an elementary stream into raw planar frames and stops at the first damage that it sees."""
    settings = {"c:v": decoder} if decoder else {}
    source = ffmpeg.input(
        bitstream, f=demuxer, threads=1, err_detect="explode", xerror=None, v="error", **settings, **_QUIET
    )
    pixel_format = clip.chroma.pixel_format
    # passthrough: frames come out as they were coded, none dropped or repeated to fit a frame rate
    raw = ffmpeg.output(source, DECODED["yuv"], f="rawvideo", pix_fmt=pixel_format, fps_mode="passthrough")
    return tuple(ffmpeg.compile(raw))


def reported_bytes(log: str) -> int | None:
    """The last total_size of FFmpeg's -progress output."""
    sizes = re.findall(r"^total_size=(\d+)$", log, re.MULTILINE)
    return int(sizes[-1]) if sizes else None
