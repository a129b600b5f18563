"""Where the project's own data lies: `encoders/`, `docker/` and `val_config/`.

In a checkout they are top-level folders, because they are what a newcomer adds to. A wheel carries the same folders
inside the package (see `pyproject.toml`), so an installed vcmbench needs no checkout.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def folder(name: str) -> Path:
    """The folder `name` ("encoders", "docker" or "val_config"), from the wheel or from the checkout."""
    for root in (_PACKAGE / "bundled", _PACKAGE.parents[1]):
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"vcmbench was installed without its folder {name!r}: install it again")
