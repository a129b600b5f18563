"""An ONNX network as a module of PyTorch, of whose logits gradients can be taken."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import RequestError
from vcmbench.tasks.base import Picture
from vcmbench.tasks.onnx.network import OnnxNetwork

if TYPE_CHECKING:
    import torch


_TRIED_PX = 256


class OnnxGradients:
    """One thread's (see `tasks.sensitivity.Differentiable`). What goes in are the numbers that the network itself
    takes: on the way there pixels are only resized and scaled, so that errors stay errors."""

    def __init__(self, network: OnnxNetwork, module: torch.nn.Module) -> None:
        self._network, self._module = network, copy.deepcopy(module)

    def answer(self, image: Picture) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = self._network.answer(image)
        return found

    def input(self, image: Picture) -> torch.Tensor:
        import torch

        return torch.from_numpy(self._network.pixels.tensor(image)[0])

    def logits(self, numbers: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self._module(numbers)
        return found.permute(0, 3, 1, 2) if self._network.masks.layout == "nhwc" else found

    def labels(self, logits: torch.Tensor) -> torch.Tensor:
        return logits > 0 if logits.shape[1] == 1 else logits.argmax(1, keepdim=True)

    def at_pixels(self, values: torch.Tensor, image: Picture) -> NDArray[np.float32]:
        """Every number of the input is spread over the pixels that it came from: the sum stays."""
        import cv2

        summed: NDArray[np.float32] = values[0].sum(2 if self._network.pixels.layout == "nhwc" else 0).float().numpy()
        height, width = self._network.pixels.size_of(image)
        how = cv2.INTER_AREA if height * width > image.shape[0] * image.shape[1] else cv2.INTER_LINEAR
        wide = cv2.resize(summed[:height, :width], image.shape[1::-1], interpolation=how)
        return np.asarray(wide * (height * width / wide.size), np.float32)


class NoGradientsError(RequestError):
    """A network has none, and why."""


def convert(network: OnnxNetwork) -> torch.nn.Module:
    """Raises NoGradientsError for a network whose output are labels, or which PyTorch cannot be made of."""
    why = ""
    if network.masks.is_labels:
        why = "its output are labels; export it with its logits"
    elif network.pixels.dtype != "float32":
        why = f"its input is {network.pixels.dtype}; export it with one of float32"
    if why:
        raise NoGradientsError(f"{network.path}: has no gradients: {why}")
    try:
        import onnx
        import onnx2torch
    except ImportError:
        raise RequestError(
            'source "task" with an ONNX file needs onnx2torch: pip install "vcmbench[metrics]"'
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of onnx2torch about operators' versions
            module: Any = onnx2torch.convert(_renamed(onnx.load(str(network.path)), network.masks.name))
            _try(network, module)
    except Exception as error:  # whatever it raises over an operator that it does not know
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NoGradientsError(
            f"{network.path}: onnx2torch makes no PyTorch of it, so it has no gradients: {what}"
        ) from None
    found: torch.nn.Module = module.eval().requires_grad_(False)
    return found


def _try(network: OnnxNetwork, module: Any) -> None:
    """Some that are converted fail when they run: an operator was read otherwise than it was meant."""
    import torch

    blank = np.zeros((_TRIED_PX, _TRIED_PX, 3), np.uint8)
    with torch.inference_mode():
        found = OnnxGradients(network, module.eval()).logits(torch.from_numpy(network.pixels.tensor(blank)[0]))
    if found.ndim != 4:
        raise ValueError(f"its logits have {found.ndim} dimensions then")


def _renamed(model: Any, output: str) -> Any:
    """The same graph with names of ours and that output alone. PyTorch writes a module's code with the names in it and
    runs that: those of a stranger's file could be code."""
    names: dict[str, str] = {"": ""}

    def own(name: str) -> str:
        return names.setdefault(name, f"v{len(names)}")

    graph = model.graph
    if (
        model.functions
        or graph.sparse_initializer
        or any(one.g.node or one.graphs for node in graph.node for one in node.attribute)
    ):
        raise ValueError("it has functions, sparse weights or graphs within its graph")
    kept = [one for one in graph.output if one.name == output]
    del graph.output[:]
    graph.output.extend(kept)
    for number, node in enumerate(graph.node):
        node.name = f"n{number}"
        node.input[:], node.output[:] = [list(map(own, of)) for of in (node.input, node.output)]
    for one in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        one.name = own(one.name)
    return model
