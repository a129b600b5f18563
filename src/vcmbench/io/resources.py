"""Where the project's own data lies, `encoders/`, `docker/` and `val_config/`, and where it keeps what it fetched.

In a checkout they are top-level folders, because they are what a newcomer adds to. A wheel carries the same folders
inside the package (see `pyproject.toml`), so an installed vcmbench needs no checkout.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vcmbench.errors import RequestError

_PACKAGE = Path(__file__).resolve().parents[1]


def folder(name: str) -> Path:
    """The folder `name` ("encoders", "docker", "requirements" or "val_config"), from the wheel or from the checkout."""
    for root in (_PACKAGE / "bundled", _PACKAGE.parents[1]):
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"vcmbench was installed without its folder {name!r}: install it again")


def how_to_measure() -> str:
    """The command that gives this Python what measuring needs. Without --no-deps a second OpenCV would come, too."""
    return f"install it: {sys.executable} -m pip install --no-deps -r {folder('requirements') / 'metrics.txt'}"


def cache_folder() -> Path:
    """`vcmbench` in the user's cache. Raises RequestError where that user has none."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vcmbench"
    except RuntimeError:  # no HOME, and a user that the system does not know
        raise RequestError("no folder for what is fetched: set HOME or XDG_CACHE_HOME") from None
