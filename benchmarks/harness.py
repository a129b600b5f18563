"""What the harness costs: part of `make bench`, or `python benchmarks/harness.py --help` (minutes).

Both sides of every comparison are measured in this one run, in turn, several times:

1. 40 pictures of 1024x512, x265 medium, a job a core, against the very same FFmpeg encode and decode commands under
   `xargs -P`, as many at once. Once with a third FFmpeg command before them that makes the raw frame from the PNG, as
   somebody without vcmbench has to run it; once on raw frames that lie there already, so that the ratio is the full
   price of reading PNGs, converting colours, comparing pictures and writing records.
2. The codec `none` per picture, against reading the same PNG and writing the same raw bytes, nothing else.
3. Peak memory of a run over 40 pictures and over ten times as many.

Jobs are done on threads, as they are unless `--jobs` asks for processes: those of a local cluster take 1.5 s to start,
which is a row of its own in the table (`rows`). Only memory is that of `--jobs 2`.

Exits with 1 where a median is over its bound: 1.10 times FFmpeg from PNG to decoded frame, 10 ms, 1.10 times memory.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from table import Row, compared

from streetscenes import scene
from vcmbench.compress import pixels
from vcmbench.compress.job import geometry
from vcmbench.compress.run import cores
from vcmbench.data.dataset import Source
from vcmbench.encoder import plugins
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.execution.runner.local import LocalRunner

WIDTH, HEIGHT = 1024, 512
AGAINST = {True: "FFmpeg from PNG to decoded frame", False: "its encode and decode commands alone"}


def make_pictures(folder: Path, count: int, distinct: int = 10, width: int = WIDTH, height: int = HEIGHT) -> list[Path]:
    """Street scenes; beyond `distinct`, mirrored and shifted ones, since drawing takes longer than the test."""
    folder.mkdir(parents=True)
    drawn = [scene.render(seed, width, height).image for seed in range(min(count, distinct))]
    paths = []
    for i in range(count):
        picture = np.roll(drawn[i % distinct], 37 * (i // distinct), axis=1)[:, :: -1 if i // distinct % 2 else 1]
        paths.append(folder / f"{i:04}.png")
        Image.fromarray(np.ascontiguousarray(picture)).save(paths[-1])
    return paths


def run(argv: list[object], **options: object) -> float:
    """Wall seconds of a command that must succeed."""
    start = time.perf_counter()
    subprocess.run([str(word) for word in argv], check=True, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    return time.perf_counter() - start


def afresh(data: Path) -> None:
    for path in [data / "results", *data.glob("images_*")]:
        shutil.rmtree(path, ignore_errors=True)


def command(data: Path, config: Path, *options: object) -> list[object]:
    return [sys.executable, "-m", "vcmbench", "compress", "-d", data, "-s", config, "--runner", "local", *options]


def harness(data: Path, config: Path, *options: object) -> float:
    """A first run of `vcmbench compress` on a data root, results removed beforehand."""
    afresh(data)
    return run(command(data, config, *options), stdout=subprocess.DEVNULL)


def write_config(folder: Path, name: str, coding: str) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{name}"\n[[coding]]\n{coding}\n')
    return path


def prepare_bare(folder: Path, pictures: list[Path], coding: CodingConfiguration, from_png: bool) -> Path:
    """A folder a picture with its raw frame (or its PNG) in it, and the script that xargs runs there."""
    one, runner = plugins.get("x265"), LocalRunner()
    size = geometry(one, coding, WIDTH, HEIGHT, 1)
    ffmpeg = runner.find(one, one.encode_tools)
    assert ffmpeg is not None
    for picture in pictures:
        place = folder / picture.stem
        (place / "in").mkdir(parents=True)
        (place / "out").mkdir()
        if from_png:
            shutil.copy(picture, place / "in/source.png")
        else:
            source = Source(PurePosixPath(picture.stem), picture)
            (place / "in/source.yuv").write_bytes(pixels.prepare(source, source.sha256(), one, size).frame)
    commands = [one.encode("ffmpeg", coding, size.clip).argv, one.decode("ffmpeg", coding, size.clip).argv]
    if from_png:
        raw = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-threads", "1", "../in/source.yuv")
        commands.insert(0, ("ffmpeg", "-y", "-nostdin", "-v", "error", "-threads", "1", "-i", "../in/source.png", *raw))
    lines = [shlex.join([ffmpeg.path, *argv[1:]]) for argv in commands]
    script = folder / "bare.sh"
    script.write_text("#!/bin/sh\ncd $1/out && " + " >/dev/null 2>&1 && ".join(lines) + " >/dev/null 2>&1\n")
    script.chmod(0o755)
    return script


def bare(folder: Path, script: Path) -> float:
    names = "\n".join(path.name for path in sorted(folder.iterdir()) if path.is_dir())
    start = time.perf_counter()
    subprocess.run(["xargs", "-P", str(cores()), "-n", "1", script], input=names.encode(), cwd=folder, check=True)
    return time.perf_counter() - start


exceeded: list[str] = []


def check(title: str, value: float, bound: float) -> None:
    if value > bound:
        exceeded.append(f"{title}: {value:.3g} is more than {bound:g}")


def in_turn(rounds: int, first: object, second: object) -> tuple[list[float], list[float]]:
    """Both sides of a comparison in turn, after one uncounted round each."""
    a, b = [], []
    for i in range(rounds + 1):
        one, other = first(), second()  # type: ignore[operator]
        if i:
            a.append(one)
            b.append(other)
    return a, b


def ratio_line(title: str, a: list[float], b: list[float], bound: float | None) -> str:
    ratios = sorted(x / y for x, y in zip(a, b, strict=True))
    if bound is not None:
        check(title, statistics.median(ratios), bound)
    return (
        f"{title}: {statistics.median(a):.2f} s against {statistics.median(b):.2f} s, "
        f"ratio {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}, {len(a)} rounds)"
    )


def encode_times(
    work: Path, pictures: list[Path], rounds: int, quality: int, from_png: bool, *options: object
) -> tuple[list[float], list[float]]:
    coding = CodingConfiguration("x265", quality, preset="medium")
    config = write_config(work, "x265", f'encoder = "x265"\nquality = [{quality}]\npreset = "medium"')
    shutil.rmtree(work / "bare", ignore_errors=True)
    script = prepare_bare(work / "bare", pictures, coding, from_png)
    return in_turn(rounds, lambda: harness(pictures[0].parent, config, *options), lambda: bare(work / "bare", script))


def encode_cost(work: Path, pictures: list[Path], rounds: int, quality: int, from_png: bool) -> str:
    ours, theirs = encode_times(work, pictures, rounds, quality, from_png)
    title = f"x265 medium, QP {quality}, {len(pictures)} pictures, against {AGAINST[from_png]}"
    return ratio_line(title, ours, theirs, bound=1.10 if from_png else None)


def none_times(work: Path, pictures: list[Path], rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds a picture with one job at a time, start of the process left out by a difference of two runs; and
    those of reading and writing it."""
    config = write_config(work, "none", 'encoder = "none"')
    few = work / "few"
    few.mkdir()
    shutil.copy(pictures[0], few)
    count = len(pictures) - 1

    def ours() -> float:
        whole = harness(pictures[0].parent, config, "--jobs", 1)
        return (whole - harness(few, config, "--jobs", 1)) / count * 1e3

    def read_and_write() -> float:
        start = time.perf_counter()
        for picture in pictures[1:]:
            with Image.open(picture) as image:
                raw = np.asarray(image).tobytes()
            (work / "raw").write_bytes(raw)
        return (time.perf_counter() - start) / count * 1e3

    return in_turn(rounds, ours, read_and_write)


def none_cost(work: Path, pictures: list[Path], rounds: int) -> str:
    a, b = none_times(work, pictures, rounds)
    costs = sorted(x - y for x, y in zip(a, b, strict=True))
    check("none, ms a picture", statistics.median(costs), 10)
    return (
        f"none: {statistics.median(costs):.1f} ms a picture beyond reading and writing it "
        f"({costs[0]:.1f} to {costs[-1]:.1f}; reading and writing: {statistics.median(b):.1f} ms)"
    )


def peak_memory(data: Path, config: Path) -> float:
    """MB of the largest process of a run over a data root."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=-3, stderr=-3); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    argv = [sys.executable, "-c", code, *map(str, command(data, config, "--jobs", 2, "--force"))]
    return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout) / 1024


def memory(work: Path, pictures: list[Path]) -> str:
    config = write_config(work, "memory", 'encoder = "none"\n[[coding]]\nencoder = "jpeg"\nquality = [30]')
    many = work / "many"
    many.mkdir()
    for i in range(10):
        for picture in pictures:
            os.link(picture, many / f"{i}-{picture.name}")
    few, ten_times = peak_memory(pictures[0].parent, config), peak_memory(many, config)
    check("memory over ten times the pictures, ratio", ten_times / few, 1.10)
    return f"memory: {few:.0f} MB over {len(pictures)} pictures, {ten_times:.0f} MB over {10 * len(pictures)}"


def rows(small: bool) -> Iterator[Row]:
    """Memory has a benchmark of its own."""
    count, rounds, qualities = (4, 1, (32,)) if small else (40, 5, (22, 32))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pictures = make_pictures(work / "pictures", count)
        for quality in qualities:
            title = f"x265 medium, QP {quality}, {count} pictures of {WIDTH}x{HEIGHT}"
            for from_png, bound in ((True, 1.10), (False, None)):
                ours, theirs = encode_times(work, pictures, rounds, quality, from_png)
                yield compared("harness", title, ours, theirs, "s", AGAINST[from_png], bound)
        if cores() > 1:  # informs: what processes cost over threads where there is little to do
            ours, theirs = encode_times(work, pictures, rounds, qualities[-1], True, "--jobs", cores())
            yield compared("harness", f"{title}, in processes", ours, theirs, "s", AGAINST[True])
        ours, theirs = none_times(work, pictures, rounds)
        cost = [max(a - b, 0.0) for a, b in zip(ours, theirs, strict=True)]
        reading = f"beyond reading and writing it: {statistics.median(theirs):.1f} ms"
        yield Row("harness", "`none`, a picture", statistics.median(cost), "ms", reading)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quality", type=int, nargs="*", default=[22, 32])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pictures = make_pictures(work / "pictures", arguments.pictures)
        print(f"{os.cpu_count()} cores, {WIDTH}x{HEIGHT} street scenes", flush=True)
        for quality in arguments.quality:
            for from_png in (True, False):
                print(encode_cost(work, pictures, arguments.rounds, quality, from_png), flush=True)
        print(none_cost(work, pictures, arguments.rounds), flush=True)
        print(memory(work, pictures), flush=True)
    if exceeded:
        sys.exit("bounds exceeded:\n" + "\n".join(exceeded))


if __name__ == "__main__":
    main()
