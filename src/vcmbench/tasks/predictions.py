"""Predictions as pictures: palette PNGs whose index is the class (train id) and whose colours are Cityscapes'.

One palette serves every task: 0..18 have their Cityscapes colours, 255 (void) is black, and what lies between has
colours of its own for networks with more classes.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngInfo

from vcmbench.data import images
from vcmbench.data.dataset import PREDICTIONS
from vcmbench.data.labels import CLASSES, PALETTE, VOID
from vcmbench.errors import JobError
from vcmbench.io.files import hidden_beside, open_regular, write_atomically

PRISTINE, DECODED = PREDICTIONS
_CITYSCAPES = "leftImg8bit"
_KEY = "vcmbench-key"
_UNKNOWN = -1


def prediction_path(root: Path, source: PurePosixPath, configuration: str | None = None, suffix: str = ".png") -> Path:
    """Where the prediction on a picture lies below a data root.

    `source` is the picture's name below the pristine folder, without suffix; `configuration` the folder name of what
    it was coded with, None for the pristine picture. `leftImg8bit/val/...` becomes `P_GT/val/...`.
    """
    parts = source.parts[1:] if source.parts[0] == _CITYSCAPES else source.parts
    folder = root / PRISTINE if configuration is None else root / DECODED / configuration
    return folder.joinpath(*parts[:-1], parts[-1] + suffix)


@cache
def palette() -> NDArray[np.uint8]:
    """(256, 3) uint8 RGB: the colour of each class index; all differ."""
    colours = [tuple(int(c) for c in row) for row in PALETTE]
    step = 0
    while len(colours) < VOID:  # the bits of a counter, spread over the channels, highest first
        step += 1
        colour = tuple(sum((step >> (3 * bit + c) & 1) << (7 - bit) for bit in range(3)) | 15 for c in range(3))
        if colour not in colours:
            colours.append(colour)
    return np.array([*colours, (0, 0, 0)], np.uint8)


def write_prediction(path: Path, labels: NDArray[np.uint8], key: str = "", temporary: Path | None = None) -> None:
    """Write class indices, (H, W) uint8 with 255 for void, as a palette PNG: all of the file or none of it.

    `key` says what made it; `prediction_key` gives it back. `temporary` is a free name on the same file system, for
    while it is written; None: a hidden one beside it.
    """
    if labels.dtype != np.uint8 or labels.ndim != 2 or labels.size == 0:
        raise JobError(f"{path}: a prediction must be (H, W) uint8, not {labels.shape} {labels.dtype}")
    picture = Image.fromarray(np.ascontiguousarray(labels))
    picture.putpalette(palette().tobytes())
    data = io.BytesIO()
    about = PngInfo()
    if key:
        about.add_text(_KEY, key)
    # large areas of one index are what the last levels of compression are good at: a third is saved over the default
    picture.save(data, "PNG", pnginfo=about, compress_level=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    # hidden, so that no half-written file is taken for a prediction
    write_atomically(path, data.getvalue(), temporary or hidden_beside(path))


def prediction_key(path: Path) -> str | None:
    """The key inside a prediction's file, without decoding its picture; None where there is no file or no key."""
    try:
        with (
            images.complaints(path),
            open_regular(path, images.MAX_BYTES) as file,
            Image.open(file, formats=images.FORMATS) as picture,
        ):
            key = picture.info.get(_KEY)
    except JobError:
        return None
    return key if isinstance(key, str) else None


def is_whole(path: Path) -> bool:
    """Whether a PNG's checksums hold, which is found out without decoding it."""
    try:
        with images.complaints(path), open_regular(path, images.MAX_BYTES) as file:
            Image.open(file, formats=images.FORMATS).verify()
    except JobError:
        return False
    return True


def read_prediction(
    path: Path, shape: tuple[int, int] | None = None, class_count: int = len(CLASSES)
) -> NDArray[np.uint8]:
    """Read class indices, (H, W) uint8 with 255 for void, of `shape` (H, W) where that is given.

    Takes our palette PNGs, any other picture in exactly the colours of the palette (the published RGB files; black is
    void), and gray pictures of indices. Raises JobError where the file is missing, damaged, of another size, or holds
    a colour or an index that stands for no class.
    """
    picture = _open(path, shape)
    if picture.mode == "L":
        labels = np.asarray(picture)
        _check_ids(path, labels, class_count)
        return labels.copy()
    if picture.mode == "P":
        return _from_palette(path, picture, class_count)
    return _from_colours(path, np.asarray(picture.convert("RGB")), class_count)


def _open(path: Path, shape: tuple[int, int] | None) -> Image.Image:
    with images.complaints(path, "prediction"):
        try:
            data = images.read(path)
        except (FileNotFoundError, NotADirectoryError):
            raise JobError(
                f"{path}: no such prediction; run_metrics.py (vcmbench metrics) writes it, or lay yours there"
            ) from None
        with images.opened(data) as picture:
            found = picture.height, picture.width
            if shape is not None and found != tuple(shape):
                sizes = f"{found[1]}x{found[0]} px, but its picture has {shape[1]}x{shape[0]}"
                is_ours = _KEY in picture.info
                advice = "remove it to have it made again" if is_ours else "lay one of the picture's size there"
                raise JobError(f"{path}: the prediction has {sizes}; {advice}")
            _check_mode(path, picture)
            if images.count(picture) > 1:
                raise JobError(f"{path}: holds several pictures; a prediction is one")
            picture.load()
            return picture


def _check_mode(path: Path, picture: ImageFile) -> None:
    is_deep, is_stretched = images.depths(picture)
    if picture.mode == "L" and is_stretched:
        raise JobError(f"{path}: a gray picture of class indices must have 8 bits a pixel")
    if picture.mode not in {"L", "P", "RGB", "RGBA"} or is_deep:
        raise JobError(f"{path}: colour mode {picture.mode} is no prediction; palette, 8-bit gray or 8-bit RGB are")


def _check_ids(path: Path, labels: NDArray[np.uint8], class_count: int) -> None:
    found = np.flatnonzero(np.bincount(labels.ravel(), minlength=256)).tolist()
    if VOID in found and not set(found) - {0, VOID}:
        raise JobError(
            f"{path}: holds {' and '.join(map(str, found))} alone, as masks do; {VOID} is void, which does not count: "
            f"write the indices of classes, 0..{class_count - 1}"
        )
    wrong = [i for i in found if class_count <= i != VOID]
    if wrong:
        raise JobError(
            f"{path}: holds index {wrong[0]}; the classes are 0..{class_count - 1} and {VOID} is void "
            "(is it a picture of label ids, not train ids?)"
        )


@cache
def _known(class_count: int) -> NDArray[np.int16]:
    """(2^24,) int16: packed RGB to class index, -1 where a colour stands for no class."""
    known = np.full(1 << 24, _UNKNOWN, np.int16)
    for index in [*range(class_count), VOID]:
        known[_packed(palette()[index])] = index
    return known


def _packed(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(..., 3) uint8 -> (...) int32: R * 65536 + G * 256 + B."""
    wide = rgb.astype(np.int32)
    packed: NDArray[np.int32] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed


def _from_palette(path: Path, picture: Image.Image, class_count: int) -> NDArray[np.uint8]:
    # by colour, not by index: tools that make PNGs smaller sort palettes anew
    colours = np.frombuffer(bytes(picture.getpalette("RGB") or b""), np.uint8).reshape(-1, 3)
    indices = np.asarray(picture)
    if np.array_equal(colours, palette()) and not ((indices >= class_count) & (indices != VOID)).any():
        return indices.copy()  # as we write them
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    if used[-1] >= len(colours):
        raise JobError(f"{path}: holds index {used[-1]}, but its palette has {len(colours)} colours")
    table = np.zeros(256, np.uint8)
    for index in used:
        found = int(_known(class_count)[_packed(colours[index])])
        if found == _UNKNOWN:
            raise _unknown_colour(path, colours[index], f"entry {index} of its palette is")
        table[index] = found
    labels: NDArray[np.uint8] = table[indices]
    return labels


def _from_colours(path: Path, rgb: NDArray[np.uint8], class_count: int) -> NDArray[np.uint8]:
    found = _known(class_count)[_packed(rgb)]
    if (strange := np.argwhere(found == _UNKNOWN)).size:
        y, x = (int(i) for i in strange[0])
        raise _unknown_colour(path, rgb[y, x], f"{len(strange)} pixels are of no class, the first, at {x},{y},")
    return found.astype(np.uint8)


def _unknown_colour(path: Path, colour: NDArray[np.uint8], where: str) -> JobError:
    red, green, blue = (int(c) for c in colour)
    return JobError(
        f"{path}: {where} colour {red},{green},{blue}, which is no colour of Cityscapes' 19 classes or black"
    )
