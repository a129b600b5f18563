"""How the embedded networks are trained: crops of the demo's train scenes, flipped and scaled, and one loop.

Nothing is compressed or blurred: what compression does to these networks is what is to be measured, so they must not
have been trained for it. Weights of convolutions and layers are stored in half precision, statistics of normalisations
in full.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from vcmbench.data import labels
from vcmbench.demo import cityscapes

CROP_PX = (512, 256)
SCALES = (0.7, 1.6)
_FLIP = 0.5
_EMA = 0.998
_CHECK = 300
"""Steps after which it is asked what the network has learned, and kept."""

Picture = tuple[NDArray[np.uint8], NDArray[Any]]
"""(H, W, 3) uint8 RGB, and (H, W) ids of its pixels."""
Loss = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]
"""Of a step (from 1), pictures (N, 3, H, W) uint8 RGB, and ids (N, H, W)."""
Score = Callable[[], tuple[float, str]]
"""Of the network as it is on held-out scenes: the more the better, and what is printed of it."""


@dataclass(frozen=True)
class Plan:
    """What a network is trained with, where the command line does not say otherwise."""

    data: str
    scenes: int
    large: int
    steps: int
    batch: int
    rate: float


def options(description: str, output: Path, plan: Plan, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, parents=parents)
    parser.add_argument("-o", "--output", type=Path, default=output, help="(%(default)s)")
    parser.add_argument("--data", type=Path, default=Path(plan.data),
                        help="where scenes are drawn, and checkpoints lie (%(default)s)")  # fmt: skip
    parser.add_argument("--scenes", type=int, default=plan.scenes, help="of 512x256 (default: %(default)s)")
    parser.add_argument("--large", type=int, default=plan.large, help="of 1024x512 (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=plan.steps, help="batches of --batch (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=plan.batch, help="crops (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=plan.rate, help="the highest of learning (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    return parser


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
        """The module has them inside."""
        before = {name: value.clone() for name, value in self._module.state_dict().items()}
        self._module.load_state_dict(self.weights)
        yield
        self._module.load_state_dict(before)


def train(
    module: torch.nn.Module, pictures: list[Picture], loss_of: Loss, score: Score, arguments: argparse.Namespace
) -> None:
    """Train what learns of a module, in place; what it has learned at best goes to `arguments.output`, with those of
    the averaged weights that scored best. They lie below `arguments.data`, too, beside the latest ones, while it runs:
    what was ended early is not lost."""
    latest, best = (arguments.data / f"{arguments.output.stem}-{which}.safetensors" for which in ("latest", "best"))
    steps, highest = arguments.steps, float("-inf")
    learning = [one for one in module.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(learning, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.rate, total_steps=steps, pct_start=0.15)
    average, started, losses = Average(module), time.monotonic(), []
    for step, (images, ids) in enumerate(batches(pictures, steps, arguments.batch, arguments.seed), 1):
        module.train()
        loss = loss_of(step, images, ids)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learning, 5.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        average.update(step)
        if step % 50 == 0 or step == steps:
            print(f"step {step}/{steps}, {time.monotonic() - started:.0f} s, loss {np.mean(losses[-50:]):.3f}",
                  file=sys.stderr, flush=True)  # fmt: skip
        if step % _CHECK == 0 or step == steps:
            with average.held():
                value, text = score()
                save(module, latest)
            print(f"  held out: {text}", file=sys.stderr, flush=True)
            if value > highest:
                highest = value
                shutil.copyfile(latest, best)
    shutil.copyfile(best, arguments.output)
    read(module, arguments.output)


def save(module: torch.nn.Module, path: Path) -> None:
    """Weights as safetensors: kernels in half precision, all else as it is."""
    state = module.state_dict()
    save_file({name: (value.half() if value.ndim > 1 else value).contiguous() for name, value in state.items()}, path)


def read(module: torch.nn.Module, path: Path) -> None:
    """Put weights that `save` wrote into a module."""
    module.load_state_dict(load_file(path))
