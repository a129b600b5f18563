"""Figures for print: vector files with letters that stay letters."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.helpers.report_sample import damage, sample, series
from vcmbench.data.estimate import Estimate
from vcmbench.report import content as c
from vcmbench.report.figures import write_figures

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_figures(sample(), tmp_path_factory.mktemp("figures") / "new")


def letters(path: Path) -> list[str]:
    return ["".join(text.itertext()) for text in ElementTree.parse(path).iter(f"{SVG}text")]  # noqa: S314


def test_every_chart_is_there_as_svg_and_pdf(written: list[Path]) -> None:
    names = {path.stem for path in written}
    assert names == {
        "accuracy_pseudo", "miou_pseudo", "accuracy_labels", "miou_labels", "correlation_block_all",
        "correlation_image_all", "scatter", "damage_class_1", "damage_distance_1", "mapped_uniform",
        "headroom_miou_pseudo",
    }  # fmt: skip
    assert len(written) == 2 * len(names) and all(path.stat().st_size > 5000 for path in written)
    assert {path.name for path in written[0].parent.iterdir()} == {path.name for path in written}, (
        "nothing else is left"
    )


def test_figures_of_correlations_are_named_by_level_size_and_codec(tmp_path: Path) -> None:
    table = replace(sample().correlations[0], rows=sample().correlations[0].rows[:2])
    groups = [("block", "32x32", "all"), ("block", "64x64", "all"), ("block", "64x64", "SVTAV1"), ("image", "", "JPEG")]
    tables = [replace(table, level=level, size=size, group=group) for level, size, group in groups]
    written = write_figures(c.ReportContent("a", "b", "2026-11-20", correlations=tables), tmp_path)
    assert [path.stem for path in written[::2]] == [
        "correlation_block_32x32_all", "correlation_block_64x64_all", "correlation_block_64x64_SVTAV1",
        "correlation_image_JPEG",
    ]  # fmt: skip


def test_letters_stay_letters(written: list[Path]) -> None:
    for path in written:
        if path.suffix == ".svg":
            assert len(letters(path)) > 5
        else:
            data = path.read_bytes()
            assert b"/CIDFontType2" in data and b"/Type3" not in data, "font type 42"
            assert b"/CreationDate" not in data
    found = letters(next(path for path in written if path.name == "miou_labels.svg"))
    assert {"jpeg", "vvenc", "Rate in bpp", "0.05", "pristine"} <= set(found)


def test_a_line_is_drawn_through_every_point(written: list[Path]) -> None:
    path = next(path for path in written if path.name == "accuracy_pseudo.svg")
    lines = [one.get("d", "") for one in ElementTree.parse(path).iter(f"{SVG}path")]  # noqa: S314
    assert sum(len(re.findall(r"[ML] ?[-\d.]+ [-\d.]+", line)) == 7 for line in lines) == 5, "five codecs, seven points"


def test_strange_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    strange = c.Series(r"_$\frac{1$ <b>&\udc80 日本", "x265")
    table = damage(("a$b", "_c"), "iou", np.random.default_rng(0))
    table = replace(table, columns=[strange, *table.columns[1:]])
    points = [c.RatePoint(None, 0.1, Estimate(0.5)), c.RatePoint(None, 0.2, Estimate(0.7, 0.6, 0.8))]
    curves = [
        c.RateCurve(strange, "pseudo", "accuracy", points),
        c.RateCurve(series("jpeg"), "pseudo", "accuracy", points),
    ]
    content = c.ReportContent("$t$", "../../x", "2026-11-20", curves=curves, class_damage=[table])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written = write_figures(content, tmp_path)
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    shown = "_$\\frac{1$ <b>&\\udc80 日本"
    assert shown in letters(tmp_path / "accuracy_pseudo.svg")
    assert {shown, "a$b", "_c"} <= set(letters(tmp_path / "damage_class_1.svg"))


def test_figures_are_the_same_each_time(tmp_path: Path) -> None:
    points = [
        c.RatePoint(None, 0.1, Estimate(0.5, 0.4, 0.6)),
        c.RatePoint(None, 0.2, Estimate(0.7, 0.6, 0.8)),
    ]
    content = c.ReportContent(
        "a", "b", "2026-11-20", curves=[c.RateCurve(series("jpeg"), "pseudo", "accuracy", points)]
    )
    first = {path.name: path.read_bytes() for path in write_figures(content, tmp_path / "1")}
    assert first == {path.name: path.read_bytes() for path in write_figures(content, tmp_path / "2")}


def test_nothing_is_drawn_without_data(tmp_path: Path) -> None:
    missing = c.RateCurve(
        series("jpeg"), "pseudo", "accuracy", [c.RatePoint(None, 0.1, Estimate(reason="no bitstream"))]
    )
    assert write_figures(c.ReportContent("a", "b", "2026-11-20", curves=[missing]), tmp_path) == []
