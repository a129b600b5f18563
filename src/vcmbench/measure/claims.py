"""Which units are ours: runs that measure one experiment of one data root at the same time share the work.

A unit is claimed before it is decoded, and what is known of it is looked up again then: another run may have finished
it. A unit that another run holds is put off, and with it the others of its picture, so that each run keeps to pictures
of its own; at the end they are asked for again, until the other run has done them or has gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from vcmbench.data.dataset import RESULTS, Source
from vcmbench.data.store import Store
from vcmbench.errors import Cancelled, JobError
from vcmbench.io.locks import Lease
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.outcome import as_job_error
from vcmbench.measure.records import SCORES
from vcmbench.measure.todo import ImageLevel, Todo

_PAUSE_S = 0.2


@dataclass
class _Claimed:
    todo: list[Todo]
    lease: Lease
    left: int
    """Frames of it that are not told yet."""


class Claims:
    """The units of a run. `resumed` is told of each unit how many of its frames are known, `failed` of what cannot be
    looked up, `wait` of how many units others are at work on, before they are waited for. Used by one thread."""

    def __init__(
        self, units: Sequence[Unit], level: ImageLevel, store: Store, stop: threading.Event, *, force: bool,
        resumed: Callable[[Unit, int], None], failed: Callable[[Unit, Sequence[Source], JobError], None],
        wait: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._units, self._level, self._store, self._stop, self._force = units, level, store, stop, force
        self._resumed, self._failed, self._wait = resumed, failed, wait
        self._ours: dict[str, _Claimed] = {}
        self.put_off: list[Unit] = []
        """What others were at work on when it was asked for last."""

    def lacking(self, *, waits: bool) -> Iterator[Unit | None]:
        """The units of which something is to be found out, ours until all their frames were told as `finished`.

        None before others are waited for: what is ours must be finished first, for they may wait for it.
        """
        busy: set[Source] = set()
        for unit in self._units:
            taken = None if unit.sources[0] in busy else self._take(unit)
            if taken is None:
                busy.add(unit.sources[0])
                self.put_off.append(unit)
            elif taken:
                yield unit
        while waits and self.put_off and not self._stop.is_set():
            asked, self.put_off = self.put_off, []
            for unit in asked:
                taken = None if self._stop.is_set() else self._take(unit)
                if taken is None:
                    self.put_off.append(unit)
                elif taken:
                    yield unit
            if len(self.put_off) == len(asked) and not self._stop.is_set():
                yield None
                self._wait(len(asked))
                self._stop.wait(_PAUSE_S)

    def _take(self, unit: Unit) -> bool | None:
        """Whether there is something to do and it is ours now; None where it is another run's."""
        try:
            todo = self._look(unit)
            if all(one.is_done for one in todo):
                self._resumed(unit, len(todo))
                return False
            lease = self._store.claim(_name(self._store, unit))
            if lease is None:
                return None
            try:
                todo = self._look(unit)
            except BaseException:
                lease.release()
                raise
        except (JobError, OSError) as error:
            self._failed(unit, unit.sources, as_job_error(error))
            return False
        left = sum(not one.is_done for one in todo)
        self._resumed(unit, len(todo) - left)
        if not left:
            lease.release()
            return False
        self._ours[unit.record["bitstream"]] = _Claimed(todo, lease, left)
        return True

    def _look(self, unit: Unit) -> list[Todo]:
        return list(self._level.todo(unit, force=self._force))

    def todo(self, unit: Unit) -> list[Todo]:
        """What is to be found out of a unit that is ours, frame by frame; nothing once all of that is told."""
        claimed = self._ours.get(unit.record["bitstream"])
        return [] if claimed is None else [one for one in claimed.todo if not one.is_done]

    def finished(self, unit: Unit) -> None:
        """Another frame of a unit is told, as measured or as failed."""
        name = unit.record["bitstream"]
        if name in self._ours:
            self._ours[name].left -= 1
            if not self._ours[name].left:
                self._ours.pop(name).lease.release()

    def close(self) -> None:
        """Let go of all that is not finished."""
        while self._ours:
            self._ours.popitem()[1].lease.release()


def _name(store: Store, unit: Unit) -> PurePosixPath:
    """What is claimed: the first score record of a unit."""
    return PurePosixPath(RESULTS, store.folder.name, SCORES, unit.folder, f"{unit.sources[0].name}.json")


@contextmanager
def alone(store: Store, name: str, stop: threading.Event) -> Iterator[None]:
    """No other run makes what lies at `name` in the experiment's folder meanwhile. Raises Cancelled where `stop` is set
    while it is waited for."""
    while (lease := store.claim(PurePosixPath(RESULTS, store.folder.name, name))) is None:
        if stop.wait(_PAUSE_S):
            raise Cancelled
    with lease:
        yield
