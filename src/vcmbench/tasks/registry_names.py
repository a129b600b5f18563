"""The parts that a network's config names by `type`.

mmengine looks such a name up in its registries. What it does not find there it takes for the place of any Python
object, imports that and calls it: `os.system`, say. A config that is data must not be able to do so; one that is a
program can do as it likes anyway.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vcmbench.errors import RequestError
from vcmbench.io.documents import short

SCOPES = ("mmseg", "mmengine", "mmcv", "mmdet", "mmpretrain")
_TYPE, _SCOPE = "type", "_scope_"
_OF = "; a config that is data names registered parts of networks"


def check_names(path: Path, content: Any) -> None:
    """Raises RequestError where a config that is data names more than parts of networks: `ResNet`, or
    `mmpretrain.ConvNeXt` of a project that has some."""
    for key, name in _named(content):
        scope, dot, rest = name.partition(".")
        is_known = scope in SCOPES and "." not in rest if dot else key == _TYPE or name in SCOPES
        if not is_known:
            raise RequestError(f"{path}: {key} {short(name)}: is no part of a network{_OF}")


def check_registered(model: Any) -> None:
    """Raises RequestError where a name would be looked up as a Python object of its own: names of one word, or of a
    project and a word. Longer ones are those of programs, in which they are imported already."""
    for key, name in _named(model):
        scope, dot, rest = name.partition(".")
        if key != _TYPE or "." in rest or (dot and scope not in SCOPES):
            continue
        if not (_is_registered(scope, rest) if dot else _is_registered("mmseg", name)) and _is_there(scope):
            raise RequestError(f"type {short(name)}: is no registered part of a network; mmengine would import it")


def absent(model: Any) -> list[str]:
    """The packages whose parts it names by `type`, but which are not found."""
    packages = dict.fromkeys(name.partition(".")[0] for key, name in _named(model) if key == _TYPE and "." in name)
    return [package for package in packages if not _is_there(package)]


def _named(content: Any) -> Iterator[tuple[str, str]]:
    """All names of parts and of scopes, with their keys."""
    waiting = [content]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield from ((key, node[key]) for key in (_TYPE, _SCOPE) if isinstance(node.get(key), str))
            waiting += node.values()
        elif isinstance(node, list | tuple):
            waiting += node


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _is_registered(scope: str, name: str) -> bool:
    """Whether one of a project's registries, or of those that they go on to, has a part of that name."""
    from mmengine import registry

    if scope != "mmengine" and _is_there(scope):
        try:
            importlib.import_module(f"{scope}.registry")
        except ImportError:
            pass  # mmcv has none: its parts are in mmengine's
    for one in vars(registry).values():
        if isinstance(one, registry.Registry):
            child = one.children.get(scope)
            if child is not None:
                child.import_from_location()
            if name in one.module_dict or (child is not None and name in child.module_dict):
                return True
    return False
