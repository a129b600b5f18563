"""The embedded detector on pictures: what goes in and comes out is prepared and read as with ONNX files, by the keys
that also go beside it where it is exported."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from vcmbench.tasks import checkpoints, class_names
from vcmbench.tasks.base import Device, Picture
from vcmbench.tasks.batching import Batching
from vcmbench.tasks.onnx import detections, pixels
from vcmbench.tasks.onnx.keys import BoxOutput, NetworkInput, NetworkOutput

if TYPE_CHECKING:
    import torch

VERSION = 1
"""To be raised with every change of what this code makes of a picture: it is part of the scores' keys."""
INPUT = NetworkInput(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], multiple=32)
OUTPUT = NetworkOutput(kind="boxes", boxes=BoxOutput(columns="scores", threshold=0.05, nms=0.6))


class EmbeddedDetector:
    """Runs a `networks.detector.Detector`; see `Batching`."""

    at_once = Batching.at_once

    def __init__(self, network: torch.nn.Module, place: Device, classes: list[str] | None = None) -> None:
        from vcmbench.tasks.networks.detector import CLASSES

        self._pixels = pixels.of(INPUT, "pictures", [1, 3, None, None], "tensor(float)")
        self.classes = class_names.fitting(classes or list(CLASSES), len(CLASSES))
        self._reader = detections.Detections(("boxes",), "scores", self.classes, None, OUTPUT.boxes or BoxOutput())
        self._batching = Batching(network, self._read, lambda net, batch: net(batch), place)
        self.together = self._batching.together
        self.identity = {
            "network": "demo",
            "version": VERSION,
            "torch": metadata.version("torch"),
            "precision": place.precision,
            "device": place.device.split(":")[0],
            **({} if place.device == "cpu" else {"batch_size": place.batch_size}),
        }

    def _read(self, image: Picture) -> torch.Tensor:
        import torch

        return torch.from_numpy(self._pixels.tensor(image)[0][0])

    def run(self, images: Sequence[Picture]) -> list[NDArray[Any]]:
        """Boxes (N, 6) of each."""
        answers = []
        for image, rows in zip(images, self._batching.run(images), strict=True):
            size = image.shape[0], image.shape[1]
            padded = (size[0] + -size[0] % INPUT.multiple, size[1] + -size[1] % INPUT.multiple)
            answers.append(self._reader.read([rows], padded, size, size))
        return answers

    def close(self) -> None:
        self._batching.close()


def load(weights: Path) -> torch.nn.Module:
    """The network with these weights. Raises RequestError where they are not its own."""
    import torch

    from vcmbench.tasks.networks.detector import Detector

    network = Detector()
    checkpoints.fit(network, checkpoints.load(weights))
    return network.eval().to(memory_format=torch.channels_last)
