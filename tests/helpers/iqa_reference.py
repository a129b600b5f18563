"""What the tests of quality metrics share: pictures, distortions, and the calls of piq and piqa by hand."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import piq
import piqa
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vcmbench.iqa import METRICS

U8 = NDArray[np.uint8]
Call = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

FREE = tuple(name for name, metric in METRICS.items() if metric.needs is None and metric.file is None)
"""Our metrics that need neither weights nor FFmpeg: each has a reference in piq or piqa."""


def noisy(picture: U8, sigma: float, seed: int = 1) -> U8:
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def blurred(picture: U8, radius: float) -> U8:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def jpeg(picture: U8, quality: int) -> U8:
    coded = io.BytesIO()
    Image.fromarray(picture).save(coded, "JPEG", quality=quality)
    return np.asarray(Image.open(coded).convert("RGB"))


def coarse(picture: U8, step: int = 24) -> U8:
    return (picture // step * step + step // 2).astype(np.uint8)


def pairs(photograph: U8, height: int, width: int) -> tuple[U8, U8]:
    """Five pairs from one photograph, each with another kind of damage: (pristine, decoded)."""
    tops = np.linspace(0, photograph.shape[0] - height, 5).astype(int)
    lefts = np.linspace(0, photograph.shape[1] - width, 5).astype(int)
    crops = [photograph[t : t + height, x : x + width] for t, x in zip(tops, lefts, strict=True)]
    hurt = (noisy(crops[0], 9), blurred(crops[1], 1.5), jpeg(crops[2], 20), coarse(crops[3]), noisy(crops[4], 1))
    return np.stack(crops), np.stack(hurt)


def tensor(pictures: U8, profile: str) -> torch.Tensor:
    """(N, 3, H, W) float32 in 0..1: R'G'B', or under "qomex2023" Pillow's luma three times."""
    if profile == "qomex2023":
        gray = np.stack([np.asarray(Image.fromarray(picture).convert("L")) for picture in pictures])
        pictures = np.repeat(gray[..., None], 3, axis=-1)
    return torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()).float() / 255


def luma(x: torch.Tensor) -> torch.Tensor:
    return (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _mdsi_of_piqa_1_2(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # piqa 1.3.2 averages over the wrong axes; piq has the same formula, but shrinks large pictures in another way
    factor = max(1, round(min(x.shape[-2:]) / 256))
    x, y = (torch.nn.functional.avg_pool2d(t, factor, ceil_mode=True) for t in (x, y))
    return piq.mdsi(x, y, reduction="none")


def by_hand(name: str, profile: str) -> Call:
    """The documented call of a metric, of (distorted, pristine) in 0..1."""
    one: dict[str, Any] = {"reduction": "none"}
    if profile == "standard":
        calls: dict[str, Call] = {
            "PSNR": lambda x, y: piq.psnr(x, y, **one),
            "SSIM": lambda x, y: piq.ssim(luma(x), luma(y), 11, 1.5, downsample=False, **one),
            "MS_SSIM": lambda x, y: piq.multi_scale_ssim(luma(x), luma(y), 11, 1.5, **one),
            "VIFp": lambda x, y: piq.vif_p(x, y, **one),
            "FSIM": lambda x, y: piq.fsim(x, y, **one),
            "SR_SIM": lambda x, y: piq.srsim(x, y, **one),
            "GMSD": lambda x, y: piq.gmsd(x, y, **one),
            "MS_GMSD": lambda x, y: piq.multi_scale_gmsd(x, y, **one),
            "VSI": lambda x, y: piq.vsi(x, y, **one),
            "DSS": lambda x, y: piq.dss(x, y, **one),
            "HaarPSI": lambda x, y: piq.haarpsi(x, y, **one),
            "MDSI": lambda x, y: piq.mdsi(x, y, **one),
        }
        return calls[name]
    window = {"window_size": 3, "sigma": 1 / 3}
    return {
        "PSNR": lambda: piqa.PSNR(**one),
        "SSIM": lambda: piqa.SSIM(**window, **one),
        "MS_SSIM": lambda: piqa.MS_SSIM(**window, **one),
        "VIFp": lambda: piq.VIFLoss(**one),
        "FSIM": lambda: piq.FSIMLoss(**one),
        "SR_SIM": lambda: piq.SRSIMLoss(scale=1, **one),
        "GMSD": lambda: piqa.GMSD(**one),
        "MS_GMSD": lambda: piqa.MS_GMSD(**one),
        "VSI": lambda: piq.VSILoss(**one),
        "DSS": lambda: piq.DSSLoss(**one),
        "HaarPSI": lambda: piqa.HaarPSI(**one),
        "MDSI": lambda: _mdsi_of_piqa_1_2,
    }[name]()
