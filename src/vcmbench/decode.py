"""Decode a bitstream again from its record alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import colour, encoder, frames
from vcmbench.coding import from_record as coding_of
from vcmbench.encoder import DECODED, Clip
from vcmbench.errors import JobError, RequestError
from vcmbench.runner.base import Runner, Worker
from vcmbench.store import Record, read_record


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


def _bitstream(record: Record, data_root: Path) -> bytes:
    path: Path = (data_root / record["bitstream"]).resolve()
    if not path.is_relative_to(data_root.resolve()):
        raise JobError(f"{record['bitstream']}: lies outside of the data root")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JobError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) != record["size_bytes"]:
        raise JobError(f"{path}: has {len(data)} bytes, its record says {record['size_bytes']}")
    if hashlib.sha256(data).hexdigest() != record["bitstream_sha256"]:
        raise JobError(f"{path}: its SHA-256 is not the one in its record: damaged, or of another run")
    return data


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
    tool = encoder.get(record["encoder"])
    coding = coding_of(record)
    tool.check(coding)
    chroma = colour.CHROMA_FORMATS[coding.color_subsampling]
    clip = Clip(record["coded_width_px"], record["coded_height_px"], record["frames"], chroma)
    found = runner.find(tool, tool.decode_tools)
    if found is None:
        raise RequestError(runner.missing(tool, tool.decode_tools))
    data = _bitstream(record, data_root)
    worker.scratch.clear()
    (worker.scratch.outputs / tool.bitstream).write_bytes(data)
    worker.run(found, tool.decode(found.program, coding, clip), timeout_s * clip.frames)
    yield from _pictures(record, worker.scratch.outputs / DECODED[tool.pixels], clip, tool.pixels)


def _pictures(record: Record, decoded: Path, clip: Clip, pixels: str) -> Iterator[NDArray[np.uint8]]:
    scaled: tuple[Any, Any] = (record["scaled_width_px"], record["scaled_height_px"])
    full = (record["width_px"], record["height_px"])
    if pixels == "rgb":
        yield frames.resize(frames.read_ppm(decoded, *scaled), *full)
        return
    frames.check_raw_size(decoded, clip.width, clip.height, clip.chroma, clip.frames)
    with decoded.open("rb") as file:
        for _ in range(clip.frames):
            planes = frames.read_planes(file, clip.width, clip.height, clip.chroma)
            rgb = colour.planes_to_rgb(planes, clip.chroma)[: scaled[1], : scaled[0]]
            yield frames.resize(rgb, *full)
