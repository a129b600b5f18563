"""The files that belong to a picture, in the Cityscapes layout: where they lie, and how they are read and checked."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data import images
from vcmbench.data.dataset import DataRoot, Source
from vcmbench.data.label_schemes import LabelFile
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import classes
from vcmbench.importance.settings import (
    ALLOWED_BASELINE_M,
    ALLOWED_FX_PX,
    ALLOWED_SPEED_MPS,
    FALLBACK_BASELINE_M,
    FALLBACK_FX_PX,
    FALLBACK_FX_WIDTH_PX,
    FALLBACK_SPEED_MPS,
    ImportanceSettings,
)
from vcmbench.io import documents
from vcmbench.io.files import open_regular

FOLDER = "importance_map"
# raised with every change of what comes out for the same input
VERSION = 1
_MAX_BYTES = 1 << 30  # 16 bits a pixel, of as many as a picture may have, are half of it
_MAX_JSON_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
_PICTURE_ENDING = "_leftImg8bit"
_MISSING = object()


@dataclass(frozen=True)
class Files:
    """The files of one picture; `picture` and `polygons` are only drawn, and may be None. `label_file` is how
    labels are read that are not Cityscapes' ids."""

    labels: Path
    instances: Path
    disparity: Path
    camera: Path
    vehicle: Path
    picture: Path | None = None
    polygons: Path | None = None
    label_file: LabelFile | None = None


@dataclass(frozen=True, eq=False)
class Inputs:
    """What `importance_map` takes, in its order and units, and which fields are fallbacks for missing ones; `remarks`
    on labels."""

    labels: NDArray[Any]
    instances: NDArray[Any] | None
    disparity: NDArray[Any] | None
    fx_px: float
    baseline_m: float
    speed_mps: float
    fallbacks: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def notes(self) -> tuple[str, ...]:
        values = {"fx": f"{self.fx_px:g} px", "baseline": f"{self.baseline_m:g} m", "speed": f"{self.speed_mps:g} m/s"}
        return (*(f"{name} is missing: {values[name]} was taken" for name in self.fallbacks), *self.remarks)


def place_of(data: DataRoot, source: Source) -> PurePosixPath:
    """`<split>/<city>/<city>_<seq>_<frame>` of a Cityscapes picture; the name itself in a flat folder."""
    if not data.is_cityscapes:
        return source.name
    place = PurePosixPath(*source.name.parts[1:])
    return place.with_name(place.name.removesuffix(_PICTURE_ENDING))


def importance_path(data: DataRoot, source: Source) -> Path:
    """Where the importance map of a picture lies: `DATA/importance_map/<split>/<city>/<name>_importance.npy`.

    In a flat folder `DATA/importance_map/<name>_importance.npy`; maps of your own lie there.
    """
    return data.root / FOLDER / f"{place_of(data, source)}_importance.npy"


def has_files(data: DataRoot, source: Source) -> bool:
    """Whether there can be labels: in the Cityscapes layout, or by a label scheme."""
    return data.is_cityscapes or source.labels is not None


def files_of(data: DataRoot, source: Source) -> Files:
    """The files of a picture by its name, whether or not they exist; where labels lie by a scheme the others lie as
    `DATA/disparity/<name>_disparity.png`. Raises JobError in a flat folder."""
    if not has_files(data, source):
        raise JobError(
            f"{source.path}: a flat folder has no labels and no disparity; "
            f"lay a map of your own at {importance_path(data, source)}"
        )
    place = place_of(data, source)

    def path(part: str, ending: str) -> Path:
        return data.pristine / part / f"{place}_{ending}"

    return Files(
        labels=source.labels.path if source.labels else path("gtFine", "gtFine_labelIds.png"),
        instances=path("gtFine", "gtFine_instanceIds.png"),
        disparity=path("disparity", "disparity.png"),
        camera=path("camera", "camera.json"),
        vehicle=path("vehicle", "vehicle.json"),
        picture=source.path,
        polygons=path("gtFine", "gtFine_polygons.json"),
        label_file=source.labels,
    )


def read_inputs(files: Files, settings: ImportanceSettings) -> Inputs:
    """Read and check what these settings need, and nothing else. Raises JobError with the name of the file."""
    remarks: tuple[str, ...] = ()
    if files.label_file is not None:
        labels, remarks = _by_name(files.label_file, files, settings)
    else:
        labels = _read_png(files.labels, ("L",), "an 8-bit gray PNG")
    height, width = labels.shape
    if files.picture is not None and files.label_file is None:
        _check_size(files.picture, files.labels, width, height)
    fallbacks: list[str] = []
    instances = disparity = None
    fx, baseline, speed = _fallback_fx_px(width), FALLBACK_BASELINE_M, FALLBACK_SPEED_MPS
    if settings.use_distance:
        if settings.aggregate != "class":
            instances = _read_png(files.instances, ("I;16", "I", "L"), "a 16-bit gray PNG")
        disparity, fx, baseline = read_disparity(files.disparity, files.camera, width, fallbacks)
        if settings.use_speed:
            vehicle = read_json(files.vehicle, _MAX_JSON_BYTES)
            speed = _number(files.vehicle, vehicle, "speed", "m/s", ALLOWED_SPEED_MPS, FALLBACK_SPEED_MPS, fallbacks)
    return Inputs(labels, instances, disparity, fx, baseline, speed, tuple(fallbacks), remarks)


def _fallback_fx_px(width: int) -> float:
    return FALLBACK_FX_PX * width / FALLBACK_FX_WIDTH_PX


def read_disparity(path: Path, camera: Path, width: int, fallbacks: list[str]) -> tuple[NDArray[Any], float, float]:
    """A disparity (H, W) as in Cityscapes, with the focal length in px and the baseline in m of a picture of that
    width; what the camera's file lacks is added to `fallbacks` by name. Raises JobError."""
    disparity, said = _read_png(path, ("I;16", "I"), "a 16-bit gray PNG"), read_json(camera, _MAX_JSON_BYTES)
    fx = _number(camera, said, "intrinsic.fx", "px", ALLOWED_FX_PX, _fallback_fx_px(width), fallbacks)
    baseline = _number(camera, said, "extrinsic.baseline", "m", ALLOWED_BASELINE_M, FALLBACK_BASELINE_M, fallbacks)
    return disparity, fx, baseline


def disparity_files(data: DataRoot, source: Source) -> tuple[Path, Path]:
    """Where the disparity of a picture and its camera's file lie, also without labels."""
    place = place_of(data, source)
    return data.pristine / f"disparity/{place}_disparity.png", data.pristine / f"camera/{place}_camera.json"


def _by_name(labels: LabelFile, files: Files, settings: ImportanceSettings) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Labels of a scheme as ids of the class table, by names of classes; what it lacks is void, and remarked."""
    if files.picture is None:
        raise JobError("internal error: labels of a scheme need their picture")
    if labels.scheme.classes is None:
        raise JobError(f"importance: scheme {labels.scheme.name!r} has no names of classes; write one of your own with "
                       "[ids] and names (docs/labels.md)")  # fmt: skip
    table = classes.load(settings.classes)
    if (void := table.void()) is None:
        raise JobError(f"importance: the class table {settings.classes} has no class of kind \"void\", which pixels "
                       "that are not labelled would be of")  # fmt: skip
    with images.complaints(files.picture):
        size = images.size_of(files.picture)
    found = labels.read(*size)
    lut, unnamed = np.full(256, void, np.int16), []
    for place, names in enumerate(labels.scheme.classes):
        known = table.by_name(names)
        lut[place] = void if known is None else known
        unnamed += [names[0]] if known is None else []
    some = f": {documents.short_list(unnamed, 5)}"
    remarks = (f"the class table does not name {len(unnamed)} classes, which count as void{some}",) if unnamed else ()
    return lut[found.ids], remarks


def _needed(files: Files, settings: ImportanceSettings) -> dict[str, Path]:
    """The files that decide the values under these settings."""
    needed = {"labels": files.labels}
    if settings.use_distance:
        if settings.aggregate != "class":
            needed["instances"] = files.instances
        needed |= {"disparity": files.disparity, "camera": files.camera}
        if settings.use_speed:
            needed["vehicle"] = files.vehicle
    return needed


def digest_of(files: Files, settings: ImportanceSettings) -> str:
    """SHA-256 (hex) over settings, class table and the bytes, or the absence, of the files that decide the values.

    Raises JobError where one of them is there and cannot be read.
    """
    try:
        chosen = settings.as_json() | {"classes": classes.table_digest(settings.classes)}
    except RequestError as error:  # the class table went while the run was on
        raise JobError(str(error)) from None
    by = {} if files.label_file is None else {"scheme": files.label_file.scheme.digest()}
    head = json.dumps({"version": VERSION, "settings": chosen, **by}, sort_keys=True)
    return digest_of_files(head, _needed(files, settings).items())


def inputs_digest(data: DataRoot, source: Source, settings: ImportanceSettings) -> str:
    """What decides the importance map of a picture, as SHA-256 (hex); reads files, decodes none.

    Raises JobError where a file is there and cannot be read, and for a flat folder.
    """
    return digest_of(files_of(data, source), settings)


def digest_of_files(head: str, files: Iterable[tuple[str, Path | None]]) -> str:
    """SHA-256 (hex) over a text and files by name; a missing file counts, too."""
    total = hashlib.sha256(head.encode())
    for name, path in files:
        try:
            if path is None:
                raise FileNotFoundError
            with _opened(path, _MAX_BYTES) as file:
                total.update(f"\n{name} {os.fstat(file.fileno()).st_size}\n".encode())
                while chunk := file.read(_CHUNK_BYTES):
                    total.update(chunk)
        except (FileNotFoundError, NotADirectoryError):
            total.update(f"\n{name} missing\n".encode())
    return total.hexdigest()


def bytes_of(path: Path, max_bytes: int = _MAX_BYTES) -> bytes | None:
    """A file's bytes; None where it is missing. Raises JobError where it cannot be read, is too large, or no regular
    file."""
    try:
        with _opened(path, max_bytes) as file:
            return file.read(max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _opened(path: Path, max_bytes: int) -> BufferedReader:
    """A regular file. Raises FileNotFoundError and NotADirectoryError; JobError for all else, such as a pipe, which
    would be waited for."""
    try:
        return open_regular(path, max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise JobError(f"{path}: {_why(error)}") from None


def _why(error: OSError) -> str:
    if error.errno == errno.EINVAL:
        return "is no regular file; a folder, a pipe or a device cannot be used"
    return f"cannot be read: {error.strerror}"


def _read_png(path: Path, modes: tuple[str, ...], wanted: str) -> NDArray[Any]:
    """The integers (H, W) of a gray picture. Raises JobError where it is missing, damaged, or of another kind."""
    content = bytes_of(path)
    if content is None:
        raise JobError(f"{path}: is missing")
    with images.complaints(path), images.opened(content) as image:
        if (found := images.count(image)) > 1:
            raise JobError(f"{path}: holds {found} pictures or more; needed is {wanted}")
        if image.mode not in modes:
            raise JobError(f"{path}: has colour mode {image.mode}; needed is {wanted}")
        if any(images.depths(image)) and image.mode == "L":
            raise JobError(f"{path}: has fewer than 8 bits a pixel, or more; needed is {wanted}")
        return np.asarray(image)


def _check_size(picture: Path, labels: Path, width: int, height: int) -> None:
    with images.complaints(picture):
        size = images.size_of(picture)
    if size != (width, height):
        raise JobError(f"{labels}: is {width}x{height} px, its picture is {size[0]}x{size[1]} px")


def read_json(path: Path, max_bytes: int) -> dict[str, Any] | None:
    """The object of a JSON file; None where it is missing. Raises JobError where it is broken or far too large."""
    content = bytes_of(path, max_bytes)
    if content is None:
        return None
    try:
        value = documents.parse_json(content)
    except ValueError as error:
        raise JobError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise JobError(f"{path}: must be a JSON object, is {type(value).__name__}")
    return value


def _number(
    path: Path,
    content: dict[str, Any] | None,
    name: str,
    unit: str,
    allowed: tuple[float, float],
    fallback: float,
    fallbacks: list[str],
) -> float:
    """A number of a JSON file by its keys; where it is missing the fallback, whose name is added to `fallbacks`."""
    found: Any = content
    keys = name.split(".")
    for key in keys if content is not None else ():
        if not isinstance(found, dict):
            raise JobError(f"{path}: {name}: what holds it must be an object, is {documents.short(found, 60)}")
        found = found.get(key, _MISSING)
        if found is _MISSING:
            break
    if content is None or found is _MISSING:
        fallbacks.append(keys[-1])
        return fallback
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise JobError(f"{path}: {name}: {documents.short(found, 60)} is no number")
    low, high = allowed
    if not low <= found <= high:  # NaN is not, either
        raise JobError(f"{path}: {name}: {documents.short(found, 60)} is not within {low}..{high} {unit}")
    return float(found)
