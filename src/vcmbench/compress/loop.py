"""The loop over a run's jobs: what is finished is passed over, the rest goes to an engine; every end is reported."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from pathlib import PurePosixPath

from vcmbench.compress import encode_job, jobs
from vcmbench.compress.job import Job
from vcmbench.compress.sensitivity import Sensitivity
from vcmbench.compress.summary import CompressOutcome, Listener
from vcmbench.compress.worker import JobResult, do
from vcmbench.data.record import Record
from vcmbench.data.store import Store
from vcmbench.errors import Cancelled, JobError, WorkerDied
from vcmbench.execution.engine import Engine, Work
from vcmbench.execution.runner.base import describe
from vcmbench.io.progress import Progress

_WAIT_S = 0.2
_AHEAD = 2
_MOST_DEATHS = 3


class Loop:
    """Does the jobs of a run on an engine. `execute` is called once; `stop` ends it early."""

    def __init__(
        self, engine: Engine, store: Store, outcome: CompressOutcome, progress: Progress, stop: threading.Event,
        listen: Listener, asked: Sensitivity | None = None, *, force: bool,
    ) -> None:  # fmt: skip
        self._store, self._force, self._asked = store, force, asked
        self._engine, self._outcome, self._progress = engine, outcome, progress
        self._stop, self._listen = stop, listen
        self._running: dict[Future[JobResult], Job] = {}
        self._put_off: list[Job] = []
        self._said: set[str] = set()
        self._deaths: Counter[PurePosixPath] = Counter()
        self._asked_again = time.monotonic()
        self._has_warned = self._force
        self._awaited = PurePosixPath()

    def execute(self, jobs: Iterable[Job]) -> None:
        for job in itertools.takewhile(lambda _: not self._stop.is_set(), jobs):
            self._take(job)
            # A short queue ahead of the workers: enough to keep them busy, and memory stays flat.
            while len(self._running) >= _AHEAD * self._engine.slots() and not self._stop.is_set():
                self._finish_some()
        while self._running or (self._put_off and not self._stop.is_set()):
            self._finish_some()
            self._ask_again()

    def _take(self, job: Job) -> None:
        if (record := self._known(job)) is not None:
            self._resumed(job, record)
        elif job.geometry is None:
            self._failed(job, JobError(job.problem))
        elif self._store.is_claimed(job.bitstream):
            self._put_off.append(job)
        else:
            self._warn_of_others(job)
            seconds = jobs.seconds(job)
            self._running[self._engine.submit(Work(job.key, do, job, seconds))] = job

    def _known(self, job: Job) -> Record | None:
        # this experiment's own only: that of another is taken over where the job is claimed
        if self._force or not job.key:
            return None
        record = self._store.finished_here(job.bitstream, *job.keys)
        return record if record is not None and encode_job.is_whole(job, record, self._store) else None

    def _finish_some(self) -> None:
        # Timed, because a signal that arrives just before a wait begins is not handled until the wait is over.
        if not self._running:
            self._stop.wait(_WAIT_S)
            return
        done = wait(self._running, timeout=_WAIT_S, return_when=FIRST_COMPLETED).done
        if self._stop.is_set():
            for future in self._running:
                future.cancel()
        for future in [future for future in self._running if future in done]:  # in the order of the plan
            self._finish(self._running.pop(future), future)

    def _finish(self, job: Job, future: Future[JobResult]) -> None:
        try:
            result = future.result()
        except (Cancelled, CancelledError):
            return
        except WorkerDied as error:
            result = self._blame(job, error)
        except JobError as error:
            result = JobResult("failed", error=error)
        except Exception as error:  # such as what another machine's Python cannot read
            result = JobResult("failed", error=JobError(f"internal error: {error!r:.300}"))
        if result.state == "busy":
            self._put_off.append(job)
        elif result.state == "failed" and result.error is not None and not self._stop.is_set():
            self._failed(job, result.error)
        elif result.state == "resumed" and result.record is not None:
            self._resumed(job, result.record)
        elif result.state == "done" and result.record is not None:
            self._outcome.done += 1
            self._outcome.summary.add(job.coding, result.record)
            self._listen("done", job, result.record, None)
            self._progress.advance(lambda: job.title)

    def _blame(self, job: Job, error: WorkerDied) -> JobResult:
        """A job that was being done when its worker died left its claim behind; another one only waited there."""
        self._deaths[job.bitstream] += 1
        if self._store.was_abandoned(job.bitstream) or self._deaths[job.bitstream] > _MOST_DEATHS:
            return JobResult("failed", error=error)
        return JobResult("busy")

    def _ask_again(self) -> None:
        """Jobs that another run was at: it has finished them, is still at it, or is gone."""
        if self._stop.is_set() or not self._put_off or time.monotonic() - self._asked_again < _WAIT_S:
            return
        self._asked_again = time.monotonic()
        waiting, self._put_off = self._put_off, []
        for job in waiting:
            self._take(job)
        if self._put_off and not self._running and self._put_off[0].bitstream != self._awaited:
            self._awaited = self._put_off[0].bitstream
            whom = self._store.holder(self._awaited)
            self._progress.say(f"waiting for another run, {len(self._put_off)} jobs, {self._put_off[0].title}: {whom}")

    def _resumed(self, job: Job, record: Record) -> None:
        self._outcome.resumed += 1
        self._outcome.summary.add(job.coding, record)
        self._listen("resumed", job, record, None)
        self._progress.advance(lambda: job.title)

    def _failed(self, job: Job, error: JobError) -> None:
        # what is wrong with a picture is said once, not for each of its configurations
        if error.command or str(error) not in self._said:
            self._said.add(str(error))
            is_of_picture = not error.command and any(str(source.path) in str(error) for source in job.sources)
            self._progress.failed(describe(error) if is_of_picture else f"{job.title}: {describe(error)}")
        # their frames would keep the picture until the run ends
        error.__traceback__ = error.__context__ = error.__cause__ = None
        self._outcome.failed.append((job, error))
        self._listen("failed", job, None, error)
        self._progress.advance(lambda: job.title)

    def _warn_of_others(self, job: Job) -> None:
        """Once, where this bitstream was made by another tool, or another network was asked, and it is made anew."""
        for record in self._store.of_all_experiments(job.bitstream) if not self._has_warned else ():
            asked = (record.get("evidence") or {}).get("asked")
            is_of_another = asked is not None and self._asked is not None and asked != self._asked.identity()
            if is_of_another or record.get("tool", {}).get("encode") != job.tools.encode.identity():
                self._has_warned = True
                others = "for which another network was asked" if is_of_another else "that another tool made"
                self._progress.say(
                    f"note: results {others} are there (experiment {record['experiment']}), and are made anew with "
                    "this one; the records of other experiments that spoke of them go"
                )
                return
