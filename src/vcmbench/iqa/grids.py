"""The plane of frequencies that log-Gabor filters are drawn on."""

from __future__ import annotations

import torch


def _axis(length: int) -> torch.Tensor:
    # An odd side runs from -0.5 to 0.5 with both ends, an even one without the upper: Kovesi's phase congruency.
    start, steps = (-(length - 1) / 2, length - 1) if length % 2 else (-length / 2, length)
    return (torch.arange(length, dtype=torch.float32) + start) / steps


def frequencies(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two (height, width) float32 grids of -0.5 .. 0.5, zero in the middle: along the rows' index, and the columns'."""
    down, across = torch.meshgrid(_axis(height), _axis(width), indexing="ij")
    return down, across
