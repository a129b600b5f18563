"""Detection of objects as boxes, by the embedded network, one that is an ONNX file, or one of torchvision's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import RequestError
from vcmbench.tasks import checkpoints, class_names, embedded_detector, networks, own_networks, torchvision_networks
from vcmbench.tasks.base import Device, LocalTask, Picture, Prepared, TaskSettings
from vcmbench.tasks.batching import Batching, as_chw
from vcmbench.tasks.boxes import inside
from vcmbench.tasks.embedded_detector import EmbeddedDetector
from vcmbench.tasks.onnx import document, session
from vcmbench.tasks.onnx import network as onnx_network
from vcmbench.tasks.onnx.network import OnnxNetwork

_CELL_PX = 16


class Detection(LocalTask):
    """Boxes are brought back to the picture's size, whatever the network was given."""

    kind = "detection"
    embedded: ClassVar[tuple[str, ...]] = tuple(networks.EMBEDDED["detection"])
    about_models = (
        'an ONNX file (tasks inspect) with its [task.output] kind = "boxes", or torchvision/NAME + checkpoint'
    )

    @classmethod
    def device(cls, prepared: Prepared, gpu: str) -> str:
        return session.device(gpu) if "onnx" in prepared.options else super().device(prepared, gpu)

    @classmethod
    def prepare(cls, settings: TaskSettings) -> Prepared:
        if settings.model.startswith(torchvision_networks.PREFIX):
            return torchvision_networks.prepare(settings, "detection")
        if document.is_onnx(settings.model):
            return onnx_network.prepare(settings)
        if settings.model not in cls.embedded:
            ours = " or ".join(map(repr, cls.embedded))
            raise RequestError(
                f"model {settings.model!r}: a detector is {ours}, an ONNX file or torchvision/NAME (docs/tasks.md)"
            )
        own_networks.check(settings, "the ONNX file")
        if settings.checkpoint is not None:
            raise RequestError(
                f"checkpoint {settings.checkpoint}: the model {settings.model!r} has its own; leave it out"
            )
        weights, classes = networks.weights("detection", settings.model), class_names.given(settings.classes)
        return Prepared({"weights_sha256": checkpoints.sha256(weights), "classes": classes}, {"weights": weights})

    @classmethod
    def example(cls, folder: Path) -> dict[str, Any]:
        """Bright and dark cells of the picture as boxes."""
        return {
            "model": str(cells(folder / "cells.onnx")), "classes": ["bright", "dark"], "input": {"scale": "1/255"},
            "output": {"kind": "boxes", "boxes": {"columns": "scores", "threshold": 0.5}},
        }  # fmt: skip

    def __init__(self, prepared: Prepared, place: Device) -> None:
        opened = next((how for key, how in _OPENED.items() if key in prepared.options), _embedded)
        lanes, self.classes, about = opened(prepared, place)
        self._lanes: _Lanes = lanes
        self.at_once, self.together = lanes.at_once, lanes.together
        digest = hashlib.sha256(json.dumps(self.classes).encode()).hexdigest()
        self._identity = {"task": "detection", **about, "classes_sha256": digest}

    def identity(self) -> dict[str, Any]:
        return dict(self._identity)

    def predict(self, images: Sequence[Picture]) -> list[NDArray[Any]]:
        found = self._lanes.run(images)
        if not isinstance(self._lanes, Batching):
            return found
        return [inside(rows[~np.isnan(rows[:, 0])], image.shape[:2])
                for image, rows in zip(images, found, strict=True)]  # fmt: skip

    def close(self) -> None:
        self._lanes.close()


_Lanes = OnnxNetwork | EmbeddedDetector | Batching
_Opened = tuple[_Lanes, tuple[str, ...], dict[str, Any]]
"""What runs the network, its classes, and its part of the identity."""


def _embedded(prepared: Prepared, place: Device) -> _Opened:
    network = embedded_detector.load(prepared.files["weights"])
    lanes = EmbeddedDetector(network, place, prepared.options["classes"])
    return lanes, lanes.classes, {**lanes.identity, "weights_sha256": prepared.options["weights_sha256"]}


def _onnx(prepared: Prepared, place: Device) -> _Opened:
    found = OnnxNetwork(prepared, place, "boxes")
    return found, found.classes, found.identity


def _torchvision(prepared: Prepared, place: Device) -> _Opened:
    network, classes, numbers = torchvision_networks.detecting(prepared)
    lanes = Batching(network, as_chw, partial(torchvision_networks.boxes, numbers=numbers), place)
    return lanes, classes, torchvision_networks.identity(prepared, place)


_OPENED = {"onnx": _onnx, "torchvision": _torchvision}


def cells(path: Path) -> Path:
    """(1, 3, h, w) -> rows (N, 6): of each cell its corners, how bright it is, and how dark."""
    import onnx  # what measures does not need it
    from onnx import TensorProto, helper, numpy_helper

    side = _CELL_PX
    constants = {"rows": np.array([-1, 1]), "xy": np.array([3, 2, 3, 2]),
                 "step": np.full(4, side, np.float32), "far": np.array([0, 0, side, side], np.float32),
                 "one": np.float32(1)}  # fmt: skip
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["gray"], axes=[1]),
        helper.make_node("AveragePool", ["gray"], ["mean"], kernel_shape=[side, side], strides=[side, side]),
        helper.make_node("Reshape", ["mean", "rows"], ["bright"]),
        helper.make_node("Sub", ["one", "bright"], ["dark"]),
        helper.make_node("Shape", ["mean"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["all"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        helper.make_node("NonZero", ["all"], ["places"]),
        helper.make_node("Gather", ["places", "xy"], ["corners"], axis=0),
        helper.make_node("Transpose", ["corners"], ["by_cell"]),
        helper.make_node("Cast", ["by_cell"], ["cells"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cells", "step"], ["near"]),
        helper.make_node("Add", ["near", "far"], ["boxes"]),
        helper.make_node("Concat", ["boxes", "bright", "dark"], ["y"], axis=1),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "cells", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
