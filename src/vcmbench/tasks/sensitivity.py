"""Where a segmentation network's answer depends on a picture's error: integrated gradients along the coding error, or
where a network has none, differences over blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import base, differences
from vcmbench.tasks.base import Device, Picture, TaskSettings
from vcmbench.tasks.batching import as_chw, complaints, twin
from vcmbench.tasks.onnx import gradients
from vcmbench.tasks.onnx.network import OnnxNetwork
from vcmbench.tasks.opening import missing_packages
from vcmbench.tasks.segmentation import Logits, Segmentation

if TYPE_CHECKING:
    import torch

VERSION = 2
"""To be raised with every change of the answers: it is part of jobs' keys."""


class Answering(Protocol):
    """A network of one thread."""

    def answer(self, image: Picture) -> NDArray[np.uint8]:
        """The class of each pixel, (H, W), as the task itself says it."""


@runtime_checkable
class Differentiable(Answering, Protocol):
    """One with gradients."""

    def input(self, image: Picture) -> torch.Tensor:
        """What the network is given, (1, ..) float32: a linear function of the pixels."""

    def logits(self, numbers: torch.Tensor) -> torch.Tensor:
        """(1, K, h, w) of such an input; one plane tells two classes apart."""

    def labels(self, logits: torch.Tensor) -> torch.Tensor:
        """(1, 1, h, w), the class that they say."""

    def at_pixels(self, values: torch.Tensor, image: Picture) -> NDArray[np.float32]:
        """Values of an input's numbers as those of the picture's pixels, (H, W), with the same sum."""


class TorchGradients:
    """Of a network of PyTorch."""

    def __init__(self, network: torch.nn.Module, logits: Logits) -> None:
        self._network, self._logits = twin(network), logits

    def answer(self, image: Picture) -> NDArray[np.uint8]:
        import torch

        with torch.inference_mode():
            found = self.labels(self._logits(self._network, as_chw(image)[None]))[0, 0]
        answer: NDArray[np.uint8] = found.to(torch.uint8).numpy()
        return answer

    def input(self, image: Picture) -> torch.Tensor:
        return as_chw(image)[None].float()

    def logits(self, numbers: torch.Tensor) -> torch.Tensor:
        return self._logits(self._network, numbers)

    def labels(self, logits: torch.Tensor) -> torch.Tensor:
        if logits.shape[1] == 1:
            return logits.sigmoid() > float(self._network.decode_head.threshold)
        return logits.argmax(1, keepdim=True)

    def at_pixels(self, values: torch.Tensor, image: Picture) -> NDArray[np.float32]:
        found: NDArray[np.float32] = values.sum(1)[0].numpy()
        return found


class SegmentationSensitivity:
    """A segmentation network, on the CPU, one thread a picture (see `compress.sensitivity.Sensitivity`).

    The loss is the sum over pixels of 1 - p(label on the pristine picture); of an ONNX file without gradients, how many
    pixels have another label. The task is opened when it is first asked,
    and anew in each process. Raises RequestError for a task that is none, or one of PyTorch without gradients.
    """

    def __init__(self, settings: TaskSettings, planned: dict[str, Any] | None = None) -> None:
        """`planned` is the identity that jobs were planned with, in another process."""
        self.settings, self._planned = settings, planned
        self.without_gradients = ""
        """Why it has none, once it is opened."""
        if (kind := base.get(settings.name)) is not Segmentation:
            raise RequestError(f'source "task": asks segmentation networks; task {kind.__name__} is none')
        if absent := missing_packages():
            raise RequestError(f'source "task": needs {", ".join(absent)}, which this Python does not have')
        self._local, self._opening = threading.local(), threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return SegmentationSensitivity, (self.settings, self.identity())

    @cached_property
    def opened(self) -> tuple[dict[str, Any], Callable[[], Answering]]:
        about, own = self._open()
        if self._planned not in (None, about):
            raise JobError(
                f"model {self.settings.model}: the network is another than when this run began; run it again"
            )
        return about, own

    def _open(self) -> tuple[dict[str, Any], Callable[[], Answering]]:
        """The task's identity, and what makes a thread its own network."""
        task = Segmentation(Segmentation.prepare(self.settings), Device())
        about = {**task.identity(), "sensitivity": VERSION}
        if isinstance(network := task.network, OnnxNetwork):
            try:
                module = gradients.convert(network)
            except gradients.NoGradientsError as why:
                self.without_gradients = str(why)
                return about | {"differences": differences.VERSION}, lambda: network
            about |= {name: metadata.version(name) for name in ("onnx", "onnx2torch", "torch")}
            return about, lambda: gradients.OnnxGradients(network, module)
        if (logits := task.logits) is None:
            raise RequestError(f"model {self.settings.model}: has no gradients")
        return about, lambda: TorchGradients(network, logits)

    def identity(self) -> dict[str, Any]:
        with self._opening:
            return dict(self.opened[0])

    def agreement(self, pristine: Picture, decoded: Picture) -> float:
        return float(np.mean(self._answer(decoded) == self._pristine(pristine)[0]))

    def contributions(self, pristine: Picture, decoded: Picture, points: int) -> NDArray[np.float32]:
        """Gradients at the middles of `points` equal parts of the line between the pictures (Sundararajan et al.,
        2017, equation 3), times the error; `points` mean nothing to differences."""
        import torch

        network, (truth, labels) = self._network(), self._pristine(pristine)
        with complaints(decoded):
            if not isinstance(network, Differentiable) or labels is None:
                return differences.contributions(network.answer, truth, pristine, decoded)
            start = network.input(pristine)
            error = network.input(decoded) - start
            total = torch.zeros_like(start)
            for point in range(points):
                at = (start + error * ((point + 0.5) / points)).requires_grad_()
                loss = -_probability(network.logits(at), labels).sum()
                total += torch.autograd.grad(loss, at)[0]
            pixels_of_label = pristine.shape[0] * pristine.shape[1] / labels.numel()
            return network.at_pixels(total * error * (pixels_of_label / points), pristine)

    def margins(self, picture: Picture) -> NDArray[np.float32]:
        """By how much the most probable class of each pixel leads the next one, (H, W) in [0, 1]. Raises RequestError
        for a network whose logits are out of reach."""
        import torch

        network = self._network()
        if not isinstance(network, Differentiable):
            raise RequestError(f"model {self.settings.model}: no margins: {self.identity()['because']}")
        with complaints(picture), torch.inference_mode():
            outputs = network.logits(network.input(picture))
            if outputs.shape[1] == 1:
                found = (2 * outputs.sigmoid() - 1).abs()
            else:
                first, second = outputs.softmax(1).topk(2, 1).values.unbind(1)
                found = (first - second)[:, None]
            found = torch.nn.functional.interpolate(found, picture.shape[:2], mode="bilinear")
        values: NDArray[np.float32] = found[0, 0].numpy()
        return values

    def _pristine(self, pristine: Picture) -> tuple[NDArray[np.uint8], torch.Tensor | None]:
        """The answer on the pristine picture, and the labels of its logits if it has any; those of the last one are
        kept, for it is asked several times."""
        import torch

        if getattr(self._local, "picture", None) is not pristine:
            network, labels = self._network(), None
            if isinstance(network, Differentiable):
                with complaints(pristine), torch.inference_mode():
                    labels = network.labels(network.logits(network.input(pristine))).long()
                labels = labels.clone()  # one of inference mode has no part in gradients
            self._local.known = self._answer(pristine), labels
            self._local.picture = pristine
        known: tuple[NDArray[np.uint8], torch.Tensor | None] = self._local.known
        return known

    def _answer(self, image: Picture) -> NDArray[np.uint8]:
        network = self._network()
        with complaints(image):
            return network.answer(image)

    def _network(self) -> Answering:
        """This thread's own, on one core: the last bits of a convolution depend on how many threads it has."""
        import torch

        if not hasattr(self._local, "network"):
            with self._opening:
                self._local.network = self.opened[1]()
        torch.set_num_threads(1)
        network: Answering = self._local.network
        return network


def _probability(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of each label, (N, 1, h, w); a single output tells two classes apart."""
    if outputs.shape[1] == 1:
        one = outputs.sigmoid()
        return one * labels + (1 - one) * (1 - labels)
    return outputs.softmax(1).gather(1, labels)
