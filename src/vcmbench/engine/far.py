"""The far end of a cluster's engine: what runs inside a worker process. One site for each run, opened when needed."""

from __future__ import annotations

import atexit
import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from distributed import get_worker

from vcmbench import leases
from vcmbench.engine.base import Place, Site
from vcmbench.errors import VcmbenchError

_IDLE_S = 300.0
"""After so long without work a site is closed: the run that it was for may have been killed."""


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h; the values set are the highest that glibc learns


@dataclass(frozen=True)
class Unfit:
    """A worker that cannot work for a run, and why."""

    worker: str
    reason: str


class _Entry:
    """A run's site, once it is open, with how many calls are in it and the timer that will close it."""

    def __init__(self) -> None:
        self.opening = threading.Lock()
        self.site: Site | None = None
        self.calls = 0
        self.is_ended = False
        self.timer: threading.Timer | None = None


# Of the two below, and of what entries count; never held while a site opens or closes, which may take minutes.
_lock = threading.Lock()
_entries: dict[str, _Entry] = {}
_cancelled: set[str] = set()


def check(place: Place) -> str | None:
    """Open this process' site for a run. Returns why it cannot be, None where all is well."""
    entry = _enter(place.run_id)
    try:
        _site(entry, place)
    except Exception as error:  # what is wrong there is told here, whatever it is
        return _told(error)
    finally:
        _leave(place.run_id, entry)
    return None


def call(place: Place, function: Callable[[Any, Any], Any], argument: Any) -> Any:
    """Do a piece of work on this process' site; `Unfit` where that cannot be opened."""
    entry = _enter(place.run_id)
    try:
        try:
            site = _site(entry, place)
        except Exception as error:
            return Unfit(get_worker().address, _told(error))
        return function(site, argument)
    finally:
        _leave(place.run_id, entry)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, VcmbenchError | OSError) else repr(error)


def _enter(run_id: str) -> _Entry:
    with _lock:
        entry = _entries.setdefault(run_id, _Entry())
        entry.calls += 1
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        return entry


def _site(entry: _Entry, place: Place) -> Site:
    with entry.opening:  # whoever comes meanwhile waits for it
        if entry.site is None:
            _keep_memory()
            entry.site = place.open()
        site = entry.site
    with _lock:
        is_cancelled = place.run_id in _cancelled
    if is_cancelled:
        site.cancel()
    return site


@cache
def _keep_memory() -> None:
    """Let the C library keep what is freed for what comes next, as it learns to by itself in any other process.

    Dask starts its workers with a setting that forbids it: the system would be asked for the pages of every picture.
    """
    with suppress(OSError, AttributeError):  # another C library than GNU's
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def _leave(run_id: str, entry: _Entry) -> None:
    with _lock:
        entry.calls -= 1
        if entry.calls:
            return
        if not entry.is_ended and entry.site is not None:
            entry.timer = threading.Timer(_IDLE_S, _close_if_idle, (run_id, entry))
            entry.timer.daemon = True
            entry.timer.start()
            return
        _forget(run_id, entry)
    _close(entry)


def _forget(run_id: str, entry: _Entry) -> None:
    if _entries.get(run_id) is entry:
        del _entries[run_id]


def _close_if_idle(run_id: str, entry: _Entry) -> None:
    with _lock:
        if entry.calls:
            return
        _forget(run_id, entry)
    _close(entry)


def _close(entry: _Entry) -> None:
    site, entry.site = entry.site, None
    if site is not None:
        site.close()
    with _lock:
        is_last = not _entries
    if is_last:
        leases.release_all()


def cancel(run_id: str) -> None:
    """End what this process does for a run, now and whenever more comes."""
    with _lock:
        _cancelled.add(run_id)
        entry = _entries.get(run_id)
    site = entry.site if entry is not None else None
    if site is not None:
        site.cancel()


def close(run_id: str) -> None:
    """Give back what this process holds for a run, as soon as no call is in it any more."""
    with _lock:
        _cancelled.discard(run_id)
        entry = _entries.get(run_id)
        if entry is None:
            return
        entry.is_ended = True
        if entry.timer is not None:
            entry.timer.cancel()
        if entry.calls:  # the last of them closes it
            return
        _forget(run_id, entry)
    _close(entry)


@atexit.register
def _close_all() -> None:
    with _lock:
        left = list(_entries.values())
        _entries.clear()
    for entry in left:
        _close(entry)
