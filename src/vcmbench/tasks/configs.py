"""mmsegmentation's configs: the network that one describes and the names of its classes, as plain JSON.

A .py config is a program; reading it runs it, as mmsegmentation itself does. JSON and YAML are only data here (unlike
in mmengine, whose YAML reader makes any Python object).
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcmbench.data.labels import CLASSES
from vcmbench.errors import RequestError
from vcmbench.io.documents import parse_json, short
from vcmbench.io.files import read_bounded
from vcmbench.tasks import mmsegmentation, own_networks, registry_names

SUFFIXES = (".py", ".json", ".yaml", ".yml")
_MAX_BYTES = 1 << 20
_TUPLE = "__tuple__"
_MOST_NODES, _MOST_LEVELS = 200_000, 100


@dataclass(frozen=True)
class NetworkConfig:
    """`model` as `mmsegmentation.build` takes it, and the classes that the config names, if it does."""

    model: dict[str, Any]
    classes: tuple[str, ...] | None

    def sha256(self) -> str:
        """Of the network's description alone: paths, comments and training settings don't change what it computes."""
        return hashlib.sha256(json.dumps(pack(self.model), sort_keys=True).encode()).hexdigest()


def pack(node: Any) -> Any:
    """The same as JSON. Tuples are marked, since some networks refuse lists in their place.

    Raises RequestError where it holds what JSON has no form for.
    """
    return _packed(node, [0], 0)


def _packed(node: Any, seen: list[int], level: int) -> Any:
    """`seen` counts what has been packed: aliases of YAML can name one part a million times over, or lead into
    themselves."""
    seen[0] += 1
    if seen[0] > _MOST_NODES or level > _MOST_LEVELS:
        raise RequestError(f"the config's model has more than {_MOST_NODES} parts, or {_MOST_LEVELS} levels of them")
    if isinstance(node, dict):
        return {str(key): _packed(value, seen, level + 1) for key, value in node.items()}
    if isinstance(node, tuple):
        return {_TUPLE: [_packed(value, seen, level + 1) for value in node]}
    if isinstance(node, list):
        return [_packed(value, seen, level + 1) for value in node]
    if node is None or isinstance(node, str | int | float | bool):
        return node
    if isinstance(node, type):  # new-style configs name classes themselves
        return f"{node.__module__}.{node.__qualname__}"
    raise RequestError(f"the config's model holds a {type(node).__name__}, which cannot be handed on: {short(node)}")


def unpack(node: Any) -> Any:
    """The inverse of `pack`."""
    if isinstance(node, dict):
        if node.keys() == {_TUPLE}:
            return tuple(unpack(value) for value in node[_TUPLE])
        return {key: unpack(value) for key, value in node.items()}
    return [unpack(value) for value in node] if isinstance(node, list) else node


def read(path: Path) -> NetworkConfig:
    """Read an mmseg config. Raises RequestError with its path where it is none."""
    if path.suffix not in SUFFIXES:
        raise RequestError(f"{path}: an mmseg config ends in {', '.join(SUFFIXES)}")
    if not os.path.isfile(path):  # pathlib raises at what is no name
        raise RequestError(f"{path}: {'is not a regular file' if os.path.exists(path) else 'no such config'}")
    if path.stat().st_size > _MAX_BYTES:
        raise RequestError(f"{path}: {path.stat().st_size} bytes is too long for a config")
    is_program = path.suffix == ".py"
    content = _run(path) if is_program else _parse(path)
    model = content.get("model")
    if not isinstance(model, dict):
        code = f"; if it is the code of a network, {own_networks.ADVICE}" if is_program else ""
        raise RequestError(f"{path}: has no `model`; mmseg configs describe their network there{code}")
    for key in ("data_preprocessor", "decode_head"):
        if not isinstance(model.get(key, content.get(key)), dict | list):
            raise RequestError(f"{path}: its `model` has no {key}; configs of mmsegmentation 1.x do (0.x is not read)")
    try:
        model = unpack(pack({"data_preprocessor": content.get("data_preprocessor"), **model}))
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None
    if not is_program:
        registry_names.check_names(path, [model, {"type": content.get("dataset_type")}, _test_set(content)])
    return NetworkConfig(model, _classes(content))


def _parse(path: Path) -> dict[str, Any]:
    try:
        data = read_bounded(path, _MAX_BYTES)
        if path.suffix == ".json":
            content = parse_json(data)
        else:
            import yaml

            content = yaml.safe_load(data.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"{path}: cannot be read: {error}") from None
    except Exception as error:  # yaml's own, which is not here to be named where yaml is not installed
        raise RequestError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path}: holds no table of settings")
    if "_base_" in content:
        raise RequestError(f"{path}: `_base_` is followed in .py configs only; write it out in one file")
    return content


def _run(path: Path) -> dict[str, Any]:
    mmsegmentation.prepare()
    from mmengine.config import Config

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content: dict[str, Any] = Config.fromfile(path).to_dict()
    except Exception as error:  # whatever a program may raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        advice = own_networks.missing_import(error)
        if not reason:  # mmengine's, of what is no config at all
            reason = f"it is no config of mmsegmentation; if it is the code of a network, {own_networks.ADVICE}"
        raise RequestError(f"{path}: cannot be read: {type(error).__name__}: {reason[:300]}{advice}") from error
    return content


def _test_set(content: dict[str, Any]) -> dict[str, Any]:
    """The dataset that a config tests on; empty where it names none."""
    loader = content.get("test_dataloader")
    dataset = loader.get("dataset") if isinstance(loader, dict) else None
    return {key: dataset[key] for key in ("type", "metainfo") if key in dataset} if isinstance(dataset, dict) else {}


def _classes(content: dict[str, Any]) -> tuple[str, ...] | None:
    """The classes that a config names itself, or those of the dataset that it tests on."""
    dataset = _test_set(content)
    meta = dataset.get("metainfo")
    named = content.get("classes") or (meta.get("classes") if isinstance(meta, dict) else None)
    if isinstance(named, list | tuple) and all(isinstance(name, str) for name in named):
        return tuple(named)
    kind = dataset.get("type") or content.get("dataset_type")
    if kind == "CityscapesDataset":
        return CLASSES
    if not isinstance(kind, str):
        return None
    mmsegmentation.prepare()
    from mmseg.registry import DATASETS

    registry_names.check_registered({"type": kind})
    found = DATASETS.get(kind)
    names = (getattr(found, "METAINFO", None) or {}).get("classes")
    return tuple(names) if names else None
