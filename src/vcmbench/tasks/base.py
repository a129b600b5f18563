"""The contract of a machine task, its settings, and how the files of `tasks/` that hold one are found."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vcmbench.errors import JobError, RequestError
from vcmbench.io.plugins import Plugins, only_subclass
from vcmbench.io.progress import Progress
from vcmbench.tasks import devices
from vcmbench.tasks.onnx.keys import NetworkInput, NetworkOutput

Picture = NDArray[np.uint8]


class TaskSettings(BaseModel):
    """`[task]` of an experiment: which task, by which network."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = "segmentation"
    model: str = "demo"
    """Segmentation: "demo" or "demo-b" (embedded), a word of mmsegmentation's zoo, or the path of an mmseg config or an
    ONNX file. Detection: "demo" or an ONNX file. Classification: a timm model, or torchvision/NAME."""
    checkpoint: str | None = None
    """The network's weights, .pth or .safetensors; None where `model` brings its own."""
    classes: list[str] | str | None = None
    """Names of the network's outputs, in order, or a text file with one a line; None: as the network's files say."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 4
    """Pictures that a GPU is given at once. On the CPU each picture goes alone, on a thread of its own."""
    precision: Literal["auto", "float32"] = "auto"
    """auto: mixed (float16) on a GPU, float32 on the CPU and for ONNX files."""
    score: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of a detector: from which score on what it finds on a pristine picture is part of the pseudo ground truth."""
    input: NetworkInput | None = None
    output: NetworkOutput | None = None
    """Of an ONNX file alone."""

    @field_validator("name")
    @classmethod
    def _is_a_task(cls, value: str) -> str:
        if value in _PLUGINS.faults():
            raise ValueError(_PLUGINS.faults()[value])
        if value not in discover():
            raise ValueError(f"{value!r}: unknown task; there are {' '.join(discover())}")
        return value


@dataclass(frozen=True)
class Prepared:
    """All that a task needs to be opened, here or in a container: `options` are JSON, `files` are read-only inputs."""

    options: dict[str, Any]
    files: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Device:
    """Where a network runs. `device` is "cpu" or "cuda:N"; `jobs` pictures at a time on the CPU, `batch_size` on a
    GPU; `is_mixed`: in float16 where that is safe (GPU only)."""

    device: str = "cpu"
    jobs: int = 1
    batch_size: int = 1
    is_mixed: bool = False

    @property
    def precision(self) -> str:
        return "mixed float16" if self.is_mixed else "float32"


class Task(ABC):
    """A network that looks at pictures. A context manager: `close` gives back what it holds."""

    kind: str
    """The name of its kind: what its answers are and what they are worth, see `tasks.kind`."""
    classes: tuple[str, ...]
    runner: str = "local"
    at_once: int = 1
    """How many calls of `predict` may be made at the same time, from several threads: with 2, the pictures of the next
    one wait beside the network while it looks at those of the last."""
    together: int = 1
    """How many pictures it looks at at a time: a call is best about as many, or a multiple."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What decides the predictions, as JSON: network, hashes, versions, precision, kind of device."""

    @abstractmethod
    def predict(self, images: Sequence[Picture]) -> list[NDArray[Any]]:
        """Predictions on pictures, (H, W, 3) uint8 R'G'B', of any sizes; they do not depend on what comes together.

        Segmentation: (H, W) uint8 class indices (train ids for Cityscapes) at the picture's own size. Classification:
        (K,) float32 probabilities. Raises JobError where the network cannot take a picture.
        """

    @abstractmethod
    def close(self) -> None:
        """End it. Doing so twice is no error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.close()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything, and all that was asked of it is answered
            Progress(0).say(f"task: could not be closed: {type(error).__name__}: {error}")


class LocalTask(Task):
    """A task inside this process. Subclasses live in `tasks/`, one file each; the file's name is the task's name."""

    embedded: ClassVar[tuple[str, ...]] = ()
    """Words for `model` that need nothing but this installation."""
    about_models: ClassVar[str]
    """One line on what `model` takes."""
    file: ClassVar[Path | None] = None
    """The file of a user's own task; its content is part of what decides its predictions."""

    @classmethod
    def example(cls, folder: Path) -> dict[str, Any]:
        """Settings beside `name` with which the contract's tests can open it: files may be laid into `folder`. A task
        that needs no weights, or has them embedded, need not say anything."""
        return {}

    @classmethod
    @abstractmethod
    def prepare(cls, settings: TaskSettings) -> Prepared:
        """Find (or fetch) and check what the settings name, without building the network.

        Raises RequestError: what was asked, what was found, what to do.
        """

    @classmethod
    def device(cls, prepared: Prepared, gpu: str) -> str:
        """Where it runs, "cpu" or "cuda:N", if `gpu` (auto, none, a number) is asked for. Raises RequestError."""
        return devices.local(gpu)

    @abstractmethod
    def __init__(self, prepared: Prepared, place: Device) -> None:
        """Build the network. Raises RequestError where the files do not make one."""


def check_pictures(images: Sequence[Picture]) -> None:
    """Raises JobError unless all are (H, W, 3) uint8 with pixels in them."""
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise JobError(f"a picture must be (H, W, 3) uint8 R'G'B', not {image.shape} {image.dtype}")


@cache
def _ours() -> dict[str, type[LocalTask]]:
    """The tasks of this folder. A file with no subclass of LocalTask helps the others."""
    found: dict[str, type[LocalTask]] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        loaded = importlib.import_module(f"{__package__}.{module.name}")
        for value in vars(loaded).values():
            is_task = inspect.isclass(value) and issubclass(value, LocalTask) and not inspect.isabstract(value)
            if is_task and value.__module__ == loaded.__name__:
                found[module.name] = value
    return found


def _task_of(module: ModuleType, name: str) -> type[LocalTask]:
    if name in _ours():
        raise RequestError(f"there is a task {name} already; give it another name")
    found = only_subclass(module, LocalTask)  # type: ignore[type-abstract]
    found.file = Path(str(module.__file__))
    return found


_PLUGINS = Plugins("tasks", lambda: Path(__file__).parent / "none", "vcmbench_tasks", _task_of)


def discover() -> dict[str, type[LocalTask]]:
    """Every task by its file's name, ours first."""
    return _ours() | _PLUGINS.found()


def get(name: str) -> type[LocalTask]:
    """The task of that name. Raises RequestError where there is none, or where its file is faulty."""
    return _ours()[name] if name in _ours() else _PLUGINS.get(name)
