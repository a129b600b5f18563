"""Decoded pictures of many bitstreams, in order, decoded ahead of whoever looks at them.

Decoders are processes of one thread; while a network or a metric works on a picture, the next ones are decoded. What is
ahead is bounded, and so is memory: single pictures wait decoded, a stack is decoded whole but read picture by picture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from vcmbench import decode
from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.measure.units import Unit
from vcmbench.runner.base import Runner, Worker


@dataclass(frozen=True, eq=False)
class Decoded:
    """Frame `index` of a unit, (H, W, 3) uint8 RGB, or what went wrong with all that is left of the unit."""

    unit: Unit
    index: int
    picture: NDArray[np.uint8] | None
    error: JobError | None = None


def decoded(
    units: Iterable[Unit], root: Path, runner: Runner, jobs: int, timeout_s: float, is_stopped: Callable[[], bool]
) -> Iterator[Decoded]:
    """Every frame of every unit, in order. A unit that fails yields one `Decoded` with its error."""
    idle: SimpleQueue[Worker] = SimpleQueue()
    workers = [runner.worker() for _ in range(jobs)]
    for worker in workers:
        idle.put(worker)

    def single(unit: Unit) -> list[NDArray[np.uint8]]:
        worker = idle.get()
        try:
            return list(decode.decode_on(worker, unit.record, root, runner, timeout_s))
        finally:
            idle.put(worker)

    def finish(unit: Unit, future: Future[list[NDArray[np.uint8]]] | None) -> Iterator[Decoded]:
        index = 0
        try:
            if future is not None:
                pictures: Iterable[NDArray[np.uint8]] = future.result()
            else:
                pictures = decode.decode(unit.record, root, runner, timeout_s)
            for picture in pictures:
                yield Decoded(unit, index, picture)
                index += 1
        except Cancelled:
            return
        except (JobError, RequestError) as error:  # no decoder is found: other codecs go on
            yield Decoded(unit, index, None, error if isinstance(error, JobError) else JobError(str(error)))

    waiting: deque[tuple[Unit, Future[list[NDArray[np.uint8]]] | None]] = deque()
    pool = ThreadPoolExecutor(jobs)
    try:
        for unit in units:
            if is_stopped():
                break
            waiting.append((unit, pool.submit(single, unit) if len(unit.sources) == 1 else None))
            while len(waiting) > 2 * jobs:
                yield from finish(*waiting.popleft())
        while waiting and not is_stopped():
            yield from finish(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()
