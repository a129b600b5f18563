"""Small videos whose frames have their numbers in their pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
SIDE, CELL, FRAMES = 64, 16, 24
RATE = 25


def numbered(number: int) -> U8:
    """A picture of black and white cells: the bits of its number, lowest first, row by row."""
    bits = np.array([number >> bit & 1 for bit in range(16)], np.uint8).reshape(4, 4) * 255
    return np.repeat(bits.repeat(CELL, 0).repeat(CELL, 1)[..., None], 3, axis=2)


def number_of(rgb: U8) -> int:
    cells = rgb[..., 1].reshape(4, CELL, 4, CELL)[:, 4:-4, :, 4:-4].mean(axis=(1, 3)) > 127
    return int((cells.reshape(-1) * (1 << np.arange(16))).sum())


def write(
    path: Path, codec: str = "libx264", options: dict[str, str] | None = None, *, pixels: str = "yuv420p",
    pictures: Sequence[U8 | av.VideoFrame] | None = None, ticks: Sequence[int] | None = None,
    prepare: Callable[[Any], None] = lambda stream: None,
) -> Path:  # fmt: skip
    """A video by one of PyAV's encoders, of numbered pictures; `ticks` are their times in 1/25 s, else even."""
    shown = [numbered(number) for number in range(FRAMES)] if pictures is None else pictures
    with av.open(str(path), "w", format="yuv4mpegpipe" if path.suffix == ".y4m" else None) as container:
        stream: Any = container.add_stream(codec, rate=RATE, options=options or {})
        frames = [one if isinstance(one, av.VideoFrame) else av.VideoFrame.from_ndarray(one, "rgb24") for one in shown]
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, pixels
        stream.codec_context.time_base = Fraction(1, RATE)
        prepare(stream)
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = ticks[number] if ticks else number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def cut(source: Path, path: Path, first_packet: int) -> Path:
    """The packets of a video from one on, copied as they are."""
    with av.open(str(source)) as read, av.open(str(path), "w") as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        for number, packet in enumerate(read.demux(stream)):
            if packet.dts is not None and number >= first_packet:
                packet.stream = copy
                written.mux(packet)
    return path
