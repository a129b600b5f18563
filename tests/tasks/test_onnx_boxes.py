"""Detectors that are ONNX files: their outputs as boxes of the picture, whatever their form."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.helpers import onnx_files
from tests.helpers.onnx_files import FREE
from vcmbench import tasks
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import TaskSettings
from vcmbench.tasks.onnx.detections import suppressed
from vcmbench.tasks.onnx.inspecting import describe

F32 = NDArray[np.float32]
NAMES = ["car", "person", "bus"]
ROWS = np.array(
    [[10, 20, 30, 60, 0.9, 1], [0, 0, 8, 8, 0.6, 0], [11, 21, 30, 60, 0.5, 1], [5, 5, 9, 9, 0.01, 2]], np.float32
)


def detector(path: Path, outputs: dict[str, NDArray[Any]], shape: Any = FREE) -> Path:
    """A network that gives the same, whatever it sees."""
    types = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}
    nodes = [helper.make_node("Identity", [f"{name} values"], [name]) for name in outputs]
    about = [helper.make_tensor_value_info(name, types[one.dtype], one.shape) for name, one in outputs.items()]
    first = next(iter(outputs))
    weights = {f"{name} values": one for name, one in outputs.items()}
    nodes[0] = helper.make_node("Identity", [f"{first} values"], ["y"])
    return onnx_files.save(path, nodes, (shape, outputs[first].shape), weights=weights, more=([], about[1:]))


def found(path: Path, picture: tuple[int, int] = (100, 80), **keys: Any) -> F32:
    with opened(path, **keys) as task:
        (answer,) = task.predict([np.zeros((*picture, 3), np.uint8)])
    boxes: F32 = answer
    return boxes


def opened(path: Path, **keys: Any) -> tasks.Task:
    how = {"input": keys.pop("input", {"scale": 1}), "classes": keys.pop("classes", NAMES)}
    output = {"kind": "boxes", **{key: keys.pop(key) for key in ("name", "void") if key in keys}, "boxes": keys}
    return tasks.open_task(TaskSettings(name="detection", model=str(path), output=output, **how), "local", "none")


EXPECTED = [[10, 20, 30, 60, 1, 0.9], [0, 0, 8, 8, 0, 0.6], [11, 21, 30, 60, 1, 0.5]]


def of_classes(rows: F32) -> F32:
    scores = np.full((len(rows), 3), 0.001, np.float32)
    scores[np.arange(len(rows)), rows[:, 5].astype(int)] = rows[:, 4]
    return scores


def test_every_form_of_outputs_gives_the_same_boxes(tmp_path: Path) -> None:
    path, boxes, scores = tmp_path / "net.onnx", ROWS[:, :4], of_classes(ROWS)
    centres = np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]])
    whole = np.hstack([centres, scores])
    forms: list[tuple[dict[str, NDArray[Any]], dict[str, Any]]] = [
        ({"y": ROWS}, {}),
        ({"y": ROWS[None]}, {}),
        ({"y": ROWS[:, [0, 1, 2, 3, 5, 4]]}, {"columns": "class-score"}),
        ({"y": whole[None]}, {"corners": "cxcywh", "columns": "scores"}),
        ({"y": np.ascontiguousarray(whole.T)[None]}, {"corners": "cxcywh", "columns": "scores"}),
        ({"y": np.hstack([boxes, np.full((4, 1), 0.5, np.float32), scores * 2])[None]}, {"columns": "objectness"}),
        ({"y": boxes, "s": ROWS[:, 4], "l": ROWS[:, 5].astype(np.int64) + 1},
         {"name": "y", "scores": "s", "labels": "l", "void": 0}),
        ({"y": boxes[None], "s": scores[None]}, {"name": "y", "scores": "s"}),
        ({"y": (ROWS / [80, 100, 80, 100, 1, 1]).astype(np.float32)}, {"unit": "relative"}),
    ]  # fmt: skip
    for outputs, keys in forms:
        assert found(detector(path, outputs), **keys) == pytest.approx(np.array(EXPECTED), abs=2e-4), keys
    assert len(found(path, threshold=0.55)) == 2 if "unit" in keys else True


def test_boxes_of_resized_and_padded_inputs_are_the_picture_s(tmp_path: Path) -> None:
    """The input is 50 x 40 px of picture, with zeros up to 64 x 64."""
    path = detector(tmp_path / "net.onnx", {"y": ROWS})
    answer = found(path, input={"scale": 1, "size": 0.5, "multiple": 64})
    expected = np.array([[20, 40, 60, 100, 1, 0.9], [0, 0, 16, 16, 0, 0.6], [22, 42, 60, 100, 1, 0.5]])
    assert answer == pytest.approx(expected), "twice as far, and cut off at the edge"
    relative = detector(tmp_path / "net.onnx", {"y": (ROWS / [64, 64, 64, 64, 1, 1]).astype(np.float32)})
    answer = found(relative, unit="relative", input={"scale": 1, "size": 0.5, "multiple": 64})
    assert answer == pytest.approx(expected, abs=1e-4), "relative to the whole input"


def test_suppression_is_by_class_and_greedy(tmp_path: Path) -> None:
    path = detector(tmp_path / "net.onnx", {"y": ROWS})
    assert found(path, nms=0.5) == pytest.approx(np.array(EXPECTED[:2]))
    assert len(found(path, nms=0.99)) == 3
    turned = np.array([[60, 10, 40, 90, 0.9, 0], [10, 10, 20, 20, 0.8, 0], [30, 30, 38, 38, 0.7, 0]], np.float32)
    assert len(found(detector(tmp_path / "turned.onnx", {"y": turned}), nms=0.7)) == 2, "it is no box, and hides none"
    torch = pytest.importorskip("torchvision").ops
    rng = np.random.default_rng(0)
    at = rng.uniform(0, 50, (60, 2))
    boxes = np.column_stack([at, at + rng.uniform(5, 40, (60, 2)), rng.integers(0, 2, 60), -np.sort(-rng.random(60))])
    import torch as tensors

    theirs = torch.batched_nms(*(tensors.tensor(boxes[:, part]) for part in (slice(0, 4), 5, 4)), 0.4)
    assert suppressed(boxes, 0.4).tolist() == theirs.tolist()


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"classes": None}, r"name them \(task.classes\)"),
        ({"scores": "z"}, "task.output.boxes.scores = 'z': the network has y"),
        ({"labels": "y"}, "say which output has the scores, too"),
        ({"columns": "scores"}, r"the output 'y' is \(4, 6\); 7 columns are needed \(task.output.boxes.columns"),
    ],
)
def test_wrong_keys_are_named(keys: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=why):
        opened(detector(tmp_path / "net.onnx", {"y": ROWS}), **keys)


def test_masks_and_boxes_are_of_different_tasks(tmp_path: Path) -> None:
    path = detector(tmp_path / "net.onnx", {"y": ROWS})
    with pytest.raises(RequestError, match="is 'boxes'; for name = 'segmentation' it is 'logits' or 'labels'"):
        tasks.open_task(TaskSettings(model=str(path), classes=NAMES, output={"kind": "boxes"}), "local", "none")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"task\.output\.kind is not said"):
        tasks.open_task(TaskSettings(name="detection", model=str(path), classes=NAMES), "local", "none")
    with pytest.raises(RequestError, match="a detector is 'demo', an ONNX file or torchvision/NAME"):
        tasks.open_task(TaskSettings(name="detection", model="yolo"), "local", "none")


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (np.hstack([ROWS[:, :4], ROWS[:, 4:5] * 50, ROWS[:, 5:]]), "are 0.5..45, not in 0..1"),
        (np.where(ROWS == 1, np.float32(5), ROWS), "a box has the class 5; there are 3"),
        (np.where(ROWS == 1, np.float32(np.inf), ROWS)[:, [5, 1, 2, 3, 4, 0]], "not finite"),
        (ROWS[None, None], "no boxes of one picture"),
    ],
    ids=["scores", "class", "finite", "shape"],
)
def test_outputs_that_are_no_boxes_are_named(rows: F32, why: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match=why):
        found(detector(tmp_path / "net.onnx", {"y": np.ascontiguousarray(rows, np.float32)}))


def test_inspecting_a_detector_gives_a_table_to_paste(tmp_path: Path) -> None:
    apart = {"y": ROWS[None, :, 4], "l": ROWS[None, :, 5].astype(np.int64), "b": ROWS[None, :, :4]}
    text = describe(detector(tmp_path / "apart.onnx", apart))
    keys = tomllib.loads(text.replace("# scores", "scores").replace("# labels", "labels"))["task"]
    assert (keys["name"], keys["output"]["name"]) == ("detection", "b"), "labels of whole numbers are no mask"
    assert keys["output"]["boxes"] == {"corners": "xyxy", "scores": "y", "labels": "l"}
    path = detector(tmp_path / "net.onnx", {"y": ROWS[None], "s": ROWS[:, 4]})
    text = describe(path)
    table = tomllib.loads(text.replace("# classes = []", f"classes = {NAMES}"))["task"]
    assert table["output"] == {"kind": "boxes", "name": "y", "boxes": {"corners": "xyxy"}} and "# scores" in text
    one = tomllib.loads(describe(detector(tmp_path / "one.onnx", {"y": ROWS})))["task"]
    with tasks.open_task(TaskSettings(**one, classes=NAMES), "local", "none") as task:
        assert task.predict([np.zeros((100, 80, 3), np.uint8)])[0] == pytest.approx(np.array(EXPECTED))
