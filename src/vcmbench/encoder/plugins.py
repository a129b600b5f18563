"""The encoders of `encoders/`: found by their files' names, loaded, and sent to other processes by name."""

from __future__ import annotations

import copyreg
import re
from collections.abc import Callable
from types import ModuleType

from vcmbench.encoder.base import Encoder
from vcmbench.errors import RequestError
from vcmbench.io import resources
from vcmbench.io.plugins import Plugins, only_subclass

NAME = re.compile(r"[a-z][a-z0-9]{0,30}")
"""An encoder's name is a Python module, the tag of an image and a choice on the command line at once."""

_REQUIRED = ("label", "extension", "quality", "chroma", "encode_tools", "decode_tools")


def _encoder_of(module: ModuleType, name: str) -> Encoder:
    found = only_subclass(module, Encoder)  # type: ignore[type-abstract]
    encoder = found()
    if absent := [attribute for attribute in _REQUIRED if not hasattr(encoder, attribute)]:
        raise RequestError(f"{found.__name__} does not set {', '.join(absent)}")
    if not all(rate > 0 for _, rate in encoder.rates) or dict(encoder.rough_s_per_mpx).get("", 0) <= 0:
        raise RequestError(
            f'{found.__name__}: search_rates must be above 0, and rough_s_per_mpx must name "" and be so'
        )
    if not re.fullmatch(r"[A-Za-z0-9]+", encoder.label) or not re.fullmatch(r"\.[a-z0-9]+", encoder.extension):
        raise RequestError(f"{found.__name__}: label and extension stand in paths; they must be such as JPEG and .jpg")
    encoder.name = name
    copyreg.pickle(found, _by_name)
    return encoder


def _by_name(encoder: Encoder) -> tuple[Callable[[str], Encoder], tuple[str]]:
    """Other processes find it by its name: its file is no module that could be imported."""
    return get, (encoder.name,)


_PLUGINS = Plugins("encoders", lambda: resources.folder("encoders"), "vcmbench_encoders", _encoder_of, NAME)
discover, faults = _PLUGINS.found, _PLUGINS.faults


def get(name: str) -> Encoder:
    """The encoder of that name. Raises RequestError where there is none, or where its file is faulty."""
    return _PLUGINS.get(name)


def loses_nothing(encoder: str, color_subsampling: str, subsampling_factor: float) -> bool:
    """`Encoder.loses_nothing` of the encoder of that name."""
    return get(encoder).loses_nothing(color_subsampling, subsampling_factor)
