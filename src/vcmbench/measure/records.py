"""Score records: one JSON for each picture and configuration, written when all that was asked of it is known.

`DATA/results/<experiment>/scores/<configuration>/<picture>.json` holds the machine's counts and each metric's score,
each with the key of what decided it. So a new metric computes itself alone, and another network only its own part.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from vcmbench.data.dataset import Source
from vcmbench.data.store import Store, job_key
from vcmbench.encoder import plugins
from vcmbench.io.files import check_inside
from vcmbench.io.sealed import read_sealed, sealed_json
from vcmbench.io.validation import Loose, Strict, is_valid
from vcmbench.measure.bitstreams import Unit
from vcmbench.tasks import kind as kinds

SCHEMA_VERSION = 1
SCORES = "scores"
PRISTINE = "pristine"

Score = dict[str, Any]
FOUND_OUT = ("machine", "iqa", "decoded_sha256")
"""The parts of a record that measuring adds; all else comes from compression."""

AGAINST = ("pseudo", "labels")
"""The truths that an answer is held against."""
COUNTED = 1
"""To be raised with every change of what is counted of answers: it is part of the scores' keys."""

_MAX_BYTES = 1 << 24

_COPIED = (
    "encoder", "quality", "color_subsampling", "subsampling_factor", "qp_map", "match_rate", "target_bpp", "width_px",
    "height_px", "bitstream", "size_bytes", "rate_bpp", "psnr_y_db", "coded_qp", "frames", "bitstream_sha256",
)  # fmt: skip


def machine_key(answer: str, truth: str) -> str:
    """What decides a record's machine part: the key of the answer, the digest of the truth, and how it is counted."""
    return job_key({"answer": answer, "truth": truth, "counts": COUNTED})


class _Metric(Strict):
    """A metric's score of one picture: a value, or the reason why there is none."""

    value: float | None
    reason: str | None
    key: str


class _Machine(Loose):
    """What a machine made of one picture, as counts; a kind of task may keep more."""

    key: str
    kind: str
    classes: Annotated[int, Field(ge=0, lt=1 << 20)]
    pseudo: Any
    labels: Any
    answer: int = Field(default=0, alias="class", ge=0)
    names: dict[str, str] = Field(default={})
    notes: dict[str, str] = Field(default={})
    identity: dict[str, Any] = Field(default={})
    truth: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        kind = kinds.discover().get(self.kind)
        parts = [one for one in (self.pseudo, self.labels) if one is not None]
        if kind is None or not all(kinds.is_part(kind, one, self.classes) for one in parts):
            raise ValueError("counts that no kind of task makes")
        if "answer" in self.model_fields_set and self.answer >= self.classes:
            raise ValueError("a class that is not there")
        return self


class _ScoreRecord(Loose):
    """What is relied upon of a record: it may have been edited or damaged."""

    schema_version: Literal[1]
    iqa: dict[str, _Metric]
    machine: _Machine | None
    source: str = ""
    configuration: str = PRISTINE
    width_px: int = 0
    height_px: int = 0

    @model_validator(mode="after")
    def _counts_fit(self) -> Self:
        """No more pixels are counted than the picture has; the record of a pristine picture has no size."""
        machine, most = self.machine, self.width_px * self.height_px
        for part in (machine.pseudo, machine.labels) if machine is not None and most else ():
            for triplets in [part.get("confusion", []), *(part.get("bands") or [])] if part is not None else ():
                if sum(pixels for _, _, pixels in triplets) > most:
                    raise ValueError("more pixels than the picture has")
        return self


class ScoreStore:
    """The score records of one experiment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.folder = store.folder / SCORES

    def name(self, folder: str, source: Source) -> str:
        return f"{SCORES}/{folder}/{source.name}.json"

    def read(self, folder: str, source: Source) -> Score | None:
        """A record; None where there is none that can be read."""
        return read(self._store.folder / self.name(folder, source))

    def write(self, folder: str, source: Source, score: Score) -> None:
        self._store.write_table(self.name(folder, source), sealed_json(score, sort_keys=True))

    def drop(self, folder: str, source: Source) -> None:
        """Remove a record: what it says holds no longer, and nothing took its place."""
        path = self._store.folder / self.name(folder, source)
        check_inside(self._store.data.root, path)
        path.unlink(missing_ok=True)

    def all(self, units: list[Unit]) -> Iterator[Score]:
        """The records of these units, in their order; what is not there is left out."""
        for unit in units:
            for source in unit.sources:
                if (score := self.read(unit.folder, source)) is not None:
                    yield score


def read(path: Path) -> Score | None:
    """A record as it was written; None where it is missing, damaged, edited, in another's place or of another
    schema."""
    try:
        score = read_sealed(path, _MAX_BYTES)
    except (OSError, ValueError):
        return None
    return score if is_valid(_ScoreRecord, score) and _is_in_place(score, path) else None


def _is_in_place(score: Score, path: Path) -> bool:
    """Whether it lies where `ScoreStore.name` puts it: records may have been copied over one another."""
    own = PurePosixPath(score.get("configuration", PRISTINE), f"{score.get('source', '')}.json").parts
    return path.parts[-len(own) :] == own


def begin(unit: Unit, index: int) -> Score:
    """The record of a picture before anything is known: whose it is, and what it cost."""
    record, source = unit.record, unit.sources[index]
    copied = {name: record[name] for name in _COPIED}
    search = record.get("rate_search") or {}
    if "frame_psnr_y_db" in record:  # what a stack's record calls psnr_y_db is the mean of its pictures
        copied["psnr_y_db"] = record["frame_psnr_y_db"][index]
    if "fps" in record:
        copied["fps"] = record["fps"]
    if sizes := record.get("coded_frames", {}).get("size_bytes"):  # a sequence's pictures differ in what they cost
        copied["rate_bpp"] = sizes[index] * 8 / (record["width_px"] * record["height_px"])
    return {
        "schema_version": SCHEMA_VERSION,
        "configuration": unit.folder,
        "label": plugins.get(unit.coding.encoder).label,
        "options": " ".join(unit.coding.extras),
        "source": str(source.name),
        "group": str(source.group),
        "frame": index,
        "compression_key": record["key"],
        **copied,
        "map_method": (record.get("map") or {}).get("method"),
        "size_error": search.get("size_error"),
        "is_equal": search.get("is_equal"),
        "decoded_sha256": None,
        "machine": None,
        "iqa": {},
    }
