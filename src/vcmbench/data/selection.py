"""Which pictures of a data root are meant: the `[dataset]` table of an experiment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vcmbench.io.validation import Strict

# the name of one folder: nothing that could lead out of the data root
FolderName = Annotated[str, Field(pattern=r"^[\w-][\w.-]*$", max_length=255)]


class Selection(Strict):
    """A split of a Cityscapes layout (a flat folder has none), some of its cities, the first `limit` pictures."""

    split: FolderName = "val"
    cities: Annotated[list[FolderName], Field(min_length=1)] | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
