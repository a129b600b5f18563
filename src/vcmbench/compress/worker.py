"""What a process holds while it compresses for a run, and how one job is done there: claimed, done, and recorded."""

from __future__ import annotations

import hashlib
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import vcmbench
from vcmbench.compress import encode_job
from vcmbench.compress.coder import Cache
from vcmbench.compress.job import Job, Tools
from vcmbench.compress.sensitivity import Sensitivity
from vcmbench.data.dataset import DataRoot, open_root
from vcmbench.data.record import Record
from vcmbench.data.store import Store, probe_path
from vcmbench.errors import Cancelled, JobError, Lost, RequestError
from vcmbench.execution.runner.base import Runner, Worker
from vcmbench.execution.runner.choice import RunnerChoice
from vcmbench.execution.runner.opening import open_runner
from vcmbench.execution.runner.scratch import remove_stale_scratch
from vcmbench.io import locks, resources
from vcmbench.io.plugins import user_folders

_TRIES = 3
_WAIT_FOR_ENGINE_S = 120.0
_LIBRARIES = ("numpy", "pillow", "scipy", "jpeglib")


@dataclass(frozen=True)
class JobResult:
    """What became of a job. "busy": another process is at it."""

    state: Literal["done", "resumed", "busy", "failed", "cancelled"]
    record: Record | None = None
    error: JobError | None = None


@dataclass(frozen=True)
class WorkerSettings:
    """`meta` goes into every record, `timeout_s` bounds one command per picture, `cache_size` counts what is kept of
    pictures, `asked` says where bits go, with codings that ask."""

    meta: tuple[tuple[str, Any], ...]
    timeout_s: float
    force: bool
    cache_size: int
    asked: Sensitivity | None = None


class CompressWorker:
    """The tools, scratch folders and prepared pictures of one process. Jobs may be done on several threads at once."""

    def __init__(self, store: Store, runner: Runner, settings: WorkerSettings) -> None:
        self.store, self.runner, self.settings = store, runner, settings
        self.cache = Cache(settings.cache_size)
        self.cancelled = threading.Event()
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._lock = threading.Lock()
        self.find = cache(runner.find)

    @contextmanager
    def lent(self) -> Iterator[Worker]:
        """A worker of the runner that no other thread uses meanwhile."""
        with self._lock:
            worker = self._idle.pop() if self._idle else self.runner.worker()
            if worker not in self._all:
                self._all.append(worker)
        try:
            yield worker
        finally:
            with self._lock:
                self._idle.append(worker)

    def cancel(self) -> None:
        self.cancelled.set()
        self.runner.cancel()

    def close(self) -> None:
        with self._lock:
            workers, self._all, self._idle = self._all, [], []
        for worker in workers:
            worker.close()
        self.runner.close()


def do(worker: CompressWorker, job: Job) -> JobResult:
    """Do a job unless it is finished or another process is at it."""
    try:
        claim = worker.store.claim(job.bitstream)
        if claim is None:
            return JobResult("busy")
        with claim:
            # looked at again: the process that held the claim may have finished it
            record = None if worker.settings.force else worker.store.finished(job.bitstream, *job.keys)
            if record is not None and encode_job.is_whole(job, record, worker.store):
                return JobResult("resumed", record)
            return JobResult("done", _do(worker, replace(job, tools=_tools_there(worker, job)), record))
    except Cancelled:
        return JobResult("cancelled")
    except JobError as error:
        return JobResult("failed", error=error)
    except OSError as error:
        return JobResult("failed", error=JobError(f"{error.filename or job.bitstream}: {error.strerror or error}"))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a fault in an encoder's file must not end the other jobs
        return JobResult("failed", error=JobError(f"internal error: {error!r}", log=traceback.format_exc()))


def _do(worker: CompressWorker, job: Job, before: Record | None) -> Record:
    for _ in range(_TRIES - 1):
        try:
            return _once(worker, job, before)
        except Lost:  # the engine that its container ran on: not the job's fault
            if not worker.runner.wait_until_back(_WAIT_FOR_ENGINE_S, worker.cancelled.is_set):
                raise
    return _once(worker, job, before)


def _once(worker: CompressWorker, job: Job, before: Record | None) -> Record:
    """All of it, or what is missing where it was coded `before`."""
    settings = worker.settings
    with worker.lent() as tools:
        if before is not None:
            return encode_job.reconstruct(job, before, tools, worker.store, settings.timeout_s)
        return encode_job.run(
            job, tools, worker.store, worker.cache, settings.timeout_s, dict(settings.meta), settings.asked
        )


def _tools_there(worker: CompressWorker, job: Job) -> Tools:
    """The tools of this process for a job that another one may have planned. Raises JobError where they differ."""
    found = []
    encoder = job.encoder
    wanted = (encoder.tools_to_encode(job.coding), job.tools.encode), (encoder.decode_tools, job.tools.decode)
    for choice, planned in wanted:
        tool = worker.find(encoder, choice)
        if tool is None:
            raise JobError(f"on the worker: {worker.runner.missing(encoder, choice)}")
        if tool.identity() != planned.identity():
            raise JobError(
                f"{planned.program}: the worker has another one ({tool.version}, {tool.digest[:19]}) than this run "
                f"({planned.version}, {planned.digest[:19]}); install the same on all machines"
            )
        found.append(tool)
    return Tools(*found)


# --- in other processes


@dataclass(frozen=True)
class CompressWorkerSpec:
    """How a worker is opened in another process, which must see the same data root and have the same tools."""

    run_id: str
    data_root: Path
    experiment: str
    seed: int
    runner: RunnerChoice
    settings: WorkerSettings
    probe: str
    """The name of a lease that the run holds (`Store.probe`)."""
    software: str

    def open(self) -> CompressWorker:
        """Raises RequestError where this process does not see the data, or would come to other results."""
        data = see(self.data_root, self.probe, self.software)
        remove_stale_scratch()
        store = Store(data, self.experiment, self.seed)
        return CompressWorker(store, open_runner(self.runner), self.settings)


def see(data_root: Path, probe: str, there: str) -> DataRoot:
    """The data root, as it is seen from here. Raises RequestError where it is not the one that the run sees."""
    path = probe_path(data_root, probe)
    if not data_root.is_dir():
        raise RequestError(f"{data_root}: does not exist there; all workers need the data root at the same path")
    if not path.is_file():
        raise RequestError(f"{path}: is not seen there: another folder of that name, or the run has ended")
    if not locks.is_held(path):
        raise RequestError(f"{path}: is not seen as locked there; the file system must pass on locks (flock)")
    if (here := software()) != there:
        raise RequestError(f"vcmbench is another one there ({here}), this run has {there}; install the same")
    return open_root(data_root)


@cache
def software() -> str:
    """What decides results beyond the tools: our own code and the libraries under it, in one line."""
    total = hashlib.sha256()
    for folder in (Path(vcmbench.__file__).parent, resources.folder("encoders"), *user_folders("")):
        for path in sorted(folder.rglob("*.py")):
            total.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return ", ".join([f"code {total.hexdigest()[:12]}", *(f"{name} {metadata.version(name)}" for name in _LIBRARIES)])
