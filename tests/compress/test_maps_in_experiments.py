"""QP maps, target rates and importance in experiments: what is refused, what folders say, and what tools are told."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest

from vcmbench import experiment
from vcmbench.compress import importance_steps
from vcmbench.compress.allocation import frames
from vcmbench.compress.job import geometry
from vcmbench.data.colour import CHROMA_FORMATS
from vcmbench.encoder import configuration as coding
from vcmbench.encoder import jpeg_tables, plugins, quantisers
from vcmbench.encoder.base import Clip, Command
from vcmbench.encoder.configuration import CodingConfiguration, from_record
from vcmbench.encoder.quantisers import Quantisers
from vcmbench.errors import RequestError
from vcmbench.importance import ImportanceSettings, classes, qp_map
from vcmbench.importance.qp_map import QpMap
from vcmbench.importance.source import ImportanceSource

Write = Callable[..., Path]


def toml(name: str, quality: int | None, qp_map: str | None = None, more: str = "") -> str:
    lines = [f'encoder = "{name}"']
    lines += [f"quality = [{quality}]"] if quality is not None else []
    lines += [f"qp_map = {{ {qp_map} }}"] if qp_map is not None else []
    return "\n".join([*lines, more])


def folders(path: Path) -> list[str]:
    return [plugins.get(c.encoder).folder_name(c) for c in experiment.load(str(path)).configurations()]


# what is refused

STACKED, RATE, COMPAT = "stacked = true", 'match = "rate"', 'compat = "qomex2023"'

REFUSED = {
    "delta leaves QPs": (
        toml("x265", 49, "delta = 6"),
        r"delta 6 around QP 49: needs 43\.\.55, x265 has 0\.\.51",
    ),
    "delta leaves QPs below": (toml("x264", 3, "delta = 4"), r"delta 4 around QP 3: needs -1\.\.7, x264 has 0\.\.51"),
    "delta leaves qualities": (
        toml("jpeg", 3, "delta = 12"),
        r"delta 12 around quality 3: needs -\d[\d.]*\.\.\d+[\d.]*, jpeg has 1\.\.100",
    ),
    "delta leaves indices": (
        toml("svtav1", 60, "delta = 6"),
        r"delta 6 around QP 60: needs \d+[\d.]*\.\.6[4-9][\d.]*, svtav1 has 1\.\.63",
    ),
    "delta leaves QPs of a prefilter": (toml("hm", 50, "delta = 3"), r"around QP 50: needs 47\.\.53, hm has 0\.\.51"),
    "delta of a frame": (toml("x265", 49, 'mode = "frame"'), r"delta 6 around QP 49: needs 43\.\.55"),
    "compat": (
        toml("x265", 32, "", COMPAT),
        r"qp_map with compat 'qomex2023': .*x265 ignores every map without a word; .*method = \"prefilter\"",
    ),
    "compat of a stack": (
        toml("x265", 32, 'mode = "frame"', f"{COMPAT}\n{STACKED}"),
        r"qp_map with compat 'qomex2023': those parameters fix one QP for all pictures",
    ),
    "native where there is none": (
        toml("vvenc", 32, 'method = "native"'),
        r"qp_map\.method 'native': vvenc takes .*prefilter",
    ),
    "native where there are coefficients": (
        toml("jpeg", 50, 'method = "native"'),
        r"qp_map\.method 'native': jpeg takes coefficients or prefilter",
    ),
    "coefficients where there are none": (
        toml("x264", 32, 'method = "coefficients"'),
        r"qp_map\.method 'coefficients': x264 takes native or prefilter",
    ),
    "stack with blocks": (
        toml("x265", 32, "", STACKED),
        r'qp_map\.mode "block" with stacked: a map belongs to one picture; .*mode "frame"',
    ),
    "method of frames": (
        toml("x265", 32, 'mode = "frame", method = "native"'),
        r"qp_map\.method 'native': mode \"frame\" sets the quality itself",
    ),
    "stack without zones": (
        toml("vvenc", 32, 'mode = "frame"', STACKED),
        r"qp_map\.mode \"frame\" with stacked: vvenc takes no QP per picture",
    ),
    "frame with minmax": (
        toml("x265", 32, 'mode = "frame", scaling = "minmax"'),
        r'qp_map\.scaling "minmax": a single picture has one mean; mode "frame" takes "absolute"',
    ),
    "frame with match": (
        toml("x265", 32, 'mode = "frame"', RATE),
        r'match "rate" with mode "frame": every picture would get its uniform quality back',
    ),
    "frame with target": (
        toml("x265", None, 'mode = "frame"', "target = { bpp = 0.5 }"),
        r'target with mode "frame": every picture would get its uniform quality back',
    ),
    "match without a map": (toml("x265", 32, None, RATE), r'match "rate": is between a uniform and a mapped encode'),
    "match something else": (toml("x265", 32, "", 'match = "psnr"'), r"match: Input should be 'rate' \(found 'psnr'\)"),
    "target with quality": (
        toml("x265", 32, None, "target = { bpp = 0.5 }"),
        r"target: decides the quality; leave `quality` out",
    ),
    "target with match": (
        toml("x265", None, "", f"target = {{ bpp = 0.5 }}\n{RATE}"),
        r'target and match "rate" each say how large a file may be; give one of them',
    ),
    "target without a scale": (
        toml("none", None, None, "target = { bpp = 0.5 }"),
        r"target: none has no quality scale to search",
    ),
    "target of nothing": (
        toml("x265", None, None, "target = { bpp = 0 }"),
        r"target\.bpp: Input should be greater than 0 \(found 0\)",
    ),
    "unknown key of target": (
        toml("x265", None, None, "target = { bytes = 5000, bpp = 1 }"),
        r"target\.bytes: unknown key; known here: bpp",
    ),
    "map without a scale": (toml("lossless", None, ""), r"qp_map: lossless has no quality scale, hence none to vary"),
    "map of nothing": (toml("none", None, ""), r"qp_map: none has no quality scale"),
    "unknown key": (
        toml("x265", 32, "detla = 6"),
        r"coding\[1\]\.qp_map\.detla: unknown key; known here: mode, base, delta, block_size, scaling, gamma, method",
    ),
    "unknown mode": (
        toml("x265", 32, 'mode = "slice"'),
        r"qp_map\.mode: Input should be 'block' or 'frame'",
    ),
    "block size": (toml("x265", 32, "block_size = 3"), r"qp_map\.block_size: .*greater than or equal to 4 \(found 3\)"),
    "large block": (toml("x265", 32, "block_size = 1025"), r"qp_map\.block_size: .*less than or equal to 1024"),
    "half a block": (toml("x265", 32, "block_size = 16.5"), r"qp_map\.block_size: .*integer"),
    "gamma": (toml("x265", 32, "gamma = 0.0"), r"qp_map\.gamma: Input should be greater than 0 \(found 0\.0\)"),
    "large gamma": (toml("x265", 32, "gamma = 101"), r"qp_map\.gamma: .*less than or equal to 100"),
    "no gamma": (toml("x265", 32, "gamma = nan"), r"qp_map\.gamma: .*\(found nan\)"),
    "delta": (toml("x265", 32, "delta = 0"), r"qp_map\.delta: Input should be greater than 0 \(found 0\)"),
    "negative delta": (toml("x265", 32, "delta = -6"), r"qp_map\.delta: .*greater than 0 \(found -6\)"),
    "large delta": (toml("x265", 32, "delta = 49"), r"qp_map\.delta: .*less than or equal to 48 \(found 49\)"),
    "base and quality": (
        toml("x265", 32, "base = 30"),
        r"qp_map\.base 30: differs from quality \[32\]; leave one of them out",
    ),
    "base out of range": (toml("x265", None, "base = 52"), r"quality 52 is out of range: x265 takes QP 0\.\.51"),
    "no base": (toml("x265", None, ""), r"quality is missing: x265 takes QP 0\.\.51"),
    "base with target": (toml("x265", None, "base = 32", "target = { bpp = 0.5 }"), r"target: decides the quality"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_do_nothing_or_cannot_be_done_is_one_clear_line(write_experiment: Write, case: str) -> None:
    text, complaint = REFUSED[case]
    path = write_experiment(text)
    with pytest.raises(RequestError, match=complaint) as caught:
        experiment.load(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_importance_of_a_wrong_kind(write_experiment: Write) -> None:
    for line, complaint in {
        "agregate = 'class'": r"importance: agregate: unknown key; source 'labels' knows source, region, aggregate",
        "aggregate = 'object'": r"importance: aggregate: .*'instance', 'class' or 'pixel' \(found 'object'\)",
        "source = 'net'": r"importance: source 'net': unknown; there are files labels",
        "region = 0": r"importance\.region: Input should be greater than 0 \(found 0\)",
        "region = 1.5": r"importance\.region: Input should be less than or equal to 1",
        "use_speed = 1": r"importance: use_speed: .*boolean",
        "deceleration_mps2 = 0": r"importance: deceleration_mps2: 0\.0; allowed: a number of m/s\^2 above 0",
        "reaction_s = nan": r"importance: reaction_s: nan; allowed: a number of seconds from 0",
        "classes = 'no/such.toml'": r"importance: .*no/such\.toml",
    }.items():
        path = write_experiment(toml("x265", 32, ""), head=f"[importance]\n{line}")
        with pytest.raises(RequestError, match=complaint) as caught:
            experiment.load(str(path))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        toml("x265", 32, "method = 'prefilter'", COMPAT),  # the filter comes before the fixed parameters
        toml("vvenc", 32, "", COMPAT),
        toml("x265", 32, 'mode = "frame"', STACKED),
        toml("x264", 32, 'mode = "frame", scaling = "minmax"', f"{STACKED}\n{RATE}"),
        toml("vvenc", 32, 'mode = "frame"'),
        toml("x265", 6, "delta = 6"),
        toml("x265", 45, "delta = 6"),
        toml("jpeg", 25, "delta = 6"),
        toml("x265", None, "", "target = { bpp = 0.5 }"),
        toml("hm", 32, "", RATE),
    ],
)
def test_what_can_be_done_is_taken(write_experiment: Write, text: str) -> None:
    assert experiment.load(str(write_experiment(text))).configurations()


def test_a_base_stands_for_the_quality(write_experiment: Write) -> None:
    path = write_experiment(toml("x265", None, "base = 32"))
    same = write_experiment(toml("x265", 32, 'base = "quality"'), name="same")
    doubly = write_experiment(toml("x265", 32, "base = 32"), name="doubly")
    assert folders(path) == folders(same) == folders(doubly)
    assert experiment.load(str(path)).configurations()[0].quality == 32


# what folders say

COMMON = "color_subsampling=420, subsampling_factor=1.0"


@pytest.mark.parametrize(
    ("text", "head", "folder"),
    [
        (toml("x265", 32, ""), "", f"x265(quality=32, {COMMON}, qp_map=block-absolute-delta6-size16)"),
        (
            toml("x264", 32, 'delta = 2.5, block_size = 64, gamma = 0.5, scaling = "minmax"', RATE),
            "",
            f"x264(quality=32, {COMMON}, qp_map=block-minmax-delta2.5-size64-gamma0.5, match=rate)",
        ),
        (
            toml("x265", 32, 'method = "prefilter"', 'preset = "fast"'),
            "",
            f"x265(quality=32, {COMMON}, preset=fast, qp_map=block-absolute-delta6-size16-prefilter)",
        ),
        (
            toml("x265", 32, 'mode = "frame", delta = 3, block_size = 64', STACKED),
            "",
            f"x265(quality=32, {COMMON}, stacked=true, qp_map=frame-absolute-delta3)",
        ),
        (
            toml("svtav1", None, "", "target = { bpp = 0.25 }"),
            "",
            f"SVTAV1({COMMON}, qp_map=block-absolute-delta6-size16, target_bpp=0.25)",
        ),
        (toml("x265", None, None, "target = { bpp = 1 }"), "", f"x265({COMMON}, target_bpp=1)"),
        (
            toml("x265", 32, ""),
            '[importance]\nsource = "files"\nregion = 0.5',
            f"x265(quality=32, {COMMON}, qp_map=block-absolute-delta6-size16, importance=files-region0.5)",
        ),
        (
            toml("x265", 32, ""),
            '[importance]\naggregate = "class"\nuse_speed = false\nreaction_s = 1',
            f"x265(quality=32, {COMMON}, qp_map=block-absolute-delta6-size16, "
            "importance=aggregate-class-use_speed-False-reaction_s-1.0)",
        ),
        # without a map importance decides nothing
        (toml("x265", 32), '[importance]\naggregate = "class"', f"x265(quality=32, {COMMON})"),
    ],
)
def test_folders_of_maps(write_experiment: Write, text: str, head: str, folder: str) -> None:
    assert folders(write_experiment(text, head=head)) == [folder]


MAPS: list[tuple[QpMap, ImportanceSource]] = [
    (QpMap(), ImportanceSource()),
    (QpMap(mode="frame"), ImportanceSource()),
    (QpMap(delta=6.5), ImportanceSource()),
    (QpMap(block_size=32), ImportanceSource()),
    (QpMap(scaling="minmax"), ImportanceSource()),
    (QpMap(gamma=2), ImportanceSource()),
    (QpMap(method="native"), ImportanceSource()),
    (QpMap(method="prefilter"), ImportanceSource()),
    (QpMap(), ImportanceSource("files")),
    (QpMap(), ImportanceSource(region=0.5)),
    (QpMap(), ImportanceSource(settings=ImportanceSettings(aggregate="pixel"))),
    (QpMap(), ImportanceSource(settings=ImportanceSettings(use_distance=False))),
    (QpMap(), ImportanceSource(settings=ImportanceSettings(d_safe_floor_m=10))),
]


def test_maps_that_differ_have_folders_that_differ() -> None:
    plain = CodingConfiguration("x265", 32)
    codings = [plain, *(replace(plain, qp_map=one, importance=source) for one, source in MAPS)]
    codings += [replace(one, match_rate=True) for one in codings[1:]]
    names = {one.folder_name("x265", published=False).lower() for one in codings}
    assert len(names) == len(codings)
    assert not any(re.search(r'[/\\:*?"<>|]', name) for name in names), "Windows takes them, too"


def test_several_maps_lie_in_one_experiment_and_none_twice(write_experiment: Write) -> None:
    several = [toml("x265", 32), toml("x265", 32, ""), toml("x265", 32, "delta = 3"), toml("x265", 32, "", RATE)]
    assert len(set(folders(write_experiment(*several)))) == 4
    with pytest.raises(RequestError, match=r"qp_map=block-absolute-delta6-size16\) is asked for twice"):
        experiment.load(str(write_experiment(toml("x265", 32, ""), toml("x265", 32, "delta = 6.0"))))


def test_configurations_are_json_and_come_back() -> None:
    plain = CodingConfiguration("x265", 32, preset="fast", stacked=True)
    for one in (plain, *(replace(plain, qp_map=m, importance=s, target_bpp=0.5) for m, s in MAPS)):
        record = json.loads(json.dumps(one.as_dict()))
        assert record == one.as_dict()
        # a stream decodes the same wherever its map came from
        assert coding.from_record(record) == replace(one, importance=None)


def test_a_class_table_is_json_too(tmp_path: Path) -> None:
    table = tmp_path / "mine.toml"
    table.write_bytes(Path(classes.__file__).with_name("classes.toml").read_bytes())
    source = ImportanceSource(settings=ImportanceSettings(classes=table))
    one = CodingConfiguration("x265", 32, qp_map=QpMap(), importance=source)
    assert json.loads(json.dumps(one.as_dict()))["importance"]["settings"]["classes"] == str(table)
    assert re.search(r"importance=classes-[0-9a-f]{8}\)$", one.folder_name("x265", published=False))


@pytest.mark.parametrize("base", [27, 28])
@pytest.mark.parametrize("delta", [0.4, 0.5, 1.5, 2.5, 4.3, 6])
@pytest.mark.parametrize("scaling", ["absolute", "minmax"])
def test_compress_and_qpmap_round_alike(scaling: Any, delta: float, base: int) -> None:
    """To whole QPs within base +- delta, whatever delta is."""
    blocks = np.random.default_rng(1).random((6, 10), np.float32)
    blocks[::2, ::2], blocks[1::2, 1::2] = 0, 1
    values = blocks.repeat(16, 0).repeat(16, 1)
    wanted = CodingConfiguration("x265", base, qp_map=QpMap(delta=delta, scaling=scaling))
    size = geometry(plugins.get("x265"), wanted, 160, 96, 1)
    found = base + importance_steps.block_steps(values, wanted, size, base)
    assert np.array_equal(found, qp_map.qp_map(values, 16, base, delta, scaling))
    assert found.min() >= base - delta and found.max() <= base + delta
    pictures = [np.full((16, 16), value, np.float32) for value in (0.0, 0.5, 1.0)]
    frame = replace(wanted, qp_map=QpMap(mode="frame", delta=delta, scaling=scaling))
    ends = math.floor(base + delta) - base, 0, math.ceil(base - delta) - base
    assert importance_steps.frame_steps(pictures, frame, base) == list(ends)
    for one in map(plugins.get, ("x265", "jpeg", "svtav1")):
        coarsest, finest = (one.log2_step(frames._nearest(one, base, end, delta)) for end in (delta, -delta))
        assert -delta / 6 - 1e-9 <= finest - one.log2_step(base) <= coarsest - one.log2_step(base) <= delta / 6 + 1e-9


# scales of encoders: everything counts in steps of which six double the quantiser step


@pytest.mark.parametrize("name", ["x264", "x265", "kvazaar", "hm", "jm", "vvenc"])
def test_a_qp_is_a_step(name: str) -> None:
    assert plugins.get(name).quality_at(26, 6) == pytest.approx(32)
    assert plugins.get(name).quality_at(26, -2.5) == pytest.approx(23.5)


def test_jpegs_tables_scale_with_its_quality() -> None:
    """libjpeg's tables stand at 100 % at quality 50, and at 200 % at 25."""
    jpeg = plugins.get("jpeg")
    assert jpeg.quality_at(50, 6) == pytest.approx(25)
    assert jpeg.quality_at(25, -6) == pytest.approx(50)
    assert jpeg.quality_at(50, -6) == pytest.approx(75)
    for quality, steps in ((30, 3), (50, 6), (75, 3), (90, 12)):  # coarser, libjpeg's tables end at 255
        coarser = round(jpeg.quality_at(quality, steps))
        ratio = jpeg_tables.scaled_tables(coarser)[0].sum() / jpeg_tables.scaled_tables(quality)[0].sum()
        assert math.log2(ratio) * 6 == pytest.approx(steps, abs=0.3)


def test_av1s_quantiser_table() -> None:
    """Known points of Ac_Qlookup for 8 bits (AV1 specification, 7.12.2) and of SVT-AV1's 63 QPs."""
    module = sys.modules["vcmbench_encoders.svtav1"]
    steps = 2**module._LOG2_STEPS
    assert len(steps) == 256
    assert np.all(np.diff(steps) > 0)
    assert np.allclose(steps, np.rint(steps), atol=1e-6)
    known = {0: 4, 1: 8, 2: 9, 95: 102, 96: 104, 112: 136, 120: 152, 128: 176, 136: 200, 144: 231, 151: 260, 160: 305}
    known |= {168: 353, 176: 408, 184: 474, 192: 550, 200: 639, 208: 743, 216: 864, 224: 1007, 232: 1173, 240: 1369}
    known |= {248: 1597, 253: 1759, 254: 1793, 255: 1828}
    assert {index: round(float(steps[index])) for index in known} == known
    assert len(module._INDICES) == 64, "0 to 63"
    assert module._INDICES[[1, 2, 32, 61, 62, 63]].tolist() == [4, 8, 128, 244, 249, 255]
    svtav1 = plugins.get("svtav1")
    # index 20, a step of 27, to index 47, a step of 54: halfway between QPs 11 and 12
    assert svtav1.quality_at(5, 6) == pytest.approx(11.75, abs=0.05)


# what tools are told

CLIP = Clip(200, 136, 1, CHROMA_FORMATS["420"])  # 9x13 blocks of 16, 3x4 of 64, neither full
MAPPED = ["x264", "x265", "kvazaar", "svtav1", "jpeg"]


def blocks(unit_px: int) -> tuple[int, int]:
    return -(-CLIP.height // unit_px), -(-CLIP.width // unit_px)


def random_steps(unit_px: int, delta: int = 6) -> Any:
    return np.random.default_rng(8).integers(-delta, delta + 1, blocks(unit_px)).astype(np.float64)


def command(name: str, told: Quantisers, program: str = "", **options: Any) -> Command:
    one = plugins.get(name)
    configuration = CodingConfiguration(name, 50 if name == "jpeg" else 32, qp_map=QpMap(), **options)
    chosen = program or one.tools_to_encode(configuration)[0].program
    return one.encode_mapped(chosen, configuration, CLIP, told)


def hand_made(unit_px: int) -> Quantisers:
    """QP 30 with blocks of -4, 0 and 6."""
    offsets = np.zeros(blocks(unit_px), np.int64)
    offsets[0, :2], offsets[1:, -1:] = -4, 6
    return Quantisers(30, offsets, unit_px, offsets - 2.0)


def word_after(made: Command, option: str) -> str:
    return made.argv[made.argv.index(option) + 1]


@pytest.mark.parametrize("name", MAPPED)
def test_maps_travel_in_small_text_files_that_argv_names(name: str) -> None:
    one = plugins.get(name)
    for tool in one.map_tools or one.encode_tools:
        unit = one.map_units_px[0]
        made = command(name, hand_made(unit), tool.program)
        assert made == command(name, hand_made(unit), tool.program), "the same job has the same command"
        assert made.argv[0] == tool.program
        assert made.files
        words = [*made.argv, *(word for line in made.then for word in line)]
        for file, text in made.files.items():
            assert PurePath(file).name == file
            assert any(f"../in/{file}" in word for word in words)
            assert text.isascii()
            assert text.strip()
            assert len(text) < 5000
        assert not any(PurePath(word).is_absolute() for word in words)
        assert not any(str(Path.home()) in word or "/tmp" in word for word in [*words, *made.files.values()])
        assert one.bitstream in words


def parameters(made: Command, option: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in word_after(made, option).split(":"))


@pytest.mark.parametrize("name", ["x264", "x265"])
@pytest.mark.parametrize("is_stack", [False, True])
def test_no_constant_qp_where_regions_are_to_be_obeyed(name: str, is_stack: bool) -> None:
    """A constant QP ignores them without a word, and so does adaptive quantisation that is off or of strength 0."""
    told = Quantisers(30, frames=(28, 30, 36)) if is_stack else hand_made(16)
    words = parameters(command(name, told), f"-{name}-params")
    assert "qp" not in words
    assert words["crf"] == ("32" if is_stack else "30"), "the base of a picture, the quality of a stack"
    assert words["aq-mode"] == "1"
    assert float(words["aq-strength"]) > 0
    assert (words["qcomp"], words["ipratio"], words["keyint"]) == ("1", "1", "1")
    assert words.get("mbtree", words.get("cutree")) == "0"


@pytest.mark.parametrize("name", ["x264", "x265"])
def test_regions_paint_the_map(name: str) -> None:
    told = hand_made(16)
    made = command(name, told)
    assert word_after(made, "-/filter:v") == "../in/regions.txt"
    (text,) = made.files.values()
    painted = np.zeros(told.offsets.shape, np.int64)
    filters = re.findall(r"addroi=(\d+):(\d+):(\d+):(\d+):(-?\d+)/51", text)
    assert len(filters) == text.count("addroi") == 2
    for x, y, width, height, offset in reversed([[int(number) for number in one] for one in filters]):
        painted[y // 16 : (y + height) // 16, x // 16 : (x + width) // 16] = offset
    assert np.array_equal(painted, told.offsets)


def test_no_region_is_a_filter_that_does_nothing() -> None:
    (text,) = command("x264", Quantisers(30, np.zeros(blocks(16), np.int64), 16)).files.values()
    assert text == "null", "FFmpeg takes no empty graph"


@pytest.mark.parametrize(("unit", "ctu"), [(16, 32), (32, 32), (64, 64)])
def test_x265s_units_are_those_of_the_map(unit: int, ctu: int) -> None:
    """Larger ones would take the mean of theirs; coding tree units below 32 cost the machine more than a map gives."""
    words = parameters(command("x265", hand_made(unit)), "-x265-params")
    assert (words["ctu"], words["qg-size"]) == (str(ctu), str(unit))


def test_zones_give_every_picture_its_qp() -> None:
    told = Quantisers(32, frames=(28, 30, 36))
    assert parameters(command("x264", told), "-x264-params")["zones"] == "0,0,q=28/1,1,q=30/2,2,q=36"
    # x265 looks a zone up for the picture before it
    assert parameters(command("x265", told), "-x265-params")["zones"] == "1,1,q=28/2,2,q=30/3,3,q=36"
    assert command("x265", told).files == {}


def test_x264_does_not_search_for_qps_of_its_own() -> None:
    """From subme 10 on it tries every block's QP anew."""
    for preset, subme in (("medium", None), ("slower", None), ("veryslow", "9"), ("placebo", "9")):
        made = command("x264", hand_made(16), preset=preset)
        assert parameters(made, "-x264-params").get("subme") == subme


@pytest.mark.parametrize("program", ["kvazaar", "ffmpeg"])
def test_kvazaars_map_reads_back(program: str) -> None:
    told = hand_made(64)
    made = command("kvazaar", told, program)
    size, *rows = made.files["roi.txt"].splitlines()
    assert size.split() == ["4", "3"], "columns first"
    assert [[int(word) for word in row.split()] for row in rows] == told.offsets.tolist()
    if program == "kvazaar":
        assert (word_after(made, "--roi"), word_after(made, "--qp")) == ("../in/roi.txt", "30")
    else:
        assert "qp=30,roi=../in/roi.txt" in word_after(made, "-kvazaar-params")


def test_svtav1s_map_is_a_line_of_offsets() -> None:
    one = plugins.get("svtav1")
    for delta in (1, 6, 12):
        steps = random_steps(64, delta)
        told = one.quantisers(32, steps, 0.0, 64)
        made = command("svtav1", told)
        assert made.argv[0] == "SvtAv1EncApp", "FFmpeg's libsvtav1 takes no map"
        text = made.files["roi.txt"]
        assert text.endswith("\n")
        assert text.count("\n") == 1
        picture, *offsets = map(int, text.split())
        assert picture == 0
        assert len(offsets) == steps.size
        assert len(set(offsets)) <= 8, "AV1 has eight segments"
        assert offsets == told.offsets.ravel().tolist()
        assert word_after(made, "--qp") == str(int(told.base))
        assert word_after(made, "--roi-map-file") == "../in/roi.txt"


@pytest.mark.parametrize("shift", [0.0, -3.3, 5.7])
def test_svtav1s_indices_come_near_the_steps(shift: float) -> None:
    one, random = plugins.get("svtav1"), np.random.default_rng(1)
    steps = random.integers(-6, 7, (20, 30)).astype(np.float64)
    told = one.quantisers(35, steps, shift, 64)
    levels = quantisers.nearest_levels(steps, 7) + shift
    values, counts = np.unique(levels, return_counts=True)
    largest = levels == values[counts.argmax()]
    assert np.abs(told.steps - levels)[~largest].max() < 0.25, "an index is up to half a step here"
    assert np.abs(told.steps - levels)[largest].max() < 1.1, "the largest level is split between two indices"
    assert abs(float((told.steps - levels)[largest].mean())) < 0.1
    assert len(np.unique(told.offsets)) <= 8
    module = sys.modules["vcmbench_encoders.svtav1"]
    indices = module._INDICES[int(told.base)] + told.offsets
    assert indices.min() >= 1, "0 is lossless"
    assert indices.max() <= 255
    assert np.allclose((module._LOG2_STEPS[indices] - one.log2_step(35)) * 6, told.steps)
    assert told.offsets.min() >= 0, "the base is at the finest block"
    assert told.clamped == 0


def test_av1_never_becomes_lossless() -> None:
    """Quantiser index 0 switches the transform, and much more, off."""
    told = plugins.get("svtav1").quantisers(2, np.array([[-12.0, 0.0]]), 0.0, 64)
    assert (told.base, told.clamped) == (1, 1)
    assert told.offsets.tolist() == [[1 - 4, 8 - 4]], "indices 1 and 8, over QP 1, which is index 4"


def test_what_leaves_av1s_table_is_counted() -> None:
    told = plugins.get("svtav1").quantisers(60, np.array([[0.0, 12.0, 12.0]]), 0.0, 64)
    assert told.clamped == 2
    assert told.steps.max() == pytest.approx(math.log2(1828 / 2 ** plugins.get("svtav1").log2_step(60)) * 6)


def test_jpegs_excess_is_over_its_finest_block() -> None:
    one = plugins.get("jpeg")
    for shift in (-4.0, 0.0, 2.5):
        steps = random_steps(16)
        told = one.quantisers(50, steps, shift, 16)
        made = command("jpeg", told)
        excess = np.array([[float(cell) for cell in row.split(",")] for row in made.files["excess.csv"].splitlines()])
        assert excess.shape == steps.shape
        assert excess.min() == 0
        assert np.allclose(excess + told.base, steps + shift)
        assert np.allclose(told.steps, steps + shift)
        assert told.clamped == 0
        luma, chroma = jpeg_tables.read_tables(made.files["tables.txt"])
        wanted = jpeg_tables.scaled_tables(50, float(steps.min()) + shift)
        assert [luma, chroma] == [table.ravel().tolist() for table in wanted]
        assert made.then == (
            ("jpeg-requantise", "--map", "../in/excess.csv", "--block", "16", "fine.jpg", "coded.jpg"),
        )
        assert "-quality" not in made.argv, "it would scale the tables again"


def test_jpegs_excess_has_an_end() -> None:
    told = plugins.get("jpeg").quantisers(50, np.array([[-40.0, 40.0]]), 0.0, 16)
    assert told.offsets.tolist() == [[0, jpeg_tables.MAX_EXCESS]]
    assert told.clamped == 2, "and at -40 steps the tables end at 1"


@pytest.mark.parametrize("name", MAPPED)
def test_what_a_tool_is_told_adds_up(name: str) -> None:
    """`steps` are what base and offsets come to, for whichever shift a search may try."""
    one = plugins.get(name)
    quality, unit = (50 if name == "jpeg" else 32), one.map_units_px[0]
    steps = random_steps(unit)
    for shift in np.linspace(*one.shift_range(quality), 9):
        told = one.quantisers(quality, steps, float(shift), unit)
        assert told.steps.shape == told.offsets.shape == steps.shape
        assert told.unit_px == unit
        assert 0 <= told.clamped <= steps.size
        command(name, told)
    told = one.quantisers(quality, steps, 0.0, unit)
    assert np.abs(told.steps - steps).max() <= (1 if name in ("x264", "svtav1") else 1e-9)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ("aq-strength = 0", r"parameters 'aq-strength' = '0': vcmbench sets it for x265, so that the map is obeyed"),
        ("no-aq-mode = 1", r"parameters 'no-aq-mode' = '1': vcmbench sets it"),
        ("qp = 30", r"parameters 'qp' = '30': vcmbench sets it"),
        ('tune = "grain:qp=30"', r"parameters 'tune' = 'grain:qp=30': names match .* values"),
        ('"rd:qp" = 1', r"parameters 'rd:qp' = '1': names match"),
    ],
)
def test_parameters_that_would_make_an_encoder_deaf_are_refused(
    parameters: str, complaint: str, write_experiment: Callable[..., Path]
) -> None:
    coding = f'encoder = "x265"\nquality = [30]\nqp_map = {{ delta = 6 }}\nparameters = {{ {parameters} }}'
    with pytest.raises(RequestError, match=complaint):
        experiment.load(str(write_experiment(coding)))


def test_other_parameters_reach_the_encoder_and_the_folder(write_experiment: Callable[..., Path]) -> None:
    coding = 'encoder = "{}"\nquality = [30]\nparameters = {{ psy-rd = 0.5, deblock = "1,1", sao = false }}'
    (x265, x264) = experiment.load(str(write_experiment(coding.format("x265"), coding.format("x264")))).configurations()
    for one in (x265, x264):
        tool = plugins.get(one.encoder)
        argv = " ".join(tool.encode("ffmpeg", one, Clip(64, 64, 1, CHROMA_FORMATS["420"])).argv)
        assert ":deblock=1,1:psy-rd=0.5:sao=0" in argv
        assert "parameters=deblock-1,1+psy-rd-0.5+sao-0)" in tool.folder_name(one)
        assert from_record(json.loads(json.dumps(one.as_dict()))) == one
    with pytest.raises(RequestError, match="parameters: kvazaar takes none"):
        experiment.load(str(write_experiment(coding.format("kvazaar"))))
