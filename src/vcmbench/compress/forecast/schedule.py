"""What a list of jobs takes on some workers: the schedule is carried out, event by event, without the jobs.

List scheduling, as the engine does it: whoever is free takes the next job of the list. What the configurations of one
picture share (it is read and converted once) is paid by each worker that comes to that picture.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Task(NamedTuple):
    """A job as a schedule sees it: its own seconds, and `shared_s` before that on a worker whose last job did not have
    the same `shared`."""

    seconds: float
    shared_s: float = 0.0
    shared: object = None


@dataclass(frozen=True)
class Schedule:
    """What came of it: from the first start to the last end, all workers' busy seconds, and the index of the longest
    job and of the one that ended last (None without jobs)."""

    workers: int
    wall_s: float
    busy_s: float
    longest_s: float
    longest: int | None
    last: int | None

    @property
    def utilisation(self) -> float:
        """The share of the workers' time in which they work."""
        return self.busy_s / (self.wall_s * self.workers) if self.wall_s else 1.0


def simulate(tasks: Sequence[Task], workers: int) -> Schedule:
    """The schedule of `tasks`, taken in their order, on `workers` that are all free at 0."""
    # a worker that would never get a job needs no place in the heap
    free = [(0.0, worker) for worker in range(min(workers, len(tasks)))]
    held: list[object] = [None] * len(free)
    wall_s = busy_s = longest_s = 0.0
    longest = last = None
    for index, (seconds, shared_s, shared) in enumerate(tasks):
        at, worker = free[0]
        if shared is not None and held[worker] != shared:
            held[worker] = shared
            seconds += shared_s
        end = at + seconds
        heapq.heapreplace(free, (end, worker))
        busy_s += seconds
        if end > wall_s or last is None:
            wall_s, last = end, index
        if seconds > longest_s or longest is None:
            longest_s, longest = seconds, index
    return Schedule(workers, wall_s, busy_s, longest_s, longest, last)


def ladder(most: int) -> list[int]:
    """1, 2, 4, .. and `most`: the numbers of workers that are worth comparing."""
    steps = [1]
    while steps[-1] * 2 < most:
        steps.append(steps[-1] * 2)
    return steps if most == 1 else [*steps, most]
