"""The block level: blocks of every accuracy are sampled from the predictions, and the metrics judge them alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import perception
from vcmbench.blocks import published, sampler
from vcmbench.blocks.sampler import Block
from vcmbench.dataset import DataRoot, Source, read_picture
from vcmbench.errors import RequestError
from vcmbench.experiment import Blocks
from vcmbench.iqa import Scorer
from vcmbench.measure import truth
from vcmbench.measure.decoding import decoded
from vcmbench.measure.statistics import REFERENCES
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


class BlockLevel:
    """Samples and scores blocks of an experiment's pictures."""

    def __init__(self, data: DataRoot, store: Store, units: Sequence[Unit], classes: int, key: str) -> None:
        """`key` is of all predictions: blocks that were sampled from others are sampled again."""
        self._data, self._store, self._classes, self._key = data, store, classes, key
        self._units = [unit for unit in units if unit.coding.encoder not in REFERENCES]
        self._sources = {str(source.name): source for unit in units for source in unit.sources}
        self._codings = {unit.folder: published.coding_of(unit.coding) for unit in self._units}
        self._by_name = {(str(source.name), unit.folder): unit for unit in self._units for source in unit.sources}

    @property
    def pairs(self) -> int:
        """How many pictures and configurations there are to sample from."""
        return len(self._by_name)

    # --- which blocks

    def blocks(self, wanted: Blocks, size_px: int, seed: int, jobs: int, advance: Callable[[str], None]) -> Sampled:
        """The blocks of one size: those of the file that is named, those that were sampled before, or new ones.

        Raises RequestError where the file cannot be used, or a stratum is empty.
        """
        if wanted.file is not None:
            path = Path(wanted.file)
            table = published.read_blocks(path)
            names = dict.fromkeys(name for name, _ in self._by_name)
            named = published.from_published(path, table, names, self._codings)
            self._check_there(path, named.values())
            name = _name_of(path)
            return Sampled(name, self._with_accuracy(list(named.values())), {}, {})
        name = f"{self._store.folder.name}_{size_px}x{size_px}"
        key = job_key({"predictions": self._key, "blocks": wanted.model_dump(), "size_px": size_px, "seed": seed})
        path = self._store.folder / FOLDER / f"{name}_val_blocks.json"
        state = self._state(name)
        if state.get("key") == key and path.is_file():
            names = dict.fromkeys(source for source, _ in self._by_name)
            before = published.from_published(path, published.read_blocks(path), names, self._codings)
            return Sampled(name, list(before.values()), {}, {}, tuple(state.get("notes", ())))
        pairs = sorted(self._by_name)
        found = sampler.sample(
            pairs, sampler.Sources(self._pristine, self._decoded, self._void), wanted.count, size_px, size_px,
            wanted.strata, seed, jobs, advance,
        )  # fmt: skip
        published.write_blocks(path, published.to_published(found.blocks, self._codings))
        self._write_state(name, {"key": key, "notes": list(found.notes), "metrics": {}})
        return Sampled(name, list(found.blocks), {}, {}, found.notes)

    def recall(self, wanted: Blocks, size_px: int, names: Sequence[str]) -> Sampled | None:
        """What an earlier run found out about blocks of one size; None where there was none."""
        name = _name_of(Path(wanted.file)) if wanted.file else f"{self._store.folder.name}_{size_px}x{size_px}"
        path = Path(wanted.file) if wanted.file else self._store.folder / FOLDER / f"{name}_val_blocks.json"
        known = self._state(name).get("metrics", {})
        if not path.is_file() or not known:
            return None
        images = dict.fromkeys(source for source, _ in self._by_name)
        blocks = list(published.from_published(path, published.read_blocks(path), images, self._codings).values())
        if wanted.file:
            blocks = self._with_accuracy(blocks)
        entries = {one: known[one] for one in names if len(known.get(one, {}).get("values", ())) == len(blocks)}
        return Sampled(
            name, blocks, {one: entry["values"] for one, entry in entries.items()},
            {one: entry["reason"] for one, entry in entries.items() if entry["reason"]},
        )  # fmt: skip

    def _check_there(self, path: Path, blocks: Any) -> None:
        for block in blocks:
            if (block.image, block.configuration) not in self._by_name:
                raise RequestError(f"{path}: {block.image} in {block.configuration} is not measured in this experiment")

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

        Raises JobError where a picture cannot be read or decoded.
        """
        blocks_key = job_key({"blocks": [[*block.box, block.image, block.configuration] for block in sampled.blocks],
                              "codings": sorted({self._by_name[b.image, b.configuration].record["key"]
                                                 for b in sampled.blocks})})  # fmt: skip
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
        metrics = {name: {"key": keys[name], "values": ordered[name], "reason": reasons.get(name)} for name in wanted}
        self._write_state(sampled.name, state | {"metrics": metrics})
        self._write_metrics(sampled, ordered)
        return Sampled(sampled.name, sampled.blocks, ordered, reasons, sampled.notes)

    def _compute(
        self, blocks: list[Block], scorer: Scorer, names: list[str], runner: Runner, jobs: int, timeout_s: float,
        is_stopped: Callable[[], bool], advance: Callable[[int], None],
    ) -> tuple[Values, dict[str, str]]:  # fmt: skip
        values: Values = {name: [None] * len(blocks) for name in names}
        reasons: dict[str, str] = {}
        for numbers, pristine, pictures in self._batches(blocks, runner, jobs, timeout_s, is_stopped):
            found = scorer.score(pristine, pictures, names)
            for name in names:
                for row, number in enumerate(numbers):
                    values[name][number], why = found.at(name, row)
                    if why:
                        reasons.setdefault(name, why)
            advance(len(numbers))
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
        last: tuple[Source, NDArray[np.uint8]] | None = None
        for frame in decoded(units, self._data.root, runner, jobs, timeout_s, is_stopped):
            if frame.error is not None:
                raise frame.error
            source = frame.unit.sources[frame.index]
            numbers = groups[frame.unit.record["bitstream"]].get(str(source.name), [])
            if not numbers or frame.picture is None:
                continue
            if last is None or last[0] != source:
                last = source, read_picture(source.path).rgb
            for number in numbers:
                box = blocks[number].box
                pair = perception.crop(last[1], box).copy(), perception.crop(frame.picture, box).copy()
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
        return state if isinstance(state, dict) else {}

    def _write_state(self, name: str, state: dict[str, Any]) -> None:
        self._store.write_table(f"{FOLDER}/{name}.state.json", json.dumps(state, allow_nan=False).encode())


def _name_of(path: Path) -> str:
    return path.name.removesuffix(".json").removesuffix("_val_blocks")


def _stacked(
    entries: list[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]],
) -> tuple[list[int], NDArray[np.uint8], NDArray[np.uint8]]:
    numbers, pristine, pictures = zip(*entries, strict=True)
    return list(numbers), np.stack(pristine), np.stack(pictures)
