"""Files that are whole or not there, and whether those who were writing still live."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def write_atomically(path: Path, data: bytes, temporary: Path) -> None:
    """All of the file or none of it: written under a temporary name of the same file system, and renamed."""
    try:
        temporary.write_bytes(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_bounded(path: Path | str, max_bytes: int) -> bytes:
    """A regular file's bytes. Raises OSError, which is also what a file of more than `max_bytes` or a pipe is.

    Whoever reads what others may have written reads it by this: a file of gigabytes must not fill the memory, a pipe
    must not be waited for.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        if status.st_size > max_bytes:
            raise OSError(errno.EFBIG, f"{status.st_size} bytes, such a file has at most {max_bytes}", str(path))
        data = os.read(number, status.st_size + 1)
        while len(data) < status.st_size and (more := os.read(number, status.st_size - len(data))):
            data += more
        return data
    finally:
        os.close(number)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
