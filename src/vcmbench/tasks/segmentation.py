"""Semantic segmentation: the embedded network, one of mmsegmentation's zoo or any config of its, an ONNX file, one of
torchvision's, or a folder of transformers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from vcmbench.data.labels import CLASSES, VOID
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import (
    checkpoints,
    class_names,
    configs,
    mmsegmentation,
    networks,
    own_networks,
    torchvision_networks,
    transformers_networks,
    zoo,
)
from vcmbench.tasks.base import Device, LocalTask, Picture, Prepared, TaskSettings
from vcmbench.tasks.batching import Batching, as_chw
from vcmbench.tasks.configs import NetworkConfig
from vcmbench.tasks.onnx import document, session
from vcmbench.tasks.onnx import network as onnx_network
from vcmbench.tasks.onnx.network import OnnxNetwork

if TYPE_CHECKING:
    import torch

VERSION = 1
"""To be raised with every change of what this code makes of a picture: it is part of the scores' keys."""
Logits = Callable[[Any, "torch.Tensor"], "torch.Tensor"]


class Segmentation(LocalTask):
    """Full resolution, whatever a config's test pipeline says of resizing; its `test_cfg` (whole or slide) holds."""

    kind = "segmentation"
    embedded: ClassVar[tuple[str, ...]] = tuple(networks.EMBEDDED["segmentation"])
    about_models = (
        "a word of mmsegmentation's zoo (tasks list --zoo), an mmseg config (.py .json .yaml) + checkpoint, an ONNX "
        "file (tasks inspect), torchvision/NAME + checkpoint, or a folder of transformers"
    )

    @classmethod
    def device(cls, prepared: Prepared, gpu: str) -> str:
        return session.device(gpu) if "onnx" in prepared.options else super().device(prepared, gpu)

    @classmethod
    def prepare(cls, settings: TaskSettings) -> Prepared:
        if document.is_onnx(settings.model):
            return onnx_network.prepare(settings)
        if settings.model.startswith(torchvision_networks.PREFIX):
            return torchvision_networks.prepare(settings, "segmentation")
        if transformers_networks.is_folder(settings.model):
            return transformers_networks.prepare(settings)
        word, config, weights = _find(settings)
        options = {
            "model": settings.model,
            "word": word,
            "config": configs.pack(config.model),
            "config_sha256": config.sha256(),
            "config_classes": list(config.classes) if config.classes else None,
            "weights_sha256": checkpoints.sha256(weights),
            "classes": class_names.given(settings.classes),
        }
        return Prepared(options, {"weights": weights})

    def __init__(self, prepared: Prepared, place: Device) -> None:
        build = next((of for form, of in _FORMS.items() if form in prepared.options), _mmseg)
        lanes, about = build(prepared, place)
        self._lanes: Batching | OnnxNetwork = lanes
        self.logits: Logits | None = about.pop("logits", None)
        """Of networks of PyTorch: (N, 3, H, W) BGR of 0..255 -> (N, classes, H, W)."""
        self.classes = about.pop("classes")
        self.at_once, self.together = lanes.at_once, lanes.together
        digest = hashlib.sha256(json.dumps(self.classes).encode()).hexdigest()
        self._identity = {"task": "segmentation", **about, "classes_sha256": digest}

    @property
    def network(self) -> torch.nn.Module | OnnxNetwork:
        """What it runs."""
        return self._lanes if isinstance(self._lanes, OnnxNetwork) else self._lanes.network

    def identity(self) -> dict[str, Any]:
        return dict(self._identity)

    def predict(self, images: Sequence[Picture]) -> list[NDArray[Any]]:
        found = self._lanes.run(images)
        for image, labels in zip(images, found, strict=True):
            if labels.shape != image.shape[:2]:
                raise JobError(f"the network answers a picture of {image.shape[:2]} with labels of {labels.shape}")
        return found

    def close(self) -> None:
        self._lanes.close()


def _onnx(prepared: Prepared, place: Device) -> tuple[OnnxNetwork, dict[str, Any]]:
    found = OnnxNetwork(prepared, place)
    return found, {**found.identity, "classes": found.classes}


def _mmseg(prepared: Prepared, place: Device) -> tuple[Batching, dict[str, Any]]:
    """What runs the network, and its part of the identity, with its classes."""
    options = prepared.options
    model = configs.unpack(options["config"])
    # only training needs it, and a zoo's configs differ in whether its weights are there
    network = mmsegmentation.build({key: part for key, part in model.items() if key != "auxiliary_head"})
    if not hasattr(network, "inference"):
        raise RequestError(f"model {options['model']!r}: {type(network).__name__} is no network that segments")
    checkpoint = checkpoints.load(prepared.files["weights"])
    checkpoints.fit(network, checkpoint, ignored=("auxiliary_head.", "data_preprocessor."))
    classes = _classes(_class_count(network), options, checkpoint.classes)
    return Batching(_in_fast_layout(network), as_chw, segment, place), {
        "logits": logits,
        "classes": classes,
        "network": options["word"] or type(network).__name__,
        "config_sha256": options["config_sha256"],
        "weights_sha256": options["weights_sha256"],
        "version": VERSION,
        **mmsegmentation.own_code(network),
        **({} if place.device == "cpu" else {"batch_size": place.batch_size}),
        **{name: metadata.version(package) for name, package in _VERSIONS.items() if _is_there(package)},
        "precision": place.precision,
        "device": place.device.split(":")[0],
    }


def _torchvision(prepared: Prepared, place: Device) -> tuple[Batching, dict[str, Any]]:
    network, classes = torchvision_networks.segmenting(prepared)
    _check_count(len(classes))
    found = torchvision_networks.logits
    about = {"network": f"{torchvision_networks.PREFIX}{prepared.options['torchvision']}"}
    return Batching(network, as_chw, partial(largest, found), place), {
        "logits": found, "classes": classes, **about, **_of_pytorch(prepared, place, "torchvision"),
    }  # fmt: skip


def _transformers(prepared: Prepared, place: Device) -> tuple[Batching, dict[str, Any]]:
    network, classes = transformers_networks.build(prepared)
    found = transformers_networks.logits_of(prepared)
    about = {key: prepared.options[key] for key in ("config_sha256", "more_sha256", "pixels", "size", "resize")}
    return Batching(network, as_chw, partial(largest, found), place), {
        "logits": found, "classes": classes, "network": f"transformers {prepared.options['transformers']}", **about,
        **_of_pytorch(prepared, place, "transformers"),
    }  # fmt: skip


def _of_pytorch(prepared: Prepared, place: Device, library: str) -> dict[str, Any]:
    return {
        "weights_sha256": prepared.options["weights_sha256"],
        "version": VERSION,
        **({} if place.device == "cpu" else {"batch_size": place.batch_size}),
        **{name: metadata.version(name) for name in ("torch", library)},
        "precision": place.precision,
        "device": place.device.split(":")[0],
    }


_FORMS: dict[str, Callable[[Prepared, Device], tuple[Any, dict[str, Any]]]] = {
    "onnx": _onnx, "torchvision": _torchvision, "transformers": _transformers,
}  # fmt: skip
"""By the option that says so, what is no config of mmsegmentation."""
_VERSIONS = {"torch": "torch", "mmsegmentation": "mmsegmentation", "mmcv": "mmcv", "mmcv-lite": "mmcv-lite"}


def _is_there(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def _find(settings: TaskSettings) -> tuple[str | None, NetworkConfig, Path]:
    """The network's word, if it has one, its config, and its weights."""
    own_networks.check(settings, "the network's mmseg config, or its word in the zoo")
    own = Path(settings.checkpoint).expanduser() if settings.checkpoint else None
    if (word := settings.model) in networks.EMBEDDED["segmentation"]:
        if own is not None:
            raise RequestError(f"checkpoint {own}: the model {word!r} has its own; name the config of yours as model")
        return word, configs.read(networks.description(word)), networks.weights("segmentation", word)
    path = Path(os.path.expanduser(settings.model))
    if path.suffix in configs.SUFFIXES or os.path.exists(path):  # pathlib raises at what is no name
        config = configs.read(path)
        if own is None:
            raise RequestError(f"model {settings.model!r}: a config has no weights; give its checkpoint, too")
        return None, config, own
    network = zoo.get(settings.model)
    return network.name, configs.read(network.config), own or network.weights()


def _class_count(network: Any) -> int:
    """How many classes it tells apart (a single output tells two). Raises RequestError where uint8 is too small."""
    count = max(int(getattr(network, "num_classes", 0)), int(network.out_channels), 2)
    _check_count(count)
    return count


def _check_count(count: int) -> None:
    if count > VOID:
        raise RequestError(f"the network has {count} classes; predictions are uint8 with {VOID} for void")


def _classes(count: int, options: dict[str, Any], in_checkpoint: tuple[str, ...] | None) -> tuple[str, ...]:
    """As the settings, the checkpoint or the config name them; 19 without a name are taken for Cityscapes'."""
    if options["classes"] is not None:
        return class_names.fitting(options["classes"], count)
    for known in (in_checkpoint, options["config_classes"]):
        if known is not None and len(known) == count:
            return tuple(known)
    return CLASSES if count == len(CLASSES) else tuple(f"class {i}" for i in range(count))


def _in_fast_layout(network: Any) -> Any:
    """Weights with their channels last, which makes convolutions on the CPU up to twice as fast.

    A few networks cut up their tensors in a way that this does not allow; they are found by trying, and left alone.
    """
    import torch

    network.eval().to(memory_format=torch.channels_last)
    try:
        with torch.inference_mode():
            segment(network, torch.zeros(1, 3, 128, 256, dtype=torch.uint8))
    except Exception as error:  # whatever a network may raise; only this one reason is about the layout
        if "view size is not compatible" in str(error):
            network.to(memory_format=torch.contiguous_format)
    return network


def segment(network: Any, batch: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) uint8 BGR -> (N, H, W) uint8 class indices."""
    import torch

    outputs = logits(network, batch)
    if outputs.shape[1] == 1:
        return (outputs[:, 0].sigmoid() > float(network.decode_head.threshold)).to(torch.uint8)
    return _largest(outputs)


def largest(logits: Logits, network: Any, batch: torch.Tensor) -> torch.Tensor:
    """The same of other networks, (N, H, W) uint8."""
    return _largest(logits(network, batch))


def _largest(outputs: torch.Tensor) -> torch.Tensor:
    import torch

    return outputs.max(dim=1).indices.to(torch.uint8)  # argmax does the same at a fifth of the speed


def logits(network: Any, batch: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) BGR, uint8 or any float of 0..255 -> (N, classes, H, W), of which gradients can be taken."""
    from mmseg.structures import SegDataSample

    size = tuple(batch.shape[2:])
    about = {"ori_shape": size, "img_shape": size, "pad_shape": size, "padding_size": [0, 0, 0, 0]}
    samples = [SegDataSample(metainfo=dict(about)) for _ in batch]
    # normalises by the config's own mean, deviation and order of colours, and pads where the config says so
    data = network.data_preprocessor({"inputs": list(batch), "data_samples": samples})
    metas = [sample.metainfo for sample in data["data_samples"]]
    outputs: torch.Tensor = network.inference(data["inputs"], metas)
    left, _, top, _ = metas[0].get("img_padding_size", metas[0]["padding_size"])
    return outputs[:, :, top : top + size[0], left : left + size[1]]
