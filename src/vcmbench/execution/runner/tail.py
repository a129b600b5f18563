"""The end of an output, in memory that does not grow with it."""

from __future__ import annotations

from collections import deque

LIMIT_BYTES = 1 << 20


class Tail:
    """The last `limit_bytes` of what was added."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._pieces: deque[bytes] = deque()
        self._size = 0

    def add(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        while self._size - len(self._pieces[0]) >= self.limit_bytes:
            self._size -= len(self._pieces.popleft())

    def content(self) -> bytes:
        return b"".join(self._pieces)[-self.limit_bytes :]
