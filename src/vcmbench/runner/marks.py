"""Processes that a tool leaves behind: found by a mark in their environment, and ended.

A tool's process group is ended with it, but a process may have left that group. So each command's environment carries
a mark of its own, and this process becomes the one that orphans are given to: what a tool left behind is then a child
of ours with the command's mark. A child without one is never touched.

A mark also tells whose it is: it names the lease of the scratch folder (and the mount namespace in which that name
means something). A run that was killed -9 no longer holds it, and the next run ends what it left running.

Linux only; elsewhere the process group has to do.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from vcmbench import leases

VARIABLE = "VCMBENCH_TOOL"
_PR_SET_CHILD_SUBREAPER = 36
_PREFIX = VARIABLE.encode() + b"="
_PASSES = 20
_EXEC_S = 0.1
_IS_LINUX = sys.platform == "linux"
_numbers = itertools.count()


def new(lease: Path) -> str:
    """The mark of one command that runs under a scratch folder's lease."""
    return f"{_mount_namespace('self')} {next(_numbers)} {lease}"


def adopt_orphans() -> None:
    """From now on, descendants of this process whose parents end become its children."""
    if _IS_LINUX:
        _adopt_orphans(os.getpid())


@cache
def _adopt_orphans(_: int) -> None:  # once for each process: a fork does not inherit it
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


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
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb", buffering=0) as file:
            return [int(child) for child in file.readall().split()]
    except OSError:  # a kernel without that list
        return []


def _is_of_session(pid: int, tool: int) -> bool:
    """Whether a process is in the session that the tool was started in. This holds even of one that ended already,
    whose environment is gone."""
    with suppress(OSError):
        return os.getsid(pid) == tool
    return False


def _carries(pid: int, mark: bytes) -> bool:
    """Whether a process has that mark. One that becomes another program right now has no environment for a moment."""
    deadline = time.monotonic() + _EXEC_S
    while not (environment := _environment(pid)) and _lives(pid) and time.monotonic() < deadline:
        os.sched_yield()
    return mark in environment


def _lives(pid: int) -> bool:
    """Whether a process could still get an environment: it is no zombie, and its environment is not a secret."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0), open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.readall().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return [entry for entry in file.readall().split(b"\0") if entry]
    except OSError:  # it is gone, or somebody else's
        return []


def _mount_namespace(pid: int | str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except OSError:
        return 0


def end_abandoned() -> None:
    """End what tools of killed runs left running: processes of this user whose mark names a lease that nobody holds."""
    for _ in range(_PASSES if _IS_LINUX else 0):
        if not sum(_end_if_abandoned(pid) for pid in _processes_of_this_user()):
            return


def _processes_of_this_user() -> Iterator[int]:
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit() and int(name) != os.getpid() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                yield int(name)


def _end_if_abandoned(pid: int) -> bool:
    if not _is_abandoned(pid):
        return False
    with suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if _is_abandoned(pid):  # still: the number was not given to another one before the descriptor held it
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                return True
        finally:
            os.close(descriptor)
    return False


def _is_abandoned(pid: int) -> bool:
    mark = next((entry for entry in _environment(pid) if entry.startswith(_PREFIX)), None)
    if mark is None:
        return False
    namespace, _, rest = os.fsdecode(mark.removeprefix(_PREFIX)).partition(" ")
    lease = Path(rest.partition(" ")[2])
    # A name that does not exist tells nothing: it may have been cleaned away under a run that lives.
    return namespace == str(_mount_namespace("self")) and lease.is_file() and not leases.is_held(lease)
