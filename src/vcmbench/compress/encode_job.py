"""One job from pictures to a record: downscale, convert, encode, decode, check, compare."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path, PurePosixPath
from statistics import fmean
from typing import Any

from vcmbench.compress import allocation, coded_sequence, decode
from vcmbench.compress.allocation import Coded
from vcmbench.compress.coder import Cache, Coder
from vcmbench.compress.job import Geometry, Job
from vcmbench.compress.luma_errors import psnr_db
from vcmbench.compress.sensitivity import Sensitivity
from vcmbench.data import colour, resampling
from vcmbench.data.record import SCHEMA_VERSION, Record
from vcmbench.data.store import Store
from vcmbench.encoder.base import DECODED
from vcmbench.errors import JobError
from vcmbench.execution.runner import builtin
from vcmbench.execution.runner.base import Worker
from vcmbench.io.documents import short


def run(
    job: Job, worker: Worker, store: Store, cache: Cache, timeout_s: float, meta: Record,
    asked: Sensitivity | None = None,
) -> Record:  # fmt: skip
    """Do a job and return its record, after bitstream and record are in their places.

    `timeout_s` bounds each command per picture; `meta` goes into the record; `asked` says where bits go, with a coding
    that asks. Raises JobError with the reason.
    """
    if job.geometry is None:
        raise JobError(job.problem)
    try:
        coder = Coder(job, job.geometry, worker, cache, timeout_s, asked)
        coder.write_source()
        coded = _code(coder, store)
        psnrs = [psnr_db(pristine, decoded) for pristine, decoded in coder.lumas()]
        record = _record(job, job.geometry, worker, coded, psnrs)
        record |= meta | ({"notes": notes} if (notes := [*coder.notes, *coded.notes]) else {})
        store.data.link_labels(store.data.configuration_folder(job.encoder.folder_name(job.coding)))
        files = _files(job, worker, coded)
        if beside := {name.name: _sha256(path) for path, name in files.items() if name != job.bitstream}:
            record["files"] = beside
        return store.publish(files, job.bitstream, record)
    except OSError as error:
        raise JobError(f"{error.filename or worker.scratch.root}: {error.strerror or error}") from error


def is_whole(job: Job, record: Record, store: Store) -> bool:
    """Whether the job that a record speaks of has left all that is wanted: decoded frames may be asked for later."""
    place = job.reconstruction
    return place is None or (place.name in record.get("files", {}) and (store.data.root / place).is_file())


def reconstruct(job: Job, record: Record, worker: Worker, store: Store, timeout_s: float) -> Record:
    """Decode what was coded before, for its frames, and return the record that names them. Raises JobError."""
    if job.reconstruction is None:
        return record
    try:
        decoded = decode.decoded_file(worker, record, store.data.root, job.tools.decode, timeout_s)
        files = record.get("files", {}) | {job.reconstruction.name: _sha256(decoded)}
        record = record | {"keep_reconstruction": True, "files": files}
        return store.publish({decoded: job.reconstruction}, job.bitstream, record)
    except OSError as error:
        raise JobError(f"{error.filename or worker.scratch.root}: {error.strerror or error}") from error


def _code(coder: Coder, store: Store) -> Coded:
    coding = coder.job.coding
    if coding.qp_map is not None or coding.target_bpp is not None:
        coded = allocation.code(coder, store.data)
        return coded if coding.structure is None else _with_frames(coder, coded)
    encoded = coder.encode(coding)
    if coding.structure is not None:
        return _with_frames(coder, Coded(coding, encoded, coder.decode(coding), None))
    qp = coder.job.encoder.coded_qp(encoded.done.log)
    is_other = qp is not None and coding.quality is not None and abs(qp - coding.quality) > 0.5
    notes = (f"coded with QP {qp:g}, asked was {coding.quality}",) if is_other and not coding.compat else ()
    return Coded(coding, encoded, coder.decode(coding), qp, notes=notes)


def _with_frames(coder: Coder, coded: Coded) -> Coded:
    """A coded sequence with the account of its pictures."""
    structure = coder.job.coding.structure
    reported = coder.job.encoder.coded_frames(coded.encoded.done.log, coder.frame_log())
    in_order = structure is None or structure.kind != "randomaccess"
    names = [source.name for source in coder.job.sources]
    frames, missing = coded_sequence.account(coder.bitstream, names, reported, in_order)
    qp = coded.coded_qp
    if coder.job.encoder.method(coder.job.coding) != "native" and "qp" in frames:
        qp = fmean(frames["qp"])
    return replace(coded, coded_qp=qp, fields=coded.fields | {"coded_frames": frames}, missing=coded.missing | missing)


def _files(job: Job, worker: Worker, coded: Coded) -> dict[Path, PurePosixPath]:
    """What a job leaves, and where it goes: the bitstream, its QP map if it has one, and the decoded frames where they
    are wanted."""
    files = {worker.scratch.outputs / job.encoder.bitstream: job.bitstream}
    stem = job.bitstream.name.removesuffix(job.encoder.extension)
    if coded.csv:
        csv = worker.scratch.root / "qp_map.csv"
        csv.write_bytes(coded.csv)
        files[csv] = job.bitstream.with_name(f"{stem}_qp_map.csv")
    if job.reconstruction is not None:
        files[worker.scratch.outputs / DECODED[job.encoder.pixels]] = job.reconstruction
    return files


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(job: Job, geometry: Geometry, worker: Worker, coded: Coded, psnrs: list[float | None]) -> Record:
    encoder, coding, clip = job.encoder, job.coding, geometry.clip
    qp = coded.coded_qp
    if qp is not None and not (isinstance(qp, int | float) and math.isfinite(qp)):
        raise JobError(f"encoder {encoder.name!r}: coded_qp gave {short(qp)}, must give a number or None")
    bitstream = worker.scratch.outputs / encoder.bitstream
    size_bytes = bitstream.stat().st_size
    pixels = geometry.width * geometry.height * clip.frames
    finite = [psnr for psnr in psnrs if psnr is not None]
    missing = dict(coded.missing)
    if coded.coded_qp is None:
        missing.setdefault("coded_qp", f"{job.tools.encode.program} does not report it")
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
        "bitstream_sha256": _sha256(bitstream),
        "size_bytes": size_bytes,
        "rate_bpp": size_bytes * 8 / pixels,
        "encode_s": round(coded.encoded.done.seconds, 6),
        "decode_s": round(coded.decoded.seconds, 6),
        "coded_qp": coded.coded_qp,
        "psnr_y_db": fmean(finite) if finite else None,
        "argv": {
            "encode": list(coded.encoded.command.argv),
            "then": [list(argv) for argv in coded.encoded.command.then],
            "decode": list(encoder.decode(job.tools.decode.program, coded.coding, clip).argv),
        },
        "tool": {
            "encode": job.tools.encode.identity(),
            "then": [tool.identity() for argv in coded.encoded.command.then if (tool := builtin.find(argv[0]))],
            "decode": job.tools.decode.identity(),
        },
        "image_digest": job.tools.encode.image,
        "missing": missing,
        **coded.fields,
    }
    if clip.frames > 1:
        record["frame_psnr_y_db"] = psnrs
    if (bits := coded.encoded.block_bits) is not None:
        record["block_bits"] = {"block_px": encoder.map_units_px[0], "bits": bits.tolist()}
    if coding.structure is not None or job.sources[0].frame is not None:
        fps = job.sources[0].fps
        record |= {"fps": fps, "rate_kbps": size_bytes * 8 * fps / clip.frames / 1000}
    if coding.resampler != resampling.DEFAULT:
        record["resampler_sha256"] = resampling.get(coding.resampler).sha256()
    return record
