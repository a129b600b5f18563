"""The embedded networks as ONNX files, each with the keys that it is used by in a `.toml` beside it."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vcmbench.data.labels import CLASSES
from vcmbench.errors import RequestError
from vcmbench.io.files import write_atomically
from vcmbench.tasks import checkpoints, configs, embedded_detector, mmsegmentation, networks
from vcmbench.tasks.onnx import document

if TYPE_CHECKING:
    import torch

OPSET = 17
_INPUT = "pictures"


def export(task: str, model: str, path: Path) -> Path:
    """Write an embedded network of a task, as `networks.EMBEDDED` names both, of pictures of any size, and beside it
    the TOML file, whose path is returned. Raises RequestError where it cannot be."""
    if not document.is_onnx(str(path)):
        raise RequestError(f"-o {path}: must end in {document.SUFFIX}")
    if model not in (known := networks.EMBEDDED.get(task, {})):
        raise RequestError(f"task {task!r}: has no embedded network {model!r}; it has {', '.join(known) or 'none'}")
    module, output, keys = {"segmentation": _segmentation, "detection": _detection}[task](model)
    beside = path.with_suffix(".toml")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, content in ((path, _onnx(module, output)), (beside, _toml(task, keys).encode())):
            write_atomically(file, content, file.with_name(f".{file.name}.tmp"))
    except OSError as error:
        raise RequestError(f"{path}: cannot be written: {error.strerror}") from None
    return beside


def _onnx(module: torch.nn.Module, output: str) -> bytes:
    import torch

    buffer = io.BytesIO()
    free = {_INPUT: {2: "height", 3: "width"}}
    try:
        with warnings.catch_warnings():  # of PyTorch about its own exporter: the other one needs onnxscript
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module, (torch.zeros(1, 3, 64, 128),), buffer, dynamo=False, opset_version=OPSET,  # type: ignore[arg-type]
                input_names=[_INPUT], output_names=[output], dynamic_axes=free,
            )  # fmt: skip
    except Exception as error:  # it has exceptions of its own for what is not installed
        if "onnx is not installed" in str(error):
            raise RequestError('writing ONNX files needs onnx: pip install "vcmbench[metrics]"') from None
        raise
    return buffer.getvalue()


def _segmentation(model: str) -> tuple[torch.nn.Module, str, dict[str, Any]]:
    import torch

    config = configs.read(networks.description(model)).model
    network: Any = mmsegmentation.build(config)
    checkpoints.fit(network, checkpoints.load(networks.weights("segmentation", model)))
    for part in list(network.modules()):
        for name, child in part.named_children():
            if (own := _of_any_size(child)) is not None:
                setattr(part, name, own)

    class Logits(torch.nn.Module):
        """Of a fraction of the picture's sides, without normalisation before them, nor resizing behind."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.network.decode_head(self.network.extract_feat(pictures))
            return found

    pixels = config["data_preprocessor"]
    keys = {
        "classes": list(CLASSES),
        "input": {
            "mean": pixels["mean"], "std": pixels["std"], "colours": "rgb" if pixels["bgr_to_rgb"] else "bgr",
            "multiple": pixels["test_cfg"]["size_divisor"],
        },
        "output": {"kind": "logits"},
    }  # fmt: skip
    return Logits().eval(), "logits", keys


def _of_any_size(module: Any) -> torch.nn.Module | None:
    """What stands for a module that an export would leave with the size of the picture that it was shown; None for
    others."""
    import torch
    from torch.nn.functional import linear

    if type(module).__name__ == "Upsample":  # mmsegmentation's
        return torch.nn.Upsample(scale_factor=module.scale_factor, mode=module.mode)
    if not isinstance(module, torch.nn.MultiheadAttention):
        return None

    class Attention(torch.nn.Module):
        """The same answers, of (tokens, N, values)."""

        def __init__(self) -> None:
            super().__init__()
            self.of = module

        def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **_: Any) -> tuple[Any, None]:
            weights, biases = self.of.in_proj_weight.chunk(3), self.of.in_proj_bias.chunk(3)
            heads, size = self.of.num_heads, self.of.head_dim
            of_query, of_key, of_value = (
                linear(tokens, weight, bias).reshape(tokens.shape[0], tokens.shape[1], heads, size).permute(1, 2, 0, 3)
                for tokens, weight, bias in zip((query, key, value), weights, biases, strict=True)
            )
            shares = (of_query @ of_key.transpose(2, 3) / size**0.5).softmax(3)
            found = (shares @ of_value).permute(2, 0, 1, 3).reshape(query.shape)
            return self.of.out_proj(found), None

    return Attention()


def _detection(model: str) -> tuple[torch.nn.Module, str, dict[str, Any]]:
    from vcmbench.tasks.networks.detector import CLASSES as OBJECTS

    tables = {"input": embedded_detector.INPUT, "output": embedded_detector.OUTPUT}
    keys = {"classes": list(OBJECTS), **{name: one.model_dump(exclude_unset=True) for name, one in tables.items()}}
    return embedded_detector.load(networks.weights("detection", model)), "boxes", keys


def _toml(task: str, keys: dict[str, Any]) -> str:
    """Of values that are tables, lists, numbers and plain texts: their JSON is TOML."""
    lines = [f"[task]  # or in an experiment, whose own keys win\nname = {json.dumps(task)}"]

    def table(name: str, content: dict[str, Any]) -> None:
        lines.extend(["", f"[{name}]"] if name != "task" else [])
        lines.extend(f"{key} = {json.dumps(value)}" for key, value in content.items() if not isinstance(value, dict))
        for key, value in content.items():
            if isinstance(value, dict):
                table(f"{name}.{key}", value)

    table("task", keys)
    return "\n".join([*lines, ""])
