"""Pictures have one scale, colours mean what they say, and polygons are cut to the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vcmbench.importance import pictures
from vcmbench.importance.classes import load
from vcmbench.importance.polygons import Polygon, cut, read_polygons, visible

WIDTH, HEIGHT = 300, 150


def test_the_scale_is_that_of_importance_not_of_the_picture() -> None:
    values = np.array([[0.0, 0.1, 0.5, 1.0]], np.float32)
    np.testing.assert_array_equal(pictures.gray(values), [[0, 26, 128, 255]])
    hot = matplotlib.colormaps["hot"]
    wanted = [[round(255 * part) for part in hot(number)[:3]] for number in (0, 26, 128, 255)]
    np.testing.assert_allclose(pictures.heat(values)[0], wanted, atol=1)
    np.testing.assert_array_equal(pictures.heat(values[:, :2]), pictures.heat(values)[:, :2])


def box(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def annotated(polygons: list[Polygon], disparity: Any) -> Any:
    picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    return pictures.annotate(picture, polygons, disparity, 40.0, 20.0, load()).astype(int)


def test_red_within_blue_beyond_gray_unknown() -> None:
    disparity = np.zeros((HEIGHT, WIDTH), np.uint16)
    disparity[:, :100], disparity[:, 100:200] = 4 * 256 + 1, 257  # 10 m and 40 m
    boxes = [box(10, 40, 90, 140), box(110, 40, 190, 140), box(210, 40, 290, 140)]
    shown = annotated(
        [Polygon(label, one) for label, one in zip(("car", "person", "cargroup"), boxes, strict=True)], disparity
    )
    red, blue, grey = (shown[125, x] for x in (50, 150, 250))
    assert red[0] > red[2] + 40
    assert blue[2] > blue[0] + 40
    assert max(grey) - min(grey) < 10
    assert (shown[145, :] == 128).all()


def test_only_what_is_seen_of_a_polygon_counts() -> None:
    disparity = np.full((HEIGHT, WIDTH), 257, np.uint16)  # 40 m
    disparity[:, 100:] = 4 * 256 + 1  # 10 m
    behind, before = Polygon("car", box(60, 50, 250, 140)), Polygon("wall", box(100, 0, 299, 149))
    assert annotated([behind], disparity)[135, 80, 0] > 140  # most of it is near
    assert annotated([behind, before], disparity)[135, 80, 2] > 140  # only the far part is seen
    assert (annotated([before], disparity)[20:] == 128).all()  # walls have no distances


def test_texts_do_not_cover_each_other() -> None:
    disparity = np.full((HEIGHT, WIDTH), 257, np.uint16)
    crowd = [Polygon("bicycle", box(100 + i, 60 + i, 150 + i, 110 + i)) for i in range(30)]
    canvas = Image.new("RGB", (WIDTH, HEIGHT))
    texts = pictures._Texts(ImageDraw.Draw(canvas), WIDTH, HEIGHT)
    for polygon in crowd:
        texts.label(polygon, 40.0, (1, 2, 3))
    taken = texts._taken
    assert 2 <= len(taken) < 30
    assert not any(pictures._overlap(a, b) for i, a in enumerate(taken) for b in taken[:i])
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= WIDTH and b[3] <= HEIGHT for b in taken)
    assert annotated(crowd, disparity).shape == (HEIGHT, WIDTH, 3)


def test_polygons_are_cut_to_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "polygons.json"
    entries = [
        {"label": "car", "polygon": [[-500000, 10], [400000, 10], [400000, 60], [-500000, 60]]},
        {"label": "car", "polygon": [[-50, -50], [-10, -50], [-10, -10]]},
        {"label": "car", "polygon": [[1, 1], [2, 2]]},
        {"label": "person", "polygon": [[5, 5], [9, 5], [9, 9]], "deleted": 1},
    ]
    path.write_text(json.dumps({"objects": entries}))
    polygons = read_polygons(path, WIDTH, HEIGHT)
    assert polygons is not None
    assert [len(polygon.points) for polygon in polygons] == [4, 0]
    seen = visible(polygons, WIDTH, HEIGHT)
    assert (seen[10:61] == 1).all()
    assert seen.sum() == 51 * WIDTH
    assert read_polygons(tmp_path / "none.json", WIDTH, HEIGHT) is None
    assert (annotated(polygons, np.full((HEIGHT, WIDTH), 257, np.uint16))[100:] == 128).all()


@given(st.lists(st.tuples(st.integers(-40, 90), st.integers(-40, 90)), min_size=3, max_size=7))
def test_cutting_changes_nothing_within(points: list[tuple[float, float]]) -> None:
    size = 48
    result = cut(points, size, size)
    assert all(-1e-9 <= x <= size - 1 + 1e-9 and -1e-9 <= y <= size - 1 + 1e-9 for x, y in result)
    whole = Image.new("1", (200, 200))
    ImageDraw.Draw(whole).polygon([(x + 60, y + 60) for x, y in points], fill=1)
    part = visible([Polygon("car", result)], size, size) > 0
    wanted = np.asarray(whole)[60 : 60 + size, 60 : 60 + size]
    # rounding at cut edges moves an outline by a pixel at most: what lies inside of both by more is the same
    inner = slice(1, -1)
    differs = (part != wanted)[inner, inner]
    assert differs.mean() < 0.1


def test_a_picture_without_objects_is_fine() -> None:
    shown = annotated([], np.full((HEIGHT, WIDTH), 257, np.uint16))
    assert (shown[60:] == 128).all()


@pytest.mark.parametrize("width", [512, 2048])
def test_texts_are_legible(width: int) -> None:
    texts = pictures._Texts(ImageDraw.Draw(Image.new("RGB", (width, width // 2))), width, width // 2)
    assert texts._extent("car: 12.3 m")[1] >= max(14, width / 80)
