"""The report's beginning and end: what was found, how it was made, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from vcmbench.report.html import prose
from vcmbench.report.html.findings import cautions, findings
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.html.parts import Page, Section, heading, paragraph
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
    return Section("provenance", "How this was made", body, "nothing was told about versions and commands")


def missing_section(page: Page, absent: Sequence[Section]) -> Section:
    """What could not be computed, and which parts of the report are therefore not there."""
    rows = [*page.content.missing, *((section.title, section.absent) for section in absent)]
    if not rows:
        return Section("missing", "What is missing", [paragraph("Nothing: everything that was asked for is here.")])
    return Section("missing", "What is missing", [facts(rows, "facts rows")])
