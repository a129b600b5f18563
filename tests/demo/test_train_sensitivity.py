"""What the predictor of sensitivity learns from, and begins with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.compress.test_refined import LeftHalf
from vcmbench.compress.allocation.refined import Refinement
from vcmbench.demo import cityscapes, sensitivity_targets, train_sensitivity
from vcmbench.demo.train import Network
from vcmbench.importance import predictor
from vcmbench.tasks import networks

DEMO = networks.weights("segmentation", "demo")


def test_targets_are_made_once_and_mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cityscapes.write(tmp_path, width=128, height=64, val_per_city=0, train_scenes=1, sequences=0, jobs=1)
    monkeypatch.setattr(sensitivity_targets, "QUALITIES_A_SCENE", 1)
    monkeypatch.setattr(sensitivity_targets, "SegmentationSensitivity", lambda settings: LeftHalf())
    made = sensitivity_targets.make(tmp_path, tmp_path / "targets", 1)
    (one,) = made
    assert one.steps.shape == (3, 4, 8) and np.abs(one.steps).max() <= 12
    assert one.steps[:, :, :3].mean() < one.steps[:, :, 5:].mean() - 6
    monkeypatch.setattr(Refinement, "uniform", None)
    again = sensitivity_targets.make(tmp_path, tmp_path / "targets", 1)
    assert np.array_equal(again[0].steps, one.steps)

    pictures, _, steps = train_sensitivity.batch_of([one, one], [False, True])
    assert torch.equal(pictures[0].flip(2), pictures[1])
    assert np.allclose(steps[1], 1.5 * one.steps.mean(0)[:, ::-1])


def test_it_begins_with_what_the_embedded_network_sees() -> None:
    theirs = Network(networks.description("demo")).module
    theirs.load_state_dict({name: value.to(theirs.state_dict()[name].dtype) for name, value in load_file(DEMO).items()})
    ours, pictures = train_sensitivity.begun(DEMO), torch.randn(1, 3, 64, 96)
    theirs.eval()
    with torch.inference_mode():
        wanted = seen = pictures
        for stage in list(theirs.backbone.encoder)[:4]:  # type: ignore[union-attr, arg-type]
            wanted = stage(wanted)
        for layer, module in zip(predictor.SEEING, ours.seeing, strict=True):
            seen = train_sensitivity._applied(layer, module, seen)
    assert torch.allclose(seen, wanted, atol=1e-3) and seen.std() > 0.01
