"""Networks of torchvision that segment or detect, by their names there, with weights of a file."""

from __future__ import annotations

import difflib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vcmbench.data.labels import CLASSES
from vcmbench.errors import RequestError
from vcmbench.tasks import checkpoints, class_names, own_networks, published_weights
from vcmbench.tasks.base import Device, Prepared, TaskSettings
from vcmbench.tasks.checkpoints import Checkpoint

if TYPE_CHECKING:
    import torch

VERSION = 1
"""To be raised with every change of what is made of a detector's answer: it is part of the scores' keys."""
PREFIX = "torchvision/"
_BACKGROUND = "__background__"
_NONE = ("N/A", _BACKGROUND, "no person")
_OF_CLASSES = "head.classification_head."
_COUNTED = (
    "roi_heads.box_predictor.cls_score.weight", f"{_OF_CLASSES}cls_logits.weight",
    f"{_OF_CLASSES}module_list.0.weight", f"{_OF_CLASSES}module_list.0.1.weight",
)  # fmt: skip
"""The weights whose first side counts the classes of a detector, times its anchors."""
_WITHOUT_EPSILON = ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn",
                    "retinanet_resnet50_fpn")  # fmt: skip
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, R'G'B' in 0..1, which all of torchvision's segmenting networks were trained with."""


def prepare(settings: TaskSettings, kind: str) -> Prepared:
    """As `LocalTask.prepare`; `kind` is the package of torchvision.models, segmentation or detection."""
    own_networks.check(settings, f"{PREFIX}NAME")
    name = settings.model.removeprefix(PREFIX)
    try:
        from torchvision import models
    except ImportError:
        raise RequestError(f"model {settings.model!r}: needs torchvision, which this Python does not have") from None
    known = models.list_models(module=getattr(models, kind))
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known, 3, 0.4)) or ", ".join(known)
        raise RequestError(f"model {settings.model!r}: is none of torchvision's for {kind}; near it: {near}")
    own = Path(settings.checkpoint).expanduser() if settings.checkpoint else published_weights.of_torchvision(name)
    options = {
        "torchvision": name,
        "weights_sha256": checkpoints.sha256(own),
        "classes": class_names.given(settings.classes),
    }
    return Prepared(options, {"weights": own})


def segmenting(prepared: Prepared) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The network with its weights, and its classes. Raises RequestError where these are of another."""
    import torch
    from torchvision import models

    name, checkpoint = prepared.options["torchvision"], checkpoints.load(prepared.files["weights"])
    without: dict[str, Any] = {"weights": None, "weights_backbone": None}
    with torch.device("meta"):  # only to learn what its last layer is called
        last = [key for key, _ in models.get_model(name, **without).named_parameters()][-1]
    count = _length(checkpoint, last)
    network: torch.nn.Module = models.get_model(name, **without, num_classes=count)
    checkpoints.fit(network, checkpoint, ignored=("aux_classifier.",))
    return network.to(memory_format=torch.channels_last), _classes(name, count, prepared.options, checkpoint)


def logits(network: Any, batch: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) BGR, uint8 or any float of 0..255 -> (N, classes, H, W), of which gradients can be taken."""
    mean, std = (batch.new_tensor(values, dtype=network_dtype(network)).view(3, 1, 1) for values in (_MEAN, _STD))
    found: torch.Tensor = network((batch.flip(1) / 255 - mean) / std)["out"]
    return found


def network_dtype(network: Any) -> torch.dtype:
    found: torch.dtype = next(network.parameters()).dtype
    return found


def detecting(prepared: Prepared) -> tuple[torch.nn.Module, tuple[str, ...], list[int]]:
    """The network with its weights, its classes, and of each of its labels the class's number, -1 for none."""
    import torch
    from torchvision import models
    from torchvision.models.detection import _utils

    name, checkpoint = prepared.options["torchvision"], checkpoints.load(prepared.files["weights"])
    about = models.get_model_weights(name).COCO_V1
    without: dict[str, Any] = {"weights": None, "weights_backbone": None}
    with torch.device("meta"):
        plain = models.get_model(name, **without).state_dict()
    key = next(key for key in _COUNTED if key in plain)
    anchors = len(plain[key]) // len(about.meta["categories"])
    count = _length(checkpoint, key) // anchors
    network: torch.nn.Module = models.get_model(name, **without, num_classes=count)
    for each in network.state_dict():  # torchvision's own training freezes these layers, which then count nothing
        if each.endswith(".num_batches_tracked"):
            checkpoint.tensors.setdefault(each, torch.tensor(0))
    checkpoints.fit(network, checkpoint)
    if name in _WITHOUT_EPSILON and f"-{prepared.options['weights_sha256'][:8]}." in about.url:
        _utils.overwrite_eps(network, 0.0)  # as torchvision does with its own weights
    names: list[str] = list(about.meta["categories"]) if count == len(about.meta["categories"]) else []
    names = names or [_BACKGROUND, *(f"class {number}" for number in range(1, count))]
    seen = [name for name in names if name not in _NONE]
    for given in (prepared.options["classes"], checkpoint.classes):
        if given is not None and len(given) in (count - 1, count):  # of all labels, or of all but the background
            names, seen = [*[_BACKGROUND] * (count - len(given)), *given], list(given)
            break
    classes = class_names.fitting(list(prepared.options["classes"] or seen), len(seen))
    numbers = {name: number for number, name in enumerate(seen)}
    return network, classes, [numbers.get(name, -1) for name in names]


def boxes(network: Any, batch: torch.Tensor, numbers: list[int]) -> torch.Tensor:
    """(N, 3, H, W) uint8 BGR -> (N, M, 6) float32: corners in px, class, score; rows of NaN fill up to the most."""
    import torch

    found = []
    for one in network(list(batch.flip(1) / 255)):
        which = torch.tensor(numbers, device=batch.device)[one["labels"]]
        rows = torch.cat([one["boxes"], which[:, None], one["scores"][:, None]], dim=1).float()
        found.append(rows[which >= 0])
    return torch.nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=torch.nan)


def masks(network: Any, batch: torch.Tensor, numbers: list[int]) -> torch.Tensor:
    """The same of a Mask R-CNN, (N, M, 6 + h w): a row ends with the probabilities (h, w) of the mask in its box."""
    import torch
    from torchvision.models.detection.transform import resize_boxes

    def unpasted(found: Any, inner: Any, sizes: Any) -> Any:
        """In place of its own last step, which makes of each mask a picture of floats."""
        return [one | {"boxes": resize_boxes(one["boxes"], part, size)}
                for one, part, size in zip(found, inner, sizes, strict=True)]  # fmt: skip

    network.transform.postprocess = unpasted
    found = []
    for one in network(list(batch.flip(1) / 255)):
        which = torch.tensor(numbers, device=batch.device)[one["labels"]]
        columns = one["boxes"], which[:, None], one["scores"][:, None], one["masks"].flatten(1)
        found.append(torch.cat(columns, dim=1).float()[which >= 0])
    return torch.nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=torch.nan)


def identity(prepared: Prepared, place: Device) -> dict[str, Any]:
    """Of a detector, what decides its answers but for the names of classes."""
    return {
        "network": f"{PREFIX}{prepared.options['torchvision']}",
        "weights_sha256": prepared.options["weights_sha256"],
        "version": VERSION,
        **({} if place.device == "cpu" else {"batch_size": place.batch_size}),
        **{name: metadata.version(name) for name in ("torch", "torchvision")},
        "precision": place.precision,
        "device": place.device.split(":")[0],
    }


def _length(checkpoint: Checkpoint, name: str) -> int:
    if name not in checkpoint.tensors or not checkpoint.tensors[name].ndim:
        raise RequestError(f"checkpoint {checkpoint.path}: of another network: missing: {name}")
    return len(checkpoint.tensors[name])


def _classes(name: str, count: int, options: dict[str, Any], checkpoint: Checkpoint) -> tuple[str, ...]:
    """As the settings, the checkpoint or torchvision name them; 19 without a name are taken for Cityscapes'."""
    from torchvision import models

    if options["classes"] is not None:
        return class_names.fitting(options["classes"], count)
    published = tuple(models.get_model_weights(name).DEFAULT.meta["categories"])
    for known in (checkpoint.classes, published, CLASSES):
        if known is not None and len(known) == count:
            return known
    return tuple(f"class {number}" for number in range(count))
