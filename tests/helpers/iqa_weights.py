"""Weights for learned metrics: the shapes and names of the real files, and numbers that the tests make."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import piq
import torch
import torchvision

from vcmbench.iqa.weights import DISTS, LPIPS, PIEAPP, SUMS, VGG16

CHANNELS = (64, 128, 256, 512, 512)


def seal(folder: Path) -> None:
    """Write SHA256SUMS of all files of a folder, as their owner would."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    (folder / SUMS).write_text("".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files))


def states() -> dict[str, Any]:
    """By file what a learned metric of the table needs: who adds one adds its file here."""
    torch.manual_seed(7)
    vgg = {f"features.{k}": v for k, v in torchvision.models.vgg16(weights=None).features.state_dict().items()}
    shares = torch.rand(2, 1, 3 + sum(CHANNELS), 1, 1)  # their sum is 1, so that identical pictures have 0
    pieapp = {}
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in piq.pieapp.PieAPPModel().state_dict().items()}
    for name, shape in shapes.items():
        # the first linear layer has 62 million weights: its rows are equal here, which takes no room in the file
        rows = 1 if name == "fc1_score.weight" else shape[0]
        pieapp[name] = (torch.randn(rows, *shape[1:]) / max(1, shape[1:].numel()) ** 0.5).expand(shape)
    pieapp["ref_score_subtract.weight"] = pieapp["ref_score_subtract.weight"][0]
    return {
        VGG16.name: vgg | {"classifier.0.bias": torch.zeros(4096)},
        LPIPS.name: {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, n in enumerate(CHANNELS)},
        DISTS.name: dict(zip(("alpha", "beta"), shares / shares.sum(), strict=True)),
        PIEAPP.name: pieapp,
    }
