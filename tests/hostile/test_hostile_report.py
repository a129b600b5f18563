"""Names in a report, looked at without a browser: they are text, and make no element, attribute or address."""

from __future__ import annotations

import dataclasses
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from tests.helpers import hostile
from tests.helpers import report_sample as sample
from vcmbench.report import content as c
from vcmbench.report.html.markup import element, escape
from vcmbench.report.html.page import render

MARKUP = "<script>hit()</script><img src=x onerror=hit()>\"'>]]>--></style></textarea><svg onload=hit()>&amp;"
WORDS = [MARKUP, "\u202e\x1b[2J\0\x07\ud800\u2028", "=1+1", "\n\r\t", "--><!--", "&#60;script&#62;", "javascript:hit()"]
_KEPT = {"against", "measure", "kind", "verdict", "encoder", "level", "group"}
"""Words of ours, by which something is looked up."""


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.addresses: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            self.attributes[name] += 1
            if name in ("src", "href", "action", "data", "formaction", "xlink:href"):
                self.addresses.add((value or "").partition(",")[0][:20])

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def poisoned(value: Any, word: str, name: str = "") -> Any:
    """The same content with a word before every text of others, also in keys and lists."""
    if isinstance(value, str):
        return value if name in _KEPT or not value else f"{word}{value}"
    if isinstance(value, np.ndarray):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {one.name: poisoned(getattr(value, one.name), word, one.name) for one in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    if isinstance(value, dict):
        key = "kind" if name == "values" else ""
        return {poisoned(k, word, key): poisoned(v, word) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [poisoned(one, word, name) for one in value]
    return value


def seen(content: c.ReportContent) -> Seen:
    found = Seen()
    found.feed(render(content))
    return found


@pytest.fixture(scope="module")
def content() -> c.ReportContent:
    return sample.sample()


@pytest.mark.parametrize(
    "word", [MARKUP, "\u202e\x1b[2J\0\x07\ud800\u2028", "=1+1", "\n\r\t", "--><!--", "&#60;script&#62;"]
)
def test_names_are_only_text(word: str, content: c.ReportContent) -> None:
    """Of pictures, cities, configurations, experiments, codecs, metrics, classes; reasons, notes and commands."""
    clean, found = seen(content), seen(poisoned(content, word))
    for tag in ("text", "line", "title"):  # long names leave less room for ticks
        clean.tags.pop(tag, 0), found.tags.pop(tag, 0)
    assert found.tags == clean.tags, "not one element more or less"
    assert not [name for name in found.attributes if name.startswith("on") or name == "style"]
    assert found.attributes.keys() == clean.attributes.keys()
    assert found.addresses == clean.addresses
    text = "".join(found.text)
    assert not {"\u202e", "\x1b", "\0", "\ud800", "\u2028"} & set(text)


def test_they_are_all_still_there(content: c.ReportContent) -> None:
    assert "".join(seen(poisoned(content, MARKUP)).text).count(MARKUP) > 100


@pytest.mark.parametrize("name", hostile.NAMES)
def test_one_by_one(name: str) -> None:
    found = Seen()
    found.feed(element("p", name, element("b", name), title=name, data_name=name))
    assert found.tags == Counter({"p": 1, "b": 1})
    assert found.attributes.keys() == {"title", "data-name"}
    assert escape(name).encode()
