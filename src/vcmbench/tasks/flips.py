"""What share of its answers a network is expected to change once a picture is coded, from one look at the pristine one.

Each pixel's answer has a margin: the logit of its class less that of the next. An error e of the picture moves margins
by J e, where J are their derivatives. With errors of random sign that are alike nearby, the variance of a margin is
the mean, over its surroundings, of the energy of J times e squared; the energy of J's columns is estimated by
gradients of sums of margins with random signs (Hutchinson). An answer flips where the normal distribution of that
variance falls below minus the margin.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import JobError, RequestError
from vcmbench.tasks.base import Picture, TaskSettings
from vcmbench.tasks.batching import complaints
from vcmbench.tasks.sensitivity import Answering, Differentiable, SegmentationSensitivity

if TYPE_CHECKING:
    import torch

VERSION = 1
_DRAWS = 8
_NEARBY_PX = 8.0
_GAIN = 4.0
"""How much more an error of a codec moves a margin than one of random sign: it is alike over many pixels. On twelve
drawn training scenes in x264, x265 and JPEG the mean of what is expected is then that of what is lost."""
_KEPT_BYTES = 1 << 28


@dataclass(frozen=True)
class _Look:
    """Margins of a pristine picture's answers, (H, W) at its pixels, its input, and the energy there."""

    margins: NDArray[np.float32]
    input: torch.Tensor
    energy: torch.Tensor

    @property
    def size_bytes(self) -> int:
        return self.margins.nbytes + self.input.nbytes + self.energy.nbytes


class ExpectedFlips:
    """Of a segmentation network with gradients. Opened when it is first needed; threads take turns."""

    def __init__(self, settings: TaskSettings) -> None:
        self._asked, self._turn = SegmentationSensitivity(settings), threading.Lock()
        self._known: OrderedDict[bytes, _Look] = OrderedDict()
        self._made: Answering | None = None

    def identity(self) -> dict[str, Any]:
        """What decides the values, as JSON. Raises RequestError where the network cannot be opened or has no
        gradients."""
        try:
            about = self._asked.identity()
        except RequestError as error:
            raise RequestError(f"metrics.network, for Flips: {error}") from None
        if "differences" in about:
            raise RequestError(f"metrics.network, for Flips: {self._asked.without_gradients}")
        return {**about, "flips": VERSION}

    def of(self, pristine: Picture, decoded: Picture) -> NDArray[np.float32]:
        """The probability, 0..0.5, that the answer of each pixel flips, (H, W); both (H, W, 3) uint8 R'G'B'. The
        decoded picture is not shown to the network. Raises JobError where it cannot take the pictures."""
        from scipy.ndimage import gaussian_filter
        from scipy.special import ndtr

        with self._turn, complaints(pristine), _one_thread():
            network = self._made = self._made or self._asked.opened[1]()
            if not isinstance(network, Differentiable):
                raise JobError("the network has no gradients")
            look = self._look(network, pristine)
            error = network.input(decoded) - look.input
            moved = network.at_pixels(look.energy * error * error, pristine)
        spread = np.sqrt(np.maximum(gaussian_filter(moved, _NEARBY_PX), 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            flips = ndtr(-look.margins / (_GAIN * spread))
        return np.where(spread > 0, flips, np.float32(0)).astype(np.float32)

    def _look(self, network: Differentiable, pristine: Picture) -> _Look:
        which = hashlib.sha256(np.ascontiguousarray(pristine).data).digest()
        if which not in self._known:
            self._known[which] = _look_at(network, pristine)
            while len(self._known) > 1 and sum(look.size_bytes for look in self._known.values()) > _KEPT_BYTES:
                self._known.popitem(last=False)
        return self._known[which]


@contextmanager
def _one_thread() -> Iterator[None]:
    """The last bits of a convolution depend on how many threads it has."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _look_at(network: Differentiable, pristine: Picture) -> _Look:
    import torch

    at = network.input(pristine).clone().requires_grad_()
    logits = network.logits(at)
    if logits.shape[1] == 1:
        margins = logits.abs()
    else:
        best = logits.topk(2, dim=1).values
        margins = best[:, :1] - best[:, 1:]
    signs, energy = torch.Generator().manual_seed(0), torch.zeros_like(at)
    for draw in range(_DRAWS):
        chosen = torch.randint(0, 2, margins.shape, generator=signs) * 2 - 1
        (slopes,) = torch.autograd.grad((margins * chosen).sum(), at, retain_graph=draw < _DRAWS - 1)
        energy += slopes * slopes / _DRAWS
    size = pristine.shape[:2]
    energy *= size[0] * size[1] / margins.numel()  # of one margin, not of as many as lie at a pixel
    shown = torch.nn.functional.interpolate(margins.detach(), size, mode="bilinear", align_corners=False)
    return _Look(shown[0, 0].numpy(), at.detach(), energy)
