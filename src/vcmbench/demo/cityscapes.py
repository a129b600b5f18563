"""Writes scenes as a data root in the layout of Cityscapes.

``root/cityscapes/{leftImg8bit,gtFine,disparity,camera,vehicle}/<split>/<city>/<city>_<seq>_<frame>_*``, ``val.txt`` and
``train.txt`` (a line a frame: ``<city>/<city>_<seq>_<frame>``), and short sequences in ``leftImg8bit_sequence``. The
annotated frame is number 19 of its snippet, as in the dataset; in a sequence of N frames it is the (19 N // 30 + 1)-th,
so the 20th of 30. ``demo.json`` holds what the data were made with: by it a second run knows what is done.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from streetscenes.camera import Array
from streetscenes.scene import FRAMES_PER_SECOND, Scene, render
from vcmbench.data.labels import colorize
from vcmbench.io.files import write_atomically

VERSION = 2  # to be raised with every change of what the pictures show
VAL_CITIES = ("frankfurt", "lindau", "munster")
TRAIN_CITIES = ("aachen", "stuttgart", "zurich")
ANNOTATED_FRAME = 19
SNIPPET = 30
MANIFEST = "demo.json"
_FAMILIES = (("wall", "fence", "terrain"), ("rider", "truck", "motorcycle"), ("train", "bicycle", "bus"))
_ALWAYS = ("person", "traffic light", "traffic sign")
_FILES = (
    "leftImg8bit/{}_leftImg8bit.png",
    "gtFine/{}_gtFine_labelIds.png",
    "gtFine/{}_gtFine_instanceIds.png",
    "gtFine/{}_gtFine_color.png",
    "gtFine/{}_gtFine_polygons.json",
    "disparity/{}_disparity.png",
    "camera/{}_camera.json",
    "vehicle/{}_vehicle.json",
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SceneFrame:
    """One picture to make: ``time_s`` from the annotated frame, which is the only one with labels."""

    split: str
    city: str
    sequence: int
    number: int
    time_s: float
    seed: int
    ensure: tuple[str, ...]
    annotated: bool

    @property
    def name(self) -> str:
        """``<city>/<city>_<seq>_<frame>``, as a line of ``val.txt``."""
        return f"{self.city}/{self.city}_{self.sequence:06d}_{self.number:06d}"

    def files(self, folder: Path) -> list[Path]:
        """Where the parts of this frame lie below the ``cityscapes`` folder."""
        if not self.annotated:
            return [folder / "leftImg8bit_sequence" / self.split / f"{self.name}_leftImg8bit.png"]
        return [folder / pattern.replace("/{}", f"/{self.split}/{self.name}") for pattern in _FILES]


@dataclass(frozen=True)
class Written:
    """What a data root holds: the ``cityscapes`` folder, and the frames as lines of val.txt and train.txt."""

    folder: Path
    val: tuple[str, ...]
    train: tuple[str, ...]
    made: int


def wanted(seed: int, split: str, index: int) -> tuple[str, ...]:
    """The classes that scene ``index`` of a split must show: any three scenes from a multiple of 3 show all 19."""
    rng = np.random.default_rng([seed, len(split), index // 3, 3])
    rare = tuple(family[int(rng.permutation(3)[index % 3])] for family in _FAMILIES)
    return _ALWAYS + rare


def plan(seed: int, val_per_city: int, train_scenes: int, sequences: int, frames_per_sequence: int) -> list[SceneFrame]:
    """Every frame of the data root, annotated ones first."""
    out: list[SceneFrame] = []
    for split, cities, count in (("val", VAL_CITIES, 3 * val_per_city), ("train", TRAIN_CITIES, train_scenes)):
        for index in range(count):
            scene_seed = int(np.random.SeedSequence([seed, len(split), index]).generate_state(1)[0] >> 1)
            out.append(
                SceneFrame(
                    split,
                    cities[index % 3],
                    index // 3,
                    ANNOTATED_FRAME,
                    0.0,
                    scene_seed,
                    wanted(seed, split, index),
                    True,
                )
            )
    at = ANNOTATED_FRAME * frames_per_sequence // SNIPPET
    for scene in out[:sequences]:
        for i in range(frames_per_sequence):
            out.append(
                SceneFrame(
                    scene.split,
                    scene.city,
                    scene.sequence,
                    ANNOTATED_FRAME + i - at,
                    (i - at) / FRAMES_PER_SECOND,
                    scene.seed,
                    scene.ensure,
                    False,
                )
            )
    return out


def write(
    root: Path,
    *,
    width: int = 512,
    height: int = 256,
    val_per_city: int = 1,
    train_scenes: int = 12,
    sequences: int = 1,
    frames_per_sequence: int = 6,
    seed: int = 0,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Written:
    """Make the data root below ``root``; what is there already and was made with the same settings is kept.

    ``jobs`` processes draw (default: as many as there are cores); ``progress(done, total)`` is told after each frame.
    Raises ``ValueError`` for impossible numbers, ``FileExistsError`` if ``root/cityscapes`` holds other data.
    """
    if min(val_per_city, train_scenes, sequences) < 0 or frames_per_sequence < 1 or (jobs is not None and jobs < 1):
        raise ValueError("val_per_city, train_scenes, sequences must be >= 0; frames_per_sequence and jobs >= 1")
    frames = plan(seed, val_per_city, train_scenes, sequences, frames_per_sequence)
    folder = Path(root) / "cityscapes"
    settings = {
        "version": VERSION,
        "seed": seed,
        "width": width,
        "height": height,
        "frames_per_second": FRAMES_PER_SECOND,
    }
    kept = _prepare(folder, settings, frames)
    todo = [frame for frame in frames if not (kept and all(path.exists() for path in frame.files(folder)))]
    save_text(
        folder / MANIFEST,
        json.dumps(
            {**settings, "files": sorted(p.relative_to(folder).as_posix() for f in frames for p in f.files(folder))},
            indent=1,
        ),
    )
    done = len(frames) - len(todo)
    if progress:
        progress(done, len(frames))
    for _ in _run(todo, folder, width, height, jobs or os.cpu_count() or 1):
        done += 1
        if progress:
            progress(done, len(frames))
    lists = {
        split: tuple(frame.name for frame in frames if frame.annotated and frame.split == split)
        for split in ("val", "train")
    }
    for split, names in lists.items():
        save_text(folder / f"{split}.txt", "".join(f"{name}\n" for name in names))
    return Written(folder, lists["val"], lists["train"], len(todo))


def _prepare(folder: Path, settings: dict[str, float], frames: list[SceneFrame]) -> bool:
    """Whether files made with the same settings lie here; removes our own files that are no longer planned."""
    manifest = folder / MANIFEST
    if not manifest.exists():
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(f"{folder} holds data that the demo did not make; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        return False
    before = json.loads(manifest.read_text(encoding="utf-8"))
    same = all(before.get(key) == value for key, value in settings.items())
    planned = {path for frame in frames for path in frame.files(folder)} if same else set()
    for relative in before.get("files", []):
        path = folder / relative
        if path not in planned and folder.resolve() in path.resolve().parents:
            path.unlink(missing_ok=True)
    return same


def _run(frames: list[SceneFrame], folder: Path, width: int, height: int, jobs: int) -> Iterator[None]:
    """Make the frames, here or in worker processes; yields after each."""
    if jobs == 1 or len(frames) < 2:
        for frame in frames:
            make(frame, folder, width, height)
            yield
        return
    # Started afresh, not forked: the caller may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(frames)), mp_context=context) as pool:
        futures = [pool.submit(make, frame, folder, width, height) for frame in frames]
        try:
            for future in as_completed(futures):
                future.result()
                yield
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def make(frame: SceneFrame, folder: Path, width: int, height: int) -> None:
    """Render one frame and write its files, each at once."""
    scene = render(frame.seed, width, height, frame_time_s=frame.time_s, ensure=frame.ensure)
    paths = frame.files(folder)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    if not frame.annotated:
        save_png(paths[0], scene.image)
        return
    for path, array in zip(paths, _pictures(scene), strict=False):
        save_png(path, array)
    for path, content in zip(paths[4:5] + paths[6:], (scene.polygons, scene.camera, scene.vehicle), strict=True):
        save_text(path, json.dumps(content))
    save_png(paths[5], scene.disparity)


def _pictures(scene: Scene) -> tuple[Array, Array, Array, Array]:
    return scene.image, scene.label_ids, scene.instance_ids.astype(np.uint16), colorize(scene.label_ids)


def save_png(path: Path, array: Array) -> None:
    """Write (H, W) uint8/uint16 or (H, W, 3) uint8 RGB: under a temporary name first, so never half."""
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", compress_level=4)
    save(path, buffer.getvalue())


def save_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all."""
    save(path, text.encode("utf-8"))


def save(path: Path, content: bytes) -> None:
    """Write a file under a temporary name first, so never half."""
    write_atomically(path, content, path.with_name(f".{path.name}.{os.getpid()}.tmp"))
