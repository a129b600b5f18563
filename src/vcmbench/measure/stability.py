"""How steady a machine's answers are from frame to frame, along the motion of the pristine sequence.

A pixel that moves with its object should keep its class. Counted is where it does not: where the class of a pixel is
not the one at the place in the frame before to which the optical flow of the *pristine* frames leads. What compression
adds is the difference to the same count of the answers on the pristine frames: flicker that the network has by itself,
and what the flow gets wrong, are in both.

Flow: dense inverse search (T. Kroeger et al., 2016), OpenCV's, medium preset, backwards from each frame to the one
before. Pixels where it leaves the picture, or disagrees with the flow the other way round (occlusions; the limit of
N. Sundaram et al., 2010), are not counted.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data import colour
from vcmbench.data.store import Store, job_key
from vcmbench.io.files import check_inside
from vcmbench.io.sealed import read_sealed, sealed_json
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.predictions import Predictor

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
FOLDER = "stability"
VERSION = 1
"""To be raised with every change of what is counted."""
_MAX_BYTES = 1 << 28
_SHARE, _SQUARED_PX = 0.01, 0.5

Counts = dict[str, Any]


def backward_flow(before: U8, after: U8) -> tuple[F32, NDArray[np.bool_]]:
    """Where each pixel of `after` was in `before`, both (H, W) uint8 luma: (H, W, 2) float32 offsets (x, y) in pixels,
    and (H, W) bool, where it can be relied upon."""
    import cv2  # heavy

    before, after = np.ascontiguousarray(before), np.ascontiguousarray(after)
    found = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    back = np.asarray(found.calc(after, before, None), np.float32)  # type: ignore[call-overload]
    there = np.asarray(found.calc(before, after, None), np.float32)  # type: ignore[call-overload]
    height, width = after.shape
    x, y = _places(back)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    forth = there[y.clip(0, height - 1), x.clip(0, width - 1)]
    apart = ((back + forth) ** 2).sum(axis=-1)
    bound = _SHARE * ((back**2).sum(axis=-1) + (forth**2).sum(axis=-1)) + _SQUARED_PX
    return back, inside & (apart < bound)


def _places(flow: F32) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    height, width = flow.shape[:2]
    x = np.rint(np.arange(width) + flow[..., 0]).astype(np.intp)
    y = np.rint(np.arange(height)[:, None] + flow[..., 1]).astype(np.intp)
    return x, y


def changed(before: U8, after: U8, flow: F32, valid: NDArray[np.bool_]) -> int:
    """In how many valid pixels the class of `after`, (H, W) uint8, is not that of the place in `before` that the
    backward flow leads to."""
    x, y = _places(flow)
    return int(np.count_nonzero(after[valid] != before[y[valid], x[valid]]))


class Stability:
    """The counts of an experiment's sequences: `sequences` has the name of each picture's, by the picture's name.

    A file a sequence, with the key of what decided it, so that only what has changed is counted anew.
    """

    def __init__(self, store: Store, units: Sequence[Unit], sequences: Mapping[str, str]) -> None:
        self._store = store
        self._frames: defaultdict[str, dict[str, dict[str, tuple[Unit, int]]]] = defaultdict(dict)
        """By sequence and configuration, the frames by their names."""
        for unit in units:
            for index, source in enumerate(unit.sources):
                if (name := str(source.name)) in sequences:
                    self._frames[sequences[name]].setdefault(unit.folder, {})[name] = (unit, index)

    @property
    def sequences(self) -> list[str]:
        return sorted(self._frames)

    @property
    def frames(self) -> int:
        """How many frames the sequences have, of any configuration."""
        return sum(len(set().union(*of_configurations.values())) for of_configurations in self._frames.values())

    def of_sequence(
        self, sequence: str, predictor: Predictor, stop: threading.Event, advance: Callable[[str], None]
    ) -> None:
        """Count a sequence unless that is known, and write its file. Raises JobError, OSError."""
        of_configurations = self._frames[sequence]
        key = job_key({
            "version": VERSION,
            "answers": {folder: {name: predictor.key(*frame) for name, frame in frames.items()}
                        for folder, frames in of_configurations.items()},
        })  # fmt: skip
        known = self._read(sequence)
        if known is not None and known.get("key") == key:
            for name in known["pixels"]:
                advance(name)
            return
        found: Counts = {"key": key, "pixels": {}, "pristine": {}, "decoded": {name: {} for name in of_configurations}}
        for name, pixels, pristine, decoded in _pairs(of_configurations, predictor):
            if stop.is_set():
                return
            found["pixels"][name], found["pristine"][name] = pixels, pristine
            for folder, count in decoded.items():
                found["decoded"][folder][name] = count
            advance(name)
        self._store.write_table(self._name(sequence), sealed_json(found))

    def counts(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """By configuration and picture: pixels whose class changed in the answer on the decoded frames, the same of the
        pristine ones, and all pixels that count. First frames have none."""
        found = {}
        for sequence in self.sequences:
            known = self._read(sequence) or {"decoded": {}}
            for folder, counts in known["decoded"].items():
                for name, count in counts.items():
                    found[folder, name] = (count, known["pristine"][name], known["pixels"][name])
        return found

    def _name(self, sequence: str) -> str:
        return f"{FOLDER}/{sequence}.json"

    def _read(self, sequence: str) -> Counts | None:
        path = self._store.folder / self._name(sequence)
        try:
            check_inside(self._store.data.root, path)
            value = read_sealed(path, _MAX_BYTES)
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None


def _pairs(
    of_configurations: dict[str, dict[str, tuple[Unit, int]]], predictor: Predictor
) -> Iterator[tuple[str, int, int, dict[str, int]]]:
    """Frame by frame but the first: its name, the pixels that count, how many of them changed in the answers on the
    pristine frames, and by configuration in those on the decoded ones. Only frames that all configurations have are
    looked at, and of them two at a time are held."""
    names = sorted(set.intersection(*(set(frames) for frames in of_configurations.values())))
    before: tuple[U8, U8, dict[str, U8]] | None = None
    for name in names:
        frames = {folder: frames[name] for folder, frames in of_configurations.items()}
        unit, index = next(iter(frames.values()))
        luma = colour.luma(unit.pristine(index).rgb)
        answer = predictor.kept_answer(unit, index, is_pristine=True)
        answers = {folder: predictor.kept_answer(*frame, is_pristine=False) for folder, frame in frames.items()}
        if before is not None and before[0].shape == luma.shape:
            flow, valid = backward_flow(before[0], luma)
            counts = {folder: changed(before[2][folder], answers[folder], flow, valid) for folder in answers}
            yield name, int(valid.sum()), changed(before[1], answer, flow, valid), counts
        before = luma, answer, answers
