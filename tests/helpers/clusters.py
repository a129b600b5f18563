"""Real processes for tests of what happens to them: runs in the background, Dask schedulers and workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

PYTHON = sys.executable
LOG = "cluster.log"


def wait_until(condition: Callable[[], Any], timeout_s: float = 60, why: Callable[[], str] = lambda: "") -> Any:
    """Ask until the answer is true, and return it; the test fails where that takes too long."""
    deadline, pause = monotonic() + timeout_s, threading.Event()
    while not (answer := condition()):
        assert monotonic() < deadline, f"waited {timeout_s:g} s in vain {why()}"
        pause.wait(0.02)
    return answer


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    """`vcmbench WORDS` in the background, its standard error in a pipe."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([PYTHON, "-m", "vcmbench", *map(str, words)], **options)


def end(process: subprocess.Popen[Any]) -> None:
    """End a process that the test started, and wait for it."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
        process.kill()
    process.wait()


@dataclass
class Cluster:
    """A Dask scheduler and its workers, each started by the command that users type."""

    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    scheduler: subprocess.Popen[bytes] | None = None
    port: int = 0

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start_scheduler(self) -> None:
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", self.port, "--no-dashboard", "--scheduler-file", file
        )
        content = wait_until(lambda: _json(file), why=lambda: self.log()[-3000:])
        self.port = int(content["address"].rpartition(":")[2])

    def start_worker(self, *options: object, before: tuple[str, ...] = (), **more: Any) -> subprocess.Popen[bytes]:
        """`before` are words in front of the command, such as those that give it another view of the disk."""
        words = ("worker", self.address, "--nthreads", 1, "--no-dashboard", "--local-directory", self.folder, *options)
        return self._start(*words, before=before, **more)

    def _start(self, *words: object, before: tuple[str, ...] = (), **more: Any) -> subprocess.Popen[bytes]:
        with (self.folder / LOG).open("ab") as log:
            argv = [*before, PYTHON, "-m", "dask", *map(str, words)]
            process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True, **more)
        self.processes.append(process)
        return process

    def log(self) -> str:
        return (self.folder / LOG).read_text(errors="replace")

    def wait_for_workers(self, count: int) -> None:
        """Until so many have registered since the cluster was made, those that went included."""
        wait_until(lambda: self.log().count("Register worker addr") >= count, why=lambda: self.log()[-3000:])

    def close(self) -> None:
        for process in reversed(self.processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


@contextmanager
def cluster(folder: Path, workers: int = 2, *options: object) -> Iterator[Cluster]:
    """A scheduler with so many workers, for as long as the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Cluster(folder)
    try:
        made.start_scheduler()
        for _ in range(workers):
            made.start_worker(*options)
        made.wait_for_workers(workers)
        yield made
    finally:
        made.close()
