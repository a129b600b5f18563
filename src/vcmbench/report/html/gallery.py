"""Sections with pictures: heat maps laid over a picture, and the worst frames side by side.

A report must stay small enough to be sent and opened on a phone, so pictures share a budget: they are made smaller
until it holds, and where that is not enough the last ones are left out, which the section then says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vcmbench.report.content import Layer, Overlay, WorstFrame
from vcmbench.report.html import pictures, prose
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.html.parts import Page, Section, grid, heading, paragraph
from vcmbench.report.html.tables import facts
from vcmbench.report.text import many, percent, significant

MOST_BYTES = 4_000_000
"""Of each of the two sections."""
MOST_LAYERS = 12
"""That a picture can switch between; `page.css` has a rule for each."""
_WIDTHS_PX = (1024, 800, 640, 480, 360)
_VOID = 255
_MOST_NAMED = 5

Item = TypeVar("Item")


def overlay_section(page: Page) -> Section:
    """Pictures with their layers: radio buttons choose one; in print, or without style sheets, all are there."""
    found = page.content.overlays
    body: list[Markup | None] = []
    if found:
        made, lost = _within_budget(found, lambda overlay, width: _overlay(page, overlay, width))
        body = [paragraph(prose.OVERLAYS), *made, _left_out(lost)]
    return Section("maps-over-pictures", "Where it happens in the picture", body, "no heat maps were kept")


def worst_section(page: Page) -> Section:
    """The worst frames: pristine, decoded, and the predictions on each, with a detail pixel by pixel."""
    found = page.content.worst
    body: list[Markup | None] = []
    if found:
        made, lost = _within_budget(found, lambda frame, width: _worst(page, frame, width))
        body = [paragraph(prose.WORST), *made, _left_out(lost)]
    return Section("worst", "Worst pictures", body, "no pictures were kept")


def _within_budget(items: Sequence[Item], made: Callable[[Item, int], Markup]) -> tuple[list[Markup], int]:
    """As many items as fit, in the largest size in which all do; and how many do not even in the smallest."""
    shown: list[Markup] = []
    fitting = float(_WIDTHS_PX[0])
    for width_px in _WIDTHS_PX:
        if width_px > fitting and width_px != _WIDTHS_PX[-1]:
            continue
        shown = [made(item, width_px) for item in items]
        size = sum(map(len, shown))
        if size <= MOST_BYTES:
            return shown, 0
        fitting = width_px * (MOST_BYTES / size) ** 0.5  # bytes go about with the area
    sizes = np.cumsum([len(one) for one in shown])
    kept = max(1, int((sizes <= MOST_BYTES).sum()))
    return shown[:kept], len(items) - kept


def _left_out(count: int) -> Markup | None:
    if not count:
        return None
    return paragraph(f"{many(count, 'picture')} left out, to keep this file small.", class_="caution")


def _overlay(page: Page, overlay: Overlay, width_px: int) -> Markup:
    group, (layers, lost) = page.id("layer"), _fitting(overlay)
    choices = [_choice(group, 0, "Nothing"), *(_choice(group, i, layer.name) for i, layer in enumerate(layers, 1))]
    figures = [
        element(
            "figure",
            _image(pictures.photo(overlay.picture, width_px), f"{overlay.title}: the picture itself", overlay.picture),
            element("figcaption", "Picture"),
            class_="layer layer-0",
        ),
        *(_layer(overlay, layer, index, width_px) for index, layer in enumerate(layers, 1)),
    ]
    missing = [*overlay.missing.items(), *lost]
    lacking = [element("li", element("b", name), ": ", why) for name, why in missing]
    return element(
        "article",
        heading(element("bdi", overlay.title)),
        paragraph(overlay.note) if overlay.note else None,
        element("fieldset", element("legend", "Laid over the picture"), choices) if layers else None,
        element("div", figures, _blocks(overlay), class_="layers"),
        element("ul", lacking, class_="notes", aria_label="Maps that are missing") if lacking else None,
        class_="overlay",
    )


def _blocks(overlay: Overlay) -> Markup | None:
    """Lies over whichever figure is shown: what is under the mouse says what is known of it, and needs no script."""
    if not overlay.blocks:
        return None
    height, width = overlay.picture.shape[:2]
    shapes = [element("rect", element("title", words), x=x, y=y, width=w, height=h)
              for x, y, w, h, words in overlay.blocks]  # fmt: skip
    box = f"0 0 {width} {height}"
    return element("svg", shapes, viewBox=box, width=width, height=height, class_="blocks", aria_hidden="true")


def _fitting(overlay: Overlay) -> tuple[list[Layer], list[tuple[str, str]]]:
    """The layers that can be shown, and the others with the reason: a report is not lost to one map."""
    fitting: list[Layer] = []
    lost: list[tuple[str, str]] = []
    for layer in overlay.layers:
        try:
            pictures.spread(layer, *overlay.picture.shape[:2])
        except ValueError as error:
            lost.append((layer.name, str(error)))
            continue
        if len(fitting) < MOST_LAYERS:
            fitting.append(layer)
        else:
            lost.append((layer.name, f"only {MOST_LAYERS} maps are shown"))
    return fitting, lost


def _choice(group: str, index: int, name: str) -> Markup:
    radio = element(
        "input", type="radio", name=group, class_=f"pick-{index}", checked=index == 1, id=f"{group}-{index}"
    )
    return element("label", radio, " ", element("bdi", name), for_=f"{group}-{index}")


def _layer(overlay: Overlay, layer: Layer, index: int, width_px: int) -> Markup:
    address = pictures.overlay(overlay.picture, layer, width_px)
    words = f"{layer.name} over {overlay.title}: {_extent(layer)}"
    caption = [element("b", element("bdi", layer.name)), " ", _key(layer), f"; {layer.note}" if layer.note else None]
    return element(
        "figure",
        _image(address, words, overlay.picture),
        element("figcaption", caption),
        class_=f"layer layer-{index}",
    )


def _extent(layer: Layer) -> str:
    values = pictures.known(layer)
    if not values.size:
        return "nothing is known"
    if layer.kind == "mask":
        return f"{percent(float((values > 0.5).mean()), 1)} of the picture"
    middle, low, high = (significant(float(f(values))) for f in (np.median, np.min, np.max))
    return f"from {low} to {high} {layer.unit}, median {middle}"


def _key(layer: Layer) -> Markup:
    """The colours with the values of their ends. It stands in a caption that says the rest, so it has no name."""
    colours = pictures.key_colours(layer.kind)
    width = 160 if len(colours) > 1 else 16
    step = width / len(colours)
    bars = [element("rect", x=i * step, y=0, width=step + 0.5, height=12, fill=c) for i, c in enumerate(colours)]
    picture = element("svg", bars, viewBox=f"0 0 {width} 12", width=width, height=12, class_="key", aria_hidden="true")
    if layer.kind == "mask":
        return element("span", picture, " ", _extent(layer))
    low, high = pictures.limits(layer)
    values = pictures.known(layer)
    below = "\u2264\u202f" if (values < low).any() else ""
    above = "\u2265\u202f" if (values > high).any() else ""
    return element("span", below + significant(low), " ", picture, f" {above}{significant(high)} {layer.unit}")


def _worst(page: Page, frame: WorstFrame, width_px: int) -> Markup:
    both = (frame.prediction_pristine, frame.prediction_decoded)
    maps = [np.asarray(one) for one in both if not isinstance(one, str)]
    weight = maps[0] != maps[1] if len(maps) == 2 else _error(frame)
    box = pictures.detail_box(weight)
    x, y, width, height = box
    inside = (slice(y, y + height), slice(x, x + width))
    shown, details = [], []
    for name, picture in (("Pristine", frame.pristine), ("Decoded", frame.decoded)):
        shown.append(_framed(name, pictures.photo(picture, width_px // 2, box), f"{name}: {frame.title}", picture))
        cut = picture[inside]
        details.append(_framed(f"{name}, detail", pictures.lossless(cut), f"Detail of the {name.lower()} picture", cut))
    for name, seen in (("pristine", both[0]), ("decoded", both[1])):
        if isinstance(seen, str):
            shown.append(element("p", f"Seen in the {name}: ", element("b", element("bdi", seen)), class_="seen"))
            continue
        palette = page.content.palette
        words, cut = f"Prediction on {name}", seen[inside]
        whole = f"{words}: {_shares(seen, page.content.classes)}"
        detail = f"Detail of the prediction on {name}: {_shares(cut, page.content.classes)}"
        shown.append(_framed(words, pictures.prediction(seen, palette, width_px // 2, box), whole, seen))
        details.append(_framed(f"{words}, detail", pictures.prediction(cut, palette, width), detail, cut))
    return element(
        "article",
        heading(element("bdi", frame.title)),
        facts(frame.facts),
        grid(shown, class_="grid pair"),
        grid(details, class_="grid four"),
        _class_key(page, maps),
        class_="worst",
    )


def _error(frame: WorstFrame) -> NDArray[np.float64]:
    error: NDArray[np.float64] = np.abs(frame.pristine.astype(float) - frame.decoded).sum(axis=2)
    return error


def _framed(name: str, address: str, words: str, picture: NDArray[np.uint8]) -> Markup:
    return element("figure", _image(address, words, picture), element("figcaption", name))


def _image(address: str, words: str, picture: NDArray[np.uint8]) -> Markup:
    """The size given keeps the page from moving while pictures are read."""
    height, width = picture.shape[:2]
    return element("img", src=address, alt=words, width=width, height=height)


def _shares(ids: NDArray[np.uint8], classes: Sequence[str]) -> str:
    """The classes that cover most, in percent of the pixels."""
    counts = np.bincount(ids.ravel(), minlength=256)
    order = [int(index) for index in np.argsort(-counts, kind="stable")[:_MOST_NAMED] if counts[index]]
    return ", ".join(f"{_class(index, classes)} {percent(counts[index] / ids.size)}" for index in order)


def _class(index: int, classes: Sequence[str]) -> str:
    return classes[index] if index < len(classes) else "void" if index == _VOID else f"unknown {index}"


def _class_key(page: Page, maps: Sequence[NDArray[np.uint8]]) -> Markup | None:
    """The colours of the classes that occur."""
    if not maps:
        return None
    ids = [int(index) for index in np.unique(np.concatenate([one.ravel() for one in maps]))]
    items = []
    for index in ids:
        colour = pictures.coloured(np.array([[index]], np.uint8), page.content.palette)[0, 0]
        fill = "#" + "".join(f"{int(part):02x}" for part in colour)
        box = element("rect", x=0.5, y=0.5, width=15, height=11, fill=fill, class_="box")
        picture = element("svg", box, viewBox="0 0 16 12", width=16, height=12, aria_hidden="true", class_="key")
        items.append(element("li", picture, " ", element("bdi", _class(index, page.content.classes))))
    return element("ul", items, class_="legend", aria_label="Colours of the predictions")
