"""The far end of a cluster's engine: what runs inside a worker process. One site for each run, opened when needed."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distributed import get_worker

from vcmbench import leases
from vcmbench.engine.base import Place, Site
from vcmbench.errors import VcmbenchError

_IDLE_S = 300.0
"""After so long without work a site is closed: the run that it was for may have been killed."""


@dataclass(frozen=True)
class Unfit:
    """A worker that cannot work for a run, and why."""

    worker: str
    reason: str


class _Open:
    """An open site, with how many calls are in it and the timer that will close it."""

    def __init__(self, site: Site) -> None:
        self.site, self.calls = site, 0
        self.timer: threading.Timer | None = None


_lock = threading.RLock()
_open: dict[str, _Open] = {}
_cancelled: set[str] = set()


def check(place: Place) -> str | None:
    """Open this process' site for a run. Returns why it cannot be, None where all is well."""
    try:
        _enter(place)
    except Exception as error:  # what is wrong there is told here, whatever it is
        return _told(error)
    _leave(place)
    return None


def call(place: Place, function: Callable[[Any, Any], Any], argument: Any) -> Any:
    """Do a piece of work on this process' site; `Unfit` where that cannot be opened."""
    try:
        site = _enter(place)
    except Exception as error:
        return Unfit(get_worker().address, _told(error))
    try:
        return function(site, argument)
    finally:
        _leave(place)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, VcmbenchError | OSError) else repr(error)


def _enter(place: Place) -> Site:
    with _lock:
        if place.run_id not in _open:
            _open[place.run_id] = _Open(place.open())
        entry = _open[place.run_id]
        entry.calls += 1
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        if place.run_id in _cancelled:
            entry.site.cancel()
        return entry.site


def _leave(place: Place) -> None:
    with _lock:
        entry = _open.get(place.run_id)
        if entry is None:
            return
        entry.calls -= 1
        if not entry.calls:
            entry.timer = threading.Timer(_IDLE_S, _close_if_idle, (place.run_id,))
            entry.timer.daemon = True
            entry.timer.start()


def _close_if_idle(run_id: str) -> None:
    with _lock:
        entry = _open.get(run_id)
        if entry is not None and not entry.calls:
            del _open[run_id]
            entry.site.close()


def cancel(run_id: str) -> None:
    """End what this process does for a run, now and whenever more comes."""
    with _lock:
        _cancelled.add(run_id)
        entry = _open.get(run_id)
    if entry is not None:
        entry.site.cancel()


def close(run_id: str) -> None:
    """Give back what this process holds for a run."""
    with _lock:
        entry = _open.pop(run_id, None)
        if entry is not None and entry.timer is not None:
            entry.timer.cancel()
        _cancelled.discard(run_id)
    if entry is not None:
        entry.site.close()
    if not _open:
        leases.release_all()


@atexit.register
def _close_all() -> None:
    for run_id in list(_open):
        close(run_id)
