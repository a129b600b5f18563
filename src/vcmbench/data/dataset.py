"""The pictures of a data root: Cityscapes layout where `cityscapes/` lies inside, else any folder of images."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags
from PIL.ImageFile import ImageFile

from vcmbench.data import images
from vcmbench.data.selection import Selection
from vcmbench.errors import JobError, RequestError
from vcmbench.io.files import check_inside, sha256_of

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm", ".webp"}
RESULTS = "results"
MAPS = "importance_map"
PREDICTIONS = ("P_GT", "P_hat_C")
_MAX_BYTES = (1 << 31) + (1 << 20)  # of an importance map: as many pixels as pictures may have, of eight bytes
_MOST_LEVELS = 100
_MOST_WAYS = 1000
_LINKS = ("gtFine", "val.txt", "train.txt", "test.txt")


@dataclass(frozen=True, order=True, slots=True)
class Source:
    """One picture: its place below the pristine folder, without suffix (as results are named), and its file."""

    name: PurePosixPath
    path: Path

    @property
    def group(self) -> PurePosixPath:
        """The folder whose pictures are stacked together: a city."""
        return self.name.parent

    def sha256(self) -> str:
        """SHA-256 (hex) of the file. Raises OSError, also where it is larger than any picture or map, or a pipe."""
        return sha256_of(self.path, _MAX_BYTES)


@dataclass(frozen=True)
class DataRoot:
    """Where pictures come from and where results go."""

    root: Path
    is_cityscapes: bool

    @property
    def pristine(self) -> Path:
        return self.root / "cityscapes" if self.is_cityscapes else self.root

    def configuration_folder(self, folder_name: str) -> Path:
        return self.root / f"{'cityscapes' if self.is_cityscapes else 'images'}_{folder_name}"

    def is_label_link(self, path: Path) -> bool:
        """Whether a path is a link as `link_labels` makes them."""
        return path.is_symlink() and path.name in _LINKS and path.parent.parent == self.root

    def link_labels(self, configuration_folder: Path) -> None:
        """Links to the labels and lists of the pristine folder, as the published layout has them."""
        if not self.is_cityscapes:
            return
        for name in _LINKS:
            link = configuration_folder / name
            try:
                check_inside(self.root, link)
            except OSError as error:
                raise JobError(f"{link}: {error.strerror}") from None
            if (self.pristine / name).exists() and not link.is_symlink():
                configuration_folder.mkdir(parents=True, exist_ok=True)
                try:
                    link.symlink_to(Path("..") / "cityscapes" / name)
                except FileExistsError:
                    pass  # another worker was first
                except OSError as error:  # some shared file systems have no links
                    raise JobError(f"{link}: cannot make the link to ../cityscapes/{name}: {error}") from None


def open_root(root: Path) -> DataRoot:
    if not root.is_dir():
        raise RequestError(f"data folder {str(root)!r}: {'is not a folder' if root.exists() else 'does not exist'}")
    if (root / "leftImg8bit").is_dir():
        raise RequestError(
            f"{root}: is a Cityscapes data set itself; results go beside it, so give the folder that it lies in, "
            "where it (or a link to it) is named cityscapes"
        )
    return DataRoot(root.resolve(), (root / "cityscapes").is_dir())


def _is_result(path: Path) -> bool:
    return path.name in (RESULTS, MAPS, *PREDICTIONS) or (path.name.startswith("images_") and path.name.endswith(")"))


@dataclass
class _Ways:
    """The folders that were walked, and how often a link led to one of them again."""

    known: set[Path] = field(default_factory=set)
    again: int = 0


def _walk(folder: Path, seen: frozenset[Path] = frozenset(), ways: _Ways | None = None) -> list[Path]:
    """Image files below `folder`, hidden ones and our own results left out; links are followed, not in circles.

    Raises RequestError where links lead back to the same folders too often: a few of them to and fro make millions of
    ways.
    """
    ways = ways or _Ways()
    real = folder.resolve()
    if real in seen:
        return []
    ways.again += real in ways.known
    ways.known.add(real)
    if ways.again > _MOST_WAYS or len(seen) > _MOST_LEVELS:
        raise RequestError(
            f"{_ending(folder)}: lies more than {_MOST_LEVELS} folders deep, or links lead to the same folders more "
            f"than {_MOST_WAYS} times; take out those that lead to and fro"
        )
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise RequestError(f"{folder}: cannot be read: {error.strerror}") from None
    files = []
    for path in entries:
        if path.name.startswith(".") or (not seen and _is_result(path)):
            continue
        if path.is_dir():
            files += _walk(path, seen | {real}, ways)
        elif path.suffix.lower() in SUFFIXES and path.is_file():
            files.append(path)
    return files


def _ending(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 200 else f"{text[:90]} ... {text[-90:]}"


def _cityscapes_files(data: DataRoot, wanted: Selection) -> list[Path]:
    images = data.pristine / "leftImg8bit"
    split = images / wanted.split
    if not split.is_dir():
        there = sorted(path.name for path in images.iterdir() if path.is_dir()) if images.is_dir() else []
        raise RequestError(f"{split}: no such split; there are: {', '.join(there) or 'none'}")
    cities = sorted(path.name for path in split.iterdir() if path.is_dir())
    unknown = sorted(set(wanted.cities or []) - set(cities))
    if unknown:
        raise RequestError(f"{split}: no city {unknown[0]!r}; there are: {', '.join(cities)}")
    return [path for city in dict.fromkeys(wanted.cities or cities) for path in _walk(split / city, frozenset({split}))]


def find_sources(data: DataRoot, wanted: Selection) -> list[Source]:
    """The pictures that an experiment wants, sorted by name. Raises RequestError where there are none."""
    if data.is_cityscapes:
        files, where = _cityscapes_files(data, wanted), data.pristine / "leftImg8bit" / wanted.split
    elif wanted.cities:
        raise RequestError(f"dataset.cities: {data.root} is a flat folder, it has no cities")
    else:
        files, where = _walk(data.root), data.root
    if not files:
        raise RequestError(f"{where}: holds no images ({' '.join(sorted(SUFFIXES))})")
    by_name: defaultdict[PurePosixPath, list[Path]] = defaultdict(list)
    for file in files:
        by_name[PurePosixPath(file.relative_to(data.pristine).with_suffix(""))].append(file)
    twins = [paths for paths in by_name.values() if len(paths) > 1]
    if twins:
        names = "; ".join(" and ".join(map(str, paths)) for paths in twins[:10])
        more = f"; and {len(twins) - 10} more" if len(twins) > 10 else ""
        raise RequestError(f"results would have the same name, rename one of each: {names}{more}")
    sources = sorted(Source(name, paths[0]) for name, paths in by_name.items())
    return sources[: wanted.limit]


@dataclass(frozen=True)
class Picture:
    """A picture as it is coded: (H, W, 3) uint8 R'G'B', the SHA-256 of its file, and what had to be done to it."""

    rgb: NDArray[np.uint8]
    sha256: str
    notes: tuple[str, ...]


def read_picture(path: Path) -> Picture:
    """Read a picture.

    Gray and palette pictures become R'G'B', an alpha channel without transparency is dropped; each is noted. Raises
    JobError where the file is damaged, has more than 8 bits a sample, or is partly transparent.
    """
    with images.complaints(path):
        data = images.read(path)
        with images.opened(data) as image:
            notes = _check(path, image)
            rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return Picture(rgb, hashlib.sha256(data).hexdigest(), tuple(notes))


def _check(path: Path, image: ImageFile) -> list[str]:
    """Notes on what must be done to a picture. Raises JobError where it cannot be coded as it is."""
    notes = []
    # Pillow opens 16-bit colour as 8-bit RGB; only the raw mode of its decoder shows it
    if image.mode.startswith(("I", "F")) or any(";16" in str(tile[3]) for tile in image.tile):
        raise JobError(f"{path}: more than 8 bits a sample; convert it to 8-bit RGB")
    if (found := images.count(image)) > 1:
        raise JobError(f"{path}: holds {found} pictures or more; one file must hold one")
    if image.mode not in {"RGB", "L", "P", "RGBA", "LA", "PA", "1"}:
        raise JobError(f"{path}: colour mode {image.mode} is not RGB; convert it to 8-bit RGB")
    if image.mode != "RGB":
        notes.append(f"mode {image.mode} converted to RGB")
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation != 1:
        notes.append(f"EXIF orientation {orientation} not applied")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise JobError(f"{path}: partly transparent; flatten it onto a background first")
    return notes
