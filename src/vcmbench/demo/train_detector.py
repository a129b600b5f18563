"""Trains the embedded detector on scenes of the demo's train split: `python -m vcmbench.demo.train_detector`.

It begins with what the embedded segmentation network has learned to see, and is shown the same crops, never compressed
ones (see `training`). Centres are learned as ellipses about them, sides by their boxes' IoU, as TTFNet does
(Z. Liu et al., 2020).
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from vcmbench.data import objects
from vcmbench.demo import training
from vcmbench.demo.training import Picture, Plan, load
from vcmbench.tasks import kind, networks
from vcmbench.tasks.base import Device
from vcmbench.tasks.embedded_detector import INPUT, EmbeddedDetector
from vcmbench.tasks.kind import Truth
from vcmbench.tasks.networks.detector import CLASSES, STRIDE, Detector

PLAN = Plan("vcmbench-demo/train-small", scenes=384, large=24, steps=1000, batch=8, rate=3e-3)
_SMALLEST_PX = 14
"""Pixels of an object below which it is neither to be found nor not."""
_SPREAD = 0.54 / 6
"""Of an ellipse, its standard deviation by the side of its box."""
_OF_SIDES = 2.0
_OURS = (
    (r"backbone\.encoder\.(\d)\.[01]\.convs\.(\d)\.conv\.", r"down.\1.\2.0."),
    (r"backbone\.encoder\.(\d)\.[01]\.convs\.(\d)\.bn\.", r"down.\1.\2.1."),
    (r"backbone\.decoder\.(\d)\.upsample\.interp_upsample\.1\.conv\.", r"narrow.\1.0."),
    (r"backbone\.decoder\.(\d)\.upsample\.interp_upsample\.1\.bn\.", r"narrow.\1.1."),
    (r"backbone\.decoder\.(\d)\.conv_block\.convs\.0\.conv\.", r"merge.\1.0."),
    (r"backbone\.decoder\.(\d)\.conv_block\.convs\.0\.bn\.", r"merge.\1.1."),
)


def begun(segmentation: Path) -> Detector:
    """A detector that sees as the embedded segmentation network does; its heads are new."""
    network = Detector()
    state, own = network.state_dict(), {}
    for name, value in load_file(segmentation).items():
        for theirs, ours in _OURS:
            name = re.sub(theirs, ours, name)
        # decoders are counted from the finest there, from the coarsest here
        name = re.sub(r"(narrow|merge)\.(\d)", lambda found: f"{found[1]}.{3 - int(found[2])}", name)
        if name in state:
            own[name] = value.to(state[name].dtype)
    missing = network.load_state_dict(own, strict=False).missing_keys
    if strange := [name for name in missing if not name.startswith(("centres.", "sides."))]:
        raise ValueError(f"{segmentation} lacks {strange}")
    network.down[0].requires_grad_(False)  # edges are edges, and this is a third of the work
    return network


def targets(ids: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
    """Of instance ids (H, W): heat (classes, h, w), which is 1 at centres; `counts` (1, h, w), 0 where what is found is
    not wrong; sides (4, h, w) in px as `Detector.maps` gives them, with their weights (1, h, w), of sum 1 an object."""
    found = objects.of_instances(ids)
    size = tuple(side // STRIDE for side in ids.shape)
    heat, sides = np.zeros((len(CLASSES), *size), np.float32), np.ones((4, *size), np.float32)
    counts, weights = np.ones((1, *size), np.float32), np.zeros((1, *size), np.float32)
    y, x = ((np.arange(side) + 0.5) * STRIDE for side in size)
    for i in np.argsort(-found.areas, kind="stable"):  # small objects lie over large ones
        if found.names[i] not in CLASSES:
            continue
        x0, y0, x1, y1 = found.boxes[i]
        if found.areas[i] < _SMALLEST_PX:
            counts[0, int(y0) // STRIDE : int(y1) // STRIDE + 1, int(x0) // STRIDE : int(x1) // STRIDE + 1] = 0
            continue
        column, row = (min(int(sum(ends) / 2 / STRIDE), most - 1) for ends, most in
                       (((x0, x1), size[1]), ((y0, y1), size[0])))  # fmt: skip
        down, along = (np.exp(-(((at - at[centre]) / (2 * max(_SPREAD * side, STRIDE / 4))) ** 2) * 2)
                       for at, centre, side in ((y, row, y1 - y0), (x, column, x1 - x0)))  # fmt: skip
        spot = np.outer(down, along).astype(np.float32)
        spot[spot < 0.01] = 0
        of_class = heat[CLASSES.index(found.names[i])]
        np.maximum(of_class, spot, out=of_class)
        inside = (spot > 0.1) & np.outer((y > y0) & (y < y1), (x > x0) & (x < x1))
        inside[row, column] = True
        weights[0][inside] = (spot * inside / (spot * inside).sum())[inside]
        edges = [np.broadcast_to(one, size) for one in (x - x0, (y - y0)[:, None], x1 - x, (y1 - y)[:, None])]
        sides[:, inside] = np.stack(edges)[:, inside]
    return heat, counts, sides, weights


def loss_of(network: Detector, images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Of pictures (N, 3, H, W) uint8 RGB with instance ids (N, H, W)."""
    heat, counts, sides, weights = (torch.from_numpy(np.stack(one)) for one in
                                    zip(*(targets(one) for one in ids.numpy()), strict=True))  # fmt: skip
    mean, std = (torch.tensor(one or []).view(1, 3, 1, 1) for one in (INPUT.mean, INPUT.std))
    pictures = ((images.float() - mean) / std).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits, found = network.maps(pictures)
    scores = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    is_centre = (heat == 1).float()
    right = is_centre * (1 - scores) ** 2 * scores.log()
    wrong = (1 - is_centre) * counts * (1 - heat) ** 4 * scores**2 * (1 - scores).log()
    of_centres = -(right + wrong).sum() / is_centre.sum().clamp(min=1)
    of_sides = (weights[:, 0] * (1 - _giou(found, sides))).sum() / weights.sum().clamp(min=1)
    return of_centres + _OF_SIDES * of_sides


def _giou(found: torch.Tensor, sides: torch.Tensor) -> torch.Tensor:
    """(N, h, w) of sides (N, 4, h, w) from the same places (H. Rezatofighi et al., 2019)."""

    def area(of: torch.Tensor) -> torch.Tensor:
        return (of[:, 0] + of[:, 2]) * (of[:, 1] + of[:, 3])

    both, hull = area(torch.minimum(found, sides).clamp(min=0)), area(torch.maximum(found, sides))
    union = area(found) + area(sides) - both
    return both / union - (hull - union) / hull


def score(network: Detector, pictures: list[Picture]) -> tuple[dict[str, float], dict[str, float]]:
    """Every measure of detection over all pictures together, and the AP of each class."""
    detection = kind.get("detection")
    eyes = EmbeddedDetector(copy.deepcopy(network), Device())
    parts = []
    for rgb, ids in pictures:
        truth = Truth(objects=objects.of_instances(ids))
        parts.append(detection.count(eyes.run([rgb])[0], None, truth, CLASSES)["labels"])
    eyes.close()
    weights = np.ones((1, len(parts)))
    of_all = detection.reduce(parts, len(CLASSES), weights)
    of_classes = detection.by_class(parts, len(CLASSES), weights)
    return ({name: round(float(value[0]), 3) for name, value in of_all.items()},
            {CLASSES[which]: round(float(value[0]), 3) for which, value in of_classes.items()})  # fmt: skip


def main() -> None:
    text = "Draw train scenes, and train the embedded detector on them."
    parser = training.options(text, networks.weights("detection", "demo"), PLAN)
    arguments = parser.parse_args()
    small, large = training.draw(arguments.data, arguments.scenes, arguments.large, arguments.jobs)
    torch.set_num_threads(arguments.jobs)
    torch.manual_seed(arguments.seed)
    network = begun(networks.weights("segmentation", "demo")).to(memory_format=torch.channels_last)
    held_out = load(small, "val", "instanceIds")
    scenes = load(small, "train", "instanceIds") + load(large, "train", "instanceIds")

    def loss(step: int, images: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        network.down[0].eval()
        return loss_of(network, images, ids)

    def learned() -> tuple[float, str]:
        measures = score(network, held_out)[0]
        return measures["ap"], str(measures)

    training.train(network, scenes, loss, learned, arguments)
    for name, pictures in (("512x256", held_out), ("1024x512", load(large, "val", "instanceIds"))):
        measures, classes = score(network, pictures)
        print(f"{name}: {measures} on {len(pictures)} held-out scenes\n  AP {classes}")


if __name__ == "__main__":
    main()
