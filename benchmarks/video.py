"""Sequences: drawing them, memory by their length, and what the harness costs beyond FFmpeg: half an hour and 3 GB of
disk, by `python benchmarks/video.py`.

A drive is drawn by one process; its processor time counts, the set-up of its world included. Memory is the kernel's
peak of the process of vcmbench alone, over 2,000 frames and over 200 of one video, for coding it and for measuring it
afterwards, by PSNR alone and by PSNR, SSIM and the embedded network. The cost is that of coding and decoding a video
file, both sides on one core: FFmpeg turns the file into raw frames, codes them, and decodes to raw frames, by the
commands that vcmbench runs. Beyond them vcmbench counts the video's frames, converts them to R'G'B' and back, and
compares each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from harness import command, in_turn, run
from numpy.typing import NDArray
from processes import watched
from table import Row, compared, number

from streetscenes.sequence import Sequence
from vcmbench.data import colour
from vcmbench.encoder import plugins
from vcmbench.encoder.base import Clip
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.structure import Structure
from vcmbench.execution.runner.local import LocalRunner

WIDTH, HEIGHT = 512, 256
CODING = 'name = "video"\n[[coding]]\nencoder = "{}"\nquality = [32]\npreset = "{}"\nstructure = "lowdelay"\n'
MEASURED = '[metrics]\niqa = {}\nlevels = ["image"]\n'
DRIVE = 24


@cache
def drive(frames: int) -> tuple[list[NDArray[np.uint8]], float]:
    """The pictures of a drawn drive, and the processor seconds that they took."""
    started = time.process_time()
    pictures = [frame.rgb for frame in Sequence(0, frames, WIDTH, HEIGHT, ensure=("person", "rider"))]
    return pictures, time.process_time() - started


def make_video(path: Path, frames: int) -> Path:
    """A drive, again and again, H.264 in MP4."""
    pictures, _ = drive(min(frames, DRIVE))
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "18", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number_of in range(frames):
            frame = av.VideoFrame.from_ndarray(pictures[number_of % len(pictures)], "rgb24")
            frame.pts, frame.time_base = number_of, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def memory(work: Path, few: int, many: int) -> Iterator[Row]:
    videos = [make_video(work / f"{count}.mp4", count) for count in (few, many)]
    for encoder, preset, metrics, machine, title in (
        ("x264", "ultrafast", ["PSNR"], "", "measured, PSNR"),
        ("x265", "ultrafast", ["PSNR", "SSIM"], '[task]\nmodel = "demo"\n', "measured, PSNR, SSIM and the network"),
    ):
        config = work / f"memory_{encoder}.toml"
        coding = CODING.format(encoder, preset).replace("video", config.stem)
        config.write_text(coding.replace("[[", machine + MEASURED.format(json.dumps(metrics)) + "[["))
        measure = [sys.executable, "-m", "vcmbench", "metrics", "-s", config, "--runner", "local", "-d"]
        for what, argvs in (
            (f"coded by {encoder}", [command(video, config) for video in videos]),
            (title, [[*measure, video] for video in videos]),
        ):
            less, more = (watched(argv, tree=False).memory_mb for argv in argvs)
            what = f"memory of {many:,} frames of {WIDTH}x{HEIGHT}, {what}"
            yield Row("video", what, more, "MB", f"{few:,} frames: {number(less)} MB", more / less, 1.10)


@contextmanager
def one_core() -> Iterator[None]:
    """What is started meanwhile has one core."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cost(work: Path, frames: int, rounds: int, encoder: str, preset: str) -> Row:
    video, config, place = work / "drive.mp4", work / f"{encoder}.toml", work / "bare"
    if not video.exists():
        make_video(video, frames)
    config.write_text(CODING.format(encoder, preset))
    (place / "in").mkdir(parents=True, exist_ok=True)
    (place / "out").mkdir(exist_ok=True)
    tool, clip = plugins.get(encoder), Clip(WIDTH, HEIGHT, frames, colour.CHROMA_FORMATS["420"])
    found = LocalRunner().find(tool, tool.encode_tools)
    assert found is not None
    coding = CodingConfiguration(encoder, 32, preset=preset, stacked=True, structure=Structure("lowdelay"))
    to_raw = ("-y", "-nostdin", "-v", "error", "-threads", "1", "-i", video, "-f", "rawvideo", "../in/source.yuv")
    both = [tool.encode(found.program, coding, clip).argv, tool.decode(found.program, coding, clip).argv]
    commands: list[list[object]] = [[found.path, *argv] for argv in (to_raw, *(argv[1:] for argv in both))]

    def bare() -> float:
        return sum(run(argv, cwd=place / "out", stdout=subprocess.DEVNULL) for argv in commands)

    def ours() -> float:
        return run(command(video, config, "--force"), stdout=subprocess.DEVNULL)

    with one_core():
        times = in_turn(rounds, ours, bare)
    what = f"{encoder} {preset}, QP 32, {frames} frames of {WIDTH}x{HEIGHT} as one sequence, one core"
    return compared("video", what, *times, "s", "FFmpeg from MP4 to decoded frames", 1.10)


def rows(small: bool) -> Iterator[Row]:
    few, many, frames, rounds = (4, 8, 4, 1) if small else (200, 2000, 300, 5)
    count = min(few, DRIVE)
    what = f"a frame of {WIDTH}x{HEIGHT}, drawn, processor time over a drive of {count} with its set-up"
    yield Row("video", what, drive(count)[1] / count, "s", bound=0.35)
    with tempfile.TemporaryDirectory() as folder:
        yield from memory(Path(folder), few, many)
        for encoder, preset in (("x265", "medium"), ("x264", "medium")):
            yield cost(Path(folder), frames, rounds, encoder, preset)


if __name__ == "__main__":
    for row in rows(small=False):
        print(row.line(), flush=True)
