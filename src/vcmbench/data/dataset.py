"""The pictures of a data root: Cityscapes layout where `cityscapes/` lies inside, else any folder of images."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from vcmbench.data import images, known_videos, video, video_frames
from vcmbench.data.label_schemes import LabelFile
from vcmbench.data.layout import Layout
from vcmbench.data.selection import Selection
from vcmbench.data.sequences import Recording, recordings
from vcmbench.data.walk import SUFFIXES, Walk
from vcmbench.errors import JobError, RequestError
from vcmbench.io.files import check_inside, sha256_of

RESULTS = "results"
MAPS = "importance_map"
PREDICTIONS = ("P_GT", "P_hat_C")
_MAX_BYTES = (1 << 31) + (1 << 20)  # of an importance map: as many pixels as pictures may have, of eight bytes
NOTES_TO_SEE = ("EXIF orientation", "ICC profile", "the first of", "fewer than 8 bits")
"""What notes on a picture begin with that a run repeats at its end: the picture may look other than expected."""
OF_ONE_PICTURE = ".vcmbench"
"""The ending of the folder beside a picture that holds its results, where it alone is the data."""
_CONFIGURATION = re.compile(r"(images|cityscapes)_.+\)")
_PICTURES_OF_MAPS = ("_importance.png", "_importance_vis.png", "_distance_annotation.png", "_qp_map_vis.png")
_LABEL_FOLDER = re.compile(
    r"(gt.*|labels?|semantic.*|instances?|panoptic.*|(sem_)?seg(mentation)?.*|masks?|annotations?|depth.*|disp.*)", re.I
)
_LINKS = ("gtFine", "val.txt", "train.txt", "test.txt")


@dataclass(frozen=True, order=True, slots=True)
class Source:
    """One picture: its place below the pristine folder, without suffix (as results are named), and its file; of a
    video also which `frame` it is, from 0 in the order in which they are shown."""

    name: PurePosixPath
    path: Path
    frame: int | None = None
    raw: video.RawGeometry | None = field(default=None, compare=False)
    sequence: PurePosixPath | None = field(default=None, compare=False)
    time_s: float = field(default=0.0, compare=False)
    """When it is shown, in seconds from the first frame of its video or folder."""
    fps: float = field(default=video.DEFAULT_FPS, compare=False)
    """How many pictures of its group are shown a second; their mean, where that varies."""
    labels: LabelFile | None = field(default=None, compare=False)
    """Where a label scheme says it; whether or not the file is there."""

    @property
    def group(self) -> PurePosixPath:
        """The sequence that it belongs to, whose pictures are stacked together: a video, a folder, a city."""
        return self.sequence or self.name.parent

    @property
    def sequence_title(self) -> str:
        """The last part of the group's name; of pictures that lie in the data root itself that folder's."""
        return self.group.name or self.path.parent.name

    def sha256(self) -> str:
        """SHA-256 (hex) of the file, or one of the video's file and the frame. Raises OSError, also where it is larger
        than any picture or map, or a pipe; of a video JobError."""
        if self.frame is not None:
            return video.frame_sha256(self.path, self.frame, self.raw)
        return sha256_of(self.path, _MAX_BYTES)

    def size(self) -> tuple[int, int]:
        """Width and height in pixels, by the file's header. Raises JobError, or what decoders raise."""
        return images.size_of(self.path) if self.frame is None else video.size_of(self.path, self.raw)

    def read(self) -> Picture:
        """The picture. Raises JobError, see `read_picture` and `video_frames.read`."""
        if self.frame is None:
            return read_picture(self.path)
        rgb, notes = video_frames.read(self.path, self.frame, self.raw)
        return Picture(rgb, self.sha256(), notes)


@dataclass(frozen=True)
class DataRoot:
    """Where pictures come from and where results go: below `root`; a single picture or video has a folder beside it for
    them."""

    root: Path
    is_cityscapes: bool
    picture: Path | None = None

    @property
    def pristine(self) -> Path:
        if self.picture is not None:
            return self.picture.parent
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
    """The data root of a folder, or of a single picture or video (by its own path or that of its results' folder).

    Raises RequestError where it is neither.
    """
    picture = root.parent.resolve() / root.name.removesuffix(OF_ONE_PICTURE)
    if (picture.suffix.lower() in SUFFIXES or video.is_video(picture)) and picture.is_file():
        return DataRoot(picture.with_name(picture.name + OF_ONE_PICTURE), is_cityscapes=False, picture=picture)
    if not root.is_dir():
        known = " ".join(sorted(SUFFIXES | video.SUFFIXES))
        wrong = f"is not a folder, nor a picture or video ({known})" if root.exists() else "does not exist"
        raise RequestError(f"data folder {str(root)!r}: {wrong}")
    if (root / "leftImg8bit").is_dir():
        raise RequestError(
            f"{root}: is a Cityscapes data set itself; results go beside it, so give the folder that it lies in, "
            "where it (or a link to it) is named cityscapes"
        )
    return DataRoot(root.resolve(), (root / "cityscapes").is_dir())


def is_result(path: Path) -> bool:
    """Whether a name is one of those that runs give to what they write, wherever it lies."""
    name = path.name
    return (
        name in (RESULTS, MAPS, *PREDICTIONS)
        or name.endswith((*_PICTURES_OF_MAPS, OF_ONE_PICTURE))
        or _CONFIGURATION.fullmatch(name) is not None
    )


@dataclass(frozen=True)
class Found:
    """The pictures that are meant, sorted by name, and lines about what was left out that nobody asked to leave out."""

    sources: list[Source]
    notes: list[str]


def look(data: DataRoot, wanted: Selection) -> Found:
    """The pictures that an experiment wants. Raises RequestError where there are none."""
    walk = Walk(is_result, SUFFIXES | video.SUFFIXES | ({video.RAW} if wanted.yuv else frozenset()))
    layout = wanted.layout(data.root)
    where = _go(walk, data, wanted, layout)
    files = {PurePosixPath(file.relative_to(data.pristine)): file for file in walk.files}
    places: dict[PurePosixPath, PurePosixPath] = {}
    if layout is not None:
        places = layout.matching(list(files), wanted.split, where)
        files = {name: files[name] for name in places}
    chosen, notes = wanted.chosen(list(files))
    sequences = recordings({name: files[name] for name in chosen}, wanted, data.is_cityscapes)
    found, of_videos = _frames(data, sequences, wanted)
    if not found:
        some = f" of {len(files)}" if files else ""
        besides = "".join(f"; {note}" for note in walk.notes())
        known = " ".join(sorted(walk.suffixes))
        raise RequestError(f"{where}: holds no pictures or videos{some} that are wanted ({known}){besides}")
    sources = sorted(found)[: wanted.limit]
    if layout is None:
        return Found(sources, [*walk.notes(), *notes, *of_videos, *_of_labels(data, sources)])
    sources = [_labelled(data, source, layout, places) for source in sources]
    return Found(sources, [*walk.notes(), *notes, *of_videos, *_without_labels(sources)])


def _labelled(data: DataRoot, source: Source, layout: Layout, places: dict[PurePosixPath, PurePosixPath]) -> Source:
    if source.frame is not None or layout.scheme is None:
        return source
    place = places[PurePosixPath(source.path.relative_to(data.pristine))]
    return replace(source, labels=LabelFile(data.root / place, layout.scheme))


def missing_labels(sources: Sequence[Source]) -> list[Path]:
    """The files of labels that are not where a label scheme says."""
    return [source.labels.path for source in sources if source.labels is not None and not source.labels.path.is_file()]


def _without_labels(sources: list[Source]) -> list[str]:
    """A line where pictures have no labels: what is coded needs none."""
    missing = missing_labels(sources)
    return [f"{len(missing)} of {len(sources)} pictures have no labels: no {missing[0]}"] if missing else []


def _frames(data: DataRoot, sequences: list[Recording], wanted: Selection) -> tuple[list[Source], list[str]]:
    """Every frame that is wanted, with the time that it is shown at, and notes on videos. Raises RequestError."""
    found: list[Source] = []
    notes: list[str] = []
    short: list[str] = []
    for one in sequences:
        if one.video is None:
            fps = wanted.fps or video.DEFAULT_FPS
            short += [str(one.name)] * wanted.asks_for_more(len(one.files))
            for number in wanted.of_sequence(one.name, len(one.files)):
                name, path = one.files[number]
                found.append(Source(name, path, sequence=one.name, time_s=number / fps, fps=fps / wanted.step))
            continue
        raw = wanted.yuv if one.video.suffix.lower() == video.RAW else None
        try:
            index = known_videos.index(one.video, raw, data.root / RESULTS)
        except JobError as error:
            raise RequestError(f"{error} (or leave it out: [dataset] exclude)") from None
        notes += [f"{one.video}: {note}" for note in index.notes]
        short += [str(one.name)] * wanted.asks_for_more(len(index.times_s))
        for number in wanted.of_sequence(one.name, len(index.times_s)):
            time_s, fps = float(index.times_s[number]), index.fps / wanted.step
            found.append(Source(one.name / f"{number:06}", one.video, number, raw, time_s=time_s, fps=fps))
    if short:
        some = ", ".join(short[:3]) + (", ..." if len(short) > 3 else "")
        notes.append(f"dataset.frames = {wanted.frames}: {len(short)} of {len(sequences)} sequences have fewer, which "
                     f"are all taken: {some}")  # fmt: skip
    return found, notes


def find_sources(data: DataRoot, wanted: Selection) -> list[Source]:
    """The pictures that an experiment wants, sorted by name. Raises RequestError where there are none."""
    return look(data, wanted).sources


def _go(walk: Walk, data: DataRoot, wanted: Selection, layout: Layout | None) -> Path:
    """Walk to where the pictures are. Returns the folder that is meant, for messages."""
    if layout is not None and (data.is_cityscapes or data.picture is not None):
        what = "has a folder cityscapes, whose layout is known" if data.is_cityscapes else "is one file"
        raise RequestError(f"{data.picture or data.root}: {what}; images, labels and scheme of [dataset] are for other "
                           "data sets: give their folder")  # fmt: skip
    if data.is_cityscapes:
        return _go_through_cities(walk, data.pristine / wanted.images, wanted)
    if wanted.cities:
        raise RequestError(f"dataset.cities: {data.root} is a flat folder, it has no cities")
    if data.picture is not None:
        walk.files.append(data.picture)
        return data.picture
    folder = data.root if layout is None else layout.folder(data.root, wanted.split)
    walk.through(folder)
    return folder


def _go_through_cities(walk: Walk, images: Path, wanted: Selection) -> Path:
    split = images / wanted.split
    if not split.is_dir():
        there = sorted(path.name for path in images.iterdir() if path.is_dir()) if images.is_dir() else []
        raise RequestError(f"{split}: no such split; there are: {', '.join(there) or 'none'}")
    cities = sorted(path.name for path in split.iterdir() if path.is_dir())
    if unknown := sorted(set(wanted.cities or []) - set(cities)):
        raise RequestError(f"{split}: no city {unknown[0]!r}; there are: {', '.join(cities) or 'none'}")
    if wanted.cities is None:
        walk.through(split)
    for city in dict.fromkeys(wanted.cities or ()):
        walk.through(split / city, frozenset({split}))
    return split


def label_folder(name: PurePosixPath) -> str:
    """The first folder that a file lies in which is named as those of label maps are; empty where none is."""
    return next((part for part in name.parts[:-1] if _LABEL_FOLDER.fullmatch(part)), "")


def _of_labels(data: DataRoot, sources: list[Source]) -> list[str]:
    """A line where pictures of a flat folder lie in folders that are named as label maps are."""
    folders = Counter(label_folder(source.name) for source in sources)
    del folders[""]
    if data.is_cityscapes or not folders or folders.total() == len(sources):
        return []
    patterns = ", ".join(f'"*{name}/*"' for name in sorted(folders))
    return [f"{folders.total()} of {len(sources)} pictures may be label maps, by their folders' names; if so, leave "
            f"them out: [dataset] exclude = [{patterns}]"]  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A picture as it is coded: (H, W, 3) uint8 R'G'B', the SHA-256 of its file, and what had to be done to it."""

    rgb: NDArray[np.uint8]
    sha256: str
    notes: tuple[str, ...]


def read_picture(path: Path) -> Picture:
    """Read a picture.

    Its pixels are taken as they are stored, whatever orientation or colour profile a file names: labels are read so,
    too. Gray and palette pictures become R'G'B', an alpha channel without transparency is dropped; each is noted. Of
    what cameras pack behind the picture the first is taken. Raises JobError where the file is damaged, has more than 8
    bits a sample, or is partly transparent.
    """
    with images.complaints(path):
        data = images.read(path)
        with images.opened(data) as image:
            turned = images.turned(image)
            notes = _check(path, image)
            stored = images.as_stored(image, turned)
            rgb = np.asarray(stored if stored.mode == "RGB" else stored.convert("RGB"))
    return Picture(rgb, hashlib.sha256(data).hexdigest(), tuple(notes))


def _check(path: Path, image: ImageFile) -> list[str]:
    """Notes on what must be done to a picture. Raises JobError where it cannot be coded as it is."""
    notes = []
    is_deep, is_stretched = images.depths(image)
    if is_deep:
        raise JobError(f"{path}: more than 8 bits a sample; convert it to 8-bit RGB")
    if (found := images.count(image)) > 1 and image.format != "MPO":
        raise JobError(f"{path}: holds {found} pictures or more; one file must hold one")
    if image.mode not in {"RGB", "L", "P", "RGBA", "LA", "PA", "1"}:
        raise JobError(f"{path}: colour mode {image.mode} is not RGB; convert it to 8-bit RGB")
    if found > 1:
        notes.append(f"the first of {found} pictures of the file taken")
    if image.mode != "RGB":
        notes.append(f"mode {image.mode} converted to RGB")
    if is_stretched:
        notes.append("fewer than 8 bits a sample, stretched over 0..255")
    if (orientation := images.orientation(image)) != 1:
        notes.append(f"EXIF orientation {orientation} not applied")
    # a profile of sRGB says what is taken for granted
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile and b"sRGB" not in profile.replace(b"\0", b""):
        notes.append("ICC profile not applied")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise JobError(f"{path}: partly transparent; flatten it onto a background first")
    return notes
