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


def names_a_call(name: str, profile: str) -> bool:
    """Whether a metric's entry says which call of piq or piqa it equals."""
    return METRICS[name].convention(profile).call.startswith(("piq.", "piqa."))


def by_hand(name: str, profile: str) -> Call:
    """That call, of (distorted, pristine) in 0..1."""
    text = METRICS[name].convention(profile).call
    if text == "piqa.MDSI() of piqa 1.2.2":
        return _mdsi_of_piqa_1_2
    text = text.removesuffix(", one picture").removesuffix(")")
    text += "reduction='none')" if text.endswith("(") else ", reduction='none')"
    libraries: dict[str, Any] = {"piq": piq, "piqa": piqa, "Y": luma}
    if "x, " in text or "Y(x)" in text:
        return lambda x, y: eval(text, libraries | {"x": x, "y": y})  # noqa: S307  # the metric is code as well
    found: Call = eval(text, libraries)  # noqa: S307
    return found
