"""Masks of objects of ONNX files that the test makes: YOLO's boxes with prototypes, and boxes with a mask each."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch.nn import functional
from torchvision.models.detection.roi_heads import paste_masks_in_image

from tests.tasks.test_onnx_boxes import detector
from vcmbench import tasks
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import TaskSettings
from vcmbench.tasks.onnx.inspecting import describe
from vcmbench.tasks.segments import unpacked

F32 = NDArray[np.float32]
NAMES, SIZE = ["car", "person"], (64, 96)
RNG = np.random.default_rng(0)
BOXES = np.array([[10, 20, 40, 60], [5.5, 3.2, 90.3, 30.9], [60, 10, 96, 64], [11, 21, 40, 60]], np.float32)
SCORES = np.array([[0.9, 0.01], [0.02, 0.8], [0.3, 0.04], [0.7, 0.01]], np.float32)
COEFFICIENTS = RNG.normal(size=(4, 8)).astype(np.float32)
PROTOTYPES = RNG.normal(size=(1, 8, 16, 24)).astype(np.float32)
"""Of a quarter of the input's size."""
KEPT = [0, 1, 2]
"""The last box is suppressed by the first."""


def yolo(path: Path, rows: F32 | None = None, prototypes: F32 = PROTOTYPES) -> Path:
    centres = np.hstack([(BOXES[:, :2] + BOXES[:, 2:]) / 2, BOXES[:, 2:] - BOXES[:, :2]])
    whole = np.hstack([centres, SCORES, COEFFICIENTS]) if rows is None else rows
    whole = np.pad(whole, ((0, 16), (0, 0)))  # of no score
    return detector(path, {"y": np.ascontiguousarray(whole.T)[None].astype(np.float32), "output1": prototypes})


def opened(path: Path, kind: str = "yolo-seg", **keys: Any) -> tasks.Task:
    how = {"input": keys.pop("input", {"scale": 1}), "classes": keys.pop("classes", NAMES)}
    output = {"kind": kind, **({"name": keys.pop("name")} if "name" in keys else {}), "boxes": keys}
    return tasks.open_task(TaskSettings(name="instances", model=str(path), output=output, **how), "local", "none")


def found(
    path: Path, picture: tuple[int, int] = SIZE, **keys: Any
) -> tuple[list[tuple[int, float]], NDArray[np.bool_]]:
    with opened(path, **keys) as task:
        (answer,) = task.predict([np.zeros((*picture, 3), np.uint8)])
    objects = unpacked(answer)
    drawn = [coco_mask.decode(one).astype(bool) for *_, one in objects]
    return [(which, round(score, 5)) for which, score, _ in objects], np.array(drawn)


def natively(height: int, width: int, padded: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    """As Ultralytics' process_mask_native: the sum of prototypes, brought up, cut off at the box, above 0."""
    sums = torch.einsum("nk,kyx->nyx", torch.tensor(COEFFICIENTS[KEPT]), torch.tensor(PROTOTYPES[0]))
    large = functional.interpolate(sums[None], (height * padded[0] // SIZE[0], width * padded[1] // SIZE[1]),
                                   mode="bilinear")[0, :, :height, :width]  # fmt: skip
    x, y = torch.arange(width), torch.arange(height)[:, None]
    x0, y0, x1, y1 = torch.tensor(BOXES[KEPT] * ([width / SIZE[1], height / SIZE[0]] * 2)).float().T[..., None, None]
    inside: NDArray[np.bool_] = ((x >= x0) & (x < x1) & (y >= y0) & (y < y1) & (large > 0)).numpy()
    return inside


def test_masks_of_prototypes_are_those_of_its_own_code(tmp_path: Path) -> None:
    path = yolo(tmp_path / "net.onnx")
    for height, width in (SIZE, (128, 192)):
        objects, drawn = found(path, (height, width), input={"scale": 1, "size": list(SIZE)})
        assert objects == [(0, 0.9), (1, 0.8), (0, 0.3)]
        expected = natively(height, width)
        assert drawn.shape == expected.shape and np.mean(drawn == expected) > 0.9999 and expected.any(axis=(1, 2)).all()
    with opened(path) as task:
        keys = task.identity()["output"]["boxes"]
        assert (keys["corners"], keys["nms"]) == ("cxcywh", 0.7), "what was filled in is recorded, too"
    assert len(found(path, threshold=0.5)[0]) == 2 and len(found(path, nms=0.99)[0]) == 4
    _, drawn = found(path, (48, 80), input={"scale": 1, "multiple": 32})
    expected = natively(64, 96)[:, :48, :80]
    assert np.mean(drawn == expected[[0, 1, 2]]) > 0.9999, "what is padded is cut off"


def test_masks_of_boxes_are_pasted_as_torchvision_does(tmp_path: Path) -> None:
    """The four outputs of an exported Mask R-CNN; its class 0 is the background."""
    probabilities = RNG.random((4, 1, 28, 28)).astype(np.float32)
    labels = np.array([1, 2, 1, 1], np.int64)
    outputs = {"y": BOXES, "labels": labels, "scores": SCORES.max(axis=1), "masks": probabilities}
    path = detector(tmp_path / "net.onnx", outputs)
    with tasks.open_task(
        TaskSettings.model_validate({
            "name": "instances", "model": str(path), "classes": NAMES, "input": {"scale": 1},
            "output": {"kind": "boxes", "name": "y", "void": 0, "boxes": {"scores": "scores", "labels": "labels"}},
        }), "local", "none",
    ) as task:  # fmt: skip
        (answer,) = task.predict([np.zeros((*SIZE, 3), np.uint8)])
    objects = unpacked(answer)
    order = [0, 1, 3, 2]
    assert [which for which, *_ in objects] == (labels[order] - 1).tolist()
    expected = paste_masks_in_image(torch.tensor(probabilities[order]), torch.tensor(BOXES[order]), SIZE)[:, 0] >= 0.5
    drawn = np.array([coco_mask.decode(one).astype(bool) for *_, one in objects])
    assert np.mean(drawn == expected.numpy()) > 0.9999 and drawn.any(axis=(1, 2)).all()


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"classes": None}, r"name them \(task.classes\)"),
        ({"masks": "z"}, "task.output.boxes.masks = 'z': the network has y, output1"),
        ({"name": "z"}, "task.output.name = 'z': the network has y, output1"),
        ({"masks": "y"}, r"prototypes are \(1, coefficients, h, w\)"),
        ({"classes": [*NAMES, "bus"]}, "3 names were given, but the network has 2 outputs"),
        ({"kind": "labels"}, "is 'labels'; for name = 'instances' it is 'yolo-seg' or 'boxes'"),
        ({"kind": "boxes"}, "task.output.name is not said: the network has y, output1"),
    ],
)
def test_wrong_keys_are_named(keys: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=why):
        opened(yolo(tmp_path / "net.onnx"), **keys)


def test_outputs_that_are_none_are_named(tmp_path: Path) -> None:
    rows = np.hstack([BOXES, SCORES * 9, COEFFICIENTS])
    for path, why in (
        (yolo(tmp_path / "scores.onnx", rows), "not in 0..1"),
        (
            yolo(tmp_path / "finite.onnx", prototypes=PROTOTYPES * np.float32(np.inf)),
            "'output1' holds numbers that are",
        ),
    ):
        with pytest.raises(JobError, match=why):
            found(path)


def test_inspecting_gives_a_table_to_paste(tmp_path: Path) -> None:
    text = describe(yolo(tmp_path / "net.onnx"))
    table = tomllib.loads(text.replace("# classes = []", f"classes = {NAMES}"))["task"]
    assert table["name"] == "instances" and table["output"] == {"kind": "yolo-seg"}
    table["input"]["scale"] = 1
    with tasks.open_task(TaskSettings(**table), "local", "none") as task:
        assert len(unpacked(task.predict([np.zeros((*SIZE, 3), np.uint8)])[0])) == 3
