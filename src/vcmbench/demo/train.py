"""Trains the embedded segmentation network on scenes of the demo's train split: `python -m vcmbench.demo.train`.

The network is described in `tasks/networks/demo.json`; its weights go to `demo.safetensors` beside it. Scenes of two
sizes are drawn, crops of 512x256 are flipped and scaled, and nothing is compressed or blurred: what compression does to
this network is what is to be measured, so it must not have been trained for it. Weights of convolutions are stored in
half precision, statistics of normalisations in full.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from vcmbench.data import labels
from vcmbench.demo import cityscapes
from vcmbench.tasks import confusion, mmsegmentation

NETWORKS = Path(mmsegmentation.__file__).with_name("networks")
CROP_PX = (512, 256)
SCALES = (0.7, 1.6)
_FLIP = 0.5
_EMA = 0.998
_MOST_WEIGHT = 6.0

Picture = tuple[NDArray[np.uint8], NDArray[Any]]
"""(H, W, 3) uint8 RGB, and (H, W) ids of its pixels."""


def draw(folder: Path, scenes: int, large: int, jobs: int) -> tuple[Path, Path]:
    """The train scenes at 512x256 (and a few val scenes), and other ones at 1024x512, below `folder`."""
    for name, width, seed, val, train in (("512", 512, 0, 8, scenes), ("1024", 1024, 1, 2, large)):
        print(f"drawing {train} train and {3 * val} val scenes of {width}x{width // 2}", file=sys.stderr)
        cityscapes.write(folder / name, width=width, height=width // 2, val_per_city=val, train_scenes=train,
                         sequences=0, seed=seed, jobs=jobs)  # fmt: skip
    return folder / "512", folder / "1024"


def load(root: Path, split: str, ids: str = "labelIds") -> list[Picture]:
    """Pictures (H, W, 3) uint8 RGB with their `*_gtFine_{ids}.png` (H, W)."""
    folder = root / "cityscapes"
    found = []
    for name in (folder / f"{split}.txt").read_text(encoding="utf-8").split():
        with Image.open(folder / "leftImg8bit" / split / f"{name}_leftImg8bit.png") as image:
            rgb = np.asarray(image.convert("RGB"))
        with Image.open(folder / "gtFine" / split / f"{name}_gtFine_{ids}.png") as image:
            found.append((rgb, np.asarray(image)))
    return found


def segmented(root: Path, split: str) -> list[Picture]:
    """Pictures with their train ids (H, W) uint8."""
    return [(rgb, labels.train_ids(ids)) for rgb, ids in load(root, split)]


def class_weights(pictures: list[Picture]) -> torch.Tensor:
    """(19,) float32: the inverse square root of how often a class occurs, of mean 1 over pixels, bounded."""
    counts = np.sum([np.bincount(truth.ravel(), minlength=256)[:19] for _, truth in pictures], axis=0, dtype=float)
    weights = 1 / np.sqrt(np.maximum(counts / counts.sum(), 1e-5))
    weights *= counts.sum() / (weights * counts).sum()
    return torch.from_numpy(np.minimum(weights, _MOST_WEIGHT).astype(np.float32))


def crop(picture: Picture, rng: np.random.Generator) -> Picture:
    """A random part of a picture at a random scale, flipped or not, of CROP_PX; what lies outside is void."""
    rgb, truth = picture
    width, height = CROP_PX
    scale = rng.uniform(*SCALES) * (1.0 if rgb.shape[1] <= width else 0.75)
    side = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    image = np.asarray(Image.fromarray(rgb).resize(side, Image.Resampling.BICUBIC))
    ids = np.asarray(Image.fromarray(truth).resize(side, Image.Resampling.NEAREST))
    x, y = (int(rng.integers(0, max(0, have - want) + 1)) for have, want in zip(side, CROP_PX, strict=True))
    image, ids = image[y : y + height, x : x + width], ids[y : y + height, x : x + width]
    missing = ((0, height - ids.shape[0]), (0, width - ids.shape[1]))
    image = np.pad(image, (*missing, (0, 0)), mode="reflect")
    ids = np.pad(ids, missing, constant_values=labels.VOID)
    if rng.random() < _FLIP:
        image, ids = image[:, ::-1], ids[:, ::-1]
    return image, ids


def batches(pictures: list[Picture], count: int, size: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """`count` batches of crops: (N, 3, H, W) uint8 RGB and (N, H, W) int64; every picture once in each round."""
    rng = np.random.default_rng(seed)
    order: list[int] = []
    for _ in range(count):
        while len(order) < size:
            order += rng.permutation(len(pictures)).tolist()
        crops = [crop(pictures[i], rng) for i in order[:size]]
        del order[:size]
        images = np.stack([image for image, _ in crops]).transpose(0, 3, 1, 2)
        truths = np.stack([ids for _, ids in crops]).astype(np.int64)
        yield torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(truths)


class Network:
    """The network with its input scaled as its description says."""

    def __init__(self, description: Path) -> None:
        model = json.loads(description.read_text(encoding="utf-8"))["model"]
        self.mean = torch.tensor(model["data_preprocessor"]["mean"]).view(1, 3, 1, 1)
        self.std = torch.tensor(model["data_preprocessor"]["std"]).view(1, 3, 1, 1)
        self.module: torch.nn.Module = mmsegmentation.build(model).to(memory_format=torch.channels_last)
        self._network: Any = self.module  # with the parts that mmsegmentation gave it

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) uint8 RGB to (N, 19, H / 2, W / 2) float32."""
        scaled = ((images.float() - self.mean) / self.std).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.module.training):
            out: torch.Tensor = self._network.decode_head(self._network.extract_feat(scaled))
        return out.float()

    def predict(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB to (H, W) uint8 train ids."""
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None]
        full = functional.interpolate(self.logits(image), rgb.shape[:2], mode="bilinear", align_corners=False)
        return full.argmax(1)[0].numpy().astype(np.uint8)


class Average:
    """The moving average of a module's weights."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self.weights = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def update(self, step: int) -> None:
        decay = min(_EMA, step / (step + 10))
        for name, value in self._module.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - decay)
            else:
                self.weights[name].copy_(value)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The module has them inside, and is in training mode behind."""
        before = {name: value.clone() for name, value in self._module.state_dict().items()}
        self._module.load_state_dict(self.weights)
        yield
        self._module.load_state_dict(before)
        self._module.train()


def train(
    network: Network, pictures: list[Picture], steps: int, batch: int, seed: int, held_out: list[Picture]
) -> None:
    """Train in place, and leave the averaged weights in the network."""
    module = network.module
    weights = class_weights(pictures)
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.15)
    average = Average(module)
    started, losses = time.monotonic(), []
    module.train()
    for step, (images, truths) in enumerate(batches(pictures, steps, batch, seed), 1):
        # Half the resolution is a quarter of the work. All four of its grids take turns, for the network's output is
        # stretched evenly over them.
        y, x = step % 2, step // 2 % 2
        loss = functional.cross_entropy(
            network.logits(images), truths[:, y::2, x::2], weights, ignore_index=labels.VOID
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        average.update(step)
        if step % 100 == 0 or step == steps:
            print(f"step {step}/{steps}, {time.monotonic() - started:.0f} s, loss {np.mean(losses[-100:]):.3f}",
                  file=sys.stderr, flush=True)  # fmt: skip
        if step % 500 == 0:
            with average.held():
                print(f"  held out: mIoU {score(network, held_out)[0]:.3f}", file=sys.stderr, flush=True)
    module.load_state_dict(average.weights)


def score(network: Network, pictures: list[Picture]) -> tuple[float, list[float | None]]:
    """mIoU over all pictures together, and the IoU of each class."""
    network.module.eval()
    counts = np.zeros((19, 20), np.int64)
    with torch.inference_mode():
        for rgb, truth in pictures:
            counts += confusion.confusion(network.predict(rgb), truth)
    mean = confusion.mean_iou(counts)
    return mean if mean is not None else float("nan"), confusion.class_ious(counts)


def save(module: torch.nn.Module, path: Path) -> None:
    """Weights as safetensors: kernels in half precision, all else as it is."""
    state = module.state_dict()
    save_file({name: (value.half() if value.ndim > 1 else value).contiguous() for name, value in state.items()}, path)


def options(description: str, output: Path, scenes: int, large: int, steps: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("-o", "--output", type=Path, default=output, help="(%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("vcmbench-demo/train"), help="where scenes are drawn")
    parser.add_argument("--scenes", type=int, default=scenes, help="of 512x256 (default: %(default)s)")
    parser.add_argument("--large", type=int, default=large, help="of 1024x512 (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=steps, help="batches of --batch (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    return parser


def main() -> None:
    text = "Draw train scenes, and train the embedded network on them."
    arguments = options(text, NETWORKS / "demo.safetensors", 900, 120, 1800).parse_args()
    small, large = draw(arguments.data, arguments.scenes, arguments.large, arguments.jobs)
    torch.set_num_threads(arguments.jobs)
    torch.manual_seed(arguments.seed)
    network = Network(NETWORKS / "demo.json")
    held_out = segmented(small, "val")
    scenes = segmented(small, "train") + segmented(large, "train")
    train(network, scenes, arguments.steps, arguments.batch, arguments.seed, held_out)
    save(network.module, arguments.output)
    for name, pictures in (("512x256", held_out), ("1024x512", segmented(large, "val"))):
        mean, classes = score(network, pictures)
        print(f"{name}: mIoU {mean:.4f} on {len(pictures)} held-out scenes")
        print("  " + ", ".join(f"{n} {v:.2f}" for n, v in zip(labels.CLASSES, classes, strict=True) if v is not None))


if __name__ == "__main__":
    main()
