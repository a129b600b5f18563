"""What every task keeps to, whatever it does: ours, and those of the folders that VCMBENCH_PLUGINS names.

A task says by `LocalTask.example` with which settings it can be opened here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from tests.helpers import small_networks
from tests.helpers.docs import example
from tests.helpers.measuring import CONFIGURATIONS, PICTURES, copy, counts, measure, typed, write_toml
from tests.helpers.paths import CHECKOUT
from vcmbench import tasks
from vcmbench.errors import JobError, RequestError
from vcmbench.io.plugins import VARIABLE
from vcmbench.tasks import Task, TaskSettings
from vcmbench.tasks import kind as kinds

NAMES = sorted(tasks.discover())


@pytest.fixture(scope="module", params=NAMES)
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TaskSettings:
    found = tasks.get(request.param).example(tmp_path_factory.mktemp(request.param))
    return TaskSettings(name=request.param, **found)


@pytest.fixture(scope="module")
def task(settings: TaskSettings) -> Iterator[Task]:
    with tasks.open_task(settings, "local", "none", jobs=2) as opened:
        yield opened


@pytest.fixture
def pictures(astronaut: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return small_networks.scenes(astronaut)


def test_it_says_what_it_is(task: Task, settings: TaskSettings) -> None:
    identity = task.identity()
    assert json.loads(json.dumps(identity)) == identity, "identity() must be JSON: it is hashed, and kept in records"
    assert identity.get("task") == settings.name, "identity() needs `task`, its name"
    if settings.checkpoint is not None:
        assert len(identity.get("weights_sha256", "")) == 64, (
            "identity() needs `weights_sha256`: weights decide answers"
        )
    assert task.kind in kinds.discover(), f"kind {task.kind!r} is none of {list(kinds.discover())}; add it to kinds/"
    assert isinstance(task.classes, tuple) and len(set(task.classes)) == len(task.classes), "classes: names that differ"


def _keeps_files(kind: kinds.Kind, answer: Any, shape: tuple[int, ...], classes: tuple[str, ...], at: Path) -> None:
    """Answers that lie in files come back as they were, and a file that was cut off is noticed."""
    if (files := kind.files) is None:
        return
    path = at / f"one{files.suffix}"
    with pytest.raises(JobError):
        files.read(path, (shape[0], shape[1]), classes)
    files.write(path, answer, classes, "a key", None)
    assert (files.key(path), files.is_whole(path)) == ("a key", True)
    assert np.array_equal(files.read(path, (shape[0], shape[1]), classes), answer)
    path.write_bytes(path.read_bytes()[:-20])
    assert not files.is_whole(path), f"{kind.name}: a file that was cut off is whole"


def test_answers_are_of_its_kind(task: Task, pictures: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    kind, found = kinds.get(task.kind), task.predict(pictures)
    assert len(found) == len(pictures), "predict must give one answer for each picture"
    assert any(not np.array_equal(found[0], other) for other in found[1:]), "different pictures, different answers"
    for picture, answer in zip(pictures, found, strict=True):
        kind.check(answer, (picture.shape[0], picture.shape[1]), len(task.classes))
        if kind.has_label_pictures:
            assert answer.max() < len(task.classes), "an id beyond the classes"
    kept = kinds.count(kind, found[0], found[0], kinds.Truth(), task.classes)
    assert json.loads(json.dumps(kept)) == kept, f"{kind.name}: what count returns must be JSON"
    assert kept.keys() >= {"pseudo", "labels", "notes"}, f"{kind.name}: count must return pseudo, labels and notes"
    part, classes = kept["pseudo"], len(task.classes)
    assert part is not None, f"{kind.name}: pseudo must be a part where there is a pristine answer"
    assert kinds.count(kind, found[0], None, kinds.Truth(), task.classes)["pseudo"] is None
    assert kind.is_part(part, classes), f"{kind.name}: is_part refuses what count made"
    assert not any(kind.is_part(wrong, classes) for wrong in (None, 3, [], {}, {"x": 1})), f"{kind.name}: is_part"
    assert set(kind.row(part, classes)) <= set(kind.columns), f"{kind.name}: row has cells that are in no column"
    weights = np.array([[1.0, 1.0], [1.0, 0.0]])
    reduced = kind.reduce([part, part], classes, weights)
    assert reduced.keys() == kind.measures.keys(), f"{kind.name}: reduce gives every one of its measures"
    assert all(values.shape == (2,) for values in reduced.values()), f"{kind.name}: reduce gives (rows,)"
    assert np.isfinite(reduced[kind.main]).all(), f"{kind.name}: {kind.main}, its main measure, is not known"
    _keeps_files(kind, found[0], pictures[0].shape, task.classes, tmp_path)
    for name in kind.measures:
        value = kind.score(part, classes, name)
        assert value is None or np.isfinite(value), f"{kind.name}: score of {name} is {value}"
    record = kept | {"kind": kind.name, "classes": classes}
    assert all(
        isinstance(text, str) for text in (*kind.answers(record), *(t for fact in kind.facts(record) for t in fact))
    )


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
    if settings.checkpoint is None:
        pytest.skip("its example has no weights of its own")
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
    with pytest.raises(ValidationError, match="there are classification detection instances seg"):
        TaskSettings(name="depth")
    with pytest.raises(ValidationError, match="Extra inputs"):
        TaskSettings.model_validate({"modle": "demo"})
    with pytest.raises(ValidationError, match="batch_size"):
        TaskSettings(batch_size=0)


def test_names_of_classes(settings: TaskSettings, task: Task, tmp_path: Path) -> None:
    if tasks.get(settings.name).file is not None or not task.classes:
        pytest.skip("a task may have names of its own")
    wanted = [f"my {name}" for name in task.classes]
    (tmp_path / "names.txt").write_text("\n".join(wanted) + "\n\n", encoding="utf-8-sig")
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


def contract(plugins: Path, name: str) -> None:
    """The suite above over a task of a user's own, as its author runs it."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        f"{name} and not one_file",
    ]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ | {VARIABLE: str(plugins)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[-1]) > 10


def test_one_file_is_a_task_also_without_weights(
    plugins: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    example("adding-a-task.md", plugins)
    (plugins / "tasks/broken.py").write_text(
        (plugins / "tasks/darkness.py").read_text().replace("return [", "raise LookupError('of its own'); return [")
    )
    contract(plugins, "darkness")
    results = copy(tmp_path_factory, tmp_path / "a")
    shutil.rmtree(results.root / "P_GT")
    shutil.rmtree(results.root / "P_hat_C")
    metrics = '[metrics]\niqa = ["PSNR"]\nlevels = ["image"]\nintervals = false\n'
    done = measure(results.root, write_toml(tmp_path, head=f'[task]\nname = "darkness"\n{metrics}'))
    assert (done.code, counts(done)) == (0, (CONFIGURATIONS * PICTURES, 0, 0)), done.err
    rows = results.table("image_scores")
    found = {row["encoder"]: float(row["accuracy_pseudo"]) for row in rows}
    assert found["lossless"] == 1 and 0 < found["jpeg"] < 1
    broken = measure(results.root, write_toml(tmp_path, head=f'[task]\nname = "broken"\n{metrics}'))
    assert broken.out, broken.err
    assert (broken.code, counts(broken)[0]) == (1, 0)
    assert "task darkness: LookupError: of its own" in broken.err


def test_one_file_is_a_kind_of_task(plugins: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    example("adding-a-kind-of-task.md", plugins)
    (plugins / "tasks").mkdir()
    (plugins / "tasks/meanluma.py").write_text(BRIGHTNESS_TASK)
    contract(plugins, "meanluma")
    results = copy(tmp_path_factory, tmp_path / "a")
    head = '[task]\nname = "meanluma"\n[metrics]\niqa = ["PSNR"]\nlevels = ["image"]\nintervals = false\n'
    config = write_toml(tmp_path, head=head)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (CONFIGURATIONS * PICTURES, 0, 0)), done.err
    rows = results.table("image_scores")
    assert {"error_pseudo", "error_labels"} <= rows[0].keys() and "accuracy_pseudo" not in rows[0]
    assert all(float(row["error_pseudo"]) == 0 for row in rows if row["encoder"] == "lossless")
    assert any(float(row["error_pseudo"]) > 0 for row in rows if row["encoder"] == "jpeg")
    assert all("error_pseudo" in row for row in results.table("points"))
    shown = typed("report", "-d", results.root, "-s", config, "-o", tmp_path / "report.html", "--runner", "local")
    assert shown.code == 0, shown.err
    assert "Brightness error" in (tmp_path / "report.html").read_text()


BRIGHTNESS_TASK = '''
"""The mean of a picture's pixels."""

import numpy as np

from vcmbench.tasks import LocalTask, Prepared
from vcmbench.tasks.base import check_pictures


class MeanLuma(LocalTask):
    kind = "brightness"
    about_models = "none"
    classes = ()

    @classmethod
    def prepare(cls, settings):
        return Prepared({})

    def __init__(self, prepared, place):
        pass

    def identity(self):
        return {"task": "meanluma"}

    def predict(self, images):
        check_pictures(images)
        return [np.array([image.mean()]) for image in images]

    def close(self):
        pass
'''
