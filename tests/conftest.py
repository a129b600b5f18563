"""Shared ground of the tests: real photographs, command lines as users type them, and a real Docker engine."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import skimage
from numpy.typing import NDArray
from PIL import Image

from vcmbench.encoder import plugins

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
ENCODERS = list(plugins.discover())


def pytest_configure(config: pytest.Config) -> None:
    # Probes of binaries are remembered in the user's cache; tests, with their faulty binaries, have one of their own.
    os.environ["XDG_CACHE_HOME"] = str(Path(config.rootpath) / ".pytest_cache" / "probes")


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    """A real photograph, (256, 320, 3) uint8 RGB: a detailed part of it."""
    with Image.open(PHOTOGRAPHS / "astronaut.png") as image:
        return np.asarray(image.convert("RGB"))[:256, 100:420].copy()


def save(path: Path, picture: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def write_png(path: Path, width: int, height: int, depth: int, colour_type: int, raw: bytes) -> None:
    """A PNG file from its raw, filtered rows, whatever its header says of them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def write_png16(path: Path, colour_type: int = 2) -> None:
    """A PNG of 32x32 pixels with 16 bits a sample: colour type 2 RGB, 4 gray and alpha, 6 RGB and alpha."""
    samples = {2: 3, 4: 2, 6: 4}[colour_type]
    write_png(path, 32, 32, 16, colour_type, (b"\0" + b"\xff" * 32 * samples * 2) * 32)


@pytest.fixture
def photos(tmp_path: Path, astronaut: NDArray[np.uint8]) -> Path:
    """A flat data root with two photographs."""
    root = tmp_path / "photos"
    save(root / "a.png", astronaut)
    save(root / "b.png", astronaut[:, ::-1])
    return root


@pytest.fixture
def streets(tmp_path: Path, astronaut: NDArray[np.uint8]) -> Path:
    """A data root in Cityscapes layout: two cities, three and two pictures of one size."""
    root = tmp_path / "data"
    for city, count in (("frankfurt", 3), ("lindau", 2)):
        for i in range(count):
            name = f"{city}_{i:06}_000019_leftImg8bit.png"
            save(root / "cityscapes/leftImg8bit/val" / city / name, np.roll(astronaut, 16 * i, axis=1)[:128, :192])
    (root / "cityscapes/gtFine/val").mkdir(parents=True)
    (root / "cityscapes/val.txt").write_text("frankfurt/frankfurt_000000_000019\n")
    return root


@dataclass(frozen=True)
class Typed:
    """What came of a typed command."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    def records(self) -> list[dict[str, Any]]:
        """In the order of their paths: two threads finish their jobs in any order."""
        return sorted((e["record"] for e in self.events if "record" in e), key=lambda record: str(record["bitstream"]))


def type_command(*words: object, **options: Any) -> Typed:
    """Run `vcmbench WORDS` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "vcmbench", *map(str, words)], capture_output=True, text=True, timeout=600, **options
    )
    return Typed(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def write_experiment(tmp_path: Path) -> Callable[..., Path]:
    """Writes an experiment from lines of TOML and returns its path."""

    def write(*codings: str, name: str = "trial", head: str = "") -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(f'name = "{name}"\n{head}\n' + "".join(f"[[coding]]\n{coding}\n" for coding in codings))
        return path

    return write


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of `encoders/` to add files to, in place of the real one."""
    folder = tmp_path / "plugins/encoders"
    real = plugins.resources.folder
    shutil.copytree(real("encoders"), folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(plugins.resources, "folder", lambda name: folder if name == "encoders" else real(name))
    plugins._load_all.cache_clear()
    yield folder
    plugins._load_all.cache_clear()


X265 = 'encoder = "x265"\nquality = [32]\npreset = "ultrafast"'
JPEG = 'encoder = "jpeg"\nquality = [30]'


@pytest.fixture(scope="session")
def engine() -> Any:
    """A client of a real engine. Without one: skip on a user's machine, fail where VCMBENCH_REQUIRE_DOCKER is set."""
    from vcmbench.errors import RequestError
    from vcmbench.execution.runner import images

    try:
        client = images.engine()
        client.images.get(images.BASE)
    except Exception as error:
        reason = f"needs a Docker engine with the image {images.BASE}: {error}"
        if os.environ.get("VCMBENCH_REQUIRE_DOCKER"):
            pytest.fail(reason)
        assert isinstance(error, RequestError) or "ImageNotFound" in type(error).__name__
        pytest.skip(reason)
    return client


def compress(root: Path, config: object, *words: object, **options: Any) -> Typed:
    return type_command("compress", "-d", root, "-s", config, "--runner", "local", "--json", *words, **options)


def tree(root: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, with its hash; but for the log of runs, which tells how long each
    took, and what is remembered of a table's file: they are no results."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in ("runs.jsonl", "compression.state.json")
    }


def half_written(root: Path) -> list[Path]:
    """What is neither a result nor a record; a run that was killed -9 may leave it until the next one begins."""
    return list(root.glob("results/.tmp/*"))


def faulty_ffmpeg(folder: Path, encode: str) -> Path:
    """A folder with an `ffmpeg` that is the real one, but for what it does when it is to encode."""
    folder.mkdir(exist_ok=True)
    script = folder / "ffmpeg"
    script.write_text(
        textwrap.dedent(
            f"""\
            #!/bin/bash
            real={imageio_ffmpeg.get_ffmpeg_exe()}
            case " $* " in *" rawvideo -hide_banner "*) ;; *) exec "$real" "$@" ;; esac
            out="${{@: -1}}"
            {encode}
            """
        )
    )
    script.chmod(0o755)
    return folder


def scripted_jm(folder: Path) -> Path:
    """Programs that are called like JM's, check where and how, and hand the coding over to x264 and FFmpeg."""
    folder.mkdir()
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    (folder / "lencod").write_text(
        textwrap.dedent(
            f"""\
            #!/bin/bash -e
            [ "$1" = -v ] && {{ echo "JM-19 (FRExt)"; exit 0; }}
            [ "$1 $2" = "-d ../in/jm.cfg" ] && grep -q "^ProfileIDC *= 100" "$2"
            shift 2
            while [ $# -gt 0 ]; do [ "$1" = -p ]; declare "$2"; shift 2; done
            touch log.dat stats.dat data.txt leakybucketparam.cfg
            {ffmpeg} -v error -f rawvideo -pix_fmt yuv420p -s ${{SourceWidth}}x$SourceHeight -i $InputFile \
              -frames:v $FramesToBeEncoded -c:v libx264 -qp $QPISlice -g 1 -f h264 -y $OutputFile
            printf "00000(IDR)%8d   %2d  37.1 40.2 41.3 6702 0 FRM 1\\n" 12582912 $QPISlice
            """
        )
    )
    (folder / "ldecod").write_text(
        f'#!/bin/bash -e\n[ "$1" = -v ] && exit 0\n[ "$1 $3" = "-i -o" ]\ntouch log.dec dataDec.txt\n'
        f"{ffmpeg} -v error -f h264 -i $2 -f rawvideo -pix_fmt yuv420p -y $4\n"
    )
    for name in ("lencod", "ldecod"):
        (folder / name).chmod(0o755)
    return folder
