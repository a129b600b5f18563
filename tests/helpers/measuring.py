"""A small data root that is compressed and measured, and how tests type commands without starting processes.

Importing torch takes longer than measuring these scenes: so commands run in this process, through the same `main`.
"""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from tests.helpers import commands
from tests.helpers.commands import Typed
from vcmbench.compress import decode
from vcmbench.data.dataset import read_picture
from vcmbench.data.record import read_record
from vcmbench.demo import cityscapes
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.measure.blocks import published
from vcmbench.tasks import TaskSettings, open_task
from vcmbench.tasks.base import Task

U8 = NDArray[np.uint8]

TASK = "[task]\n"
METRICS = '[metrics]\niqa = ["PSNR", "SSIM"]\nintervals = true\n'
BLOCKS = "[metrics.blocks]\nsize_px = [32]\ncount = 40\nstrata = 3\n"
HEAD = TASK + METRICS + BLOCKS
LOSSLESS = 'encoder = "lossless"'
JPEG = 'encoder = "jpeg"\nquality = [5, 40]'
X265 = 'encoder = "x265"\nquality = [46]\npreset = "ultrafast"'
CODINGS = (LOSSLESS, JPEG, X265)
CONFIGURATIONS, PICTURES = 4, 3
FOLDERS = {
    "lossless": "cityscapes_LOSSLESS(color_subsampling=444, subsampling_factor=1.0)",
    "jpeg 5": "cityscapes_JPEG(quality=5, color_subsampling=420, subsampling_factor=1.0)",
    "jpeg 40": "cityscapes_JPEG(quality=40, color_subsampling=420, subsampling_factor=1.0)",
    "x265": "cityscapes_x265(quality=46, color_subsampling=420, subsampling_factor=1.0, preset=ultrafast)",
}

Write = Callable[..., Path]


def typed(*words: object) -> Typed:
    """`vcmbench WORDS`, in this process, with one embedded network for all of them: building it takes a second."""
    with mock.patch("vcmbench.tasks.open_task", _opened):
        return commands.typed(*words)


def _opened(settings: TaskSettings, *where: Any) -> Task:
    usual = TaskSettings().model_dump()
    return _embedded() if settings.model_dump(include=set(usual)) == usual else open_task(settings, *where)


@cache
def _embedded() -> Task:
    task = open_task(TaskSettings(), "local", "none", 2)
    task.close = lambda: None  # type: ignore[method-assign]  # the next command takes it again
    return task


def measure(root: Path, config: object, *words: object) -> Typed:
    """`vcmbench metrics`, without a report: drawing its figures takes longer than all the rest."""
    return typed("metrics", "-d", root, "-s", config, "--runner", "local", "--gpu", "none", "--json", "--no-report",
                 *words)  # fmt: skip


def compressed(root: Path, config: object) -> None:
    done = typed("compress", "-d", root, "-s", config, "--runner", "local", "--json")
    assert done.code == 0, done.err


def outcome(done: Typed) -> dict[str, Any]:
    """What `--json` told."""
    found: dict[str, Any] = json.loads(done.out)
    return found


def counts(done: Typed) -> tuple[int, int, int]:
    """How many pictures were measured, known and failed."""
    told = outcome(done)
    return told["done"], told["resumed"], len(told["failed"])


@dataclass(frozen=True)
class Results:
    """What a run wrote below a data root."""

    root: Path
    name: str = "trial"

    @property
    def folder(self) -> Path:
        return self.root / "results" / self.name

    def remove(self, *folders: str) -> None:
        """Remove folders of the data root."""
        for folder in folders:
            shutil.rmtree(self.root / folder)

    def scores(self) -> list[dict[str, Any]]:
        """The score records, in the order of their paths."""
        paths = sorted((self.folder / "scores").rglob("*.json"))
        return [json.loads(path.read_bytes()) for path in paths if "scores/pristine/" not in path.as_posix()]

    def score_path(self, folder: str, city: str = "lindau") -> Path:
        return self.folder / f"scores/{FOLDERS[folder]}/leftImg8bit/val/{city}/{city}_000000_000019_leftImg8bit.json"

    def prediction(self, folder: str | None, city: str = "lindau") -> Path:
        place = self.root / "P_GT" if folder is None else self.root / "P_hat_C" / FOLDERS[folder]
        return place / f"val/{city}/{city}_000000_000019_leftImg8bit.png"

    def picture(self, city: str = "lindau") -> Path:
        return self.root / f"cityscapes/leftImg8bit/val/{city}/{city}_000000_000019_leftImg8bit.png"

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_bytes())

    def blocks(self, name: str = "trial_32x32") -> dict[str, published.PublishedBlock]:
        return published.read_blocks(self.folder / f"blocks/{name}_val_blocks.json")

    def decoded(self, score: dict[str, Any]) -> tuple[U8, U8]:
        """The pristine and the decoded picture of a score record, by its compression record alone."""
        record = read_record(self.folder / f"records/{score['bitstream']}.json")
        assert record is not None
        pictures = list(decode.decode(record, self.root, LocalRunner()))
        name = record["sources"][score["frame"]]["name"]
        folder = self.root / "cityscapes" if (self.root / "cityscapes").exists() else self.root
        return read_picture(folder / f"{name}.png").rgb, pictures[score["frame"]]


def tree(root: Path) -> dict[str, str]:
    """Every file below a folder with its hash, but for what this process holds while it lives."""
    return {name: found for name, found in commands.tree(root).items() if "/.leases/" not in f"/{name}"}


def draw(root: Path, **more: Any) -> None:
    """Three street scenes of 192x96 px in Cityscapes layout, with all of their labels."""
    settings = {"width": 192, "height": 96, "val_per_city": 1, "train_scenes": 0, "sequences": 0, "jobs": 1, **more}
    cityscapes.write(root, **settings)


def write_toml(folder: Path, *codings: str, head: str = HEAD, name: str = "trial") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{name}"\n{head}\n' + "".join(f"[[coding]]\n{one}\n" for one in codings or CODINGS))
    return path


_MADE: dict[str, Path] = {}


def once(factory: Any) -> Path:
    """A data root `data` and its experiment `trial.toml`, compressed and measured, in a folder that nobody changes."""
    if "folder" not in _MADE:
        folder: Path = factory.mktemp("measured")
        draw(folder / "data")
        compressed(folder / "data", write_toml(folder))
        done = measure(folder / "data", folder / "trial.toml")
        assert (done.code, counts(done)) == (0, (CONFIGURATIONS * PICTURES, 0, 0)), done.err
        _MADE["folder"] = folder
    return _MADE["folder"]


def copy(factory: Any, to: Path) -> Results:
    """A copy of it, to be changed: `to/data` and `to/trial.toml`."""
    shutil.copytree(once(factory), to, dirs_exist_ok=True, symlinks=True)
    return Results(to / "data")


@contextlib.contextmanager
def network(**settings: Any) -> Iterator[Task]:
    """The embedded network, as nobody but a test calls it."""
    with open_task(TaskSettings(**settings), "local", "none", 1) as task:
        yield task
