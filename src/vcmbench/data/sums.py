"""What a run wrote beside its records, listed with SHA-256 as `sha256sum` does: `sha256sum -c` checks it, too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from vcmbench.data.store import Store
from vcmbench.io.files import read_bounded, sha256_of

COMPRESSION, MEASURED = "compression.sha256", "measured.sha256"
NAMES = (COMPRESSION, MEASURED)
_FILES = {
    COMPRESSION: ("compression.csv", "equal_rate.csv"),
    MEASURED: (
        "measured.json", "image_scores.*", "block_scores.*", "points.*", "classes.*", "correlation_*.json", "bd.json",
        "blocks/*.state.json", "blocks/*_val_blocks.json", "blocks/*_val_metrics.json",
        "stability/**/*.json",
    ),
}  # fmt: skip
_MAX_BYTES, _MAX_FILE_BYTES = 1 << 20, 1 << 36
_LINE = re.compile(r"([0-9a-f]{64})  ((?!/|(?:[^\0]*/)?\.\./)[^\0]+)")


def write(store: Store, name: str) -> None:
    """List the files of COMPRESSION or MEASURED that lie there. Raises OSError."""
    paths = sorted(path for pattern in _FILES[name] for path in store.folder.glob(pattern) if path.is_file())
    lines = (f"{sha256_of(path, _MAX_FILE_BYTES)}  {path.relative_to(store.folder)}\n" for path in paths)
    store.write_table(name, "".join(lines).encode())


def forget(store: Store, name: str) -> None:
    """To be called before any of the files is changed."""
    store.write_table(name, None)


def listed(folder: Path, name: str) -> dict[str, str]:
    """{file: SHA-256} of a list; nothing where there is none. Raises ValueError where it is damaged, OSError."""
    path = folder / name
    if not path.is_file():
        return {}
    found = [_LINE.fullmatch(line) for line in read_bounded(path, _MAX_BYTES).decode().splitlines()]
    if not all(found):
        raise ValueError("is no list of files with their SHA-256")
    return {one[2]: one[1] for one in found if one}


def damages(folder: Path, only: Iterable[str] | None = None) -> Iterator[tuple[str, Path, str]]:
    """The files of an experiment's folder that are not what was written: in which list, where, and why."""
    for name in NAMES:
        try:
            for file, sha256 in listed(folder, name).items():
                if only is not None and file not in only:
                    continue
                path = folder / file
                if not path.is_file():
                    yield name, path, "is missing"
                elif sha256_of(path, _MAX_FILE_BYTES) != sha256:
                    yield name, path, "was changed after it was written: its SHA-256 is another one"
        except (OSError, ValueError) as error:
            yield name, folder / name, f"{error}"
