"""Pictures written as files, also such as no program would write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


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
