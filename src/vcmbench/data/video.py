"""Videos, read once and in order: a frame's place is known by counting, since seeking by number finds others."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray
from pydantic import Field

from vcmbench.data import images, video_pixels
from vcmbench.errors import JobError
from vcmbench.io.files import sha256_of
from vcmbench.io.validation import Strict

SUFFIXES = frozenset({".mp4", ".mkv", ".avi", ".mov", ".ts", ".webm", ".y4m"})
RAW = ".yuv"
DEFAULT_FPS = 25.0
MAX_FRAMES = 1_000_000
"""Of one video: frames are named by six digits."""
_MAX_PIXELS = 1 << 26
"""8192 x 8192: decoders hold a dozen frames and more."""
_MAX_BYTES = 1 << 42
_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,yuv4mpegpipe"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file", "max_pixels": str(_MAX_PIXELS)}
"""Else a list of addresses that is called a video would have them fetched."""
Seconds = NDArray[np.float64]


class RawGeometry(Strict):
    """What a raw .yuv file does not say of itself: size in pixels, FFmpeg's name of its format, frames a second."""

    width: Annotated[int, Field(ge=1, le=1 << 14)]
    height: Annotated[int, Field(ge=1, le=1 << 14)]
    pixel_format: Literal[
        "yuv420p", "yuv422p", "yuv444p", "nv12", "gray", "yuv420p10le", "yuv422p10le", "yuv444p10le"
    ] = "yuv420p"
    fps: Annotated[float, Field(gt=0, le=1000, strict=False)] = DEFAULT_FPS


@dataclass(frozen=True)
class VideoIndex:
    """What one pass over a video found: width and height in pixels as it is shown, the time of each frame in seconds
    from the first one, (N,) float64, frames a second (their mean, where they vary), and notes on its pixels."""

    size: tuple[int, int]
    times_s: Seconds
    fps: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Stamp:
    """A file as it is now, by which what was found out of it is kept."""

    path: Path
    mtime_ns: int
    size: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Raises JobError where there is no regular file."""
        try:
            now = os.stat(path)
        except OSError as error:
            raise JobError(f"{path}: cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(now.st_mode):
            raise JobError(f"{path}: is no regular file")
        return cls(path, now.st_mtime_ns, now.st_size)


def is_video(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES or path.suffix.lower() == RAW


def index(path: Path, raw: RawGeometry | None = None) -> VideoIndex:
    """What a video holds, found by decoding it once; known from then on as long as the file stays. `raw` is the
    geometry of a .yuv file. Raises JobError where it cannot be read to its end, or holds what cannot be coded."""
    return _index(Stamp.of(path), raw)


def size_of(path: Path, raw: RawGeometry | None = None) -> tuple[int, int]:
    """Width and height in pixels as it is shown, by the first frame. Raises JobError."""
    return _size(Stamp.of(path), raw)


def frame_sha256(path: Path, frame: int, raw: RawGeometry | None = None) -> str:
    """A hash (hex) of a video's file and of which frame of it is meant; the file is hashed once. Raises JobError."""
    try:
        digest = _sha256(Stamp.of(path))
    except OSError as error:
        raise JobError(f"{path}: cannot be read: {error.strerror}") from None
    geometry = raw.model_dump_json(exclude={"fps"}) if raw else ""
    return hashlib.sha256(f"{digest} {geometry} {frame} {video_pixels.version()}".encode()).hexdigest()


@lru_cache(maxsize=1024)
def _sha256(stamp: Stamp) -> str:
    return sha256_of(stamp.path, _MAX_BYTES)


@lru_cache(maxsize=1024)
def _size(stamp: Stamp, raw: RawGeometry | None) -> tuple[int, int]:
    with Reader(stamp.path, raw) as reader:
        return video_pixels.size_of(reader.next())


@lru_cache(maxsize=256)
def _index(stamp: Stamp, raw: RawGeometry | None) -> VideoIndex:
    with Reader(stamp.path, raw) as reader:
        first = reader.next()
        times = [first.time, *(frame.time for frame in reader)]
        notes, rate, said = reader.notes, reader.rate, reader.said
    seconds, fps, more = _timed(times, raw.fps if raw else rate)
    return VideoIndex(video_pixels.size_of(first), seconds, fps, (*notes, *more, *_on_end(said, seconds, fps)))


def _on_end(said: tuple[int, float], seconds: Seconds, fps: float) -> tuple[str, ...]:
    """A note where a file's header promises more (or less) than there is to be shown."""
    frames, length, found = *said, float(seconds[-1]) + 1 / fps
    if frames not in (0, len(seconds)):
        return (f"its header says {frames} frames, {len(seconds)} are shown",)
    is_short = length - found > max(0.1, 1.5 / fps)
    return (f"its header says {length:.2f} s, {found:.2f} s are shown",) if is_short else ()


def _timed(times: Sequence[float | None], rate: float | None) -> tuple[Seconds, float, tuple[str, ...]]:
    """Times from the first frame on, the frame rate, and notes. Without times that grow, the frames are evenly spaced
    by the rate that the stream names."""
    known = np.array([np.nan if time is None else time for time in times], np.float64)
    number = len(times)
    if number == 1 or not bool((np.diff(known) > 0).all()):
        fps = rate or DEFAULT_FPS
        why = () if number == 1 else (f"its frames have no times that grow; {fps:g} frames a second taken",)
        return np.arange(number) / fps, fps, why
    known -= known[0]
    mean = (number - 1) / float(known[-1])
    fps = rate if rate and abs(rate / mean - 1) < 0.01 else mean
    is_even = bool((np.abs(known - np.arange(number) / fps) < 0.6 / fps).all())
    return known, fps, () if is_even else (f"variable frame rate, {mean:.5g} frames a second on average",)


class Reader:
    """One pass over a video's frames, in the order in which they are shown. Used by one thread at a time, closed at the
    end; `position` is the number of the frame that comes next."""

    def __init__(self, path: Path, raw: RawGeometry | None = None) -> None:
        """Raises JobError where it is no video that can be read."""
        self._path, self.position = path, 0
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None
        if raw is None and path.suffix.lower() == RAW:
            raise JobError(
                f"{path}: a raw file does not say its size; give [dataset] yuv = {{width = .., height = ..}}"
            )
        Stamp.of(path)  # merely to open a pipe may take forever
        if raw is not None:
            _check_whole(path, raw)
        with self._complaints():
            self._container = _opened(path, raw)
        try:
            with self._complaints():
                self._stream = _stream(self._container)
                self._frames = self._shown()
        except BaseException:
            self.close()
            raise
        self.notes: tuple[str, ...] = ()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[av.VideoFrame]:
        return self._frames

    @property
    def rate(self) -> float | None:
        """Frames a second as the stream says."""
        return float(self._stream.average_rate) if self._stream.average_rate else None

    @property
    def said(self) -> tuple[int, float]:
        """How many frames and seconds the header says that there are; 0 where it does not."""
        length, base = self._stream.duration, self._stream.time_base
        if length is not None and base is not None:
            return self._stream.frames, float(length * base)
        is_alone = len(self._container.streams) == 1  # sound may well be longer
        return self._stream.frames, (self._container.duration or 0) / av.time_base if is_alone else 0.0

    def close(self) -> None:
        self._container.close()

    def next(self) -> av.VideoFrame:
        """The next frame. Raises JobError where there is none."""
        frame = next(self._frames, None)
        if frame is None:
            raise JobError(f"{self._path}: holds {self.position} frames, asked for was frame {self.position}")
        return frame

    def rgb(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """A frame of this video as (H, W, 3) uint8 R'G'B'. Raises JobError, see `video_pixels.to_rgb`."""
        with self._complaints():
            return video_pixels.to_rgb(frame, self._reformatter)

    def _shown(self) -> Iterator[av.VideoFrame]:
        with self._complaints():
            for packet in self._container.demux(self._stream):
                if packet.is_corrupt:
                    raise JobError(f"cut off or damaged after frame {self.position - 1}; cut a whole part out of it")
                for frame in packet.decode():
                    self._check(frame)
                    self.position += 1
                    yield frame
            if not self.position:
                raise JobError("holds no frame that can be decoded")

    def _check(self, frame: av.VideoFrame) -> None:
        if frame.is_corrupt:
            raise JobError(f"frame {self.position} is damaged")
        if self.position >= MAX_FRAMES:
            raise JobError(f"has more than {MAX_FRAMES} frames; cut it into parts")
        video_pixels.refuse(frame)
        size = video_pixels.size_of(frame)
        if self._size is None:
            self._size = size
            self.notes = (*video_pixels.notes_on(frame), *_on_stream(self._stream))
        elif size != self._size:
            raise JobError(f"frame {self.position} is {size[0]}x{size[1]} px, those before are "
                           f"{self._size[0]}x{self._size[1]} px; cut it there")  # fmt: skip

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        """Whatever goes wrong with a video inside is a JobError of one line that names it."""
        try:
            yield
        except JobError as error:
            raise JobError(f"{self._path}: {error}") from None
        except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
            if not self.position and (kind := images.format_of(self._path)):
                raise JobError(f"{self._path}: is no video but a picture ({kind}); name it so") from None
            what = f"damaged at frame {self.position}" if self.position else "no video that can be read, or cut off"
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
            raise JobError(f"{self._path}: {what}: {reason}") from None


def _opened(path: Path, raw: RawGeometry | None) -> InputContainer:
    name = f"file:{path}"
    if raw is None:
        return av.open(name, options=_OPTIONS, metadata_errors="replace")
    said = {"video_size": f"{raw.width}x{raw.height}", "pixel_format": raw.pixel_format, "framerate": str(raw.fps)}
    return av.open(name, format="rawvideo", options={"protocol_whitelist": "file", **said})


def _stream(container: InputContainer) -> VideoStream:
    """The first video of a file, ready to be decoded. Raises JobError."""
    found = [one for one in container.streams.video if not one.disposition & one.disposition.attached_pic]
    if not found:
        kinds = ", ".join(sorted({one.type for one in container.streams})) or "nothing"
        raise JobError(f"holds no video (but {kinds})")
    stream = found[0]
    context = stream.codec_context
    if context is None:
        raise JobError("its video is of a codec that is not known here")
    if context.width * context.height > _MAX_PIXELS:
        raise JobError(f"{context.width}x{context.height} px is more than {_MAX_PIXELS} px")
    context.options = {"max_pixels": str(_MAX_PIXELS)}
    context.thread_count = 1  # each would hold frames of its own; several videos are read at once anyway
    return stream


def _on_stream(stream: VideoStream) -> tuple[str, ...]:
    aspect, notes = stream.sample_aspect_ratio, []
    if aspect and aspect != 1:
        notes.append(f"pixels are {aspect.numerator}:{aspect.denominator}, taken as they are stored")
    if stream.metadata.get("alpha_mode") == "1":
        notes.append("its alpha channel is not read")
    if (number := len(stream.container.streams.video)) > 1:
        notes.append(f"the first of {number} videos of the file taken")
    return tuple(notes)


def _check_whole(path: Path, raw: RawGeometry) -> None:
    """Raises JobError where a raw file is not made of whole frames."""
    parts = av.VideoFormat(raw.pixel_format, raw.width, raw.height).components
    one = sum(part.width * part.height * ((part.bits + 7) // 8) for part in parts)
    size = Stamp.of(path).size
    if size % one or not size:
        raise JobError(f"{path}: has {size} bytes, no whole number of frames of {raw.width}x{raw.height} px "
                       f"{raw.pixel_format} ({one} bytes each)")  # fmt: skip
