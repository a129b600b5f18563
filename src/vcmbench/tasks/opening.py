"""Opening a task: in this process or in a container, on the CPU or a GPU."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager

from vcmbench.errors import RequestError, VcmbenchError
from vcmbench.execution.runner import images
from vcmbench.tasks import base, container_image, devices
from vcmbench.tasks import kind as kinds
from vcmbench.tasks.base import Device, Task, TaskSettings

_NEEDS = ("torch", "mmengine", "mmcv", "mmseg", "timm", "safetensors", "onnxruntime")


def open_task(
    settings: TaskSettings, runner: str = "auto", gpu: str = "auto", jobs: int = 1, memory: str = "8g"
) -> Task:
    """A task, ready to predict.

    `runner` "local" is this process, "docker" a container with at most `memory`; "auto" is this process where it has
    what networks need, since both give the same predictions, else a container. `gpu` is "auto" (the first that is
    there, else the CPU), "none" or a number. On the CPU `jobs` pictures are looked at at a time.

    Raises RequestError: what was asked, what was found, what to do.
    """
    devices.check_choice(gpu)
    kind = base.get(settings.name)
    with _by_name(settings.name):
        prepared = kind.prepare(settings)
    if kind.file is not None and runner == "docker":
        raise RequestError(f"task {settings.name!r}: {kind.file} is not in the container; say --runner local")
    if kind.file is not None or where(runner) == "local":
        with _by_name(settings.name):
            device = kind.device(prepared, gpu)
            is_mixed = settings.precision == "auto" and device != "cpu"
            task = kind(prepared, Device(device, jobs, settings.batch_size, is_mixed))
            json.dumps(dict(task.identity()), allow_nan=False)  # keys are made of it
        kinds.get(task.kind)  # refuses one that there is not
        return task
    from vcmbench.tasks.container import open_in_container  # needs an engine

    place = Device("cpu", jobs, settings.batch_size, settings.precision == "auto")
    return open_in_container(settings.name, prepared, place, gpu, memory)


@contextmanager
def _by_name(task: str) -> Iterator[None]:
    """Whatever a plugin raises is a RequestError that names it."""
    try:
        yield
    except (VcmbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise RequestError(f"task {task!r}: cannot be opened: {type(error).__name__}: {error}") from error


def missing_packages() -> list[str]:
    """What networks need and this Python does not have."""
    return [name for name in _NEEDS if importlib.util.find_spec(name) is None]


def where(runner: str) -> str:
    """ "local" or "docker". Raises RequestError where `runner` is "auto" and neither can be."""
    if runner == "apptainer":  # its images are the encoders'; networks run in this process then
        return "local"
    if runner != "auto":
        return runner
    absent = missing_packages()
    if not absent:
        return "local"
    try:
        why_not = container_image.why_not_ready(images.engine())
    except RequestError as error:
        why_not = str(error).split(";")[0]
    if why_not is None:
        return "docker"
    raise RequestError(
        f"machine tasks need {', '.join(absent)}, which this Python does not have (in a checkout: make setup), or a "
        f"container ({why_not})"
    )
