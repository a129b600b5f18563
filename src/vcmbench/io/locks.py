"""Who is at work on what: locked files, which the system lets go of when their holder ends, however it ends.

A process id says less: it is given anew, and means nothing on another machine or in another container. A lock (flock)
holds between all who see the file, over NFS 4, Lustre (mounted with -o flock) and the like, too. No clock is involved.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType

from vcmbench.io.files import read_bounded

_MAX_SIGN_BYTES = 1 << 10
_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


class Lease:
    """A locked file. It is removed when it is let go of; `is_real` is False where the file system knows no locks."""

    def __init__(self, path: Path, number: int, *, is_real: bool) -> None:
        self.path, self.is_real = path, is_real
        self._number: int | None = number

    def release(self, *, removes: bool = True) -> None:
        """Let go. Doing so twice is no error."""
        number, self._number = self._number, None
        if number is not None:
            if removes:  # first: whoever locks it afterwards sees that it is not the file of that name any more
                with suppress(OSError):
                    self.path.unlink()
            os.close(number)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take(path: Path) -> Lease | None:
    """The lease of that name, None where somebody holds it. Its folder must be there. Raises OSError."""
    while True:
        try:
            number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except PermissionError:
            if is_held(path):  # by another user
                return None
            raise
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_real = True
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                os.close(number)
                if isinstance(error, BlockingIOError):
                    return None
                raise
            is_real = False
        if _is_same(number, path):
            _sign(number)
            return Lease(path, number, is_real=is_real)
        os.close(number)  # the process that held it removed it in between: this lock is of a file without a name


def _sign(number: int) -> None:
    """Say in a lease who holds it, for people: no program goes by it."""
    text = f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%d %b %H:%M:%S}"
    with suppress(OSError):  # a full disk
        if os.fstat(number).st_nlink != 1:  # a file of somebody else's that was linked here
            return
        os.ftruncate(number, 0)
        os.pwrite(number, text.encode(), 0)


def holder(path: Path) -> str:
    """Who holds a lease, in words; "another process" where that cannot be read."""
    try:
        text = read_bounded(path, _MAX_SIGN_BYTES).decode(errors="replace")
    except OSError:
        text = ""
    return text if text.isprintable() and text else "another process"


def _is_same(number: int, path: Path) -> bool:
    try:
        there, held = path.stat(), os.fstat(number)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def take_new(folder: Path, prefix: str = "") -> Lease:
    """A lease of a name that no other has."""
    while (lease := take(folder / f"{prefix}{uuid.uuid4().hex}")) is None:
        pass
    return lease


def is_held(path: Path) -> bool:
    """Whether somebody holds that lease, this process included; also where that cannot be known, as of another user's.

    Not where the file system knows no locks: none can be held there.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO)
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _UNSUPPORTED
    finally:
        os.close(number)
    return False


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether no process holds the lease of that name any more; while the block lasts it is ours, then it is gone."""
    lease = take(path) if path.is_file() and not path.is_symlink() else None
    if lease is None:
        yield False
    elif not lease.is_real:  # no lock, hence no answer: its process may be alive
        lease.release(removes=False)
        yield False
    else:
        with lease:
            yield True


_ours: dict[Path, Lease] = {}
_lock = threading.Lock()


def of_this_process(folder: Path) -> Lease:
    """The one lease of this process in a folder, which is made where it is missing; held until the process ends.

    What a process leaves half-done carries the lease's name, so that every process can see whether it still lives.
    """
    with _lock:
        lease = _ours.get(folder)
        if lease is None or not lease.path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            lease = _ours[folder] = take_new(folder)
        return lease


@atexit.register
def release_all() -> None:
    """Let go of this process' leases, as its end does."""
    with _lock:
        held = list(_ours.values())
        _ours.clear()
    for lease in held:
        lease.release()
