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

from tests.helpers import commands
from tests.helpers.commands import Typed
from vcmbench.io.text import visible

GIGABYTE = 1 << 30
typed, compress = commands.typed, commands.compress_here


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


_PEAK = """
import resource
from pathlib import Path
# of this program alone: what getrusage tells begins with the memory of the process that started it
lines = Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else []
told = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
print((told or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0])
"""


def peak_mib(code: str, *arguments: object) -> tuple[float, str]:
    """The most memory that a program of its own came to have, in MiB, and what it printed. It gets `arguments` as
    `sys.argv[1:]`. That of the interpreter and of its imports is part of it."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code) + _PEAK, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
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


NAMES = (
    "$(touch sprung)", "`id`", "a;b|c&d", "'; exit 1; '", '"quoted"', "new\nline", "carriage\rreturn", "tab\tbed",
    "-dash", "--output=x", "*?[a-z]", "{a,b}", "~", "%s%n{0}{x}", "back\\slash", "trailing space ", "trailing dot.",
    " leading", "\x1b[2J\x1b[31mred", "bell\x07", "\u202egnp.exe", "\u2066isolated", "e\u0301\u0327\u0323",
    "z" + "\u0300" * 60, "\u05e9\u05dc\u05d5\u05dd", "\u6771\u4eac", "\U0001f468\u200d\U0001f469", "\ufeffbom",
    "\u2028line", "<script>hit()", "<img src=x onerror=hit()>", "&lt;b&gt;", "=cmd|' C calc'!A0", "+1+1", "@SUM(A1)",
    "-1+1", "a=b(c)", "con", "nul", "a..b", "a,b", "x(quality=1, color_subsampling=420)", "y" * 200,
)  # fmt: skip
"""Names that a file may have here."""


def printable(done: Typed) -> None:
    """Nothing that was printed moves a cursor, colours a terminal or turns the direction of writing."""
    assert "Traceback" not in done.err
    for line in (done.out + done.err).split("\n"):
        assert visible(line) == line, ascii(line)
