"""SSIM and MS-SSIM.

Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE TIP 13(4), 2004; Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image
quality assessment", Asilomar 2003. Both look at luma. The finest scale of MS-SSIM is SSIM: it is computed once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from vcmbench.iqa.batch import Batch
from vcmbench.iqa.devices import side_by_side
from vcmbench.iqa.filters import along, gaussian_1d, gaussian_2d, over

Filter = Callable[[torch.Tensor], torch.Tensor]
Shrink = Callable[[torch.Tensor], torch.Tensor]

_C1, _C2 = 0.01**2, 0.03**2
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_BAND_PX = 1 << 17
"""Pixels that are worked on at once, so that the maps of a large picture stay in a core's cache."""


_SMALL_PX = 1 << 15
"""Below this a convolution costs less than 121 additions of small pictures."""


def textbook(x: torch.Tensor) -> torch.Tensor:
    """The papers' window: 11 taps, sigma 1.5."""
    kernel = gaussian_2d(11, 1.5)
    if x.is_cuda or x.numel() < _SMALL_PX:
        return F.conv2d(x, torch.tensor(kernel).to(x)[None, None])
    return over(x, kernel)


def published(x: torch.Tensor) -> torch.Tensor:
    """The published experiment's window: 3 taps, sigma 1/3."""
    taps = gaussian_1d(3, 1 / 3)
    return along(along(x, taps, 2), taps, 3)


def _maps(x: torch.Tensor, y: torch.Tensor, smooth: Filter) -> tuple[torch.Tensor, torch.Tensor]:
    """Structural similarity and its contrast part, each (N, 1, H - window + 1, W - window + 1)."""
    mean_x, mean_y = smooth(x), smooth(y)
    mean_xx, mean_yy, mean_xy = mean_x**2, mean_y**2, mean_x * mean_y
    var_x = smooth(x**2).sub_(mean_xx)
    var_y = smooth(y**2).sub_(mean_yy)
    covariance = smooth(x * y).sub_(mean_xy)
    contrast = covariance.mul_(2.0).add_(_C2).div_(var_x.add_(var_y).add_(_C2))
    luminance = mean_xy.mul_(2.0).add_(_C1).div_(mean_xx.add_(mean_yy).add_(_C1))
    return luminance.mul_(contrast), contrast


def means(x: torch.Tensor, y: torch.Tensor, window: int, smooth: Filter) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of structural similarity and of its contrast part, of (N, 1, H, W) in 0..1: each (N,)."""
    n, _, height, width = x.shape
    rows = height - window + 1
    step = rows if x.is_cuda else max(1, _BAND_PX // (n * width))
    similarity = x.new_empty(n, rows, width - window + 1)
    contrast = torch.empty_like(similarity)

    def band(top: int) -> None:
        bottom = min(top + step, rows)
        seen = slice(top, bottom + window - 1)
        found = _maps(x[:, :, seen], y[:, :, seen], smooth)
        similarity[:, top:bottom], contrast[:, top:bottom] = found[0][:, 0], found[1][:, 0]

    side_by_side(band, range(0, rows, step))
    return similarity.flatten(1).mean(-1), contrast.flatten(1).mean(-1)


def _finest(batch: Batch, profile: str) -> tuple[torch.Tensor, torch.Tensor]:
    if profile == "standard":
        return batch.made("ssim 11", lambda: means(*batch.split(batch.luma), 11, textbook))
    return batch.made("ssim 3", lambda: means(*batch.split(batch.gray), 3, published))


def ssim_luma(batch: Batch) -> torch.Tensor:
    """SSIM of luma, window 11, sigma 1.5, pictures not shrunk: (N,)."""
    return _finest(batch, "standard")[0]


def ssim_gray(batch: Batch) -> torch.Tensor:
    """SSIM of 8-bit luma, window 3, sigma 1/3: (N,)."""
    return _finest(batch, "qomex2023")[0]


def _scales(
    batch: Batch, both: torch.Tensor, shrink: Shrink, finest: tuple[torch.Tensor, torch.Tensor], window: int,
    smooth: Filter,
) -> torch.Tensor:  # fmt: skip
    """The product over five scales: contrast at four, structural similarity at the coarsest; negative parts count 0."""
    similarity, contrast = finest
    parts = [contrast]
    for _ in _WEIGHTS[1:]:
        both = shrink(both)
        similarity, contrast = means(*batch.split(both), window, smooth)
        parts.append(contrast)
    parts[-1] = similarity
    return (torch.relu(torch.stack(parts, -1)) ** torch.tensor(_WEIGHTS, device=both.device)).prod(-1)


def _halve_repeating_edge(x: torch.Tensor) -> torch.Tensor:
    """Half the size; where a side is odd, both grow by repeating the first row and column."""
    odd = max(x.shape[2] % 2, x.shape[3] % 2)
    return F.avg_pool2d(F.pad(x, (odd, 0, odd, 0), mode="replicate"), 2)


def _halve(x: torch.Tensor) -> torch.Tensor:
    """Half the size; the last row and column of odd sides are the mean of what is there."""
    return F.avg_pool2d(x, 2, ceil_mode=True)


def ms_ssim_luma(batch: Batch) -> torch.Tensor:
    """MS-SSIM of luma, window 11, sigma 1.5, five scales: (N,)."""
    return _scales(batch, batch.luma, _halve_repeating_edge, _finest(batch, "standard"), 11, textbook)


def ms_ssim_gray(batch: Batch) -> torch.Tensor:
    """MS-SSIM of 8-bit luma, window 3, sigma 1/3, five scales: (N,)."""
    return _scales(batch, batch.gray, _halve, _finest(batch, "qomex2023"), 3, published)
