"""Which pictures of a data root are meant: the `[dataset]` table of an experiment."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from vcmbench.io.validation import Strict

# the name of one folder: nothing that could lead out of the data root
FolderName = Annotated[str, Field(pattern=r"^[\w-][\w.-]*$", max_length=255)]


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


class Selection(Strict):
    """A split of a Cityscapes layout (a flat folder has none), some of its cities, the first `limit` pictures."""

    split: FolderName = "val"
    cities: Annotated[list[FolderName], Field(min_length=1)] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    groups: Annotated[str, Field(min_length=1), AfterValidator(_pattern)] | None = None
    """Which pictures belong together, see `data.jackknife.units_of`."""
