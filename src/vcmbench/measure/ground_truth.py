"""What is known of a pristine picture: its labels, how far things are, and how much they matter."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data import images, labels
from vcmbench.data.dataset import DataRoot, Source
from vcmbench.data.label_schemes import LabelFile
from vcmbench.data.objects import ObjectFiles, of_cityscapes, of_folder
from vcmbench.data.store import job_key
from vcmbench.errors import JobError
from vcmbench.experiment import Experiment
from vcmbench.importance import ImportanceSettings, classes
from vcmbench.importance.inputs import (
    Inputs,
    digest_of_files,
    disparity_files,
    files_of,
    has_files,
    read_disparity,
    read_inputs,
)
from vcmbench.importance.objects import distances_m
from vcmbench.importance.source import ImportanceSource
from vcmbench.tasks.kind import Truth

VERSION = 3
"""To be raised with every change of what is made of the files: it is part of the scores' keys."""

_LABELS_ONLY = ImportanceSettings(use_distance=False)
_DISTANCES = ImportanceSettings(aggregate="class", use_speed=False)
"""What reads a disparity and no more than that needs."""


def weights_of(experiment: Experiment) -> ImportanceSource:
    """Where the importance comes from that pixels count by: the experiment's own, or the default one, also where its
    maps say where bits go and not what matters."""
    chosen = experiment.importance.chosen() if experiment.importance else ImportanceSource()
    return chosen if chosen.origin.weighs_pixels and not chosen.origin.is_asked else ImportanceSource()


def in_words(wanted: ImportanceSource) -> str:
    """Where importance comes from, for the report."""
    settings = replace(wanted, region=ImportanceSource().region, hold=False).tag  # which does not change a map
    return wanted.origin.describe(settings.removeprefix(wanted.source).removeprefix("-"))


@lru_cache(maxsize=1)
def _is_black() -> NDArray[np.bool_]:
    black: NDArray[np.bool_] = (labels.color_lut() == 0).all(axis=1)
    return black


def void(data: DataRoot, source: Source) -> NDArray[np.bool_] | None:
    """Which pixels are void, black in Cityscapes' colours, (H, W); None without labels. Raises JobError as `read`."""
    if _why_no_labels(data, source):
        return None
    if source.labels is not None:
        is_void: NDArray[np.bool_] = source.labels.read(*_size(source)).ids == labels.VOID
        return is_void
    files = files_of(data, source)
    found = _ids(read_inputs(files, _LABELS_ONLY))
    if reason := classes.wrong_ids(found, classes.load()):
        raise JobError(f"{files.labels}: {reason}")
    return _is_black()[found]


def digest(
    data: DataRoot, source: Source, wanted: ImportanceSource, *, objects: bool = False, masks: bool = False
) -> str:
    """SHA-256 (hex) of all that decides a picture's truth, for keys; of importance the files that it is read from, or
    its settings, class table and version; of `objects` those, with their `masks` or without, and of distances and
    importance what is there. Raises JobError where a file cannot be read."""
    if objects:
        found = _object_files(data, source)
        outlines = {"masks": found.masks_digest()} if masks and found else {}
        return job_key({"objects": found.digest() if found else None, **outlines, **_ranges(data, source, wanted)})
    if not has_files(data, source) and wanted.origin.needs_labels:
        return "none"
    head = f"truth {VERSION}, importance of {wanted.source} {wanted.digest(data, source)}"
    if not has_files(data, source):
        return digest_of_files(head, ())
    head += f", labels by {source.labels.scheme.digest()}" if source.labels else ""
    files = files_of(data, source)
    return digest_of_files(head, {"labels": files.labels, "disparity": files.disparity, "camera": files.camera}.items())


class Now:
    """The digests of pictures as their files are now, each found out once."""

    def __init__(
        self, data: DataRoot, wanted: ImportanceSource, *, objects: bool = False, masks: bool = False
    ) -> None:  # fmt: skip
        self._data, self._wanted = data, wanted
        self._needs = {"objects": objects, "masks": masks}
        self._known: dict[Source, str] = {}

    def is_of(self, source: Source, machine: dict[str, Any] | None) -> bool:
        """Whether a record's machine part was held against what lies there now; so it was where there is none."""
        if machine is None:
            return True
        if source not in self._known:
            try:
                self._known[source] = digest(self._data, source, self._wanted, **self._needs)
            except JobError:  # what cannot be read is not what was read
                self._known[source] = ""
        return bool(machine.get("truth") == self._known[source])


def read(data: DataRoot, source: Source, wanted: ImportanceSource, *, objects: bool = False) -> Truth:
    """The truth of a picture, as far as its files go; its `objects` in place of labels, where they are asked for.
    Raises JobError where a file is there and cannot be used."""
    if objects:
        return _of_objects(data, source, wanted)
    values, notes = _importance(data, source, wanted)
    if reason := _why_no_labels(data, source):
        folder = "" if data.is_cityscapes else source.group.name
        return Truth(importance=values, notes=notes | {"labels": reason}, folder=folder)
    if source.labels is not None:
        return _by_scheme(data, source, source.labels, values, notes)
    files = files_of(data, source)
    has_distance = files.disparity.is_file()
    inputs = read_inputs(files, _DISTANCES if has_distance else _LABELS_ONLY)
    if not has_distance:
        notes["distance"] = f"no {files.disparity.name}"
    distance_m = _distance_m(inputs) if has_distance else None
    if reason := classes.wrong_ids(inputs.labels, classes.load()):
        if getattr(wanted.settings, "classes", None) is None:
            raise JobError(f"{files.labels}: {reason}")
        return Truth(None, distance_m, values, notes | {"labels": "ids of a class table of your own"})
    return Truth(labels.train_ids(_ids(inputs)), distance_m, values, notes)


def _of_objects(data: DataRoot, source: Source, wanted: ImportanceSource) -> Truth:
    """The objects of a picture, and what tells them apart by distance and importance."""
    width, height = _size(source)
    try:
        values, notes = _importance(data, source, wanted)
    except JobError as error:  # objects can be told apart otherwise
        values, notes = None, {"importance": str(error)}
    found, distance_m = _object_files(data, source), None
    if found is None:
        notes["objects"] = "no file of objects is there (docs/tasks.md)"
    try:
        distance_m = _of_disparity(data, source, width, height)
    except JobError as error:
        notes["distance"] = str(error)
    known = found.read((height, width)) if found is not None else None
    return Truth(None, distance_m, values, notes, objects=known, region=wanted.region)


def _of_disparity(data: DataRoot, source: Source, width: int, height: int) -> NDArray[np.float32]:
    """Distances of a picture's pixels. Raises JobError where there is no disparity, or outside of Cityscapes' layout no
    camera: that of Cityscapes would give metres that mean nothing."""
    disparity, camera = disparity_files(data, source)
    if not disparity.is_file():
        raise JobError(f"no {disparity.name}")
    fallbacks: list[str] = []
    raw, fx_px, baseline_m = read_disparity(disparity, camera, width, fallbacks)
    if fallbacks and not data.is_cityscapes:
        raise JobError(f"{camera.name} lacks {', '.join(fallbacks)}")
    if raw.shape != (height, width):
        raise JobError(f"{disparity}: is {raw.shape[1]}x{raw.shape[0]} px, its picture is {width}x{height} px")
    return _distances(raw, fx_px, baseline_m)


def _ranges(data: DataRoot, source: Source, wanted: ImportanceSource) -> dict[str, str]:
    """What decides distances and importance of objects; nothing of a picture that has neither."""
    disparity, camera = disparity_files(data, source)
    found = {}
    if disparity.is_file():
        found["distance"] = digest_of_files("", {"disparity": disparity, "camera": camera}.items())
    if not _why_no_importance(data, source, wanted):
        found["importance"] = f"{wanted.source} {wanted.region:g} {wanted.digest(data, source)}"
    return found


def _by_scheme(
    data: DataRoot, source: Source, file: LabelFile, values: NDArray[np.float32] | None, notes: dict[str, str]
) -> Truth:
    """Labels as a scheme says."""
    found, files, distance_m = file.read(*_size(source)), files_of(data, source), None
    if not files.disparity.is_file():
        notes = notes | {"distance": f"no {files.disparity.name}"}
    elif file.scheme.classes is None:
        notes = notes | {"distance": f"the scheme {file.scheme.name} has no names of classes"}
    else:
        distance_m = _distance_m(read_inputs(files, _DISTANCES))
    if found.unknown:
        notes = notes | {"unknown labels": f"the scheme {file.scheme.name} does not know {found.unknown}"}
    return Truth(found.ids, distance_m, values, notes, source.group.name, classes=file.scheme.classes)


def _size(source: Source) -> tuple[int, int]:
    """Width and height in px. Raises JobError."""
    with images.complaints(source.path):
        return source.size()


def _importance(
    data: DataRoot, source: Source, wanted: ImportanceSource
) -> tuple[NDArray[np.float32] | None, dict[str, str]]:
    """The importance of a picture; or None, and why."""
    if why := _why_no_importance(data, source, wanted):
        return None, {"importance": why}
    return wanted.read(data, source, *_size(source)).values, {}


def _why_no_importance(data: DataRoot, source: Source, wanted: ImportanceSource) -> str:
    """Empty where there is some."""
    if wanted.origin.needs_labels and _why_no_labels(data, source):
        return "needs labels"
    return f"no {path.name}" if (path := wanted.lacking(data, source)) is not None else ""


def _object_files(data: DataRoot, source: Source) -> ObjectFiles | None:
    if not data.is_cityscapes:
        return of_folder(data.root, source.name, source.path.suffix)
    files = files_of(data, source)
    return of_cityscapes(files.instances, files.polygons) if files.polygons else None


def _why_no_labels(data: DataRoot, source: Source) -> str:
    """Empty where there are labels."""
    if not has_files(data, source):
        return "a flat folder of images has none"
    path = files_of(data, source).labels
    return "" if path.is_file() else f"no {path.name}"


def _ids(inputs: Inputs) -> NDArray[np.uint8]:
    return inputs.labels.astype(np.uint8, copy=False)


def _distance_m(inputs: Inputs) -> NDArray[np.float32]:
    """Distance of every pixel; NaN where the disparity was not measured (raw 0)."""
    if inputs.disparity is None:
        raise JobError("internal error: distances were asked for without a disparity")
    return _distances(inputs.disparity, inputs.fx_px, inputs.baseline_m)


def _distances(disparity: NDArray[Any], fx_px: float, baseline_m: float) -> NDArray[np.float32]:
    table = distances_m(fx_px * baseline_m).astype(np.float32)
    table[0] = np.nan
    found: NDArray[np.float32] = table[disparity]
    return found
