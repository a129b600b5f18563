"""mmsegmentation without compiled mmcv: how it is made importable, and how a network is built from its config.

mmsegmentation 1.2 imports `mmcv.ops`, whose code is in a compiled extension that `mmcv-lite` does not have. Hardly any
segmentation network calls it, so a stand-in for the extension lets the import go through, and says what is missing
where a network does call it. A compiled mmcv, where it is installed, is used as it is.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib.util
import logging
import sys
import warnings
from collections.abc import Callable
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vcmbench.errors import JobError, RequestError
from vcmbench.io import resources
from vcmbench.tasks import registry_names
from vcmbench.tasks.own_networks import missing_import

if TYPE_CHECKING:
    import torch

_EXTENSION = "mmcv._ext"
_PUBLISHED = {"torch", "torchvision", "timm", "mmseg", "mmengine", "mmcv", "mmdet", "mmpretrain"}
"""What networks are made of; their versions say what they do."""
_FETCHED = ("pretrained", "init_cfg", "pretrained_cfg")


class _StandIn(ModuleType):
    """Has every function that it is asked for, and each of them refuses to run."""

    def __init__(self) -> None:
        super().__init__(_EXTENSION, "stands in for the compiled part of mmcv")
        self.__spec__ = ModuleSpec(_EXTENSION, None)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        # inspect and importlib ask every module for such names, and take what they get seriously
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*_: object, **__: object) -> None:
            raise JobError(f"this network needs compiled mmcv ({name}); mmcv-lite is installed: install mmcv 2.1.0")

        return refuse


@cache
def prepare() -> None:
    """Make mmseg importable, quiet, and its networks known to its registries. Once is enough.

    Raises RequestError where mmsegmentation or what it stands on is not installed.
    """
    absent = [name for name in ("torch", "mmengine", "mmcv", "mmseg") if importlib.util.find_spec(name) is None]
    if absent:
        raise RequestError(
            f"segmentation needs {', '.join(absent)}, which this Python does not have; "
            f"{resources.how_to_measure()} (or use --runner docker)"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if _EXTENSION not in sys.modules and importlib.util.find_spec(_EXTENSION) is None:
            sys.modules[_EXTENSION] = _StandIn()
        from mmseg.utils import register_all_modules

        register_all_modules(init_default_scope=True)
    logging.getLogger("mmengine").setLevel(logging.ERROR)


def build(model: dict[str, Any]) -> torch.nn.Module:
    """The network that the `model` of an mmseg config describes, with random weights, on the CPU, in training mode.

    Nothing is fetched: what names weights of a backbone is dropped. Synchronised batch norm becomes plain batch norm,
    which has the same weights and needs no group of processes. Raises RequestError where it cannot be built.
    """
    prepare()
    from mmengine import ConfigDict
    from mmseg.registry import MODELS

    cleaned = _cleaned(copy.deepcopy(model))
    registry_names.check_registered(cleaned)
    wanted = ConfigDict(cleaned)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            built: torch.nn.Module = MODELS.build(wanted)
    except (JobError, RequestError):
        raise
    except Exception as error:  # a network's code may raise anything over a config that it does not like
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        advice = f"{_absent(model)}{missing_import(error)}"
        raise RequestError(f"mmseg cannot build this config's model: {reason}{advice}") from error
    return built


def own_code(network: torch.nn.Module) -> dict[str, str]:
    """SHA-256 (hex) of a user's code that parts of a network come from, as a config's `custom_imports` names it: of all
    files of those packages that are loaded, and of the user's own ones that these import. Empty where all parts are
    published ones."""
    own = {type(part).__module__.partition(".")[0] for part in network.modules()} - _PUBLISHED
    files: dict[str, Path] = {}
    waiting, known = list(own), set(own)
    while waiting:
        package = waiting.pop()
        of_package = {name: Path(str(module.__file__)) for name, module in list(sys.modules.items())
                      if name.partition(".")[0] == package and getattr(module, "__file__", None)}  # fmt: skip
        files |= of_package
        imported = set().union(*map(_imports, of_package.values())) - known
        known |= imported
        waiting += imported
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return {"code_sha256": digest.hexdigest()} if files else {}


def _imports(path: Path) -> set[str]:
    """The packages that a file of Python imports by name, but for Python's, those of networks and what is installed."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (OSError, ValueError, SyntaxError):  # compiled
        return set()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    found = {name.partition(".")[0] for name in names} - _PUBLISHED - sys.stdlib_module_names
    files = {name: str(getattr(sys.modules.get(name), "__file__", None) or "site-packages") for name in found}
    return {name for name, file in files.items() if not {"site-packages", "dist-packages"} & set(Path(file).parts)}


def _absent(model: dict[str, Any]) -> str:
    """What a config names parts of, a sister project or somebody's own modules, where Python does not find it."""
    absent = registry_names.absent(model)
    found = f"{', '.join(absent)}, which this Python does not find"
    return f" (it has parts of {found}: install it, or put its folder on PYTHONPATH)" if absent else ""


def _cleaned(node: Any) -> Any:
    if isinstance(node, dict):
        kept = {key: _cleaned(value) for key, value in node.items() if key not in _FETCHED}
        if kept.get("type") in ("SyncBN", "MMSyncBN"):
            kept["type"] = "BN"
        return kept
    if isinstance(node, list | tuple):
        return type(node)(map(_cleaned, node))
    return node
