"""What a coded sequence holds of every picture: bytes by the bitstream, type and QP by the encoder's account."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av

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


def account(
    bitstream: Path, frames: int, reported: Sequence[CodedFrame] | None, in_order: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """A record's `coded_frames`, columns in display order, and for what is missing the reason.

    `reported` is the encoder's account in coding order, None where there is none; then pictures are only known by
    their order, if they were coded `in_order`. `header_bytes` are those that belong to no picture. Raises JobError
    where the bitstream or the account holds another number of pictures than the `frames` that were coded.
    """
    sizes = picture_sizes(bitstream)
    for who, found in (("the bitstream holds", sizes), ("the encoder reports", reported)):
        if found is not None and len(found) != frames:
            raise JobError(f"{who} {len(found)} pictures, coded were {frames}")
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
