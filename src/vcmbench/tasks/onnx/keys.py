"""`[task.input]` and `[task.output]`: what an ONNX file does not say of itself."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from vcmbench.io.documents import short
from vcmbench.io.validation import Strict

_MOST_SIDE = 1 << 14
_MOST_FACTOR = 4.0


def _number(value: Any) -> Any:
    """A number, or a fraction as text: 1/255 has no other exact form in TOML."""
    if not isinstance(value, str):
        return value
    try:
        return float(Fraction(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError('must be a number, or a fraction such as "1/255"') from None


def _size(value: Any) -> Any:
    """[height, width] in px, or a factor to the picture's sides."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _MOST_FACTOR:
        return float(value)
    if isinstance(value, list) and len(value) == 2 and all(type(one) is int and 0 < one <= _MOST_SIDE for one in value):
        return value
    raise ValueError(f"must be [height, width] in px, or a factor of at most {_MOST_FACTOR:g} (found {short(value)})")


Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
Layout = Literal["nchw", "nhwc"]


class NetworkInput(Strict):
    """How a picture becomes a network's input, in this order: resized; `scale` (where it is first), `- mean`, `/ std`,
    `scale` (where it is last); zeros added on the right and below until both sides are multiples of `multiple`."""

    name: str | None = None
    """None: the only input there is."""
    size: Annotated[list[int] | float | None, BeforeValidator(_size)] = None
    """[height, width], or a factor to the picture's sides; None: the picture's own, or the file's fixed one."""
    resize: Literal["bilinear", "bilinear-antialias", "nearest"] = "bilinear"
    """bilinear: of 4 neighbours, as OpenCV's INTER_LINEAR and PyTorch's interpolate (align_corners=False);
    bilinear-antialias: of as many as a pixel covers, as Pillow's and torchvision's."""
    scale: Annotated[float, BeforeValidator(_number), Field(gt=0)] = 1.0
    scale_at: Literal["first", "last"] = "first"
    mean: Channels | None = None
    """In the order of `colours`, in units of 0..255 times a first `scale`."""
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3)] | None = None
    colours: Literal["rgb", "bgr"] = "rgb"
    layout: Layout | None = None
    """None: as the input's shape has it."""
    multiple: Annotated[int, Field(ge=1, le=1024)] = 1


class BoxOutput(Strict):
    """`[task.output.boxes]`: how a detector's output becomes boxes."""

    corners: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"
    unit: Literal["px", "relative"] = "px"
    """Of the network's input."""
    columns: Literal["score-class", "class-score", "scores", "objectness"] | None = None
    """What follows the four numbers of a box: score and class (None: this), a score of each class (None, where the
    scores are an output of their own), or one of there being an object and then those."""
    scores: str | None = None
    """The output of scores, where they are not in the rows of boxes."""
    labels: str | None = None
    """The output of classes, where there is one."""
    masks: str | None = None
    """The output of masks of objects: prototypes, or one a box."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Boxes of lower scores are left out."""
    nms: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The IoU from which a box suppresses others of its class; None: the network does it by itself."""

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what boxes alone do not have: see NetworkOutput."""
        return _without(dump(self), "masks")


class NetworkOutput(Strict):
    """How a network's output becomes class ids, boxes, or masks of objects."""

    name: str | None = None
    """None: the only output there is."""
    kind: Literal["logits", "labels", "boxes", "yolo-seg"] | None = None
    """None: labels where the output is of whole numbers, else logits (or probabilities: the largest wins)."""
    layout: Layout | None = None
    """None: as the shapes have it."""
    void: Annotated[int, Field(ge=0, le=255)] | None = None
    """The output that stands for no class; the others keep their order."""
    upsample: Literal["logits", "labels"] | None = None
    """What is brought to the picture's size: logits, bilinearly, before the largest is sought (None: this, where
    there are logits), or labels, by nearest neighbour."""
    boxes: BoxOutput | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what networks of masks do not have: it is part of keys that were made before there were boxes."""
        return _without(dump(self), "boxes")


def _without(dumped: dict[str, Any], name: str) -> dict[str, Any]:
    """A table without one key, where that is None."""
    return {key: value for key, value in dumped.items() if key != name or value is not None}
