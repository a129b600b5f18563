"""An ONNX file opened by onnxruntime: one thread a picture, so that the same picture has the same answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vcmbench.errors import RequestError
from vcmbench.io.documents import short, short_list
from vcmbench.tasks import devices
from vcmbench.tasks.onnx import document

if TYPE_CHECKING:
    import onnxruntime

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_QUIET = 4  # errors are raised; what it prints beside them is not for a terminal
_REASONS = (
    (r"Opset (\d+) is under development.* domain (\S+) is till opset (\d+)",
     "is of opset {0} of {1}, and onnxruntime {version} runs up to {2}; export it with an older one (opset_version=)"),
    (r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
     "is of ONNX IR version {0}, and onnxruntime {version} reads up to {1}; export it with an older onnx"),
    (r"Fatal error: (\S+):(\S+?)\(-?\d+\) is not a registered function",
     "needs the custom operator {1} of {0}, which onnxruntime does not have; export it without"),
    (r"No Op registered for (\S+) with domain_version of (\d+)",
     "needs the operator {0}, which onnxruntime {version} does not have in opset {1}"),
)  # fmt: skip


def device(gpu: str) -> str:
    """As `devices.local`, for onnxruntime, whose usual package has no CUDA."""
    import onnxruntime

    place = devices.local(gpu)
    if place == "cpu" or _CUDA in onnxruntime.get_available_providers():
        return place
    if gpu == "auto":
        return "cpu"
    raise RequestError(f"--gpu {gpu}: onnxruntime has no CUDA here; install onnxruntime-gpu, or use --gpu none")


def start(path: Path, external: Mapping[str, Path], place: str) -> onnxruntime.InferenceSession:
    """A session, which several threads may run at a time. `external` are files of weights by the network's names.

    Raises RequestError where onnxruntime does not take the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = _QUIET
    if external:
        weights = [document.load_external(file) for file in external.values()]
        options.add_external_initializers_from_files_in_memory(list(external), weights, [len(one) for one in weights])
    providers: list[Any] = [_CPU]
    if place != "cpu":
        # TF32 has 10 bits of a float's 23, and what a search finds fastest is not always the same algorithm
        asked = {"device_id": place.partition(":")[2], "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
        providers.insert(0, (_CUDA, asked))
    try:
        session = onnxruntime.InferenceSession(document.load(path), options, providers)
    except Exception as error:  # its exceptions have no base of their own
        raise RequestError(f"{path}: {_reason(str(error), onnxruntime.__version__)}") from None
    if place != "cpu" and session.get_providers()[0] != _CUDA:
        raise RequestError(f"{path}: onnxruntime cannot use the GPU {place}; use --gpu none")
    return session


def _reason(message: str, version: str) -> str:
    for pattern, words in _REASONS:
        if found := re.search(pattern, message, re.DOTALL):
            return words.format(*(part.rstrip(".") for part in found.groups()), version=version)
    return f"onnxruntime does not take it: {' '.join(message.rpartition('failed:')[2].split())[:300]}"


def chosen(what: str, key: str | None, there: Sequence[Any]) -> Any:
    """The input or output that `key` names, or the only one. Raises RequestError that says which there are."""
    names = [one.name for one in there]
    if key is None and len(there) == 1:
        return there[0]
    if key in names:
        return there[names.index(key)]
    have = f"the network has {short_list(names)}"
    if key is None:
        raise RequestError(f"task.{what}.name: {have}; say which")
    raise RequestError(f"task.{what}.name = {short(key)}: {have}")


def text_of(shape: Sequence[int | str | None]) -> str:
    """A shape as messages have it; what is free has its name, or ?."""
    return f"({', '.join(str(side) if side is not None else '?' for side in shape)})"
