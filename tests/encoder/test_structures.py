"""Sequences coded with a structure: QPs are read from the bitstreams themselves, and wrong wishes are refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers import sequences
from vcmbench.encoder import checks, layers, plugins
from vcmbench.encoder.base import FRAME_LOG
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.structure import Structure
from vcmbench.errors import RequestError
from vcmbench.importance.qp_map import QpMap

LOW, LOW_EXACT = Structure("lowdelay", 8), Structure("lowdelay", None, layer_offsets=False)
PYRAMID, PYRAMID_EXACT = Structure("randomaccess", 8, 4), Structure("randomaccess", None, 8, False)
Q = 30
# QPs of the 9 pictures as they follow each other in the stream
X26X = {
    LOW: [27, *[30] * 7, 27],
    LOW_EXACT: [30] * 9,
    PYRAMID: [27, 30, 31, 32, 32, 27, 31, 32, 32],
    PYRAMID_EXACT: [30] * 9,
}


@pytest.mark.parametrize("structure", X26X, ids=lambda one: f"{one.kind} {one.layer_offsets}")
@pytest.mark.parametrize(("name", "demuxer"), [("x264", "h264"), ("x265", "hevc")])
def test_bitstreams_of_x264_and_x265_hold_the_qp_that_is_asked_for(
    name: str, demuxer: str, structure: Structure
) -> None:
    coded = sequences.code(plugins.get(name), structure, Q)
    assert sequences.stream_qps(coded.stream, demuxer) == X26X[structure]
    assert coded.frames and [frame.qp for frame in coded.frames] == X26X[structure]


def test_other_bitstreams_hold_what_coded_frames_reports() -> None:
    kvazaar, svtav1 = (plugins.get(name) for name in ("kvazaar", "svtav1"))
    for structure, qps in ((LOW, [29, 38, 36, 38, 31, 38, 36, 38, 29]), (LOW_EXACT, [Q] * 9)):
        coded = sequences.code(kvazaar, structure, Q)
        assert coded.frames and [frame.qp for frame in coded.frames] == qps == sequences.stream_qps(
            coded.stream, "hevc"
        )
    # low delay has no hidden pictures, whose bits lie before those of shown ones
    coded = sequences.code(svtav1, Structure("lowdelay"), Q)
    assert coded.frames and [frame.qp for frame in coded.frames] == sequences.stream_qps(coded.stream, "obu")
    coded = sequences.code(svtav1, PYRAMID_EXACT, Q)
    assert sequences.stream_qps(coded.stream, "obu") == [Q] * 9


def test_x265_reports_no_qp_beyond_the_last() -> None:
    coded = sequences.code(plugins.get("x265"), Structure("randomaccess", None, 8), 51)
    assert coded.frames and [frame.qp for frame in coded.frames] == sequences.stream_qps(coded.stream, "hevc")


def test_layers_follow_the_qp_as_the_common_test_conditions_say() -> None:
    """VTM's random access at QP 22, 27, 32, 37, reckoned by hand from its configuration."""
    found = [layers.offsets(Structure("randomaccess", 16, 16), quality) for quality in (22, 27, 32, 37)]
    assert [list(one.values()) for one in found] == [
        [-3, 1, 1, 4, 5, 7], [-3, 1, 2, 5, 7, 9], [-3, 1, 3, 6, 8, 9], [-3, 1, 4, 7, 8, 9],
    ]  # fmt: skip


@pytest.mark.parametrize("gop", [2, 4, 8, 16])
def test_pictures_of_a_group_keep_what_later_ones_refer_to(gop: int) -> None:
    """What a picture does not name is dropped, in HEVC and VVC: over three groups, nothing dropped is asked for."""
    kept = {0}
    coded = [(start, one) for start in (0, gop, 2 * gop) for one in layers.group(Structure("randomaccess", None, gop))]
    for start, one in coded:
        place = start + one.number
        named = {place - back for back in one.back} | {place + ahead for ahead in one.ahead}
        assert {other for other in named if other >= 0} <= kept
        kept = (kept & named) | {place}
    assert sorted(one.number for _, one in coded[:gop]) == list(range(1, gop + 1))


@pytest.mark.parametrize("name", [name for name, one in plugins.discover().items() if len(one.structures) > 1])
def test_only_structures_write_a_log_of_pictures(name: str) -> None:
    one = plugins.get(name)
    for tool in one.encode_tools:
        argv = one.encode(tool.program, CodingConfiguration(name, 30, stacked=True), sequences.CLIP).argv
        assert FRAME_LOG not in " ".join(argv) and "coded {pts}" not in argv


@pytest.mark.parametrize(
    ("name", "structure", "more", "complaint"),
    [
        ("jpeg", Structure("lowdelay"), {"color_subsampling": "420"}, "jpeg codes every picture by itself"),
        ("x264", Structure("lowdelay", 1), {}, 'intra_period 1: .* structure "intra"'),
        ("x265", Structure("randomaccess", 8, 1), {}, "gop 1: a pyramid has 2 pictures"),
        ("x265", Structure("randomaccess", 8, 18), {}, "gop 18: x265 takes 2..17"),
        ("vvenc", Structure("randomaccess", 16, 12), {}, "gop 12: vvenc takes 2, 4, 8 or 16"),
        ("vvenc", Structure("randomaccess", 12, 8), {}, "intra_period 12: vvenc takes multiples of gop, 8"),
        ("kvazaar", Structure("randomaccess", 16, 4), {}, "gop 4: kvazaar takes 8 or 16"),
        ("kvazaar", Structure("randomaccess", 16, 8, False), {}, "layer_offsets false: kvazaar has offsets"),
        ("svtav1", Structure("randomaccess", 16, 12), {}, "gop 12: svtav1 takes 2, 4"),
        ("x265", LOW, {"compat": "qomex2023"}, "compat"),
        ("x265", LOW, {"qp_map": QpMap(delta=6, mode="frame")}, "qp_map with structure 'lowdelay'"),
        ("x264", LOW, {"parameters": (("open-gop", "1"),)}, "the structure is the one that is asked for; leave it out"),
        ("x265", LOW, {"parameters": (("no-scenecut", "1"),)}, "leave it out"),
    ],
)
def test_what_a_structure_cannot_be_is_refused(
    name: str, structure: Structure, more: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(RequestError, match=complaint):
        checks.check(plugins.get(name), CodingConfiguration(name, 30, stacked=True, structure=structure, **more))
