"""Decode a bitstream again from its record alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress import coded_sequence
from vcmbench.compress.pixels import decoded_pictures
from vcmbench.data import colour, frames, resampling
from vcmbench.data.images import MAX_PIXELS
from vcmbench.data.record import Record, read_record
from vcmbench.encoder import checks, plugins
from vcmbench.encoder.base import DECODED, Clip, Encoder
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.configuration import from_record as coding_of
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.base import Runner, Worker
from vcmbench.execution.runner.tool import FoundTool
from vcmbench.io.documents import short
from vcmbench.io.files import open_regular

_MAX_BYTES = 1 << 33
_MAX_PIXELS = MAX_PIXELS + (1 << 20)  # the edge is padded
_CHUNK_BYTES = 1 << 20


def data_root_of(record_path: Path) -> Path:
    """The data root of a record that lies at `ROOT/results/<experiment>/records/...`."""
    for parent in record_path.resolve().parents:
        if parent.name == "records" and parent.parent.parent.name == "results":
            return parent.parent.parent.parent
    raise RequestError(f"{record_path}: does not lie below results/<experiment>/records/ of a data root")


def read(record_path: Path) -> Record:
    record = read_record(record_path)
    if record is None:
        raise RequestError(f"{record_path}: not a record of vcmbench")
    return record


def _fetch(record: Record, data_root: Path, target: Path) -> None:
    """Copy a record's bitstream, which is never held in memory. Raises JobError where it is not what was recorded."""
    path: Path = (data_root / record["bitstream"]).resolve()
    if not path.is_relative_to(data_root.resolve()):
        raise JobError(f"{record['bitstream']}: lies outside of the data root")
    digest = hashlib.sha256()
    try:
        with open_regular(path, _MAX_BYTES) as file, target.open("wb") as copy:
            if (size := os.fstat(file.fileno()).st_size) != record["size_bytes"]:
                left = coded_sequence.lacking_of(path, record) if size < record["size_bytes"] else ""
                raise JobError(f"{path}: has {size} bytes, its record says {record['size_bytes']}{left}")
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                copy.write(chunk)
    except OSError as error:
        raise JobError(f"{path}: cannot be read: {error.strerror}") from None
    if digest.hexdigest() != record["bitstream_sha256"]:
        raise JobError(f"{path}: its SHA-256 is not the one in its record: damaged, or of another run")


def _names(record: Record) -> list[str]:
    return [str(source["name"]) for source in record["sources"]]


def _checked(record: Record) -> tuple[Encoder, CodingConfiguration, Clip]:
    """How a record says that its bitstream is to be decoded. Raises JobError where no run could have written that."""
    tool = plugins.get(record["encoder"])
    try:
        coding = coding_of(record)
        checks.check(tool, coding)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise JobError(f"record of {short(record['bitstream'])}: holds no coding configuration: {error}") from None
    for kind in ("", "scaled_", "coded_"):
        if record[f"{kind}width_px"] * record[f"{kind}height_px"] > _MAX_PIXELS:
            raise JobError(f"record of {short(record['bitstream'])}: its {kind}sides are larger than any picture's")
    if "resampler_sha256" in record:
        resampling.check_unchanged(coding.resampler, record["resampler_sha256"])
    chroma = colour.CHROMA_FORMATS[coding.color_subsampling]
    return tool, coding, Clip(record["coded_width_px"], record["coded_height_px"], record["frames"], chroma)


def decode(record: Record, data_root: Path, runner: Runner, timeout_s: float = 600.0) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a record's bitstream, by a worker of their own: see `decode_on`."""
    worker = runner.worker()
    try:
        yield from decode_on(worker, record, data_root, runner, timeout_s)
    finally:
        worker.close()


def decode_on(
    worker: Worker, record: Record, data_root: Path, runner: Runner, timeout_s: float = 600.0
) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a record's bitstream, in stacking order: (H, W, 3) uint8 R'G'B' at the original size.

    The tool may be another build than the one that coded (a record names its own); the commands are the same.
    Raises JobError where the bitstream is missing, changed or damaged, RequestError where no decoder is found.
    """
    tool, _, clip = _checked(record)
    found = runner.find(tool, tool.decode_tools)
    if found is None:
        raise RequestError(runner.missing(tool, tool.decode_tools))
    yield from _pictures(record, decoded_file(worker, record, data_root, found, timeout_s), clip, tool.pixels)


def decoded_file(worker: Worker, record: Record, data_root: Path, found: FoundTool, timeout_s: float) -> Path:
    """What the tool `found` decodes of a record's bitstream, in the worker's scratch folder: raw frames of the coded
    size, or a PPM. Raises JobError where the bitstream is missing, changed or damaged."""
    tool, coding, clip = _checked(record)
    worker.scratch.clear()
    _fetch(record, data_root, worker.scratch.outputs / tool.bitstream)
    worker.run(found, tool.decode(found.program, coding, clip), timeout_s * clip.frames)
    decoded = worker.scratch.outputs / DECODED[tool.pixels]
    if tool.pixels == "yuv":
        frames.check_raw_size(decoded, clip.width, clip.height, clip.chroma, _names(record))
    return decoded


def _pictures(record: Record, decoded: Path, clip: Clip, pixels: str) -> Iterator[NDArray[np.uint8]]:
    full, scaled = ((int(record[f"{kind}width_px"]), int(record[f"{kind}height_px"])) for kind in ("", "scaled_"))
    resampler = record.get("resampler", resampling.DEFAULT)
    return decoded_pictures(decoded, full, scaled, clip, pixels, resampler)
