"""Which files of a data root belong together in time: a video alone, the pictures of a folder, those of a recording."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vcmbench.data import video
from vcmbench.data.selection import Selection
from vcmbench.errors import RequestError

Files = list[tuple[PurePosixPath, Path]]
"""Names below the pristine folder, without suffix, and files."""
_PICTURE_ENDING = "_leftImg8bit"


@dataclass(frozen=True)
class Recording:
    """A sequence by its name: the file of a video, or pictures in the order of their names."""

    name: PurePosixPath
    files: Files

    @property
    def video(self) -> Path | None:
        path = self.files[0][1]
        return path if video.is_video(path) else None


def recordings(files: dict[PurePosixPath, Path], wanted: Selection, is_cityscapes: bool) -> list[Recording]:
    """The sequences that are wanted, of files by their names with suffixes. Raises RequestError where results would lie
    in the same places, or no sequence has one of the names."""
    pictures: defaultdict[PurePosixPath, Files] = defaultdict(list)
    videos: dict[PurePosixPath, Files] = {}
    twins: list[list[Path]] = []
    for stem, same in _by_stem(files).items():
        if len(same) > 1:
            twins.append(same)
        elif video.is_video(same[0]):
            videos[stem] = [(stem, same[0])]
        else:
            pictures[stem.parent].append((stem, same[0]))
    twins += [[videos[name][0][1], pictures[name][0][1]] for name in sorted(videos.keys() & pictures.keys())]
    if twins:
        names = "; ".join(" and ".join(map(str, paths)) for paths in twins[:10])
        more = f"; and {len(twins) - 10} more" if len(twins) > 10 else ""
        raise RequestError(f"results would have the same name, rename one of each: {names}{more}")
    found = [Recording(*one) for one in videos.items()]
    if is_cityscapes and wanted.in_recordings:
        found += _by_number(pictures)
    else:
        found += [Recording(*one) for one in pictures.items()]
    chosen = [one for one in found if wanted.wants_sequence(one.name)]
    if found and not chosen:
        some = ", ".join(sorted(str(one.name) for one in found)[:10])
        raise RequestError(f"dataset.clips: no sequence is named {' or '.join(wanted.clips or ())}; there are: {some}")
    return chosen


def _by_stem(files: dict[PurePosixPath, Path]) -> dict[PurePosixPath, list[Path]]:
    found: defaultdict[PurePosixPath, list[Path]] = defaultdict(list)
    for name in sorted(files):
        found[name.with_suffix("")].append(files[name])
    return found


def _by_number(cities: dict[PurePosixPath, Files]) -> list[Recording]:
    """The pictures of cities by recording, `<city>_<seq>`; where the frames' numbers leap, there are several of one,
    and the first number is part of their names."""
    found: list[Recording] = []
    for city, files in cities.items():
        by_name: defaultdict[str, list[tuple[int, tuple[PurePosixPath, Path]]]] = defaultdict(list)
        for file in files:
            name, _, number = file[0].name.removesuffix(_PICTURE_ENDING).rpartition("_")
            by_name[name].append((int(number) if number.isdecimal() else 0, file))
        for name, frames in by_name.items():
            steps = np.diff([number for number, _ in frames])
            leaps = [place + 1 for place, step in enumerate(steps) if step > 2 * np.median(steps)]
            for start, end in zip([0, *leaps], [*leaps, len(frames)], strict=True):
                group = city / (f"{name}_{frames[start][0]:06}" if leaps else name)
                found.append(Recording(group, [file for _, file in frames[start:end]]))
    return found
