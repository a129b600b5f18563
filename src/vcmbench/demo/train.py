"""Trains an embedded segmentation network on scenes of the demo's train split: `python -m vcmbench.demo.train`.

The networks are described in `tasks/networks/*.json`; their weights go to the `.safetensors` beside. See `training`.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from vcmbench.data import labels
from vcmbench.demo import training
from vcmbench.demo.training import Picture, Plan
from vcmbench.tasks import confusion, mmsegmentation, networks

PLANS = {
    "demo": Plan("vcmbench-demo/train", scenes=900, large=120, steps=1800, batch=8, rate=4e-3),
    "demo-b": Plan("vcmbench-demo/train-small", scenes=384, large=24, steps=1700, batch=4, rate=2e-3),
}
_MOST_WEIGHT = 6.0


def segmented(root: Path, split: str) -> list[Picture]:
    """Pictures with their train ids (H, W) uint8."""
    return [(rgb, labels.train_ids(ids)) for rgb, ids in training.load(root, split)]


def class_weights(pictures: list[Picture]) -> torch.Tensor:
    """(19,) float32: the inverse square root of how often a class occurs, of mean 1 over pixels, bounded."""
    counts = np.sum([np.bincount(truth.ravel(), minlength=256)[:19] for _, truth in pictures], axis=0, dtype=float)
    weights = 1 / np.sqrt(np.maximum(counts / counts.sum(), 1e-5))
    weights *= counts.sum() / (weights * counts).sum()
    return torch.from_numpy(np.minimum(weights, _MOST_WEIGHT).astype(np.float32))


class Network:
    """The network with its input scaled as its description says."""

    def __init__(self, description: Path) -> None:
        model = json.loads(description.read_text(encoding="utf-8"))["model"]
        self.mean = torch.tensor(model["data_preprocessor"]["mean"]).view(1, 3, 1, 1)
        self.std = torch.tensor(model["data_preprocessor"]["std"]).view(1, 3, 1, 1)
        self.module: torch.nn.Module = mmsegmentation.build(model).to(memory_format=torch.channels_last)
        self._network: Any = self.module  # with the parts that mmsegmentation gave it

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) uint8 RGB to (N, 19, h, w) float32, a fraction of its sides."""
        scaled = ((images.float() - self.mean) / self.std).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.module.training):
            out: torch.Tensor = self._network.decode_head(self._network.extract_feat(scaled))
        return out.float()

    def predict(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB to (H, W) uint8 train ids."""
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None]
        full = functional.interpolate(self.logits(image), rgb.shape[:2], mode="bilinear", align_corners=False)
        return full.argmax(1)[0].numpy().astype(np.uint8)


def loss_of(
    network: Network, weights: torch.Tensor, step: int, images: torch.Tensor, ids: torch.Tensor
) -> torch.Tensor:
    """Of pictures (N, 3, H, W) uint8 RGB with train ids (N, H, W)."""
    # Half the resolution is a quarter of the work. All four of its grids take turns, for the network's output is
    # stretched evenly over them.
    y, x = step % 2, step // 2 % 2
    truths = ids[:, y::2, x::2]
    logits = functional.interpolate(network.logits(images), truths.shape[1:], mode="bilinear", align_corners=False)
    return functional.cross_entropy(logits, truths, weights, ignore_index=labels.VOID)


def score(network: Network, pictures: list[Picture]) -> tuple[float, list[float | None]]:
    """mIoU over all pictures together, and the IoU of each class."""
    network.module.eval()
    counts = np.zeros((19, 20), np.int64)
    with torch.inference_mode():
        for rgb, truth in pictures:
            counts += confusion.confusion(network.predict(rgb), truth)
    mean = confusion.mean_iou(counts)
    return mean if mean is not None else float("nan"), confusion.class_ious(counts)


def main() -> None:
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--network", choices=PLANS, default="demo", help="which one (default: %(default)s)")
    name = which.parse_known_args()[0].network
    text = "Draw train scenes, and train an embedded network on them."
    parser = training.options(text, networks.weights("segmentation", name), PLANS[name], which)
    arguments = parser.parse_args()
    small, large = training.draw(arguments.data, arguments.scenes, arguments.large, arguments.jobs)
    torch.set_num_threads(arguments.jobs)
    torch.manual_seed(arguments.seed)
    network = Network(networks.description(name))
    held_out = segmented(small, "val")
    scenes = segmented(small, "train") + segmented(large, "train")

    def learned() -> tuple[float, str]:
        mean = score(network, held_out)[0]
        return mean, f"mIoU {mean:.3f}"

    training.train(network.module, scenes, partial(loss_of, network, class_weights(scenes)), learned, arguments)
    for size, pictures in (("512x256", held_out), ("1024x512", segmented(large, "val"))):
        mean, classes = score(network, pictures)
        print(f"{size}: mIoU {mean:.4f} on {len(pictures)} held-out scenes")
        print("  " + ", ".join(f"{n} {v:.2f}" for n, v in zip(labels.CLASSES, classes, strict=True) if v is not None))


if __name__ == "__main__":
    main()
