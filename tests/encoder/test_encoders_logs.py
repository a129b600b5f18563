"""What encoders read from what their tools print, and the command lines of tools that are not on every machine."""

from __future__ import annotations

import re

import pytest

from vcmbench.data.colour import CHROMA_FORMATS
from vcmbench.encoder import plugins
from vcmbench.encoder.base import Clip
from vcmbench.encoder.configuration import CodingConfiguration

CLIP = Clip(2048, 1024, 3, CHROMA_FORMATS["420"])


def test_jm_takes_its_configuration_from_its_own_file() -> None:
    """lencod -d FILE, then -p Name=Value pairs; every name in the file once, in lencod's `Name = Value # comment`."""
    jm = plugins.get("jm")
    command = jm.encode("lencod", CodingConfiguration("jm", 37, stacked=True), CLIP)
    assert command.argv[:3] == ("lencod", "-d", "../in/jm.cfg")
    words = command.argv[3:]
    assert set(words[::2]) == {"-p"}
    settings = dict(word.split("=") for word in words[1::2])
    assert settings == {
        "InputFile": "../in/source.yuv",
        "OutputFile": "coded.264",
        "ReconFile": "reconstruction.yuv",
        "SourceWidth": "2048",
        "SourceHeight": "1024",
        "FramesToBeEncoded": "3",
        "QPISlice": "37",
        "LevelIDC": "51",
    }
    lines = command.files["jm.cfg"].splitlines()
    names = [re.fullmatch(r'(\w+) +=  *(-?[\d.]+|"[\w.]+")( +#.*)?', line) for line in lines]
    assert all(names)
    found = [match[1] for match in names if match]
    assert len(found) == len(set(found))
    assert not set(found) & set(settings), "what the command line says must not stand in the file too"
    published = jm.encode("lencod", CodingConfiguration("jm", 37, compat="qomex2023"), CLIP)
    assert "LevelIDC=42" in published.argv
    decode = jm.decode("ldecod", CodingConfiguration("jm", 37), CLIP)
    assert decode.argv == ("ldecod", "-i", "coded.264", "-o", "decoded.yuv")


def test_jm_coded_qp() -> None:
    log = """\
Frame     Bit/pic    QP   SnrY    SnrU    SnrV    Time(ms) MET(ms) Frm/Fld Ref
-------------------------------------------------------------------------------
00000(NVB)     176
00000(IDR)  590728    27  38.911  42.516  43.020      6702       0    FRM    1
00001(IDR)  591234    28  38.900  42.500  43.000      6690       0    FRM    1
-------------------------------------------------------------------------------
"""
    assert plugins.get("jm").coded_qp(log) == 27.5
    total = " Total bits                        : 1182138 (I 1181962, P 0, NVB 176) \n"
    assert plugins.get("jm").reported_bytes(log + total) == 147767
    assert plugins.get("jm").coded_qp("no table") is None
    assert plugins.get("jm").coded_qp("00000(IDR)12582912    5  60.1\n00001(IDR)  582912    7  60.1\n") == 6


def test_vvenc_applications() -> None:
    vvenc = plugins.get("vvenc")
    argv = vvenc.encode("vvencFFapp", CodingConfiguration("vvenc", 32), CLIP).argv
    pairs = dict(zip(argv[1::2], argv[2::2], strict=True))
    assert (pairs["-s"], pairs["-f"], pairs["-q"], pairs["--preset"]) == ("2048x1024", "3", "32", "faster")
    assert (pairs["-t"], pairs["-qpa"], pairs["--IntraPeriod"], pairs["--InternalBitDepth"]) == ("0", "0", "1", "8")
    # what else would move the QP
    assert [pairs[name] for name in ("--IntraQPOffset", "--MCTF", "--BIM")] == ["0", "0", "0"]
    published = vvenc.encode("vvencFFapp", CodingConfiguration("vvenc", 32, compat="qomex2023"), CLIP).argv
    pairs = dict(zip(published[1::2], published[2::2], strict=True))
    assert (pairs["--preset"], pairs["--ALFSpeed"], pairs["-qpa"]) == ("fast", "0", "1")
    assert not {"--IntraQPOffset", "--MCTF", "--BIM"} & set(pairs), "as published"
    assert vvenc.decode("vvdecapp", CodingConfiguration("vvenc", 32), CLIP).argv[0] == "vvdecapp"


@pytest.mark.parametrize(("program", "switch"), [("cjpeg", "-optimize"), ("pillow-jpeg", "--optimize")])
def test_jpeg_has_the_standard_huffman_tables_where_it_is_the_published_one(program: str, switch: str) -> None:
    jpeg = plugins.get("jpeg")
    assert switch in jpeg.encode(program, CodingConfiguration("jpeg", 30), CLIP).argv
    assert switch not in jpeg.encode(program, CodingConfiguration("jpeg", 30, compat="qomex2023"), CLIP).argv


def test_the_published_x265_parameters_stand_in_the_command() -> None:
    argv = plugins.get("x265").encode("ffmpeg", CodingConfiguration("x265", 30, compat="qomex2023"), CLIP).argv
    assert argv[argv.index("-preset") + 1] == "slow"
    parameters = argv[argv.index("-x265-params") + 1].split(":")
    published = [
        *("qp=30", "amp=1", "rskip=0", "no-limit-modes=1", "fps=1", "keyint=1", "ref=1", "no-open-gop=1"),
        *("weightp=0", "weightb=0", "cutree=0", "rc-lookahead=0", "bframes=0", "scenecut=0", "b-adapt=0"),
        *("repeat-headers=1", "rdoq-level=2", "psy-rdoq=0", "psy-rd=0"),
    ]
    assert [word for word in parameters if word in published] == published
    assert set(parameters) - set(published) == {"no-info=1", "pools=1", "frame-threads=1"}


def test_logs_of_other_tools() -> None:
    hm = plugins.get("hm")
    log = (
        "POC    0 TId: 0 ( I-SLICE, nQP 32 QP 32 )       5528 bits [Y 32.3932 dB    U 39.1 dB    V 40.0 dB]\n"
        "Bytes written to file: 2098 (419.600 kbps)\n"
    )
    assert (hm.coded_qp(log), hm.reported_bytes(log)) == (32, 2098)
    kvazaar = "POC    0 QP 32 AVG QP 32.0 (I-frame)  8392 bits PSNR Y 37\n Processed 1 frames,       8392 bits AVG PSNR"
    assert (plugins.get("kvazaar").coded_qp(kvazaar), plugins.get("kvazaar").reported_bytes(kvazaar)) == (32, 1049)
    vvenc = (
        "POC     0 TId: 0 (  IDR_N_LP, I-SLICE, QP 33, TF 0)       9048 bits [Y 34.2552 dB    U 40.6518 dB]\n"
        "POC     1 TId: 0 (       CRA, I-SLICE, QP 36 )       7480 bits [Y 33.4305 dB    U 40.4281 dB]\n"
    )
    assert plugins.get("vvenc").coded_qp(vvenc) == 34.5
    assert plugins.get("vvenc").reported_bytes(vvenc + "Bytes written to file: 2066 (5.509 kbps)\n") == 2066
    x264 = "[libx264 @ 0x5] frame I:3     Avg QP:32.00  size:  2338\nframe=3\ntotal_size=7014\nprogress=end\n"
    assert (plugins.get("x264").coded_qp(x264), plugins.get("x264").reported_bytes(x264)) == (32, 7014)
    x265 = "x265 [info]: frame I: 1, Avg QP:31.50  kb/s: 3\nencoded 1 frames in 0.11s (8.80 fps), 3 kb/s, Avg QP:31.50"
    assert plugins.get("x265").coded_qp(x265) == 31.5
    assert all(one.coded_qp("") is None for one in plugins.discover().values())
    assert all(one.reported_bytes("") is None for one in plugins.discover().values())


def test_kvazaar_s_program_writes_what_its_blocks_cost_and_its_library_does_not() -> None:
    kvazaar, coding = plugins.get("kvazaar"), CodingConfiguration("kvazaar", 32)
    own, library = (kvazaar.encode(program, coding, CLIP) for program in ("kvazaar", "ffmpeg"))
    counting = kvazaar.with_block_bits(own)
    assert counting is not None and counting.argv == (*own.argv, "--stats-file-prefix", "ctu_")
    assert kvazaar.with_block_bits(library) is None and plugins.get("x265").with_block_bits(own) is None
    assert kvazaar.read_block_bits("0 3 2\n1840 2720 1160 \n2696 3216 3168 \n\n").tolist() == [
        [1840, 2720, 1160], [2696, 3216, 3168]
    ]  # fmt: skip
    for text in ("", "0 3 2\n1 2 3\n", "0 3 2\n1 2 3\n4 5\n", "0 2\n1 2\n", "0 1 1\nx\n"):
        with pytest.raises(ValueError):  # NumPy's own words, and Python's
            kvazaar.read_block_bits(text)
