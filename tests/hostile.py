"""What others may lay in our way, and how to see that it is refused in time and in little memory."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

GIGABYTE = 1 << 30


def sparse(path: Path, size: int = GIGABYTE, start: bytes = b"") -> Path:
    """A file of that size which takes no room on the disk: `start`, and zeros."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
    return path


def pipe(path: Path) -> Path:
    """A pipe that nobody writes to: whoever reads it waits for ever."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fails what takes longer, instead of waiting for it."""

    def end(_: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done within {seconds} s: {frame}")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def peak_mib(code: str, *arguments: object) -> tuple[float, str]:
    """The most memory that a program of its own came to have, in MiB, and what it printed. It gets `arguments` as
    `sys.argv[1:]`. That of the interpreter and of its imports is part of it."""
    script = f"{textwrap.dedent(code)}\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    *out, peak = done.stdout.splitlines()
    return int(peak) / 1024, "\n".join(out)


def one_line(error: BaseException) -> str:
    """The text of an error that people are shown: a line, and no longer than somebody would read."""
    text = str(error)
    assert text
    assert "\n" not in text, text
    assert len(text) < 2000, text[:300]
    return text


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, raw: bytes = b"", before: bytes = b"", depth: int = 8, colour_type: int = 2) -> bytes:
    """A PNG that says so of itself: `raw` are its filtered rows, `before` chunks ahead of them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bomb(size: int) -> bytes:
    """Zeros as zlib packs them: a thousandth of `size`."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


TEXTS: dict[str, bytes] = {
    "nothing": b"",
    "no text": b"\xff\xfe\xfd",
    "zeros": bytes(64),
    "a list in a list": b"[" * 100_000,
    "an object in an object": b'{"a":' * 100_000,
    "closed lists": b"[" * 900 + b"]" * 900,
    "a long number": b'{"a": ' + b"7" * 1_000_000 + b"}",
    "a number out of range": b'{"a": 1e999999, "b": -1e999999}',
    "a key twice": b'{"0": {"acc": 1}, "0": {"acc": 1}}',
    "NaN": b'{"schema_version": NaN, "0": NaN, "1": Infinity, "2": -Infinity}',
    "a lone surrogate": json.dumps({"\ud800": "\udc80", "objects": ["\ud800"], "0": "\ud800"}).encode(),
    "a surrogate in UTF-8": b'{"\xed\xa0\x80": "\xed\xb2\x80"}',
    "NUL": b'{"\\u0000": "\\u0000", "a\x00": 1}',
    "null": b"null",
    "a number": b"5",
    "a text": b'"' + b"x" * 100_000 + b'"',
    "many keys": b"{" + b", ".join(b'"%d": %d' % (i, i) for i in range(10_000)) + b"}",
    "other kinds": b'{"schema_version": [], "objects": 3, "iqa": [], "machine": 1, "metrics": [], "model": 3, "0": 1}',
}
"""What a file of JSON may hold in place of what is expected; none of it is what any of them holds."""
