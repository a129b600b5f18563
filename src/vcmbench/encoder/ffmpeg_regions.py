"""QP maps for FFmpeg's libx264 and libx265: `addroi`, one a rectangle.

Both read a region's qoffset as a share of the QP range, 51 at 8 bits; of regions that overlap the first one holds.
Other encoders of FFmpeg ignore regions without a word.

`addroi` knows no time, so every run of pictures with one map needs filters of its own. For every step of a picture
FFmpeg looks through all filters of a graph, so that time grows with the square of their number: a sequence comes in
pieces, each an input of its own with a graph of its own that reads its part of the source. As an input of the device
`lavfi` pictures keep their regions, which they would lose in any pipe. The bytes are those of one graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from vcmbench.encoder.base import SOURCE, Clip, Command
from vcmbench.encoder.ffmpeg import QUIET, encode, encode_from
from vcmbench.encoder.quantisers import Quantisers, rectangles
from vcmbench.errors import JobError

MAX_REGIONS = 200_000
"""Of a sequence: they take FFmpeg about 1.1 GB and some seconds."""
PIECE_REGIONS = 1000
PIECE_RUNS = 64
"""Of a piece at most, but for a single map that has more rectangles."""


@dataclass(frozen=True)
class _Run:
    """Pictures `first` to `after` - 1, which have one map."""

    first: int
    after: int
    filters: list[str]


def encode_mapped(clip: Clip, output: str, muxer: str, quantisers: Quantisers, **options: Any) -> Command:
    """`ffmpeg.encode` with a QP map on every picture. Graphs this long are no arguments: they travel in files.

    Raises JobError where FFmpeg would need too much memory.
    """
    if not quantisers.pictures:
        return _one_map(_filters(quantisers.offsets, quantisers.unit_px), clip, output, muxer, options)
    runs = list(_runs(quantisers))
    count = sum(len(run.filters) for run in runs)
    if count > MAX_REGIONS:
        raise JobError(
            f"the QP maps of {len(quantisers.pictures)} pictures come to {count} rectangles, FFmpeg takes "
            f"{MAX_REGIONS}; a larger qp_map.block_size, a coarser map or fewer frames ([dataset] frames) have less"
        )
    if len(runs) == 1:
        return _one_map(runs[0].filters, clip, output, muxer, options)
    files = {f"regions_{n}.txt": _piece(piece, clip) for n, piece in enumerate(_pieces(runs))}
    inputs = [ffmpeg.input("regions", f="lavfi", graph_file=f"../in/{name}", **QUIET) for name in files]
    joined = inputs[0] if len(inputs) == 1 else ffmpeg.concat(*inputs)
    # as raw video has it: pictures at FFmpeg's default rate, by which x265 shares bits out, and no shape of pixels
    source = joined.filter("setpts", "N/(25*TB)").filter("fps", 25).filter("setsar", 0)
    return Command(encode_from(source, clip, output, muxer, fps_mode="passthrough", **options), files)


def _one_map(filters: list[str], clip: Clip, output: str, muxer: str, options: dict[str, Any]) -> Command:
    options = {"/filter:v": "../in/regions.txt", **options}
    return Command(encode(clip, output, muxer, **options), {"regions.txt": ",\n".join(filters) or "null"})


def _filters(offsets: NDArray[Any], unit_px: int) -> list[str]:
    found = rectangles(offsets, unit_px)
    return [f"addroi={x}:{y}:{width}:{height}:{offset}/51" for x, y, width, height, offset in found]


def _runs(quantisers: Quantisers) -> Iterator[_Run]:
    maps = quantisers.pictures
    starts = [n for n, one in enumerate(maps) if n == 0 or not np.array_equal(one, maps[n - 1])]
    for first, after in zip(starts, [*starts[1:], len(maps)], strict=True):
        yield _Run(first, after, _filters(maps[first], quantisers.unit_px))


def _pieces(runs: Iterable[_Run]) -> Iterator[list[_Run]]:
    piece: list[_Run] = []
    for run in runs:
        regions = sum(len(one.filters) for one in [*piece, run])
        if piece and (regions > PIECE_REGIONS or len(piece) == PIECE_RUNS):
            yield piece
            piece = []
        piece.append(run)
    yield piece


def _piece(runs: list[_Run], clip: Clip) -> str:
    """A graph that reads the pictures of `runs` and attaches their maps; `concat` passes them on as they come, where
    `interleave` would hold all until the last branch has one."""
    start = runs[0].first
    size = clip.chroma.frame_bytes(clip.width, clip.height)
    part = f"subfile,,start,{start * size},end,{runs[-1].after * size},,\\:{SOURCE['yuv']}"
    form = f"pixel_format={clip.chroma.pixel_format}\\:video_size={clip.width}x{clip.height}"
    read = f"movie=filename='{part}':f=rawvideo:format_opts='{form}'"
    if len(runs) == 1:
        return ",\n".join([read, *runs[0].filters])
    numbers = range(len(runs))
    cuts = [f"trim=start_frame={run.first - start}:end_frame={run.after - start}" for run in runs]
    branches = [f"[i{n}]" + ",\n".join([cuts[n], *runs[n].filters]) + f"[o{n}]" for n in numbers]
    fan = f"{read},split={len(runs)}" + "".join(f"[i{n}]" for n in numbers)
    return ";\n".join([fan, *branches, "".join(f"[o{n}]" for n in numbers) + f"concat=n={len(runs)}"])
