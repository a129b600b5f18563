"""Metrics that are piq's and piqa's own: cheap enough to be called as they are, or rarely asked for.

The objects are built once. Both take pictures in 0..1, the distorted one first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import piq
import piqa
import torch
import torch.nn.functional as F

from vcmbench.iqa.batch import Batch
from vcmbench.iqa.filters import shrink_factor


def _piq(function: Callable[..., torch.Tensor], pictures: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return function(*pictures, data_range=1.0, reduction="none")


@cache
def _object(library: str, name: str, device: torch.device) -> Any:
    return getattr({"piq": piq, "piqa": piqa}[library], name)(reduction="none").to(device)


def _gray(library: str, name: str, batch: Batch) -> torch.Tensor:
    found: torch.Tensor = _object(library, name, batch.device)(*batch.split(batch.gray3))
    return found


def psnr_rgb(batch: Batch) -> torch.Tensor:
    """PSNR in dB over R, G and B together: (N,). With 1e-8 added to the squared error, identical pictures have 80."""
    return _piq(piq.psnr, batch.split(batch.rgb))


def psnr_gray(batch: Batch) -> torch.Tensor:
    """PSNR in dB of 8-bit luma: (N,)."""
    return _gray("piqa", "PSNR", batch)


def vifp_luma(batch: Batch) -> torch.Tensor:
    """VIF in the pixel domain, of luma: (N,). H. R. Sheikh, A. C. Bovik, IEEE TIP 15(2), 2006.

    NaN where the pristine picture is flat. It holds no information then, and piq divides rounding errors.
    """
    return _piq(piq.vif_p, batch.split(batch.rgb)).masked_fill(batch.split(batch.flat)[1], torch.nan)


def vifp_loss_gray(batch: Batch) -> torch.Tensor:
    """1 - VIFp of 8-bit luma, VIFp cut to 0..1: (N,)."""
    return _gray("piq", "VIFLoss", batch)


def gmsd_luma(batch: Batch) -> torch.Tensor:
    """GMSD of luma at half the size: (N,). W. Xue et al., IEEE TIP 23(2), 2014."""
    return _piq(piq.gmsd, batch.split(batch.rgb))


def gmsd_gray(batch: Batch) -> torch.Tensor:
    """GMSD of 8-bit luma at half the size: (N,)."""
    return _gray("piqa", "GMSD", batch)


def ms_gmsd_luma(batch: Batch) -> torch.Tensor:
    """MS-GMSD of luma, four scales: (N,). B. Zhang, P. V. Sander, A. Bermak, ICASSP 2017."""
    return _piq(piq.multi_scale_gmsd, batch.split(batch.rgb))


def ms_gmsd_gray(batch: Batch) -> torch.Tensor:
    """MS-GMSD of 8-bit luma, four scales: (N,)."""
    return _gray("piqa", "MS_GMSD", batch)


def dss_luma(batch: Batch) -> torch.Tensor:
    """DSS of luma, DCT blocks of 8: (N,). A. Balanov et al., ICIP 2015."""
    return _piq(piq.dss, batch.split(batch.rgb))


def dss_loss_gray(batch: Batch) -> torch.Tensor:
    """1 - DSS of 8-bit luma, DSS cut to 0..1: (N,)."""
    return _gray("piq", "DSSLoss", batch)


def haarpsi_rgb(batch: Batch) -> torch.Tensor:
    """HaarPSI in YIQ at half the size: (N,). R. Reisenhofer et al., Signal Processing: Image Communication 61, 2018."""
    return _piq(piq.haarpsi, batch.split(batch.rgb))


def haarpsi_gray(batch: Batch) -> torch.Tensor:
    """HaarPSI of 8-bit luma at half the size: (N,)."""
    return _gray("piqa", "HaarPSI", batch)


def mdsi_rgb(batch: Batch) -> torch.Tensor:
    """MDSI of R'G'B': (N,). H. Ziaei Nafchi et al., IEEE Access 4, 2016."""
    return _piq(piq.mdsi, batch.split(batch.rgb))


def mdsi_gray(batch: Batch) -> torch.Tensor:
    """MDSI of 8-bit luma, as the published experiment's piqa 1.2.2 has it: (N,).

    piqa 1.3.2 takes one of MDSI's means over the pictures of a call and one side of the picture in place of both sides:
    another number for a single picture, and one that depends on the others. piqa 1.2.2 is piq but for the way that a
    large picture is shrunk.
    """
    factor = shrink_factor(batch.height_px, batch.width_px)
    pixels = batch.gray3 if factor == 1 else F.avg_pool2d(batch.gray3, factor, ceil_mode=True)
    return _piq(piq.mdsi, batch.split(pixels))
