"""Tools as processes of this machine: started, followed, and ended with all that they started."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from vcmbench.errors import Cancelled
from vcmbench.execution.runner import leftovers
from vcmbench.execution.runner.tail import Tail
from vcmbench.execution.runner.timing import FILE_LIMIT_BYTES

_PIPE_BYTES = 1 << 16


@cache
def _setpriv() -> str | None:
    """util-linux's setpriv: with it a tool ends with a run that was killed -9, instead of going on unseen."""
    return shutil.which("setpriv") if sys.platform == "linux" else None


@dataclass(frozen=True)
class Ended:
    """How a process ended: its code (negative: the signal), its last words, and its wall time."""

    code: int
    stdout: bytes
    stderr: bytes
    seconds: float


class Processes:
    """The tools that run now. Several threads may run some; `cancel` ends them all, and no other is started."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()
        with self._lock:
            for process in self._running:
                _kill_group(process)

    def run(self, argv: list[str], folder: Path, environment: Mapping[str, str], mark: str, timeout_s: float) -> Ended:
        """Run a command with `folder` as its working folder.

        When it has ended, however it did, so has all that it started; `mark` tells those (see `marks`). Raises OSError
        where it cannot be started, subprocess.TimeoutExpired, and Cancelled.
        """
        try:
            with leftovers.adoption:
                return self._run(argv, folder, {**environment, leftovers.VARIABLE: mark}, mark, timeout_s)
        finally:
            if self._cancelled.is_set():
                raise Cancelled

    def _run(self, argv: list[str], folder: Path, environment: Mapping[str, str], mark: str, timeout_s: float) -> Ended:
        start = time.perf_counter()
        process = self._start(argv, folder, environment)
        output, errors = Tail(), Tail()
        try:
            _follow(process, {process.stdout: output, process.stderr: errors}, timeout_s)
            seconds = time.perf_counter() - start
        finally:
            _kill_group(process)  # the tool itself if it hangs, and what it left running
            _await_end(process)
            leftovers.end_leftovers(process.pid, mark)
            process.wait()
            for pipe, tail in ((process.stdout, output), (process.stderr, errors)):
                _drain(pipe, tail)
            with self._lock:
                self._running.discard(process)
        return Ended(process.returncode, output.content(), errors.content(), seconds)

    def _start(self, argv: list[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        if setpriv := _setpriv():
            argv = [setpriv, "--pdeathsig", "KILL", *argv]
        with self._lock:
            if self._cancelled.is_set():
                raise Cancelled
            process = subprocess.Popen(
                argv,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a group of its own, so that its children end with it
                env=environment,
            )
            self._running.add(process)
        _limit(process.pid)
        return process


def start_beside(module: str, environment: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A module of ours as a process beside this one, asked through pipes. It is to end when its standard input does."""
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        bufsize=0,
        env=environment,
    )


def _limit(pid: int) -> None:
    """Bound what a process writes into one file; no core dumps."""
    if sys.platform == "linux":
        import resource

        with suppress(OSError):  # it ended already
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            if hard == resource.RLIM_INFINITY or hard > FILE_LIMIT_BYTES:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES))


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it ended by itself in the meantime
        os.killpg(process.pid, signal.SIGKILL)


def _await_end(process: subprocess.Popen[bytes]) -> None:
    """Until it has ended, but without burying it: its number stays its own."""
    if sys.platform == "linux":
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def _follow(process: subprocess.Popen[bytes], pipes: dict[IO[bytes] | None, Tail], timeout_s: float) -> None:
    """Read what a process prints until it ends. What it started may keep the pipes open: that is not waited for."""
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        for pipe, tail in pipes.items():
            selector.register(pipe, selectors.EVENT_READ, tail)  # type: ignore[arg-type]
        descriptor = _descriptor(process.pid)
        try:
            if descriptor is not None:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired(process.args, timeout_s)
                for key, _ in ready:
                    if key.fd == descriptor:
                        return
                    if data := os.read(key.fd, _PIPE_BYTES):
                        key.data.add(data)
                    else:
                        selector.unregister(key.fileobj)
        finally:
            if descriptor is not None:
                os.close(descriptor)
    process.wait(max(0.0, deadline - time.monotonic()))


def _descriptor(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where the system has none."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _drain(pipe: IO[bytes] | None, tail: Tail) -> None:
    """Take what still lies in a pipe, which is all that an ended process wrote, and close it."""
    if pipe is None:
        return
    with pipe, suppress(BlockingIOError):
        os.set_blocking(pipe.fileno(), False)
        for _ in range(tail.limit_bytes // _PIPE_BYTES):  # bounded: whoever escaped us may go on writing
            if not (data := os.read(pipe.fileno(), _PIPE_BYTES)):
                break
            tail.add(data)
