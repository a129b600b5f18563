"""The encoders of `encoders/`: found by their files' names, loaded, and sent to other processes by name."""

from __future__ import annotations

import copyreg
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path

from vcmbench.encoder.base import Encoder
from vcmbench.errors import RequestError
from vcmbench.io import resources
from vcmbench.io.documents import short

NAME = re.compile(r"[a-z][a-z0-9]{0,30}")
"""An encoder's name is a Python module, the tag of an image and a choice on the command line at once."""

_REQUIRED = ("label", "extension", "quality", "chroma", "encode_tools", "decode_tools")


def _load(path: Path) -> Encoder:
    """The encoder of a file. Raises RequestError that names the file, and the line where Python stumbled."""
    if not NAME.fullmatch(path.stem):
        raise RequestError(f"{path}: an encoder's file name must match {NAME.pattern}")
    name = f"vcmbench_encoders.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RequestError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        classes = [c for c in vars(module).values() if _is_encoder_of(c, name)]
        if len(classes) != 1:
            raise RequestError(f"{path}: holds {len(classes)} subclasses of Encoder, must hold one")
        encoder: Encoder = classes[0]()
    except RequestError:
        raise
    except Exception as error:  # a plugin may raise anything while it is imported
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = getattr(error, "lineno", None) or (lines or [0])[-1]
        raise RequestError(f"{path}, line {line}: {type(error).__name__}: {error}") from error
    absent = [attribute for attribute in _REQUIRED if not hasattr(encoder, attribute)]
    if absent:
        raise RequestError(f"{path}: {classes[0].__name__} does not set {', '.join(absent)}")
    encoder.name = path.stem
    copyreg.pickle(classes[0], _by_name)
    return encoder


def _by_name(encoder: Encoder) -> tuple[Callable[[str], Encoder], tuple[str]]:
    """Other processes find it by its name: its file is no module that could be imported."""
    return get, (encoder.name,)


def _is_encoder_of(value: object, module: str) -> bool:
    return isinstance(value, type) and issubclass(value, Encoder) and value.__module__ == module


@cache
def _load_all() -> tuple[dict[str, Encoder], dict[str, str]]:
    found, faults = {}, {}
    for path in sorted(resources.folder("encoders").glob("[!_]*.py")):
        try:
            found[path.stem] = _load(path)
        except RequestError as error:
            faults[path.stem] = str(error)
    return found, faults


def discover() -> dict[str, Encoder]:
    """Every encoder of `encoders/` that can be loaded, by name. Files that begin with `_` are helpers of others."""
    return _load_all()[0]


def faults() -> dict[str, str]:
    """What is wrong with the files of `encoders/` that cannot be loaded, by name."""
    return _load_all()[1]


def get(name: str) -> Encoder:
    """The encoder of that name. Raises RequestError where there is none, or where its file is faulty."""
    if name in faults():
        raise RequestError(f"encoder {name!r}: {faults()[name]}")
    if name not in discover():
        raise RequestError(f"encoder {short(name)}: unknown; there are {' '.join(discover())}")
    return discover()[name]


def loses_nothing(encoder: str, color_subsampling: str, subsampling_factor: float) -> bool:
    """`Encoder.loses_nothing` of the encoder of that name."""
    return get(encoder).loses_nothing(color_subsampling, subsampling_factor)
