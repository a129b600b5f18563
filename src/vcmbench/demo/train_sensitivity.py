"""Trains the predictor of sensitivity (`importance.predictor`): `python -m vcmbench.demo.train_sensitivity`.

It begins with what the embedded segmentation network has learned to see, and learns what the encoder in that network's
loop comes to on train scenes (see `sensitivity_targets`). Only differences between blocks count, since the search for
the rate moves all of them alike.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vcmbench.demo.sensitivity_targets import LoopTarget, chance, make
from vcmbench.demo.training import Average, Plan, draw, options
from vcmbench.importance import predictor
from vcmbench.importance.predictor import JUDGING, SEEING, UNIT, WEIGHTS, LayerShape, coarseness
from vcmbench.tasks import networks

PLAN = Plan("vcmbench-demo/train-small", scenes=384, large=24, steps=1600, batch=8, rate=2e-3)
_HELD_OUT = 10
"""One scene of so many is not learned."""
_BETA_STEPS = 2.0
_GAIN = 1.5
"""Each pass of the loop goes further than the one before, so that their mean lags behind where they lead."""
_DROPPED = 0.2
"""Of channels at a 16th of the resolution."""
_MOST_WEIGHT = 8.0
"""Below which sums are exact (see `predictor`)."""


class TrainedPredictor(nn.Module):
    """The predictor's network with gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.seeing, self.judging = (nn.ModuleList(_convolution(one) for one in of) for of in (SEEING, JUDGING))

    def forward(self, pictures: Tensor, plane: Tensor) -> Tensor:
        """Steps (N, rows, columns), but for a constant, of pictures (N, 3, H, W) as the network is given them, and the
        `coarseness` (N,) that they are coded with."""
        values = pictures
        for layer, module in zip(SEEING, self.seeing, strict=True):
            values = _applied(layer, module, values)
        values = functional.dropout2d(values, _DROPPED, self.training)
        values = torch.cat((values, plane.view(-1, 1, 1, 1).expand(-1, 1, *values.shape[2:])), 1)
        for layer, module in zip(JUDGING[:-1], list(self.judging)[:-1], strict=True):
            values = functional.dropout2d(_applied(layer, module, values), _DROPPED, self.training)
        found: Tensor = self.judging[-1](values)[:, 0]
        return found


def _convolution(layer: LayerShape) -> nn.Conv2d:
    return nn.Conv2d(layer.inputs, layer.outputs, 3, layer.stride, layer.dilation, layer.dilation)


def _applied(layer: LayerShape, module: nn.Module, values: Tensor) -> Tensor:
    if layer.is_halved:
        values = functional.max_pool2d(values, 2)
    found: Tensor = module(values).relu()
    return values + found if layer.is_added else found


def begun(segmentation: Path) -> TrainedPredictor:
    """A network that sees as the embedded segmentation network does, with its normalisations in the kernels."""
    network, theirs = TrainedPredictor(), load_file(segmentation)
    for i, module in enumerate(network.seeing):
        stage, number = divmod(i, 2)
        place = f"backbone.encoder.{stage}.{min(stage, 1)}.convs.{number}."
        norm = {name: theirs[f"{place}bn.{name}"].float() for name in ("weight", "bias", "running_mean", "running_var")}
        factor = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
        module.weight.data = theirs[f"{place}conv.weight"].float() * factor.view(-1, 1, 1, 1)
        module.bias.data = norm["bias"] - norm["running_mean"] * factor
    for module in list(network.seeing)[:2]:
        module.requires_grad_(False)  # edges are edges, and this is a third of the work
    return network


def batch_of(targets: Sequence[LoopTarget], flipped: Iterable[bool]) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures, planes and wanted steps (N, rows, columns), some of them mirrored."""
    by = [-1 if flip else 1 for flip in flipped]
    rgb = [predictor.scaled(one.rgb[:, ::way]) for one, way in zip(targets, by, strict=True)]
    steps = [_GAIN * one.steps.mean(0)[:, ::way] for one, way in zip(targets, by, strict=True)]
    pictures = torch.from_numpy(np.stack(rgb).transpose(0, 3, 1, 2)).float() * UNIT
    planes = torch.tensor([coarseness(one.bpp) for one in targets])
    return pictures.to(memory_format=torch.channels_last), planes, torch.from_numpy(np.stack(steps))


def centred(steps: Tensor) -> Tensor:
    return steps - steps.mean((1, 2), keepdim=True)


def train(
    network: TrainedPredictor, targets: Sequence[LoopTarget], held_out: Sequence[LoopTarget],
    arguments: argparse.Namespace,
) -> None:  # fmt: skip
    """Train in place, and leave the averaged weights of the step that is best on what is held out."""
    steps, batch, rates = arguments.steps, arguments.batch, [arguments.rate, arguments.rate / 5]
    rng = np.random.default_rng(arguments.seed)
    order = (int(i) for _ in itertools.count() for i in rng.permutation(len(targets)))
    seeing = [one for one in network.seeing.parameters() if one.requires_grad]
    parts = [{"params": list(network.judging.parameters())}, {"params": seeing}]
    optimizer = torch.optim.AdamW(parts, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps, pct_start=0.15)
    average, started, losses = Average(network), time.monotonic(), []
    best, kept = -np.inf, copy.deepcopy(network.state_dict())
    for step in range(1, steps + 1):
        network.train()
        chosen = [targets[i] for i in itertools.islice(order, batch)]
        pictures, planes, wanted = batch_of(chosen, rng.random(batch) < 0.5)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(pictures, planes)
        loss = functional.smooth_l1_loss(centred(found.float()), centred(wanted), beta=_BETA_STEPS)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        average.update(step)
        if step % 100 == 0 or step == steps:
            with average.held():
                share = explained(network, held_out)
            left = (time.monotonic() - started) / step * (steps - step)
            print(f"step {step}/{steps}, ETA {left:.0f} s, loss {np.mean(losses[-100:]):.3f}, held out: {share:.3f} of "
                  "the variance explained", file=sys.stderr, flush=True)  # fmt: skip
            if share > best:
                best, kept = share, {name: value.clone() for name, value in average.weights.items()}
    network.load_state_dict(kept)


@torch.inference_mode()
def explained(network: TrainedPredictor, targets: Sequence[LoopTarget]) -> float:
    """The share of the variance of wanted steps within pictures that the network explains."""
    network.eval()
    missed = there = 0.0
    for one in targets:
        pictures, planes, wanted = batch_of([one], [False])
        missed += float((centred(network(pictures, planes)) - centred(wanted)).square().sum())
        there += float(centred(wanted).square().sum())
    return 1 - missed / there


def save(network: TrainedPredictor, path: Path) -> None:
    state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    largest = max(float(value.abs().max()) for value in state.values())
    if largest >= _MOST_WEIGHT:
        raise SystemExit(f"a weight of {largest:g}: sums of the predictor would not be exact")
    save_file(state, path)


def main() -> None:
    text = "Draw train scenes, code them in the embedded network's loop, and train the predictor on what that comes to."
    arguments = options(text, WEIGHTS, PLAN).parse_args()
    small, _ = draw(arguments.data, arguments.scenes, arguments.large, arguments.jobs)
    targets = make(small, arguments.data / "sensitivity", arguments.scenes)
    torch.set_num_threads(arguments.jobs)
    torch.manual_seed(arguments.seed)
    is_out = [chance(one.name) % _HELD_OUT == 0 for one in targets]
    held_out = [one for one, out in zip(targets, is_out, strict=True) if out]
    learned = [one for one, out in zip(targets, is_out, strict=True) if not out]
    network = begun(networks.weights("segmentation", "demo"))
    train(network, learned, held_out, arguments)
    save(network, arguments.output)
    share = explained(network, held_out)
    print(f"{arguments.output}: {share:.3f} of the variance explained, {len(held_out)} targets held out")


if __name__ == "__main__":
    main()
