"""The Cityscapes classes as data: 35 entries, in the order of the dataset's own table.

Colours are RGB. ``train_id`` is 255 where a class is not evaluated, and -1 for the licence plate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Label:
    """One class: ``label_id`` as in ``*_labelIds.png``, ``train_id`` 0..18 for the evaluated ones."""

    name: str
    label_id: int
    train_id: int
    category: str
    has_instances: bool
    color: tuple[int, int, int]

    @property
    def evaluated(self) -> bool:
        """Whether the class is one of the 19 that count."""
        return 0 <= self.train_id < 19


def _table() -> tuple[Label, ...]:
    rows: list[tuple[str, int, int, str, bool, tuple[int, int, int]]] = [
        ("unlabeled", 0, 255, "void", False, (0, 0, 0)),
        ("ego vehicle", 1, 255, "void", False, (0, 0, 0)),
        ("rectification border", 2, 255, "void", False, (0, 0, 0)),
        ("out of roi", 3, 255, "void", False, (0, 0, 0)),
        ("static", 4, 255, "void", False, (0, 0, 0)),
        ("dynamic", 5, 255, "void", False, (111, 74, 0)),
        ("ground", 6, 255, "void", False, (81, 0, 81)),
        ("road", 7, 0, "flat", False, (128, 64, 128)),
        ("sidewalk", 8, 1, "flat", False, (244, 35, 232)),
        ("parking", 9, 255, "flat", False, (250, 170, 160)),
        ("rail track", 10, 255, "flat", False, (230, 150, 140)),
        ("building", 11, 2, "construction", False, (70, 70, 70)),
        ("wall", 12, 3, "construction", False, (102, 102, 156)),
        ("fence", 13, 4, "construction", False, (190, 153, 153)),
        ("guard rail", 14, 255, "construction", False, (180, 165, 180)),
        ("bridge", 15, 255, "construction", False, (150, 100, 100)),
        ("tunnel", 16, 255, "construction", False, (150, 120, 90)),
        ("pole", 17, 5, "object", False, (153, 153, 153)),
        ("polegroup", 18, 255, "object", False, (153, 153, 153)),
        ("traffic light", 19, 6, "object", False, (250, 170, 30)),
        ("traffic sign", 20, 7, "object", False, (220, 220, 0)),
        ("vegetation", 21, 8, "nature", False, (107, 142, 35)),
        ("terrain", 22, 9, "nature", False, (152, 251, 152)),
        ("sky", 23, 10, "sky", False, (70, 130, 180)),
        ("person", 24, 11, "human", True, (220, 20, 60)),
        ("rider", 25, 12, "human", True, (255, 0, 0)),
        ("car", 26, 13, "vehicle", True, (0, 0, 142)),
        ("truck", 27, 14, "vehicle", True, (0, 0, 70)),
        ("bus", 28, 15, "vehicle", True, (0, 60, 100)),
        ("caravan", 29, 255, "vehicle", True, (0, 0, 90)),
        ("trailer", 30, 255, "vehicle", True, (0, 0, 110)),
        ("train", 31, 16, "vehicle", True, (0, 80, 100)),
        ("motorcycle", 32, 17, "vehicle", True, (0, 0, 230)),
        ("bicycle", 33, 18, "vehicle", True, (119, 11, 32)),
        ("license plate", -1, -1, "vehicle", False, (0, 0, 142)),
    ]
    return tuple(Label(*row) for row in rows)


LABELS: tuple[Label, ...] = _table()
BY_NAME: dict[str, Label] = {label.name: label for label in LABELS}
BY_ID: dict[int, Label] = {label.label_id: label for label in LABELS}
VOID = 255
"""The train id of what is not evaluated."""

_EVALUATED = sorted((label for label in LABELS if label.evaluated), key=lambda label: label.train_id)
CLASSES: tuple[str, ...] = tuple(label.name for label in _EVALUATED)
PALETTE: NDArray[np.uint8] = np.array([label.color for label in _EVALUATED], np.uint8)
"""(19, 3) uint8 RGB: the Cityscapes colour of each train id."""


def train_ids(label_ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label ids, uint8 of any shape, as train ids: 0..18, or VOID."""
    found: NDArray[np.uint8] = train_id_lut()[label_ids]
    return found


def train_id_lut() -> NDArray[np.uint8]:
    """Table (256,) uint8: label id -> train id, 255 for everything that is not evaluated."""
    lut = np.full(256, VOID, np.uint8)
    for label in LABELS:
        if label.evaluated:
            lut[label.label_id] = label.train_id
    return lut


def color_lut() -> NDArray[np.uint8]:
    """Table (256, 3) uint8 RGB: label id -> Cityscapes colour, black for ids that do not exist."""
    lut = np.zeros((256, 3), np.uint8)
    for label in LABELS:
        if label.label_id >= 0:
            lut[label.label_id] = label.color
    return lut


def colorize(label_ids: NDArray[Any]) -> NDArray[np.uint8]:
    """``label_ids`` (H, W) uint8 -> (H, W, 3) uint8 RGB."""
    out: NDArray[np.uint8] = color_lut()[label_ids]
    return out
