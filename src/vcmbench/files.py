"""Files that are whole or not there, and whether those who were writing still live."""

from __future__ import annotations

import os
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


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has that id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
