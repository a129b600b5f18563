"""The names of what a scene holds, with their ids in Cityscapes' label images."""

from __future__ import annotations

from dataclasses import dataclass

_VOID = ("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground")
_REST = (
    "road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole",
    "polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck",
    "bus", "caravan", "trailer", "train", "motorcycle", "bicycle",
)  # fmt: skip
_NOT_EVALUATED = {
    *_VOID, "parking", "rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan", "trailer",
}  # fmt: skip
_FIRST_WITH_INSTANCES = 24


@dataclass(frozen=True)
class Label:
    """`label_id` as in `*_labelIds.png`; `evaluated` are the 19 that count, `has_instances` those that are counted."""

    name: str
    label_id: int
    evaluated: bool
    has_instances: bool


BY_ID = {
    number: Label(name, number, name not in _NOT_EVALUATED, number >= _FIRST_WITH_INSTANCES)
    for number, name in enumerate(_VOID + _REST)
}
BY_NAME = {label.name: label for label in BY_ID.values()}
