"""The report's file, its numbers and its words, without a browser."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.report_sample import CODECS, METRICS, sample, scores, series
from vcmbench.analysis import correlation
from vcmbench.cli.metrics_tables import bd_rates
from vcmbench.data.effort import Effort, preset_of
from vcmbench.data.estimate import Estimate
from vcmbench.io.text import visible
from vcmbench.report import content as c
from vcmbench.report.build import correlation_table
from vcmbench.report.findings import cautions, findings, rate_at, time_warning
from vcmbench.report.headline import headline
from vcmbench.report.html import gallery, page, pictures
from vcmbench.report.html.axes import Axis, linear_ticks
from vcmbench.report.html.charts import rate_chart
from vcmbench.report.html.markup import Markup, element, escape
from vcmbench.report.html.page import render, write_report
from vcmbench.report.styles import COLOURS, MARKERS, Styles
from vcmbench.report.text import count, interval, number, p_value, rate, significant


@pytest.fixture(scope="module")
def content() -> c.ReportContent:
    return sample()


@pytest.fixture(scope="module")
def html(content: c.ReportContent) -> str:
    return render(content)


class Reader(HTMLParser):
    """Tables by their captions: rows of (text, key)."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[tuple[str, str | None]]]] = {}
        self._rows: list[list[tuple[str, str | None]]] = []
        self._in: str | None = None
        self._caption = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append(("", dict(attrs).get("data-key")))
        if tag in ("td", "th", "caption"):
            self._in = tag

    def handle_data(self, data: str) -> None:
        if self._in == "caption":
            self._caption += data
        elif self._in:
            text, key = self._rows[-1][-1]
            self._rows[-1][-1] = (text + data, key)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "caption"):
            self._in = None
        elif tag == "table":
            self.tables[self._caption] = self._rows


def test_the_file_needs_nothing_else(html: str) -> None:
    assert not re.search(r"https?://|@import|url\(|<link|<iframe|<base|<form|<object|<embed", html)
    sources = re.findall(r'\ssrc="([^"]*)"', html)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert all(link.startswith("#") for link in re.findall(r'\shref="([^"]*)"', html))
    assert html.count("<script") == 1 and html.count("<style") == 1 and " style=" not in html


def test_the_policy_knows_style_and_script_by_their_hashes(html: str) -> None:
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert found
    policy = dict(part.strip().split(" ", 1) for part in found[1].replace("&#39;", "'").split(";"))
    assert policy["default-src"] == "'none'" and policy["img-src"] == "data:"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        inside = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert inside
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert policy[rule] == f"'sha256-{digest}'"


def test_the_same_content_makes_the_same_bytes(content: c.ReportContent, html: str) -> None:
    assert render(content) == html


def test_the_file_is_whole_or_the_old_one(
    content: c.ReportContent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "report.html"
    assert write_report(c.ReportContent("a", "b", "2026-11-20"), path) == path
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_report(content, path)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]


def test_tables_hold_the_content(content: c.ReportContent, html: str) -> None:
    tables = Reader(html).tables
    curve_rows = tables["Pixel accuracy against the pseudo ground truth, over rate"]
    curves = [curve for curve in content.curves if (curve.against, curve.measure) == ("pseudo", "accuracy")]
    assert len(curve_rows) == 1 + sum(len(curve.points) for curve in curves)
    lowest = min(curves[0].points, key=lambda point: point.rate)
    row = curve_rows[1]
    assert row[0][0] == curves[0].series.label
    assert float(row[2][1] or "nan") == pytest.approx(lowest.rate, rel=1e-8)
    assert float(row[3][1] or "nan") == pytest.approx(lowest.value.value or 0, rel=1e-8)
    assert interval(lowest.value) in row[3][0]
    correlations = next(rows for caption, rows in tables.items() if caption.startswith("Blocks: correlation"))
    rows = [*content.correlations[0].rows, *content.correlations[0].baselines]
    assert [row[0][0] for row in correlations[1:]] == [row.metric for row in rows]
    for shown, row in zip(correlations[1:], rows, strict=True):
        value = row.values["SROC"].value
        assert shown[1][1] is None if value is None else float(shown[1][1] or "nan") == pytest.approx(value, rel=1e-8)
    damage = next(rows for caption, rows in tables.items() if caption.startswith("Loss of IoU"))
    assert len(damage) == 20 and len(damage[0]) == 1 + len(CODECS) + 1


def test_bjontegaard_differences_have_a_table_a_measure(content: c.ReportContent, html: str) -> None:
    tables = Reader(html).tables
    rows = tables["Pixel accuracy against the pseudo ground truth: differences, with 95 % intervals"]
    assert [text for text, _ in rows[0]][1:3] == ["BD-rate in %, PCHIP", "BD-rate in %, Akima"]
    assert [row[0][0] for row in rows[1:]] == [f"{codec} against jpeg" for codec in list(CODECS)[1:]]
    found = {(row.test.label, row.method): row.bd_rate_percent.value for row in content.bd if row.against == "pseudo"}
    assert [float(row[2][1] or "nan") for row in rows[1:]] == [found[name, "Akima"] for name in list(CODECS)[1:]]
    assert tables["mIoU against the labels: differences, with 95 % intervals"][1][1][1] is None


def test_what_maps_save_has_a_chart_and_a_table(content: c.ReportContent, html: str) -> None:
    section = html[html.index('<section id="headroom"') :].split("</section>")[0]
    assert content.judged in section and section.count("<svg") == 1
    said = "Rate at equal mIoU against the pseudo ground truth, "
    said += "in % of the same codec\u2019s without a map (below: which)."
    assert f"{said} x265 \u221218.0, jpeg +4.0" in section
    (rows,) = Reader(section).tables.values()
    assert [row[0][0] for row in rows[1:]] == [
        f"{one.test.label} against {one.anchor.label}" for one in content.headroom
    ]
    assert float(rows[1][1][1] or "nan") == -18 and "falls" in section
    assert 'id="headroom"' not in render(replace(content, headroom=()))


def test_reasons_stand_below_their_table(html: str) -> None:
    assert "3 of 20 bitstreams are missing" in html
    assert "600 of 600 scores are NaN" in html
    assert "not monotone between 0.21 and 0.34 bpp" in html
    assert html.count("no pixel lies that far in 20 pictures") == 1, "written once, referred to by a letter"


def test_a_curve_says_what_it_measures() -> None:
    with pytest.raises(ValueError, match="'iuo' against 'pseudo'"):
        c.RateCurve(series("x265"), "pseudo", "iuo", [])


def test_losses_fit_their_rows_and_columns() -> None:
    with pytest.raises(ValueError, match="2 rows of 1"):
        c.Losses("pseudo", "iou", "at 0.2 bpp", ["road", "car"], [series("x265")], [[Estimate(0.1)]])


def test_numbers_as_people_read_them() -> None:
    assert number(-0.0004, 3) == "0.000" and number(-0.5, 1) == "\u22120.5" and number(0.25, 2, signed=True) == "+0.25"
    assert [rate(value) for value in (0.0333, 0.33, 1.2, 24.0, 0.00123)] == [
        "0.0333",
        "0.330",
        "1.20",
        "24.0",
        "0.00123",
    ]
    assert [significant(value) for value in (0, 29.0, 0.12345, 1234.5, -2.5)] == [
        "0",
        "29",
        "0.123",
        "1230",
        "\u22122.5",
    ]
    assert count(4096) == "4096" and count(73728) == "73\u202f728"
    assert p_value(0.0004) == "< 0.001" and p_value(0.05) == "= 0.050"
    assert interval(Estimate(0.5, 0.25, 0.75), 2) == "[0.25, 0.75]" and interval(Estimate(0.5)) == ""


def test_names_that_turn_or_break_text_are_spelled_out() -> None:
    assert visible("a\u202eb\x00c\udc80\x1b[0m\u2066") == "a\\u202eb\\x00c\\udc80\\x1b[0m\\u2066"
    assert (
        visible("Zürich, 東京 \u0938\u094d\u0924\u0947 👩\u200d🔧\n")
        == "Zürich, 東京 \u0938\u094d\u0924\u0947 👩\u200d🔧\n"
    )
    visible("\udc80\x00").encode("utf-8")


def test_markup_escapes_whatever_is_no_markup() -> None:
    assert escape('<a href="x">\'&') == "&lt;a href=&quot;x&quot;&gt;&#39;&amp;"
    made = element("p", "<b>", element("i", "&"), None, ["]]>", 3], title='"><script>', hidden=True, class_=None)
    assert made == '<p title="&quot;&gt;&lt;script&gt;" hidden>&lt;b&gt;<i>&amp;</i>]]&gt;3</p>'
    assert isinstance(made, Markup) and not isinstance(made + "<b>", Markup), "adding text makes it text again"


def test_ticks_are_round_and_inside() -> None:
    assert linear_ticks(0.0, 1.0, 5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert linear_ticks(-0.013, 0.04, 4) == [0.0, 0.02, 0.04]
    axis = Axis(0.018, 2.4, 0.0, 100.0, log=True)
    assert axis.ticks(8) == [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0]
    assert axis.labels(axis.ticks(8)) == ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"]
    assert axis(0.018) == 0 and axis(2.4) == pytest.approx(100) and axis((0.018 * 2.4) ** 0.5) == pytest.approx(50)
    narrow = Axis(0.31, 0.38, 0.0, 100.0, log=True)
    assert len(narrow.ticks(6)) >= 2
    for low, high in ((0.0001, 20_000.0), (1e-9, 2e-9), (0.5, 0.50001)):
        found = Axis(low, high, 0.0, 100.0, log=True).ticks(7)
        assert 1 < len(found) <= 9 and all(low <= tick <= high for tick in found)


def test_a_codec_keeps_its_colour_and_none_differ_by_colour_alone() -> None:
    names = [*CODECS, "jm", "hm", "kvazaar", "none"]
    styles = Styles([[series(name) for name in names]])
    assert len({styles[series(name)].colour for name in names}) == len(names) == len(COLOURS)
    assert len({styles[series(name)].marker for name in names}) == len(names) == len(MARKERS)
    assert len({styles[series(name)].dash for name in names}) == len(names)
    half = c.Series("x265, half size", "x265")
    both = Styles([[series("x265"), half, c.Series("mine", "own")]])
    assert both[half].colour == both[series("x265")].colour
    assert both[half].hollow and not both[series("x265")].hollow and both[half].dash != both[series("x265")].dash
    assert both[c.Series("mine", "own")].colour != both[half].colour


def test_a_series_looks_the_same_in_all_charts_and_like_its_codec() -> None:
    half, at_32, at_42 = c.Series("x265 x0.5", "x265"), c.Series("x265 32", "x265"), c.Series("x265 x0.5 42", "x265")
    first = [series("x265"), half, series("jpeg")]
    styles = Styles([first, [series("jpeg"), half], [at_32, at_42], [c.Series("new", "mine")]])
    assert styles[at_32].variant == 0 and styles[at_42].variant == 1, "told apart within their chart"
    assert styles[half].variant == 1 and styles[at_32].slot == styles[half].slot
    assert styles[c.Series("new", "mine")].slot not in (styles[half].slot, styles[series("jpeg")].slot)
    assert len({styles[one].index for one in (*first, at_32, at_42)}) == 5


def test_the_style_sheet_has_the_same_colours() -> None:
    css = (Path(page.__file__).parent / "page.css").read_text(encoding="utf-8")
    assert re.findall(r"--c\d: (#\w{6})", css)[: len(COLOURS)] == list(COLOURS)
    assert css.count(".pick-") == gallery.MOST_LAYERS + 1


def curve(values: list[tuple[float, float, float, float]], **other: Any) -> c.RateCurve:
    points = [c.RatePoint(None, bpp, Estimate(value, low, high, 20)) for bpp, value, low, high in values]
    return c.RateCurve(
        **({"series": series("x265"), "against": "pseudo", "measure": "accuracy", "points": points} | other)
    )


def test_the_rate_that_keeps_an_accuracy() -> None:
    found = rate_at(curve([(0.1, 0.7, 0.6, 0.8), (0.4, 0.95, 0.9, 1.0), (1.6, 0.99, 0.98, 1.0)]), 0.9)
    assert found.rate == pytest.approx(0.1 * 4**0.8)  # four fifths of the way from 0.70 to 0.95, in log rate
    assert found.low == pytest.approx(0.1 * 4**0.5)  # upper limits: 0.8 to 1.0
    assert found.high == pytest.approx(0.4)
    half = curve([(0.1, 0.8, 0.7, 0.95), (0.4, 0.95, 0.8, 0.97)])
    assert (rate_at(half, 0.9).low, rate_at(half, 0.9).high) == (None, None), "beyond what was measured"
    told = findings(c.ReportContent("a", "b", "2026-11-20", curves=[half]))[0].replace("\u00a0", " ")
    assert told.endswith("(n = 20), an accuracy of 0.90 is kept by x265 at 0.252 bpp [< 0.100, > 0.400].")
    assert rate_at(curve([(0.1, 0.95, 0.9, 1.0), (0.4, 0.97, 0.95, 1.0)]), 0.9).rate is None, "kept at every rate"
    assert rate_at(curve([(0.1, 0.5, 0.4, 0.6), (0.4, 0.7, 0.6, 0.8)]), 0.9).rate is None, "never reached"


def test_codecs_that_keep_it_always_or_never_are_named() -> None:
    reaching = curve([(0.1, 0.8, 0.8, 0.8), (0.4, 0.95, 0.95, 0.95)], series=series("jpeg"))
    always = curve([(0.1, 0.97, 0.9, 1.0), (0.4, 0.98, 0.9, 1.0)], series=series("vvenc"))
    never = [curve([(0.1, 0.2, 0.1, 0.3), (0.4, 0.3, 0.2, 0.4)], series=series(name)) for name in ("x264", "x265")]
    second = curve([(0.1, 0.8, 0.8, 0.8), (0.4, 0.95, 0.95, 0.95)], series=c.Series("jpeg, half size", "jpeg"))
    told = findings(c.ReportContent("a", "b", "2026-11-20", curves=[reaching, always, *never, second]))[0]
    assert "vvenc (from 0.100 bpp on) keeps it at every rate measured. x264 and x265 do not" in told
    assert "half size" not in told, "of each encoder the first only; the chart has all"


def test_findings_give_figures_with_intervals_and_n(content: c.ReportContent) -> None:
    found = findings(replace(content, findings=["Said by the caller."]))
    assert found[0] == "Said by the caller."
    text = " ".join(found)
    assert re.search(r"accuracy of 0\.90 is kept by vvenc at 0\.\d+\sbpp\s\[0\.\d+,\s0\.\d+\], ", text)
    assert "x264 \u221230.0 [\u221235.0, \u221225.0]; x265 \u221242.0" in text
    assert "Against the network's own answers (n = 20), an accuracy" in text and "Against the labels" in text
    lacking = [replace(row, method="pchip", bd_rate_percent=Estimate(reason=f"not computable: {row.measure}"))
               for row in content.bd]  # fmt: skip
    said = bd_rates(lacking)
    assert "- at equal pixel accuracy (pseudo): not computable: accuracy" in said
    assert "- at equal mIoU (labels): not computable: miou" in said
    best = content.correlations[0].rows[0]
    assert f"{best.metric} follows the machine best on 600 blocks of 24 source pictures" in text
    assert re.search(r"PSNR reaches 0\.\d\d \[0\.\d\d, 0\.\d\d\]", text)
    assert "classes that lose most IoU" in text
    assert re.search(
        r"pixel accuracy that is lost by distance against the network's own answers, .* "
        r"\(n = 20\): 0\.\d\d \(0\u201315\u00a0m\), ",
        text,
    )
    assert re.search(r"0\u201315\u00a0m \+0\.\d{3} \(10 gain, 0 lose\)", text)
    rows = [replace(best, oriented=Estimate(0.35, -0.11, 0.69, 600), verdict="")]
    rows += [replace(row, verdict="") for row in content.correlations[0].rows[1:]]
    unsure = replace(content, correlations=[replace(content.correlations[0], rows=rows)])
    nearest = f"No metric is shown to follow the machine: {best.metric}, the nearest, has SROCC "
    nearest += "0.35 [\u22120.11, 0.69], n = 600."
    assert nearest in headline(unsure) and any(one.startswith(nearest) for one in findings(unsure))
    assert any("20 source pictures" in one for one in cautions(content))
    assert cautions(replace(content, pictures=500, warnings=["it knows little"])) == ["It knows little."]
    assert (
        "500 frames of 3 sequences. With fewer than 30 seq" in cautions(replace(content, pictures=500, sequences=3))[0]
    )
    assert findings(c.ReportContent("a", "b", "2026-11-20")) == []


def test_findings_of_sequences_say_what_prediction_saves_and_where_it_flickers() -> None:
    def row(codec: str, against: str, measure: str, rate: Estimate) -> c.BdRow:
        intra, other = c.Series(f"{codec} intra", codec), c.Series(f"{codec} low delay", codec)
        return c.BdRow(intra, other, against, measure, "pchip", rate, rate)

    rows = [
        row("x265", "pristine", "psnr_y", Estimate(-45.6, -49.9, -42.1, 72)),
        row("x264", "pristine", "psnr_y", Estimate(-57.0, n=72, reason="too few sequences")),
        row("x265", "pseudo", "accuracy", Estimate(-31.2, -40.0, -20.0, 72)),
        row("x264", "pseudo", "accuracy", Estimate(reason="no overlap")),
    ]
    shown = [(100.0, 0.021, 0.015, 0.027), (200.0, 0.024, 0.02, 0.028), (400.0, -0.001, -0.004, 0.002)]
    flicker = curve(shown, series=c.Series("x265 low delay", "x265"), measure="instability", higher_is_better=False)
    found = findings(c.ReportContent("a", "b", "2026-11-20", against_intra=rows, curves=[flicker]))
    assert found == [
        "Predicted over time, the rate differs from that of intra pictures of the same codec, as BD-rate in "
        "%, at equal luma PSNR (n = 72): x265 low delay \u221245.6 [\u221249.9, \u221242.1], x264 low delay "
        "\u221257.0; at equal pixel accuracy (n = 72): x265 low delay \u221231.2 [\u221240.0, \u221220.0].",
        "Flicker that coding adds, as % of the pixels that change class from frame to frame less those of the pristine "
        "frames, the least to the most of all rates (n = 20): x265 low delay \u22120.10 [\u22120.40, +0.20] "
        "(at 400 bpp) to +2.40 [+2.00, +2.80] (at 200 bpp).",
    ]
    assert findings(c.ReportContent("a", "b", "2026-11-20", against_intra=rows[3:])) == []


def test_the_report_opens_with_three_sentences_and_the_chart_they_are_about(
    content: c.ReportContent, html: str
) -> None:
    said = headline(content)
    assert len(said) <= 5
    assert re.fullmatch(r"An accuracy of 0\.90 against the network's own answers takes 0\.\d+\sbpp\s\[.*\] with "
                        r"vvenc and 0\.\d+\sbpp.* with jpeg; "
                        r"3 other codecs between\.", said[0])  # fmt: skip
    assert said[1] == (
        "Rate at equal pixel accuracy (against the network's own answers), against jpeg: \u221266.0 "
        "[\u221271.0, \u221261.0] % with svtav1 to \u221230.0 [\u221235.0, \u221225.0] % with x264."
    )
    best = content.correlations[0].rows[0].metric
    assert re.fullmatch(rf"{best} follows the machine best: SROCC 0\.\d\d \[.*\]; \d of \d other metrics "
                        r"(is|are) shown to be worse\.", said[2])  # fmt: skip
    header = html.split("<header>")[1].split("</header>")[0]
    assert all(escape(one) in header for one in said[:3])
    assert header.count('class="chart"') == 1 and header.index("<svg") < header.index("facts"), "then all else"
    assert headline(c.ReportContent("a", "b", "2026-11-20", summary="Nothing.")) == ["Nothing."]


def test_bd_rates_name_preset_and_seconds_and_warn_where_those_differ(content: c.ReportContent) -> None:
    fast, slow = Effort("fast", 0.2), Effort("slower", 8.4)
    rows = [replace(row, anchor_effort=Effort("", 0.15), test_effort=slow if row.test.label == "vvenc" else fast)
            for row in content.bd if row.against == "pseudo"]  # fmt: skip
    assert [row.differs_in_time for row in rows] == [row.test.label == "vvenc" for row in rows]
    assert slow.beside("x264 slower") == "x264 slower (8.4 s/Mpx)", "a preset is said once"
    told = time_warning(rows)
    assert told.startswith("Encode times differ by up to 56 times, from jpeg (0.15 s/Mpx) to vvenc (slower, 8.4 s/Mpx)")
    said = headline(replace(content, bd=rows))
    assert told in said and "x264 (fast,\u00a00.2\u00a0s/Mpx)" in " ".join(said)
    assert told in cautions(replace(content, bd=rows))
    assert "vvenc (slower,\u00a08.4\u00a0s/Mpx) \u221254.0" in " ".join(findings(replace(content, bd=rows)))
    shown = render(replace(content, bd=rows))
    assert (
        escape("slower, 8.4 s/Mpx against 0.15 s/Mpx: 56 times") in shown
        and escape("fast, 0.2 s/Mpx against 0.15 s/Mpx<") not in shown
    )
    assert time_warning([row for row in rows if not row.differs_in_time]) == ""


@pytest.mark.parametrize(
    ("record", "preset"),
    [
        ({"argv": {"encode": ["ffmpeg", "-preset", "medium", "-x265-params", "qp=37"]}, "preset": None}, "medium"),
        ({"argv": {"encode": ["ffmpeg", "-kvazaar-params", "qp=3,preset=slower"]}, "preset": "slower"}, "slower"),
        ({"argv": {"encode": ["cjpeg", "-quality", "40"]}, "preset": None}, ""),
        ({"preset": "faster"}, "faster"),
        ({"preset": None, "compat": "qomex2023"}, "qomex2023"),
    ],
)
def test_a_preset_is_that_which_the_tool_was_called_with(record: dict[str, Any], preset: str) -> None:
    assert preset_of(record) == preset


def test_a_curve_that_falls_with_rate_is_pointed_out() -> None:
    falling = curve([(0.1, 0.9, 0.88, 0.92), (0.4, 0.8, 0.78, 0.82)])
    assert "worse at a higher rate" in cautions(c.ReportContent("a", "b", "2026-11-20", curves=[falling]))[0]
    loss = replace(falling, against="pristine", measure="GMSD", higher_is_better=False)
    assert cautions(c.ReportContent("a", "b", "2026-11-20", curves=[loss])) == [], "of a loss that is as it should be"
    unsure = curve([(0.1, 0.9, 0.7, 0.95), (0.4, 0.8, 0.6, 0.9)])
    assert cautions(c.ReportContent("a", "b", "2026-11-20", curves=[unsure])) == []


def test_correlations_are_taken_over_with_their_order_and_verdicts() -> None:
    machine, metrics, images, _ = scores(np.random.default_rng(3), 300)
    metrics["constant"] = np.ones(300)
    found = correlation.compare(metrics, machine, images)
    table = correlation_table(found, "block")
    assert (table.n, table.clusters, len(table.rows)) == (300, 24, len(METRICS) + 1)
    strengths = [abs(row.values["SROC"].value or 0.0) for row in table.rows]
    assert strengths == sorted(strengths, reverse=True)
    assert [row.verdict for row in table.rows].count("best") == 1 and table.rows[0].verdict == "best"
    assert table.rows[-1].metric == "constant" and table.rows[-1].values["PLCC"].reason == "all scores are 1"
    for row in table.rows[1:-1]:
        test = found.against_best(row.metric)
        assert test and row.verdict == ("worse" if test.p_holm < 0.05 else "not different")


def test_scatter_plots_are_bounded_and_leave_out_what_is_not_finite() -> None:
    x = np.arange(5000.0)
    x[::10] = np.nan
    clouds = [c.Cloud(series("x265"), x, x), c.Cloud(series("jpeg"), np.array([]), np.array([]))]
    found, total = c.Scatter("block", "PSNR", clouds).sampled()
    assert total == 4500 and len(found[0]) == c.MOST_DOTS and len(found[1]) == 0
    assert len(np.unique(found[0], axis=0)) == c.MOST_DOTS
    assert np.array_equal(found[0], c.Scatter("block", "PSNR", clouds).sampled()[0][0])


def test_bands_stay_within_the_chart_and_stop_where_an_interval_is_missing() -> None:
    broken = curve([(0.1, 0.01, -0.3, 0.2), (0.2, 0.5, 0.4, 0.6), (0.8, 0.9, 0.85, 1.2)])
    points = [*broken.points, c.RatePoint(None, 0.4, Estimate(0.7, reason="no interval"))]
    drawn = rate_chart([replace(broken, points=points)], Styles([[broken.series]]), "Accuracy", "name")
    assert drawn.count('class="band') == 1 and drawn.count('class="error') == 1, "two points, and one alone"
    band = re.search(r'<path d="M([^"]*)Z" class="band', drawn)
    assert band and all(26 <= float(pair.split()[1]) <= 248 for pair in band[1].split("L"))
    bar = re.search(r'y1="([^"]*)" x2="[^"]*" y2="([^"]*)" class="error', drawn)
    assert bar and all(26 <= float(end) <= 248 for end in bar.groups())


def test_layers_are_spread_over_the_picture() -> None:
    layer = c.Layer("QP", np.arange(6.0).reshape(2, 3), block_px=16)
    spread = pictures.spread(layer, 20, 40)
    assert spread.shape == (20, 40)
    assert spread[0, 0] == 0 and spread[15, 39] == 2 and spread[16, 0] == 3 and spread[19, 31] == 4
    with pytest.raises(ValueError, match="do not cover"):
        pictures.spread(layer, 40, 40)
    fractional = pictures.spread(replace(layer, block_px=16 / 0.75), 40, 64)
    assert fractional[0, 21] == 1 and fractional[0, 20] == 0 and fractional[21, 63] == 5
    assert pictures.spread(replace(layer, block_px=21.25), 40, 64)[39, 63] == 5, "less than a pixel short"
    with pytest.raises(ValueError, match="no block size"):
        pictures.spread(replace(layer, block_px=None), 20, 40)
    assert pictures.limits(c.Layer("d", np.array([[-1.0, 3.0]]), low=-1, high=3, kind="diverging")) == (-3.0, 3.0)
    assert pictures.limits(c.Layer("flat", np.full((2, 2), 7.0))) == (6.5, 7.5)
    assert pictures.limits(c.Layer("nothing", np.full((2, 2), np.nan))) == (0.0, 1.0)


def test_a_map_that_does_not_fit_is_missing_with_the_reason() -> None:
    picture = np.zeros((40, 64, 3), np.uint8)
    layers = [c.Layer("QP", np.ones((1, 1)), block_px=8), c.Layer("Error", np.ones((40, 64)))]
    text = render(c.ReportContent("a", "b", "2026-11-20", overlays=[c.Overlay("scene", picture, layers)]))
    assert "(1, 1) blocks of 8 px do not cover a picture of 64x40" in text
    assert text.count('class="layer layer-') == 2, "the picture, and the map that fits"


def test_the_detail_is_where_most_is_lost() -> None:
    random = np.random.default_rng(1)
    lost = random.random((260, 300)) < 0.1
    lost[150:180, 200:240] = True
    x, y, width, height = pictures.detail_box(lost)
    assert (width, height) == pictures.DETAIL_PX
    sums = {
        (i, j): lost[j : j + height, i : i + width].sum()
        for j in range(0, 260 - height + 1, 7)
        for i in range(0, 300 - width + 1, 7)
    }
    assert lost[y : y + height, x : x + width].sum() >= max(sums.values())
    assert pictures.detail_box(np.ones((40, 50), bool)) == (0, 0, 50, 40), "a picture smaller than a detail"


def test_details_and_predictions_are_stored_without_loss() -> None:
    import io

    from PIL import Image

    def read(address: str) -> np.ndarray[Any, Any]:
        with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as image:
            return np.asarray(image.convert("RGB"))

    random = np.random.default_rng(2)
    picture = random.integers(0, 256, (37, 53, 3), np.uint8)
    assert np.array_equal(read(pictures.lossless(picture)), picture)
    ids = random.choice(np.array([*range(19), 255], np.uint8), (64, 48))
    expected = pictures.coloured(ids, c.PALETTE)
    assert np.array_equal(read(pictures.prediction(ids, c.PALETTE, 640)), expected)
    assert (expected[ids == 255] == 0).all()


def test_reports_stay_small_and_say_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (360, 480, 3), np.uint8)  # nothing is larger when compressed
    ids = (noise[:, :, 0] % 19).astype(np.uint8)
    frames = [c.WorstFrame(f"frame {index}", noise, noise[::-1], ids, ids[::-1]) for index in range(5)]
    full = render(c.ReportContent("a", "b", "2026-11-20", worst=frames[:2]))
    assert "left out" not in full
    monkeypatch.setattr(gallery, "MOST_BYTES", 1_500_000)
    whole = render(c.ReportContent("a", "b", "2026-11-20", worst=frames))
    assert len(whole) < 1_600_000
    left = re.search(r"(\d+) pictures? left out, to keep this file small", whole)
    assert left and whole.count('class="worst"') == 5 - int(left[1]) > 0
    smaller = render(c.ReportContent("a", "b", "2026-11-20", worst=frames[:2]))
    assert len(smaller) < min(len(full), 1_600_000) and smaller.count('class="worst"') == 2


def test_a_page_without_data_is_small_and_says_why() -> None:
    text = render(c.ReportContent("a", "b", "2026-11-20", missing=[("LPIPS", "its weights are not here")]))
    assert "its weights are not here" in text and "neither a machine nor a quality metric" in text
    assert len(text) < 40_000
