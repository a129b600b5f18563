"""Metrics that are piq's and piqa's own: cheap enough to be called as they are, or rarely asked for.

The objects are built once. Both take pictures in 0..1, the distorted one first, and give one value a picture: (N,).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import piq
import piqa
import torch
import torch.nn.functional as F

from vcmbench.iqa.batch import Batch
from vcmbench.iqa.filters import shrink_factor


def _piq(name: str, pictures: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    found: torch.Tensor = getattr(piq, name)(*pictures, data_range=1.0, reduction="none")
    return found


@cache
def _object(library: str, name: str, device: torch.device) -> Any:
    return getattr({"piq": piq, "piqa": piqa}[library], name)(reduction="none").to(device)


def rgb(name: str, batch: Batch) -> torch.Tensor:
    """piq's function of that name, of R'G'B'; most take its luma."""
    return _piq(name, batch.split(batch.rgb))


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
