"""Which pictures of a data root are meant: the `[dataset]` table of an experiment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, model_validator

from vcmbench.data import label_schemes
from vcmbench.data.layout import Layout
from vcmbench.data.video import RawGeometry
from vcmbench.errors import RequestError
from vcmbench.io.validation import Strict

_T = TypeVar("_T")

# the name of one folder: nothing that could lead out of the data root
FolderName = Annotated[str, Field(pattern=r"^[\w-][\w.-]*$", max_length=255)]


Pattern = Annotated[str, Field(min_length=1, max_length=400)]
Patterns = list[Pattern]
_OF_CITYSCAPES = ("leftImg8bit", "leftImg8bit_sequence")


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
    `images` is the folder of a Cityscapes layout that they lie in; of other data sets a pattern, as is `labels`, of
    which `scheme` says what their pixels stand for (see `data.layout`, `data.label_schemes`).
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
    images: Pattern = _OF_CITYSCAPES[0]
    labels: Pattern | None = None
    scheme: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _layout_is_sound(self) -> Selection:
        try:
            self.layout()
        except RequestError as error:
            raise ValueError(str(error)) from None
        return self

    def layout(self, data_root: Path | None = None) -> Layout | None:
        """Where pictures and labels lie, by patterns; None in a Cityscapes layout or a plain folder. Raises
        RequestError; ValueError where a pattern is none."""
        has_pattern = self.images not in _OF_CITYSCAPES
        if has_pattern and "/" not in self.images and not set("*{") & set(self.images):
            raise ValueError(f"images {self.images!r}: one of {', '.join(_OF_CITYSCAPES)}, of a Cityscapes layout, or "
                             'a pattern such as "images/{split}/*.jpg"')  # fmt: skip
        if self.scheme is None:
            if self.labels is not None:
                raise ValueError("labels: what do their pixels stand for? scheme is one of "
                                 f"{', '.join(label_schemes.built_in())}, or the path of a .toml file")  # fmt: skip
            found = Layout(self.images) if has_pattern else None
        else:
            scheme = label_schemes.find(self.scheme, data_root)
            images, labels = self.images if has_pattern else scheme.images, self.labels or scheme.labels
            if images is None or labels is None:
                raise ValueError(f"scheme {scheme.name!r}: says not where files lie; give images and labels, patterns "
                                 'such as "images/{split}/*.jpg" and "labels/{split}/{stem}.png"')  # fmt: skip
            found = Layout(images, labels, scheme)
        if found is not None:
            found.check()
        return found

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
