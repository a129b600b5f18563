"""What a video's decoder gives as R'G'B' as it is meant to be seen, or a clear line why that cannot be."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from av import VideoFrame
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from vcmbench.errors import JobError

U8 = NDArray[np.uint8]
_UNSPECIFIED = 2
_MATRICES = {0: None, 1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 9: Colorspace.BT2020}
"""By their numbers in ITU-T H.273, as those below; 0 is R'G'B' itself."""
_OTHER_MATRICES = {
    4: "FCC", 7: "SMPTE 240M", 8: "YCgCo", 10: "BT.2020 constant luminance", 11: "SMPTE 2085",
    12: "derived non-constant luminance", 13: "derived constant luminance", 14: "ICtCp", 15: "IPT-C2", 16: "YCgCo-Re",
    17: "YCgCo-Ro",
}  # fmt: skip
_HDR = {16: "PQ (SMPTE 2084)", 18: "HLG (ARIB STD-B67)"}
_EXACT = (
    Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)  # fmt: skip
_WHOLE = 1 << 16  # in the fixed-point numbers of a display matrix
_Turn = tuple[int, int, int, int]
_AS_STORED: _Turn = (1, 0, 0, 1)
VERSION = "1"
"""Part of each frame's hash: to be raised where a frame's pixels come out other than before."""
_FIRST = "1f8057477ded86f91d6e6811dfe7d3a0b886e579c5d2eb9e1522185ad89c8cca"
"""The conversion of frames whose hashes do not name it."""


def version() -> str:
    """What decides a frame's pixels beside its file. Decoders are exact by their standards (but for MPEG-4 part 2 and
    older), the conversion is swscale's: where it gives other pixels than before, its hash is part of this."""
    found = conversion()
    return VERSION if found == _FIRST else f"{VERSION} {found}"


@cache
def conversion() -> str:
    """A hash (hex) of what becomes of small frames, of each kind of format, matrix and range."""
    total, by = hashlib.sha256(), VideoReformatter()
    names = ("yuv444p", "yuv422p", "nv12", "gray", "yuv420p10le", "yuv422p10le", "yuv444p10le")
    kinds = [(name, 5, 1) for name in names] + [("yuv420p", matrix, full) for matrix in (1, 5, 9) for full in (1, 2)]
    for name, matrix, color_range in kinds:
        frame = VideoFrame(38, 22, name)
        for number, plane in enumerate(frame.planes):
            row, column = np.ogrid[: plane.height, : plane.line_size // 2]  # lines may be padded
            values = ((37 * row + column) ** 2 * (31 + number) % 997).astype(np.uint16)
            plane.update((values if "10" in name else values.view(np.uint8)).tobytes())
        frame.colorspace, frame.color_range = matrix, color_range
        total.update(to_rgb(frame, by).tobytes())
    return total.hexdigest()


def refuse(frame: VideoFrame) -> None:
    """Raises JobError where a frame has colours that 8-bit R'G'B' does not hold, or that are not converted rightly."""
    if (transfer := _HDR.get(int(frame.color_trc))) is not None:
        raise JobError(f"its transfer is {transfer}, high dynamic range; convert it to BT.709 first")
    matrix = int(frame.colorspace)
    if not frame.format.is_rgb and matrix not in {*_MATRICES, _UNSPECIFIED} - {0}:
        name = _OTHER_MATRICES.get(matrix, f"number {matrix}")
        raise JobError(f"its colour matrix is {name}; known are BT.601, BT.709 and BT.2020 non-constant luminance")
    turn(frame)


def turn(frame: VideoFrame) -> _Turn:
    """The matrix (a, b, c, d) of 0, 1 and -1 by which a frame is turned and mirrored to be shown: a sample at (x, y),
    y downwards, goes to (a x + c y, b x + d y). Raises JobError where it is another."""
    # frame.side_data would refer to the frame in a circle, and keep it for a while
    found = SideDataContainer(frame)  # type: ignore[call-arg]
    if Type.DISPLAYMATRIX not in found:
        return _AS_STORED
    raw = np.frombuffer(bytes(found[Type.DISPLAYMATRIX]), np.int32)
    a, b, c, d = (round(int(raw[place]) / _WHOLE, 3) for place in (0, 1, 3, 4))
    if (abs(a), abs(b), abs(c), abs(d)) not in {(1, 0, 0, 1), (0, 1, 1, 0)}:
        raise JobError(f"its display matrix ({a:g} {b:g} {c:g} {d:g}) is no turn by 90, 180 or 270 degrees")
    return int(a), int(b), int(c), int(d)


def size_of(frame: VideoFrame) -> tuple[int, int]:
    """Width and height in pixels as it is shown."""
    return (frame.width, frame.height) if turn(frame)[0] else (frame.height, frame.width)


def to_rgb(frame: VideoFrame, by: VideoReformatter) -> U8:
    """A frame as it is shown, (H, W, 3) uint8 R'G'B' of full range.

    Chroma is upsampled bicubically, results are rounded. Where the stream names no colour matrix it is BT.709 from
    1280 columns or 577 rows on and BT.601 below, as players have it; where it names no range it is limited. Raises
    JobError where the frame is partly transparent.
    """
    if _is_gray(frame):
        return _turned(_gray_to_rgb(frame, by), turn(frame)).copy()
    has_alpha = any(component.is_alpha for component in frame.format.components)
    matrix, is_full = _matrix(frame), _is_full(frame)
    made = by.reformat(
        frame, format="rgba" if has_alpha else "rgb24", src_colorspace=matrix, interpolation=_EXACT,
        src_color_range=ColorRange.JPEG if is_full else ColorRange.MPEG, dst_color_range=ColorRange.JPEG, threads=1,
    ).to_ndarray()  # fmt: skip
    if has_alpha and made[..., 3].min() != 255:
        raise JobError("partly transparent; flatten it onto a background first")
    return np.ascontiguousarray(_turned(np.asarray(made[..., :3], np.uint8), turn(frame)))


def _gray_to_rgb(frame: VideoFrame, by: VideoReformatter) -> U8:
    """swscale takes gray of limited range for full."""
    full = ColorRange.JPEG
    gray = by.reformat(frame, format="gray", src_color_range=full, dst_color_range=full, threads=1).to_ndarray()
    if not _is_full(frame):
        gray = np.clip(np.rint((np.arange(256) - 16) * 255 / 219), 0, 255).astype(np.uint8)[gray]
    return np.repeat(np.asarray(gray, np.uint8)[..., None], 3, axis=2)


def _is_gray(frame: VideoFrame) -> bool:
    return len(frame.format.components) == 1 and not frame.format.has_palette


def _turned(rgb: U8, by: _Turn) -> U8:
    a, b, c, d = by
    shown = rgb if a else rgb.transpose(1, 0, 2)
    return shown[:: (d or b), :: (a or c)]


def _matrix(frame: VideoFrame) -> Colorspace | None:
    if frame.format.is_rgb:
        return None
    if int(frame.colorspace) == _UNSPECIFIED:
        return Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else Colorspace.ITU601
    return _MATRICES[int(frame.colorspace)]


def _is_full(frame: VideoFrame) -> bool:
    named = int(frame.color_range)
    return frame.format.is_rgb or frame.format.name.startswith("yuvj") or named == ColorRange.JPEG


def notes_on(frame: VideoFrame) -> list[str]:
    """What becomes of a frame on its way to 8-bit R'G'B', where that is more than a change of the colour space."""
    kind, notes = frame.format, []
    components = kind.components
    if (bits := max(component.bits for component in components)) > 8:
        notes.append(f"{bits} bits a sample rounded to 8")
    if len(components) < 3:
        notes.append("palette converted to RGB" if kind.has_palette else "gray converted to RGB")
    elif not kind.is_rgb and (kind.chroma_width(16), kind.chroma_height(16)) != (8, 8):
        named = {(8, 16): "4:2:2", (16, 16): "4:4:4", (4, 16): "4:1:1", (16, 8): "4:4:0", (4, 4): "4:1:0"}
        chroma = named.get((kind.chroma_width(16), kind.chroma_height(16)), "of an unusual format")
        notes.append(f"chroma is {chroma}; the pictures are its RGB")
    if any(component.is_alpha for component in components):
        notes.append("alpha channel without transparency dropped")
    if frame.interlaced_frame:
        notes.append("interlaced; both fields woven, as they are stored")
    if len(components) > 2 and (matrix := _matrix(frame)) is not None and int(frame.colorspace) == _UNSPECIFIED:
        notes.append(f"no colour matrix named; {'BT.709' if matrix == Colorspace.ITU709 else 'BT.601'} taken")
    if (by := turn(frame)) != _AS_STORED:
        notes.append(f"shown as its display matrix says ({' '.join(map(str, by))}: turned or mirrored)")
    return notes
