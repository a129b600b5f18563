"""Tables of TOML and JSON as strict pydantic models, and what is wrong with one, in one line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vcmbench.io.documents import short

_MOST_LETTERS = 600


class Strict(BaseModel):
    """A table whose keys and types must be right: nothing unknown, nothing converted, nothing infinite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Loose(Strict):
    """What is relied upon of a table that holds more: of what is named here the types must be right."""

    model_config = ConfigDict(extra="ignore")


Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


def is_valid(model: type[BaseModel], value: object) -> bool:
    """Whether a JSON value is what a model says."""
    try:
        model.model_validate(value)
    except ValidationError:
        return False
    return True


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def first_mistake(error: ValidationError) -> str:
    """The first mistake that pydantic found in a table without tables inside."""
    return one_line(error, BaseModel, {})


_TOOLS_WORDS = (
    dict.fromkeys(("crf", "qp", "q", "cq", "qscale", "quality_factor"), "quality")
    | dict.fromkeys(("bitrate", "bpp", "rate"), "target")
    | {"codec": "encoder", "codecs": "coding", "encoders": "coding"}
)
"""What encoders call a key of ours."""


def one_line(error: ValidationError, whole: type[BaseModel], nested: Mapping[str, type[BaseModel]]) -> str:
    """The first mistake that pydantic found, as key, value and what is allowed. `nested` are the models of the tables
    inside `whole`, by their keys."""
    # a key that is misspelt is lacking, too, which would be the first that is said
    first = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    key = ""
    for part in first["loc"]:
        key += f"[{part + 1}]" if isinstance(part, int) else f"{'.' if key else ''}{_shown(part)}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        model = whole
        for part in first["loc"][:-1]:
            model = nested.get(str(part), model)
        known = [field.alias or name for name, field in model.model_fields.items()]
        asked = str(first["loc"][-1])
        meant = [one for one in known if one == _TOOLS_WORDS.get(asked.lower())] or get_close_matches(asked, known, 1)
        near = "".join(f"; did you mean {one}?" for one in meant)
        return f"{key}: unknown key; known here: {', '.join(known)}{near}{more}"
    if first["type"] == "model_type":
        return f"{key}: must be a table, such as {{ key = value }} (found {short(first['input'])})"
    if first["type"] == "list_type" and isinstance(first["input"], dict):
        return f"{key}: there may be several of these tables: write [[{key}]]{more}"
    message = first["msg"].removeprefix("Value error, ")
    message = message if len(message) <= _MOST_LETTERS else f"{message[:_MOST_LETTERS]}..."
    has_value = not isinstance(first["input"], dict) and first["type"] != "missing"
    found = f" (found {short(first['input'])})" if has_value else ""
    return f"{key + ': ' if key else ''}{message}{found}{more}"


def _shown(key: str) -> str:
    """A key of the file, which may be any text, as part of a line."""
    return key if len(key) <= 80 and key.isprintable() else short(key)
