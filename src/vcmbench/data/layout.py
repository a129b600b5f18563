"""Where the pictures of a data set and their labels lie, as two patterns of paths below the data root.

`{split}` is the experiment's split, `*` any letters of one name, `**/` any folders. Any other `{word}` is also any
letters of one name, and stands for the same ones in the pattern of labels; `{stem}` is there the picture's file name
without its suffix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vcmbench.data.label_schemes import LabelScheme
from vcmbench.errors import RequestError
from vcmbench.io.documents import short, short_list

_WORD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PARTS = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}|\*\*/|\*|[^*{]+|\{")
_SPLIT, _STEM = "split", "stem"


def _check(key: str, pattern: str) -> None:
    """Raises ValueError unless a pattern leads to something below the data root."""
    place = PurePosixPath(pattern)
    if place.is_absolute() or ".." in place.parts or "\\" in pattern or "\0" in pattern or pattern.endswith("/"):
        raise ValueError(f"{key} {short(pattern)}: must be a path of a file below the data folder, without ..")
    rest = _WORD.sub("", pattern)
    if "{" in rest or "}" in rest:
        raise ValueError(f"{key} {short(pattern)}: braces hold a word, such as {{split}} or {{city}}")


@dataclass(frozen=True)
class Layout:
    """The two patterns; without `labels` there are none."""

    images: str
    labels: str | None = None
    scheme: LabelScheme | None = None

    def check(self) -> None:
        """Raises ValueError where one leads out of the data root, or labels have a word that pictures lack."""
        _check("images", self.images)
        if self.labels is None:
            return
        _check("labels", self.labels)
        words = {_SPLIT, _STEM, *_WORD.findall(self.images)}
        if unknown := [word for word in _WORD.findall(self.labels) if word not in words]:
            raise ValueError(f"labels {short(self.labels)}: {{{unknown[0]}}} is no word of images; there are "
                             f"{', '.join(f'{{{word}}}' for word in sorted(words))}")  # fmt: skip
        if "*" in self.labels:
            raise ValueError(f"labels {short(self.labels)}: * could be many files; write a {{word}} in both patterns")

    def _of_split(self, split: str) -> str:
        """As the data set calls it."""
        return dict(self.scheme.splits).get(split, split) if self.scheme is not None else split

    def folder(self, root: Path, split: str) -> Path:
        """The folder that all wanted pictures lie below. Raises RequestError where it is not there."""
        found = root
        parts = PurePosixPath(self.images.replace("{split}", self._of_split(split))).parts[:-1]
        for part in parts:
            if "*" in part or _WORD.search(part):
                break
            if not (found / part).is_dir():
                there = sorted(path.name for path in found.iterdir() if path.is_dir())
                raise RequestError(f"dataset.images {short(self.images)}: no folder {part!r} in {found}; there are: "
                                   f"{short_list(there, 12)}")  # fmt: skip
            found /= part
        return found

    def matching(self, names: list[PurePosixPath], split: str, folder: Path) -> dict[PurePosixPath, PurePosixPath]:
        """Of files by their names below the data root those that the pattern means, and where their labels lie; itself
        where there are none. Raises RequestError where it means none."""
        split = self._of_split(split)
        pattern = re.compile(_regex(self.images, split))
        found = {name: hit for name in names if (hit := pattern.fullmatch(str(name)))}
        if not found:
            some = f", as {names[0]}" if names else ""
            raise RequestError(f"dataset.images {short(self.images)}: matches none of {len(names)} pictures in "
                               f"{folder}{some}")  # fmt: skip
        return {name: name if self.labels is None else _filled(self.labels, hit.groupdict(), split, name)
                for name, hit in found.items()}  # fmt: skip


def _regex(pattern: str, split: str) -> str:
    seen: set[str] = set()

    def part(text: str) -> str:
        if text == "**/":
            return "(?:[^/]+/)*"
        if text == "*":
            return "[^/]*"
        if (word := _WORD.fullmatch(text)) is None:
            return re.escape(text)
        name = word[1]
        if name == _SPLIT:
            return re.escape(split)
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        return f"(?P<{name}>[^/]+)"

    return "".join(map(part, _PARTS.findall(pattern)))


def _filled(pattern: str, words: dict[str, str], split: str, name: PurePosixPath) -> PurePosixPath:
    values = {_STEM: name.stem} | words | {_SPLIT: split}
    return PurePosixPath(_WORD.sub(lambda word: values[word[1]], pattern))
