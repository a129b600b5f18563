"""`net.toml` beside `net.onnx`: the same `[task]` table, of whoever knows the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vcmbench.errors import RequestError
from vcmbench.io import documents, validation
from vcmbench.io.validation import Strict
from vcmbench.tasks.base import TaskSettings
from vcmbench.tasks.onnx.keys import BoxOutput, NetworkInput, NetworkOutput

_MAX_BYTES = 1 << 18
_TABLES: dict[str, type[BaseModel]] = {"input": NetworkInput, "output": NetworkOutput}
_NESTED: dict[str, type[BaseModel]] = {"task": TaskSettings, **_TABLES, "boxes": BoxOutput}


class TaskTable(Strict):
    """All that the file holds."""

    task: TaskSettings = TaskSettings()


def filled(settings: TaskSettings) -> TaskSettings:
    """The settings, with the keys that only the file beside the network has. Raises RequestError where it is faulty."""
    path = Path(settings.model).expanduser().with_suffix(".toml")
    if not path.is_file():
        return settings
    try:
        values = documents.read_toml(path, _MAX_BYTES)
        if "coding" in values:  # an experiment that has the network's name
            return settings
        theirs = TaskTable.model_validate(values).task.model_dump(exclude_unset=True)
    except ValidationError as error:
        raise RequestError(f"{path}: {validation.one_line(error, TaskTable, _NESTED)}") from None
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: cannot be read: {error}") from None
    if isinstance(theirs.get("classes"), str):
        theirs["classes"] = str(path.parent / Path(theirs["classes"]).expanduser())
    ours: dict[str, Any] = settings.model_dump(exclude_unset=True, include=set(TaskSettings.model_fields))
    tables = {name: {**(theirs.get(name) or {}), **(ours.get(name) or {})} for name in _TABLES}
    return TaskSettings.model_validate({**theirs, **ours, **{name: table for name, table in tables.items() if table}})
