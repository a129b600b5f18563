"""What an experiment made and has on disk, file by file; what is not known to be its own is no part of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vcmbench.data import sums
from vcmbench.data.record import Record, read_record
from vcmbench.data.store import Store
from vcmbench.io.files import check_inside, sha256_of
from vcmbench.measure import records
from vcmbench.measure.records import SCORES
from vcmbench.tasks.kind import answer_files
from vcmbench.tasks.predictions import prediction_path

KINDS = ("bitstreams", "records", "scores", "predictions", "tables")
_TABLES = (
    "compression.csv", "compression.state.json", "equal_rate.csv", "image_scores.csv", "image_scores.parquet",
    "block_scores.csv", "block_scores.parquet", "points.csv", "points.parquet", "classes.csv", "classes.parquet",
    "correlation_*.json", "bd.json", "measured.json", "plan.json", "runs.jsonl", *sums.NAMES, "report.html",
    "blocks/*.state.json", "blocks/*_val_blocks.json", "blocks/*_val_metrics.json",
    "stability/**/*.json", "ledger/*/*.parquet", "smallest.csv", "smallest.toml",
    *(f"figures/{name}.{kind}" for kind in ("pdf", "svg")
      for name in ("*_pseudo", "*_labels", "*_pristine", "scatter", "correlation_*", "damage_*", "mapped_uniform")),
)  # fmt: skip
"""Names that our tables have in the experiment's folder."""


def holdings(store: Store, *, is_exact: bool = False) -> dict[str, list[Path]]:
    """The files of an experiment by kind (`KINDS`).

    Bitstreams and predictions that other experiments of the data root have records of, too, are left out, and so is
    whatever lies behind a link, has another size than its record says (`is_exact`: other content, too, for which all of
    it is read), is no record, or bears no key of ours.
    """
    own = list(_records(store))
    scores = list(_scores(store))
    found = {
        "bitstreams": [path for _, record in own for path in _coded(store, record, is_exact)],
        "records": [path for path, _ in own],
        "scores": [path for path, _, _ in scores],
        "predictions": list(_predictions(store, scores)),
        "tables": sorted(path for pattern in _TABLES for path in store.folder.glob(pattern)),
    }
    return {kind: [path for path in paths if _is_ours(store, path)] for kind, paths in found.items()}


def remove(store: Store, paths: list[Path]) -> None:
    """Remove these files, and the folders below the data root that nothing is left in. Raises OSError."""
    folders = {folder for path in paths for folder in path.parents if folder.is_relative_to(store.data.root)}
    for path in paths:
        check_inside(store.data.root, path)
        path.unlink(missing_ok=True)
    for folder in sorted(folders - {store.data.root}, key=lambda folder: -len(folder.parts)):
        inside = list(folder.iterdir()) if folder.is_dir() else []
        if folder.parent == store.data.root and all(store.data.is_label_link(path) for path in inside):
            for link in inside:
                link.unlink()
            inside = []
        if not inside and folder.is_dir() and not folder.is_symlink():
            folder.rmdir()


def _is_ours(store: Store, path: Path) -> bool:
    """Whether a file lies where its path says: behind a link it may be another experiment's."""
    root = store.data.root
    is_direct = path.parent.resolve() == root.resolve() / path.parent.relative_to(root)
    return is_direct and path.is_file() and not path.is_symlink()


def _files(folder: Path) -> Iterator[Path]:
    for below, names, files in os.walk(folder):
        names.sort()
        yield from (Path(below, name) for name in sorted(files) if name.endswith(".json"))


def _records(store: Store) -> Iterator[tuple[Path, Record]]:
    for path in _files(store.records):
        record = read_record(path)
        if record is not None and store.record_path(PurePosixPath(record["bitstream"])) == path:
            yield path, record


def _coded(store: Store, record: Record, is_exact: bool) -> Iterator[Path]:
    """A record's bitstream and what was written beside it."""
    place = PurePosixPath(record["bitstream"])
    if _is_shared(store, place):
        return
    path = store.data.root / place
    if path.is_file() and path.stat().st_size == record["size_bytes"]:
        known = {path.name: record["bitstream_sha256"], **record.get("files", {})}
        for name, sha256 in known.items():
            beside = path.with_name(name)
            if not is_exact or (beside.is_file() and sha256_of(beside, beside.stat().st_size) == sha256):
                yield beside


def shared(store: Store) -> int:
    """How many bitstreams of an experiment others of the data root have records of, too."""
    return sum(_is_shared(store, PurePosixPath(record["bitstream"])) for _, record in _records(store))


def _is_shared(store: Store, place: PurePosixPath) -> bool:
    others = (path for path in store.everywhere(place) if path != store.record_path(place))
    return any(read_record(path) is not None for path in others)


def _scores(store: Store) -> Iterator[tuple[Path, str, PurePosixPath]]:
    """Score records with their configuration's folder and their picture's name."""
    for path in _files(store.folder / SCORES):
        if records.read(path) is not None:
            folder, *parts = path.relative_to(store.folder / SCORES).with_suffix("").parts
            yield path, folder, PurePosixPath(*parts)


def _predictions(store: Store, scores: list[tuple[Path, str, PurePosixPath]]) -> Iterator[Path]:
    """Those that bear our key: predictions that users lay there have none."""
    others = [path / SCORES for path in store.folder.parent.glob("*") if path != store.folder]
    elsewhere = {path.relative_to(other).with_suffix("").parts for other in others for path in _files(other)}
    pictures = {parts[1:] for parts in elsewhere}
    wanted = [(picture, folder) for _, folder, picture in scores if (folder, *picture.parts) not in elsewhere]
    pristine = dict.fromkeys(picture for *_, picture in scores if picture.parts not in pictures)
    for picture, folder in [*wanted, *((picture, None) for picture in pristine)]:
        for files in answer_files():
            path = prediction_path(store.data.root, picture, folder, files.suffix)
            if files.key(path) is not None:
                yield path
