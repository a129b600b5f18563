"""Where a segmentation network's answer depends on a picture's error: integrated gradients along the coding error."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import RequestError
from vcmbench.tasks import base
from vcmbench.tasks.base import Device, Picture, TaskSettings
from vcmbench.tasks.batching import as_chw, complaints, twin
from vcmbench.tasks.opening import missing_packages
from vcmbench.tasks.segmentation import Segmentation, logits, segment

if TYPE_CHECKING:
    import torch

VERSION = 1
"""To be raised with every change of the answers: it is part of jobs' keys."""


class SegmentationSensitivity:
    """A segmentation network of PyTorch, on the CPU, one thread a picture (see `compress.sensitivity.Sensitivity`).

    The loss is the sum over pixels of 1 - p(label on the pristine picture). It is opened when it is first asked, and
    anew in each process. Raises RequestError for a task that has no gradients here.
    """

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings
        if (kind := base.get(settings.name)) is not Segmentation:
            raise RequestError(f'source "task": asks segmentation networks of PyTorch; task {kind.__name__} is none')
        if absent := missing_packages():
            raise RequestError(f'source "task": needs {", ".join(absent)}, which this Python does not have')
        self._local, self._opening = threading.local(), threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return SegmentationSensitivity, (self.settings,)

    @cached_property
    def _task(self) -> Segmentation:
        return Segmentation(Segmentation.prepare(self.settings), Device())

    def identity(self) -> dict[str, Any]:
        with self._opening:
            return {**self._task.identity(), "sensitivity": VERSION}

    def agreement(self, pristine: Picture, decoded: Picture) -> float:
        labels = self._labels(pristine)
        with complaints(decoded):
            return float(np.mean(self._segmented(decoded) == labels))

    def contributions(self, pristine: Picture, decoded: Picture, points: int) -> NDArray[np.float32]:
        """Gradients at the middles of `points` equal parts of the line between the pictures (Sundararajan et al.,
        2017, equation 3), times the error, summed over colours."""
        import torch

        network, labels = self._network(), self._labels(pristine)
        with complaints(decoded):
            start = as_chw(pristine)[None].float()
            error = as_chw(decoded)[None].float() - start
            wanted = torch.from_numpy(labels.astype(np.int64))[None, None]
            total = torch.zeros_like(start)
            for point in range(points):
                at = (start + error * ((point + 0.5) / points)).requires_grad_()
                loss = -_probability(logits(network, at), wanted).sum()
                total += torch.autograd.grad(loss, at)[0]
            result: NDArray[np.float32] = (total * error / points).sum(1)[0].numpy()
        return result

    def _labels(self, pristine: Picture) -> NDArray[np.uint8]:
        """On the pristine picture; those of the last one are kept, for it is asked several times."""
        if getattr(self._local, "picture", None) is not pristine:
            with complaints(pristine):
                self._local.labels = self._segmented(pristine)
            self._local.picture = pristine
        labels: NDArray[np.uint8] = self._local.labels
        return labels

    def _segmented(self, image: Picture) -> NDArray[np.uint8]:
        import torch

        network = self._network()
        with torch.inference_mode():
            result: NDArray[np.uint8] = segment(network, as_chw(image)[None])[0].numpy()
        return result

    def _network(self) -> Any:
        """This thread's own, on one core: the last bits of a convolution depend on how many threads it has."""
        import torch

        if not hasattr(self._local, "network"):
            with self._opening:
                self._local.network = twin(self._task.network)
        torch.set_num_threads(1)
        return self._local.network


def _probability(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of each pixel's label, (N, 1, H, W); a single output tells two classes apart."""
    if outputs.shape[1] == 1:
        one = outputs.sigmoid()
        return one * labels + (1 - one) * (1 - labels)
    return outputs.softmax(1).gather(1, labels)
