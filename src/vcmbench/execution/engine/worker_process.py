"""The far end of a cluster's engine: what runs inside a worker process. One site for each run, opened when needed."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from distributed import get_worker

from vcmbench.errors import Cancelled, VcmbenchError
from vcmbench.execution.engine.base import WorkerSpec, WorkerState
from vcmbench.io import locks

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
        """Held while the site opens or closes, which may take minutes."""
        self.site: WorkerState | None = None
        self.calls = 0
        self.timer: threading.Timer | None = None


# Of all below and of what entries count. Never held while a site opens or closes; `opening` is never taken within it.
_lock = threading.Lock()
_entries: dict[str, _Entry] = {}
_over: set[str] = set()
"""Runs that have ended. What comes late for them is not begun; a run's id is never used again."""


# What a cluster asks a worker in person is asked on the one thread that answers for all its runs, and that tells the
# scheduler that the worker lives: hence coroutines, with the work on other threads.


async def check(place: WorkerSpec) -> str | None:
    """Open this process' site for a run. Returns why it cannot be, None where all is well."""
    return await asyncio.to_thread(_check, place)


async def cancel(run_id: str) -> None:
    """End what this process does for a run; what comes later is not begun."""
    await asyncio.to_thread(_cancel, run_id)


async def close(run_id: str) -> None:
    """The same, and give back what this process holds for the run, as soon as no call is in it any more."""
    await asyncio.to_thread(_end, run_id)


def call(place: WorkerSpec, function: Callable[[Any, Any], Any], argument: Any) -> Any:
    """Do a piece of work on this process' site; `Unfit` where that cannot be opened. Raises Cancelled where the run is
    over."""
    entry = _enter(place.run_id)
    try:
        try:
            site = _site(entry, place)
        except Cancelled:
            raise
        except Exception as error:
            return Unfit(get_worker().address, _told(error))
        return function(site, argument)
    finally:
        _leave(place.run_id, entry)


def _check(place: WorkerSpec) -> str | None:
    entry = _enter(place.run_id)
    try:
        _site(entry, place)
    except Exception as error:  # what is wrong there is told here, whatever it is
        return _told(error)
    finally:
        _leave(place.run_id, entry)
    return None


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


def _site(entry: _Entry, place: WorkerSpec) -> WorkerState:
    """Raises Cancelled where the run is over, and what opening raises."""
    _refuse_if_over(place.run_id)
    with entry.opening:  # whoever comes meanwhile waits for it
        if entry.site is None:
            _keep_memory()
            entry.site = place.open()
        site = entry.site
    _refuse_if_over(place.run_id)  # it ended meanwhile, and who ended it saw no site yet
    return site


def _refuse_if_over(run_id: str) -> None:
    with _lock:
        if run_id in _over:
            raise Cancelled


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
        if entry.site is not None and run_id not in _over:
            entry.timer = threading.Timer(_IDLE_S, _close_unused, (run_id, entry))
            entry.timer.daemon = True
            entry.timer.start()
            return
    _close_unused(run_id, entry)


def _close_unused(run_id: str, entry: _Entry) -> None:
    """Close an entry's site unless a call is in it. One that comes meanwhile waits, and opens another."""
    try:
        with entry.opening:
            with _lock:
                site = None if entry.calls else entry.site
                if site is not None:
                    entry.site = None
            if site is not None:
                site.close()
    finally:
        with _lock:
            if not entry.calls and entry.site is None and _entries.get(run_id) is entry:
                del _entries[run_id]
            if not _entries:
                locks.release_all()


def _cancel(run_id: str) -> None:
    with _lock:
        _over.add(run_id)
        entry = _entries.get(run_id)
        site = entry.site if entry is not None else None
    if site is not None:
        site.cancel()


def _end(run_id: str) -> None:
    with _lock:
        entry = _entries.get(run_id)
        if entry is not None and entry.timer is not None:
            entry.timer.cancel()
        is_used = entry is not None and entry.calls > 0
        _over.add(run_id)
    if is_used:  # the last call closes it
        _cancel(run_id)
    elif entry is not None:
        _close_unused(run_id, entry)


@atexit.register
def _close_all() -> None:
    for run_id in list(_entries):
        with suppress(Exception):  # the process ends; the others are closed, too
            _end(run_id)
