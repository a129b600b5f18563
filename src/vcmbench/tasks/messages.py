"""How a task in another process is spoken to: messages of JSON and raw arrays over two byte streams.

    4 bytes   length of the header, big-endian
    header    JSON: {"op": .., ..., "arrays": [{"shape": [..], "dtype": ".."}, ..]}
    arrays    one after the other, row by row, little-endian

Nothing is pickled, and the reader allocates only what the header may ask for.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.io.documents import parse_json

_LENGTH = struct.Struct(">I")
_MAX_HEADER = 1 << 22
_MAX_ARRAYS_BYTES = 1 << 30
_DTYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("u1"), "float32": np.dtype("<f4")}

Read = Callable[[memoryview], None]
"""Fills a buffer. Raises EOFError where the stream ends before."""
Write = Callable[[memoryview], None]
"""Writes all of a buffer."""


@dataclass(frozen=True)
class Message:
    """One message: a small table, and arrays of uint8 or float32."""

    header: dict[str, Any]
    arrays: list[NDArray[Any]] = field(default_factory=list)


def send(write: Write, header: dict[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> None:
    """Raises ValueError for what the channel cannot carry, and what `write` raises."""
    about = [{"shape": list(array.shape), "dtype": array.dtype.name} for array in arrays]
    if any(array.dtype.name not in _DTYPES for array in arrays):
        raise ValueError(f"arrays must be of {' or '.join(_DTYPES)}")
    text = json.dumps({**header, "arrays": about}).encode()
    if len(text) > _MAX_HEADER or sum(array.nbytes for array in arrays) > _MAX_ARRAYS_BYTES:
        raise ValueError("message too long")
    write(memoryview(_LENGTH.pack(len(text)) + text))
    for array in arrays:
        if array.size:
            write(np.ascontiguousarray(array, _DTYPES[array.dtype.name]).data.cast("B"))


def receive(read: Read) -> Message:
    """The next message. Raises EOFError where the stream ends, ValueError where it holds something else."""
    (length,) = _LENGTH.unpack(_take(read, _LENGTH.size))
    if length > _MAX_HEADER:
        raise ValueError("no message of the channel: its header is too long")
    header = parse_json(_take(read, length))
    about = header.pop("arrays", None) if isinstance(header, dict) else None
    if not isinstance(about, list):
        raise ValueError("no message of the channel: it lists no arrays")
    shapes = [_shape(entry) for entry in about]
    if sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes) > _MAX_ARRAYS_BYTES:
        raise ValueError("no message of the channel: its arrays are too large")
    arrays = []
    for shape, dtype in shapes:
        array: NDArray[Any] = np.empty(shape, dtype)
        if array.size:
            read(array.data.cast("B"))
        arrays.append(array)
    return Message(header, arrays)


def _take(read: Read, length: int) -> bytes:
    data = bytearray(length)
    if length:
        read(memoryview(data))
    return bytes(data)


def _shape(entry: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or str(entry.get("dtype")) not in _DTYPES:
        raise ValueError("no message of the channel: an array without shape or dtype")
    if not 0 < len(shape) <= 4 or not all(type(side) is int and 0 <= side < 1 << 30 for side in shape):
        raise ValueError(f"no message of the channel: an array of shape {shape}")
    return tuple(shape), _DTYPES[str(entry["dtype"])]
