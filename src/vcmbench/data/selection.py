"""Which pictures of a data root are meant: the `[dataset]` table of an experiment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from vcmbench.data.video import RawGeometry
from vcmbench.errors import RequestError
from vcmbench.io.validation import Strict

_T = TypeVar("_T")

# the name of one folder: nothing that could lead out of the data root
FolderName = Annotated[str, Field(pattern=r"^[\w-][\w.-]*$", max_length=255)]


Patterns = list[Annotated[str, Field(min_length=1, max_length=400)]]


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


class Selection(Strict):
    """A split of a Cityscapes layout (a flat folder has none), some of its cities, the first `limit` pictures.

    `include` and `exclude`: shell patterns of names below the folder of pictures, with suffix; * crosses folders.
    Of sequences, which are videos and folders of frames: `clips`, patterns of their names, and of each `frames` frames
    from `start` on, every `step`th. `fps` is of folders of frames, `yuv` what raw files do not say of themselves.
    `images` is the folder of a Cityscapes layout that they lie in.
    """

    split: FolderName = "val"
    cities: Annotated[list[FolderName], Field(min_length=1)] | None = None
    include: Annotated[Patterns, Field(min_length=1)] | None = None
    exclude: Patterns = Field(default=[])
    limit: Annotated[int, Field(ge=1)] | None = None
    groups: Annotated[str, Field(min_length=1), AfterValidator(_pattern)] | None = None
    """Which pictures belong together, see `data.jackknife.units_of`."""
    clips: Annotated[Patterns, Field(min_length=1)] | None = None
    start: Annotated[int, Field(ge=0)] = 0
    frames: Annotated[int, Field(ge=1)] | None = None
    step: Annotated[int, Field(ge=1)] = 1
    fps: Annotated[float, Field(gt=0, le=1000, strict=False)] | None = None
    yuv: RawGeometry | None = None
    images: Literal["leftImg8bit", "leftImg8bit_sequence"] = "leftImg8bit"

    def chosen(self, names: Iterable[PurePosixPath]) -> tuple[list[PurePosixPath], list[str]]:
        """Those names that the patterns leave, and a line for each pattern that matches nothing."""
        texts = {name: str(name) for name in names}
        hits = {pattern: {name for name, text in texts.items() if fnmatchcase(text, pattern)}
                for pattern in [*(self.include or ()), *self.exclude]}  # fmt: skip
        left = set(texts) if self.include is None else set().union(*(hits[pattern] for pattern in self.include))
        left = left.difference(*(hits[pattern] for pattern in self.exclude))
        notes = [f"dataset: the pattern {pattern!r} matches no picture" for pattern, found in hits.items() if not found]
        return [name for name in texts if name in left], notes

    @property
    def in_recordings(self) -> bool:
        """Whether a city's pictures are several sequences."""
        return self.images == "leftImg8bit_sequence"

    def wants_sequence(self, group: PurePosixPath) -> bool:
        """Whether a sequence is one of the `clips`, by its whole name below the folder of pictures or its last part."""
        names = (str(group), group.name)
        return self.clips is None or any(fnmatchcase(name, clip) for name in names for clip in self.clips)

    def asks_for_more(self, number: int) -> bool:
        """Whether more of a sequence's frames are wanted than it has."""
        return self.frames is not None and len(range(self.start, number, self.step)) < self.frames

    def of_sequence(self, group: PurePosixPath, number: int) -> range:
        """Which of a sequence's frames are meant, by their numbers. Raises RequestError where it ends before."""
        if self.start >= number:
            what = group if group.name else "the data folder itself"
            raise RequestError(f"dataset.start = {self.start}: {what} has {number} frames, 0 to {number - 1}")
        wanted = range(self.start, number, self.step)
        return wanted[: self.frames]
