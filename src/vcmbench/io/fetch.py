"""Files of the web: fetched once, kept under the SHA-256 that they must have."""

from __future__ import annotations

import hashlib
import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import closing, suppress
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from vcmbench.errors import RequestError
from vcmbench.io import locks
from vcmbench.io.files import hidden_stem, sha256_of
from vcmbench.io.progress import Progress

MAX_BYTES = 1 << 34
_TIMEOUT_S = 30.0
"""How long nothing may come."""
_WINDOW_S, _LEAST_BYTES = 60.0, 600_000
"""A server that drips never lets the timeout pass: so much must come in each window."""
_CHUNK, _QUEUED = 1 << 20, 8
_POLL_S = 0.5


def cached(url: str, path: Path, checksum: str) -> Path:
    """`path`, whose SHA-256 begins with `checksum` (hex digits); fetched from `url` unless it is there and whole.

    Two processes at once fetch it once. A killed fetch leaves a `.part` beside it, which the next one in that folder
    removes.
    Raises RequestError with one line where it cannot be fetched, is larger than MAX_BYTES, or is another file.
    """
    if _is_whole(path, checksum):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.parent / f"{hidden_stem(path)}part"
        awaited = ""
        while (lease := locks.take(part)) is None:  # another process fetches it, and gives up where nothing comes
            if (whom := locks.holder(part)) != awaited:
                awaited = whom
                Progress(0).say(f"{path.name} is being fetched; waiting for it: {whom}")
            time.sleep(_POLL_S)
        with lease:
            for other in path.parent.glob(f".{'[0-9a-f]' * 16}.part"):  # of fetches of other files that were killed
                if other != part:
                    with locks.abandoned(other):  # it goes with the block
                        pass
            if not _is_whole(path, checksum):
                _fetch(url, part, checksum)
                part.chmod(0o644)
                part.replace(path)
    except (OSError, ValueError, http.client.HTTPException) as error:
        there = f", in place of {path}, which has another SHA-256" if path.is_file() else f" and lay it at {path}"
        raise RequestError(
            f"{url}: cannot be fetched ({reason(error)}); where there is a network, fetch it{there}"
        ) from None
    return path


def headers(url: str) -> Message:
    """What a server says of a file, without following it elsewhere. Raises RequestError with the bare reason."""
    try:
        with closing(_answer(urllib.request.Request(url, method="HEAD"))) as answer:  # noqa: S310  # see _answer
            found: Message = next(answer)
            return found
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise RequestError(reason(error)) from None


def reason(error: Exception) -> str:
    """Why something could not be fetched: one line, without what urllib wraps around it."""
    text = str(getattr(error, "reason", None) or error) if not isinstance(error, urllib.error.HTTPError) else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0][:200]


def _is_whole(path: Path, checksum: str) -> bool:
    return path.is_file() and sha256_of(path, MAX_BYTES).startswith(checksum)


def _fetch(url: str, part: Path, checksum: str) -> None:
    digest, came = hashlib.sha256(), 0
    with closing(_answer(urllib.request.Request(url))) as answer, part.open("wb") as file:  # noqa: S310  # see _answer
        length = str(next(answer).get("Content-Length", ""))
        total = int(length) if length.isdecimal() else 0
        with Progress(-(-total >> 20), "megabyte") as progress:
            progress.say(f"fetching {url}")
            for chunk in answer:
                came += len(chunk)
                if max(came, total) > MAX_BYTES:
                    raise ValueError(f"it has more than {MAX_BYTES} bytes")
                digest.update(chunk)
                file.write(chunk)
                if total:
                    progress.advance(part.name, came >> 20)
    if came < total:
        raise ValueError(f"the answer broke off after {came} of {total} bytes")
    if not (found := digest.hexdigest()).startswith(checksum):
        raise ValueError(f"what came has SHA-256 {found[: len(checksum)]}, not {checksum}; it was not kept")


def _answer(request: urllib.request.Request) -> Generator[Any, None, None]:
    """The headers of an answer, then its content in pieces. Raises TimeoutError where too little comes for too long.

    A thread reads: a server may drip bytes where urllib and http.client read whole lines.
    """
    if urlsplit(request.full_url).scheme not in ("http", "https"):
        raise ValueError("not an address of the web")
    pieces: queue.Queue[Any] = queue.Queue(_QUEUED)
    left = threading.Event()
    threading.Thread(target=_read, args=(request, pieces, left), daemon=True).start()
    since, came = time.monotonic(), 0
    try:
        while (piece := pieces.get(timeout=_TIMEOUT_S)) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece
            came += len(piece)
            if time.monotonic() - since >= _WINDOW_S:
                if came < _LEAST_BYTES:
                    raise TimeoutError(f"{came} bytes came in {_WINDOW_S:.0f} s")
                since, came = time.monotonic(), 0
    except queue.Empty:
        raise TimeoutError(f"nothing came for {_TIMEOUT_S:.0f} s") from None
    finally:
        left.set()
        with suppress(queue.Empty):
            while True:  # the thread may wait for room
                pieces.get_nowait()


def _read(request: urllib.request.Request, pieces: queue.Queue[Any], left: threading.Event) -> None:
    try:
        opener = urllib.request.build_opener(*([_Stay] if request.get_method() == "HEAD" else []))
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            pieces.put(answer.headers)
            while not left.is_set() and (chunk := answer.read1(_CHUNK)):
                pieces.put(chunk)
        pieces.put(None)
    except Exception as error:  # whatever it is, it is raised where the pieces are waited for
        pieces.put(error)


class _Stay(urllib.request.HTTPRedirectHandler):
    """An answer that sends us elsewhere is the answer."""

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any) -> Any:
        return fp

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302
