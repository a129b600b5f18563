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
import shutil
import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from numpy.typing import NDArray

from vcmbench.data.colour import CHROMA_FORMATS, rgb_to_planes
from vcmbench.errors import JobError
from vcmbench.execution.runner import probe
from vcmbench.execution.runner.tool import FoundTool
from vcmbench.iqa.batch import Batch
from vcmbench.iqa.metric import Missing, Opened

_TIMEOUT_S = 600.0
_FORMAT = CHROMA_FORMATS["444"]
# With its motion forced to zero a frame of many scores like a frame alone, and one process does them all.
_VMAF_GRAPH = (
    "[0][1]libvmaf=log_path=log:log_fmt=json:n_threads=1:model=version=vmaf_v0.6.1\\\\:motion.motion_force_zero=true"
)
# Its first input is the original, unlike libvmaf's. The frame before the first is black, which is motion to it, as is
# the change from picture to picture: so each picture is shown twice, and the second time counts.
_XPSNR_GRAPH = "[1][0]xpsnr=stats_file=log"
_XPSNR_LINE = re.compile(r"n: *(\d{1,9}) +XPSNR y: *(inf|nan|-?\d{1,9}(?:\.\d{1,9})?)\b")


def find(component: str) -> FoundTool:
    """An FFmpeg with a filter: that of PATH, or that of the imageio-ffmpeg wheel. Raises `Missing`."""
    places = [shutil.which("ffmpeg")]
    try:
        places.append(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        pass  # the wheel came without a binary
    for path in [Path(place) for place in places if place]:
        if probe.lists_component(probe.answer(path, ("-hide_banner", "-filters")), component):
            return FoundTool("ffmpeg", str(path), probe.version("ffmpeg", path), probe.sha256(path))
    seen = ", ".join(place for place in places if place) or "no ffmpeg"
    raise Missing(f"no FFmpeg with the filter {component} ({seen}); install the wheel imageio-ffmpeg")


def _write(path: Path, pictures: NDArray[np.uint8]) -> None:
    with path.open("wb") as file:
        for picture in pictures:
            for plane in rgb_to_planes(np.ascontiguousarray(picture), _FORMAT):
                file.write(plane.tobytes())


def _compare(tool: FoundTool, graph: str, batch: Batch, times: int = 1) -> str:
    """The log of a filter that compares the pictures of a batch as the frames of two videos, each so many `times`."""
    raw = ("-f", "rawvideo", "-pix_fmt", _FORMAT.pixel_format, "-s", f"{batch.width_px}x{batch.height_px}", "-i")
    argv = ("ffmpeg", "-hide_banner", "-nostdin", "-v", "error", *raw, "decoded", *raw, "pristine",
            "-filter_complex_threads", "1", "-lavfi", graph, "-f", "null", "-")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="vcmbench-iqa-") as name:
        folder = Path(name)
        _write(folder / "decoded", np.repeat(batch.decoded, times, axis=0))
        _write(folder / "pristine", np.repeat(batch.pristine, times, axis=0))
        try:
            done = subprocess.run(
                [tool.path, *argv[1:]], cwd=folder, capture_output=True, timeout=_TIMEOUT_S, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise JobError(f"{tool.path}: {error}", argv) from None
        log = folder / "log"
        if done.returncode or not log.is_file():
            raise JobError(f"ffmpeg exited with code {done.returncode}", argv, done.stderr.decode(errors="replace"))
        return log.read_text()


def open_xpsnr() -> Opened:
    """XPSNR of luma in dB."""
    tool = find("xpsnr")

    def score(batch: Batch) -> torch.Tensor:
        log = _compare(tool, _XPSNR_GRAPH, batch, times=2)
        found = {int(number): float(value) for number, value in _XPSNR_LINE.findall(log)}
        wanted = range(2, 2 * batch.size + 1, 2)
        if not set(wanted) <= set(found):
            raise JobError(f"ffmpeg's xpsnr told no luma values of {batch.size} pictures: {log.strip()[:80]!r}")
        return torch.tensor([found[number] for number in wanted], dtype=torch.float64)

    return Opened(score, {"ffmpeg": tool.identity()})


def open_vmaf() -> Opened:
    """VMAF v0.6.1, 0 to 100."""
    tool = find("libvmaf")

    def score(batch: Batch) -> torch.Tensor:
        log = _compare(tool, _VMAF_GRAPH, batch)
        try:
            found = [float(frame["metrics"]["vmaf"]) for frame in json.loads(log)["frames"]]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise JobError(f"ffmpeg's libvmaf told no scores: {log.strip()[:80]!r}") from None
        if len(found) != batch.size:
            raise JobError(f"ffmpeg's libvmaf told the scores of {len(found)} pictures, not of {batch.size}")
        return torch.tensor(found, dtype=torch.float64)

    return Opened(score, {"ffmpeg": tool.identity()})
