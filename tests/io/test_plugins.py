"""Whatever a plugin raises or returns fails its own job, picture or column, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.commands import JPEG, X265
from vcmbench import experiment
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.data import resampling
from vcmbench.data.labels import CLASSES
from vcmbench.encoder import plugins as encoders
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.importance import source
from vcmbench.io.plugins import Plugins
from vcmbench.iqa import METRICS, Scorer, metric, table
from vcmbench.measure.predictions import NetworkPredictor, Question
from vcmbench.tasks import TaskSettings, open_task
from vcmbench.tasks import kind as kinds
from vcmbench.tasks.base import Task
from vcmbench.tasks.kind import Truth


class OfItsOwnError(BaseException):
    pass


FAULTS = [SystemExit(3), MemoryError(), RecursionError(), GeneratorExit(), asyncio.CancelledError(), OfItsOwnError()]
Patch = pytest.MonkeyPatch
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32, 3), np.uint8)
LABELS = np.zeros((32, 32), np.uint8)


def load(patch: Patch, does: Callable[..., Any]) -> None:
    Plugins("things", lambda: Path(), "things", lambda module, name: does()).load(Path(__file__))


def resample(patch: Patch, does: Callable[..., Any]) -> None:
    patch.setattr(type(resampling.get("bicubic")), "down", does)
    resampling.down("bicubic", PICTURES[0, 0], 8, 8)


def read_importance(patch: Patch, does: Callable[..., Any]) -> None:
    patch.setattr(type(source.get("files")), "read", does)
    patch.setattr(type(source.get("files")), "main_file", lambda *_: None)
    nothing: Any = type("Nothing", (), {"name": "a"})()
    source.choose("files", 1.0, {}).read(nothing, nothing, 32, 32)


def count(patch: Patch, does: Callable[..., Any]) -> None:
    patch.setattr(type(kinds.get("segmentation")), "count", does)
    kinds.count(kinds.get("segmentation"), LABELS, LABELS, Truth(), CLASSES)


class OneTask(Task):
    kind, classes = "segmentation", CLASSES

    def identity(self) -> dict[str, Any]:
        return {"task": "one"}

    def predict(self, images: Any) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        pass


def ask(patch: Patch, does: Callable[..., Any]) -> None:
    nothing: Any = type("Nothing", (), {"data": type("Data", (), {"root": Path()})})()
    patch.setattr(OneTask, "predict", does)
    NetworkPredictor(OneTask(), nothing).answer([Question(nothing, 0, PICTURES[0, 0])])


SEAMS = [load, resample, read_importance, count, ask]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("seam", SEAMS)
def test_whatever_is_raised_is_an_error_of_ours(seam: Any, fault: BaseException, monkeypatch: Patch) -> None:
    def does(*_: Any) -> Any:
        raise fault

    with pytest.raises((JobError, RequestError), match=type(fault).__name__):
        seam(monkeypatch, does)


@pytest.mark.parametrize("seam", [load, count])
def test_ctrl_c_is_no_fault_of_theirs(seam: Any, monkeypatch: Patch) -> None:
    def does(*_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seam(monkeypatch, does)


WRONG: list[Any] = [None, [], 3, "text", {}, np.zeros((4, 4)), [np.full((32, 32), np.nan)], [None], [LABELS, LABELS],
                    [LABELS[:16]], {"pseudo": None}, {"pseudo": {"confusion": 3}, "labels": None}]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
@pytest.mark.parametrize("seam", [resample, read_importance, count, ask])
def test_whatever_is_returned_is_looked_at(seam: Any, number: int, monkeypatch: Patch) -> None:
    with pytest.raises(JobError):
        seam(monkeypatch, lambda *_: WRONG[number])


@pytest.mark.parametrize(
    ("method", "fault"),
    [("prepare", "raise SystemExit(3)"), ("identity", "raise KeyError(3)"), ("identity", "return object()"),
     ("identity", "return {'a': float('nan')}"), ("__init__", "raise MemoryError"), ("close", "raise SystemExit(3)")],
)  # fmt: skip
def test_a_task_that_cannot_be_opened_is_named(
    method: str, fault: str, tmp_path: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Closed, it has answered all that it was asked: a line says what went wrong."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/own.py").write_text(
        "from vcmbench.tasks import LocalTask, Prepared\n"
        "class Own(LocalTask):\n    kind, classes = 'segmentation', ()\n"
        "    about_models = 'none'\n    @classmethod\n    def prepare(cls, *_): return Prepared({})\n"
        "    def __init__(self, *_): pass\n    def identity(self): return {'task': 'own'}\n"
        "    def predict(self, images): return []\n    def close(self): pass\n"
        f"    def {method}(self, *_): {fault}\n"
    )
    monkeypatch.setenv("VCMBENCH_PLUGINS", str(tmp_path))
    if method != "close":
        with pytest.raises(RequestError, match=r"task 'own': cannot be opened: (SystemExit|KeyError|\w*Error)"):
            open_task(TaskSettings(name="own"), "local", "none")
        return
    with open_task(TaskSettings(name="own"), "local", "none"):
        pass
    assert "task: could not be closed: SystemExit: 3" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["raise SystemExit(3)", "return b''", "return 7j"])
@pytest.mark.parametrize("method", kinds._REDUCING)
def test_a_kind_that_cannot_reduce_or_show_is_named(
    method: str, fault: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    """When all is measured: the run ended with a traceback that called it a fault of the command."""
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds/own.py").write_text(
        "from vcmbench.tasks.kind import Kind\nclass Own(Kind):\n    measures = {'error': 'Error'}\n"
        "    def count(self, *given): pass\n    def is_part(self, *given): return True\n"
        "    def sums(self, *given): pass\n"
        f"    def {method}(self, *given):\n        {fault}\n"
    )
    monkeypatch.setenv("VCMBENCH_PLUGINS", str(tmp_path))
    with pytest.raises(JobError, match=f"kind of task 'own': {method} failed: (SystemExit: 3|TypeError: gives )"):
        getattr(kinds.get("own"), method)({}, 2, "error")


@pytest.mark.parametrize("does", [*FAULTS, None, "text", [], [[1.0]], [1.0, 2.0, 3.0], np.inf, [np.nan, np.inf]])
def test_a_metric_fails_its_own_column(does: Any, monkeypatch: Patch) -> None:
    def score(_: Any) -> Any:
        if isinstance(does, BaseException):
            raise does
        return does

    known = {"OWN": metric("OWN", "here", score, higher_is_better=True), "PSNR": METRICS["PSNR"]}
    monkeypatch.setattr(table._Metrics, "_all", lambda _: known)
    pictures = np.concatenate((PICTURES[0], PICTURES[1]))
    found = Scorer(["OWN", "PSNR"]).score(pictures, pictures[::-1])
    assert found.reasons["PSNR"] == (None, None)
    assert np.isnan(found.values["OWN"]).all() and all(found.reasons["OWN"])


@pytest.mark.parametrize("fault", [SystemExit(3), MemoryError(), "text", np.nan], ids=repr)
def test_an_encoder_fails_its_own_jobs(
    fault: Any, photos: Path, write_experiment: Callable[..., Path], monkeypatch: Patch
) -> None:
    def does(*_: Any) -> Any:
        if isinstance(fault, BaseException):
            raise fault
        return fault

    monkeypatch.setattr(type(encoders.get("jpeg")), "coded_qp", does)
    wanted = experiment.load(str(write_experiment(JPEG, X265)))
    outcome = CompressRun(wanted, photos, LocalRunner(), CompressSettings(jobs=1, quiet=True)).execute(lambda *_: None)
    assert outcome.done == 2 and {job.encoder.name for job, _ in outcome.failed} == {"jpeg"}
    said = type(fault).__name__ if isinstance(fault, BaseException) else "TypeError" if fault == "text" else "gave nan"
    assert all(said in str(error) for _, error in outcome.failed)
