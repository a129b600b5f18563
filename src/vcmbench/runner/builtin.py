"""The tools that vcmbench carries itself: raw copies, and the JPEG and PNG coders inside Pillow.

They have command lines like every other tool and can be tried by hand, `python -m vcmbench.runner.builtin pillow-jpeg
encode --quality 40 in.ppm out.jpg`; a runner calls them in its own process, because a start of Python costs more than
the work.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import PIL
from PIL import Image, features

from vcmbench import __version__
from vcmbench.errors import RequestError
from vcmbench.runner.found import FoundTool

_SUBSAMPLING = {"444": "4:4:4", "422": "4:2:2", "420": "4:2:0"}


def _arguments(program: str, argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, exit_on_error=False)
    parser.add_argument("direction", choices=["encode", "decode"])
    parser.add_argument("--quality", type=int)
    parser.add_argument("--sampling", default="420")
    parser.add_argument("--gray", action="store_true")
    parser.add_argument("--optimize", action="store_true")
    parser.add_argument("input")
    parser.add_argument("output")
    return parser.parse_args(argv)


def _decode(source: Path, target: Path) -> None:
    with Image.open(source) as image:
        image.convert("RGB").save(target, "PPM")


def _copy(argv: Sequence[str], folder: Path) -> None:
    shutil.copyfile(folder / argv[0], folder / argv[1])


def _jpeg(argv: Sequence[str], folder: Path) -> None:
    wanted = _arguments("pillow-jpeg", argv)
    source, target = folder / wanted.input, folder / wanted.output
    if wanted.direction == "decode":
        return _decode(source, target)
    with Image.open(source) as image:
        if wanted.sampling == "400":
            image.convert("L").save(target, "JPEG", quality=wanted.quality)
        else:
            image.save(target, "JPEG", quality=wanted.quality, subsampling=_SUBSAMPLING[wanted.sampling])


def _png(argv: Sequence[str], folder: Path) -> None:
    wanted = _arguments("pillow-png", argv)
    source, target = folder / wanted.input, folder / wanted.output
    if wanted.direction == "decode":
        return _decode(source, target)
    with Image.open(source) as image:
        (image.convert("L") if wanted.gray else image).save(target, "PNG", optimize=wanted.optimize)


_TOOLS: dict[str, Callable[[Sequence[str], Path], None]] = {
    "raw-copy": _copy,
    "pillow-jpeg": _jpeg,
    "pillow-png": _png,
}


def find(program: str) -> FoundTool | None:
    """The built-in tool of that name, identified by the versions of the libraries in it."""
    if program not in _TOOLS:
        return None
    library = {"pillow-jpeg": "libjpeg_turbo", "pillow-png": "zlib"}.get(program)
    version = f"vcmbench {__version__}"
    if library:
        version = f"Pillow {PIL.__version__}, {library} {features.version(library)}"
    return FoundTool(program, "builtin", version, f"builtin:{version}", is_builtin=True)


def run(argv: Sequence[str], folder: Path) -> None:
    """Run a built-in tool's command line with `folder` as its working folder. Raises OSError or ValueError."""
    _TOOLS[argv[0]](argv[1:], folder)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in _TOOLS:
        raise SystemExit(str(RequestError(f"usage: python -m vcmbench.runner.builtin {'|'.join(_TOOLS)} ARGUMENTS")))
    run(sys.argv[1:], Path.cwd())
