"""What is known of a binary or an image (its hash, version, components), remembered between runs.

Hashing FFmpeg's 170 MB and asking it for its version costs more than a whole resumed run; the answers hold as long as
the file (path, size, time of change) or the image id stays the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from vcmbench.errors import RequestError
from vcmbench.io.files import read_bounded, write_atomically
from vcmbench.io.resources import cache_folder

_TIMEOUT_S = 10.0
_MAX_BYTES = 1 << 26
_VERSION_ARGUMENTS = {
    "ffmpeg": ("-version",),
    "cjpeg": ("-version",),
    "djpeg": ("-version",),
    "lencod": ("-v",),
    "ldecod": ("-v",),
    "TAppEncoderStatic": (),
    "TAppDecoderStatic": (),
}
_STARTS = "starts"
# of the GNU and the musl loader: a library is missing, or older than the binary wants
_LOADERS_COMPLAINT = re.compile(
    r"^.*(?:error while loading shared libraries|version `[^']+' not found|Error loading shared library).*$",
    re.MULTILINE,
)
_lock = threading.Lock()


def version_arguments(program: str) -> tuple[str, ...]:
    return _VERSION_ARGUMENTS.get(program, ("--version",))


def first_line(output: str) -> str:
    """The line of a program's answer that names its version."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    named = [line for line in lines if any(character.isdigit() for character in line)]
    return (named or lines or ["unknown"])[0][:200]


def _cache_file() -> Path | None:
    try:
        return cache_folder() / "probes.json"
    except RequestError:
        return None


@cache
def _cached() -> dict[str, Any]:
    file = _cache_file()
    try:
        known = json.loads(read_bounded(file, _MAX_BYTES)) if file else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(key: str, ask: Callable[[], str]) -> str:
    """The answer to `key`, from the cache or from `ask`; an empty answer is asked for again next time.

    A cache that cannot be written is no error.
    """
    with _lock:
        known = _cached()
        if known.get(key):
            return str(known[key])
        answer = ask()
        if answer:
            known[key] = answer
            if (file := _cache_file()) is not None:
                with contextlib.suppress(OSError):
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write_atomically(file, json.dumps(known, indent=1).encode(), file.with_suffix(f".{os.getpid()}"))
        return answer


def _identity_key(path: Path) -> str:
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def sha256(path: Path) -> str:
    def ask() -> str:
        with path.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()

    return remember(f"sha256 {_identity_key(path)}", ask)


def answer(path: Path, arguments: tuple[str, ...]) -> str:
    """What a binary prints when it is called with `arguments`; empty where it fails to start or to answer in time."""

    def ask() -> str:
        try:
            done = subprocess.run(
                [path, *arguments],
                cwd=tempfile.gettempdir(),  # some tools write files wherever they are started
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return (done.stdout + done.stderr).decode(errors="replace")[: 1 << 17]

    return remember(f"answer {' '.join(arguments)} {_identity_key(path)}", ask)


def cannot_start(program: str, path: Path) -> str:
    """Why a binary cannot be started here, in its loader's words; empty where it can."""

    def ask() -> str:
        try:
            done = subprocess.run(
                [path, *version_arguments(program)],
                cwd=tempfile.gettempdir(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except OSError as error:
            return error.strerror or str(error)
        except subprocess.TimeoutExpired:
            return _STARTS
        complaint = _LOADERS_COMPLAINT.search(done.stderr.decode(errors="replace")) if done.returncode else None
        if done.returncode < 0:
            return f"killed by signal {-done.returncode}"
        return complaint[0].strip()[:300] if complaint else _STARTS

    answer = remember(f"starts {_identity_key(path)}", ask)
    return "" if answer == _STARTS else answer


def version(program: str, path: Path) -> str:
    return first_line(answer(path, version_arguments(program)))


def lists_component(listing: str, component: str) -> bool:
    """Whether FFmpeg's -encoders or -decoders listing has `component`."""
    return any(component in line.split()[1:2] for line in listing.splitlines())
