"""What is said where `[task]` names a network of one's own in a form that is not read."""

from __future__ import annotations

from pathlib import Path

from vcmbench.errors import RequestError
from vcmbench.tasks.base import TaskSettings
from vcmbench.tasks.onnx import document

ADVICE = "write a task for it (docs/adding-a-task.md), or lay its predictions there as files (docs/tasks.md)"
_WEIGHTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
_EXPORTED = (".engine", ".trt", ".tflite", ".pb", ".h5", ".keras", ".mlmodel", ".pte")


def check(settings: TaskSettings, takes: str) -> None:
    """Raises RequestError where `model` are weights, or one of both is a network of another framework; `takes` says
    what `model` is for this task."""
    if document.is_onnx(settings.model) or document.is_onnx(settings.checkpoint or ""):
        raise RequestError(
            'an ONNX file: is the model of name = "segmentation", "detection" or "instances" alone, '
            f"without a checkpoint; for another task, {ADVICE}"
        )
    for key in ("input", "output"):
        if getattr(settings, key) is not None:
            raise RequestError(f"task.{key}: only an ONNX file as model has this table; leave it out")
    for key, value in (("model", settings.model), ("checkpoint", settings.checkpoint or "")):
        if Path(value).suffix.lower() in _EXPORTED:
            raise RequestError(f"{key} {value!r}: networks in this form are not run here; {ADVICE}")
    if Path(settings.model).suffix.lower() in _WEIGHTS:
        raise RequestError(f"model {settings.model!r}: are weights; name them as checkpoint, and as model {takes}")


def missing_import(error: BaseException | None) -> str:
    """What to do where a network's code imports what is not found; empty where `error` is about something else."""
    while error is not None and not isinstance(error, ImportError):
        error = error.__cause__ or error.__context__
    return "" if error is None else "; install what it imports, or put the folder of its modules on PYTHONPATH"
