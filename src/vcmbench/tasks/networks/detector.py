"""The embedded detector: objects as peaks of a map of their centres, with the distances to the sides of their boxes.

As in CenterNet (X. Zhou et al., 2019) and TTFNet (Z. Liu et al., 2020); what sees is the U-Net of the embedded
segmentation network without its finest level.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

CLASSES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
MULTIPLE = 32
"""Both sides of a picture must be multiples of it."""
STRIDE = 4
"""Pixels that a place of the maps stands for, along either side."""
_LEVELS = 5
_WIDTH = 20
_OF_HEAD = 80
_RARE = -4.6
"""The logit of 0.01: centres are rare, and training is to begin with that."""
_MOST_LOG = 6.0


def _block(channels: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())


class Detector(nn.Module):
    """Pictures (N, 3, H, W) float32 in, normalised R'G'B'; see `maps` and `forward`."""

    def __init__(self) -> None:
        super().__init__()
        widths = [_WIDTH << level for level in range(_LEVELS)]
        self.down = nn.ModuleList(
            nn.Sequential(_block(below, width, stride=1 + (level == 0)), _block(width, width))
            for level, (below, width) in enumerate(zip([3, *widths], widths, strict=False))
        )
        coarse_first = widths[:0:-1][:-1]
        self.narrow = nn.ModuleList(_block(width, width // 2, kernel=1) for width in coarse_first)
        self.merge = nn.ModuleList(_block(width, width // 2) for width in coarse_first)
        self.centres, self.sides = (
            nn.Sequential(_block(widths[1], _OF_HEAD), nn.Conv2d(_OF_HEAD, out, 1)) for out in (len(CLASSES), 4)
        )
        nn.init.constant_(self.centres[1].bias, _RARE)  # type: ignore[arg-type]

    def maps(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(N, classes, h, w) logits of there being a centre, and (N, 4, h, w) distances in px from there to the left,
        upper, right and lower side; h and w are H and W by STRIDE."""
        levels = [self.down[0](pictures)]
        for down in list(self.down)[1:]:
            levels.append(down(functional.max_pool2d(levels[-1], 2)))
        seen = levels.pop()
        for narrow, merge in zip(self.narrow, self.merge, strict=True):
            wide = functional.interpolate(seen, scale_factor=2.0, mode="bilinear", align_corners=False)
            seen = merge(torch.cat([levels.pop(), narrow(wide)], dim=1))
        return self.centres(seen).float(), self.sides(seen).float().clamp(max=_MOST_LOG).exp() * STRIDE

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, places, 4 + classes): x0, y0, x1, y1 in px of the input, and a score of each class, which is 0 but where
        it is the highest of nine places."""
        logits, sides = self.maps(pictures)
        scores = logits.sigmoid()
        peaks = scores * (functional.max_pool2d(scores, 3, stride=1, padding=1) == scores)
        y, x = ((torch.arange(scores.shape[axis], device=sides.device) + 0.5) * STRIDE for axis in (2, 3))
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        centres = torch.stack([columns, rows])
        boxes = torch.cat([centres - sides[:, :2], centres + sides[:, 2:]], dim=1)
        return torch.cat([boxes, peaks], dim=1).flatten(2).transpose(1, 2)
