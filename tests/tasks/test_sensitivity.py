"""Integrated gradients of a segmentation network along a coding error."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import small_networks
from vcmbench import tasks
from vcmbench.errors import RequestError
from vcmbench.tasks import segmentation
from vcmbench.tasks.base import TaskSettings
from vcmbench.tasks.sensitivity import SegmentationSensitivity

Picture = NDArray[np.uint8]


@pytest.mark.parametrize("classes", [19, 2])
def test_contributions_sum_to_the_loss(classes: int, tmp_path: Path, astronaut: Picture) -> None:
    import torch

    settings = small_networks.segmentation(tmp_path, classes=classes)
    pristine = astronaut[:64, 100:196]
    decoded = (pristine // 24 * 24 + 12).astype(np.uint8)
    asked = SegmentationSensitivity(settings)
    found = asked.contributions(pristine, decoded, 32)
    assert found.shape == pristine.shape[:2]
    assert found.dtype == np.float32

    with tasks.open_task(settings, "local", "none") as task:
        labels, seen = task.predict([pristine, decoded])
        assert isinstance(task, segmentation.Segmentation)
        network = task.network
    assert asked.agreement(pristine, decoded) == np.mean(labels == seen)

    def loss(image: Picture) -> float:
        batch = torch.from_numpy(np.ascontiguousarray(image[None, ..., ::-1].transpose(0, 3, 1, 2)))
        with torch.inference_mode():
            odds = segmentation.logits(network, batch).double().softmax(1)[0].numpy()
        return float((1 - np.take_along_axis(odds, labels[None].astype(int), 0)).sum())

    assert found.sum(dtype=np.float64) == pytest.approx(loss(decoded) - loss(pristine), rel=0.03)
    again = pickle.loads(pickle.dumps(asked))  # noqa: S301
    assert again.identity() == asked.identity()
    assert np.array_equal(again.contributions(pristine, decoded, 32), found)


def test_a_task_without_such_gradients_is_refused() -> None:
    with pytest.raises(RequestError, match='source "task": asks segmentation networks of PyTorch'):
        SegmentationSensitivity(TaskSettings(name="classification", model="x"))
