"""Labelled objects of pictures, as boxes and masks: of Cityscapes, COCO JSON, KITTI's `label_2` and YOLO's text files.

Where they lie: `gtFine/` in the Cityscapes layout; in a folder of images `annotations/*.json` (COCO),
`label_2/NAME.txt` (KITTI) or `labels/NAME.txt` (YOLO, with the names of classes in `labels/classes.txt`), whichever is
there first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcmbench.data import images, masks
from vcmbench.data.dataset import is_result, label_folder
from vcmbench.data.labels import LABELS
from vcmbench.data.masks import Mask
from vcmbench.data.walk import SUFFIXES, Walk
from vcmbench.errors import JobError
from vcmbench.io.documents import parse_json, short
from vcmbench.io.files import read_bounded, sha256_of

ANY = ""
"""In place of a class's name: a region in which detections of any class are neither right nor wrong."""
_MAX_BYTES = 1 << 30
_CITYSCAPES = {label.label_id: label.name for label in LABELS if label.has_instances}
_GROUP = "group"
Row = tuple[str, Sequence[float], float | None, bool]
"""Of an object: name, box, area or None for that of the box, crowd."""
_KITTI_COLUMNS, _YOLO_COLUMNS = (15, 16), 5  # or a class, and three or more points


@dataclass(frozen=True, eq=False)
class LabelledObjects:
    """Of one picture, N of them: names of classes, boxes (N, 4) float64 x0, y0, x1, y1 in px, `areas` (N,) in px, by
    which they are small or large, and which are a `crowd`, (N,) bool: detections inside are not counted."""

    names: tuple[str, ...]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    masks: Callable[[], Sequence[Mask] | None] = lambda: None
    """Gives those of the N, or None where they have none. Raises JobError."""


@dataclass(frozen=True)
class ObjectFiles:
    """How a picture's objects are read from files, and what decides them. All raise JobError."""

    read: Callable[[tuple[int, int]], LabelledObjects]
    """Of a picture of (height, width) px."""
    digest: Callable[[], str]
    masks_digest: Callable[[], str] = lambda: ""
    """What decides the masks beside that."""


def of_cityscapes(instances: Path, polygons: Path) -> ObjectFiles | None:
    """`*_instanceIds.png`, whose boxes are those of visible pixels, or else `*_polygons.json`."""
    if instances.is_file():
        return ObjectFiles(lambda shape: _known(instances, shape), lambda: _sha256(instances))
    if not polygons.is_file():
        return None
    return ObjectFiles(lambda _: _from_polygons(polygons), lambda: _sha256(polygons))


def of_folder(root: Path, name: PurePosixPath, suffix: str) -> ObjectFiles | None:
    """By a picture's name below the root, without its suffix, and that; a leading folder such as `images` may be left
    out. Raises JobError where a COCO JSON cannot be used."""
    names = [name, *([PurePosixPath(*name.parts[1:])] if len(name.parts) > 1 else [])]
    for path in sorted((root / "annotations").glob("*.json")):
        if (known := _known_as(root, path, names, suffix)) is not None:
            return _of_coco(path, known)
    for one in names:
        if (path := root / "label_2" / f"{one}.txt").is_file():
            return _kitti(path)
        if (path := root / "labels" / f"{one}.txt").is_file():
            return _yolo(path, root / "labels" / "classes.txt")
    return None


def _of_coco(path: Path, name: str) -> ObjectFiles:
    now = path.stat().st_mtime_ns
    _, rows = _coco(path, now)[name]

    def segments() -> list[Any]:
        return _coco_segments(path, now)[name][1]

    def read(shape: tuple[int, int]) -> LabelledObjects:
        return replace(_objects(rows), masks=cache(lambda: _masks_of(path, segments(), shape)))

    return ObjectFiles(read, lambda: repr(rows), lambda: repr(segments()))


def _kitti(path: Path) -> ObjectFiles:
    return ObjectFiles(lambda _: _from_kitti(path), lambda: _sha256(path))


def _yolo(path: Path, classes: Path) -> ObjectFiles:
    return ObjectFiles(lambda shape: _from_yolo(path, classes, shape), lambda: _sha256(path, classes))


def _objects(rows: Sequence[Row]) -> LabelledObjects:
    boxes = np.array([box for _, box, _, _ in rows], np.float64).reshape(-1, 4)
    sides = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    areas = np.array([side if area is None else area for side, (_, _, area, _) in zip(sides, rows, strict=True)])
    crowd = np.array([is_crowd for *_, is_crowd in rows], np.bool_)
    return LabelledObjects(tuple(name for name, *_ in rows), boxes, areas.astype(np.float64), crowd)


def _known(path: Path, shape: tuple[int, int]) -> LabelledObjects:
    """A video's frames come anew with each coding of it."""
    with _complaints(path):
        now = path.stat().st_mtime_ns
        return replace(_from_instances(path, shape, now), masks=lambda: _instance_masks(path, shape, now))


@lru_cache(maxsize=1024)
def _from_instances(path: Path, shape: tuple[int, int], _mtime: int) -> LabelledObjects:
    return of_instances(_instance_ids(path, shape))


def of_instances(ids: NDArray[np.integer]) -> LabelledObjects:
    """Of (H, W): ids of 1000 and more are objects, class * 1000 + number; those of a class alone are groups of it."""
    from scipy import ndimage  # here, because commands that need no objects start faster without

    counts, windows = np.bincount(ids.ravel()), ndimage.find_objects(ids.astype(np.int32))
    rows: list[Row] = []
    for number in np.flatnonzero(counts).tolist():
        if (name := _class_of(number)) is not None:
            y, x = windows[number - 1]
            rows.append((name, (x.start, y.start, x.stop, y.stop), float(counts[number]), number < 1000))
    return _objects(rows)


@lru_cache(maxsize=256)
def _instance_masks(path: Path, shape: tuple[int, int], _mtime: int) -> list[Mask]:
    """In the same order."""
    ids = _instance_ids(path, shape)
    return [masks.of_pixels(ids == number) for number in np.unique(ids) if _class_of(int(number)) is not None]


def _class_of(number: int) -> str | None:
    return _CITYSCAPES.get(number // 1000 if number >= 1000 else number)


def _instance_ids(path: Path, shape: tuple[int, int]) -> NDArray[np.int32]:
    with images.complaints(path), Image.open(path, formats=["PNG"]) as picture:
        ids = np.asarray(picture).astype(np.int32)
    if ids.shape != shape:
        raise JobError(f"{path}: must be a gray PNG of instance ids, {shape[1]}x{shape[0]} px as its picture")
    return ids


def _from_polygons(path: Path) -> LabelledObjects:
    names, rows = set(_CITYSCAPES.values()), []
    with _complaints(path):
        for one in _json(path)["objects"]:
            label = str(one["label"])
            name = label.removesuffix(_GROUP)
            if name in names and not one.get("deleted"):
                points = np.array(one["polygon"], np.float64).reshape(-1, 2)
                rows.append((name, (*points.min(axis=0), *points.max(axis=0)), _area(points), name != label))
    return _objects(rows)


def _area(points: NDArray[np.float64]) -> float:
    """Of a polygon, (n, 2), by the shoelace formula."""
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


@cache
def _coco(path: Path, _mtime: int) -> dict[str, tuple[str, list[Row]]]:
    """By the name of a picture, without suffix, its suffix there and the rows of its objects."""

    def row(one: Any, classes: dict[Any, str]) -> Row:
        x, y, width, height = (float(side) for side in one["bbox"])
        area = width * height if one.get("area") is None else float(one["area"])
        if not (np.isfinite((x, y, width, height, area)).all() and min(width, height, area) >= 0):
            raise ValueError(f"annotation {short(one.get('id'))} has no box of x, y, width, height and its area")
        # pycocotools, too, goes by iscrowd alone
        return classes[one["category_id"]], (x, y, x + width, y + height), area, bool(one.get("iscrowd", 0))

    return _by_picture(path, row)


@cache
def _coco_segments(path: Path, _mtime: int) -> dict[str, tuple[str, list[Any]]]:
    """The same, but of each object its `segmentation`, and what it is called in messages."""
    return _by_picture(path, lambda one, _: (one.get("segmentation") or None, f"annotation {short(one.get('id'))}"))


def _by_picture(path: Path, row: Callable[[Any, dict[Any, str]], Any]) -> dict[str, tuple[str, list[Any]]]:
    with _complaints(path):
        content = _json(path)
        if "categories" not in content:  # captions, say
            return {}
        classes = {one["id"]: str(one["name"]) for one in content["categories"]}
        files = {one["id"]: PurePosixPath(one["file_name"]) for one in content["images"]}
        pictures = {number: str(file.with_suffix("")) for number, file in files.items()}
        found: dict[str, Any] = {pictures[number]: (file.suffix, []) for number, file in files.items()}
        for one in content["annotations"]:
            found[pictures[one["image_id"]]][1].append(row(one, classes))
        return found


def _known_as(root: Path, path: Path, names: Sequence[PurePosixPath], suffix: str) -> str | None:
    """A picture's name in a COCO JSON; None where that does not know it. Raises JobError where a name without folder
    could be several's."""
    known = _coco(path, path.stat().st_mtime_ns)
    found = next((name for name in (*names, PurePosixPath(names[0].name)) if str(name) in known), None)
    if found is None:
        return None
    if found == names[0]:
        return str(found)
    # masks are called as their pictures are: they end otherwise than what is written, or lie in folders of labels
    is_written = suffix == known[str(found)][0]
    twins = [one for one in _called(root).get(found.name, ())
             if one.with_suffix("").parts[-len(found.parts) :] == found.parts
             and (one.suffix == suffix or not is_written)
             and (not label_folder(one) or label_folder(names[0]))]  # fmt: skip
    if len(twins) > 1:
        raise JobError(f"{path}: file_name {short(str(found))} could be any of {len(twins)} pictures below {root}; "
                       "write all of their folders into it")  # fmt: skip
    return str(found)


@cache
def _called(root: Path) -> dict[str, list[PurePosixPath]]:
    """The pictures below a data root by their names without folders and suffix."""
    walk = Walk(is_result, SUFFIXES)
    walk.through(root)
    found: defaultdict[str, list[PurePosixPath]] = defaultdict(list)
    for file in walk.files:
        found[file.stem].append(PurePosixPath(file.relative_to(root)))
    return dict(found)


def _masks_of(path: Path, segments: Sequence[Any], shape: tuple[int, int]) -> list[Mask] | None:
    """None where not one of the objects has one."""
    if segments and all(segment is None for segment, _ in segments):
        return None
    found = []
    for segment, which in segments:
        with _complaints(path):
            if segment is None:
                raise ValueError(f"{which} has no mask, others of its picture have")
            try:
                found.append(masks.of_coco(segment, shape))
            except ValueError as error:
                raise ValueError(f"{which}: {error}") from None
    return found


def _from_kitti(path: Path) -> LabelledObjects:
    rows: list[Row] = []
    for line in _lines(path, _KITTI_COLUMNS.__contains__, "15 or 16 columns"):
        is_any = line[0] == "DontCare"
        rows.append((ANY if is_any else line[0].lower(), [float(side) for side in line[4:8]], None, is_any))
    return _objects(rows)


def _from_yolo(path: Path, classes: Path, shape: tuple[int, int]) -> LabelledObjects:
    names = [line.strip() for line in _text(classes).splitlines() if line.strip()]
    height, width = shape
    rows: list[Row] = []
    outlines: list[tuple[Any, str]] = []
    for at, line in enumerate(_lines(path, _is_yolo, "5 columns, or a class and three or more points,"), 1):
        points = np.array(line[1:], np.float64).reshape(-1, 2) * (width, height)
        if len(line) > _YOLO_COLUMNS:
            area: float | None = _area(points)
            outline, box = [points.ravel().tolist()], (*points.min(axis=0), *points.max(axis=0))
        else:
            (x, y), (w, h) = points
            if min(w, h) < 0:
                raise JobError(f"{path}: a box of {line[3]} by {line[4]} is none")
            outline, area, box = [], None, (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        with _complaints(path):
            number = int(line[0])
            rows.append((names[number if number >= 0 else len(names)], box, area, False))
        outlines.append((outline or None, f"line {at}"))
    return replace(_objects(rows), masks=cache(lambda: _masks_of(path, outlines, shape)))


def _is_yolo(columns: int) -> bool:
    return columns == _YOLO_COLUMNS or (columns > _YOLO_COLUMNS and columns % 2 == 1)


def _sha256(*paths: Path) -> str:
    try:
        return " ".join(sha256_of(path, _MAX_BYTES) for path in paths)
    except OSError as error:
        raise JobError(f"{paths[-1]}: cannot be read: {error.strerror}") from None


def _lines(path: Path, fits: Callable[[int], bool], needed: str) -> list[list[str]]:
    found = [line.split() for line in _text(path).splitlines() if line.strip()]
    for number, line in enumerate(found, 1):
        try:
            numbers = [float(cell) for cell in line[1:]]
        except ValueError:
            numbers = [np.nan]
        if not (fits(len(line)) and np.isfinite(numbers).all()):
            raise JobError(f"{path}: line {number} is no object: {needed} are needed")
    return found


def _text(path: Path) -> str:
    try:
        return read_bounded(path, _MAX_BYTES).decode()
    except (OSError, ValueError) as error:
        raise JobError(f"{path}: cannot be read: {error}") from None


def _json(path: Path) -> Any:
    return parse_json(read_bounded(path, _MAX_BYTES))


@contextmanager
def _complaints(path: Path) -> Iterator[None]:
    """Whatever a file of others lacks is a JobError that names it."""
    try:
        yield
    except OSError as error:
        raise JobError(f"{path}: cannot be read: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise JobError(f"{path}: is no file of objects: {type(error).__name__}: {error}") from None
