"""What a command in a container prints, followed until it ends or its time is up."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from vcmbench.execution.runner.tail import Tail

_FRAME = struct.Struct(">BxxxL")
"""Before each piece that a command prints: which of its outputs, and how many bytes."""
_STDOUT = 1
_CHUNK_BYTES = 1 << 16


class Watchdog:
    """Calls `bite` unless the block ends within `timeout_s`, and cuts the connection that the block listens to: an
    engine that hangs would never close it."""

    def __init__(self, timeout_s: float, bite: Callable[[], object]) -> None:
        self.has_bitten = False
        self._bite = bite
        self._stream: Any = None
        self._timer = threading.Timer(timeout_s, self._on_time)
        self._timer.daemon = True

    def cuts(self, stream: Any) -> None:
        self._stream = getattr(stream, "_sock", stream)
        if self.has_bitten:
            self._cut()

    def _on_time(self) -> None:
        self.has_bitten = True
        with contextlib.suppress(Exception):  # it ended at this very moment, or the engine is gone: so is the tool
            self._bite()
        self._cut()

    def _cut(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):  # it is closed already
                self._stream.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Watchdog:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()


def follow(stream: Any, watchdog: Watchdog) -> tuple[bytes, bytes]:
    """The ends of what a command prints on stdout and stderr, once both are closed. `stream` is docker-py's socket."""
    output, errors = Tail(), Tail()
    watchdog.cuts(stream)
    getattr(stream, "_sock", stream).settimeout(None)  # a tool may be silent for long; its time is the watchdog's
    # The socket lies below the buffer through which the response's head was read: what a quick command printed may
    # have come with the head, and lies in that buffer. (docker-py's own readers pass over it.)
    reader = stream._response.raw._fp.fp
    try:
        while len(head := reader.read(_FRAME.size)) == _FRAME.size:
            kind, left = _FRAME.unpack(head)
            while left and (data := reader.read(min(left, _CHUNK_BYTES))):
                (output if kind == _STDOUT else errors).add(data)
                left -= len(data)
    finally:
        stream.close()
    return output.content(), errors.content()
