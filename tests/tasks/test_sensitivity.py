"""Integrated gradients of a segmentation network along a coding error."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from tests.helpers import onnx_files, small_networks
from tests.helpers.onnx_files import WEIGHTS
from vcmbench import tasks
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import segmentation
from vcmbench.tasks.base import TaskSettings
from vcmbench.tasks.flips import ExpectedFlips
from vcmbench.tasks.sensitivity import SegmentationSensitivity

Picture = NDArray[np.uint8]


@pytest.mark.parametrize("classes", [19, 2])
def test_contributions_sum_to_the_loss(classes: int, tmp_path: Path, astronaut: Picture) -> None:
    import torch

    settings = small_networks.segmentation(tmp_path, classes=classes)
    pristine = astronaut[:64, 100:196]
    decoded = (pristine // 4 * 4 + 2).astype(np.uint8)
    asked = SegmentationSensitivity(settings)
    found = asked.contributions(pristine, decoded, 128)
    assert found.shape == pristine.shape[:2]
    assert found.dtype == np.float32

    with tasks.open_task(settings, "local", "none") as task:
        labels, seen = task.predict([pristine, decoded])
        assert isinstance(task, segmentation.Segmentation)
        network: Any = task.network
    assert asked.agreement(pristine, decoded) == np.mean(labels == seen)

    def loss(image: Picture) -> float:
        batch = torch.from_numpy(np.ascontiguousarray(image[None, ..., ::-1].transpose(0, 3, 1, 2)))
        with torch.inference_mode():
            odds = segmentation.logits(network, batch).double().softmax(1)[0].numpy()
        return float((1 - np.take_along_axis(odds, labels[None].astype(int), 0)).sum())

    assert found.sum(dtype=np.float64) == pytest.approx(loss(decoded) - loss(pristine), rel=0.01)
    again = pickle.loads(pickle.dumps(asked))  # noqa: S301
    assert again.identity() == asked.identity()
    assert np.array_equal(again.contributions(pristine, decoded, 128), found)


def onnx_settings(path: Path) -> TaskSettings:
    return TaskSettings(model=str(path), input={"scale": "1/64"})


@pytest.mark.parametrize(("name", "of"), [("by pixel", 1), ("channels last", 1), ("at an eighth", 8)])
def test_an_onnx_file_has_gradients_too(name: str, of: int, tmp_path: Path, astronaut: Picture) -> None:
    """Against its logits by hand. The right half is the same in both pictures: nothing comes from there."""
    path = tmp_path / "n.onnx"
    make = {"by pixel": onnx_files.by_pixel, "at an eighth": onnx_files.at_an_eighth,
            "channels last": lambda path: onnx_files.channels_last(path, 48, 64)}  # fmt: skip
    make[name](path)
    pristine = astronaut[:48, 100:164].copy()
    decoded = pristine.copy()
    decoded[:, :32] = pristine[:, :32] // 24 * 24 + 12

    def odds(image: Picture) -> NDArray[np.float64]:
        means = image.astype(np.float64).reshape(48 // of, of, 64 // of, of, 3).mean((1, 3)) / 64
        powers = np.exp(means @ WEIGHTS.T.astype(np.float64))
        return np.asarray(powers / powers.sum(2, keepdims=True))

    labels = odds(pristine).argmax(2)[..., None]
    losses = [(1 - np.take_along_axis(odds(image), labels, 2)).sum() * of**2 for image in (pristine, decoded)]
    asked = SegmentationSensitivity(onnx_settings(path))
    found = asked.contributions(pristine, decoded, 64)
    assert found.shape == (48, 64)
    assert found.sum(dtype=np.float64) == pytest.approx(losses[1] - losses[0], rel=1e-3)
    assert not found[:, 32:].any()
    with tasks.open_task(onnx_settings(path), "local", "none") as task:
        one, other = task.predict([pristine, decoded])
    assert asked.agreement(pristine, decoded) == np.mean(one == other)


def test_names_in_an_onnx_file_are_no_code(tmp_path: Path, astronaut: Picture) -> None:
    """PyTorch runs the code that it writes of a converted graph, names and all."""
    trace = tmp_path / "ran"
    wicked = f"a\" if open('{trace}', 'w') and 0 else \"b"
    node = onnx.helper.make_node("Conv", ["x", wicked], ["y"], name=wicked)
    path = onnx_files.save(tmp_path / "n.onnx", [node], weights={wicked: WEIGHTS[:, :, None, None]})
    found = SegmentationSensitivity(onnx_settings(path)).contributions(astronaut[:16, :16], astronaut[8:24, :16], 2)
    assert found.any() and not trace.exists()


def test_one_of_two_outputs_is_asked(tmp_path: Path, astronaut: Picture) -> None:
    two = onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["n", 4, "h", "w"])
    nodes = [onnx.helper.make_node("Conv", ["x", "w"], ["y"]), onnx.helper.make_node("Neg", ["y"], ["z"])]
    weights = {"w": WEIGHTS[:, :, None, None]}
    path = onnx_files.save(tmp_path / "n.onnx", nodes, weights=weights, more=([], [two]))
    pictures = astronaut[:16, :16], astronaut[8:24, :16]
    first, second = (
        SegmentationSensitivity(TaskSettings(model=str(path), input={"scale": "1/64"}, output={"name": name}))
        .contributions(*pictures, 4) for name in "yz"
    )  # fmt: skip
    assert first.any() and second.any() and not np.allclose(first, second)


def test_another_process_refuses_another_network(tmp_path: Path) -> None:
    path = onnx_files.by_pixel(tmp_path / "n.onnx")
    sent = pickle.dumps(SegmentationSensitivity(onnx_settings(path)))
    onnx_files.by_pixel(path, 2 * WEIGHTS)
    with pytest.raises(JobError, match="the network is another than when this run began"):
        pickle.loads(sent).identity()  # noqa: S301


def test_an_onnx_file_that_gives_labels_is_asked_block_by_block(tmp_path: Path, astronaut: Picture) -> None:
    """Its pixels are answered one by one, so that a block put right mends what was lost in it and nothing else."""
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    settings = onnx_settings(onnx_files.labels(tmp_path / "n.onnx"))
    settings = settings.model_copy(update={"classes": str(tmp_path / "names.txt")})
    asked = SegmentationSensitivity(settings)
    assert "differences" in asked.identity() and not any(str(tmp_path) in str(one) for one in asked.identity().values())
    assert asked.without_gradients.endswith("has no gradients: its output are labels; export it with its logits")
    decoded = astronaut.copy()
    decoded[:, : astronaut.shape[1] // 2] = 255 - decoded[:, : astronaut.shape[1] // 2]
    found = asked.contributions(astronaut, decoded, 4)
    lost = 1 - asked.agreement(astronaut, decoded)
    assert lost > 0.01 and found.sum() == pytest.approx(lost * found.size, rel=1e-4)
    assert not found[:, -astronaut.shape[1] // 4 :].any()
    assert 1 < len(np.unique(found)) <= 64
    with pytest.raises(RequestError, match=r"metrics\.network, for Flips: .* has no gradients"):
        ExpectedFlips(settings).identity()


def test_a_task_without_such_gradients_is_refused() -> None:
    with pytest.raises(RequestError, match='source "task": asks segmentation networks'):
        SegmentationSensitivity(TaskSettings(name="classification", model="x"))
