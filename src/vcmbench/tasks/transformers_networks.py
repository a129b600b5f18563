"""Folders of transformers' networks that segment: `config.json`, `model.safetensors`, `preprocessor_config.json`.

Local files alone, no pickles, no code that lies in the folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vcmbench.data.labels import CLASSES, VOID
from vcmbench.errors import RequestError
from vcmbench.io import documents
from vcmbench.tasks import checkpoints, class_names, own_networks
from vcmbench.tasks.base import Prepared, TaskSettings

if TYPE_CHECKING:
    import torch

_MAX_BYTES = 1 << 24
_CONFIG, _WEIGHTS, _SHARDS = "config.json", "model.safetensors", "model.safetensors.index.json"
_PIXELS, _PIXELS_TOO = "preprocessor_config.json", "processor_config.json"
_TEXT = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json")
_OF_QUERIES = ("maskformer", "mask2former", "oneformer")
"""Types whose answers are masks with classes; the others of those that segment have logits of each pixel."""
_OF_ONE_SIZE, _USUAL_SIDE = ("beit", "data2vec-vision", "dpt"), 224
"""Types that take the size alone that their config says."""
_ASKED = "the task is semantic"
"""What OneFormer is told to do, as its own processor says it."""
_BUFFERS = ("relative_position_index", "position_ids", "num_batches_tracked", "relative_coords_table")
"""What earlier versions kept in files, and is made of the config now."""
_SHOWN = 3


def is_folder(model: str) -> bool:
    """Whether a model is a folder with a config of transformers."""
    return os.path.isfile(os.path.join(os.path.expanduser(model), _CONFIG))  # pathlib raises at what is no name


def prepare(settings: TaskSettings) -> Prepared:
    """As `LocalTask.prepare`, of such a folder."""
    own_networks.check(settings.model_copy(update={"input": None}), "the folder of the network")
    if strange := settings.input and sorted(settings.input.model_fields_set - {"size", "resize"}):
        raise RequestError(f"task.input.{strange[0]}: of a folder of transformers only size and resize can be said; it "
                           "says the rest itself")  # fmt: skip
    folder = Path(settings.model).expanduser()
    if settings.checkpoint is not None:
        raise RequestError(f"checkpoint {settings.checkpoint!r}: the folder {folder} has its weights; leave it out")
    if importlib.util.find_spec("transformers") is None:
        raise RequestError(f"model {settings.model!r}: a folder of transformers needs that package: "
                           "pip install transformers")  # fmt: skip
    config = _json(folder / _CONFIG)
    if config.get("model_type") not in (known := _types()):
        raise RequestError(f"{folder / _CONFIG}: model_type {documents.short(config.get('model_type'))} is none that "
                           f"segments; there are {', '.join(known)}")  # fmt: skip
    weights = _weights(folder)
    pixels = next((name for name in (_PIXELS, _PIXELS_TOO) if (folder / name).is_file()), None)
    if pixels is None:
        raise RequestError(f"{folder}: has no {_PIXELS}, which says how pixels become the network's input")
    more = [folder / name for name in (_CONFIG, pixels, _SHARDS, *_TEXT) if (folder / name).is_file()]
    size = settings.input.size if settings.input else None
    if size is None and config["model_type"] in _OF_ONE_SIZE:
        side = config.get("image_size", _USUAL_SIDE)
        size = [side, side] if isinstance(side, int) else side
    options: dict[str, Any] = {
        "transformers": config["model_type"],
        "config_sha256": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest(),
        "weights_sha256": checkpoints.sha256(weights[0]),
        "more_sha256": [checkpoints.sha256(path) for path in weights[1:]],
        "pixels": _pixels(folder / pixels),
        "size": size,
        "resize": settings.input.resize if settings.input else "bilinear",
        "classes": class_names.given(settings.classes),
    }
    return Prepared(options, {path.stem: path for path in (*weights, *more)})


def _types() -> list[str]:
    from transformers.models.auto import modeling_auto

    names: list[str] = list(modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES)
    return sorted({*names, *_OF_QUERIES})


def _json(path: Path) -> dict[str, Any]:
    try:
        found = documents.read_json(path, _MAX_BYTES)
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise RequestError(f"{path}: must be a JSON object")
    return found


def _weights(folder: Path) -> list[Path]:
    """The files of weights. Raises RequestError."""
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if not (folder / _SHARDS).is_file():
        raise RequestError(f"{folder}: has no {_WEIGHTS}; a .bin is a pickle, which is not read here: save it again, "
                           "with save_pretrained")  # fmt: skip
    shards = _json(folder / _SHARDS).get("weight_map")
    names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise RequestError(f"{folder / _SHARDS}: has no weight_map of files beside it")
    return [folder / name for name in names]


def _pixels(path: Path) -> dict[str, Any]:
    """How pixels of 0..255 become numbers: `scale`, then `mean` and `std`, R'G'B' unless `is_bgr`."""
    said = _json(path)
    said = said["image_processor"] if isinstance(said.get("image_processor"), dict) else said
    scale = said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1.0
    mean: Any
    std: Any
    mean, std, is_bgr = [0.0] * 3, [1.0] * 3, bool(said.get("do_flip_channel_order", False))
    if said.get("do_normalize", "image_mean" in said and not is_bgr):  # MobileViT's file has means that are not used
        mean, std = said.get("image_mean"), said.get("image_std")
    numbers = [*mean, *std, scale] if isinstance(mean, list) and isinstance(std, list) else []
    if len(numbers) != 7 or any(not isinstance(one, int | float) for one in numbers) or 0 in numbers[3:]:
        raise RequestError(f"{path}: has no rescale_factor, image_mean and image_std of three colours")
    return {"scale": scale, "mean": mean, "std": std, "is_bgr": is_bgr}


def build(prepared: Prepared) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The network with its weights, and its classes. Raises RequestError where these are not all of them."""
    import transformers

    folder, model_type = prepared.files[Path(_CONFIG).stem].parent, prepared.options["transformers"]
    for shard in prepared.files.values():
        if shard.suffix == ".safetensors":
            checkpoints.load(shard)  # refuses what is damaged, or no weights
    opener: Any = (transformers.AutoModelForUniversalSegmentation if model_type in _OF_QUERIES
                   else transformers.AutoModelForSemanticSegmentation)  # fmt: skip
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **local)
        config.use_pretrained_backbone = False
        network, found = opener.from_pretrained(folder, config=config, use_safetensors=True, output_loading_info=True,
                                                dtype="float32", ignore_mismatched_sizes=True, **local)  # fmt: skip
    except Exception as error:  # whatever it may raise over a folder
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RequestError(f"{folder}: transformers makes no network of it: {reason}") from None
    faults = [f"{what}: {documents.short_list(names[:_SHOWN])}" for what, names in (
        ("missing", _but_buffers(found["missing_keys"])), ("left over", _but_buffers(found["unexpected_keys"])),
        ("of another shape", sorted(str(one[0]) for one in found["mismatched_keys"])),
    ) if names]  # fmt: skip
    if faults:
        raise RequestError(f"{folder}: its weights are of another network: {'; '.join(faults)}")
    if model_type == "oneformer":
        network.vcmbench_task = _task_tokens(folder, int(network.config.task_seq_len))
    return network, _classes(network.config, prepared.options["classes"])


def _but_buffers(names: Any) -> list[str]:
    return sorted(name for name in map(str, names) if not name.endswith(_BUFFERS))


def _classes(config: Any, given: list[str] | None) -> tuple[str, ...]:
    count = int(config.num_labels)
    if not 1 < count <= VOID:
        raise RequestError(f"the network has {count} classes; 2 to {VOID} can be told apart")
    names = [str(config.id2label.get(number, "")) for number in range(count)]
    if given is None and names == [f"LABEL_{number}" for number in range(count)]:  # what it says where none were given
        return CLASSES if count == len(CLASSES) else tuple(f"class {number}" for number in range(count))
    return class_names.fitting(given or names, count)


def _task_tokens(folder: Path, length: int) -> torch.Tensor:
    """What OneFormer is asked for, (1, length)."""
    import torch
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokens = tokenizer([_ASKED], padding="max_length", max_length=length, truncation=True)
    except Exception as error:
        raise RequestError(
            f"{folder}: OneFormer needs its tokenizer's files: {' '.join(str(error).split())[:200]}"
        ) from None
    return torch.tensor(tokens["input_ids"]) * torch.tensor(tokens["attention_mask"])


def logits_of(prepared: Prepared) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """(N, 3, H, W) BGR, uint8 or any float of 0..255 -> (N, classes, H, W), of which gradients can be taken: of masks
    the sums over queries of p(class) p(mask), as transformers' own post-processing has it."""
    options, pixels = prepared.options, prepared.options["pixels"]
    has_queries = options["transformers"] in _OF_QUERIES

    def logits(network: Any, batch: torch.Tensor) -> torch.Tensor:
        import torch

        batch = batch.float() if pixels["is_bgr"] else batch.flip(1).float()
        mean, std = (batch.new_tensor(pixels[key]).view(3, 1, 1) for key in ("mean", "std"))
        numbers = (_resized(batch, options["size"], options["resize"]) * pixels["scale"] - mean) / std
        more: dict[str, Any] = {}
        if hasattr(network, "vcmbench_task"):
            more["task_inputs"] = network.vcmbench_task.to(batch.device).expand(len(batch), -1)
        answer = network(pixel_values=numbers, **more)
        if has_queries:
            of_classes = answer.class_queries_logits.softmax(-1)[..., :-1]
            found = torch.einsum("bqc,bqhw->bchw", of_classes, answer.masks_queries_logits.sigmoid())
        else:
            found = answer.logits
        return torch.nn.functional.interpolate(found, batch.shape[2:], mode="bilinear", align_corners=False)

    return logits


def _resized(batch: torch.Tensor, size: list[int] | float | None, how: str) -> torch.Tensor:
    """(N, 3, H, W) at [height, width], or at a factor to its sides, as `tasks.onnx.keys.NetworkInput` says `how`."""
    import torch

    if size is None:
        return batch
    to = size if isinstance(size, list) else [max(round(side * size), 1) for side in batch.shape[2:]]
    if how == "nearest":
        return torch.nn.functional.interpolate(batch, to, mode="nearest")
    return torch.nn.functional.interpolate(batch, to, mode="bilinear", align_corners=False,
                                           antialias=how == "bilinear-antialias")  # fmt: skip
