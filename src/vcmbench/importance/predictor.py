"""Where a segmentation network will be sensitive to coding errors, from the pristine picture alone: a small network.

It is run by numpy, and exactly: activations are whole 256ths of 16 bits, weights are of half precision, and sums of
their products fit float64 without rounding. So a picture has the same steps on every machine, by any BLAS, on any
number of threads. `python -m vcmbench.demo.train_sensitivity` makes the weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I16 = NDArray[np.int16]

VERSION = 1
"""To be raised with every change of what this code makes of picture and weights: it is part of the jobs' keys."""
WEIGHTS = Path(__file__).with_name("sensitivity.safetensors")
BLOCK_PX = 16
MOST_STEPS = 12.0
UNIT = 1 / 256
"""Of activations."""
_MOST = 2**15 - 1
_STRIP_CELLS = 1 << 16  # of float64, which stay in a core's cache
_MEAN, _STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
USUAL_BPP = 0.2


class LayerShape(NamedTuple):
    """A convolution of 3x3 with padding of zeros, and ReLU unless it is the last. `is_halved`: of maxima of 2x2."""

    inputs: int
    outputs: int
    stride: int = 1
    dilation: int = 1
    is_halved: bool = False
    is_added: bool = False
    """To what it is given."""


SEEING = (
    LayerShape(3, 20, stride=2), LayerShape(20, 20),
    LayerShape(20, 40, is_halved=True), LayerShape(40, 40),
    LayerShape(40, 80, is_halved=True), LayerShape(80, 80),
    LayerShape(80, 160, is_halved=True), LayerShape(160, 160),
)  # fmt: skip
"""The way down of the embedded segmentation network, whose weights they begin with."""
JUDGING = (
    LayerShape(161, 96),
    LayerShape(96, 96, dilation=2, is_added=True),
    LayerShape(96, 96, dilation=4, is_added=True),
    LayerShape(96, 1),
)
"""Of what was seen, and a plane that says how coarsely the picture is coded."""


def coarseness(bpp: float) -> float:
    """The plane's value for a picture that is coded with about `bpp` bits a pixel."""
    return float(np.clip(math.log2(bpp / USUAL_BPP), -8, 8))


def scaled(rgb: NDArray[np.uint8]) -> I16:
    """The network's input in units: (H, W, 3), both sides a multiple of the blocks', by repeating the edge."""
    below, beside = (-side % BLOCK_PX for side in rgb.shape[:2])
    values = np.pad(rgb, ((0, below), (0, beside), (0, 0)), mode="edge")
    table = np.rint((np.arange(256)[:, None] - _MEAN) / _STD / UNIT).astype(np.int16)
    inputs: I16 = table[values, np.arange(3)]
    return inputs


@dataclass(frozen=True, eq=False)
class Convolution:
    """One layer with its weights, (outputs, inputs, 3, 3) and (outputs,)."""

    layer: LayerShape
    weight: F64
    bias: F64

    def __call__(self, values: I16, lowest: int = 0) -> I16:
        """Of (H, W, channels) in units, cut at `lowest`. By strips of rows, so that memory stays flat."""
        layer = self.layer
        if layer.is_halved:
            rows, columns = (side // 2 * 2 for side in values.shape[:2])
            pairs = np.maximum(values[:rows:2, :columns], values[1:rows:2, :columns])
            values = np.maximum(pairs[:, ::2], pairs[:, 1::2])
        by, apart = layer.stride, layer.dilation
        padded = np.pad(values, ((apart, apart), (apart, apart), (0, 0)))
        reach = 2 * apart + 1
        windows = np.lib.stride_tricks.sliding_window_view(padded, (reach, reach), (0, 1))[
            ::by, ::by, :, ::apart, ::apart
        ]
        windows = windows.transpose(0, 1, 3, 4, 2)
        height, width = windows.shape[:2]
        matrix = self.weight.transpose(2, 3, 1, 0).reshape(-1, layer.outputs)
        found = np.empty((height, width, layer.outputs), np.int16)
        strip = max(1, _STRIP_CELLS // (width * len(matrix)))
        for top in range(0, height, strip):
            part = np.ascontiguousarray(windows[top : top + strip]).astype(np.float64)
            sums = part.reshape(-1, len(matrix)) @ matrix
            sums += self.bias / UNIT
            np.clip(np.rint(sums, sums), lowest, _MOST, sums)
            found[top : top + strip] = sums.reshape(-1, width, layer.outputs)
        return np.minimum(found, _MOST - values) + values if layer.is_added else found


class SensitivityPredictor:
    """The network with weights of half precision, by name: "seeing.0.weight" (outputs, inputs, 3, 3), .. "bias"."""

    def __init__(self, weights: Mapping[str, NDArray[np.float16]]) -> None:
        def all_of(name: str, layers: tuple[LayerShape, ...]) -> list[Convolution]:
            numbers = {key: value.astype(np.float64) for key, value in weights.items()}
            return [Convolution(layer, numbers[f"{name}.{i}.weight"], numbers[f"{name}.{i}.bias"])
                    for i, layer in enumerate(layers)]  # fmt: skip

        self._seeing, self._judging = all_of("seeing", SEEING), all_of("judging", JUDGING)

    def steps(self, rgb: NDArray[np.uint8], bpp: float) -> F64:
        """How many steps finer (below 0) or coarser each block of a picture, (H, W, 3) uint8 R'G'B', should be coded,
        of which 6 double the quantiser step: (rows, columns) of `BLOCK_PX`, from the top left corner, within
        +-MOST_STEPS, of median 0. `bpp` is about how many bits a pixel the picture will take."""
        values = scaled(rgb)
        for convolution in self._seeing:
            values = convolution(values)
        plane = np.full((*values.shape[:2], 1), round(coarseness(bpp) / UNIT), np.int16)
        values = np.concatenate((values, plane), axis=2)
        for convolution in self._judging[:-1]:
            values = convolution(values)
        found = self._judging[-1](values, lowest=-_MOST)[..., 0] * UNIT
        steps: F64 = np.clip(found - np.median(found), -MOST_STEPS, MOST_STEPS)
        return steps


def load(path: Path | None = None) -> tuple[SensitivityPredictor, str]:
    """The network of a file of weights, by default `WEIGHTS`, and what decides its answers, as one text."""
    return _loaded(path or WEIGHTS)


@cache
def _loaded(path: Path) -> tuple[SensitivityPredictor, str]:
    data = path.read_bytes()
    return SensitivityPredictor(_tensors(data)), f"predictor {VERSION} {sha256(data).hexdigest()}"


def _tensors(data: bytes) -> dict[str, NDArray[np.float16]]:
    """Of a safetensors file, whose library is not needed to compress: the length of a header, JSON, and numbers."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data[end + one["data_offsets"][0] : end + one["data_offsets"][1]], "<f2")
            .reshape(one["shape"]) for name, one in header.items()}  # fmt: skip
