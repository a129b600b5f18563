"""The page: all sections in one HTML file that needs no network and may not use one.

A content security policy in the page allows its own style sheet and script, known by their hashes, and pictures that
are inside it, and nothing else. Even a mistake in escaping could therefore neither run a script nor fetch anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from vcmbench.io.files import hidden_beside, write_atomically
from vcmbench.report.content import ReportContent
from vcmbench.report.findings import cautions, findings
from vcmbench.report.headline import OPENING, headline
from vcmbench.report.html import prose
from vcmbench.report.html.damage import damage_section, maps_section
from vcmbench.report.html.gallery import overlay_section, worst_section
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.html.over_time import over_time_section
from vcmbench.report.html.parts import Page, Section, heading, paragraph
from vcmbench.report.html.quality import correlation_section, scatter_section
from vcmbench.report.html.rates import bd_section, curves_section, headroom_section, opening_chart
from vcmbench.report.html.tables import facts


def findings_section(page: Page) -> Section:
    """Sentences drawn from the data, then what to be careful about."""
    found, careful = findings(page.content), cautions(page.content)
    body: list[Markup | None] = []
    if found:
        body.append(element("ul", (element("li", one) for one in found), class_="findings"))
    body += [paragraph(one, class_="caution") for one in careful]
    if body:
        body.append(paragraph(prose.INTERVALS, class_="muted"))
    return Section("findings", "Key findings", body, "nothing was measured that a finding could be drawn from")


def provenance_section(page: Page) -> Section:
    """Commands, versions, digests, seeds."""
    content = page.content
    body: list[Markup | None] = []
    if content.commands:
        lines = element("code", "\n".join(content.commands))
        body += [heading("Commands"), element("pre", lines, tabindex="0", aria_label="Commands", role="group")]
    for block in content.provenance:
        body += [heading(block.title), facts(block.rows, "facts rows")]
    return Section("provenance", "How this was made", body, "versions and commands are not known")


def missing_section(page: Page, absent: Sequence[Section]) -> Section:
    """What could not be computed, and which parts of the report are therefore not there."""
    rows = [*page.content.missing, *((section.title, section.absent) for section in absent if section.absent)]
    if not rows:
        return Section("missing", "What is missing", [paragraph("Nothing: everything that was asked for is here.")])
    return Section("missing", "What is missing", [facts(rows, "facts rows")])


_SECTIONS = (
    findings_section,
    curves_section,
    bd_section,
    headroom_section,
    over_time_section,
    correlation_section,
    scatter_section,
    damage_section,
    maps_section,
    overlay_section,
    worst_section,
    provenance_section,
)


def write_report(content: ReportContent, path: Path) -> Path:
    """Write the report, all of the file or none of it; the same content makes the same bytes. Returns `path`."""
    page = render(content).encode("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page, hidden_beside(path))
    return path


def render(content: ReportContent) -> str:
    """The whole page."""
    page = Page(content)
    sections = [section(page) for section in _SECTIONS]
    there = [section for section in sections if section.is_there]
    there.append(missing_section(page, [section for section in sections if not section.is_there]))
    body = element(
        "body",
        element("a", "Skip to the findings", href="#content", class_="skip"),
        _header(page),
        _contents(there),
        element("main", (_section(section) for section in there), id="content", tabindex="-1"),
        _footer(content),
        element("script", _own("page.js")),
    )
    return f"<!DOCTYPE html>\n{element('html', _head(content), body, lang='en')}\n"


def _own(name: str) -> Markup:
    """A file of this package, as it is; it holds nothing of the content."""
    return Markup(resources.files("vcmbench.report.html").joinpath(name).read_text(encoding="utf-8"))


def _head(content: ReportContent) -> Markup:
    style, script = _own("page.css"), _own("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{content.title}: {content.experiment}"),
        element("style", style),
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _header(page: Page) -> Markup:
    """What a reader must see first: three sentences, and the chart that they are about."""
    content = page.content
    rows = [("Experiment", content.experiment), ("Date", content.created), *content.facts]
    said = [element("li", sentence) for sentence in headline(content)[:OPENING] if sentence]
    opening = element("div", element("ul", said, class_="lead"), opening_chart(page), class_="opening")
    return element("header", element("h1", element("bdi", content.title)), opening, facts(rows))


def _contents(sections: list[Section]) -> Markup:
    items = [element("li", element("a", section.title, href=f"#{section.id}")) for section in sections]
    return element("nav", element("ol", items), aria_label="Contents")


def _section(section: Section) -> Markup:
    title = element("h2", section.title, id=f"{section.id}-title")
    return element("section", title, section.body, id=section.id, aria_labelledby=f"{section.id}-title")


def _footer(content: ReportContent) -> Markup:
    return element("footer", paragraph(f"Made by vcmbench, {content.created}. This file needs no network."))
