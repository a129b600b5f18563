"""Writes drives as sequences in the layout of Cityscapes, with labels for every frame.

``root/cityscapes/leftImg8bit_sequence/val/<city>/<city>_<seq>_<frame>_leftImg8bit.png``; under the same names label and
instance ids in ``gtFine``, ``disparity``, ``camera``, ``vehicle`` as for stills, and in ``flow`` an .npz: ``flow_px``
(H, W, 2) float16, by which a point at (x, y) is at (x, y) + flow in the next frame, and ``is_valid`` (H, W) bool, where
it is seen there. Sequence numbers begin at 100, so that they are not those of stills. ``sequences.json`` holds what
they were made with: by it a second run knows what is done.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from streetscenes.camera import Array
from streetscenes.sequence import FRAMES_PER_SECOND, Frame, Sequence
from vcmbench.demo.cityscapes import VAL_CITIES, VERSION, save, save_png, save_text, wanted

MANIFEST = "sequences.json"
FIRST_NUMBER = 100
_FILES = (
    "leftImg8bit_sequence/val/{}_leftImg8bit.png",
    "gtFine/val/{}_gtFine_labelIds.png",
    "gtFine/val/{}_gtFine_instanceIds.png",
    "disparity/val/{}_disparity.png",
    "camera/val/{}_camera.json",
    "vehicle/val/{}_vehicle.json",
    "flow/val/{}_flow.npz",
)


@dataclass(frozen=True)
class Drives:
    """What to make: ``count`` sequences of ``frames`` frames of ``width`` x ``height`` pixels from ``seed``."""

    count: int = 3
    frames: int = 24
    width: int = 512
    height: int = 256
    seed: int = 0

    def names(self, index: int) -> list[str]:
        """``<city>/<city>_<seq>_<frame>`` of each frame of sequence ``index``."""
        city = VAL_CITIES[index % 3]
        number = FIRST_NUMBER + index // 3
        return [f"{city}/{city}_{number:06d}_{frame:06d}" for frame in range(self.frames)]


def write(
    root: Path, drives: Drives | None = None, jobs: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[list[str]]:  # fmt: skip
    """Make the sequences below ``root``; returns the names of each one's frames.

    A sequence that is there already and was made with the same settings is kept. ``jobs`` processes draw, one a
    sequence (default: as many as there are cores); ``progress`` is called with how many are there. Raises
    ``ValueError`` for impossible numbers.
    """
    drives = drives or Drives()
    if drives.count < 1 or drives.frames < 1 or (jobs is not None and jobs < 1):
        raise ValueError("there is at least one sequence, of at least one frame, and jobs >= 1")
    folder = Path(root) / "cityscapes"
    manifest = folder / MANIFEST
    settings = {"version": VERSION, "frames_per_second": FRAMES_PER_SECOND, **asdict(drives)}
    same = manifest.exists() and json.loads(manifest.read_text(encoding="utf-8")) == settings
    todo = [i for i in range(drives.count) if not (same and all(p.exists() for p in _paths(folder, drives.names(i))))]
    folder.mkdir(parents=True, exist_ok=True)
    save_text(manifest, json.dumps(settings, indent=1))
    jobs = min(jobs or os.cpu_count() or 1, len(todo))
    if jobs > 1:
        # Started afresh, not forked: the caller may have threads.
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            waiting = [pool.submit(make, drives, index, folder) for index in todo]
            for done, future in enumerate(as_completed(waiting), drives.count - len(todo) + 1):
                future.result()
                progress(done)
    else:
        for done, index in enumerate(todo, drives.count - len(todo) + 1):
            make(drives, index, folder)
            progress(done)
    return [drives.names(index) for index in range(drives.count)]


def make(drives: Drives, index: int, folder: Path) -> None:
    """Draw one sequence and write its files."""
    seed = int(np.random.SeedSequence([drives.seed, 25, index]).generate_state(1)[0] >> 1)
    ensure = wanted(drives.seed, "sequence", index)
    sequence = Sequence(seed, drives.frames, drives.width, drives.height, ensure=ensure)
    for name, frame in zip(drives.names(index), sequence, strict=True):
        _write(_paths(folder, [name]), frame)


def _write(paths: list[Path], frame: Frame) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    pictures: tuple[Array, ...] = (frame.rgb, frame.label_ids, frame.instance_ids.astype(np.uint16), frame.disparity)
    for path, array in zip(paths[:4], pictures, strict=True):
        save_png(path, array)
    save_text(paths[4], json.dumps(frame.camera))
    save_text(paths[5], json.dumps(frame.vehicle))
    buffer = BytesIO()
    # Half precision is a 32nd of a pixel at 64 pixels.
    np.savez_compressed(buffer, flow_px=frame.flow_px.astype(np.float16), is_valid=frame.flow_is_valid)
    save(paths[6], buffer.getvalue())


def _paths(folder: Path, names: list[str]) -> list[Path]:
    return [folder / pattern.format(name) for name in names for pattern in _FILES]
