"""The tools that vcmbench carries itself: raw copies, the JPEG and PNG coders inside Pillow, and what is done to a
bitstream after its encoder: JPEG blocks made coarser, AV1 taken out of IVF.

They have command lines like every other tool, and can be tried by hand: `python -m
vcmbench.execution.runner.builtin pillow-jpeg encode --quality 40 in.ppm out.jpg`. A runner calls them in its own
process, because a start of Python costs more than the work.

    raw-copy INPUT OUTPUT
    pillow-jpeg encode (--quality N | --qtables FILE) [--optimize] [--sampling 420] INPUT OUTPUT
    pillow-jpeg decode INPUT OUTPUT
    pillow-png encode [--gray] [--optimize] INPUT OUTPUT; pillow-png decode INPUT OUTPUT
    jpeg-requantise --map EXCESS.csv --block PX FINE.jpg CODED.jpg
    ivf-to-obu CODED.ivf CODED.obu
"""

from __future__ import annotations

import argparse
import shutil
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import PIL
from PIL import Image, ImageFile, features

from vcmbench import __version__
from vcmbench.data import images
from vcmbench.encoder.jpeg_tables import read_tables
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.tool import FoundTool

_MOST_BYTES_OF_A_PIXEL = 8  # of a JPEG; noise with quantisers of 1 takes 4.1
_SUBSAMPLING = {"444": "4:4:4", "422": "4:2:2", "420": "4:2:0"}


def _arguments(program: str, argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, exit_on_error=False)
    parser.add_argument("direction", choices=["encode", "decode"])
    parser.add_argument("--quality", type=int)
    parser.add_argument("--qtables", metavar="FILE")
    parser.add_argument("--sampling", default="420")
    parser.add_argument("--gray", action="store_true")
    parser.add_argument("--optimize", action="store_true")
    parser.add_argument("input")
    parser.add_argument("output")
    return parser.parse_args(argv)


def _decode(source: Path, target: Path) -> None:
    try:
        with images.complaints(Path(source.name), "bitstream"), images.opened(images.read(source)) as image:
            picture = image.convert("RGB")
    except JobError as error:
        raise ValueError(str(error)) from None
    picture.save(target, "PPM")


def _copy(argv: Sequence[str], folder: Path) -> None:
    shutil.copyfile(folder / argv[0], folder / argv[1])


def _jpeg(argv: Sequence[str], folder: Path) -> None:
    wanted = _arguments("pillow-jpeg", argv)
    source, target = folder / wanted.input, folder / wanted.output
    if wanted.direction == "decode":
        return _decode(source, target)
    if wanted.qtables is not None and wanted.quality is not None:
        raise ValueError("pillow-jpeg: takes --quality or --qtables, not both")
    options: dict[str, Any] = {"quality": wanted.quality}
    if wanted.qtables is not None:
        options = {"qtables": read_tables((folder / wanted.qtables).read_text("ascii"))}
    with Image.open(source) as image:
        if wanted.optimize:  # Pillow then wants room for the whole file, and guesses too little for noise
            ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, _MOST_BYTES_OF_A_PIXEL * image.width * image.height)
            options["optimize"] = True
        if wanted.sampling == "400":
            image.convert("L").save(target, "JPEG", **options)
        else:
            image.save(target, "JPEG", subsampling=_SUBSAMPLING[wanted.sampling], **options)


def _png(argv: Sequence[str], folder: Path) -> None:
    wanted = _arguments("pillow-png", argv)
    source, target = folder / wanted.input, folder / wanted.output
    if wanted.direction == "decode":
        return _decode(source, target)
    with Image.open(source) as image:
        (image.convert("L") if wanted.gray else image).save(target, "PNG", optimize=wanted.optimize)


def _jpeg_requantise(argv: Sequence[str], folder: Path) -> None:
    from vcmbench.execution.runner.jpeg_requantise import read_excess, requantise  # the other tools do without

    parser = argparse.ArgumentParser("jpeg-requantise", exit_on_error=False)
    parser.add_argument("--map", required=True)
    parser.add_argument("--block", type=int, required=True)
    parser.add_argument("fine")
    parser.add_argument("coded")
    wanted = parser.parse_args(argv)
    requantise(folder / wanted.fine, folder / wanted.coded, read_excess(folder / wanted.map), wanted.block)


def _ivf_to_obu(argv: Sequence[str], folder: Path) -> None:
    source, target = (folder / name for name in argv)
    target.write_bytes(b"".join(_ivf_frames(source.read_bytes(), source)))


def _ivf_frames(data: bytes, source: Path) -> Iterator[bytes]:
    """The temporal units of an IVF file; each begins with a temporal delimiter, so together they are an OBU stream.

    The file has a header, which says how long it is, and every unit its length and time, little-endian.
    """
    if data[:4] != b"DKIF" or data[8:12] != b"AV01":
        raise ValueError(f"{source}: no IVF file with AV1 in it")
    at = struct.unpack_from("<H", data, 6)[0] if len(data) >= 32 else len(data)
    if not 32 <= at < len(data):
        raise ValueError(f"{source}: the IVF file holds no frame")
    while at < len(data):
        end = at + 12 + struct.unpack_from("<I", data, at)[0] if at + 12 <= len(data) else at + 12
        if end > len(data):
            raise ValueError(f"{source}: the IVF file was cut off: {len(data)} bytes, its last frame ends at {end}")
        yield data[at + 12 : end]
        at = end


_TOOLS: dict[str, Callable[[Sequence[str], Path], None]] = {
    "raw-copy": _copy,
    "pillow-jpeg": _jpeg,
    "pillow-png": _png,
    "jpeg-requantise": _jpeg_requantise,
    "ivf-to-obu": _ivf_to_obu,
}


def find(program: str) -> FoundTool | None:
    """The built-in tool of that name, identified by the versions of the libraries in it."""
    if program not in _TOOLS:
        return None
    library = {"pillow-jpeg": "libjpeg_turbo", "pillow-png": "zlib"}.get(program)
    version = f"vcmbench {__version__}"
    if library:
        version = f"Pillow {PIL.__version__}, {library} {features.version(library)}"
    if program == "jpeg-requantise":
        version += f", jpeglib {metadata.version('jpeglib')}"
    return FoundTool(program, "builtin", version, f"builtin:{version}", is_builtin=True)


def run(argv: Sequence[str], folder: Path) -> None:
    """Run a built-in tool's command line with `folder` as its working folder. Raises OSError or ValueError."""
    _TOOLS[argv[0]](argv[1:], folder)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in _TOOLS:
        raise SystemExit(str(RequestError(f"usage: python -m vcmbench.runner.builtin {'|'.join(_TOOLS)} ARGUMENTS")))
    try:
        run(sys.argv[1:], Path.cwd())
    except (OSError, ValueError, argparse.ArgumentError) as error:
        raise SystemExit(f"{sys.argv[1]}: {error}") from None
