"""HTML and SVG that cannot be broken by what stands in it.

Everything that is not `Markup` is escaped, in text and in attributes alike, so no place has to remember to do it.
Nothing is ever written into a script or a style: the page's own are files of this package, as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vcmbench.io.text import visible

_VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML already. Only this module, and what reads the package's own files, makes it."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Any text as HTML text or attribute; `Markup` stays as it is."""
    if isinstance(text, Markup):
        return text
    shown = visible(text)
    for letter, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        shown = shown.replace(letter, entity)
    return Markup(shown)


def element(tag: str, *children: object, **attributes: Any) -> Markup:
    """One element. Children are text, Markup, None (nothing), or iterables of these.

    An attribute that is None or False is left out, True stands alone. `class_` and `for_` lose their last letter, other
    underscores become hyphens; SVG's own spelling (viewBox) stays.
    """
    given = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{given}>")
    return Markup(f"<{tag}{given}>{join(children)}</{tag}>")


def join(children: Iterable[object]) -> Markup:
    """Children one after the other, each escaped where it has to be."""
    parts: list[str] = []
    for child in children:
        if child is None or child is False:
            continue
        if isinstance(child, str) or not isinstance(child, Iterable):
            parts.append(escape(child))
        else:
            parts.append(join(child))
    return Markup("".join(parts))


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    if isinstance(value, float):
        value = f"{value:.2f}".rstrip("0").rstrip(".")
    return f' {name}="{escape(value)}"'
