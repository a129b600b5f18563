"""Work in this process, on threads: tools are processes anyway, and nothing has to be started first."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from vcmbench.execution.engine.base import Engine, Resource, Work, WorkerState


class ThreadsEngine(Engine):
    """`jobs` threads on one site, which it closes at the end."""

    name = "threads"

    def __init__(self, site: WorkerState, jobs: int) -> None:
        self._site, self._jobs = site, jobs
        self._pool = ThreadPoolExecutor(jobs, "vcmbench")

    def slots(self, needs: Resource = "CPU") -> int:
        return self._jobs

    def submit(self, work: Work) -> Future[Any]:
        return self._pool.submit(work.function, self._site, work.argument)

    def cancel(self) -> None:
        self._site.cancel()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._site.close()
