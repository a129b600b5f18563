"""One job from pictures to a record: downscale, convert, encode, decode, check, compare."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from statistics import fmean
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import colour, frames
from vcmbench.dataset import Source, read_picture
from vcmbench.encoder import DECODED, SOURCE, Encoder
from vcmbench.errors import JobError
from vcmbench.job import Geometry, Job
from vcmbench.runner.base import Completed, Worker
from vcmbench.store import SCHEMA_VERSION, Record, Store

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Prepared:
    """A picture ready to be coded: the bytes of its frame for the tool, and its luma at the original size."""

    frame: bytes
    luma: U8
    notes: tuple[str, ...]


def prepare(source: Source, sha256: str, encoder: Encoder, geometry: Geometry) -> Prepared:
    """Read, downscale, pad and convert one picture. Raises JobError where it is damaged or not the one of the plan."""
    picture = read_picture(source.path)
    if picture.sha256 != sha256:
        raise JobError(f"{source.path}: changed since this run was planned; run it again")
    rgb, notes = picture.rgb, picture.notes
    clip = geometry.clip
    scaled = frames.resize(rgb, geometry.scaled_width, geometry.scaled_height)
    if encoder.pixels == "rgb":
        return Prepared(frames.ppm_bytes(scaled), colour.luma(rgb), notes)
    planes = colour.rgb_to_planes(frames.pad(scaled, clip.width, clip.height), clip.chroma)
    is_full_size = scaled is rgb
    reference = planes[0][: geometry.height, : geometry.width] if is_full_size else colour.luma(rgb)
    return Prepared(b"".join(plane.tobytes() for plane in planes), np.ascontiguousarray(reference), notes)


class SourceCache:
    """The last few prepared pictures: the qualities of a grid share them. Bounded, so memory does not grow."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[object, Prepared] = OrderedDict()
        self._lock = threading.Lock()

    def prepare(self, source: Source, sha256: str, encoder: Encoder, geometry: Geometry) -> Prepared:
        key = (source.path, sha256, encoder.pixels, geometry)
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        prepared = prepare(source, sha256, encoder, geometry)
        with self._lock:
            self._entries[key] = prepared
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return prepared


def run(job: Job, worker: Worker, store: Store, cache: SourceCache, timeout_s: float, meta: Record) -> Record:
    """Do a job and return its record, after bitstream and record are in their places.

    `timeout_s` bounds each command per picture; `meta` goes into the record. Raises JobError with the reason.
    """
    if job.geometry is None:
        raise JobError(job.problem)
    try:
        worker.scratch.clear()
        notes = _write_source(job, job.geometry, worker, cache)
        encoded = _encode(job, job.geometry, worker, timeout_s * len(job.sources))
        decoded = _decode(job, job.geometry, worker, timeout_s * len(job.sources))
        psnrs = _compare(job, job.geometry, worker, cache)
        record = _record(job, job.geometry, worker, encoded, decoded, psnrs)
        record |= meta | ({"notes": notes} if notes else {})
        store.data.link_labels(store.data.configuration_folder(job.encoder.folder_name(job.coding)))
        store.publish(_files(job, worker), job.bitstream, record)
        return record
    except OSError as error:
        raise JobError(f"{error.filename or job.bitstream}: {error.strerror or error}") from error


def _write_source(job: Job, geometry: Geometry, worker: Worker, cache: SourceCache) -> list[str]:
    """Write the tool's input into the scratch folder; for stacks also the luma planes to compare with later."""
    notes = []
    inputs = worker.scratch.outputs / SOURCE[job.encoder.pixels]
    with inputs.open("wb") as file, (worker.scratch.root / "luma.raw").open("wb") as references:
        for source, digest in zip(job.sources, job.sha256, strict=True):
            is_single = len(job.sources) == 1
            prepared = (cache.prepare if is_single else prepare)(source, digest, job.encoder, geometry)
            file.write(prepared.frame)
            if not is_single:
                references.write(prepared.luma.tobytes())
            notes += [f"{source.name}: {note}" for note in prepared.notes]
    return notes


def _encode(job: Job, geometry: Geometry, worker: Worker, timeout_s: float) -> Completed:
    command = job.encoder.encode(job.tools.encode.program, job.coding, geometry.clip)
    done = worker.run(job.tools.encode, command, timeout_s)
    bitstream = worker.scratch.outputs / job.encoder.bitstream
    size = bitstream.stat().st_size if bitstream.is_file() else 0
    if size == 0:
        raise JobError(f"{command.argv[0]} ended well but wrote no bitstream", command.argv, done.log[-4096:])
    reported = job.encoder.reported_bytes(done.log)
    if reported is not None and reported != size:
        raise JobError(
            f"{command.argv[0]} reports {reported} bytes but its file has {size}: cut off", command.argv, done.log
        )
    return done


def _decode(job: Job, geometry: Geometry, worker: Worker, timeout_s: float) -> Completed:
    command = job.encoder.decode(job.tools.decode.program, job.coding, geometry.clip)
    done = worker.run(job.tools.decode, command, timeout_s)
    decoded = worker.scratch.outputs / DECODED[job.encoder.pixels]
    if not decoded.is_file():
        raise JobError(f"{command.argv[0]} ended well but decoded nothing", command.argv, done.log)
    if job.encoder.pixels == "yuv":
        clip = geometry.clip
        frames.check_raw_size(decoded, clip.width, clip.height, clip.chroma, clip.frames)
    return done


def _decoded_luma(job: Job, geometry: Geometry, file: IO[bytes]) -> U8:
    """The next decoded frame's luma at the original size."""
    clip = geometry.clip
    if job.encoder.pixels == "rgb":
        rgb = frames.read_ppm(Path(file.name), geometry.scaled_width, geometry.scaled_height)
        return colour.luma(frames.resize(rgb, geometry.width, geometry.height))
    plane = frames.read_planes(file, clip.width, clip.height, clip.chroma)[0]
    cropped = plane[: geometry.scaled_height, : geometry.scaled_width]
    return frames.resize(cropped, geometry.width, geometry.height)


def _compare(job: Job, geometry: Geometry, worker: Worker, cache: SourceCache) -> list[float | None]:
    """PSNR of each decoded frame's luma against the pristine picture's, in dB; None where they are identical."""
    shape = (geometry.height, geometry.width)
    decoded = worker.scratch.outputs / DECODED[job.encoder.pixels]
    with decoded.open("rb") as file, (worker.scratch.root / "luma.raw").open("rb") as references:
        if len(job.sources) == 1:
            pristine = cache.prepare(job.sources[0], job.sha256[0], job.encoder, geometry).luma
            return [frames.psnr_db(pristine, _decoded_luma(job, geometry, file))]
        psnrs = []
        for _ in job.sources:
            pristine = np.frombuffer(references.read(shape[0] * shape[1]), np.uint8).reshape(shape)
            psnrs.append(frames.psnr_db(pristine, _decoded_luma(job, geometry, file)))
        return psnrs


def _files(job: Job, worker: Worker) -> dict[Path, PurePosixPath]:
    """What a job leaves, and where it goes: the bitstream, and the decoded frames where they are wanted."""
    files = {worker.scratch.outputs / job.encoder.bitstream: job.bitstream}
    if job.coding.keep_reconstruction:
        decoded = worker.scratch.outputs / DECODED[job.encoder.pixels]
        stem = job.bitstream.name.removesuffix(job.encoder.extension)
        files[decoded] = job.bitstream.with_name(f"{stem}_rec{decoded.suffix}")
    return files


def _record(
    job: Job,
    geometry: Geometry,
    worker: Worker,
    encoded: Completed,
    decoded: Completed,
    psnrs: list[float | None],
) -> Record:
    encoder, coding, clip = job.encoder, job.coding, geometry.clip
    bitstream = (worker.scratch.outputs / encoder.bitstream).read_bytes()
    pixels = geometry.width * geometry.height * clip.frames
    finite = [psnr for psnr in psnrs if psnr is not None]
    coded_qp = encoder.coded_qp(encoded.log)
    missing = {}
    if coded_qp is None:
        missing["coded_qp"] = f"{job.tools.encode.program} does not report it"
    if not finite:
        missing["psnr_y_db"] = "decoded luma is identical to the pristine picture's"
    elif len(finite) < len(psnrs):
        missing["frame_psnr_y_db"] = "null where decoded luma is identical; psnr_y_db is the mean of the others"
    if encoder.pixels == "rgb":
        missing["colour"] = "the tool is given R'G'B' and converts it, if at all, by itself"
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "key": job.key,
        **coding.as_dict(),
        "quality_scale": encoder.quality.name if encoder.quality else None,
        "sources": [
            {"name": str(source.name), "sha256": digest} for source, digest in zip(job.sources, job.sha256, strict=True)
        ],
        "frames": clip.frames,
        "width_px": geometry.width,
        "height_px": geometry.height,
        "scaled_width_px": geometry.scaled_width,
        "scaled_height_px": geometry.scaled_height,
        "coded_width_px": clip.width,
        "coded_height_px": clip.height,
        "colour": colour.CONVERSION if encoder.pixels == "yuv" else None,
        "bitstream": str(job.bitstream),
        "bitstream_sha256": hashlib.sha256(bitstream).hexdigest(),
        "size_bytes": len(bitstream),
        "rate_bpp": len(bitstream) * 8 / pixels,
        "encode_s": round(encoded.seconds, 6),
        "decode_s": round(decoded.seconds, 6),
        "coded_qp": coded_qp,
        "psnr_y_db": fmean(finite) if finite else None,
        "argv": {
            "encode": list(encoder.encode(job.tools.encode.program, coding, clip).argv),
            "decode": list(encoder.decode(job.tools.decode.program, coding, clip).argv),
        },
        "tool": {"encode": job.tools.encode.identity(), "decode": job.tools.decode.identity()},
        "image_digest": job.tools.encode.image,
        "missing": missing,
    }
    if clip.frames > 1:
        record["frame_psnr_y_db"] = psnrs
    return record
