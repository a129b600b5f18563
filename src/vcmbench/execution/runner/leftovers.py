"""Processes that a tool leaves behind: found by a mark in their environment, and ended.

A tool's process group is ended with it, but a process may have left that group. So each command's environment carries
a mark of its own, and as long as tools run this process is the one that orphans are given to: what a tool left behind
is then a child of ours with the command's mark. A child without one is never touched.

A mark also tells whose it is: it names the lease of the scratch folder and the process that started the command (and
the namespaces in which these names mean something). A run that was killed -9 no longer holds the one, and is no longer
the other; the next run ends what it left running.

Linux only; elsewhere the process group has to do.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType

from vcmbench.io import locks

VARIABLE = "VCMBENCH_TOOL"
_PR_SET_CHILD_SUBREAPER = 36
_PREFIX = VARIABLE.encode() + b"="
_PASSES = 20
_EXEC_S, _LAST_MOMENT_S = 0.1, 0.005
_IS_LINUX = sys.platform == "linux"
_numbers = itertools.count()


def new(lease: Path) -> str:
    """The mark of one command that runs under a scratch folder's lease."""
    pid = os.getpid()
    return f"{_namespace('mnt')} {_namespace('pid')}:{pid}:{_started(pid)} {next(_numbers)} {lease}"


class _Adoption:
    """While any thread is within, descendants of this process whose parents end become its children.

    Not for longer: nobody here would ever bury the orphans that have nothing to do with a tool.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:  # a fork inherits neither the threads within nor the kernel's consent
        self._lock = threading.Lock()
        self._within = 0

    def __enter__(self) -> None:
        with self._lock:
            self._within += 1
            if self._within == 1:
                _ask_for_orphans(1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0:
                _ask_for_orphans(0)


def _ask_for_orphans(wanted: int) -> None:
    if _IS_LINUX:
        with suppress(OSError, AttributeError):
            _library().prctl(_PR_SET_CHILD_SUBREAPER, wanted, 0, 0, 0)


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


adoption = _Adoption()
os.register_at_fork(after_in_child=adoption._reset)


def end_leftovers(tool: int, mark: str) -> None:
    """End and bury what the tool of that process id left behind.

    Called when the tool has ended but before it is waited for: until then nothing else can get its number.
    """
    wanted = _PREFIX + mark.encode()
    for _ in range(_PASSES if _IS_LINUX else 0):  # what they have started themselves becomes ours when they end
        orphans = [pid for pid in _orphans() if pid != tool]
        found = [pid for pid in orphans if _is_of_session(pid, tool) or _carries(pid, wanted)]
        if not found:
            return
        for pid in found:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _orphans() -> list[int]:
    """The children that were given to us: the kernel gives them to the first thread, tools are started by others."""
    pid = os.getpid()
    return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]  # some kernels have no such list


def _is_of_session(pid: int, tool: int) -> bool:
    """Whether a process is in the session that the tool was started in. This holds even of one that ended already,
    whose environment is gone."""
    with suppress(OSError):
        return os.getsid(pid) == tool
    return False


def _carries(pid: int, mark: bytes) -> bool:
    """Whether a process has that mark. One that becomes another program right now has no environment for a moment."""
    start = time.monotonic()
    while not (environment := _environment(pid)) and time.monotonic() - start < _patience_s(pid):
        os.sched_yield()
    return mark in environment


def _patience_s(pid: int) -> float:
    """For how long a process without an environment may be between two programs.

    Then it has no arguments either, but for the last moment. Daemons may have been started with an empty environment;
    zombies and what the kernel runs have none at all.
    """
    fields = _stat(pid)
    if not fields or fields[0] in (b"Z", b"X") or b"2" in (fields[1], str(pid).encode()):
        return 0.0
    return _LAST_MOMENT_S if _read(f"/proc/{pid}/cmdline") else _EXEC_S


def _started(pid: int) -> str:
    """When a process was started, which tells it from a later one of the same number; empty where there is none."""
    fields = _stat(pid)
    return fields[19].decode() if fields and fields[0] not in (b"Z", b"X") else ""


def _stat(pid: int) -> list[bytes]:
    """The fields of a process's `stat` from its state on."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _environment(pid: int) -> list[bytes]:
    return [entry for entry in _read(f"/proc/{pid}/environ").split(b"\0") if entry]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError:  # it is gone, or somebody else's
        return b""


def _namespace(kind: str) -> int:
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino
    except OSError:
        return 0


def end_abandoned() -> None:
    """End what tools of killed runs left running: processes of this user whose mark names a run that is gone."""
    for _ in range(_PASSES if _IS_LINUX else 0):
        pids, found = list(_processes_of_this_user()), False
        start = time.monotonic()
        while pids:
            waited_s = time.monotonic() - start
            ended = {pid: _end_if_abandoned(pid, waited_s) for pid in pids}
            found = found or True in ended.values()
            pids = [pid for pid in pids if ended[pid] is None]
            os.sched_yield()
        if not found:
            return


def _processes_of_this_user() -> Iterator[int]:
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit() and int(name) != os.getpid() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                yield int(name)


def _end_if_abandoned(pid: int, waited_s: float) -> bool | None:
    """End a process whose run is gone; None where that is not to be told yet."""
    started = _started(pid)
    environment = _environment(pid)
    if not environment:
        return None if waited_s < _patience_s(pid) else False
    if not _is_abandoned(environment):
        return False
    with suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if _started(pid) == started:  # still: the number was not given to another one before the descriptor held it
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                return True
        finally:
            os.close(descriptor)
    return False


def _is_abandoned(environment: list[bytes]) -> bool:
    mark = next((entry for entry in environment if entry.startswith(_PREFIX)), None)
    words = os.fsdecode(mark.removeprefix(_PREFIX)).split(" ", 3) if mark is not None else []
    if len(words) != 4 or words[0] != str(_namespace("mnt")):
        return False
    lease = Path(words[3])
    if lease.is_file():
        return not locks.is_held(lease)
    # Removed with its run, by somebody who did not see this process; or cleaned away under a run that lives.
    return _is_gone(words[1])


def _is_gone(owner: str) -> bool:
    namespace, _, rest = owner.partition(":")
    pid, _, started = rest.partition(":")
    return namespace == str(_namespace("pid")) and pid.isdigit() and _started(int(pid)) != started
