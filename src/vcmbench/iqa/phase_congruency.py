"""FSIM: similarity of phase congruency and gradients, with colour (FSIMc).

L. Zhang, L. Zhang, X. Mou, D. Zhang, "FSIM: a feature similarity index for image quality assessment", IEEE TIP 20(8),
2011; phase congruency: P. Kovesi, "Image features from phase congruency", Videre 1(3), 1999. Four scales, four
orientations. The filters and all that follows from them alone are kept from one picture to the next of its size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from vcmbench.iqa.batch import Batch
from vcmbench.iqa.filters import RGB_TO_YIQ, frequencies, magnitude, mix, shrink_factor, similarity

_SCALES, _ORIENTATIONS = 4, 4
_SHORTEST_PX, _RATIO, _SIGMA_F, _SPACING, _DEVIATIONS = 6, 2, 0.55, 1.2, 2.0
_CUTOFF, _ORDER = 0.45, 15
_NOISE_SHARE = 1.7
"""Kovesi: the noise estimate is too high by this for the second measure of phase congruency."""
_T1, _T2, _T3, _T4, _LAMBDA = 0.85, 160.0, 200.0, 200.0, 0.03


@dataclass(frozen=True)
class _Bank:
    """Log-Gabor filters (orientations, scales, H, W) and what the noise estimate needs, (orientations, 1, 1, 1)."""

    filters: torch.Tensor
    finest_power: torch.Tensor
    squares: torch.Tensor
    products: torch.Tensor


def _radial(radius: torch.Tensor, low_pass: torch.Tensor, scale: int) -> torch.Tensor:
    centre = 1.0 / (_SHORTEST_PX * _RATIO**scale)
    gain = torch.exp((-(torch.log(radius / centre) ** 2)) / (2 * math.log(_SIGMA_F) ** 2)) * low_pass
    gain[0, 0] = 0
    return gain


def _angular(sine: torch.Tensor, cosine: torch.Tensor, orientation: int) -> torch.Tensor:
    angle = orientation * math.pi / _ORIENTATIONS
    across = sine * math.cos(angle) - cosine * math.sin(angle)
    along = cosine * math.cos(angle) + sine * math.sin(angle)
    deviation = math.pi / (_ORIENTATIONS * _SPACING)
    return torch.exp((-(torch.atan2(across, along).abs() ** 2)) / (2 * deviation**2))


@lru_cache(maxsize=4)
def _bank(height: int, width: int, device: torch.device) -> _Bank:
    down, across = frequencies(height, width)
    radius = torch.sqrt(down**2 + across**2)
    theta = torch.fft.ifftshift(torch.atan2(-across, down))
    low_pass = torch.fft.ifftshift(1.0 / (1.0 + (radius / _CUTOFF) ** (2 * _ORDER)))
    radius = torch.fft.ifftshift(radius)
    radius[0, 0] = 1  # its logarithm is taken; the filters are 0 there
    radial = torch.stack([_radial(radius, low_pass, scale) for scale in range(_SCALES)])
    sine, cosine = torch.sin(theta), torch.cos(theta)
    angular = torch.stack([_angular(sine, cosine, o) for o in range(_ORIENTATIONS)])
    filters = angular[:, None] * radial[None]
    waves = torch.fft.ifft2(filters).real * math.sqrt(height * width)
    products = torch.zeros(_ORIENTATIONS, 1, height, width)
    for scale in range(_SCALES - 1):
        products = products + (waves[:, scale : scale + 1] * waves[:, scale + 1 :]).sum(1, keepdim=True)
    return _Bank(
        filters.to(device),
        (filters[:, :1] ** 2).sum((-2, -1), keepdim=True).to(device),
        (waves**2).sum(1, keepdim=True).sum((-2, -1), keepdim=True).to(device),
        products.sum((-2, -1), keepdim=True).to(device),
    )


def _threshold(finest: torch.Tensor, bank: _Bank) -> torch.Tensor:
    """What energy noise alone may have, from the median response at the finest scale: (N, orientations, 1, 1, 1)."""
    n, orientations = finest.shape[:2]
    median = (finest.reshape(n, orientations, 1, 1, -1) ** 2).median(dim=-1, keepdim=True).values
    power = -median / math.log(0.5) / bank.finest_power
    tau = torch.sqrt((2 * power * bank.squares + 4 * power * bank.products) / 2)
    mean = tau * math.sqrt(math.pi / 2)
    spread = torch.sqrt((2 - math.pi / 2) * tau**2)
    return (mean + _DEVIATIONS * spread) / _NOISE_SHARE


def phase_congruency(luma: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) in 0..255 to (N, 1, H, W) in 0..1."""
    eps = torch.finfo(luma.dtype).eps
    bank = _bank(luma.shape[-2], luma.shape[-1], luma.device)
    responses = torch.fft.ifft2(torch.fft.fft2(luma)[:, None] * bank.filters)
    even, odd = responses.real.contiguous(), responses.imag.contiguous()
    amplitude = torch.sqrt((even**2).add_(odd**2))
    sum_even, sum_odd = even.sum(2, keepdim=True), odd.sum(2, keepdim=True)
    energy = torch.sqrt(sum_even**2 + sum_odd**2) + eps
    mean_even, mean_odd = sum_even / energy, sum_odd / energy
    aligned = (even * mean_even).add_(odd * mean_odd)
    astray = (even * mean_odd).sub_(odd * mean_even).abs_()
    energy = aligned.sub_(astray).sum(2, keepdim=True)
    energy = (energy - _threshold(amplitude[:, :, :1], bank)).clamp_(min=0)
    share: torch.Tensor = energy.sum((1, 2)).add_(eps) / amplitude.sum((1, 2)).add_(eps)
    return share.unsqueeze(1)


def _fsim(batch: Batch, pixels: torch.Tensor) -> torch.Tensor:
    """FSIMc of pictures in 0..1, (2N, 1 or 3, H, W): (N,)."""
    pixels = F.avg_pool2d(pixels * 255, shrink_factor(*pixels.shape[-2:]))
    colours = mix(pixels, RGB_TO_YIQ)
    congruency = phase_congruency(colours[:, :1])
    first, second = batch.split(congruency)
    edges = batch.split(magnitude(colours[:, :1]))
    weight = torch.max(first, second)
    score = similarity(*edges, _T2) * similarity(first, second, _T1) * weight
    chroma = similarity(*batch.split(colours[:, 1:2]), _T3) * similarity(*batch.split(colours[:, 2:]), _T4)
    score = score * chroma.abs() ** _LAMBDA
    return score.sum((1, 2, 3)) / weight.sum((1, 2, 3))


def fsim_rgb(batch: Batch) -> torch.Tensor:
    """FSIMc of R'G'B': (N,)."""
    return _fsim(batch, batch.rgb)


def fsim_loss_gray(batch: Batch) -> torch.Tensor:
    """1 - FSIMc of 8-bit luma, FSIMc cut to 0..1: (N,)."""
    return 1 - _fsim(batch, batch.gray).clamp(0, 1)
