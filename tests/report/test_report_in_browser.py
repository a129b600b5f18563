"""The report in a real headless Chromium: what people see, press and hear of it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import browser
from tests.helpers.report_sample import sample
from vcmbench.report import content as c
from vcmbench.report.html.page import write_report

MARKUP = "<script>window.hit=1</script><img src=x onerror=window.hit=1>\"'>]]>--></style></script>&amp;日本"
HOSTILE, SHOWN = f"{MARKUP}\u202e\udc80\x00", f"{MARKUP}\\u202e\\udc80\\x00"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    program = browser.find()
    if program is None:
        if os.environ.get("VCMBENCH_REQUIRE_BROWSER") == "1":
            pytest.fail("VCMBENCH_REQUIRE_BROWSER=1, and no chromium is on PATH; install Debian's package chromium")
        pytest.skip("no chromium on PATH (Debian's package chromium)")
    with browser.Browser(program, tmp_path_factory.mktemp("chromium")) as started:
        yield started


@pytest.fixture(scope="module")
def content() -> c.ReportContent:
    return sample()


@pytest.fixture(scope="module")
def report(content: c.ReportContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(content, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def page(chromium: browser.Browser, report: Path) -> Iterator[browser.Page]:
    opened = chromium.page()
    opened.open(report)
    yield opened
    opened.close()


def complaints(page: browser.Page) -> list[Any]:
    page.evaluate("1")  # events come in order: those of loading are here when this is answered
    return page.noted("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")


def fetched(page: browser.Page) -> set[str]:
    requests = page.noted("Network.requestWillBeSent")
    return {request["request"]["url"].split(":", 1)[0] for request in requests}


def test_it_opens_without_an_error_and_fetches_nothing(page: browser.Page) -> None:
    assert complaints(page) == []
    assert fetched(page) <= {"file", "data"}
    files = [r["request"]["url"] for r in page.noted("Network.requestWillBeSent") if r["type"] != "Image"]
    assert len(files) == 1 and files[0].endswith("/report.html")


def test_the_policy_forbids_connections_and_other_scripts(page: browser.Page) -> None:
    blocked = page.evaluate(
        "new Promise((done) => {"
        "  const found = []; addEventListener('securitypolicyviolation', (e) => {"
        "    found.push(e.effectiveDirective); if (found.length === 3) done(found.sort()); });"
        "  fetch('http://127.0.0.1:9/').catch(() => {});"
        "  const s = document.createElement('script'); s.textContent = 'window.hit = 1'; document.body.append(s);"
        "  const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; })"
    )
    assert blocked == ["connect-src", "img-src", "script-src-elem"]
    assert page.evaluate("window.hit") is None


def test_the_figures_show(page: browser.Page, content: c.ReportContent) -> None:
    charts = page.evaluate(
        "[...document.querySelectorAll('svg.chart')].map((s) => { const b = s.getBBox();"
        "return [b.width, b.height, s.querySelectorAll('.mark').length, s.getBoundingClientRect().width]; })"
    )
    # the opening, 4 of rates, 1 of what maps save, 2 of correlations, a scatter a metric, 1 of distances, 6 of maps
    assert len(charts) == 1 + 4 + 1 + 2 + len(content.scatters) + 1 + 6
    assert all(width > 100 and height > 80 and marks > 3 and shown > 150 for width, height, marks, shown in charts)
    pictures = page.evaluate("[...document.images].map((i) => [i.complete, i.naturalWidth, i.naturalHeight])")
    layers = sum(len(overlay.layers) + 1 for overlay in content.overlays)
    assert len(pictures) == layers + 8 + 8 + 4
    assert all(complete and width > 0 and height > 0 for complete, width, height in pictures)


def test_the_block_under_the_mouse_says_what_is_known_of_it(page: browser.Page) -> None:
    for width in (1200, 360):
        page.resize(width, 900)
        said = page.evaluate(
            "[...document.querySelectorAll('.layers')].map((s) => { s.scrollIntoView();"
            "  const i = [...s.querySelectorAll('img')].find((one) => one.offsetParent).getBoundingClientRect();"
            "  const at = document.elementFromPoint(i.left + i.width * 75 / 400, i.top + i.height * 25 / 300);"
            "  return at.querySelector('title')?.textContent; })"
        )
        assert said and set(said) == {"x 50, y 0 <b>"}, width


def test_letters_of_charts_lie_within_them_and_apart(page: browser.Page) -> None:
    for width in (1200, 360):
        page.resize(width, 900)
        trouble = page.evaluate(
            "[...document.querySelectorAll('svg.chart')].flatMap((s) => {"
            "  const o = s.getBoundingClientRect(); const texts = [...s.querySelectorAll('text')];"
            "  const boxes = texts.map((t) => t.getBoundingClientRect()); const bad = [];"
            "  boxes.forEach((b, i) => {"
            "    if (b.left < o.left - 3 || b.right > o.right + 3 || b.top < o.top - 3 || b.bottom > o.bottom + 3)"
            "      bad.push('outside: ' + texts[i].textContent);"
            "    boxes.slice(i + 1).forEach((d, j) => {"
            "      if (b.left < d.right - 1 && d.left < b.right - 1 && b.top < d.bottom - 3 && d.top < b.bottom - 3)"
            "        bad.push(texts[i].textContent + ' on ' + texts[i + 1 + j].textContent); }); });"
            "  return bad; })"
        )
        assert trouble == []


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844)])
def test_the_first_screen_has_three_sentences_and_the_first_chart(page: browser.Page, width: int, height: int) -> None:
    page.resize(width, height)
    ends = page.evaluate(
        "[...document.querySelectorAll('header .lead li, header svg.chart')]"
        ".map((e) => e.getBoundingClientRect().bottom)"
    )
    assert len(ends) == 4 and max(ends) <= height


def column(page: browser.Page, table: str, index: int) -> list[float | None]:
    return page.evaluate(  # type: ignore[no-any-return]
        f"[...document.querySelector('{table}').tBodies[0].rows].map((r) => r.cells[{index}].dataset.key)"
        ".map((k) => k === undefined ? null : Number(k))"
    )


def sorts(page: browser.Page, table: str) -> list[str | None]:
    return page.evaluate(  # type: ignore[no-any-return]
        f"[...document.querySelector('{table}').tHead.rows[0].cells].map((h) => h.getAttribute('aria-sort'))"
    )


def test_tables_sort_by_click_with_what_is_missing_last(page: browser.Page) -> None:
    table = "#correlation table"
    before = column(page, table, 1)
    assert None in before, "LPIPS, which is missing"
    page.click(f"{table} thead th:nth-child(2) button")
    known = [value for value in before if value is not None]
    assert column(page, table, 1) == [*sorted(known, reverse=True), None]
    assert sorts(page, table) == [None, "descending", None, None, None, None, None]
    page.click(f"{table} thead th:nth-child(2) button")
    assert column(page, table, 1) == [*sorted(known), None]
    assert sorts(page, table) == [None, "ascending", None, None, None, None, None]
    page.click(f"{table} thead th:nth-child(6) button")
    assert sorts(page, table)[1] is None and sorts(page, table)[5] == "ascending", "less RMSE is better"
    page.click(f"{table} thead th:first-child button")
    names = page.evaluate(
        f"[...document.querySelector('{table}').querySelectorAll('tbody th')].map((h) => h.textContent)"
    )
    assert names == sorted(names, key=str.lower)


def test_tables_sort_by_keyboard(page: browser.Page) -> None:
    table = "#correlation table"
    page.evaluate(f"document.querySelector('{table} thead th:nth-child(3) button').focus()")
    page.press("Tab")
    page.press("Enter")
    assert sorts(page, table)[3] == "descending"
    values = [value for value in column(page, table, 3) if value is not None]
    assert values == sorted(values, reverse=True)
    page.press(" ")
    assert sorts(page, table)[3] == "ascending"


def test_a_codec_is_switched_off_in_all_charts_and_still_printed(page: browser.Page) -> None:
    count = "[...document.querySelectorAll('.series-0')].filter((g) => g.getBoundingClientRect().width).length"
    drawn = page.evaluate(count)
    assert drawn >= 4 * 2 + 8
    page.evaluate("document.querySelector('button[data-series=\"0\"]').focus()")
    page.press(" ")
    assert page.evaluate(count) == 0
    states = page.evaluate("[...document.querySelectorAll('[data-series=\"0\"]')].map((b) => b.ariaPressed)")
    assert set(states) == {"false"}, "every legend follows"
    page.media("print")
    assert page.evaluate(count) == drawn
    page.media()
    page.press(" ")
    assert page.evaluate(count) == drawn


def test_the_skip_link_is_the_first_stop(page: browser.Page) -> None:
    page.press("Tab")
    place = "[document.activeElement.className, document.activeElement.getBoundingClientRect().x]"
    assert page.evaluate(place) == ["skip", 0]
    page.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_focus_is_seen(page: browser.Page) -> None:
    page.press("Tab")
    page.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_overflows_a_phone(page: browser.Page, width: int) -> None:
    page.resize(width, 780)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate("document.scrollingElement.scrollWidth") == width
    scrolling = "[...document.querySelectorAll('.scroll')].filter((b) => b.scrollWidth > b.clientWidth).length"
    assert page.evaluate(scrolling) > 0, "wide tables scroll in boxes of their own"
    too_wide = page.evaluate(
        "[...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll') && !e.closest('svg') &&"
        f"e.getBoundingClientRect().right > {width} + 0.5).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert too_wide == []


def test_print_has_everything(page: browser.Page, content: c.ReportContent, tmp_path: Path) -> None:
    page.media("print")
    hidden = page.evaluate(
        "[...document.querySelectorAll('section, h2, h3, figure, img, table, caption, svg.chart, dl, figcaption')]"
        ".filter((e) => !e.checkVisibility() || !e.getBoundingClientRect().height).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert hidden == []
    layers = sum(len(overlay.layers) + 1 for overlay in content.overlays)
    assert page.evaluate("document.querySelectorAll('.layer').length") == layers
    page.resize(688, 1000)  # A4 less its margins
    cut = "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1)"
    assert page.evaluate(f"{cut}.map((e) => e.innerText)") == [], "nothing scrolls on paper"
    page.media()
    assert page.evaluate("[...document.querySelectorAll('.layer')].filter((e) => e.checkVisibility()).length") == 2
    page.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().count(b"/Type /Page\n") > 5
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0, "closed again after printing"


CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const parse = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05); };
  const behind = (e) => { for (; e; e = e.parentElement) {
    const colour = parse(getComputedStyle(e).backgroundColor); if (colour[3] === 255) return colour; }
    throw new Error('no background'); };
  const found = { text: [], mark: [] };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || !e.checkVisibility() || e.closest('script, title')) continue;
    const style = getComputedStyle(e);
    const value = ratio(parse(e.closest('svg') ? style.fill : style.color), behind(e));
    found.text.push([value, e.outerHTML.slice(0, 90)]);
  }
  for (const e of document.querySelectorAll('.mark:not(.hollow), .line, .error')) {
    const style = getComputedStyle(e);
    const colour = e.matches('.mark') ? style.fill : style.stroke;
    found.mark.push([ratio(parse(colour), behind(e)), e.outerHTML.slice(0, 90)]);
  }
  return { texts: found.text.length, marks: found.mark.length, low: found.text.filter(([v]) => v < 4.5),
    faint: found.mark.filter(([v]) => v < 3) };
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page: browser.Page, scheme: str) -> None:
    page.media("", scheme)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    found = page.evaluate(CONTRAST)
    assert found["texts"] > 1500 and found["marks"] > 300
    assert found["low"] == [], "WCAG 2.2, 1.4.3"
    assert found["faint"] == [], "WCAG 2.2, 1.4.11"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]


def tree(page: browser.Page) -> list[tuple[str, str, dict[str, Any]]]:
    """Role, name and properties of everything that a screen reader meets, in order."""
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    return [
        (
            node.get("role", {}).get("value", ""),
            node.get("name", {}).get("value", ""),
            {one["name"]: one["value"].get("value") for one in node.get("properties", [])},
        )
        for node in nodes
        if not node.get("ignored")
    ]


def test_a_screen_reader_finds_its_way(page: browser.Page, content: c.ReportContent) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.click(".overlay .pick-5")
    nodes = tree(page)
    roles = Counter(role for role, _, _ in nodes)
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert roles[landmark] == 1, landmark
    for role in ("image", "button", "radio", "link", "table", "columnheader", "rowheader", "region"):
        assert roles[role] > 0, role
        nameless = [node for node in nodes if node[0] == role and not node[1].strip()]
        assert nameless == [], role
    levels = [int(properties["level"]) for role, _, properties in nodes if role == "heading"]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    charts = [name for role, name, _ in nodes if role == "image"]
    assert any("vvenc" in name and "bpp" in name for name in charts), "a chart's name tells its ends"
    assert any(re.search(r"Lost pixels .*%", name) for name in charts)
    assert any("Prediction on decoded" in name and "%" in name for name in charts)


def test_ids_are_unique_and_references_hold(page: browser.Page) -> None:
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    lost = page.evaluate(
        "[...document.querySelectorAll('a[href], [aria-labelledby], label[for]')].map((e) =>"
        "e.getAttribute('href')?.slice(1) ?? e.getAttribute('aria-labelledby') ?? e.htmlFor)"
        ".filter((id) => !document.getElementById(id))"
    )
    assert lost == []


_KEPT = {"against", "measure", "kind", "verdict", "encoder", "level", "group"}


def poisoned(value: Any, name: str = "") -> Any:
    """The same content with every text hostile, also in keys and lists."""
    if isinstance(value, str):
        return value if name in _KEPT or not value else f"{HOSTILE}{value}"
    if isinstance(value, np.ndarray):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: poisoned(getattr(value, field.name), field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    if isinstance(value, dict):
        key = "kind" if name == "values" else ""  # statistics are looked up by their names
        return {poisoned(k, key): poisoned(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [poisoned(one, name) for one in value]
    return value


def test_hostile_names_are_only_text(
    chromium: browser.Browser, page: browser.Page, content: c.ReportContent, tmp_path: Path
) -> None:
    path = write_report(poisoned(content), tmp_path / "hostile <b>'\".html")
    # without its policy, because escaping has to hold by itself
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    tags = "[...document.querySelectorAll('*')].map((e) => e.tagName)"
    clean = Counter(page.evaluate(tags))
    other = chromium.page()
    other.open(path)
    assert complaints(other) == []
    assert fetched(other) <= {"file", "data"}
    assert other.evaluate("window.hit") is None
    found = Counter(other.evaluate(tags))
    assert found.pop("META") == clean.pop("META") - 1
    del found["text"], found["line"], clean["text"], clean["line"]  # long names leave less room for ticks
    assert found == clean, "not one element more or less"
    assert other.evaluate("[...document.querySelectorAll('*')].flatMap((e) => e.getAttributeNames())"
                          ".filter((n) => n.startsWith('on') || n === 'style')") == []  # fmt: skip
    texts = other.evaluate("document.body.textContent")
    assert texts.count(SHOWN) > 300
    assert other.evaluate("document.title").startswith(SHOWN)
    labels = other.evaluate("[...document.querySelectorAll('[aria-label], [alt]')].map((e) => e.ariaLabel || e.alt)")
    assert any(SHOWN in label for label in labels)
    other.resize(360, 780)
    assert other.evaluate("document.scrollingElement.scrollWidth") == 360
    other.close()


def test_it_works_without_scripts(chromium: browser.Browser, report: Path) -> None:
    page = chromium.page()
    page.send("Emulation.setScriptExecutionDisabled", value=True)
    page.open(report)
    assert complaints(page) == []
    assert page.evaluate("document.querySelectorAll('button').length") == 0, "nothing that would do nothing"
    assert page.evaluate("[...document.querySelectorAll('section, svg.chart')].every((e) => e.checkVisibility())")
    visible = "[...document.querySelector('.overlay').querySelectorAll('.layer')].map((e) => e.checkVisibility())"
    assert page.evaluate(visible) == [False, True, False, False, False, False]
    page.click(".overlay .pick-3")
    assert page.evaluate(visible) == [False, False, False, True, False, False]
    page.click("summary")
    assert page.evaluate("document.querySelector('details table').checkVisibility()")
    page.close()


def test_an_empty_report_says_what_is_missing(chromium: browser.Browser, tmp_path: Path) -> None:
    page = chromium.page()
    page.open(write_report(c.ReportContent("Nothing", "none", "2026-11-20"), tmp_path / "empty.html"))
    assert complaints(page) == []
    assert page.evaluate("[...document.querySelectorAll('h2')].map((h) => h.textContent)") == ["What is missing"]
    assert page.evaluate("document.querySelectorAll('#missing dt').length") == 10
    page.close()
