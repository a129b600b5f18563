"""The picture files below a folder, and what is left out there, with the reason: nothing goes without a word."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vcmbench.errors import RequestError

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".webp"}
)
_NOT_READ = frozenset({
    ".gif", ".apng", ".jp2", ".j2k", ".jpx", ".jxl", ".jxr", ".avif", ".avifs", ".heic", ".heif", ".pbm",
    ".pam", ".pfm", ".dib", ".tga", ".ico", ".pcx", ".psd", ".svg", ".exr", ".hdr", ".dng", ".cr2", ".cr3", ".nef",
    ".arw", ".raw", ".yuv", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".264", ".265", ".266",
    ".h264", ".hevc", ".vvc", ".ivf", ".obu",
})  # fmt: skip
"""Endings of pictures and videos that cannot be coded as they are; raw video only where its geometry is given."""
_BESIDE = frozenset({"gtFine", "gtCoarse", "disparity"})
"""What lies beside the pictures of a Cityscapes data set, and is none."""
_MOST_LEVELS = 100
_MOST_WAYS = 1000
_NAMED = 3


@dataclass
class Walk:
    """What lies below a folder: pictures and videos, by their endings, and by reason what else would have been expected
    to be one."""

    is_result: Callable[[Path], bool]
    suffixes: frozenset[str]
    files: list[Path] = field(default_factory=list)
    left_out: defaultdict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    _known: set[Path] = field(default_factory=set)
    _again: int = 0

    def through(self, folder: Path, seen: frozenset[Path] = frozenset()) -> None:
        """Take in what lies below `folder`; hidden names and our own results are left out, links are followed, not in
        circles.

        Raises RequestError where links lead back to the same folders too often: a few of them to and fro make millions
        of ways.
        """
        real = folder.resolve()
        if real in seen:
            return
        self._again += real in self._known
        self._known.add(real)
        if self._again > _MOST_WAYS or len(seen) > _MOST_LEVELS:
            raise RequestError(
                f"{_ending(folder)}: lies more than {_MOST_LEVELS} folders deep, or links lead to the same folders "
                f"more than {_MOST_WAYS} times; take out those that lead to and fro"
            )
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            raise RequestError(f"{folder}: cannot be read: {error.strerror}") from None
        is_data_set = any(path.name == "leftImg8bit" for path in entries)
        for path in entries:
            if path.name.startswith(".") or self.is_result(path):
                continue
            if path.is_dir():
                if is_data_set and path.name in _BESIDE:
                    self.left_out["labels and disparities of a Cityscapes data set"].append(path)
                else:
                    self.through(path, seen | {real})
            else:
                self._file(path)

    def _file(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if not path.exists():
            self.left_out["links that lead nowhere"].append(path)
        elif suffix in self.suffixes and not path.is_file():
            self.left_out["no regular files"].append(path)
        elif suffix in self.suffixes:
            self.files.append(path)
        elif suffix in _NOT_READ:
            self.left_out["of formats that are not read"].append(path)

    def notes(self) -> list[str]:
        """What was left out, a line for each reason."""
        return [
            f"{len(paths)} left out, {reason}: {', '.join(map(str, paths[:_NAMED]))}"
            f"{', ...' if len(paths) > _NAMED else ''}"
            for reason, paths in self.left_out.items()
        ]


def _ending(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 200 else f"{text[:90]} ... {text[-90:]}"
