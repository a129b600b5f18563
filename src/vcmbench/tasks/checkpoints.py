"""Weights of networks: read without running anything that a file says, and fitted only where they fit completely.

A .pth file is a pickle, which can run any program when it is read. Only PyTorch's restricted reader is used here, with
a short list of harmless objects that training tools lay beside the weights.
"""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy._core import multiarray

from vcmbench.errors import RequestError
from vcmbench.io import archives
from vcmbench.io.documents import parse_json, short, short_list
from vcmbench.io.files import sha256_of

if TYPE_CHECKING:
    import torch

SUFFIXES = (".pth", ".pt", ".safetensors")
_HOLDERS = ("state_dict", "model_state_dict", "model")
_SHOWN = 3
_MAX_BYTES = 1 << 34
_MOST_CLASSES, _MOST_LETTERS = 100_000, 1 << 22
_STRANGE = re.compile(r"unsupported global:? (?:GLOBAL )?([\w.]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Checkpoint:
    """A network's tensors by name, and the class names that came with them, if any."""

    path: Path
    tensors: OrderedDict[str, torch.Tensor]
    classes: tuple[str, ...] | None


def sha256(path: Path) -> str:
    """Of a weights file. Raises RequestError where there is none."""
    _check_file(path)
    try:
        return sha256_of(path, _MAX_BYTES)
    except OSError as error:
        raise RequestError(f"checkpoint {path}: cannot be read: {error.strerror}") from None


def load(path: Path) -> Checkpoint:
    """Read .safetensors, or .pth by PyTorch's restricted reader. Raises RequestError where that refuses it."""
    if path.suffix not in SUFFIXES:
        raise RequestError(f"checkpoint {path}: must end in {', '.join(SUFFIXES)}")
    _check_file(path)
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise RequestError(f"checkpoint {path}: {size} bytes, the most that are read are {_MAX_BYTES}")
    content, meta = _load_safetensors(path) if path.suffix == ".safetensors" else _load_pickle(path)
    tensors = _tensors(path, content)
    for name, tensor in tensors.items():
        _check_tensor(path, name, tensor, size)
    return Checkpoint(path, tensors, _classes(meta))


def _check_file(path: Path) -> None:
    try:
        is_file = path.is_file()
    except OSError as error:  # a name that is too long
        raise RequestError(f"checkpoint {path}: cannot be read: {error.strerror}") from None
    if not is_file:
        raise RequestError(f"checkpoint {path}: {'is not a regular file' if path.exists() else 'no such file'}")


def _check_tensor(path: Path, name: str, tensor: torch.Tensor, size: int) -> None:
    """Raises RequestError where a tensor is none of weights, or is larger, once it is unfolded, than its file."""
    import torch

    is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not is_plain or tensor.numel() * tensor.element_size() > size:
        raise RequestError(f"checkpoint {path}: {short(name)} is no tensor of weights, or larger than the file")
    try:
        is_finite = not tensor.is_floating_point() or bool(tensor.isfinite().all())
    except (RuntimeError, NotImplementedError) as error:  # numbers of eight bits can only be stored
        raise RequestError(f"checkpoint {path}: {short(name)} holds {tensor.dtype}, no weights: {error}") from None
    if not is_finite:
        raise RequestError(f"checkpoint {path}: {name} holds NaN or infinity; its training had failed")


def _load_safetensors(path: Path) -> tuple[Any, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise RequestError(f"checkpoint {path}: damaged or truncated, or no safetensors file: {error}") from None


def _load_pickle(path: Path) -> tuple[Any, Any]:
    import torch

    try:
        with path.open("rb") as file:
            archives.check(file)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless()):
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from None
    except Exception as error:  # damaged files make the reader raise nearly anything
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise RequestError(f"checkpoint {path}: damaged or truncated, or no checkpoint: {reason}") from None
    return content, content.get("meta") if isinstance(content, dict) else None


def _refusal(path: Path, message: str) -> RequestError:
    """What PyTorch's reader stumbled over, in one line."""
    if "Unsupported operand" in message:
        return RequestError(f"checkpoint {path}: refused: a pickle, but not as PyTorch writes checkpoints, or damaged")
    found = _STRANGE.search(message)
    if found is None:
        return RequestError(f"checkpoint {path}: damaged or truncated, or no checkpoint of PyTorch")
    return RequestError(
        f"checkpoint {path}: refused: it holds a pickled {found[1]}, and reading that could run code; "
        "save its state_dict alone, best as .safetensors"
    )


def _harmless() -> list[Any]:
    """What training tools lay beside weights, and whose reading does nothing: numbers, arrays, histories, options."""
    kinds: list[Any] = [argparse.Namespace, np.ndarray, np.dtype, multiarray.scalar, multiarray._reconstruct]
    kinds += {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    # their names in files that were written with numpy 1
    kinds += [(f, f"numpy.core.multiarray.{f.__name__}") for f in (multiarray.scalar, multiarray._reconstruct)]
    try:
        from mmengine.logging.history_buffer import HistoryBuffer
    except ImportError:
        return kinds

    def method_of_history(owner: object, name: str) -> None:
        """In place of `getattr`, by which such a history names its own methods; they are not needed."""
        if owner is not HistoryBuffer:
            raise pickle.UnpicklingError(f"unsupported GLOBAL getattr, of {name!r}")

    return [*kinds, HistoryBuffer, (method_of_history, "builtins.getattr")]


def _tensors(path: Path, content: Any) -> OrderedDict[str, torch.Tensor]:
    import torch

    holder = next((key for key in _HOLDERS if isinstance(content, dict) and isinstance(content.get(key), dict)), None)
    state = content[holder] if holder else content
    if not isinstance(state, dict) or not state or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise RequestError(f"checkpoint {path}: holds no state_dict, which is a table of tensors by name")
    prefix = "module." if all(name.startswith("module.") for name in state) else ""
    tensors = OrderedDict((name.removeprefix(prefix), tensor) for name, tensor in state.items())
    # versions of layers, by which they know how to read weights of older ones
    tensors._metadata = getattr(state, "_metadata", OrderedDict())  # type: ignore[attr-defined]
    return tensors


def _classes(meta: Any) -> tuple[str, ...] | None:
    """The class names where mmengine (dataset_meta), mmcv 1 (CLASSES) and our own files (classes, JSON) lay them."""
    if not isinstance(meta, dict):
        return None
    dataset = meta.get("dataset_meta")
    named = (dataset.get("classes") if isinstance(dataset, dict) else None) or meta.get("CLASSES")
    written = meta.get("classes")
    if named is None and isinstance(written, str):
        try:
            named = (
                parse_json(written.encode("utf-8", "replace"), _MOST_CLASSES) if len(written) <= _MOST_LETTERS else None
            )
        except ValueError:
            return None
    is_list = isinstance(named, list | tuple) and named and all(isinstance(name, str) for name in named)
    return tuple(named) if is_list else None  # type: ignore[arg-type]


def fit(network: torch.nn.Module, checkpoint: Checkpoint, ignored: tuple[str, ...] = ()) -> None:
    """Give a network the weights of a checkpoint, all of them or none.

    Names that begin with one of `ignored` may be left over. Raises RequestError that names a few of what does not fit.
    """
    own = network.state_dict()
    shapes = [
        f"{name} is {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
        for name, tensor in checkpoint.tensors.items()
        if name in own and tensor.shape != own[name].shape
    ]
    if not shapes:
        found = network.load_state_dict(checkpoint.tensors, strict=False)
        missing, left = list(found.missing_keys), list(found.unexpected_keys)
    else:
        missing = [name for name in own if name not in checkpoint.tensors]
        left = [name for name in checkpoint.tensors if name not in own]
    left = [name for name in left if not name.startswith(ignored or ("\0",))]
    faults = [_few("missing", missing), _few("left over", left), _few("of another shape", shapes)]
    if any(faults):
        raise RequestError(f"checkpoint {checkpoint.path}: of another network: {'; '.join(filter(None, faults))}")


def _few(what: str, names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what}: {short_list(names[:_SHOWN])}{more}" if names else ""
