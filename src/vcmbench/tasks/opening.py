"""Opening a task: in this process or in a container, on the CPU or a GPU."""

from __future__ import annotations

import importlib.util

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
    prepared = kind.prepare(settings)
    if kind.file is not None and runner == "docker":
        raise RequestError(f"task {settings.name!r}: {kind.file} is not in the container; say --runner local")
    if kind.file is not None or where(runner) == "local":
        device = kind.device(prepared, gpu)
        is_mixed = settings.precision == "auto" and device != "cpu"
        place = Device(device, jobs, settings.batch_size, is_mixed)
        try:
            task = kind(prepared, place)
        except (VcmbenchError, KeyboardInterrupt):
            raise
        except BaseException as error:  # a plugin may raise anything
            raise RequestError(f"task {settings.name!r}: cannot be opened: {type(error).__name__}: {error}") from error
        kinds.get(task.kind)  # refuses one that there is not
        return task
    from vcmbench.tasks.container import open_in_container  # needs an engine

    place = Device("cpu", jobs, settings.batch_size, settings.precision == "auto")
    return open_in_container(settings.name, prepared, place, gpu, memory)


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
