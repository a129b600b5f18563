"""What a coded sequence holds of every picture: bytes by the bitstream, type and QP by the encoder's account."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av

from vcmbench.data.record import Record
from vcmbench.encoder.base import CodedFrame
from vcmbench.errors import JobError

_FORMATS = {".264": "h264", ".265": "hevc", ".266": "vvc", ".obu": "obu"}
"""Elementary streams, which name neither their codec nor their pictures' times."""


def picture_sizes(bitstream: Path) -> list[int]:
    """Bytes of every picture of a bitstream, in coding order, parameter sets with the picture that they precede.

    Raises JobError where it is no stream of pictures.
    """
    try:
        with av.open(str(bitstream), format=_FORMATS.get(bitstream.suffix)) as container:
            return [packet.size for packet in container.demux(video=0) if packet.size]
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise JobError(f"the bitstream cannot be taken apart into pictures: {error}") from None


def lacking(bitstream: Path, names: Sequence[object], order: Sequence[int] | None) -> str:
    """What there is of the named pictures, given in display order, in a bitstream that is cut off, for a message; empty
    where it cannot be taken apart. `order` has their places in coding order, None where that is not known."""
    try:
        found = len(picture_sizes(bitstream))
    except JobError:
        return ""
    if found >= len(names):
        last = f" ({names[order[-1]]})" if order else ""
        return f"; all {len(names)} frames begin in it, the last{last} is cut off"
    first = f", the first missing is {names[min(order[found:])]}" if order else ""
    return f"; {found} of {len(names)} frames begin in it{first}"


def lacking_of(bitstream: Path, record: Record) -> str:
    """As `lacking`, of a record's bitstream; empty where that is no sequence."""
    frames = record.get("coded_frames")
    if not isinstance(frames, dict):
        return ""
    places = frames.get("coding_order", range(record["frames"] if "size_bytes" in frames else 0))
    order = sorted(range(len(places)), key=lambda frame: places[frame])
    names = [str(source["name"]) for source in record["sources"]]
    return lacking(bitstream, names, order if len(order) == len(names) else None)


def coding_order(reported: Sequence[CodedFrame] | None, frames: int, in_order: bool) -> Sequence[int] | None:
    """The places in display order of pictures in coding order, by the encoder's account, else as they were coded if
    that was `in_order`; None where that is not known."""
    if reported is not None and sorted(one.index for one in reported) == list(range(frames)):
        return [one.index for one in reported]
    return range(frames) if in_order else None


def account(
    bitstream: Path, names: Sequence[object], reported: Sequence[CodedFrame] | None, in_order: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """A record's `coded_frames`, columns in display order, and for what is missing the reason.

    `reported` is the encoder's account in coding order, None where there is none; then pictures are only known by
    their order, if they were coded `in_order`. `header_bytes` are those that belong to no picture. Raises JobError
    where the bitstream or the account holds another number of pictures than were coded, those of the `names`.
    """
    sizes, frames = picture_sizes(bitstream), len(names)
    for who, found in (("the bitstream holds", sizes), ("the encoder reports", reported)):
        if found is not None and len(found) != frames:
            left = lacking(bitstream, names, coding_order(reported, frames, in_order)) if len(sizes) < frames else ""
            raise JobError(f"{who} {len(found)} pictures, coded were {frames}{left}")
    header = {"header_bytes": bitstream.stat().st_size - sum(sizes)}
    if reported is None and not in_order:
        return header, {"coded_frames": "the encoder does not report in which order it coded the pictures"}
    if reported is None:
        return header | {"size_bytes": sizes}, {"coded_frames.qp": "the encoder does not report it"}
    order = sorted(range(frames), key=lambda place: reported[place].index)
    if [reported[place].index for place in order] != list(range(frames)):
        raise JobError("the encoder's account names a picture twice, or leaves one out")
    columns = {
        "type": "".join(reported[place].type for place in order),
        "size_bytes": [sizes[place] for place in order],
        "coding_order": order,
    }
    qps = [reported[place].qp for place in order]
    if None in qps:
        return header | columns, {"coded_frames.qp": "the encoder does not report it"}
    return header | columns | {"qp": qps}, {}
