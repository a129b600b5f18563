"""One job's pictures on one worker: written, encoded, decoded, compared, as often as the job asks."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress import coded_sequence, prefilter
from vcmbench.compress.job import Geometry, Job
from vcmbench.compress.pixels import PreparedPicture, decoded_pictures, original_size, prepare
from vcmbench.compress.sensitivity import Sensitivity
from vcmbench.data import colour, frames
from vcmbench.encoder.base import BLOCK_BITS, DECODED, FRAME_LOG, QPS, SOURCE, Command
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.quantisers import Quantisers
from vcmbench.errors import JobError
from vcmbench.execution.runner.base import Completed, Worker
from vcmbench.io.files import read_bounded

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]
T = TypeVar("T")
_MAX_FRAME_LOG_BYTES = 1 << 28


class Cache:
    """The last few things that were made, by key: configurations of one picture share them. Bounded, so memory does
    not grow with pictures. Two threads may make the same thing at once; both get one that is right."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[object, object] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]  # type: ignore[return-value]
        made = make()
        with self._lock:
            self._entries[key] = made
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return made


@dataclass(frozen=True)
class Encoded:
    """A bitstream in the scratch folder: its size, the command that made it, what that printed, and its seconds; and
    what each block cost, (rows, columns), where the tool says so."""

    size_bytes: int
    command: Command
    done: Completed
    block_bits: NDArray[np.int64] | None = None


class Coder:
    """The steps of one job on one worker. `timeout_s` bounds each command per picture."""

    def __init__(
        self, job: Job, geometry: Geometry, worker: Worker, cache: Cache, timeout_s: float,
        asked: Sensitivity | None = None,
    ) -> None:  # fmt: skip
        self.job, self.geometry, self.worker, self.cache = job, geometry, worker, cache
        self.asked = asked
        self.timeout_s = timeout_s * len(job.sources)
        self.notes: list[str] = []
        worker.scratch.clear()

    @property
    def bitstream(self) -> Path:
        return self.worker.scratch.outputs / self.job.encoder.bitstream

    @property
    def _luma_file(self) -> Path:
        return self.worker.scratch.root / "luma.raw"

    def prepared(self, index: int) -> PreparedPicture:
        """The picture of that index in the job, ready to be coded."""
        job = self.job
        source, sha256 = job.sources[index], job.sha256[index]
        key = ("picture", source.path, sha256, job.encoder.pixels, self.geometry, job.coding.resampler)
        return self.cache.get(key, lambda: self._prepare(index))

    def _prepare(self, index: int) -> PreparedPicture:
        job = self.job
        return prepare(job.sources[index], job.sha256[index], job.encoder, self.geometry, job.coding.resampler)

    def write_source(self) -> None:
        """Write the tool's input into the scratch folder; for stacks also the luma planes to compare with later."""
        job = self.job
        noted: Counter[str] = Counter()
        first: dict[str, str] = {}
        with self._input.open("wb") as file, self._luma_file.open("wb") as references:
            for index, source in enumerate(job.sources):
                if len(job.sources) == 1:
                    prepared = self.prepared(index)
                else:  # a stack is read once; what it does not share need not be kept
                    prepared = self._prepare(index)
                    references.write(prepared.luma.tobytes())
                file.write(prepared.frame)
                noted.update(prepared.notes)
                for note in prepared.notes:
                    first.setdefault(note, str(source.name))
        self.notes = [f"{first[note]}{f' and {count - 1} more' if count > 1 else ''}: {note}"
                      for note, count in noted.items()]  # fmt: skip

    @property
    def _input(self) -> Path:
        return self.worker.scratch.outputs / SOURCE[self.job.encoder.pixels]

    def write_filtered(self, sigmas_px: Iterable[NDArray[np.float32]]) -> None:
        """Write the tool's input under a low-pass (see `prefilter`): for each picture one sigma a coded pixel."""
        is_stack = len(self.job.sources) > 1
        with self._input.open("wb") as file:
            for index, sigma_px in enumerate(sigmas_px):
                prepared = self._prepare(index) if is_stack else self.prepared(index)
                file.write(self._filtered(prepared.frame, sigma_px))

    def _filtered(self, frame: bytes, sigma_px: NDArray[np.float32]) -> bytes:
        clip = self.geometry.clip
        if self.job.encoder.pixels == "rgb":
            width, height = self.geometry.scaled_width, self.geometry.scaled_height
            rgb = np.frombuffer(frame, np.uint8)[-width * height * 3 :].reshape(height, width, 3)
            inside = sigma_px[:height, :width]
            channels = [prefilter.low_pass(np.ascontiguousarray(rgb[..., i]), inside) for i in range(3)]
            return frames.ppm_bytes(np.stack(channels, axis=-1))
        at, planes = 0, []
        for index, (rows, columns) in enumerate(clip.chroma.plane_shapes(clip.width, clip.height)):
            plane = np.frombuffer(frame, np.uint8, rows * columns, at).reshape(rows, columns)
            step = (clip.chroma.step_x, clip.chroma.step_y) if index else (1, 1)
            planes.append(prefilter.low_pass(plane, sigma_px, step).tobytes())
            at += rows * columns
        return b"".join(planes)

    def encode(self, coding: CodingConfiguration, quantisers: Quantisers | None = None) -> Encoded:
        """Encode what was written. Raises JobError where the tool fails or its bitstream is cut off."""
        encoder, program = self.job.encoder, self.job.tools.encode.program
        if quantisers is None:
            command = encoder.encode(program, coding, self.geometry.clip)
        else:
            command = encoder.encode_mapped(program, coding, self.geometry.clip, quantisers)
        self.bitstream.unlink(missing_ok=True)
        (self.worker.scratch.outputs / FRAME_LOG).unlink(missing_ok=True)  # x265 writes below what lies there
        command, done = self._run(command)
        size = self.bitstream.stat().st_size if self.bitstream.is_file() else 0
        if size == 0:
            raise JobError(f"{command.argv[0]} ended well but wrote no bitstream", command.argv, done.log[-4096:])
        if coding.parameters and (complaint := encoder.complaint(done.log)):
            raise JobError(f"parameters: {command.argv[0]} did not take one: {complaint}", command.argv)
        reported = encoder.reported_bytes(done.log)
        if reported is not None and reported != size:
            raise JobError(f"{command.argv[0]} reports {reported} bytes but its file has {size}: cut off"
                           f"{self._lacking(done)}", command.argv, done.log)  # fmt: skip
        return Encoded(size, command, done, self._block_bits())

    def _run(self, command: Command) -> tuple[Command, Completed]:
        """Have the tool say what blocks cost, where it can; it may be too old for that."""
        tool = self.job.tools.encode
        (self.worker.scratch.outputs / BLOCK_BITS).unlink(missing_ok=True)
        counting = self.job.encoder.with_block_bits(command) if len(self.job.sources) == 1 else None
        if counting is not None:
            try:
                return counting, self.worker.run(tool, counting, self.timeout_s)
            except JobError as error:
                more = [word for word in counting.argv if word not in command.argv]
                if not any(word in error.log for word in more):
                    raise
        return command, self.worker.run(tool, command, self.timeout_s)

    def _block_bits(self) -> NDArray[np.int64] | None:
        path = self.worker.scratch.outputs / BLOCK_BITS
        if not path.is_file():
            return None
        try:
            return self.job.encoder.read_block_bits(read_bounded(path, _MAX_FRAME_LOG_BYTES).decode())
        except ValueError:  # of another version; the encode is good, and the ledger says that there are none
            return None

    def _lacking(self, done: Completed) -> str:
        """What there is of a sequence in a bitstream that is cut off, for a message."""
        if self.job.coding.structure is None:
            return ""
        names = [source.name for source in self.job.sources]
        reported = self.job.encoder.coded_frames(done.log, self.frame_log())
        order = coded_sequence.coding_order(reported, len(names), self.job.coding.structure.kind != "randomaccess")
        return coded_sequence.lacking(self.bitstream, names, order)

    def frame_log(self) -> str:
        """What the encoder wrote of every picture, if anything."""
        path = self.worker.scratch.outputs / FRAME_LOG
        return read_bounded(path, _MAX_FRAME_LOG_BYTES).decode(errors="replace") if path.is_file() else ""

    def restore(self, bitstream: bytes, frame_log: str) -> None:
        """Put back what an encode before left."""
        self.bitstream.write_bytes(bitstream)
        if self.job.coding.structure is not None:
            (self.worker.scratch.outputs / FRAME_LOG).write_text(frame_log)

    def decode(self, coding: CodingConfiguration) -> Completed:
        """Decode the bitstream. Raises JobError unless it holds exactly the frames that were coded."""
        encoder, clip = self.job.encoder, self.geometry.clip
        command = encoder.decode(self.job.tools.decode.program, coding, clip)
        decoded = self.worker.scratch.outputs / DECODED[encoder.pixels]
        decoded.unlink(missing_ok=True)
        done = self.worker.run(self.job.tools.decode, command, self.timeout_s)
        if not decoded.is_file():
            raise JobError(f"{command.argv[0]} ended well but decoded nothing", command.argv, done.log)
        if encoder.pixels == "yuv":
            frames.check_raw_size(
                decoded, clip.width, clip.height, clip.chroma, [source.name for source in self.job.sources]
            )
        return done

    def block_qps(self) -> F64 | None:
        """The QP of every block as the decoder tells it, (frames, rows, columns); None where it cannot (FFmpeg 7 has
        the filter, but not yet for H.264)."""
        encoder = self.job.encoder
        command = encoder.block_qps(self.job.tools.decode.program, self.geometry.clip)
        if command is None:
            return None
        try:
            self.worker.run(self.job.tools.decode, command, self.timeout_s)
        except JobError as error:
            if "Function not implemented" in error.log:
                return None
            raise
        return encoder.read_block_qps((self.worker.scratch.outputs / QPS).read_bytes(), self.geometry.clip)

    def decoded_rgb(self) -> U8:
        """What was decoded of a single picture: (H, W, 3) uint8 R'G'B' at the original size."""
        geometry, encoder = self.geometry, self.job.encoder
        decoded = self.worker.scratch.outputs / DECODED[encoder.pixels]
        full, scaled = (geometry.width, geometry.height), (geometry.scaled_width, geometry.scaled_height)
        return next(decoded_pictures(decoded, full, scaled, geometry.clip, encoder.pixels, self.job.coding.resampler))

    def lumas(self) -> Iterator[tuple[U8, U8]]:
        """Picture by picture, the pristine and the decoded luma plane, (H, W) uint8 at the original size."""
        shape = (self.geometry.height, self.geometry.width)
        decoded = self.worker.scratch.outputs / DECODED[self.job.encoder.pixels]
        with decoded.open("rb") as file, self._luma_file.open("rb") as references:
            for index in range(len(self.job.sources)):
                if len(self.job.sources) == 1:
                    pristine = self.prepared(index).luma
                else:
                    pristine = np.frombuffer(references.read(shape[0] * shape[1]), np.uint8).reshape(shape)
                yield pristine, self._decoded_luma(file)

    def _decoded_luma(self, file: IO[bytes]) -> U8:
        geometry, clip = self.geometry, self.geometry.clip
        if self.job.encoder.pixels == "rgb":
            luma = colour.luma(frames.read_ppm(Path(file.name), geometry.scaled_width, geometry.scaled_height))
        else:
            luma = frames.read_planes(file, clip.width, clip.height, clip.chroma)[0]
        return original_size(luma, geometry, self.job.coding.resampler)
