"""Files that are whole or not there, and whether those who were writing still live.

What lies on a disk may have been laid there by somebody else: a pipe that is never written to, a device, a file of
terabytes, a link that leads elsewhere.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ESTALE}


def is_disk_fault(error: OSError) -> bool:
    """Whether a disk failed, or had no room, under what was asked rightly."""
    return error.errno in _OF_DISKS


@contextmanager
def named(path: Path) -> Iterator[None]:
    """OSErrors of the block name a file; those of writes, as on a full disk, have no name of their own."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and error.filename2 is None:
            raise
        raise OSError(error.errno, error.strerror or str(error), os.fspath(error.filename2 or path)) from error


def write_atomically(path: Path, data: bytes, temporary: Path) -> None:
    """All of the file or none of it: written under a temporary name of the same file system, and renamed."""
    try:
        with named(path):
            _write_new(temporary, data)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _write_new(path: Path, data: bytes) -> None:
    """A file of our own. Its name can be guessed: a link that lies there goes, and is never written through."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
        file.write(data)


def hidden_beside(path: Path) -> Path:
    """A temporary name in a file's folder, of this thread alone; it is short, since the file's own may be as long as
    names can be."""
    return path.with_name(f"{hidden_stem(path)}{os.getpid()}-{threading.get_ident()}")


def hidden_stem(path: Path) -> str:
    """What the temporary names of a file begin with; the process id follows."""
    return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}."


def check_inside(root: Path, path: Path, what: str = "the data root") -> None:
    """Raises OSError where a link on the way to `path` leads out of `root`, which is `what`: nothing is written or
    removed there."""
    if not path.parent.resolve().is_relative_to(root.resolve()):
        raise OSError(errno.EPERM, f"a link leads out of {what}", str(path))


def open_regular(path: Path, max_bytes: int) -> BufferedReader:
    """A regular file, open for reading. Raises OSError, which is also what a file of more than `max_bytes`, a folder, a
    pipe or a device is."""
    return os.fdopen(_open_regular(path, max_bytes)[0], "rb")


def _open_regular(path: Path | str, max_bytes: int) -> tuple[int, int]:
    """A regular file's descriptor and size."""
    _check_regular(os.stat(path), path)  # merely to open a device may do something
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(number)
        _check_regular(status, path)  # it may be another by now
        if status.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"{status.st_size} bytes, such a file has at most {max_bytes}", str(path))
        return number, status.st_size
    except BaseException:
        os.close(number)
        raise


def _check_regular(status: os.stat_result, path: Path | str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))


def read_bounded(path: Path | str, max_bytes: int) -> bytes:
    """A regular file's bytes. Raises OSError, which is also what a file of more than `max_bytes` or a pipe is.

    What others may have written is read by this: a file of gigabytes must not fill the memory, a pipe
    must not be waited for.
    """
    number, size = _open_regular(path, max_bytes)
    try:
        data = os.read(number, size + 1)
        while len(data) < size and (more := os.read(number, size - len(data))):
            data += more
        return data
    finally:
        os.close(number)


def sha256_of(path: Path, max_bytes: int) -> str:
    """SHA-256 (hex) of a regular file, which is not held in memory. Raises OSError as `read_bounded` does."""
    with open_regular(path, max_bytes) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
