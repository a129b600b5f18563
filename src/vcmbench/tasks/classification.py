"""Image classification by timm or torchvision, on a folder of class folders: a picture's label is its folder's name."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from PIL import Image

from vcmbench.errors import RequestError
from vcmbench.tasks import checkpoints, class_names, own_networks, published_weights
from vcmbench.tasks.base import Device, LocalTask, Picture, Prepared, TaskSettings
from vcmbench.tasks.batching import Batching
from vcmbench.tasks.checkpoints import Checkpoint

if TYPE_CHECKING:
    import torch

VERSION = 1
"""To be raised with every change of what this code makes of a picture: it is part of the scores' keys."""
TORCHVISION = "torchvision/"
_IMAGENET = 1000

Transform = Callable[[Image.Image], "torch.Tensor"]


class Classification(LocalTask):
    """Pictures are scaled and cropped as the network's own evaluation does it."""

    kind = "classification"
    about_models = f"a timm model or {TORCHVISION}NAME; with a checkpoint, or its published weights"

    @classmethod
    def prepare(cls, settings: TaskSettings) -> Prepared:
        model = settings.model
        own_networks.check(settings, "the network's name in timm, or torchvision/NAME")
        _check(model)
        if settings.checkpoint is not None:
            weights = Path(settings.checkpoint).expanduser()
        elif model.startswith(TORCHVISION):
            weights = published_weights.of_torchvision(model.removeprefix(TORCHVISION))
        else:
            weights = published_weights.of_timm(model)
        options = {
            "model": model,
            "weights_sha256": checkpoints.sha256(weights),
            "classes": class_names.given(settings.classes),
        }
        return Prepared(options, {"weights": weights})

    @classmethod
    def example(cls, folder: Path) -> dict[str, Any]:
        """A small network of timm with random weights."""
        import timm
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(0)
        model, weights = "test_resnet.r160_in1k", folder / "weights.safetensors"
        network = timm.create_model(model, pretrained=False, num_classes=3)
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, weights)
        return {"model": model, "checkpoint": str(weights), "classes": ["cat", "dog", "street"]}

    def __init__(self, prepared: Prepared, place: Device) -> None:
        model = prepared.options["model"]
        checkpoint = checkpoints.load(prepared.files["weights"])
        build = _from_torchvision if model.startswith(TORCHVISION) else _from_timm
        network, count, transform = build(model, checkpoint)
        checkpoints.fit(network, checkpoint)
        self.classes = _classes(count, prepared.options["classes"], checkpoint.classes)
        self._lanes = Batching(network, lambda image: transform(Image.fromarray(image)), _probabilities, place)
        self.at_once, self.together = self._lanes.at_once, self._lanes.together
        library = "torchvision" if model.startswith(TORCHVISION) else "timm"
        self._identity = {
            "task": "classification",
            "network": model,
            "weights_sha256": prepared.options["weights_sha256"],
            "classes_sha256": hashlib.sha256(json.dumps(self.classes).encode()).hexdigest(),
            "version": VERSION,
            "torch": metadata.version("torch"),
            library: metadata.version(library),
            "precision": place.precision,
            "device": place.device.split(":")[0],
        }

    def identity(self) -> dict[str, Any]:
        return dict(self._identity)

    def predict(self, images: Sequence[Picture]) -> list[NDArray[Any]]:
        return self._lanes.run(images)

    def close(self) -> None:
        self._lanes.close()


def _check(model: str) -> None:
    """Raises RequestError unless timm or torchvision can build it."""
    if model.startswith(TORCHVISION):
        from torchvision import models

        known, word, whose = models.list_models(module=models), model.removeprefix(TORCHVISION), "torchvision's"
    else:
        import timm

        known, word, whose = timm.list_models(), model.partition(".")[0], "timm's"
    if word not in known:
        near = ", ".join(difflib.get_close_matches(word, known, 3, 0.4)) or "none"
        advice = f"; for a network of your own, {own_networks.ADVICE}" if Path(model).suffix == ".py" else ""
        raise RequestError(f"model {model!r}: is none of {whose}; near it: {near}{advice}")


def _from_timm(model: str, checkpoint: Checkpoint) -> tuple[torch.nn.Module, int, Transform]:
    import timm
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    name = timm.get_pretrained_cfg_value(model.partition(".")[0], "classifier")
    bias = checkpoint.tensors.get(f"{name}.bias", checkpoint.tensors.get(f"{name}.weight"))
    if bias is None:
        raise RequestError(f"checkpoint {checkpoint.path}: of another network: missing: {name}.weight, {name}.bias")
    network = timm.create_model(model, pretrained=False, num_classes=len(bias))
    about = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    return network, len(bias), create_transform(**about, is_training=False)


def _from_torchvision(model: str, checkpoint: Checkpoint) -> tuple[torch.nn.Module, int, Transform]:
    import torch
    from torchvision import models

    name = model.removeprefix(TORCHVISION)
    with torch.device("meta"):  # only to learn what its last layer is called
        last = [key for key, _ in models.get_model(name, weights=None).named_parameters()][-1]
    if last not in checkpoint.tensors:
        raise RequestError(f"checkpoint {checkpoint.path}: of another network: missing: {last}")
    count = len(checkpoint.tensors[last])
    transform = models.get_model_weights(name).DEFAULT.transforms()
    return models.get_model(name, weights=None, num_classes=count), count, transform


def _classes(count: int, given: list[str] | None, in_checkpoint: tuple[str, ...] | None) -> tuple[str, ...]:
    """As the settings or the checkpoint name them; 1000 without a name are taken for ImageNet's, by their synsets."""
    if given is not None:
        return class_names.fitting(given, count)
    if in_checkpoint is not None and len(in_checkpoint) == count:
        return in_checkpoint
    if count != _IMAGENET:
        return tuple(f"class {i}" for i in range(count))
    from timm.data.imagenet_info import ImageNetInfo

    known = ImageNetInfo()
    return tuple(known.index_to_label_name(i) for i in range(count))


def _probabilities(network: Any, batch: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) float32 -> (N, K) float32, each row of sum 1."""
    logits: torch.Tensor = network(batch)
    return logits.float().softmax(dim=1)
