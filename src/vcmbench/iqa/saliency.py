"""VSI: similarity of visual saliency, gradients and colours.

L. Zhang, Y. Shen, H. Li, "VSI: a visual saliency-induced index for perceptual image quality assessment", IEEE TIP
23(10), 2014; saliency: L. Zhang, Z. Gu, H. Li, "SDSP: a novel saliency detection method by combining simple priors",
ICIP 2013. Constants are the papers', in the variants of piq 0.8 (for one: its CIELAB takes D50 as white).

The saliency works on 256x256 pixels whatever the picture's size, hence is what blocks spend their time on.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F

from vcmbench.iqa.batch import Batch
from vcmbench.iqa.filters import frequencies, magnitude, mix, shrink_factor, similarity

_SIDE_PX = 256
_OMEGA_0, _SIGMA_F, _SIGMA_D, _SIGMA_C = 0.021, 1.34, 145.0, 0.001
_C1, _C2, _C3, _ALPHA, _BETA = 1.27, 386.0, 130.0, 0.4, 0.02

_RGB_TO_LMN = torch.tensor([[0.06, 0.63, 0.27], [0.30, 0.04, -0.35], [0.34, -0.6, 0.17]])
_RGB_TO_XYZ = torch.tensor(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = torch.tensor([0.9642119944211994, 1.0, 0.8251882845188288])
_XYZ_TO_LAB = torch.tensor([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
_LAB_OFFSET = torch.tensor([-16.0, 0.0, 0.0])


def _lab(rgb: torch.Tensor) -> torch.Tensor:
    """CIELAB of sRGB in 0..1, (N, 1 or 3, H, W) to (N, 3, H, W). CIE 15; IEC 61966-2-1."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).pow_(2.4))
    xyz = mix(linear, _RGB_TO_XYZ).div_(_WHITE.to(rgb).view(3, 1, 1))
    curved = torch.where(xyz <= 0.008856, (903.3 * xyz + 16.0).div_(116.0), xyz.pow(1.0 / 3.0))
    return mix(curved, _XYZ_TO_LAB).add_(_LAB_OFFSET.to(rgb).view(3, 1, 1))


@cache
def _band_pass(device: torch.device) -> torch.Tensor:
    """The log-Gabor filter of the saliency over the frequencies of a real transform, (256, 129)."""
    across, down = frequencies(_SIDE_PX, _SIDE_PX)
    radius = (across**2 + down**2).sqrt()
    radius = torch.fft.ifftshift(radius * (radius <= 0.5))
    radius[0, 0] = 1
    gain = torch.exp(-((radius / _OMEGA_0).log().pow(2)) / (2 * _SIGMA_F**2))
    gain[0, 0] = 0
    return gain[:, : _SIDE_PX // 2 + 1].contiguous().to(device)


@cache
def _centre_bias(device: torch.device) -> torch.Tensor:
    """People look at the middle: (256, 256)."""
    down, across = (grid * _SIDE_PX + 1 for grid in frequencies(_SIDE_PX, _SIDE_PX))
    return torch.exp(-(down**2 + across**2) / _SIGMA_D**2).to(device)


def _stretched(maps: torch.Tensor) -> torch.Tensor:
    """Each map of (N, C, H, W) to 0..1."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low).div_(high.sub_(low).add_(torch.finfo(maps.dtype).eps))


def saliency(pixels: torch.Tensor) -> torch.Tensor:
    """SDSP of (N, 1 or 3, H, W) in 0..255: (N, 1, H, W) in 0..1."""
    small = F.interpolate(pixels, size=(_SIDE_PX, _SIDE_PX), mode="bilinear", align_corners=False)
    lab = _lab(small.div_(255.0))
    passed = torch.fft.irfft2(torch.fft.rfft2(lab).mul_(_band_pass(lab.device)), s=(_SIDE_PX, _SIDE_PX))
    frequency = passed.square_().sum(1, keepdim=True).sqrt_()
    warmth = _stretched(lab[:, 1:]).square_().sum(1, keepdim=True)
    colour = 1 - warmth.div_(-(_SIGMA_C**2)).exp_()
    found = frequency.mul_(_centre_bias(lab.device)).mul_(colour)
    return _stretched(F.interpolate(found, size=pixels.shape[-2:], mode="bilinear", align_corners=True))


def _shrunk(maps: torch.Tensor, factor: int) -> torch.Tensor:
    if factor == 1:
        return maps
    before, behind = factor // 2, (factor - 1) // 2
    return F.avg_pool2d(F.pad(maps, (before, behind, before, behind), mode="replicate"), factor)


def _vsi(batch: Batch, pixels: torch.Tensor) -> torch.Tensor:
    """VSI of pictures in 0..1, (2N, 1 or 3, H, W): (N,)."""
    pixels = pixels * 255.0
    factor = shrink_factor(*pixels.shape[-2:])
    attention = _shrunk(saliency(pixels), factor)
    colours = _shrunk(mix(pixels, _RGB_TO_LMN), factor)
    edges = magnitude(colours[:, :1])
    first, second = batch.split(attention)
    score = similarity(first, second, _C1) * similarity(*batch.split(edges), _C2).pow_(_ALPHA)
    chroma = similarity(*batch.split(colours[:, 1:2]), _C3) * similarity(*batch.split(colours[:, 2:]), _C3)
    # a negative product has a complex power; its real part counts
    angle = torch.atan2(torch.zeros_like(chroma), chroma).mul_(_BETA)
    score.mul_(chroma.abs().pow_(_BETA).mul_(angle.cos_()))
    weight = torch.max(first, second)
    eps = torch.finfo(weight.dtype).eps
    return (((score * weight).sum((-1, -2)) + eps) / (weight.sum((-1, -2)) + eps)).squeeze(-1)


def vsi_rgb(batch: Batch) -> torch.Tensor:
    """VSI of R'G'B': (N,). NaN where both pictures are flat: nothing is salient, and piq gives 1 to black and white."""
    first, second = batch.split(batch.flat)
    return _vsi(batch, batch.rgb).masked_fill(first & second, torch.nan)


def vsi_loss_gray(batch: Batch) -> torch.Tensor:
    """1 - VSI of 8-bit luma: (N,)."""
    return 1.0 - _vsi(batch, batch.gray)
