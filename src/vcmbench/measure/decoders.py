"""Decoded pictures of many bitstreams, in order, decoded ahead of what looks at them.

Decoders are processes of one thread; while a network or a metric works on a picture, the next ones are decoded. What is
ahead is bounded, and so is memory: single pictures wait decoded, a stack is decoded whole but read picture by picture.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress import decode
from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.execution.runner.base import Runner, Worker
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.outcome import as_job_error


@dataclass(frozen=True, eq=False)
class Decoded:
    """Frame `index` of a unit, (H, W, 3) uint8 RGB, None where it need not be seen; or what went wrong with all that
    is left of the unit."""

    unit: Unit
    index: int
    picture: NDArray[np.uint8] | None
    error: JobError | None = None


_Pictures = Future[list[NDArray[np.uint8]]]


class Decoders:
    """`jobs` threads, each with a worker of the runner. A context manager: at its end nothing runs any more."""

    def __init__(self, root: Path, runner: Runner, jobs: int, timeout_s: float) -> None:
        self._root, self._runner, self._jobs, self._timeout_s = root, runner, jobs, timeout_s
        self._pool = ThreadPoolExecutor(jobs, "vcmbench-decode")
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._lock = threading.Lock()

    def frames(
        self,
        units: Iterable[Unit | None],
        is_stopped: Callable[[], bool],
        needs_pictures: Callable[[Unit], bool] = lambda _: True,
    ) -> Iterator[Decoded | None]:
        """Every frame of every unit, in order. A unit that fails yields one `Decoded` with its error.

        None among the units means that the next one may be long in coming: it is given on, after all frames of those
        before it.
        """
        waiting: deque[tuple[Unit, _Pictures | None, bool]] = deque()
        try:
            for unit in units:
                if is_stopped():
                    break
                if unit is None:
                    while waiting:
                        yield from self._finish(*waiting.popleft())
                    yield None
                    continue
                sees = needs_pictures(unit)
                is_single = sees and len(unit.sources) == 1
                waiting.append((unit, self._pool.submit(self._single, unit) if is_single else None, sees))
                while len(waiting) > 2 * self._jobs:
                    yield from self._finish(*waiting.popleft())
            while waiting and not is_stopped():
                yield from self._finish(*waiting.popleft())
        finally:
            for _, future, _ in waiting:
                if future is not None:
                    future.cancel()

    def _single(self, unit: Unit) -> list[NDArray[np.uint8]]:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = self._runner.worker()
            with self._lock:
                self._all.append(worker)
        try:
            return list(decode.decode_on(worker, unit.record, self._root, self._runner, self._timeout_s))
        finally:
            with self._lock:
                self._idle.append(worker)

    def _finish(self, unit: Unit, future: _Pictures | None, sees: bool) -> Iterator[Decoded]:
        if not sees:
            yield from (Decoded(unit, index, None) for index in range(len(unit.sources)))
            return
        index = 0
        try:
            if future is not None:
                pictures: Iterable[NDArray[np.uint8]] = future.result()
            else:
                pictures = decode.decode(unit.record, self._root, self._runner, self._timeout_s)
            for picture in pictures:
                yield Decoded(unit, index, picture)
                index += 1
        except Cancelled:
            return
        except (JobError, RequestError, OSError) as error:  # no decoder is found: other codecs go on
            yield Decoded(unit, index, None, as_job_error(error))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.close()
        self._all, self._idle = [], []

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def decoded(
    units: Iterable[Unit], root: Path, runner: Runner, jobs: int, timeout_s: float, is_stopped: Callable[[], bool]
) -> Iterator[Decoded]:
    """Every frame of every unit, in order, by decoders of their own."""
    with Decoders(root, runner, jobs, timeout_s) as decoders:
        yield from (frame for frame in decoders.frames(units, is_stopped) if frame is not None)
