"""Sequences coded with a structure: QPs are read from the bitstreams themselves, and wrong wishes are refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers import sequences
from vcmbench.encoder import checks, layers, plugins
from vcmbench.encoder.base import FRAME_LOG, CodedFrame
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


def test_tools_that_are_not_here_report_pictures_as_their_sources_print_them() -> None:
    """HM's TEncGOP, JM's ReportSimple and kvazaar's own program, whose count begins again at IDR pictures."""
    hm = """\
POC    0 TId: 0 ( I-SLICE, nQP 29 QP 29 )      18600 bits [Y 38.0000 dB    U 40.0000 dB    V 40.0000 dB] [ET     1 ]
POC    2 TId: 0 ( B-SLICE, nQP 33 QP 33 )       1592 bits [Y 36.0000 dB    U 40.0000 dB    V 40.0000 dB] [ET     1 ]
POC    1 TId: 1 ( b-SLICE, nQP 35 QP 35 )        592 bits [Y 36.0000 dB    U 40.0000 dB    V 40.0000 dB] [ET     1 ]
POC    3 TId: 0 ( I-SLICE, nQP 29 QP 29 )      18600 bits [Y 38.0000 dB    U 40.0000 dB    V 40.0000 dB] [ET     1 ]
"""
    jm = """\
00000(NVB)     176
00000(IDR)  590728   27  38.911  42.516  43.020      6702       0    FRM    1
00001( P )   91234   28  38.900  42.500  43.000      6690       0    FRM    1
"""
    kvazaar = """\
POC    0 QP 31 AVG QP 31.0 (I-frame)     8392 bits PSNR Y 37.0 U 40.0 V 41.0
POC    1 QP 40 AVG QP 40.0 (B-frame)      392 bits PSNR Y 36.0 U 40.0 V 41.0 [L0 0 ] [L1 0 ]
POC    0 QP 31 AVG QP 31.0 (I-frame)     8392 bits PSNR Y 37.0 U 40.0 V 41.0
"""
    expected = {
        "hm": (hm, [(0, "I", 29), (2, "B", 33), (1, "B", 35), (3, "I", 29)]),
        "jm": (jm, [(0, "I", 27), (1, "P", 28)]),
        "kvazaar": (kvazaar, [(0, "I", 31), (1, "B", 40), (2, "I", 31)]),
    }
    for name, (log, pictures) in expected.items():
        assert plugins.get(name).coded_frames(log, "") == [CodedFrame(*picture) for picture in pictures]


def test_command_lines_of_tools_that_are_not_here() -> None:
    """Low delay with an intra picture every 16, as HM's encoder_lowdelay_main.cfg has its groups."""
    low = Structure("lowdelay", 16)
    argv = {
        (name, program): plugins.get(name).encode(
            program, CodingConfiguration(name, 30, stacked=True, structure=low), sequences.CLIP
        )
        for name, program in (
            ("hm", "TAppEncoderStatic"),
            ("vvenc", "vvencFFapp"),
            ("kvazaar", "kvazaar"),
            ("jm", "lencod"),
        )
    }
    hm = argv["hm", "TAppEncoderStatic"].argv
    assert "--IntraPeriod=16" in hm and "--GOPSize=8" in hm and "--IntraQPOffset=-1" in hm
    assert "--Frame1=B 1 5 -6.5 0.259 0 0 1.0 0 0 0 4 4 -1 -9 -17 -25 0" in hm
    assert "--Frame2=B 2 4 -6.5 0.259 0 0 1.0 0 0 0 4 4 -1 -2 -10 -18 0" in hm
    assert "--Frame8=B 8 1 0.0 0.0 0 0 1.0 0 0 0 4 4 -1 -8 -16 -24 0" in hm
    vvenc = argv["vvenc", "vvencFFapp"].argv
    assert vvenc[vvenc.index("--Frame8") + 1] == "B 8 1 0.0 0.0 0 0 1.0 0 0 0 0 0 0 0 4 4 1 8 16 24 4 4 1 8 16 24"
    assert vvenc.count("--IntraQPOffset") == 1 and vvenc.count("--IntraPeriod") == 1
    kvazaar = argv["kvazaar", "kvazaar"].argv
    assert [kvazaar[kvazaar.index(word) + 1] for word in ("--gop", "--period")] == ["lp-g4d3t1", "16"]
    jm = argv["jm", "lencod"]
    assert {"QPISlice=30", "QPPSlice=30"} <= set(jm.argv)
    lines = dict(line.split("#")[0].split("=") for line in jm.files["jm.cfg"].splitlines())
    settings = {name.strip(): value.strip() for name, value in lines.items()}
    assert [settings[name] for name in ("IntraPeriod", "IDRPeriod", "NumberReferenceFrames")] == ["16", "16", "4"]
