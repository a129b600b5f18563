"""Small networks as ONNX files: each is a table of weights (K, 3), applied to every pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.array([[1, 0, -1], [0, 1, -0.5], [-1, 0.25, 1], [0.3, -1, 0.4]], np.float32)
FREE = ["n", 3, "h", "w"]


def save(
    path: Path,
    nodes: list[Any],
    shapes: tuple[Any, Any] = (FREE, ["n", 4, "h", "w"]),
    *,
    types: tuple[int, int] = (TensorProto.FLOAT, TensorProto.FLOAT),
    weights: dict[str, NDArray[Any]] | None = None,
    opset: int = 17,
    more: tuple[list[Any], list[Any]] = ((), ()),  # type: ignore[assignment]
    metadata: dict[str, str] | None = None,
    **how: Any,
) -> Path:
    """Nodes from "x" to "y", with `shapes` and `types` of both; `more` are inputs and outputs beside them."""
    tensors = [numpy_helper.from_array(values, name) for name, values in (weights or {}).items()]
    inputs = [helper.make_tensor_value_info("x", types[0], shapes[0]), *more[0]]
    outputs = [helper.make_tensor_value_info("y", types[1], shapes[1]), *more[1]]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    domains = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path, **how)
    return path


def by_pixel(path: Path, weights: NDArray[np.float32] = WEIGHTS, **how: Any) -> Path:
    """(n, 3, h, w) -> logits (n, K, h, w), by a convolution of 1x1."""
    shapes = how.pop("shapes", (FREE, ["n", len(weights), "h", "w"]))
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    return save(path, [node], shapes, weights={"w": weights[:, :, None, None]}, **how)


def channels_last(path: Path, height: int, width: int) -> Path:
    """(1, height, width, 3) -> logits (1, height, width, K)."""
    shapes = ([1, height, width, 3], [1, height, width, len(WEIGHTS)])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return save(path, [node], shapes, weights={"w": np.ascontiguousarray(WEIGHTS.T)}, opset=13)


def at_an_eighth(path: Path) -> Path:
    """(n, 3, h, w) -> logits (n, K, h / 8, w / 8) of the means of 8x8."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["mean"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Conv", ["mean", "w"], ["y"]),
    ]
    return save(path, nodes, (FREE, ["n", 4, "h8", "w8"]), weights={"w": WEIGHTS[:, :, None, None]})


def labels(path: Path, type_: int = TensorProto.INT64) -> Path:
    """(n, 3, h, w) -> labels (n, h, w), the largest channel."""
    nodes = [
        helper.make_node("ArgMax", ["x"], ["most"], axis=1, keepdims=0),
        helper.make_node("Cast", ["most"], ["y"], to=type_),
    ]
    return save(path, nodes, (FREE, ["n", "h", "w"]), types=(TensorProto.FLOAT, type_))
