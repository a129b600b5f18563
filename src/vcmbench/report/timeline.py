"""One sequence over time: what each frame cost, and what the machine made of it; and a short clip of it."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcmbench.analysis.points import CodingPoint
from vcmbench.analysis.summary import Summary
from vcmbench.compress import decode
from vcmbench.errors import JobError, RequestError
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.records import Score
from vcmbench.measure.run import MeasureRun
from vcmbench.report.comparable import Comparable
from vcmbench.report.content import Timeline
from vcmbench.report.fill import series_of
from vcmbench.report.frames import Gallery
from vcmbench.tasks.kind import get as get_kind

_MOST_FRAMES, _MOST_TIMELINES = 600, 8
_CLIP_FRAMES, _CLIP_WIDTH_PX = 48, 448
_MOST_CLIP_BYTES = 1_200_000
_QUALITIES = (70, 50, 30, 15)  # of WebP
_LOST = np.array([213, 62, 10], np.float32)

Rgb = NDArray[np.uint8]


def timelines(run: MeasureRun, summary: Summary, gallery: Gallery, near: Comparable) -> list[Timeline]:
    """The first sequence as coded with each codec and structure, at the point nearest to the rate in the middle; first
    one that predicts pictures from others, with a clip, and the others of fewer frames. None where the experiment codes
    no sequences. What cannot be shown the gallery says."""
    coded = {unit.folder: unit for unit in reversed(run.units) if unit.coding.structure is not None}
    middle, rates = near.rate or 1.0, summary.rate_and_unit[0].values
    chosen: list[tuple[bool, bool, int]] = []
    for curve in summary.series().values():
        if numbers := [number for number in curve if summary.points[number].configuration in coded]:
            number = min(numbers, key=lambda one: abs(math.log(rates[one] / middle)))
            structure = coded[summary.points[number].configuration].coding.structure
            is_intra = structure is not None and structure.kind == "intra"
            chosen.append((is_intra, number not in near.points, number))
    if len(chosen) > _MOST_TIMELINES:
        gallery.missing.append(("over time", f"of {len(chosen)} curves {_MOST_TIMELINES} are shown"))
    shown = [summary.points[number] for *_, number in sorted(chosen)[:_MOST_TIMELINES]]
    share = _MOST_FRAMES // max(len(shown) - 1, 1)
    return [_timeline(gallery, run, point, coded[point.configuration], share if place else _MOST_FRAMES,
                      has_clip=not place) for place, point in enumerate(shown)]  # fmt: skip


def _timeline(
    gallery: Gallery, run: MeasureRun, point: CodingPoint, unit: Unit, frames: int, *, has_clip: bool
) -> Timeline:
    sources = unit.sources[:frames]
    scores = [point.scores.get(str(source.name)) for source in sources]
    coded = unit.record.get("coded_frames", {})
    sizes: list[int] = coded.get("size_bytes", [])
    return Timeline(
        title=f"{unit.sources[0].sequence_title}, {point.name}",
        series=series_of(point),
        times_s=[source.time_s for source in sources],
        types=coded.get("type", "")[: len(sources)],
        kbit=[size * 8 / 1000 for size in sizes[: len(sources)]],
        qp=coded.get("qp", [])[: len(sources)],
        accuracy=[_accuracy(score) for score in scores],
        changed=[_share(score, 0) for score in scores],
        changed_pristine=[_share(score, 1) for score in scores],
        clip=_clip(gallery, run, unit, scores) if has_clip else b"",
        fps=unit.sources[0].fps,
    )


def _accuracy(score: Score | None) -> float | None:
    part = (score or {}).get("machine")
    if part is None or part["pseudo"] is None:
        return None
    kind = get_kind(part["kind"])
    return kind.correlated_score(part["pseudo"], part["classes"], kind.main)


def _share(score: Score | None, which: int) -> float | None:
    counts = (score or {}).get("stability")
    return counts[which] / counts[2] if counts and counts[2] else None


def _clip(gallery: Gallery, run: MeasureRun, unit: Unit, scores: Sequence[Score | None]) -> bytes:
    """An animated WebP of the first frames, pristine above decoded above lost pixels; empty where it cannot be made."""
    try:
        shown = [_small(panels) for panels in itertools.islice(_panels(gallery, run, unit, scores), _CLIP_FRAMES)]
    except (JobError, RequestError) as error:
        gallery.missing.append((f"clip of {unit.sources[0].sequence_title}", str(error)))
        return b""
    duration_ms = round(1000 / unit.sources[0].fps)
    for quality in _QUALITIES:
        file = io.BytesIO()
        shown[0].save(file, "webp", save_all=True, append_images=shown[1:], duration=duration_ms, loop=0,
                      quality=quality, method=2)  # fmt: skip
        if file.tell() <= _MOST_CLIP_BYTES:
            return file.getvalue()
    gallery.missing.append((f"clip of {unit.sources[0].sequence_title}", "too large for this file"))
    return b""


def _panels(gallery: Gallery, run: MeasureRun, unit: Unit, scores: Sequence[Score | None]) -> Iterator[list[Rgb]]:
    decoded = decode.decode(unit.record, run.data.root, run.runner)
    for index, (picture, score) in enumerate(zip(decoded, scores, strict=False)):
        panels = [unit.pristine(index).rgb, picture]
        part: Any = (score or {}).get("machine")
        if score is not None and part is not None and get_kind(part["kind"]).has_label_pictures:
            answers = gallery.predictions(score)
            if answers is None:
                return
            panels.append(_lost(picture, answers[0] != answers[1]))
        yield panels


def _lost(picture: Rgb, lost: NDArray[np.bool_]) -> Rgb:
    """A picture in light gray, with the pixels that were lost in colour."""
    gray = 128 + picture.mean(axis=2, dtype=np.float32)[..., None].repeat(3, axis=2) / 2
    gray[lost] = _LOST
    found: Rgb = gray.astype(np.uint8)
    return found


def _small(panels: Sequence[Rgb]) -> Image.Image:
    """Pictures of one size below each other."""
    height, width = panels[0].shape[:2]
    scale = min(1.0, _CLIP_WIDTH_PX / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    whole = Image.new("RGB", (size[0], (size[1] + 2) * len(panels) - 2), "white")
    for number, panel in enumerate(panels):
        image = Image.fromarray(np.ascontiguousarray(panel))
        whole.paste(image if scale == 1 else image.resize(size, Image.Resampling.BOX), (0, number * (size[1] + 2)))
    return whole
