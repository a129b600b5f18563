"""Every task of `tasks/`, whatever it does, keeps the contract of `base.Task`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from tests.helpers import small_networks
from vcmbench import tasks
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import Task, TaskSettings

NAMES = sorted(tasks.discover())


@pytest.fixture(scope="module", params=NAMES)
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TaskSettings:
    made: TaskSettings = small_networks.MAKERS[request.param](tmp_path_factory.mktemp(request.param))
    return made


@pytest.fixture(scope="module")
def task(settings: TaskSettings) -> Iterator[Task]:
    with tasks.open_task(settings, "local", "none", jobs=2) as opened:
        yield opened


@pytest.fixture
def pictures(astronaut: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return small_networks.scenes(astronaut)


def test_both_tasks_are_found() -> None:
    assert {"classification", "segmentation"} <= set(NAMES)


def test_it_says_what_it_is(task: Task, settings: TaskSettings) -> None:
    identity = task.identity()
    assert json.loads(json.dumps(identity)) == identity
    assert identity["task"] == settings.name
    assert len(identity["weights_sha256"]) == 64
    assert (identity["precision"], identity["device"]) == ("float32", "cpu")
    assert identity["torch"]
    assert task.kind in ("segmentation", "classification")
    assert len(set(task.classes)) == len(task.classes) > 1


def test_predictions_have_their_form(task: Task, pictures: list[NDArray[np.uint8]]) -> None:
    found = task.predict(pictures)
    assert len(found) == len(pictures)
    for picture, prediction in zip(pictures, found, strict=True):
        if task.kind == "segmentation":
            assert prediction.dtype == np.uint8
            assert prediction.shape == picture.shape[:2]
            assert prediction.max() < len(task.classes)
        else:
            assert prediction.dtype == np.float32
            assert prediction.shape == (len(task.classes),)
            assert prediction.sum() == pytest.approx(1, abs=1e-6)
    assert any(not np.array_equal(found[0], other) for other in found[1:2]), "different pictures, different answers"


def test_they_do_not_depend_on_what_comes_together(
    task: Task, settings: TaskSettings, pictures: list[NDArray[np.uint8]]
) -> None:
    together = task.predict(pictures)
    for other in (
        [task.predict([picture])[0] for picture in pictures],
        task.predict(pictures[::-1])[::-1],
    ):
        assert all(np.array_equal(a, b) for a, b in zip(together, other, strict=True))
    with tasks.open_task(settings, "local", "none", jobs=1) as one_at_a_time:
        again = one_at_a_time.predict(pictures)
        assert one_at_a_time.identity() == task.identity()
    assert all(np.array_equal(a, b) for a, b in zip(together, again, strict=True))


def test_no_pictures_no_predictions(task: Task) -> None:
    assert task.predict([]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((32, 32), np.uint8),
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((32, 32, 3), np.float32),
        np.zeros((0, 32, 3), np.uint8),
    ],
    ids=["gray", "four channels", "floats", "empty"],
)
def test_what_is_no_picture_is_refused(task: Task, wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(JobError, match=r"must be \(H, W, 3\) uint8"):
        task.predict([wrong])


def test_threads_of_the_process_stay_as_they_were(settings: TaskSettings) -> None:
    import torch

    before = torch.get_num_threads()
    with tasks.open_task(settings, "local", "none", jobs=3):
        assert torch.get_num_threads() == before


def test_closing_twice_is_no_error(settings: TaskSettings) -> None:
    opened = tasks.open_task(settings, "local", "none")
    known = opened.identity()
    opened.close()
    opened.close()
    assert opened.identity() == known


def test_weights_decide_the_identity(settings: TaskSettings, tmp_path: Path) -> None:
    with tasks.open_task(settings, "local", "none") as task:
        first = task.identity()
    raw = Path(str(settings.checkpoint)).read_bytes()
    other = tmp_path / "other.safetensors"
    other.write_bytes(raw[:-4] + np.float32(0.125).tobytes())  # the last weight
    changed = settings.model_copy(update={"checkpoint": str(other)})
    with tasks.open_task(changed, "local", "none") as task:
        assert task.identity() != first


@pytest.mark.parametrize("gpu", ["all", "-1", "0,1", ""])
def test_a_gpu_is_auto_none_or_a_number(settings: TaskSettings, gpu: str) -> None:
    with pytest.raises(RequestError, match=r"--gpu .* must be auto, none or the number of a GPU"):
        tasks.open_task(settings, "local", gpu)


def test_a_gpu_that_is_not_there(settings: TaskSettings) -> None:
    with pytest.raises(RequestError, match=r"--gpu 99: PyTorch (finds no GPU here|has GPUs)"):
        tasks.open_task(settings, "local", "99")


def test_unknown_tasks_and_settings() -> None:
    with pytest.raises(ValidationError, match="unknown task; there are classification segmentation"):
        TaskSettings(name="depth")
    with pytest.raises(ValidationError, match="Extra inputs"):
        TaskSettings.model_validate({"modle": "demo"})
    with pytest.raises(ValidationError, match="batch_size"):
        TaskSettings(batch_size=0)


def test_names_of_classes(settings: TaskSettings, task: Task, tmp_path: Path) -> None:
    wanted = [f"my {name}" for name in task.classes]
    (tmp_path / "names.txt").write_text("\n".join(wanted) + "\n\n")
    for classes in (wanted, str(tmp_path / "names.txt")):
        with tasks.open_task(settings.model_copy(update={"classes": classes}), "local", "none") as opened:
            assert opened.classes == tuple(wanted)
    for classes, why in (
        (wanted[1:], f"{len(wanted) - 1} names were given, but the network has {len(wanted)} outputs"),
        ([*wanted[1:], wanted[1]], "is given twice"),
        (str(tmp_path / "none.txt"), "no text file with one name a line"),
    ):
        with pytest.raises(RequestError, match=why):
            tasks.open_task(settings.model_copy(update={"classes": classes}), "local", "none")


def test_knowing_the_tasks_needs_no_networks_library() -> None:
    """`vcmbench compress` reads experiments, whose [task] is checked against the tasks that there are."""
    code = (
        "import sys; from vcmbench.tasks import TaskSettings; TaskSettings(); import vcmbench.cli.commands.tasks; "
        "print([m for m in ('torch', 'mmseg', 'timm', 'docker', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
