"""Down before coding, up after decoding: the contract of resamplers, and how one is found and called.

A resampler is one file in `resamplers/`, or in a user's own folder (see `io/plugins`); its name is the file's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcmbench.errors import JobError
from vcmbench.io.files import sha256_of
from vcmbench.io.plugins import Plugins, only_its_job, only_subclass

DEFAULT = "bicubic"
_MAX_FILE_BYTES = 1 << 20

U8 = NDArray[np.uint8]


class Resampler(ABC):
    """Makes pictures smaller, and large again. It is not called where a size stays as it is."""

    name: str  # set from the file's name when it is discovered
    file: Path

    @abstractmethod
    def down(self, picture: U8, width: int, height: int) -> U8:
        """The picture, (H, W, 3) uint8 R'G'B', at `width` x `height` pixels, the size that is coded."""

    def up(self, picture: U8, width: int, height: int) -> U8:
        """A decoded picture, (H, W, 3) uint8 R'G'B' or (H, W) uint8 luma, back at the size that it came with."""
        return self.down(picture, width, height)

    def identity(self) -> dict[str, str]:
        """What decides its pictures, for jobs' keys: its name and its file's content."""
        return {"resampler": self.name, "file": self.sha256()}

    def sha256(self) -> str:
        """SHA-256 (hex) of its file as it is now."""
        return sha256_of(self.file, _MAX_FILE_BYTES)


def _resampler_of(module: ModuleType, name: str) -> Resampler:
    found = only_subclass(module, Resampler)()  # type: ignore[type-abstract]
    found.name, found.file = name, Path(str(module.__file__))
    return found


_PLUGINS = Plugins(
    "resamplers", lambda: Path(__file__).parent / "resamplers", "vcmbench.data.resamplers", _resampler_of
)
discover, get = _PLUGINS.found, _PLUGINS.get


def down(name: str, picture: U8, width: int, height: int) -> U8:
    """A picture at the size that is coded. Raises JobError where the resampler fails."""
    return _called(name, "down", picture, width, height)


def up(name: str, picture: U8, width: int, height: int) -> U8:
    """A decoded picture at its original size. Raises JobError where the resampler fails."""
    return _called(name, "up", picture, width, height)


def check_unchanged(name: str, sha256: str) -> None:
    """Raises JobError where a resampler is not the one that a picture was coded with; RequestError where it is gone."""
    if get(name).sha256() != sha256:
        raise JobError(f"resampler {name!r}: its file was changed since this was coded; run the experiment again")


def _called(name: str, way: str, picture: U8, width: int, height: int) -> U8:
    if picture.shape[:2] == (height, width):
        return picture
    with only_its_job(f"resampler {name!r}: {way} failed"):
        found: U8 = getattr(get(name), way)(picture, width, height)
    wanted = (height, width, *picture.shape[2:])
    shape, dtype = getattr(found, "shape", None), getattr(found, "dtype", None)
    if shape != wanted or dtype != np.uint8:
        raise JobError(f"resampler {name!r}: {way} gives {shape} {dtype}, must give {wanted} uint8")
    return found


def by_pillow(picture: U8, width: int, height: int, kernel: Image.Resampling) -> U8:
    """(H, W) or (H, W, 3) uint8 by one of Pillow's kernels."""
    return np.asarray(Image.fromarray(picture).resize((width, height), kernel))
