"""The block level: blocks of every accuracy are sampled from the predictions, and the metrics judge them alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.dataset import Source
from vcmbench.data.store import Store, job_key
from vcmbench.encoder.plugins import loses_nothing
from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.experiment import BlockSampling
from vcmbench.io.files import check_inside, sha256_of
from vcmbench.iqa import Scorer
from vcmbench.measure import ground_truth
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.blocks import published, sampler
from vcmbench.measure.blocks import state as block_state
from vcmbench.measure.blocks.sampler import Block
from vcmbench.measure.blocks.state import FOLDER, Reasons, SampledBlocks, Values
from vcmbench.measure.decoders import Decoded
from vcmbench.tasks import confusion
from vcmbench.tasks.predictions import prediction_path, read_prediction

_BATCH = 512
_MOST_BYTES = 1 << 28

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
_Cut = tuple[int, U8, U8, F32 | None]
"""A block's number, it in the pristine and in the decoded picture, and what a network is expected to change there."""

Decode = Callable[[Iterable[Unit]], Iterator[Decoded]]
"""What decodes every frame of some bitstreams, in order."""


class BlockLevel:
    """Samples and scores blocks of an experiment's pictures."""

    def __init__(self, store: Store, units: Sequence[Unit], classes: int, key: str) -> None:
        """`key` is of all predictions: blocks that were sampled from others are sampled again."""
        self._data, self._store, self._classes, self._key = store.data, store, classes, key
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
        for number, block in blocks.items():
            unit = self._by_name.get((block.image, block.configuration))
            if unit is None:
                raise RequestError(f"{path}: {block.image} in {block.configuration} is not measured in this experiment")
            width_px, height_px = unit.record["width_px"], unit.record["height_px"]
            if block.x + block.width > width_px or block.y + block.height > height_px:
                raise RequestError(
                    f"{path}: block {number!r}: {block.width}x{block.height} px at ({block.x}, {block.y}) is not "
                    f"inside the picture of {width_px}x{height_px} px"
                )
        return list(blocks.values())

    def of_file(self, path: Path) -> SampledBlocks:
        """The blocks of a file, with the accuracy that they have on the predictions here; a copy with that is kept."""
        blocks, name = self.named(path), name_of(path)
        key = job_key({"predictions": self._key, "sampler": sampler.VERSION,
                       "blocks": [[*block.box, block.image, block.configuration] for block in blocks]})  # fmt: skip
        if (before := self._kept(name, key)) is not None:
            return before
        blocks = self._with_accuracy(blocks)
        self._keep(name, key, blocks, ())
        return SampledBlocks(name, blocks, {}, {})

    def drawn(
        self, wanted: BlockSampling, size_px: int, seed: int, jobs: int, advance: Callable[[str], None]
    ) -> SampledBlocks:
        """Blocks of one size: those that were sampled before, or new ones.

        Raises RequestError where a stratum is empty; what `advance` raises goes through.
        """
        name = self.drawn_name(size_px)
        key = job_key({"predictions": self._key, "size_px": size_px, "count": wanted.count, "strata": wanted.strata,
                       "seed": seed, "sampler": sampler.VERSION})  # fmt: skip
        if (before := self._kept(name, key)) is not None:
            return before
        found = sampler.sample(
            sorted(self._by_name), sampler.Sources(self._pristine, self._decoded, self._void), wanted.count,
            (size_px, size_px), wanted.strata, seed, jobs, advance,
        )  # fmt: skip
        self._keep(name, key, list(found.blocks), found.notes)
        return SampledBlocks(name, list(found.blocks), {}, {}, found.notes)

    def drawn_name(self, size_px: int) -> str:
        """What drawn blocks of one size are called."""
        return f"{self._store.folder.name}_{size_px}x{size_px}"

    def recall(self, name: str, names: Sequence[str], missing: Mapping[str, str]) -> SampledBlocks | None:
        """What the last run, to which `missing` metrics were missing, found out about blocks of that name; None where
        it is not there."""
        state = block_state.read(self._store, name)
        before, known = self._kept(name, state.get("key")), state.get("metrics", {})
        if before is None:
            return None
        entries = {one: known[one] for one in names if one not in missing and one in known}
        count = len(before.blocks)
        if not all(block_state.is_of(entry, entry.get("key", ""), count) for entry in entries.values()):
            return None
        found = _with_scores(before, entries, {one: why for one, why in missing.items() if one in names}, names)
        return found if list(found.values) == list(names) else None

    def known(self, name: str, scorer: Scorer, names: Sequence[str]) -> SampledBlocks | None:
        """What earlier runs found out about blocks of that name, as far as it holds; None where the blocks do not."""
        state = block_state.read(self._store, name)
        if state.get("predictions") != self._key or state.get("sampler") != sampler.VERSION:
            return None
        if (before := self._kept(name, state.get("key"))) is None:
            return None
        entries = self._holding(before, scorer, [one for one in names if one not in scorer.missing])
        return _with_scores(before, entries, {}, names)

    def _path(self, name: str) -> Path:
        return self._store.folder / FOLDER / f"{name}_val_blocks.json"

    def _read(self, path: Path) -> dict[str, Block]:
        images = dict.fromkeys(source for source, _ in self._by_name)
        return published.from_published(path, published.read_blocks(path), images, self._codings)

    def _kept(self, name: str, key: str | None) -> SampledBlocks | None:
        """Blocks of that name and key, if their file is as it was written."""
        state, path = block_state.read(self._store, name), self._path(name)
        try:
            if key is None or state.get("key") != key or state.get("sha256") != _sha256(path):
                return None
            return SampledBlocks(name, list(self._read(path).values()), {}, {}, tuple(state.get("notes", ())))
        except (RequestError, OSError):
            return None

    def _keep(self, name: str, key: str, blocks: list[Block], notes: Sequence[str]) -> None:
        # the key last: without it the file of blocks does not count
        block_state.write(self._store, name, {**block_state.read(self._store, name), "key": None})
        check_inside(self._data.root, self._path(name))
        published.write_blocks(self._path(name), published.to_published(blocks, self._codings))
        known = {"key": key, "sha256": _sha256(self._path(name)), "notes": list(notes), "predictions": self._key,
                "sampler": sampler.VERSION}  # fmt: skip
        block_state.write(self._store, name, {**block_state.read(self._store, name), **known})

    def _with_accuracy(self, blocks: list[Block]) -> list[Block]:
        """Blocks of a file with the accuracy that they have on the predictions here."""
        found: list[Block] = list(blocks)
        groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for number, block in enumerate(blocks):
            groups[block.image, block.configuration].append(number)
        for (image, configuration), numbers in sorted(groups.items()):
            pristine, decoded = self._pristine(image), self._decoded(image, configuration)
            for number in numbers:
                block = blocks[number]
                pair = confusion.crop(decoded, block.box), confusion.crop(pristine, block.box)
                share = confusion.accuracy(confusion.confusion(*pair, self._classes))
                if share is None:
                    raise JobError(f"block {number} of {image}: the prediction on the pristine picture "
                                   "is void all over it, so it has no accuracy; leave it out")  # fmt: skip
                found[number] = replace(block, accuracy=share)
        return found

    def _pristine(self, image: str) -> NDArray[np.uint8]:
        return read_prediction(prediction_path(self._data.root, self._sources[image].name), None, self._classes)

    def _decoded(self, image: str, configuration: str) -> NDArray[np.uint8]:
        path = prediction_path(self._data.root, self._sources[image].name, configuration)
        return read_prediction(path, None, self._classes)

    def _void(self, image: str) -> NDArray[np.bool_] | None:
        return ground_truth.void(self._data, self._sources[image])

    # --- what the metrics say of them

    def score(
        self, sampled: SampledBlocks, scorer: Scorer, names: Sequence[str], decode: Decode,
        advance: Callable[[int], None], *, force: bool,
    ) -> SampledBlocks:  # fmt: skip
        """The blocks with the metrics' scores; what is known from an earlier run is kept. `decode` is what makes
        pictures of bitstreams, `advance` is called with the number of blocks that were scored.

        Raises JobError where a picture cannot be read or decoded, Cancelled where the run is to end.
        """
        wanted = [name for name in names if name not in scorer.missing]
        entries = {} if force else self._holding(sampled, scorer, wanted)
        if lacking := [name for name in wanted if name not in entries]:
            keys = self._keys(sampled, scorer, lacking)
            values, why = self._compute(sampled.blocks, scorer, lacking, decode, advance)
            fresh = {name: {"key": keys[name], "values": values[name], "reasons": why[name]} for name in lacking}
            entries |= fresh
            state = block_state.read(self._store, sampled.name)
            # what is known of metrics that are missing today stays there
            block_state.write(self._store, sampled.name, {**state, "metrics": {**state.get("metrics", {}), **fresh}})
        found = _with_scores(
            sampled, entries, {name: why for name, why in scorer.missing.items() if name in names}, names
        )
        self._write_metrics(found)
        return found

    def _keys(self, sampled: SampledBlocks, scorer: Scorer, names: Iterable[str]) -> dict[str, str]:
        """What decides each metric's scores of these blocks."""
        records = [self._by_name[block.image, block.configuration].record for block in sampled.blocks]
        codings = sorted({(record["key"], record["bitstream_sha256"]) for record in records})
        blocks_key = job_key({"blocks": [[*block.box, block.image, block.configuration] for block in sampled.blocks],
                              "codings": codings})  # fmt: skip
        return {name: job_key({"blocks": blocks_key, "metric": scorer.identity(name)}) for name in names}

    def _holding(self, sampled: SampledBlocks, scorer: Scorer, names: Iterable[str]) -> dict[str, Any]:
        """What was remembered of these metrics, where it holds."""
        known, count = block_state.read(self._store, sampled.name).get("metrics", {}), len(sampled.blocks)
        return {name: known[name] for name, key in self._keys(sampled, scorer, names).items()
                if block_state.is_of(known.get(name), key, count)}  # fmt: skip

    def _compute(
        self, blocks: list[Block], scorer: Scorer, names: list[str], decode: Decode, advance: Callable[[int], None]
    ) -> tuple[Values, Reasons]:
        values: Values = {name: [None] * len(blocks) for name in names}
        reasons: Reasons = {name: {} for name in names}
        scored = 0

        def look(pristine: U8, decoded: U8) -> F32 | None:
            try:
                return scorer.flips(pristine, decoded, names)
            except JobError:  # said of the whole picture; its blocks have no value, and other metrics do
                return np.full(pristine.shape[:2], np.nan, np.float32)

        for numbers, pristine, pictures, flips in self._batches(blocks, decode, look):
            found = scorer.score(pristine, pictures, names, flips)
            for name in names:
                for row, number in enumerate(numbers):
                    values[name][number], why = found.at(name, row)
                    if why:
                        reasons[name].setdefault(why, []).append(number)
            scored += len(numbers)
            advance(len(numbers))
        if scored < len(blocks):  # a bitstream was not decoded to its end, which only happens to a run that is stopped
            raise Cancelled
        return values, reasons

    def _batches(
        self, blocks: list[Block], decode: Decode, look: Callable[[U8, U8], F32 | None]
    ) -> Iterator[tuple[list[int], U8, U8, F32 | None]]:
        """Blocks of one size, cut out of pristine and decoded pictures, and out of what `look` makes of whole ones:
        every bitstream is decoded once."""
        groups: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
        for number, block in enumerate(blocks):
            unit = self._by_name[block.image, block.configuration]
            groups[unit.record["bitstream"]].setdefault(block.image, []).append(number)
        units = [unit for unit in self._units if unit.record["bitstream"] in groups]
        waiting: dict[tuple[int, int], list[_Cut]] = defaultdict(list)
        last: tuple[Source, str, NDArray[np.uint8]] | None = None
        for frame in decode(units):
            if frame.error is not None:
                raise frame.error
            source = frame.unit.sources[frame.index]
            numbers = groups[frame.unit.record["bitstream"]].get(str(source.name), [])
            if not numbers or frame.picture is None:
                continue
            which = source, frame.unit.pristine_sha256(frame.index)
            if last is None or last[:2] != which:
                last = *which, frame.unit.pristine(frame.index).rgb
            flips = look(last[2], frame.picture)
            for number in numbers:
                box = blocks[number].box
                pair = confusion.crop(last[2], box).copy(), confusion.crop(frame.picture, box).copy()
                waiting[box[2:]].append((number, *pair, None if flips is None else confusion.crop(flips, box).copy()))
            for size, entries in list(waiting.items()):
                if len(entries) >= _BATCH:
                    yield _stacked(waiting.pop(size))
        for entries in waiting.values():
            yield _stacked(entries)

    def _write_metrics(self, sampled: SampledBlocks) -> None:
        table = {
            str(number): {"acc": block.accuracy, **{name: column[number] for name, column in sampled.values.items()}}
            for number, block in enumerate(sampled.blocks)
        }
        path = self._store.folder / FOLDER / f"{sampled.name}_val_metrics.json"
        check_inside(self._data.root, path)
        published.write_metrics(path, table)


def _with_scores(
    sampled: SampledBlocks, entries: Mapping[str, Any], missing: Mapping[str, str], names: Iterable[str]
) -> SampledBlocks:
    """The blocks with what is known of metrics, and with those that are missing for all of them, by their reasons."""
    count = len(sampled.blocks)
    every = {name: {"values": [None] * count, "reasons": {why: list(range(count))}} for name, why in missing.items()}
    found = {name: (every | dict(entries))[name] for name in names if name in every or name in entries}
    return replace(
        sampled,
        values={name: entry["values"] for name, entry in found.items()},
        reasons={name: entry["reasons"] for name, entry in found.items()},
    )


def _is_reference(unit: Unit) -> bool:
    coding = unit.coding
    return loses_nothing(coding.encoder, coding.color_subsampling, coding.subsampling_factor)


def _sha256(path: Path) -> str:
    return sha256_of(path, _MOST_BYTES)


def name_of(path: Path) -> str:
    """What the blocks of a file are called."""
    return path.name.removesuffix(".json").removesuffix("_val_blocks")


def _stacked(cuts: list[_Cut]) -> tuple[list[int], U8, U8, F32 | None]:
    numbers, pristine, pictures, flips = zip(*cuts, strict=True)
    return list(numbers), np.stack(pristine), np.stack(pictures), None if flips[0] is None else np.stack(flips)
