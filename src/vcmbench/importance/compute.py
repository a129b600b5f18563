"""From the files of a picture to its importance map."""

from __future__ import annotations

from dataclasses import replace

from vcmbench.data.dataset import DataRoot, Source
from vcmbench.errors import JobError, RequestError
from vcmbench.importance.inputs import Files, Inputs, files_of, read_inputs
from vcmbench.importance.maps import BadArray, ImportanceMap, importance_map
from vcmbench.importance.settings import ImportanceSettings


def read_importance(data: DataRoot, source: Source, settings: ImportanceSettings | None = None) -> ImportanceMap:
    """The importance map of a picture that has labels, computed from the files that belong to it.

    Raises JobError with the name of the file that is missing or cannot be used.
    """
    settings = settings or ImportanceSettings()
    files = files_of(data, source)
    return compute(files, read_inputs(files, settings), settings)


def compute(files: Files, inputs: Inputs, settings: ImportanceSettings) -> ImportanceMap:
    """The importance map of inputs that were read from `files`. Raises JobError with the name of the file."""
    try:
        result = importance_map(
            inputs.labels,
            inputs.instances,
            inputs.disparity,
            inputs.fx_px,
            inputs.baseline_m,
            inputs.speed_mps,
            settings,
            by_name=files.label_file is not None,
        )
    except BadArray as error:
        path = {"labels": files.labels, "instances": files.instances, "disparity": files.disparity}[error.part]
        raise JobError(f"{path}: {error.message}") from None
    except RequestError as error:  # the class table went while the run was on
        raise JobError(str(error)) from None
    return replace(result, notes=inputs.notes() + result.notes)
