"""The published files of blocks and scores: read, written, matched with our names, and refused where they are wrong."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.helpers.paths import SHARED
from vcmbench import experiment
from vcmbench.demo import cityscapes
from vcmbench.encoder import plugins
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.errors import RequestError
from vcmbench.importance.qp_map import QpMap
from vcmbench.io import resources
from vcmbench.measure.blocks import Block, PublishedBlock, PublishedCoding, published, published_scores

PUBLISHED = SHARED / "data/qomex2023"
REAL = sorted(PUBLISHED.glob("*_64x64_val_blocks.json"))
needs_the_real_file = pytest.mark.skipif(not REAL, reason="the published blocks do not lie beside the checkout")


def entry(**changes: Any) -> list[Any]:
    """An entry of a blocks file, the one of the published data that comes second."""
    one: dict[str, Any] = {
        "image": "munster/munster_000079_000019", "codec": 3, "quality": 35, "chroma": "420", "factor": 0.25,
        "x": 926, "y": 442, "width": 64, "height": 64, "accuracy": 0.897216796875,
    }  # fmt: skip
    assert changes.keys() <= one.keys()
    one |= changes
    coding = [one["codec"], one["quality"], one["chroma"], one["factor"]]
    return [one["image"], coding, [one["x"], one["y"]], [one["width"], one["height"]], one["accuracy"]]


def write(path: Path, what: object) -> Path:
    path.write_text(what if isinstance(what, str) else json.dumps(what))
    return path


def test_what_an_entry_says(tmp_path: Path) -> None:
    table = {"7": entry(), "1": entry(codec="KVAZAAR", quality=None, factor=1, x=0)}
    read = published.read_blocks(write(tmp_path / "b.json", table))
    assert list(read) == ["7", "1"]
    assert read["7"] == PublishedBlock(
        "munster/munster_000079_000019", PublishedCoding("x265", 35, "420", 0.25), 926, 442, 64, 64, 0.897216796875
    )
    assert read["1"].coding == PublishedCoding("KVAZAAR", None, "420", 1.0)


@pytest.mark.parametrize(("number", "name"), list(enumerate(["LOSSLESS", "JPEG", "JM", "x265", "VVENC"])))
def test_codecs_by_number_and_by_name(tmp_path: Path, number: int, name: str) -> None:
    for codec in (number, name):
        read = published.read_blocks(write(tmp_path / "b.json", {"0": entry(codec=codec)}))
        assert read["0"].coding.codec == name
    published.write_blocks(tmp_path / "again.json", read)
    assert json.loads((tmp_path / "again.json").read_text())["0"][1] == [number, 35, "420", 0.25]


@needs_the_real_file
def test_the_published_blocks_byte_by_byte(tmp_path: Path) -> None:
    read = published.read_blocks(REAL[0])
    assert len(read) == 4096
    published.write_blocks(tmp_path / "again.json", read)
    assert (tmp_path / "again.json").read_bytes() == REAL[0].read_bytes()


@needs_the_real_file
def test_the_published_blocks_in_the_published_experiment() -> None:
    read = published.read_blocks(REAL[0])
    codings = {
        plugins.get(one.encoder).folder_name(one): published.coding_of(one)
        for one in experiment.load("qomex2023").configurations()
    }
    names = [f"leftImg8bit/val/{image}_leftImg8bit" for image in {block.image for block in read.values()}]
    found = published.from_published(REAL[0], read, names, codings)
    assert list(found) == [str(number) for number in range(4096)]
    assert len({block.configuration for block in found.values()}) == 176
    assert found["0"] == Block(
        "leftImg8bit/val/munster/munster_000059_000019_leftImg8bit",
        "VVENC(quality=45, color_subsampling=420, subsampling_factor=0.75)", 1286, 411, 64, 64, 0.5361328125,
    )  # fmt: skip
    assert published.to_published(found.values(), codings) == read


def codings_of_ours() -> list[CodingConfiguration]:
    plain = CodingConfiguration("x265", 32)
    return [
        plain, replace(plain, subsampling_factor=0.5), replace(plain, quality=33), replace(plain, preset="slow"),
        replace(plain, color_subsampling="444"), replace(plain, qp_map=QpMap(), match_rate=True),
        replace(plain, qp_map=QpMap()), replace(plain, compat="qomex2023"),
        replace(plain, quality=None, target_bpp=0.5), CodingConfiguration("jpeg", 32),
        CodingConfiguration("svtav1", 32), CodingConfiguration("lossless", None), CodingConfiguration("none", None),
        CodingConfiguration("x265", 32, parameters=(("qcomp", "1"), ("x", "a, b"))),
    ]  # fmt: skip


def test_the_sampled_set_of_the_demo_fits_the_demo() -> None:
    """val_config/demo_64x64_val_blocks.json: spread over accuracies, of scenes and configurations that the demo has."""
    path = resources.folder("val_config") / "demo_64x64_val_blocks.json"
    scenes = [frame for frame in cityscapes.plan(0, 4, 12, 1, 6) if frame.split == "val" and frame.annotated]
    names = [f"leftImg8bit/val/{frame.name}_leftImg8bit" for frame in scenes]
    codings = {str(i): published.coding_of(c) for i, c in enumerate(experiment.load("demo").configurations())}
    found = published.from_published(path, published.read_blocks(path), names, codings)
    assert len(found) == experiment.load("demo").metrics.blocks.count
    strata = np.bincount([min(int(block.accuracy * 10), 9) for block in found.values()], minlength=10)
    assert strata.min() > 70 and all(b.x + b.width <= 512 and b.y + b.height <= 256 for b in found.values())


def test_every_configuration_has_a_coding_of_its_own(tmp_path: Path) -> None:
    ours = codings_of_ours()
    codings = {plugins.get(one.encoder).folder_name(one): published.coding_of(one) for one in ours}
    assert len(set(codings.values())) == len(codings) == len(ours)
    assert codings["x265(quality=32, color_subsampling=420, subsampling_factor=1.0)"] == PublishedCoding(
        "x265", 32, "420", 1.0
    )
    assert published.coding_of(ours[3]).codec == "x265(preset=slow)"
    assert published.coding_of(ours[10]).codec == "SVTAV1"
    assert published.coding_of(ours[11]) == PublishedCoding("LOSSLESS", None, "420", 1.0)
    blocks = [Block("a/b", name, 1, 2, 3, 4, 0.5) for name in codings]
    path = tmp_path / "blocks.json"
    published.write_blocks(path, published.to_published(blocks, codings))
    found = published.from_published(path, published.read_blocks(path), ["a/b"], codings)
    assert list(found.values()) == blocks


def test_correlate_reads_what_is_written(tmp_path: Path) -> None:
    codings = {plugins.get(one.encoder).folder_name(one): published.coding_of(one) for one in codings_of_ours()}
    blocks = [Block(f"city/i{i % 3}", name, 0, 0, 4, 4, i / 16) for i, name in enumerate(codings)]
    table = published.to_published(blocks, codings)
    published.write_blocks(tmp_path / "b.json", table)
    rows: dict[str, dict[str, float | None]] = {
        number: {"acc": block.accuracy, "PSNR": math.inf, "SSIM": None} for number, block in table.items()
    }
    del rows["3"]["SSIM"]
    rows["4"]["SSIM"] = 0.5
    published.write_metrics(tmp_path / "m.json", rows)
    read = published_scores.read_scores(tmp_path / "m.json")
    np.testing.assert_array_equal(read.machine, [block.accuracy for block in blocks])
    assert np.isinf(read.metrics["PSNR"]).all()
    assert np.flatnonzero(np.isfinite(read.metrics["SSIM"])).tolist() == [4]
    told = published_scores.read_blocks(tmp_path / "b.json", read.ids)
    assert told.images == tuple(block.image for block in blocks)
    assert told.codecs == tuple(coding.codec for coding in codings.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.json", "m.json"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit", "lindau/lindau_000000_000019"),
        ("leftImg8bit/val/a/b/c_leftImg8bit", "a/b/c"),
        ("leftImg8bit/val/lindau/lindau_000000_000019", "leftImg8bit/val/lindau/lindau_000000_000019"),
        ("leftImg8bit/val/x_leftImg8bit", "leftImg8bit/val/x_leftImg8bit"),
        ("holiday/beach", "holiday/beach"),
        ("beach", "beach"),
    ],
)
def test_names_of_images(source: str, name: str) -> None:
    assert published.image_id(source) == name


CODINGS = {"cityscapes_x265(q)": PublishedCoding("x265", 35, "420", 0.25)}
IMAGE = "leftImg8bit/val/munster/munster_000079_000019_leftImg8bit"


@pytest.mark.parametrize(
    ("changes", "images", "codings", "words"),
    [
        ({"image": "ulm/ulm_1"}, [IMAGE], CODINGS, ["'0'", "'ulm/ulm_1'", "none of the 1", "munster/munster", "split"]),
        ({}, [], CODINGS, ["'munster/munster_000079_000019'", "none of the 0"]),
        ({"codec": 4}, [IMAGE], CODINGS, ["'0'", "VVENC quality 35 420 factor 0.25", "x265 quality 35", "add it"]),
        ({"quality": 34}, [IMAGE], CODINGS, ["x265 quality 34", "none of the 1 configurations"]),
        ({}, [IMAGE, IMAGE.replace("val", "train")], CODINGS, ["/train/", "/val/", "both the image"]),
        ({}, [IMAGE], CODINGS | {"other": CODINGS["cityscapes_x265(q)"]}, ["other", "both the coding"]),
    ],
)
def test_blocks_of_another_experiment(
    tmp_path: Path, changes: dict[str, Any], images: list[str], codings: dict[str, PublishedCoding], words: list[str]
) -> None:
    path = write(tmp_path / "b.json", {"0": entry(**changes)})
    with pytest.raises(RequestError) as caught:
        published.from_published(path, published.read_blocks(path), images, codings)
    line = str(caught.value)
    assert line.startswith(str(path)) and "\n" not in line
    assert all(word in line for word in words), line


def test_one_image_named_twice_is_one_image(tmp_path: Path) -> None:
    path = write(tmp_path / "b.json", {"0": entry()})
    found = published.from_published(path, published.read_blocks(path), [IMAGE, IMAGE], CODINGS)
    assert found["0"].image == IMAGE


BAD_NAMES = [
    7, None, "", "/etc/passwd", "../secret", "a/../../b", "a//b", "a/", "./a", "a/.", "a\\b", "a\0b", "a\nb", "\x1b[2J",
    "a" * 2000, ["a"],
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *(({"image": name}, ["the image must be a name"]) for name in BAD_NAMES),
        *(({"codec": codec}, ["codec", "1 JPEG"]) for codec in (5, -1, True, 3.0, None, "", "a\nb", [3], "x" * 2000)),
        *(({"quality": q}, ["quality must be"]) for q in ("35", True, math.nan, math.inf, 10**400, -1e300, [])),
        *(({"chroma": c}, ["chroma format", "420"]) for c in (420, "421", None, ["420"], {})),
        *(({"factor": f}, ["subsampling factor", "(0, 1]"]) for f in (0, -1, 1.01, math.nan, "1", True, None, 10**400)),
        *(
            ({side: v}, [side, "whole number"])
            for side in ("x", "y")
            for v in (-1, 1.0, True, "1", 2**21, 10**400, None)
        ),
        *(({side: v}, [side, "1 to"]) for side in ("width", "height") for v in (0, -64, 64.0, None, 2**21)),
        *(({"accuracy": a}, ["accuracy", "[0, 1]"]) for a in (-0.1, 1.1, math.nan, math.inf, "1", True, None, 10**400)),
    ],
)
def test_entries_that_cannot_be(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    path = write(tmp_path / "b.json", {"0": entry(), "9": entry(**changes)})
    with pytest.raises(RequestError) as caught:
        published.read_blocks(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: block '9': ") and line.isprintable() and len(line) < len(str(path)) + 300
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"0": [' + "9" * 5000 + "]}", "not JSON"),
        ("[]", "JSON object keyed by block"),
        ("{}", "holds no block"),
        ('{"0": 1, "0": 2}', "'0' is there twice"),
        ({"0": {"image": "a"}}, "block '0': must be .image, .codec"),
        ({"0": entry()[:4]}, "block '0': must be"),
        ({"0": [*entry(), 1]}, "block '0': must be"),
        ({"0": "abcde"}, "block '0': must be"),
        ({"0": None}, "block '0': must be"),
        ({"0": [*entry()[:2], [1, 2, 3], *entry()[3:]]}, "block '0': must be"),
        ({"0\n1": None}, r"block '0\\n1': must be"),
    ],
)
def test_files_that_are_none(tmp_path: Path, what: object, words: str) -> None:
    path = write(tmp_path / "b.json", what)
    with pytest.raises(RequestError, match=words):
        published.read_blocks(path)


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "b.json").open("wb") as file:
        file.truncate(2**34)
    with pytest.raises(RequestError, match="larger than 256 MiB"):
        published.read_blocks(tmp_path / "b.json")


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from([0, 1, 64, "420", "a/b", 0.5])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=9,
)
TWO = st.tuples(SCALARS, SCALARS)
NEARLY = st.tuples(SCALARS, st.tuples(SCALARS, SCALARS, SCALARS, SCALARS), TWO, TWO, SCALARS)
SOUND = st.builds(
    entry, image=st.text("abc/ü ", min_size=1, max_size=9), codec=st.integers(0, 4) | st.text("abc(, =)", min_size=1),
    quality=st.none() | st.integers(0, 63) | st.floats(0, 100), factor=st.floats(0.01, 1),
    x=st.integers(0, 9999), width=st.integers(1, 9999), accuracy=st.floats(0, 1),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.dictionaries(st.text(max_size=4), VALUES | NEARLY | SOUND, max_size=4))
@example(table={"0": entry()})
@example(table={"\ud800": entry(image="\ud800")})
def test_any_json_is_read_or_refused_in_one_line(tmp_path: Path, table: dict[str, Any]) -> None:
    path = write(tmp_path / "b.json", table)
    try:
        read = published.read_blocks(path)
    except RequestError as error:
        assert str(error).removeprefix(str(path)).isprintable()
        return
    assert list(read) == list(table)
    published.write_blocks(tmp_path / "again.json", read)
    assert published.read_blocks(tmp_path / "again.json") == read


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write(tmp_path / "b.json", "as it was")
    good = published.PublishedBlock("a", PublishedCoding("x265", 1, "420", 1.0), 0, 0, 1, 1, 0.5)
    with pytest.raises(ValueError, match="not JSON compliant"):
        published.write_blocks(path, {"0": replace(good, accuracy=math.nan)})
    assert path.read_text() == "as it was"
    published.write_blocks(path, {"0": good})
    assert published.read_blocks(path) == {"0": good}
