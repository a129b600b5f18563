"""SR-SIM: similarity of spectral-residual saliency and gradients, for pictures that keep their size.

L. Zhang, H. Li, "SR-SIM: a fast and high performance IQA index based on spectral residual", ICIP 2012; saliency: X.
Hou, L. Zhang, "Saliency detection: a spectral residual approach", CVPR 2007.

The saliency is stretched to 0..1 within each picture. piq 0.8 stretches over all pictures of a call together, so that
what it says of one depends on its company; called for a single picture it is what stands here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from piq.functional import imresize

from vcmbench.iqa.batch import Batch
from vcmbench.iqa.filters import RGB_TO_YIQ, gaussian_2d, magnitude, mix, shrink_factor, similarity

_SIGMA, _WINDOW = 3.8, 10
_C1, _C2, _ALPHA = 0.4, 225.0, 0.5


def _smooth(maps: torch.Tensor) -> torch.Tensor:
    """An even window, sampled between pixels, in the lower right of an odd one."""
    kernel = F.pad(torch.tensor(gaussian_2d(_WINDOW, _SIGMA)), (1, 0, 1, 0)).to(maps)
    return F.conv2d(maps, kernel[None, None], padding=_WINDOW // 2)


def saliency(luma: torch.Tensor, scale: float) -> torch.Tensor:
    """(N, 1, H, W) in 0..255 to (N, 1, H, W) in 0..1, found at `scale` times the size."""
    eps = torch.finfo(luma.dtype).eps
    spectrum = torch.fft.fft2(luma if scale == 1 else imresize(luma, scale=scale))
    log_amplitude = torch.log(spectrum.abs() + eps)
    phase = torch.angle(spectrum)
    usual = F.avg_pool2d(F.pad(log_amplitude, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    residual = torch.exp(log_amplitude - usual)
    unusual = torch.complex(residual * torch.cos(phase), residual * torch.sin(phase))
    found = _smooth(torch.fft.ifft2(unusual).abs() ** 2)
    low, high = found.amin((-3, -2, -1), keepdim=True), found.amax((-3, -2, -1), keepdim=True)
    found = (found - low) / (high - low + eps)
    return found if scale == 1 else imresize(found, sizes=luma.shape[-2:])


def _sr_sim(batch: Batch, pixels: torch.Tensor, scale: float) -> torch.Tensor:
    """SR-SIM of pictures in 0..1, (2N, 1 or 3, H, W): (N,)."""
    pixels = pixels * 255
    factor = shrink_factor(*pixels.shape[-2:])
    before, behind = (factor - 1) // 2, factor // 2
    pixels = F.avg_pool2d(F.pad(pixels, (before, behind, before, behind)), factor)
    luma = mix(pixels, RGB_TO_YIQ)[:, :1]
    first, second = batch.split(saliency(luma, scale))
    weight = torch.max(first, second)
    edges = similarity(*batch.split(magnitude(luma)), _C2)
    score = similarity(first, second, _C1) * edges**_ALPHA * weight
    return score.sum((1, 2, 3)) / (weight.sum((1, 2, 3)) + torch.finfo(score.dtype).eps)


def sr_sim_luma(batch: Batch) -> torch.Tensor:
    """SR-SIM of luma, its saliency found at a quarter of the size: (N,)."""
    return _sr_sim(batch, batch.rgb, 0.25)


def sr_sim_loss_gray(batch: Batch) -> torch.Tensor:
    """1 - SR-SIM of 8-bit luma, saliency at full size, SR-SIM cut to 0..1: (N,)."""
    return 1 - _sr_sim(batch, batch.gray, 1).clamp(0, 1)
