"""Single frames of videos for those who go forward through them: open readers that are kept, and go on from where they
are."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.video import RawGeometry, Reader, Stamp

U8 = NDArray[np.uint8]
_MOST_IDLE = 8
_Key = tuple[Stamp, RawGeometry | None]


class _Kept:
    """A reader, and the last frame that it gave."""

    def __init__(self, path: Path, raw: RawGeometry | None) -> None:
        self.reader = Reader(path, raw)
        self.number, self.rgb = -1, np.empty((0, 0, 3), np.uint8)

    def go_to(self, number: int) -> None:
        if number == self.number:
            return
        frame = self.reader.next()
        while self.reader.position <= number:
            frame = self.reader.next()
        self.rgb = self.reader.rgb(frame)
        self.rgb.flags.writeable = False
        self.number = number


class _Pool:
    """Readers that are not in use at the moment, the one that was used last at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[_Key, _Kept]] = []

    def take(self, key: _Key, number: int) -> _Kept:
        """The reader that is nearest before a frame, or a new one."""
        with self._lock:
            fit = [one for one in self._idle if one[0] == key and one[1].number <= number]
            if fit:
                best = max(fit, key=lambda one: one[1].number)
                self._idle.remove(best)
                return best[1]
        return _Kept(key[0].path, key[1])

    def give_back(self, key: _Key, kept: _Kept) -> None:
        with self._lock:
            self._idle.append((key, kept))
            old = self._idle.pop(0)[1] if len(self._idle) > _MOST_IDLE else None
        if old is not None:
            old.reader.close()

    def forget(self) -> None:
        """In a process that was forked off: it would share the places in the files with the one that it came from."""
        self._lock, self._idle = threading.Lock(), []


_POOL = _Pool()
os.register_at_fork(after_in_child=_POOL.forget)


def read(path: Path, number: int, raw: RawGeometry | None = None) -> tuple[U8, tuple[str, ...]]:
    """A frame of a video by its number from 0, (H, W, 3) uint8 R'G'B', not to be written to, and notes on what became
    of it.

    Quick for what is asked for in order: what lies between is decoded, and to go back is to begin anew. May be called
    by several threads. Raises JobError.
    """
    key = (Stamp.of(path), raw)
    kept = _POOL.take(key, number)
    try:
        kept.go_to(number)
        found = kept.rgb, kept.reader.notes
    except BaseException:
        kept.reader.close()
        raise
    _POOL.give_back(key, kept)
    return found


def read_all(path: Path, raw: RawGeometry | None = None) -> Iterator[U8]:
    """All frames of a video in order, one at a time, (H, W, 3) uint8 R'G'B'. Raises JobError."""
    with Reader(path, raw) as reader:
        for frame in reader:
            yield reader.rgb(frame)
