"""Instance segmentation, by a network that is an ONNX file, or one of torchvision's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import RequestError
from vcmbench.tasks import detection, torchvision_networks
from vcmbench.tasks.base import Device, LocalTask, Picture, Prepared, TaskSettings
from vcmbench.tasks.batching import Batching, as_chw
from vcmbench.tasks.boxes import COLUMNS
from vcmbench.tasks.onnx import document, session
from vcmbench.tasks.onnx import network as onnx_network
from vcmbench.tasks.onnx.network import OnnxNetwork
from vcmbench.tasks.segments import Segments, packed, pasted

_MASKS = f"{torchvision_networks.PREFIX}maskrcnn_"


class Instances(LocalTask):
    """Masks are of the picture's size, whatever the network was given."""

    kind = "instances"
    about_models = (
        f'an ONNX file (tasks inspect) with its [task.output] kind = "yolo-seg" or "boxes", or {_MASKS}.. + checkpoint'
    )

    @classmethod
    def device(cls, prepared: Prepared, gpu: str) -> str:
        return session.device(gpu) if "onnx" in prepared.options else super().device(prepared, gpu)

    @classmethod
    def prepare(cls, settings: TaskSettings) -> Prepared:
        if settings.model.startswith(_MASKS):
            return torchvision_networks.prepare(settings, "detection")
        if not document.is_onnx(settings.model):
            raise RequestError(f"model {settings.model!r}: what finds masks of objects is an ONNX file, .onnx, or "
                               f"{_MASKS}.. (docs/tasks.md)")  # fmt: skip
        return onnx_network.prepare(settings)

    @classmethod
    def example(cls, folder: Path) -> dict[str, Any]:
        """Bright pixels of bright cells, dark ones of dark cells."""
        return {
            "model": str(_cells(folder / "cells.onnx")), "classes": ["bright", "dark"], "input": {"scale": "1/255"},
            "output": {"kind": "yolo-seg", "name": "y", "boxes": {"corners": "xyxy", "threshold": 0.5}},
        }  # fmt: skip

    def __init__(self, prepared: Prepared, place: Device) -> None:
        if "onnx" in prepared.options:
            network = OnnxNetwork(prepared, place, "instances")
            self._lanes: OnnxNetwork | Batching = network
            self.classes, about = network.classes, network.identity
        else:
            opened, self.classes, numbers = torchvision_networks.detecting(prepared)
            self._lanes = Batching(opened, as_chw, partial(torchvision_networks.masks, numbers=numbers), place)
            about = torchvision_networks.identity(prepared, place)
        self.at_once, self.together = self._lanes.at_once, self._lanes.together
        digest = hashlib.sha256(json.dumps(self.classes).encode()).hexdigest()
        self._identity = {"task": "instances", **about, "classes_sha256": digest}

    def identity(self) -> dict[str, Any]:
        return dict(self._identity)

    def predict(self, images: Sequence[Picture]) -> list[NDArray[Any]]:
        found = self._lanes.run(images)
        if isinstance(self._lanes, OnnxNetwork):
            return found
        return [_of_rows(rows[~np.isnan(rows[:, 0])], image.shape[:2])
                for image, rows in zip(images, found, strict=True)]  # fmt: skip

    def close(self) -> None:
        self._lanes.close()


def _of_rows(rows: NDArray[np.float32], shape: tuple[int, ...]) -> Segments:
    """Of rows (N, 6 + h h): corners, class, score, and the probabilities of the mask in there."""
    side = isqrt(rows.shape[1] - COLUMNS)
    return packed(
        [(int(one[4]), float(one[5]), pasted(one[COLUMNS:].reshape(side, side), one[:4], (shape[0], shape[1])))
         for one in rows]
    )  # fmt: skip


def _cells(path: Path) -> Path:
    """The detector of the same name, whose rows go on with a coefficient, how bright the cell is, -1 to 1, of one
    prototype: how bright a pixel of a quarter of the size is."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(detection.cells(path))
    graph = model.graph
    graph.node.pop()
    graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    graph.node.extend([
        helper.make_node("Sub", ["bright", "dark"], ["coefficient"]),
        helper.make_node("Concat", ["boxes", "bright", "dark", "coefficient"], ["y"], axis=1),
        helper.make_node("AveragePool", ["gray"], ["quarter"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Sub", ["quarter", "half"], ["prototypes"]),
    ])  # fmt: skip
    del graph.output[:]
    graph.output.extend([helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 7]),
                         helper.make_tensor_value_info("prototypes", TensorProto.FLOAT, [1, 1, "p", "q"])])  # fmt: skip
    onnx.save(model, path)
    return path
