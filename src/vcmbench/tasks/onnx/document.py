"""An ONNX file as the protocol buffer that it is: what it says of itself before anything of it is run.

The few fields that are read (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) are walked over by hand, since
onnx itself is not among what measuring needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vcmbench.errors import RequestError
from vcmbench.io.documents import short, short_list
from vcmbench.io.files import read_bounded, sha256_of

SUFFIX = ".onnx"
_MAX_BYTES = 1 << 31  # of a protocol buffer; larger weights lie in files beside
_MAX_EXTERNAL_BYTES = 1 << 34
_MOST_LEVELS = 20
_VARINT, _64_BITS, _BYTES, _32_BITS = 0, 1, 2, 5
# ModelProto
_OPSETS, _GRAPH, _FUNCTIONS = 8, 7, 25
# where tensors can lie: (message, field) -> the message there
_INSIDE = {
    ("graph", 1): "node", ("graph", 5): "tensor", ("graph", 15): "sparse", ("node", 5): "attribute",
    ("attribute", 5): "tensor", ("attribute", 6): "graph", ("attribute", 10): "tensor", ("attribute", 11): "graph",
    ("attribute", 22): "sparse", ("attribute", 23): "sparse", ("sparse", 1): "tensor", ("sparse", 2): "tensor",
    ("function", 7): "node",
}  # fmt: skip
_EXTERNAL = ("tensor", 13)


@dataclass(frozen=True)
class OnnxFile:
    """`opsets` by domain ("" is ONNX's own); `external` are the files of weights beside it, by the names that it has
    for them."""

    path: Path
    sha256: str
    opsets: dict[str, int]
    external: dict[str, Path]

    def external_sha256(self) -> dict[str, str]:
        """Raises RequestError where one cannot be read."""
        try:
            return {name: sha256_of(path, _MAX_EXTERNAL_BYTES) for name, path in self.external.items()}
        except OSError as error:
            raise RequestError(f"{self.path}: its external data cannot be read: {error.strerror}") from None


def is_onnx(model: str) -> bool:
    return model.lower().endswith(SUFFIX)


def load(path: Path, max_bytes: int = _MAX_BYTES) -> bytes:
    """Raises RequestError where it cannot be read."""
    try:
        return read_bounded(path, max_bytes)
    except FileNotFoundError:
        raise RequestError(f"{path}: no such file") from None
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None


def load_external(path: Path) -> bytes:
    return load(path, _MAX_EXTERNAL_BYTES)


def read(path: Path) -> OnnxFile:
    """Raises RequestError where there is no file, it is no ONNX, or external data is not there."""
    data = load(path)
    if not data:
        raise RequestError(f"{path}: has 0 bytes; export or copy it again")
    try:
        opsets, names = _walk(memoryview(data))
    except (ValueError, IndexError):  # also of text that is no UTF-8
        raise RequestError(f"{path}: is no ONNX file, or only a part of one") from None
    return OnnxFile(path, hashlib.sha256(data).hexdigest(), opsets, _beside(path, names))


def _beside(path: Path, names: set[str]) -> dict[str, Path]:
    for name in sorted(names):
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts:
            raise RequestError(f"{path}: external data {short(name)}: does not lie beside it")
    missing = sorted(name for name in names if not (path.parent / name).is_file())
    if missing:
        raise RequestError(
            f"{path}: its weights lie in files of their own, and {short_list(missing, 3)} is not in {path.parent}; "
            "put it there"
        )
    return {name: path.parent / name for name in sorted(names)}


def _walk(data: memoryview) -> tuple[dict[str, int], set[str]]:
    opsets, names, has_graph = {}, set(), False
    for number, value in _fields(data):
        if number == _OPSETS and isinstance(value, memoryview):
            entry = dict(_fields(value))
            domain, version = entry.get(1, b""), entry.get(2, 0)
            if isinstance(version, int) and not isinstance(domain, int):
                opsets[bytes(domain).decode()] = version
        elif number in (_GRAPH, _FUNCTIONS) and isinstance(value, memoryview):
            has_graph |= number == _GRAPH
            names |= _external(value, "graph" if number == _GRAPH else "function", 0)
    if not has_graph or not opsets:
        raise ValueError("no graph")
    return opsets, names


def _external(data: memoryview, message: str, level: int) -> set[str]:
    """The locations of external data in a message and all inside it."""
    if level > _MOST_LEVELS:
        raise ValueError("nested too deeply")
    found: set[str] = set()
    for number, value in _fields(data):
        if isinstance(value, int):
            continue
        if (message, number) == _EXTERNAL:
            entry = {key: bytes(part).decode() for key, part in _fields(value) if not isinstance(part, int)}
            if entry.get(1) == "location":
                found.add(entry.get(2, ""))
        elif inside := _INSIDE.get((message, number)):
            found |= _external(value, inside, level + 1)
    return found


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: number and value. Raises ValueError, IndexError where it is none."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire in (_64_BITS, _32_BITS):
            length = 8 if wire == _64_BITS else 4
        else:
            raise ValueError("no wire type")
        if not number or length > len(data) - at:
            raise ValueError("cut off")
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("no varint")
