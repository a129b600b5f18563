"""Which pictures of a data root are meant: the `[dataset]` table of an experiment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field

from vcmbench.io.validation import Strict

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
    """

    split: FolderName = "val"
    cities: Annotated[list[FolderName], Field(min_length=1)] | None = None
    include: Annotated[Patterns, Field(min_length=1)] | None = None
    exclude: Patterns = Field(default=[])
    limit: Annotated[int, Field(ge=1)] | None = None
    groups: Annotated[str, Field(min_length=1), AfterValidator(_pattern)] | None = None
    """Which pictures belong together, see `data.jackknife.units_of`."""

    def chosen(self, names: Iterable[PurePosixPath]) -> tuple[list[PurePosixPath], list[str]]:
        """Those names that the patterns leave, and a line for each pattern that matches nothing."""
        texts = {name: str(name) for name in names}
        hits = {pattern: {name for name, text in texts.items() if fnmatchcase(text, pattern)}
                for pattern in [*(self.include or ()), *self.exclude]}  # fmt: skip
        left = set(texts) if self.include is None else set().union(*(hits[pattern] for pattern in self.include))
        left = left.difference(*(hits[pattern] for pattern in self.exclude))
        notes = [f"dataset: the pattern {pattern!r} matches no picture" for pattern, found in hits.items() if not found]
        return [name for name in texts if name in left], notes
