"""Pairs of pictures, and what several metrics want of them, made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vcmbench.data.colour import LUMA

T = TypeVar("T")

U8 = NDArray[np.uint8]


class Batch:
    """N pairs of one size, decoded and pristine, each (N, H, W, 3) uint8 RGB.

    Tensors hold the decoded pictures first and the pristine ones behind them: 2N pictures that a kernel works on
    together. They are shared between metrics: nobody writes into them.
    """

    def __init__(
        self, decoded: U8, pristine: U8, device: torch.device, flips: NDArray[np.float32] | None = None
    ) -> None:
        """`flips` (N, H, W) is what metrics that need a network look at."""
        self.decoded, self.pristine, self.device, self.flips = decoded, pristine, device, flips
        self.size, self.height_px, self.width_px = decoded.shape[:3]
        self._made: dict[str, Any] = {}

    def made(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returns, made the first time that it is asked for under this name."""
        if name not in self._made:
            self._made[name] = make()
        found: T = self._made[name]
        return found

    def split(self, both: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(decoded, pristine) of a tensor of 2N pictures."""
        return both[: self.size], both[self.size :]

    def _tensor(self, pixels: U8) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device)

    @property
    def flat(self) -> torch.Tensor:
        """(2N,) bool: all pixels of the picture are equal."""

        def make() -> torch.Tensor:
            both = np.concatenate((self.decoded, self.pristine))
            return torch.from_numpy((both == both[:, :1, :1]).all((1, 2, 3))).to(self.device)

        return self.made("flat", make)

    @property
    def rgb(self) -> torch.Tensor:
        """(2N, 3, H, W) float32 R'G'B' in 0..1."""

        def make() -> torch.Tensor:
            pixels = self._tensor(np.concatenate((self.decoded, self.pristine)))
            return pixels.permute(0, 3, 1, 2).contiguous().to(torch.float32).div_(255)

        return self.made("rgb", make)

    @property
    def gray(self) -> torch.Tensor:
        """(2N, 1, H, W) float32 in 0..1: luma rounded to 8 bits, as Pillow's convert("L") does."""

        def make() -> torch.Tensor:
            pictures = [np.asarray(Image.fromarray(p).convert("L")) for p in (*self.decoded, *self.pristine)]
            return self._tensor(np.stack(pictures)[:, None]).to(torch.float32).div_(255)

        return self.made("gray", make)

    @property
    def gray3(self) -> torch.Tensor:
        """(2N, 3, H, W): `gray` three times, a contiguous copy."""
        return self.made("gray3", lambda: self.gray.repeat(1, 3, 1, 1))

    @property
    def luma(self) -> torch.Tensor:
        """(2N, 1, H, W) float32 luma in 0..1, not rounded."""

        def make() -> torch.Tensor:
            weights = torch.tensor(LUMA, device=self.device).view(1, 3, 1, 1)
            return (self.rgb * weights).sum(1, keepdim=True)

        return self.made("luma", make)
