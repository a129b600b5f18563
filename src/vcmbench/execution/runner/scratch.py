"""The folders that commands run in, emptied between jobs, and what killed runs left of theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from vcmbench.execution.runner import leftovers
from vcmbench.io import locks

_PREFIX, _SUFFIX = "vcmbench-", ".scratch"


class Scratch:
    """A worker's two folders: `in/` (read-only to tools) and `out/` (where commands run), emptied between jobs."""

    def __init__(self) -> None:
        self._lease = locks.take_new(Path(tempfile.gettempdir()), _PREFIX)
        self.root = self._lease.path.with_suffix(_SUFFIX)
        self.root.mkdir(mode=0o700)
        self.inputs, self.outputs = self.root / "in", self.root / "out"
        self.inputs.mkdir()
        self.outputs.mkdir()
        # Tools in containers run as another user; the root above them stays closed to everybody else (mode 0700).
        self.inputs.chmod(0o755)
        self.outputs.chmod(0o777)

    @property
    def lease(self) -> Path:
        return self._lease.path

    def clear(self) -> None:
        for folder in (self.inputs, self.outputs):
            for path in folder.iterdir():
                _discard(path)

    def discard(self, name: str) -> None:
        """Remove what has that name in `out/`, if there is anything."""
        with suppress(FileNotFoundError):
            _discard(self.outputs / name)

    def remove_strange_outputs(self) -> list[str]:
        """Remove what is neither a file nor a folder from `out/` and say what it was.

        We read and write there by fixed names. A link of such a name would lead us out of the scratch folder, to a
        file that the tool itself can neither read nor write; a pipe would make us wait.
        """
        strange = []
        with os.scandir(self.outputs) as entries:
            for entry in entries:
                if not entry.is_file(follow_symlinks=False) and not entry.is_dir(follow_symlinks=False):
                    strange.append(f"{entry.name}, a {'link' if entry.is_symlink() else 'pipe, socket or device'}")
                    _discard(Path(entry.path))
        return sorted(strange)

    def remove(self) -> None:
        _remove_tree(self.root)
        self._lease.release()


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        _remove_tree(path)
    else:
        path.unlink()


def _remove_tree(path: Path) -> None:
    try:
        shutil.rmtree(path, ignore_errors=True)
    except RecursionError:  # deeper than Python calls itself: a tool that does wrong must not fail the jobs after it
        subprocess.run(["rm", "-rf", "--", path], capture_output=True, check=False)


def remove_stale_scratch() -> None:
    """End what tools of killed runs left running, and remove the scratch folders of those runs."""
    leftovers.end_abandoned()  # first: afterwards nothing tells any more that their runs are gone
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}{'[0-9a-f]' * 32}"):
        root = path.with_suffix(_SUFFIX)
        with suppress(OSError):
            if path.stat().st_uid != os.getuid() or root.is_symlink():
                continue
            with locks.abandoned(path) as is_abandoned:
                if is_abandoned and root.is_dir():  # a run may have been killed before it made it
                    _remove_tree(root)
