"""The block level: blocks of every accuracy are sampled from the predictions, and the metrics judge them alone."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import perception
from vcmbench.blocks import published, sampler
from vcmbench.blocks.sampler import Block
from vcmbench.dataset import DataRoot, Source
from vcmbench.errors import Cancelled, RequestError
from vcmbench.experiment import Blocks
from vcmbench.iqa import Scorer
from vcmbench.measure import truth
from vcmbench.measure.decoding import decoded
from vcmbench.measure.statistics import loses_nothing
from vcmbench.measure.units import Unit
from vcmbench.runner.base import Runner
from vcmbench.store import Store, job_key
from vcmbench.tasks.predictions import prediction_path, read_prediction

FOLDER = "blocks"
_BATCH = 512

Values = dict[str, list[float | None]]


@dataclass(frozen=True)
class Sampled:
    """Blocks of one size and what the metrics say of each: `values[name][block]`, None where `reasons[name]` says
    why."""

    name: str
    blocks: list[Block]
    values: Values
    reasons: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        sizes = {f"{block.width}x{block.height}" for block in self.blocks}
        return sizes.pop() if len(sizes) == 1 else "mixed"


class BlockLevel:
    """Samples and scores blocks of an experiment's pictures."""

    def __init__(self, data: DataRoot, store: Store, units: Sequence[Unit], classes: int, key: str) -> None:
        """`key` is of all predictions: blocks that were sampled from others are sampled again."""
        self._data, self._store, self._classes, self._key = data, store, classes, key
        self._units = [unit for unit in units if not _is_reference(unit)]
        self._sources = {str(source.name): source for unit in units for source in unit.sources}
        self._codings = {unit.folder: published.coding_of(unit.coding) for unit in self._units}
        self._by_name = {(str(source.name), unit.folder): unit for unit in self._units for source in unit.sources}

    @property
    def pairs(self) -> int:
        """How many pictures and configurations there are to sample from."""
        return len(self._by_name)

    # --- which blocks

    def named(self, path: Path) -> list[Block]:
        """The blocks that a file names. Raises RequestError where it is none, or names what is not measured here."""
        blocks = self._read(path)
        for block in blocks:
            if (block.image, block.configuration) not in self._by_name:
                raise RequestError(f"{path}: {block.image} in {block.configuration} is not measured in this experiment")
        return blocks

    def of_file(self, path: Path) -> Sampled:
        """The blocks of a file, with the accuracy that they have on the predictions here; a copy with that is kept."""
        blocks, name = self.named(path), _name_of(path)
        key = job_key({"predictions": self._key, "blocks": [[*block.box, block.image, block.configuration]
                                                            for block in blocks]})  # fmt: skip
        if (before := self._kept(name, key)) is not None:
            return before
        blocks = self._with_accuracy(blocks)
        self._keep(name, key, blocks, ())
        return Sampled(name, blocks, {}, {})

    def drawn(self, wanted: Blocks, size_px: int, seed: int, jobs: int, advance: Callable[[str], None]) -> Sampled:
        """Blocks of one size: those that were sampled before, or new ones.

        Raises RequestError where a stratum is empty; what `advance` raises goes through.
        """
        name = f"{self._store.folder.name}_{size_px}x{size_px}"
        key = job_key({"predictions": self._key, "size_px": size_px, "count": wanted.count, "strata": wanted.strata,
                       "seed": seed})  # fmt: skip
        if (before := self._kept(name, key)) is not None:
            return before
        found = sampler.sample(
            sorted(self._by_name), sampler.Sources(self._pristine, self._decoded, self._void), wanted.count, size_px,
            size_px, wanted.strata, seed, jobs, advance,
        )  # fmt: skip
        self._keep(name, key, list(found.blocks), found.notes)
        return Sampled(name, list(found.blocks), {}, {}, found.notes)

    def recall(self, name: str, names: Sequence[str]) -> Sampled | None:
        """What the last run found out about blocks of that name; None where it is not there."""
        state = self._state(name)
        before, known = self._kept(name, state.get("key")), state.get("metrics", {})
        if before is None or any(len(known.get(one, {}).get("values", ())) != len(before.blocks) for one in names):
            return None
        reasons = {one: known[one]["reason"] for one in names if known[one]["reason"]}
        return replace(before, values={one: known[one]["values"] for one in names}, reasons=reasons)

    def _place(self, name: str) -> Path:
        return self._store.folder / FOLDER / f"{name}_val_blocks.json"

    def _read(self, path: Path) -> list[Block]:
        images = dict.fromkeys(source for source, _ in self._by_name)
        return list(published.from_published(path, published.read_blocks(path), images, self._codings).values())

    def _kept(self, name: str, key: str | None) -> Sampled | None:
        """Blocks of that name and key, if their file is as it was written."""
        state, place = self._state(name), self._place(name)
        try:
            if key is None or state.get("key") != key or state.get("sha256") != _sha256(place):
                return None
            return Sampled(name, self._read(place), {}, {}, tuple(state.get("notes", ())))
        except (RequestError, OSError):
            return None

    def _keep(self, name: str, key: str, blocks: list[Block], notes: Sequence[str]) -> None:
        # the key last: without it the file of blocks does not count
        self._write_state(name, {**self._state(name), "key": None})
        published.write_blocks(self._place(name), published.to_published(blocks, self._codings))
        told = {"key": key, "sha256": _sha256(self._place(name)), "notes": list(notes)}
        self._write_state(name, {**self._state(name), **told})

    def _with_accuracy(self, blocks: list[Block]) -> list[Block]:
        """Blocks of a file with the accuracy that they have on the predictions here."""
        found: list[Block] = list(blocks)
        groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for number, block in enumerate(blocks):
            groups[block.image, block.configuration].append(number)
        for (image, configuration), numbers in sorted(groups.items()):
            same = self._pristine(image) == self._decoded(image, configuration)
            for number in numbers:
                block = blocks[number]
                share = float(perception.crop(same, block.box).mean())
                found[number] = Block(image, configuration, *block.box, accuracy=share)
        return found

    def _pristine(self, image: str) -> NDArray[np.uint8]:
        return read_prediction(prediction_path(self._data.root, self._sources[image].name), None, self._classes)

    def _decoded(self, image: str, configuration: str) -> NDArray[np.uint8]:
        path = prediction_path(self._data.root, self._sources[image].name, configuration)
        return read_prediction(path, None, self._classes)

    def _void(self, image: str) -> NDArray[np.bool_] | None:
        return truth.read(self._data, self._sources[image]).void

    # --- what the metrics say of them

    def score(
        self, sampled: Sampled, scorer: Scorer, names: Sequence[str], runner: Runner, jobs: int, timeout_s: float,
        is_stopped: Callable[[], bool], advance: Callable[[int], None], *, force: bool,
    ) -> Sampled:  # fmt: skip
        """The blocks with the metrics' scores; what is known from an earlier run is kept.

        Raises JobError where a picture cannot be read or decoded, Cancelled where the run is to end.
        """
        records = [self._by_name[block.image, block.configuration].record for block in sampled.blocks]
        codings = sorted({(record["key"], record["bitstream_sha256"]) for record in records})
        blocks_key = job_key({"blocks": [[*block.box, block.image, block.configuration] for block in sampled.blocks],
                              "codings": codings})  # fmt: skip
        wanted = [name for name in names if name not in scorer.missing]
        keys = {name: job_key({"blocks": blocks_key, "metric": scorer.identity(name)}) for name in wanted}
        state = self._state(sampled.name)
        kept = {} if force else {name: entry for name, entry in state.get("metrics", {}).items()
                                 if name in keys and entry.get("key") == keys[name]
                                 and len(entry.get("values", ())) == len(sampled.blocks)}  # fmt: skip
        lacking = [name for name in wanted if name not in kept]
        values: Values = {name: entry["values"] for name, entry in kept.items()}
        reasons: dict[str, str] = {name: entry["reason"] for name, entry in kept.items() if entry["reason"]}
        if lacking:
            fresh, why = self._compute(sampled.blocks, scorer, lacking, runner, jobs, timeout_s, is_stopped, advance)
            values, reasons = values | fresh, reasons | why
        values |= {name: [None] * len(sampled.blocks) for name in names if name in scorer.missing}
        reasons |= {name: why for name, why in scorer.missing.items() if name in names}
        ordered = {name: values[name] for name in names}
        metrics = {name: {"key": keys.get(name, ""), "values": ordered[name], "reason": reasons.get(name)}
                   for name in names}  # fmt: skip
        self._write_state(sampled.name, {**state, "metrics": {**state.get("metrics", {}), **metrics}})
        self._write_metrics(sampled, ordered)
        return Sampled(sampled.name, sampled.blocks, ordered, reasons, sampled.notes)

    def _compute(
        self, blocks: list[Block], scorer: Scorer, names: list[str], runner: Runner, jobs: int, timeout_s: float,
        is_stopped: Callable[[], bool], advance: Callable[[int], None],
    ) -> tuple[Values, dict[str, str]]:  # fmt: skip
        values: Values = {name: [None] * len(blocks) for name in names}
        reasons: dict[str, str] = {}
        scored = 0
        for numbers, pristine, pictures in self._batches(blocks, runner, jobs, timeout_s, is_stopped):
            found = scorer.score(pristine, pictures, names)
            for name in names:
                for row, number in enumerate(numbers):
                    values[name][number], why = found.at(name, row)
                    if why:
                        reasons.setdefault(name, why)
            scored += len(numbers)
            advance(len(numbers))
        if scored < len(blocks):  # a bitstream was not decoded to its end, which only happens to a run that is stopped
            raise Cancelled
        return values, reasons

    def _batches(
        self, blocks: list[Block], runner: Runner, jobs: int, timeout_s: float, is_stopped: Callable[[], bool]
    ) -> Iterator[tuple[list[int], NDArray[np.uint8], NDArray[np.uint8]]]:
        """Blocks of one size, cut out of pristine and decoded pictures: every bitstream is decoded once."""
        groups: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
        for number, block in enumerate(blocks):
            unit = self._by_name[block.image, block.configuration]
            groups[unit.record["bitstream"]].setdefault(block.image, []).append(number)
        units = [unit for unit in self._units if unit.record["bitstream"] in groups]
        waiting: dict[tuple[int, int], list[tuple[int, Any, Any]]] = defaultdict(list)
        last: tuple[Source, str, NDArray[np.uint8]] | None = None
        for frame in decoded(units, self._data.root, runner, jobs, timeout_s, is_stopped):
            if frame.error is not None:
                raise frame.error
            source = frame.unit.sources[frame.index]
            numbers = groups[frame.unit.record["bitstream"]].get(str(source.name), [])
            if not numbers or frame.picture is None:
                continue
            which = source, frame.unit.pristine_sha256(frame.index)
            if last is None or last[:2] != which:
                last = *which, frame.unit.pristine(frame.index).rgb
            for number in numbers:
                box = blocks[number].box
                pair = perception.crop(last[2], box).copy(), perception.crop(frame.picture, box).copy()
                waiting[box[2:]].append((number, *pair))
            for size, entries in list(waiting.items()):
                if len(entries) >= _BATCH:
                    yield _stacked(waiting.pop(size))
        for entries in waiting.values():
            yield _stacked(entries)

    def _write_metrics(self, sampled: Sampled, values: Values) -> None:
        table = {
            str(number): {"acc": block.accuracy, **{name: column[number] for name, column in values.items()}}
            for number, block in enumerate(sampled.blocks)
        }
        published.write_metrics(self._store.folder / FOLDER / f"{sampled.name}_val_metrics.json", table)

    # --- what is remembered between runs

    def _state(self, name: str) -> dict[str, Any]:
        try:
            state = json.loads((self._store.folder / FOLDER / f"{name}.state.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        is_state = isinstance(state, dict) and isinstance(state.get("metrics", {}), dict)
        return state if is_state else {}

    def _write_state(self, name: str, state: dict[str, Any]) -> None:
        self._store.write_table(f"{FOLDER}/{name}.state.json", json.dumps(state, allow_nan=False).encode())


def _is_reference(unit: Unit) -> bool:
    coding = unit.coding
    return loses_nothing(coding.encoder, coding.color_subsampling, coding.subsampling_factor)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _name_of(path: Path) -> str:
    return path.name.removesuffix(".json").removesuffix("_val_blocks")


def _stacked(
    entries: list[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]],
) -> tuple[list[int], NDArray[np.uint8], NDArray[np.uint8]]:
    numbers, pristine, pictures = zip(*entries, strict=True)
    return list(numbers), np.stack(pristine), np.stack(pictures)
