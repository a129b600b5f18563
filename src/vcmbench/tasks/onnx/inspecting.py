"""What an ONNX file says of itself, and the `[task]` table that it can be used by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vcmbench.io.documents import short
from vcmbench.tasks.onnx import document, session
from vcmbench.tasks.onnx.network import names_within

_SHOWN = 200


def describe(path: Path) -> str:
    """A TOML text: facts as comments, and a `[task]` table in which what the file does not say is to be checked.

    Raises RequestError where the file is none, or cannot be run.
    """
    file = document.read(path)
    opened = session.start(path, file.external, "cpu")
    inputs, outputs, about = opened.get_inputs(), opened.get_outputs(), opened.get_modelmeta()
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in file.opsets.items())
    facts = [f"{path.name}: opset {opsets}; SHA-256 {file.sha256}"]
    if about.producer_name:
        facts.append(f"made by {short(about.producer_name)}")
    facts += [f"external data: {name}" for name in file.external]
    facts += [f"{what} {one.name}: {session.text_of(one.shape)} {one.type}"
              for what, all_of in (("input", inputs), ("output", outputs)) for one in all_of]  # fmt: skip
    facts += [f"metadata {key} = {short(value, _SHOWN)}" for key, value in about.custom_metadata_map.items()]
    if len(inputs) != 1:
        facts.append(f"it has {len(inputs)} inputs; networks with one, a picture, are run")
    names = names_within(about.custom_metadata_map)
    task = ['name = "detection"'] if _are_boxes(outputs) else []
    task = ['name = "instances"'] if _are_yolo_seg(outputs) else task
    lines = [*(f"# {fact}" for fact in facts), "", "[task]", *task, f"model = {json.dumps(str(path))}"]
    lines.append(
        f"# classes = []          # names in order; {'as the metadata has them' if names else 'or a text file'}"
    )
    return "\n".join([*lines, "", *_input(inputs), "", *_output(outputs)])


def _input(inputs: list[Any]) -> list[str]:
    one = inputs[0] if inputs else None
    lines = ["[task.input]"]
    if one is not None and len(one.shape) == 4 and all(isinstance(side, int) for side in one.shape[1:]):
        lines.append("# size: fixed by the file")
    else:
        lines.append("# size = [512, 1024]    # height, width, or a factor such as 0.5; without: the picture's own")
        lines.append("# multiple = 32         # zeros on the right and below until both sides are multiples")
    if one is not None and one.type != "tensor(uint8)":
        lines += [
            'scale = "1/255"         # TO BE CHECKED: as it was trained: (pixel * scale - mean) / std',
            "# mean = [0.485, 0.456, 0.406]   # ImageNet's",
            "# std = [0.229, 0.224, 0.225]",
        ]
    return [*lines, 'colours = "rgb"         # TO BE CHECKED: or "bgr"']


def _is_float(one: Any) -> bool:
    return "float" in one.type or "double" in one.type


def _are_boxes(outputs: list[Any]) -> bool:
    """Whether no output can be a mask: floats of two or three sides are none, nor whole numbers of at most two that lie
    beside such floats."""
    rows = [one for one in outputs if _is_float(one) and len(one.shape) in (2, 3)]
    return bool(rows) and all(one in rows or len(one.shape) in (1, 2) for one in outputs)


def _are_yolo_seg(outputs: list[Any]) -> bool:
    """Whether they are rows and prototypes."""
    return sorted(len(one.shape) for one in outputs) == [3, 4] and all("float" in one.type for one in outputs)


def _boxes(outputs: list[Any]) -> list[str]:
    rows = [one for one in outputs if _is_float(one) and len(one.shape) > 1]
    boxes = max(rows, key=lambda one: (4 in one.shape[-2:], len(one.shape)))
    lines = ["[task.output]", 'kind = "boxes"']
    if len(outputs) > 1:
        lines.append(f"name = {json.dumps(boxes.name)}           # TO BE CHECKED: that of the boxes")
    return [
        *lines, "", "[task.output.boxes]",
        'corners = "xyxy"         # TO BE CHECKED: or "xywh", "cxcywh"',
        '# columns = "scores"     # what follows a box: "score-class" (default), "class-score", "scores", "objectness"',
        *(f"# {'scores' if _is_float(one) else 'labels'} = {json.dumps(one.name)}"
          for one in outputs if one is not boxes),
        "# nms = 0.7              # where the network does not suppress by itself",
    ]  # fmt: skip


def _output(outputs: list[Any]) -> list[str]:
    if _are_yolo_seg(outputs):
        return ["[task.output]", 'kind = "yolo-seg"',
                '# [task.output.boxes]    # as for boxes; by default nms = 0.7, corners = "cxcywh"']  # fmt: skip
    if _are_boxes(outputs):
        return _boxes(outputs)
    masks = [one for one in outputs if len(one.shape) in (3, 4)] or outputs
    is_logits = not masks or "float" in masks[0].type or "double" in masks[0].type
    lines = ["[task.output]"]
    if len(outputs) > 1:
        lines.append(f"name = {json.dumps(masks[0].name)}")
    lines.append(f'kind = "{"logits" if is_logits else "labels"}"')
    return [*lines, "# void = 255            # the output that stands for no class, if there is one"]
