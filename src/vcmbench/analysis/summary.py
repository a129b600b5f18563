"""All score records of an experiment as arrays: coding points by images, ready for curves, tables and comparisons.

A record as it is read takes some 60 KB, nearly all of it small lists of counts; what is kept of it takes a tenth.
Points are compared on the same images: those that every point has, and at equal rate only those whose files are
equally large. What that leaves out is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.analysis.curves import ImageJackknife, Monotonicity, Resampled, joined, monotonicity
from vcmbench.analysis.points import CodingPoint, points_of
from vcmbench.analysis.slim import Slimmer
from vcmbench.compress.rate_search import TOLERANCE
from vcmbench.data.estimate import PLAIN, SHARE
from vcmbench.data.jackknife import EACH, Grouping
from vcmbench.data.labels import CLASSES
from vcmbench.measure.records import Score
from vcmbench.tasks import class_names, confusion
from vcmbench.tasks.confusion import dense
from vcmbench.tasks.kind import Kind
from vcmbench.tasks.kind import get as get_kind

_TRUTHS = {"pseudo": "the pseudo ground truth", "labels": "labels"}


class Summary:
    """What the score records say together, each of which is read once and kept slim: metrics as `iqa`, values
    alone, and `lacking`, the reasons where there is none; of each truth its `confusion` as (n, 3) int32 triplets, and
    its `bands` as (bands, 2) int64 of correct and of all pixels. `pristine` are the records of the pristine
    pictures."""

    def __init__(
        self,
        scores: Iterable[Score],
        pristine: Iterable[Score],
        intervals: bool = True,
        grouping: Grouping = EACH,
    ) -> None:
        slim = Slimmer().slim
        self.pristine = {score["source"]: slim(score) for score in pristine}
        self.points = points_of(map(slim, scores))
        sources = [set(point.scores) for point in self.points]
        self.images = sorted(set.intersection(*sources)) if sources else []
        self.left_out = len(set.union(*sources)) - len(self.images) if sources else 0
        self._intervals, self.grouping = intervals, grouping
        self._measures: dict[str, dict[str, Resampled]] = {}
        self._over: dict[str, Summary] = {}

    @cached_property
    def jackknife(self) -> ImageJackknife:
        what = self.grouping.called(self.images)
        return ImageJackknife(self.grouping.units(self.images), self._intervals, what)

    def _scores(self, point: CodingPoint) -> list[Score]:
        return [point.scores[image] for image in self.images]

    @cached_property
    def rate(self) -> Resampled:
        """Bits per pixel of every point."""
        pixels = np.array([[s["width_px"] * s["height_px"] for s in self._scores(p)] for p in self.points], float)
        rates = np.array([[s["rate_bpp"] for s in self._scores(p)] for p in self.points])
        return self.jackknife.ratio(rates * pixels, pixels)

    @cached_property
    def rate_kbps(self) -> Resampled | None:
        """Kilobits a second of every point; None unless all images are of sequences, which have a number of frames a
        second: by the points that code them as such, and so for those that code frame by frame."""
        scores = [self._scores(point) for point in self.points]
        fps = [next(filter(None, (score.get("fps") for score in found)), None) for found in zip(*scores, strict=True)]
        if not fps or None in fps:
            return None
        kbit = np.array([[s["rate_bpp"] * s["width_px"] * s["height_px"] / 1000 for s in row] for row in scores])
        return self.jackknife.ratio(kbit, np.tile(1 / np.array(fps, float), (len(scores), 1)))

    @property
    def rate_and_unit(self) -> tuple[Resampled, str]:
        """The rate in kbit/s where there is one, else in bpp."""
        return (self.rate, "bpp") if self.rate_kbps is None else (self.rate_kbps, "kbit/s")

    @cached_property
    def kind(self) -> Kind | None:
        """What kind of answers these are; None where no machine, or several, looked at them."""
        kinds = {(part["kind"], part["classes"]) for part in self._machines()}
        return get_kind(kinds.pop()[0]) if len(kinds) == 1 else None

    def _machines(self) -> list[dict[str, Any]]:
        parts = (score["machine"] for point in self.points for score in self._scores(point))
        return [part for part in parts if part is not None]

    @property
    def has_confusions(self) -> bool:
        """Whether IoU, classes and distances can be reported."""
        return self.kind is not None and self.kind.has_confusions

    def has(self, against: str) -> bool:
        """Whether there are pictures that were held against that truth."""
        return self.kind is not None and bool(self.over(against).images)

    def over(self, against: str) -> Summary:
        """The same on the images that were held against that truth in every point, so that one without it takes nothing
        from the others; itself where all were."""
        if against not in self._over:
            self._over[against] = self._where(lambda score: (score["machine"] or {}).get(against) is not None)
        return self._over[against]

    def _where(self, has: Callable[[Score], bool]) -> Summary:
        images = [image for image in self.images if all(has(point.scores[image]) for point in self.points)]
        return self if len(images) == len(self.images) else self.part(range(len(self.points)), images)

    def _with(self, against: str, what: str) -> Summary:
        """On the images that have bands or importance, too."""
        return self._where(lambda score: ((score["machine"] or {}).get(against) or {}).get(what) is not None)

    def partly(self) -> list[str]:
        """What some of the images lack, and of how many the figures are."""
        known = {f"figures against {truth}": self.over(against) for against, truth in _TRUTHS.items()}
        if self.has_confusions:
            known |= {f"figures {by}": self._with("pseudo", what)
                      for what, by in (("bands", "by distance"), ("importance", "by importance"))}  # fmt: skip
        if self.kind is not None and self.kind.ranges:
            known |= {f"figures by {by}": self._ranged("pseudo", by) for by in self.kind.ranges}
        n = len(self.images)
        left_out = [f"against labels, not counted: {why}" for what in ("unknown labels", "unknown classes")
                    if (why := self.lacking(what))]  # fmt: skip
        return [f"{what}: {len(part.images)} of {n} pictures have what they need, and count"
                for what, part in known.items() if 0 < len(part.images) < n] + left_out  # fmt: skip

    def lacking(self, what: str) -> str:
        """Why pictures have no `labels`, `distance` or `importance`, or the like; empty where all have."""
        notes = {image: note for point in self.points for image in self.images
                 if (note := (point.scores[image]["machine"] or {}).get("notes", {}).get(what))}  # fmt: skip
        some = f"{len(notes)} of {len(self.images)} pictures: " if len(notes) < len(self.images) else ""
        return f"{some}{next(iter(notes.values()))}" if notes else ""

    def _parts(self, against: str) -> list[list[dict[str, Any]]]:
        return [[score["machine"][against] for score in self._scores(point)] for point in self.points]

    @property
    def classes(self) -> int:
        return int(self._machines()[0]["classes"])

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """What the network calls its classes. Records of before names were kept have none: then Cityscapes' are theirs
        where the digest of the network's names is that of Cityscapes', or predictions are files."""
        parts = self._machines()
        names = {number: name for part in parts for number, name in part.get("names", {}).items()}
        if not names and class_names.are_of_cityscapes(parts[0].get("identity", {})):
            return CLASSES
        return tuple(names.get(str(number), f"class {number}") for number in range(self.classes))

    def measures(self, against: str) -> dict[str, Resampled]:
        """By measure of the kind, on the images that have that truth."""
        if (part := self.over(against)) is not self:
            return part.measures(against)
        if against not in self._measures:
            self._measures[against] = self._measured(against)
        return self._measures[against]

    def _measured(self, against: str) -> dict[str, Resampled]:
        if self.kind is not None and self.kind.is_additive:
            sums = [[self.kind.sums(part, self.classes) for part in row] for row in self._parts(against)]
            tables = {
                name: np.array([[one[name] for one in row] for row in sums], float) for name in self.kind.measures
            }
            return {name: self._ratio(table[..., 0], table[..., 1]) for name, table in tables.items()}
        found = [self._reduced(parts) for parts in self._parts(against)]
        return {name: joined([one[name] for one in found]) for name in found[0]}

    def _ratio(self, part: NDArray[np.float64], whole: NDArray[np.float64]) -> Resampled:
        """Of what a picture has or has not, as an answer that is right, the share of pictures; else sum over sum."""
        is_share = bool((whole == 1).all() and np.isin(part, (0, 1)).all())
        return self.jackknife.shares(part) if is_share else self.jackknife.ratio(part, whole)

    def _reduced(self, parts: Sequence[dict[str, Any]]) -> dict[str, Resampled]:
        """The measures of one point, by the parts of its pictures."""
        if (kind := self.kind) is None:
            return {}
        scale = SHARE if kind.are_shares or kind.has_confusions else PLAIN
        return self.jackknife.reduced(lambda weights: kind.reduce(parts, self.classes, weights), scale)

    def confusions(self, against: str, points: Sequence[int] | None = None) -> NDArray[np.int32]:
        """(points, images, K, K + 1), of all points or of some of them."""
        classes = self.classes
        chosen = self.points if points is None else [self.points[number] for number in points]
        found = np.zeros((len(chosen), len(self.images), classes, classes + 1), np.int32)
        for i, point in enumerate(chosen):
            for j, score in enumerate(self._scores(point)):
                found[i, j] = dense(score["machine"][against]["confusion"], classes)
        return found

    def instability(self) -> Resampled | None:
        """By how much more of the pixels change their class from frame to frame than in the answers on the pristine
        frames (`measure.stability`), on the frames of sequences but the first ones; None where there are none."""
        found = self._where(lambda score: score.get("stability") is not None)
        if not found.images:
            return None
        counts = np.array([[score["stability"] for score in found._scores(point)] for point in self.points], float)
        return found.jackknife.ratio(counts[..., 0] - counts[..., 1], counts[..., 2])

    def weighted(self, against: str) -> Resampled | str:
        """Accuracy weighted by importance, or why there is none."""
        found = self._with(against, "importance")
        if not found.images:
            return "no picture has an importance map"
        sums = np.array([[part["importance"] for part in row] for row in found._parts(against)])
        return found.jackknife.ratio(sums[..., 0], sums[..., 1], SHARE)

    def by_band(self, against: str) -> list[Resampled] | str:
        """Accuracy by distance, for each of `perception.BANDS_M`, or why there is none."""
        found = self._with(against, "bands")
        if not found.images:
            return "no picture has distances"
        sums = np.array([[part["bands"] for part in row] for row in found._parts(against)], float)
        return [found.jackknife.ratio(sums[:, :, i, 0], sums[:, :, i, 1], SHARE) for i in range(len(confusion.BANDS_M))]

    def _ranged(self, against: str, by: str) -> Summary:
        """On the images whose truth is told apart by that, too."""
        kind = self.kind
        return self._where(lambda s: kind is not None and kind.has_ranges((s["machine"] or {}).get(against), by))

    def by_range(self, against: str, by: str) -> dict[str, Resampled]:
        """Of kinds that have them, measures of the ranges of distance or importance, by `measure_range`; empty where no
        picture has what they need."""
        kind, found = self.kind, self._ranged(against, by)
        if kind is None or not found.images:
            return {}
        if (key := f"{against} by {by}") not in self._measures:
            reduce = [partial(kind.by_range, parts, by=by) for parts in found._parts(against)]
            points = [found.jackknife.reduced(one, SHARE if kind.are_shares else PLAIN) for one in reduce]
            self._measures[key] = {name: joined([one[name] for one in points]) for name in points[0]}
        return self._measures[key]

    def metric(self, name: str) -> Resampled | str:
        """The mean of a quality metric over the images that have it, or why there is none; missing at points where none
        has it, such as those of lossless coding."""
        points = [i for i, point in enumerate(self.points)
                  if any(score["iqa"].get(name) is not None for score in self._scores(point))]  # fmt: skip
        images = [image for image in self.images
                  if all(self.points[i].scores[image]["iqa"].get(name) is not None for i in points)]  # fmt: skip
        if not points or not images:
            reasons = [score["lacking"].get(name) for point in self.points for score in self._scores(point)]
            return next((reason for reason in reasons if reason), f"{name} was not computed")
        found = self if len(images) == len(self.images) else self.part(range(len(self.points)), images)
        values = np.array([[score["iqa"].get(name) for score in found._scores(point)] for point in self.points], float)
        return found.jackknife.ratio(values, np.ones(values.shape))

    def by_class(self, against: str) -> dict[int, Resampled]:
        """The main measure of each class that occurs, on the images that have that truth; of kinds that give it."""
        found, kind = self.over(against), self.kind
        if kind is None or not found.images:
            return {}
        scale = SHARE if kind.are_shares else PLAIN

        def of_point(parts: Sequence[dict[str, Any]]) -> dict[str, Resampled]:
            def reduce(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
                by_class = kind.by_class(parts, self.classes, weights) if kind else {}
                return {str(which): values for which, values in by_class.items()}

            return found.jackknife.reduced(reduce, scale)

        points = [of_point(parts) for parts in found._parts(against)]
        occur = sorted({int(which) for point in points for which in point})
        nothing = found.jackknife.reduced(lambda weights: {"": np.full(len(weights), np.nan)}, scale)[""]
        return {which: joined([point.get(str(which), nothing) for point in points]) for which in occur}

    def pristine_measures(self) -> dict[str, Resampled] | None:
        """What the machine scores against the labels on the pristine pictures; None where it is not known."""
        parts = [(self.pristine.get(image) or {}).get("machine") for image in self.images]
        if self.kind is None or any(part is None or part["labels"] is None for part in parts):
            return None
        if {(part["kind"], part["classes"]) for part in parts if part} != {(self.kind.name, self.classes)}:
            return None
        return self._reduced([part["labels"] for part in parts if part])

    def series(self) -> dict[str, list[int]]:
        """The numbers of the points of each curve, by its name; references are no curve."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for number, point in enumerate(self.points):
            if not point.is_reference:
                found[point.series].append(number)
        return dict(found)

    def monotone(self) -> dict[str, dict[str, Monotonicity]]:
        """For each curve and measure against the pseudo ground truth, whether it falls with the rate."""
        if not self.has("pseudo"):
            return {}
        rate, measures = self.over("pseudo").rate, self.measures("pseudo")
        names = [point.name for point in self.points]
        return {
            series: {name: monotonicity(rate, values, numbers, names) for name, values in measures.items()}
            for series, numbers in self.series().items()
        }

    def matched(self) -> list[tuple[int, int]]:
        """Pairs of numbers: a point with an importance map at the rate of the uniform point beside it, and that one."""

        def key(p: CodingPoint) -> tuple[Any, ...]:
            words = (word for word in p.options.split() if not word.startswith(("qp_map=", "importance=", "match=")))
            return p.encoder, p.quality, p.color_subsampling, p.subsampling_factor, *words

        plain = {key(point): number for number, point in enumerate(self.points) if not point.is_mapped}
        return [(number, plain[key(point)]) for number, point in enumerate(self.points)
                if point.is_mapped and point.matches_rate and key(point) in plain]  # fmt: skip

    def at_equal_rate(self, mapped: int, plain: int) -> list[str]:
        """The images whose file with a map came as near to the uniform one's size as the search was to bring it."""
        first, second = self.points[mapped].scores, self.points[plain].scores
        # not by what the search said alone: it is about the uniform file of that time, which may be another by now
        return [
            image for image in self.images
            if first[image].get("is_equal")
            and abs(first[image]["size_bytes"] / second[image]["size_bytes"] - 1) <= TOLERANCE
        ]  # fmt: skip

    @property
    def sequences(self) -> int:
        """How many sequences the images are frames of; 0 where one is a picture by itself."""
        names = [self.grouping.sequences.get(image) for image in self.images]
        return 0 if None in names else len(set(names))

    def of_sequences(self) -> list[Summary]:
        """The same of each sequence by itself, without intervals, where there are several."""
        names = self.grouping.sequences
        sequences = dict.fromkeys(names[image] for image in self.images if image in names)
        if len(sequences) < 2:
            return []
        every = range(len(self.points))
        return [self.part(every, [image for image in self.images if names.get(image) == sequence]).without_intervals()
                for sequence in sequences]  # fmt: skip

    def without_intervals(self) -> Summary:
        """Itself, whose figures need none from now on."""
        self._intervals = False
        return self

    def part(self, points: Sequence[int], images: Sequence[str]) -> Summary:
        """The same of some points, in that order, on some of the images."""
        found = Summary((), (), self._intervals, self.grouping)
        found.pristine, found.images = self.pristine, list(images)
        found.points = [self.points[number] for number in points]
        return found
