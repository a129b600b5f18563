"""Metrics that are piq's and piqa's own: cheap enough to be called as they are, or rarely asked for.

The objects are built once. Both take pictures in 0..1, the distorted one first, and give one value a picture: (N,).
Either library is loaded when it is first called: with torchvision, which they import, that takes longer than torch.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F

from vcmbench.iqa.batch import Batch
from vcmbench.iqa.filters import shrink_factor


def _piq(name: str, pictures: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    found: torch.Tensor = getattr(import_module("piq"), name)(*pictures, data_range=1.0, reduction="none")
    return found


@cache
def _object(library: str, name: str, device: torch.device) -> Any:
    return getattr(import_module(library), name)(reduction="none").to(device)


def rgb(name: str, batch: Batch) -> torch.Tensor:
    """piq's function of that name, of R'G'B'; most take its luma."""
    return _piq(name, batch.split(batch.rgb))


def psnr(batch: Batch) -> torch.Tensor:
    """piq.psnr of R'G'B', without piq: nearly every experiment asks for it, and many for no other of piq's."""
    x, y = batch.split(batch.rgb)
    found: torch.Tensor = -10 * torch.log10(torch.mean((x - y) ** 2, dim=[1, 2, 3]) + 1e-8)
    return found


def gray(library: str, name: str, batch: Batch) -> torch.Tensor:
    """piq's or piqa's object of that name, of 8-bit luma three times."""
    found: torch.Tensor = _object(library, name, batch.device)(*batch.split(batch.gray3))
    return found


def vifp_luma(batch: Batch) -> torch.Tensor:
    """VIF in the pixel domain, of luma.

    NaN where the pristine picture is flat. It holds no information then, and piq divides rounding errors.
    """
    return rgb("vif_p", batch).masked_fill(batch.split(batch.flat)[1], torch.nan)


def mdsi_gray(batch: Batch) -> torch.Tensor:
    """MDSI of 8-bit luma, as the published experiment's piqa 1.2.2 has it.

    piqa 1.3.2 takes one of MDSI's means over the pictures of a call and one side of the picture in place of both sides:
    another number for a single picture, and one that depends on the others. piqa 1.2.2 is piq but for the way that a
    large picture is shrunk.
    """
    factor = shrink_factor(batch.height_px, batch.width_px)
    pixels = batch.gray3 if factor == 1 else F.avg_pool2d(batch.gray3, factor, ceil_mode=True)
    return _piq("mdsi", batch.split(pixels))
