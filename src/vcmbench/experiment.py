"""An experiment: one TOML file that says what is coded how. Every mistake in it is one clear line."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_serializer,
    model_validator,
)

from vcmbench import iqa
from vcmbench.data.dataset import Source
from vcmbench.data.jackknife import Grouping
from vcmbench.data.selection import Selection
from vcmbench.encoder import checks, plugins
from vcmbench.encoder.base import Encoder
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.grid import CodingGrid, Map, Target
from vcmbench.errors import RequestError
from vcmbench.importance.source import ImportanceSource, choose
from vcmbench.importance.source import discover as sources
from vcmbench.io import documents, resources, validation
from vcmbench.io.overrides import override
from vcmbench.io.validation import Strict
from vcmbench.tasks.base import TaskSettings
from vcmbench.tasks.onnx.keys import BoxOutput, NetworkInput, NetworkOutput
from vcmbench.tasks.transformers_networks import is_folder

_MODELS = (".py", ".json", ".yaml", ".yml", ".onnx")  # what ends so is a path, all else a word
_MAX_BYTES = 1 << 18  # an experiment is a page of text; anything larger is a mistake
MAX_CONFIGURATIONS = 100_000
_AXES = ("quality", "color_subsampling", "subsampling_factor")
_NAME_BYTES = 255


class ImportanceChoice(BaseModel):
    """Where importance comes from: a source by its name, and the settings that it knows (see `importance.source`)."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    source: str = "labels"
    region: Annotated[float, Field(gt=0, le=1, strict=False)] = 1.0
    hold: bool = False

    @model_validator(mode="after")
    def _settings_are_sound(self) -> ImportanceChoice:
        try:
            self.chosen()
        except RequestError as error:
            raise ValueError(str(error)) from None
        return self

    @model_serializer
    def _with_defaults(self) -> dict[str, Any]:
        settings = asdict(self.chosen().settings)
        plain = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
        return {"source": self.source, **plain, "region": self.region, **({"hold": True} if self.hold else {})}

    def chosen(self) -> ImportanceSource:
        return choose(self.source, self.region, self.model_extra or {}, self.hold)


class TaskChoice(TaskSettings):
    """The machine task: a network (see `TaskSettings`), or predictions that lie in DATA/P_GT and DATA/P_hat_C."""

    predictions: Literal["network", "files"] = "network"


class BlockSampling(Strict):
    """`[metrics.blocks]`: how many blocks of which sizes are sampled, or the published file that names them."""

    size_px: Annotated[list[Annotated[int, Field(ge=2, le=4096)]], Field(min_length=1)] = [64]
    count: Annotated[int, Field(ge=3, le=1_000_000)] = 4096
    strata: Annotated[int, Field(ge=1, le=100)] = 10
    file: str | None = None


class Metrics(Strict):
    """What is measured on decoded pictures, and what is held against what.

    `machine` is the score that metrics are correlated with: accuracy, mIoU (of classes) or IoU of all pixels, against
    the prediction on the pristine picture (`pseudo`) or the `labels`. `network` is a segmentation network, named as
    `[task] model` is, which the metric Flips looks at; another one than the task's, or the metric knows too much.
    """

    iqa: list[str] = ["PSNR", "SSIM", "MS_SSIM", "VSI"]
    profile: Literal["standard", "qomex2023"] = "standard"
    levels: Annotated[list[Literal["image", "block"]], Field(min_length=1)] = ["image", "block"]
    machine: Literal["accuracy", "miou", "micro_iou"] = "accuracy"
    against: Literal["pseudo", "labels"] = "pseudo"
    intervals: bool = True
    network: str | None = None
    blocks: BlockSampling = BlockSampling()

    @model_validator(mode="before")
    @classmethod
    def _asked_as_before(cls, values: Any) -> Any:
        """`bootstrap`, resamples for intervals or 0 for none, is what experiments said before there was a jackknife."""
        if isinstance(values, dict) and type(count := values.get("bootstrap")) is int and count >= 0:
            values = {"intervals": count > 0} | {name: value for name, value in values.items() if name != "bootstrap"}
        return values

    @model_validator(mode="after")
    def _metrics_are_known(self) -> Metrics:
        try:
            if self.iqa:
                iqa.check(list(dict.fromkeys(self.iqa)), self.profile)
        except RequestError as error:
            raise ValueError(str(error)) from None
        return self


class ReportChoice(Strict):
    """`[report]`: the encoder that the others' BD-rates are against; without, the one with most points."""

    anchor: str | None = None


class Experiment(Strict):
    """What `-s` names."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    seed: Annotated[int, Field(ge=0)] = 0
    dataset: Selection = Selection()
    importance: ImportanceChoice | None = None
    task: TaskChoice | None = None
    metrics: Metrics = Metrics()
    report: ReportChoice = ReportChoice()
    coding: Annotated[list[CodingGrid], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _grid_is_bounded(cls, values: Any) -> Any:
        """Before any of it is made: a few short lists can ask for more than there is memory."""
        codings = values.get("coding") if isinstance(values, dict) else None
        tables = [table for table in codings if isinstance(table, dict)] if isinstance(codings, list) else []
        total = sum(math.prod(len(table[axis]) for axis in _AXES if isinstance(table.get(axis), list))
                    for table in tables)  # fmt: skip
        if total > MAX_CONFIGURATIONS:
            raise ValueError(f"coding: asks for {total} configurations; an experiment has at most {MAX_CONFIGURATIONS}")
        return values

    @model_validator(mode="after")
    def _anchor_is_there(self) -> Experiment:
        names = dict.fromkeys(coding.encoder for coding in self.coding)
        if self.report.anchor is not None and self.report.anchor not in names:
            raise ValueError(f"report.anchor {documents.short(self.report.anchor)}: is coded with {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _task_can_be_asked(self) -> Experiment:
        for grid in self.coding:
            if grid.qp_map is not None and grid.qp_map.refine and not self.asks:
                raise ValueError(f'coding.qp_map.refine {grid.qp_map.refine}: needs [importance] source = "task"')
        try:
            for one in self.configurations() if self.asks else ():
                checks.check_asked(plugins.get(one.encoder), one)
        except RequestError as error:
            raise ValueError(f"coding: {error}") from None
        if self.asks and self.task is not None and self.task.predictions == "files":
            raise ValueError('importance.source "task": predictions = "files" leave no network to ask')
        return self

    @model_validator(mode="after")
    def _folders_differ(self) -> Experiment:
        seen: dict[str, str | None] = {}
        for configuration in self.configurations():
            folder = plugins.get(configuration.encoder).folder_name(configuration)
            key = f"{folder} stacked={configuration.stacked}"
            if key in seen:
                compat = seen[key] or configuration.compat
                differ = f", with and without compat = {compat!r}: make them two experiments, in two data roots"
                why = differ if seen[key] != configuration.compat else ""
                raise ValueError(f"coding: {folder} is asked for twice{why}")
            if (size := len(f"cityscapes_{folder}".encode())) > _NAME_BYTES:
                raise ValueError(
                    f"coding: the folder {documents.short(folder, 60)} would have a name of {size} bytes; file systems "
                    f"take {_NAME_BYTES}: leave some parameters out"
                )
            seen[key] = configuration.compat
        return self

    def configurations(self) -> list[CodingConfiguration]:
        # its class table is read only where there is a map
        has_map = any(coding.qp_map for coding in self.coding)
        source = (self.importance or ImportanceChoice()).chosen() if has_map else None
        return [configuration for coding in self.coding for configuration in coding.configurations(source)]

    @property
    def asks(self) -> bool:
        """Whether its codings ask the task where bits go."""
        return any(one.importance and one.importance.origin.is_asked for one in self.configurations())

    def encoders(self) -> list[Encoder]:
        names = dict.fromkeys(coding.encoder for coding in self.coding)
        return [plugins.get(name) for name in names]


_NESTED: dict[str, type[BaseModel]] = {
    "dataset": Selection, "coding": CodingGrid, "qp_map": Map, "target": Target, "importance": ImportanceChoice,
    "task": TaskChoice, "metrics": Metrics, "blocks": BlockSampling, "report": ReportChoice,
    "input": NetworkInput, "output": NetworkOutput, "boxes": BoxOutput,
}  # fmt: skip


def grouping(experiment: Experiment, sources: Sequence[Source]) -> Grouping:
    """Which pictures are left out together: as the experiment says, else the frames of a video or a coded sequence."""
    are_frames = any(coding.structure for coding in experiment.configurations())
    of_sequence = {str(one.name): str(one.group) for one in sources if are_frames or one.frame is not None}
    return Grouping(experiment.dataset.groups, of_sequence)


def find(config: str) -> Path:
    """The TOML file that `-s CONFIG` names: a path, or a name in `val_config/`."""
    known = {path.stem: path for path in sorted(resources.folder("val_config").glob("*.toml"))}
    if config in known:
        return known[config]
    path = Path(config)
    if path.suffix == ".toml" and path.is_file():
        return path
    if path.suffix == ".toml":
        raise RequestError(f"no experiment {config!r}: {'is no file' if path.exists() else 'there is no such file'}")
    if similar := difflib.get_close_matches(config, known, 1):
        raise RequestError(f"no experiment {config!r}; did you mean {similar[0]}? There are {', '.join(known)}")
    raise RequestError(f"no experiment {config!r}: give the path of a .toml file or one of {', '.join(known)}")


def _from(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The values with the paths of other files, which are meant from a folder."""

    def inside(table: object, keys: tuple[str, ...], words: tuple[str, ...] = ()) -> object:
        if not isinstance(table, dict):
            return table
        given = {key: table[key] for key in keys if isinstance(table.get(key), str) and table[key] not in words}
        return table | {key: str(folder / os.path.expanduser(value)) for key, value in given.items()}

    def network(table: Any, key: str) -> Any:
        """Words of the zoo stay; files and folders are paths."""
        name = str(table.get(key, "")) if isinstance(table, dict) else ""
        is_path = name.endswith(_MODELS) or is_folder(str(folder / os.path.expanduser(name)))
        return inside(table, (key,)) if is_path else table

    result = dict(values)
    if "importance" in values:
        result["importance"] = inside(values["importance"], *_paths_of(values["importance"]))
    if isinstance(values.get("dataset"), dict) and str(values["dataset"].get("scheme", "")).endswith(".toml"):
        result["dataset"] = inside(values["dataset"], ("scheme",))
    if "task" in values:
        result["task"] = inside(values["task"], ("checkpoint", "classes"))
        result["task"] = network(result["task"], "model")
    if isinstance(values.get("metrics"), dict):
        result["metrics"] = network(values["metrics"], "network")
        if "blocks" in values["metrics"]:
            result["metrics"] |= {"blocks": inside(values["metrics"]["blocks"], ("file",))}
    return result


def _paths_of(importance: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those keys of an `[importance]` table that are paths, and what they may say that is none; what is wrong with it
    is reported when it is checked."""
    name = importance.get("source", "labels") if isinstance(importance, dict) else None
    found = sources().get(name) if isinstance(name, str) else None
    return (found.paths, found.words) if found else ((), ())


def load(config: str, changes: Sequence[str] = ()) -> Experiment:
    """Read and check an experiment, with changes such as `dataset.limit=5` (see `io.overrides`).

    Paths of other files are meant from where the experiment's file lies, those of changes from the working directory.
    Raises RequestError with the file, the key, the value and what is allowed.
    """
    path = find(config)
    try:
        values = _from(path.resolve().parent, documents.read_toml(path, _MAX_BYTES))
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RequestError(f"{path}: not TOML: {error}") from None
    where = " ".join([str(path), *(f"--set {documents.short_list([change])}" for change in changes)])
    try:
        return Experiment.model_validate(_from(Path.cwd(), override(values, changes)) if changes else values)
    except ValidationError as error:
        raise RequestError(f"{where}: {validation.one_line(error, Experiment, _NESTED)}") from None
    except ValueError as error:
        raise RequestError(f"{path}: {error}") from None
