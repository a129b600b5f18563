"""Filters as sums of shifted pictures.

PyTorch's convolution of pictures of one channel is many times slower than adding shifted copies. `torch.add` with a
factor rounds once (a fused multiply-add) as a convolution does, and the taps are taken in a convolution's order, row by
row: the result is the same to the last bit on the processors that were tried, not only nearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F

from vcmbench.data.colour import LUMA

_SCHARR = torch.tensor([[-3.0, 0.0, 3.0], [-10.0, 0.0, 10.0], [-3.0, 0.0, 3.0]]) / 16
RGB_TO_YIQ = torch.tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])


def along(x: torch.Tensor, taps: Sequence[float], dim: int) -> torch.Tensor:
    """Correlation with `taps` along one dimension, without padding: len(taps) - 1 shorter there."""
    length = x.shape[dim] - len(taps) + 1
    total = x.narrow(dim, 0, length) * taps[0]
    for shift, tap in enumerate(taps[1:], start=1):
        total.add_(x.narrow(dim, shift, length), alpha=tap)
    return total


def over(x: torch.Tensor, kernel: Sequence[Sequence[float]]) -> torch.Tensor:
    """Correlation of (..., H, W) with a kernel of rows of taps, without padding. Taps of 0 are left out."""
    height, width = x.shape[-2] - len(kernel) + 1, x.shape[-1] - len(kernel[0]) + 1
    total: torch.Tensor | None = None
    for row, taps in enumerate(kernel):
        for column, tap in enumerate(taps):
            shifted = x[..., row : row + height, column : column + width]
            if total is None:
                total = shifted * tap
            elif tap:
                total.add_(shifted, alpha=tap)
    if total is None:
        raise ValueError("an empty kernel")
    return total


@cache
def gaussian_1d(size: int, sigma: float) -> tuple[float, ...]:
    """The taps of a Gaussian window, float32, of sum 1."""
    distances = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    taps = torch.exp(-(distances**2 / (2.0 * sigma**2)))
    return tuple(float(tap) for tap in taps / taps.sum())


@cache
def gaussian_2d(size: int, sigma: float) -> tuple[tuple[float, ...], ...]:
    """The taps of a Gaussian window of size x size, float32, of sum 1."""
    squares = (torch.arange(size, dtype=torch.float32) - (size - 1) / 2) ** 2
    taps = torch.exp(-(squares[:, None] + squares[None, :]) / (2.0 * sigma**2))
    return tuple(tuple(float(tap) for tap in row) for row in taps / taps.sum())


def mix(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Colours by a matrix: (N, 3, H, W), or (N, 1, H, W) for three equal channels, by (C, 3) to (N, C, H, W)."""
    n, _, height, width = x.shape
    channels = x.flatten(2).expand(n, 3, height * width)
    return (matrix.to(x) @ channels).view(n, len(matrix), height, width)


def shrink_factor(height: int, width: int) -> int:
    """By how much a picture is shrunk so that its shorter side is about 256 px, as the papers after SSIM do."""
    return max(1, round(min(height, width) / 256))


def similarity(x: torch.Tensor, y: torch.Tensor, constant: float) -> torch.Tensor:
    """(2xy + c) / (x^2 + y^2 + c): 1 where two maps are equal."""
    return (2.0 * x * y + constant) / (x**2 + y**2 + constant)


def magnitude(x: torch.Tensor) -> torch.Tensor:
    """Gradient magnitude of (N, 1, H, W) by Scharr's kernel, zeros beyond the edges."""
    kernels = torch.stack((_SCHARR, _SCHARR.t())).unsqueeze(1).to(x)
    return F.conv2d(x, kernels, padding=1).square_().sum(1, keepdim=True).sqrt_()


def _axis(length: int) -> torch.Tensor:
    # An odd side runs from -0.5 to 0.5 with both ends, an even one without the upper: Kovesi's phase congruency.
    start, steps = (-(length - 1) / 2, length - 1) if length % 2 else (-length / 2, length)
    return (torch.arange(length, dtype=torch.float32) + start) / steps


def frequencies(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The plane that log-Gabor filters are drawn on: two (height, width) float32 grids of -0.5 .. 0.5, zero in the
    middle: along the rows' index, and the columns'."""
    down, across = torch.meshgrid(_axis(height), _axis(width), indexing="ij")
    return down, across
