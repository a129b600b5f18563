"""The figures that a plan is made of before anything ran: `python benchmarks/figures.py` (half an hour).

Measures every encoder that the local runner finds on the demo's street scenes, one thread each, and prints what
stands as `typical` in `encoders/*.py`:

- bits per coded pixel and seconds (encode and decode) per coded megapixel at a few qualities, on 2048x1024;
- `start_s`: what a pair of processes costs before the first pixel, from 512x256 against 2048x1024;
- `memory_mb`: the peak resident memory of the larger of both tools, a base, a part per coded megapixel, and more of it
  in a stack;
- `variants`: presets, published parameter sets and chroma formats as factors on time and on bits.

Seconds are processor time of the tool alone (user and system, os.wait4), so that others at work on the machine count
little. Tools that come in containers only are measured by their binaries: --bin-dir FOLDER.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath

from PIL import Image

from streetscenes import scene
from vcmbench.compress import coder
from vcmbench.compress.job import geometry
from vcmbench.data.dataset import Source
from vcmbench.encoder import SOURCE, plugins
from vcmbench.encoder.base import Command, Encoder
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.execution.runner.tool import FoundTool

SMALL, LARGE, MIDDLE = (512, 256), (2048, 1024), (1024, 512)
STACK = 24
QUALITIES = {"QP": {51: (0, 6, 12, 22, 32, 42, 51), 63: (0, 6, 12, 22, 32, 42, 52, 63)},
             "quality": {100: (5, 10, 30, 50, 70, 90, 98)}}  # fmt: skip

# A built-in tool runs inside a worker's process; in one of its own, without the start of Python.
_BUILTIN = """
import resource, sys
from pathlib import Path
from vcmbench.execution.runner import builtin
import vcmbench.execution.runner.jpeg_requantise
builtin.find(sys.argv[1])
import PIL.Image; PIL.Image.init()
before = resource.getrusage(resource.RUSAGE_SELF)
builtin.run(sys.argv[1:], Path.cwd())
after = resource.getrusage(resource.RUSAGE_SELF)
seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(seconds, after.ru_maxrss - before.ru_maxrss, file=sys.stderr)
"""

# Linux counts what a process was before its exec to its peak memory, and here that is hundreds of MB of street scenes:
# so something small starts the tool. wait4 is the only call that tells the memory of this one child.
_LAUNCHER = """
import os, sys
nothing = os.open(os.devnull, os.O_RDWR)
files = [(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, nothing, 1)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=files)
_, status, usage = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


@dataclass(frozen=True)
class Cost:
    """Of one encode and decode: processor seconds, peak memory in MB of the larger, and bits."""

    encode_s: float
    decode_s: float
    memory_mb: float
    bits: int

    @property
    def seconds(self) -> float:
        return self.encode_s + self.decode_s


@cache
def picture(folder: Path, seed: int, size: tuple[int, int]) -> Source:
    path = folder / f"{seed}_{size[0]}.png"
    Image.fromarray(scene.render(seed, *size).image).save(path)
    return Source(PurePosixPath(path.stem), path)


def run(tool: FoundTool, command: Command, place: Path) -> tuple[float, float]:
    """Processor seconds and peak MB of one command."""
    for name, text in command.files.items():
        (place.parent / "in" / name).write_text(text)
    if tool.is_builtin:
        python = [sys.executable, "-c", _BUILTIN, *command.argv]
        done = subprocess.run([sys.executable, "-S", "-c", _LAUNCHER, *python], cwd=place, check=True, text=True,
                              capture_output=True)  # fmt: skip
        seconds, kilobytes = done.stderr.split()
        return float(seconds), int(kilobytes) / 1e3
    done = subprocess.run([sys.executable, "-S", "-c", _LAUNCHER, tool.path, *command.argv[1:]], cwd=place, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    code, told, kilobytes = done.stdout.split()
    if code != "0":
        raise SystemExit(f"exit code {code}: {' '.join(command.argv)}")
    return float(told), int(kilobytes) / 1e3


def measure(one: Encoder, tools: tuple[FoundTool, FoundTool], coding: CodingConfiguration, source: Source,
            frames: int = 1) -> Cost:  # fmt: skip
    with Image.open(source.path) as image:
        size = geometry(one, coding, *image.size, frames)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "out")
        place.mkdir()
        Path(folder, "in").mkdir()
        target = Path(folder, "in", Path(SOURCE[one.pixels]).name)
        target.write_bytes(coder.prepare(source, source.sha256(), one, size).frame * frames)
        encode, memory = run(tools[0], one.encode(tools[0].program, coding, size.clip), place)
        bits = (place / one.bitstream).stat().st_size * 8
        decode, more = run(tools[1], one.decode(tools[1].program, coding, size.clip), place)
    return Cost(encode, decode, max(memory, more), bits)


def mean(costs: Iterable[Cost]) -> Cost:
    found = list(costs)
    encode_s, decode_s, bits = (statistics.fmean(values) for values in zip(
        *((one.encode_s, one.decode_s, one.bits) for one in found), strict=True))  # fmt: skip
    return Cost(encode_s, decode_s, max(one.memory_mb for one in found), round(bits))


def mpx(size: tuple[int, int]) -> float:
    return size[0] * size[1] / 1e6


def figures(one: Encoder, tools: tuple[FoundTool, FoundTool], folder: Path, scenes: int) -> str:
    """The encoder's `typical`, as it stands in its file."""
    scale = one.quality
    qualities: list[int | None] = [None]
    if scale is not None:
        qualities = [max(q, scale.minimum) for q in QUALITIES[scale.name][scale.maximum]]
    base = [CodingConfiguration(one.name, quality, one.chroma[0]) for quality in qualities]
    small = [mean(measure(one, tools, coding, picture(folder, seed, SMALL)) for seed in range(scenes))
             for coding in base]  # fmt: skip
    large = [mean(measure(one, tools, coding, picture(folder, seed, LARGE)) for seed in range(max(1, scenes // 2)))
             for coding in base]  # fmt: skip
    span = mpx(LARGE) - mpx(SMALL)
    # A small picture has more detail in a pixel and so costs more; its bits tell how much more.
    starts = [few.seconds - many.seconds / mpx(LARGE) * mpx(SMALL) * _detail(few, many)
              for few, many in zip(small, large, strict=True)]  # fmt: skip
    start_s = max(0.0, min(starts))
    encode = [max(many.encode_s - start_s / 2, 1e-4) / mpx(LARGE) for many in large]
    decode = [max(many.decode_s - start_s / 2, 1e-4) / mpx(LARGE) for many in large]
    slope = max(0.0, max(many.memory_mb - few.memory_mb for few, many in zip(small, large, strict=True)) / span)
    floor = max(many.memory_mb for many in large) - slope * mpx(LARGE)
    keys = [quality or 0 for quality in qualities]
    lines = [
        f"bpp={_anchors(keys, [cost.bits / mpx(LARGE) / 1e6 for cost in large])},",
        f"encode_s_per_mpx={_anchors(keys, encode)},",
        f"decode_s_per_mpx={_anchors(keys, decode)},",
        f"start_s={start_s:.3f},",
        f"memory_mb=({max(floor, 0):.0f}, {slope:.0f}, {_more_in_stacks(one, tools, folder):.0f}),",
        f"variants={_variants(one, tools, folder)},",
    ]
    told = (wrapped for line in lines for wrapped in _wrapped(line))
    inside = "".join(f"        {line}\n" for line in told)
    return f"{one.name}\n    typical = Typical(\n{inside}    )  # fmt: skip"


def _wrapped(line: str) -> list[str]:
    """Lines that fit into a file of ours, broken between pairs only."""
    whole = re.sub(r"\([^()]*\)", lambda pair: pair[0].replace(" ", "\0"), line)
    return [part.replace("\0", " ") for part in textwrap.wrap(whole, 112, subsequent_indent=" " * 10)]


def _more_in_stacks(one: Encoder, tools: tuple[FoundTool, FoundTool], folder: Path) -> float:
    """MB per coded megapixel that a stack takes more than a picture: pictures wait in line between threads."""
    if not one.stackable:
        return 0.0
    quality = round((one.scale.minimum + one.scale.maximum) * 0.6)
    coding = CodingConfiguration(one.name, quality, one.chroma[0], stacked=True)
    source = picture(folder, 0, MIDDLE)
    costs = [measure(one, tools, coding, source, frames) for frames in (1, STACK)]
    return max(0.0, costs[1].memory_mb - costs[0].memory_mb) / mpx(MIDDLE)


def _detail(few: Cost, many: Cost) -> float:
    return max(1.0, few.bits / mpx(SMALL) / (many.bits / mpx(LARGE))) ** 0.5


def _anchors(keys: list[int], values: list[float]) -> str:
    told = ", ".join(f"({key}, {value:.3g})" for key, value in zip(keys, values, strict=True))
    return f"({told}{',' if len(keys) == 1 else ''})"


def _variants(one: Encoder, tools: tuple[FoundTool, FoundTool], folder: Path) -> str:
    """Presets, published sets and chroma formats as (name, factor on seconds, factor on bits), over two qualities."""
    scale = one.quality
    middle: list[int | None] = [None]
    if scale is not None:
        middle = [scale.minimum + round((scale.maximum - scale.minimum) * part) for part in (0.3, 0.6)]
    plain = [CodingConfiguration(one.name, quality, one.chroma[0]) for quality in middle]
    source = picture(folder, 0, MIDDLE)
    usual = [measure(one, tools, coding, source) for coding in plain]
    told = []
    key = dict.fromkeys(one.presets, "preset") | dict.fromkeys(one.compat, "compat")
    for name in (*one.presets, *one.compat, *one.chroma[1:]):
        changes = {key.get(name, "color_subsampling"): name}
        costs = [measure(one, tools, replace(coding, **changes), source) for coding in plain]
        seconds = sum(cost.seconds for cost in costs) / sum(cost.seconds for cost in usual)
        bits = statistics.fmean(cost.bits / other.bits for cost, other in zip(costs, usual, strict=True))
        if max(abs(seconds - 1), abs(bits - 1)) > 0.05:  # else it is not worth the line
            told.append(f'("{name}", {seconds:.2g}, {bits:.2g})')
    return f"({', '.join(told)}{',' if len(told) == 1 else ''})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="encoders; without: all that are found")
    parser.add_argument("--bin-dir", type=Path, metavar="FOLDER", help="look for binaries here first")
    parser.add_argument("--scenes", type=int, default=4)
    arguments = parser.parse_args()
    runner = LocalRunner(arguments.bin_dir)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.names or plugins.discover():
            one = plugins.get(name)
            tools = [runner.find(one, wanted) for wanted in (one.encode_tools, one.decode_tools)]
            if tools[0] is None or tools[1] is None:
                print(f"{name}: left out: {runner.missing(one, one.encode_tools)}", file=sys.stderr)
                continue
            print(figures(one, (tools[0], tools[1]), Path(folder), arguments.scenes), flush=True)


if __name__ == "__main__":
    main()
