"""The pictures of a report: heat maps over a scene, and the frames that lost most. A few frames are decoded again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.analysis.points import CodingPoint
from vcmbench.analysis.summary import Summary
from vcmbench.compress import decode
from vcmbench.data.dataset import Source
from vcmbench.encoder import jpeg_bits
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import qp_map
from vcmbench.measure import ground_truth
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.predictions import OF_FILES, is_of, of_files
from vcmbench.measure.records import Score, machine_key
from vcmbench.measure.run import MeasureRun
from vcmbench.report.content import Layer, Overlay, WorstFrame
from vcmbench.tasks.kind import get as get_kind
from vcmbench.tasks.predictions import prediction_path, read_prediction

WORST = 3
Rows = Callable[[Score, Source, "Rgb", "Rgb"], Sequence[tuple[int, int, int, int, str]]]
"""Of a record, its source, its pristine and its decoded picture, what `Overlay.blocks` says."""
Rgb = NDArray[np.uint8]
Ids = NDArray[np.uint8]


class Gallery:
    """Shows frames of an experiment; `near` are the points that worst pictures are of. What cannot be shown is said in
    `missing`."""

    def __init__(self, run: MeasureRun, summary: Summary, near: Sequence[int]) -> None:
        self._near = near
        self._data, self._summary, self._runner = run.data, summary, run.runner
        self._weights = ground_truth.weights_of(run.experiment)
        self._task = run.experiment.task
        self._units = {(unit.folder, str(source.name)): (unit, index)
                       for unit in run.units for index, source in enumerate(unit.sources)}  # fmt: skip
        self._names = {point.configuration: point.name for point in summary.points}
        self.missing: list[tuple[str, str]] = []

    def _frame(self, score: Score) -> tuple[Source, Rgb, Rgb] | None:
        """The source of a record, and its pristine and decoded picture; None (and said why) where that fails."""
        unit, index = self._units[score["configuration"], score["source"]]
        source = unit.sources[index]
        try:
            frames = decode.decode(unit.record, self._data.root, self._runner)
            decoded = next(picture for number, picture in enumerate(frames) if number == index)
            return source, unit.pristine(index).rgb, decoded
        except (JobError, RequestError, StopIteration) as error:
            self.missing.append((f"picture of {source.name.name}", str(error)))
            return None

    def predictions(self, score: Score) -> tuple[Ids, Ids] | None:
        """What was predicted on the pristine and on the decoded picture; None (and said why) where that is not there.

        The files may be of another experiment's network by now: then they are not what the score is about.
        """
        unit, index = self._units[score["configuration"], score["source"]]
        name, part = unit.sources[index].name, score["machine"]
        try:
            if not self._is_about(score, unit, index):
                raise JobError("the predictions that lie there are of another network; run the metrics again")
            first, second = (read_prediction(prediction_path(self._data.root, name, folder), None, part["classes"])
                             for folder in (None, unit.folder))  # fmt: skip
            return first, second
        except JobError as error:
            self.missing.append((f"prediction on {name.name}", str(error)))
            return None

    def _is_about(self, score: Score, unit: Unit, index: int) -> bool:
        identity = score["machine"].get("identity", {})
        kind = get_kind(score["machine"]["kind"])
        if identity != OF_FILES:
            return kind.files is not None and is_of(self._data.root, unit, index, identity, kind.files)
        if self._task is None:
            return False
        answer = of_files(self._data.root, self._task).key(unit, index)
        known = ground_truth.digest(
            self._data, unit.sources[index], self._weights, objects=kind.needs_objects, masks=kind.needs_masks
        )  # fmt: skip
        return bool(score["machine"]["key"] == machine_key(answer, known))

    # --- the frames that lost most

    def worst(self) -> list[WorstFrame]:
        """The pictures that lost most, each once, among points at a rate in the middle: at the lowest rates all of
        them are lost, which is no news."""
        if not self._summary.has("pseudo"):
            return []
        chosen: dict[str, tuple[float, Score]] = {}
        for number in self._near:
            for source in self._summary.over("pseudo").images:
                score = self._summary.points[number].scores[source]
                value = _goodness(score)
                if source not in chosen or value < chosen[source][0]:
                    chosen[source] = value, score
        found = []
        for _, score in sorted(chosen.values(), key=lambda one: (one[0], one[1]["source"]))[:WORST]:
            if (frame := self._worst(score)) is not None:
                found.append(frame)
        return found

    def _worst(self, score: Score) -> WorstFrame | None:
        frame = self._frame(score)
        if frame is None:
            return None
        source, pristine, decoded = frame
        part = score["machine"]
        kind = get_kind(part["kind"])
        answers: Any = self.predictions(score) if kind.has_label_pictures else kind.answers(part)
        if answers is None:
            return None
        title = f"{source.name.name}, {self._names[score['configuration']]}"
        return WorstFrame(title, pristine, decoded, answers[0], answers[1], self._facts(score))

    def _facts(self, score: Score) -> list[tuple[str, str]]:
        sampling = ":".join(score["color_subsampling"])
        coded = [f"{sampling}, factor {score['subsampling_factor']:g}", *score["options"].split()]
        if score["quality"] is not None:
            coded.insert(0, f"quality {score['quality']:g}")
        facts = [("Rate", f"{score['rate_bpp']:.3f} bpp"), ("Coded with", ", ".join(coded))]
        facts += get_kind(score["machine"]["kind"]).facts(score["machine"])
        if score["psnr_y_db"] is not None:
            facts.append(("PSNR-Y", f"{score['psnr_y_db']:.2f} dB"))
        return facts

    # --- heat maps

    def overlays(self, rows: Rows = lambda *_: ()) -> list[Overlay]:
        """Heat maps over the first picture: with an importance map where the experiment has one, and without, at equal
        rate; and what `rows` says of blocks."""
        if not self._summary.images:
            return []
        points, image = self._shown()
        return [overlay for point in points if (overlay := self._overlay(point.scores[image], rows)) is not None]

    def _shown(self) -> tuple[list[CodingPoint], str]:
        images = self._summary.images
        matched = [pair for pair in self._summary.matched() if self._summary.at_equal_rate(*pair)]
        if matched:
            mapped, plain = matched[len(matched) // 2]
            equal = self._summary.at_equal_rate(mapped, plain)
            return [self._summary.points[plain], self._summary.points[mapped]], equal[0]
        points = [point for point in self._summary.points if not point.is_reference]
        order = sorted(points, key=lambda point: next(iter(point.scores.values()))["rate_bpp"])
        return order[len(order) // 3 : len(order) // 3 + 1], images[0]

    def _overlay(self, score: Score, rows: Rows) -> Overlay | None:
        frame = self._frame(score)
        if frame is None:
            return None
        source, pristine, decoded = frame
        missing: dict[str, str] = {}
        error = np.abs(pristine.astype(np.int16) - decoded).max(axis=2).astype(np.float32)
        layers = [Layer("Error", error, "levels of 255", low=0.0, note="largest of R, G, B")]
        lost = self._lost(score)
        if lost is None:
            missing["Lost pixels"] = "no prediction of a segmentation"
        else:
            note = "predicted otherwise than on the pristine picture"
            layers.append(Layer("Lost pixels", lost, kind="mask", note=note))
        layers += self.importance(source, missing)
        layers += self.qp(score, missing)
        layers += self._bits(score, missing)
        title, blocks = (
            f"{source.name.name}, {self._names[score['configuration']]}",
            rows(score, source, pristine, decoded),
        )
        return Overlay(title, decoded, layers, missing=missing, blocks=blocks)

    def _lost(self, score: Score) -> NDArray[np.float32] | None:
        part = score["machine"]
        if part is None or not get_kind(part["kind"]).has_label_pictures:
            return None
        predictions = self.predictions(score)
        if predictions is None:
            return None
        lost: NDArray[np.float32] = (predictions[0] != predictions[1]).astype(np.float32)
        return lost

    def importance(self, source: Source, missing: dict[str, str]) -> list[Layer]:
        """The picture's importance, which the experiment's pixels count by; none, with the reason in `missing`."""
        try:
            known = ground_truth.read(self._data, source, self._weights)
        except JobError as error:
            missing["Importance"] = str(error)
            return []
        if known.importance is None:
            missing["Importance"] = known.notes.get("importance", "not known")
            return []
        return [Layer("Importance", known.importance, low=0.0, high=1.0)]

    def qp(self, score: Score, missing: dict[str, str]) -> list[Layer]:
        """The QP map that lies beside a mapped bitstream; none, with the reason in `missing`."""
        bitstream = PurePosixPath(score["bitstream"])
        path = self._data.root / bitstream.with_name(f"{bitstream.stem}_qp_map.csv")
        if score["qp_map"] is None or not path.is_file():
            missing["QP"] = "one for the whole picture" if score["qp_map"] is None else f"no {path.name}"
            return []
        unit, index = self._units[score["configuration"], score["source"]]
        try:
            values = np.array([[float(cell) for cell in row] for _, row in qp_map.read_cells(path)])
            if unit.coding.structure is not None:
                values = of_frame(values, index)
        except (RequestError, ValueError) as error:
            missing["QP"] = f"{path.name} is no map: {error}"
            return []
        block_px = score["qp_map"].get("block_size", 16) / score["subsampling_factor"]
        return [Layer("QP", values, block_px=block_px, note="as given to the encoder")]

    def _bits(self, score: Score, missing: dict[str, str]) -> list[Layer]:
        """Of a JPEG file, which says by its codes how many each block took."""
        path = self._data.root / score["bitstream"]
        if path.suffix != ".jpg":
            missing["Bits"] = "only JPEG files say how many bits a block took"
            return []
        try:
            data = path.read_bytes()
            (across, down), bits = jpeg_bits.unit_px(data), jpeg_bits.block_bits(data)
        except (OSError, ValueError) as error:
            missing["Bits"] = f"{path.name}: {error}"
            return []
        if across != down:
            missing["Bits"] = f"of blocks of {across}x{down} px, which are not drawn"
            return []
        block_px = across / score["subsampling_factor"]
        return [Layer("Bits", bits.astype(np.float32), "bits", low=0.0, block_px=block_px, note="of all components")]


def of_frame(rows: NDArray[np.float64], index: int) -> NDArray[np.float64]:
    """The QP map of one picture of the maps of a sequence, whose rows begin with their picture's number, from 0. Raises
    ValueError where it is not among them."""
    own: NDArray[np.float64] = rows[rows[:, 0] == index, 1:]
    if not own.size:
        raise ValueError(f"picture {index} is not in it")
    return own


def _goodness(score: Score) -> float:
    """By the main measure, so that more is better."""
    part = score["machine"]
    kind = get_kind(part["kind"])
    value = kind.correlated_score(part["pseudo"], part["classes"], kind.main)
    return 1.0 if value is None else -value if kind.main in kind.lower_is_better else value
