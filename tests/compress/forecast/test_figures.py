"""What one job takes: built-in figures, and what records make of them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from vcmbench.compress.forecast.figures import Figures, at, builtin, memory_mb, quality_of, rough_seconds
from vcmbench.compress.job import Geometry, geometry
from vcmbench.data.record import Record
from vcmbench.encoder import plugins
from vcmbench.encoder.configuration import CodingConfiguration

WIDTH, HEIGHT = 2048, 1024
NAMES = list(plugins.discover())


def size_of(coding: CodingConfiguration, frames: int = 1) -> Geometry:
    return geometry(plugins.get(coding.encoder), coding, WIDTH, HEIGHT, frames)


def record_of(coding: CodingConfiguration, bits: float, encode_s: float, decode_s: float, **more: Any) -> Record:
    clip = size_of(coding).clip
    return {
        **coding.as_dict(), "coded_width_px": clip.width, "coded_height_px": clip.height, "frames": 1,
        "size_bytes": round(bits / 8), "encode_s": encode_s, "decode_s": decode_s, **more,
    }  # fmt: skip


def cost(figures: Figures, coding: CodingConfiguration, frames: int = 1) -> Any:
    return figures.job(plugins.get(coding.encoder), coding, size_of(coding, frames))


def test_figures_between_anchors_are_log_linear_and_go_on_beyond_them() -> None:
    anchors = ((10, 8.0), (20, 2.0), (30, 1.0))
    assert at(anchors, 10) == pytest.approx(8)
    assert at(anchors, 15) == pytest.approx(4)
    assert at(anchors, 40) == pytest.approx(0.5)
    assert at(anchors, 0) == pytest.approx(32)
    assert at(((5, 3.0),), 50) == 3


@pytest.mark.parametrize("name", NAMES)
def test_built_in_figures_are_there_and_follow_quality(name: str) -> None:
    typical, scale = plugins.get(name).typical, plugins.get(name).quality
    for anchors in (typical.bpp, typical.encode_s_per_mpx, typical.decode_s_per_mpx):
        assert all(value > 0 for _, value in anchors)
        assert all(low[0] < high[0] for low, high in pairwise(anchors)), "anchors ascend"
    assert typical.seconds_per_mpx > 0
    assert all(part >= 0 for part in typical.memory_mb)
    if scale is not None:
        rates = [at(typical.bpp, quality) for quality in range(scale.minimum, scale.maximum + 1)]
        assert sorted(rates, reverse=scale.better == "low") == rates
        known = {*plugins.get(name).presets, *plugins.get(name).compat, *plugins.get(name).chroma}
        assert {variant for variant, _, _ in typical.variants} <= known


@pytest.mark.parametrize("name", [name for name in NAMES if plugins.get(name).map_method == "native"])
def test_a_low_qp_costs_more_than_a_high_one(name: str) -> None:
    low, high = (cost(Figures(), CodingConfiguration(name, quality)) for quality in (15, 45))
    assert low.seconds > 1.5 * high.seconds
    assert low.bits > 5 * high.bits


def test_presets_and_published_sets_count() -> None:
    plain = cost(Figures(), CodingConfiguration("vvenc", 32)).seconds
    assert cost(Figures(), CodingConfiguration("vvenc", 32, preset="medium")).seconds > 4 * plain
    assert cost(Figures(), CodingConfiguration("vvenc", 32, compat="qomex2023")).seconds > 2 * plain


def test_a_stack_takes_as_long_as_its_pictures_but_for_the_start() -> None:
    coding = CodingConfiguration("x265", 32, stacked=True)
    one, ten = cost(Figures(), coding), cost(Figures(), coding, 10)
    start_s = plugins.get("x265").typical.start_s
    assert ten.seconds - start_s == pytest.approx(10 * (one.seconds - start_s))
    assert ten.bits == pytest.approx(10 * one.bits)


def test_a_record_says_what_its_like_will_take() -> None:
    figures, coding = Figures(), CodingConfiguration("x265", 32)
    figures.add(record_of(coding, 800_000, 3.0, 1.0))
    found = cost(figures, coding)
    assert (found.bits, found.seconds, found.decode_s) == (pytest.approx(800_000), pytest.approx(4), pytest.approx(1))
    assert figures.source("x265") == "records"


def test_between_known_qualities_the_ratio_is_interpolated_and_beyond_them_it_stays() -> None:
    figures = Figures()
    usual = {quality: cost(Figures(), CodingConfiguration("x265", quality)) for quality in (12, 22, 27, 32, 42)}
    for quality, factor in ((22, 2.0), (32, 8.0)):
        figures.add(record_of(CodingConfiguration("x265", quality), usual[quality].bits * factor, 1.0, 1.0))
    for quality, factor in ((12, 2.0), (22, 2.0), (27, 4.0), (32, 8.0), (42, 8.0)):
        assert cost(figures, CodingConfiguration("x265", quality)).bits == pytest.approx(
            usual[quality].bits * factor, rel=1e-3
        )


def test_a_downscaled_picture_has_ratios_of_its_own_where_they_are_known() -> None:
    figures, full, half = Figures(), CodingConfiguration("x265", 32), CodingConfiguration("x265", 32, "420", 0.5)
    usual = cost(Figures(), half).bits
    figures.add(record_of(full, cost(Figures(), full).bits * 3, 1.0, 1.0))
    assert cost(figures, half).bits == pytest.approx(usual * 3, rel=1e-3)
    figures.add(record_of(half, usual * 5, 1.0, 1.0))
    assert cost(figures, half).bits == pytest.approx(usual * 5, rel=1e-3)


def test_what_is_not_known_is_corrected_by_the_machines_pace_in_time_alone() -> None:
    figures, known, other = Figures(), CodingConfiguration("x265", 32), CodingConfiguration("x264", 32)
    usual, plain = cost(Figures(), known), cost(Figures(), other)
    decode_s = usual.decode_s * 2
    figures.add(record_of(known, usual.bits * 7, usual.seconds * 2 - decode_s, decode_s))
    assert figures.pace == pytest.approx(2)
    assert figures.source("x264") == "pace"
    found = cost(figures, other)
    assert (found.bits, found.seconds) == (pytest.approx(plain.bits), pytest.approx(2 * plain.seconds))


def test_a_search_takes_as_many_encodes_as_records_say() -> None:
    figures = Figures()
    plain, searched = CodingConfiguration("x265", 32), CodingConfiguration("x265", None, target_bpp=0.2)
    assert figures.encodes("x265") == 4
    found = cost(figures, searched)
    assert found.bits == pytest.approx(0.2 * WIDTH * HEIGHT)
    assert found.seconds > 2.5 * cost(figures, plain).seconds
    one = record_of(searched, 400_000, 1.0, 0.1, rate_search={"encodes": 2}, found_quality=31)
    figures.add(one)
    figures.add(one | {"rate_search": {"encodes": 3}})
    assert figures.encodes("x265") == 2.5


def test_a_record_that_says_nothing_of_a_quality_is_passed_over() -> None:
    figures = Figures()
    record = record_of(CodingConfiguration("x265", None, target_bpp=0.2), 400_000, 1.0, 0.1)
    figures.add(record)
    figures.add(record | {"encoder": "gone"})
    assert figures.records == 0


def test_the_quality_of_a_target_is_where_the_figures_reach_it() -> None:
    typical = plugins.get("x265").typical
    for quality in (12, 27, 42):
        coding = CodingConfiguration("x265", None, target_bpp=at(typical.bpp, quality))
        assert quality_of(typical, coding, 1.0) == quality


def test_memory_grows_with_the_picture() -> None:
    tool, coding = plugins.get("vvenc"), CodingConfiguration("vvenc", 32)
    full, half = (geometry(tool, coding, WIDTH // n, HEIGHT // n, 1).clip for n in (1, 2))
    assert memory_mb(tool, full) > memory_mb(tool, half) > 20


def test_the_order_of_work_knows_long_jobs() -> None:
    def rough(coding: CodingConfiguration, frames: int = 1) -> float:
        return rough_seconds(plugins.get(coding.encoder), coding, WIDTH, HEIGHT, frames)

    coding = CodingConfiguration("x265", 32)
    clip = size_of(coding).clip
    assert rough(coding) == pytest.approx(builtin(plugins.get("x265"), coding, 32, clip).seconds)
    assert rough(coding, 267) > 200 * rough(coding)
    assert rough(CodingConfiguration("x265", 12)) > rough(coding) > rough(CodingConfiguration("x265", 32, "420", 0.5))
    assert math.isfinite(rough(CodingConfiguration("x265", None, target_bpp=0.2)))
