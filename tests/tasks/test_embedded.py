"""The embedded networks on scenes that they were not trained on and as ONNX files, and how they are trained."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streetscenes.scene import Scene, render
from vcmbench import tasks
from vcmbench.cli import build_parser
from vcmbench.data import labels, objects
from vcmbench.demo import train_detector, training
from vcmbench.errors import RequestError
from vcmbench.tasks import TaskSettings
from vcmbench.tasks import kind as kinds
from vcmbench.tasks.base import Device
from vcmbench.tasks.embedded_detector import EmbeddedDetector
from vcmbench.tasks.kind import Truth
from vcmbench.tasks.networks import EMBEDDED
from vcmbench.tasks.networks.detector import CLASSES, Detector
from vcmbench.tasks.onnx import exporting
from vcmbench.tasks.sensitivity import SegmentationSensitivity


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Of seeds that neither training nor the demo has."""
    return [render(seed, 384, 192, ensure=("person", "car")) for seed in (901, 902, 903)]


def test_the_embedded_detector_finds_what_is_drawn(scenes: list[Scene]) -> None:
    kind, parts = kinds.get("detection"), []
    with tasks.open_task(TaskSettings(name="detection"), "local", "none", 2) as task:
        answers = task.predict([scene.image for scene in scenes])
        again = task.predict([scenes[0].image])[0]
    for scene, answer in zip(scenes, answers, strict=True):
        kind.check(answer, (192, 384), len(task.classes))
        truth = Truth(objects=objects.of_instances(scene.instance_ids))
        parts.append(kind.count(answer, None, truth, task.classes)["labels"])
        assert (answer[answer[:, 4] == task.classes.index("car"), 5] > 0.5).any()
    assert np.array_equal(again, answers[0])
    assert kind.reduce(parts, len(task.classes), np.ones((1, 3)))["ap50"][0] > 0.4


def test_what_is_to_be_learned_is_what_is_read(scenes: list[Scene]) -> None:
    """A network that says exactly what training asks for finds all that it is asked for."""
    kind, parts = kinds.get("detection"), []
    for scene in scenes:
        ids = np.where(np.isin(scene.instance_ids, small(scene.instance_ids)), 0, scene.instance_ids)
        heat, _, sides, weights = train_detector.targets(ids)
        network = Detector()
        said = torch.logit(torch.from_numpy(heat)[None] * 0.98 + 0.001), torch.from_numpy(sides)[None]
        network.maps = lambda _, said=said: said  # type: ignore[method-assign]
        eyes = EmbeddedDetector(network, Device())
        known = objects.of_instances(ids)
        assert weights.sum() == pytest.approx(sum(name in CLASSES for name in known.names), abs=3)  # hidden by others
        parts.append(kind.count(eyes.run([scene.image])[0], None, Truth(objects=known), CLASSES)["labels"])
        eyes.close()
    found = kind.reduce(parts, len(CLASSES), np.ones((1, len(parts))))
    assert found["ap"][0] > 0.9 and found["ap50"][0] > 0.9


def test_what_scored_best_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Least squares to 1 of a convolution of one weight, and scores by which the second of three checks is the best."""
    monkeypatch.setattr(training, "_CHECK", 2)
    module = torch.nn.Conv2d(3, 1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    seen: list[torch.Tensor] = []

    def score() -> tuple[float, str]:
        seen.append(module.weight.detach().clone())
        return (1.0, 3.0, 2.0)[len(seen) - 1], ""

    def loss(_: int, images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return ((module(images / 255) - ids[:, None].float()) ** 2).mean()

    arguments = training.options(
        "", tmp_path / "net.safetensors", training.Plan(str(tmp_path), 0, 0, 6, 1, 0.1)
    ).parse_args([])
    white = np.full((16, 32, 3), 255, np.uint8), np.ones((16, 32), np.uint8)
    training.train(module, [white], loss, score, arguments)
    assert [float(one.sum()) for one in seen] == sorted(float(one.sum()) for one in seen) and seen[0].sum() > 0
    assert torch.equal(module.weight, seen[1].half().float())
    assert {path.name for path in tmp_path.iterdir()} == {
        "net.safetensors",
        "net-best.safetensors",
        "net-latest.safetensors",
    }


def small(ids: NDArray[np.integer]) -> list[int]:
    return [int(one) for one, count in zip(*np.unique(ids, return_counts=True), strict=True) if count < 40]


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (33, 31)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    with tasks.open_task(TaskSettings(name="detection"), "local", "none") as task:
        answer = task.predict([np.full((*size, 3), 128, np.uint8)])[0]
    kinds.get("detection").check(answer, size, len(task.classes))
    assert (answer[:, 2:4] <= np.array(size[::-1])).all()


@pytest.mark.parametrize(("task", "model"), [(task, model) for task, ours in EMBEDDED.items() for model in ours])
def test_an_exported_network_answers_as_the_embedded_one(
    task: str, model: str, scenes: list[Scene], tmp_path: Path
) -> None:
    file = tmp_path / "net.onnx"
    arguments = build_parser("tasks").parse_args(["tasks", "export", model, "--task", task, "-o", str(file)])
    assert arguments.run(arguments) == 0
    pictures = [scenes[0].image, scenes[1].image[:101, :203]]
    ours, theirs = TaskSettings(name=task, model=model), TaskSettings(name=task, model=str(file))
    with tasks.open_task(ours, "local", "none") as here, tasks.open_task(theirs, "local", "none") as there:
        assert here.classes == there.classes
        answers = here.predict(pictures)
        if task == "segmentation":
            truth = labels.train_ids(scenes[0].label_ids)
            assert (answers[0] == truth)[truth != labels.VOID].mean() > 0.8
        for one, other in zip(answers, there.predict(pictures), strict=True):
            assert one.shape == other.shape and len(one) > 0
            if task == "segmentation":
                assert (one == other).mean() >= 0.999
            else:
                assert np.allclose(one, other, atol=0.01)
    if task == "segmentation":  # by gradients, or block by block where what onnx2torch makes does not run
        cost = SegmentationSensitivity(theirs).contributions(pictures[1], pictures[1] // 2, 1)
        assert np.isfinite(cost).all() and cost.any()


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match=r"net\.pth: must end in \.onnx"):
        exporting.export("detection", "demo", tmp_path / "net.pth")
    with pytest.raises(RequestError, match="task 'detection': has no embedded network 'demo-b'; it has demo"):
        exporting.export("detection", "demo-b", tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(RequestError, match=r"writing ONNX files needs onnx: pip install"):
        exporting.export("detection", "demo", tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "why"),
    [({"checkpoint": "w.pth"}, "leave it out"), ({"input": {"scale": 1}}, "leave it out"), ({"classes": ["car"]}, "8")],
)
def test_what_the_embedded_detector_does_not_take(key: dict[str, object], why: str) -> None:
    with pytest.raises(RequestError, match=f"{next(iter(key))}.*{why}"):
        tasks.open_task(TaskSettings(name="detection", **key), "local", "none")  # type: ignore[arg-type]
