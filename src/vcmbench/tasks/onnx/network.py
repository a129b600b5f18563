"""A network that is an ONNX file: of masks, of boxes, or of masks of objects."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from vcmbench.errors import RequestError
from vcmbench.tasks import class_names
from vcmbench.tasks.base import Device, Picture, Prepared, TaskSettings, check_pictures
from vcmbench.tasks.batching import complaints
from vcmbench.tasks.onnx import beside, detections, document, instances, masks, pixels, session
from vcmbench.tasks.onnx.keys import NetworkInput, NetworkOutput
from vcmbench.tasks.onnx.masks import Masks

VERSION = 1
"""To be raised with every change of what this code makes of a picture: it is part of the scores' keys."""
_FILE = "network"
Answers = Literal["masks", "boxes", "instances"]
Reader = Masks | detections.Detections | instances.ObjectMasks
_KINDS: dict[Answers, tuple[str, tuple[str | None, ...]]] = {
    "masks": ("segmentation", (None, "logits", "labels")),
    "boxes": ("detection", ("boxes",)),
    "instances": ("instances", ("yolo-seg", "boxes")),
}
"""The task that has such answers, and the kinds of output that they are made of."""
_NAMES = ("classes", "names", "labels", "class_names")
"""Where exporters lay the names of classes among a file's metadata."""


def prepare(settings: TaskSettings) -> Prepared:
    """As `LocalTask.prepare`, of a file that ends in .onnx."""
    if settings.checkpoint is not None:
        raise RequestError(f"checkpoint {settings.checkpoint!r}: an ONNX file has its weights; leave it out")
    file = document.read(Path(settings.model).expanduser())
    settings = beside.filled(settings)
    options = {
        "onnx": file.sha256,
        "external": file.external_sha256(),
        "input": settings.input.model_dump(exclude_unset=True) if settings.input else {},
        "output": settings.output.model_dump(exclude_unset=True) if settings.output else {},
        "classes": class_names.given(settings.classes),
    }
    outside = {f"external{i}": path for i, path in enumerate(file.external.values())}
    return Prepared(options, {_FILE: file.path, **outside})


class OnnxNetwork:
    """What `prepare` found, opened. `run` gives class ids or boxes of pictures, each on one thread."""

    at_once = 2

    def __init__(self, prepared: Prepared, place: Device, answers: Answers = "masks") -> None:
        """Raises RequestError where the file is not what its keys say, or does not give such answers."""
        import onnxruntime

        options, path = prepared.options, prepared.files[_FILE]
        self.path = path
        external = {name: prepared.files[f"external{i}"] for i, name in enumerate(options["external"])}
        self._session = session.start(path, external, place.device)
        try:
            self.pixels, self.reader = plan(self._session, options, answers)
        except RequestError as error:
            raise RequestError(f"{path}: {error}") from None
        self.classes = self.reader.classes
        self.together = place.jobs if place.device == "cpu" else 1
        self._pool = ThreadPoolExecutor(self.together, "vcmbench-task")
        self.identity = {
            "network": "onnx",
            "weights_sha256": options["onnx"],
            "external_sha256": options["external"],
            "input": NetworkInput.model_validate(options["input"]).model_dump(),
            "output": NetworkOutput.model_validate(options["output"]).model_dump() | self._filled_in(),
            "version": VERSION,
            "onnxruntime": onnxruntime.__version__,  # of whichever of its packages is there
            "precision": "float32",
            "device": place.device.split(":")[0],
        }

    @property
    def masks(self) -> Masks:
        """How its output becomes masks. Raises RequestError where it gives objects."""
        if not isinstance(self.reader, Masks):
            raise RequestError(f"{self.path}: gives objects, no masks of classes")
        return self.reader

    def _filled_in(self) -> dict[str, Any]:
        """Keys whose defaults the kind of output decides."""
        return {"boxes": self.reader.boxes.keys.model_dump()} if isinstance(self.reader, instances.ObjectMasks) else {}

    def run(self, images: Sequence[Picture]) -> list[NDArray[Any]]:
        check_pictures(images)
        return list(self._pool.map(self.answer, images))

    def answer(self, image: Picture) -> NDArray[Any]:
        """(H, W) uint8 class ids, boxes (N, 6), or `tasks.segments.Segments`; threads may ask at once."""
        with complaints(image):
            tensor, part = self.pixels.tensor(image)
            padded = tensor.shape[2:] if self.pixels.layout == "nchw" else tensor.shape[1:3]
            outputs = self._session.run(list(self.reader.names), {self.pixels.name: tensor})
            return self.reader.read(outputs, (padded[0], padded[1]), part, (image.shape[0], image.shape[1]))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def plan(opened: Any, options: dict[str, Any], answers: Answers) -> tuple[pixels.Pixels, Reader]:
    """How pictures go into a session, and class ids or objects come out. Raises RequestError that says which key is
    wrong."""
    keys = NetworkInput.model_validate(options["input"]), NetworkOutput.model_validate(options["output"])
    kind = keys[1].kind
    of, kinds = _KINDS[answers]
    if kind not in kinds:
        asked, known = "not said" if kind is None else repr(kind), " or ".join(repr(one) for one in kinds if one)
        raise RequestError(f"task.output.kind is {asked}; for name = {of!r} it is {known}")
    inputs = opened.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "none"
        raise RequestError(f"the network has {len(inputs)} inputs ({names}); one, a picture, is taken")
    into = session.chosen("input", keys[0].name, inputs)
    how_in = pixels.of(keys[0], into.name, into.shape, into.type)
    named = options["classes"] or names_within(opened.get_modelmeta().custom_metadata_map)
    if answers == "instances":
        return how_in, instances.of(keys[1], opened.get_outputs(), named)
    out = session.chosen("output", keys[1].name, opened.get_outputs())
    if answers == "boxes":
        return how_in, detections.of(keys[1], out.name, opened.get_outputs(), named)
    return how_in, masks.of(keys[1], out.name, out.shape, out.type, named, how_in.layout)


def names_within(about: dict[str, str]) -> list[str] | None:
    """The names of classes among a file's metadata: a list or a table by number, as JSON or Python writes it, or one
    a line; None where there are none."""
    text = next((about[key] for key in _NAMES if key in about), None)
    if text is None:
        return None
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = [line.strip() for line in text.splitlines() if line.strip()]
    if isinstance(found, dict):
        numbers = {str(i): i for i in range(len(found))}
        if {str(key) for key in found} != numbers.keys():
            return None
        found = [name for _, name in sorted(found.items(), key=lambda one: numbers[str(one[0])])]
    return [str(name) for name in found] if isinstance(found, list | tuple) and len(found) > 1 else None
