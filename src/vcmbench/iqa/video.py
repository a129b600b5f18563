"""XPSNR and VMAF, by FFmpeg.

C. R. Helmrich et al., "XPSNR: a low-complexity extension of the perceptually weighted peak signal-to-noise ratio for
high-resolution video quality assessment", ICASSP 2020; Z. Li et al., "Toward a practical perceptual video quality
metric" (VMAF), 2016, model vmaf_v0.6.1.

Both judge video. A picture here stands still: it has no motion part, and VMAF of identical pictures is near 97 in place
of 100. Luma is ITU-R BT.601, limited range, as the encoders get it (`vcmbench.data.colour`).
"""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vcmbench.data.colour import CHROMA_FORMATS, rgb_to_planes
from vcmbench.encoder.base import Command, Tool
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.base import Runner
from vcmbench.execution.runner.tool import FoundTool
from vcmbench.io.files import named, read_bounded
from vcmbench.iqa.batch import Batch
from vcmbench.iqa.metric import Missing, Opened

_TIMEOUT_S = 600.0
_MAX_LOG_BYTES = 1 << 26
_FORMAT = CHROMA_FORMATS["444"]
# With its motion forced to zero a frame of many scores like a frame alone, and one process does them all.
_VMAF_GRAPH = (
    "[0][1]libvmaf=log_path=log:log_fmt=json:n_threads=1:model=version=vmaf_v0.6.1\\\\:motion.motion_force_zero=true"
)
# Its first input is the original, unlike libvmaf's. The frame before the first is black, which is motion to it, as is
# the change from picture to picture: so each picture is shown twice, and the second time counts.
_XPSNR_GRAPH = "[1][0]xpsnr=stats_file=log"
_XPSNR_LINE = re.compile(r"n: *(\d{1,9}) +XPSNR y: *(inf|nan|-?\d{1,9}(?:\.\d{1,9})?)\b")


def _find(runner: Runner, component: str) -> FoundTool:
    """An FFmpeg with a filter, where the run's tools are. Raises `Missing`."""
    try:
        found = runner.first_of((Tool("ffmpeg", needs=f"filter:{component}"),))
    except RequestError as error:
        raise Missing(str(error)) from None
    if found is None:
        raise Missing(f"no FFmpeg with the filter {component} {runner.places}")
    return found


def _write(path: Path, pictures: NDArray[np.uint8]) -> None:
    with named(path), path.open("wb") as file:
        for picture in pictures:
            for plane in rgb_to_planes(np.ascontiguousarray(picture), _FORMAT):
                file.write(plane.tobytes())


def _compare(runner: Runner, tool: FoundTool, graph: str, batch: Batch, times: int = 1) -> str:
    """The log of a filter that compares the pictures of a batch as the frames of two videos, each so many `times`."""
    raw = ("-f", "rawvideo", "-pix_fmt", _FORMAT.pixel_format, "-s", f"{batch.width_px}x{batch.height_px}", "-i")
    argv = ("ffmpeg", "-hide_banner", "-nostdin", "-v", "error", *raw, "decoded", *raw, "pristine",
            "-filter_complex_threads", "1", "-lavfi", graph, "-f", "null", "-")  # fmt: skip
    with closing(runner.worker()) as worker:
        folder = worker.scratch.outputs
        _write(folder / "decoded", np.repeat(batch.decoded, times, axis=0))
        _write(folder / "pristine", np.repeat(batch.pristine, times, axis=0))
        worker.run(tool, Command(argv), _TIMEOUT_S)
        try:
            return read_bounded(folder / "log", _MAX_LOG_BYTES).decode(errors="replace")
        except OSError as error:
            raise JobError(f"ffmpeg wrote no log: {error.strerror}", argv) from None


def open_xpsnr(runner: Runner) -> Opened:
    """XPSNR of luma in dB."""
    tool = _find(runner, "xpsnr")

    def score(batch: Batch) -> torch.Tensor:
        log = _compare(runner, tool, _XPSNR_GRAPH, batch, times=2)
        found = {int(number): float(value) for number, value in _XPSNR_LINE.findall(log)}
        wanted = range(2, 2 * batch.size + 1, 2)
        if not set(wanted) <= set(found):
            raise JobError(f"ffmpeg's xpsnr gave no luma values of {batch.size} pictures: {log.strip()[:80]!r}")
        return torch.tensor([found[number] for number in wanted], dtype=torch.float64)

    return Opened(score, {"ffmpeg": tool.identity(), "smallest_px": 45 * 45})  # before, smaller pictures had values


def open_vmaf(runner: Runner) -> Opened:
    """VMAF v0.6.1, 0 to 100."""
    tool = _find(runner, "libvmaf")

    def score(batch: Batch) -> torch.Tensor:
        log = _compare(runner, tool, _VMAF_GRAPH, batch)
        try:
            found = [float(frame["metrics"]["vmaf"]) for frame in json.loads(log)["frames"]]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise JobError(f"ffmpeg's libvmaf gave no scores: {log.strip()[:80]!r}") from None
        if len(found) != batch.size:
            raise JobError(f"ffmpeg's libvmaf gave the scores of {len(found)} pictures, not of {batch.size}")
        return torch.tensor(found, dtype=torch.float64)

    return Opened(score, {"ffmpeg": tool.identity()})
