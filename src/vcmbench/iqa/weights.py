"""Files of learned weights: given as a folder, kept in a cache, or fetched; always checked, and never run.

No metric is computed with a network that nobody trained. A file counts only if its SHA-256 is the known one, or the one
that a `SHA256SUMS` in the given folder states for it. Files are read as tensors alone: a pickle with code is refused.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vcmbench.errors import RequestError
from vcmbench.execution.runner import probe
from vcmbench.io import archives, fetch, resources
from vcmbench.io.files import open_regular, read_bounded
from vcmbench.iqa.metric import Missing

if TYPE_CHECKING:
    import torch

SUMS = "SHA256SUMS"
_MAX_BYTES, _MAX_SUMS_BYTES = 1 << 32, 1 << 20


@dataclass(frozen=True)
class WeightFile:
    """Where a file comes from, and the SHA-256 that it must have. The name begins the cache's file name."""

    name: str
    url: str
    sha256: str


# Sums as they are published with the files or by those who mirror them (the first 8 digits are part of mirrors' names).
VGG16 = WeightFile(
    "vgg16-397923af.pth",
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
LPIPS = WeightFile(
    "lpips-vgg.pth",
    "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/vgg.pth",
    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
)
DISTS = WeightFile(
    "dists.pt",
    "https://github.com/dingkeyan93/DISTS/raw/master/DISTS_pytorch/weights.pt",
    "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
)
PIEAPP = WeightFile(
    "PieAPPv0.1.pth",
    "https://github.com/photosynthesis-team/piq/releases/download/v0.5.4/PieAPPv0.1.pth",
    "0937b01480c7a637ae3018af755faa8ecde4788b52bb246b7ae62cf96fb6baf0",
)


def cache_folder() -> Path:
    """Where fetched files are kept."""
    return resources.cache_folder() / "weights"


class Weights:
    """Finds files of weights. With a `folder` only there; without one in the cache, then from their origin.

    Raises RequestError where the folder is none, or a file of it has another checksum or holds no tensors; `Missing`
    where a file is not there and cannot be fetched.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise RequestError(f"weights {str(folder)!r}: is not a folder")
        self._folder = folder
        self._sums = _read_sums(folder / SUMS) if folder else {}

    def _path(self, file: WeightFile) -> Path:
        if self._folder is None:
            try:
                return fetch.cached(file.url, cache_folder() / file.name, file.sha256)
            except RequestError as error:
                raise Missing(f"no weights: {error}, or in a folder that --weights names (docs/quality.md)") from None
        path = self._folder / file.name
        if not path.is_file():
            raise Missing(f"no weights: {self._folder} has no {file.name} (from {file.url})")
        wanted, found = self._sums.get(file.name, file.sha256), _sha256(path)
        if found != wanted:
            raise RequestError(f"{path}: has SHA-256 {found[:16]}.., not {wanted[:16]}..: damaged or another file")
        return path

    def find(self, *files: WeightFile) -> dict[str, str]:
        """{name: SHA-256} of files that are all there, for keys."""
        return {file.name: _sha256(self._path(file)) for file in files}

    def load(self, file: WeightFile) -> dict[str, torch.Tensor]:
        """A file's tensors by name, on the CPU."""
        import torch

        path = self._path(file)
        try:
            with open_regular(path, _MAX_BYTES) as content:
                archives.check(content)
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if "weights only" in str(error).lower() or "weights_only" in str(error).lower():
                raise RequestError(f"{path}: holds more than tensors (a pickle with code?); refused") from None
            raise RequestError(f"{path}: is damaged: {_first_line(error)}") from None
        except (OSError, EOFError, RuntimeError, ValueError, LookupError, AttributeError, TypeError) as error:
            raise RequestError(f"{path}: is damaged: {_first_line(error)}") from None
        if not isinstance(loaded, dict) or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
            raise RequestError(f"{path}: holds no table of named tensors; take {file.url}")
        return loaded


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:160]


def _sha256(path: Path) -> str:
    return probe.sha256(path).removeprefix("sha256:")


def _read_sums(path: Path) -> dict[str, str]:
    """{name: sum} of a file as `sha256sum` writes it; empty where there is none."""
    if not path.is_file():
        return {}
    sums = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        parts = line.split(maxsplit=1)
        if not parts:
            continue
        if len(parts) != 2 or len(parts[0]) != 64 or set(parts[0].lower()) - set("0123456789abcdef"):
            raise RequestError(f"{path}, line {number}: is no 'SHA-256  name', as sha256sum writes it")
        sums[parts[1].lstrip("*")] = parts[0].lower()
    return sums


def _text(path: Path) -> str:
    try:
        return read_bounded(path, _MAX_SUMS_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None
