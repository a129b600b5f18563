"""Importance agrees with a loop over pixels; the formulas hold where they are anchored; nonsense is named."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streetscenes.scene import render
from tests.helpers.importance_reference import Scene, expected
from tests.helpers.paths import PHOTOGRAPHS
from vcmbench.data.labels import LABELS
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import (
    ImportanceMap,
    ImportanceSettings,
    distance_importance,
    importance_map,
    safe_distance_m,
)
from vcmbench.importance.classes import load

AGGREGATES = ("instance", "class", "pixel")
TERMS = list(itertools.product((True, False), repeat=3))
CAR, PERSON, ROAD = 26, 24, 7


def compute(scene: Scene, settings: ImportanceSettings | None = None) -> ImportanceMap:
    return importance_map(
        scene.labels, scene.instances, scene.disparity, scene.fx_px, scene.baseline_m, scene.speed_mps, settings
    )


def assert_agrees(scene: Scene, **settings: Any) -> ImportanceMap:
    result = compute(scene, ImportanceSettings(**settings))
    assert result.values.dtype == np.float32
    np.testing.assert_allclose(result.values, expected(scene, **settings), rtol=0, atol=1e-6)
    return result


@pytest.fixture(scope="module")
def street() -> Scene:
    drawn = render(5, 256, 128, ensure=("person", "bicycle", "rider", "truck"))
    return Scene(
        drawn.label_ids, drawn.instance_ids, drawn.disparity, drawn.camera["intrinsic"]["fx"],
        drawn.camera["extrinsic"]["baseline"], 1.5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def motorcycle() -> Scene:
    """A real stereo pair with measured disparity; what is near is taken for instances, the rest for stuff.

    Middlebury 2014, a quarter of its size: f 994.978 px, baseline 0.193001 m, principal points 31.086 px apart.
    """
    measured = np.load(PHOTOGRAPHS / "motorcycle_disp.npz")["arr_0"][::2, ::2]
    valid = np.isfinite(measured)
    from_infinity = np.where(valid, measured, 0) + 31.086
    raw = np.where(valid, np.rint(from_infinity * 256) + 1, 0).astype(np.uint16)
    labels = np.select([~valid, from_infinity > 85, from_infinity > 60], [24, 32, 33], 11).astype(np.uint8)
    column = np.arange(raw.shape[1])[None, :] // 60
    instances = np.where(labels >= 24, labels.astype(np.uint16) * 1000 + column, labels).astype(np.uint16)
    return Scene(labels, instances, raw, 994.978, 0.193001, 0.5)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_street_scene_agrees_with_the_loop(street: Scene, aggregate: str) -> None:
    result = assert_agrees(street, aggregate=aggregate)
    assert len(np.unique(result.values)) > 3
    assert {one.label for one in result.objects} >= {"person", "car"}


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_real_stereo_pair_agrees_with_the_loop(motorcycle: Scene, aggregate: str) -> None:
    assert (motorcycle.disparity == 0).any()
    result = assert_agrees(motorcycle, aggregate=aggregate, d_safe_floor_m=2.2)
    assert len(np.unique(result.values)) > 3


@pytest.mark.parametrize("terms", TERMS, ids=str)
def test_each_term_can_be_switched_off(street: Scene, terms: tuple[bool, bool, bool]) -> None:
    assert_agrees(street, **dict(zip(("use_distance", "use_class", "use_speed"), terms, strict=True)))


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Few pixels, few objects, so that odd and even counts, gaps and infinite distances meet in all ways."""
    size = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = rng.choice([0, 3, 7, 11, 23, 24, 26, 26, 33], size).astype(np.uint8)
    number = rng.integers(0, draw(st.integers(1, 4)), size)
    single = (labels >= 24) & (rng.random(size) < 0.8)
    instances = np.where(single, labels.astype(int) * 1000 + number, labels).astype(np.uint16)
    raw = rng.integers(1, draw(st.sampled_from([3, 400, 65536])), size)
    raw[rng.random(size) < draw(st.sampled_from([0.0, 0.3, 0.9]))] = 0
    raw[0, 0] = raw[0, 0] or 7
    speed = draw(st.floats(0, 60))
    return Scene(labels, instances, raw.astype(np.uint16), draw(st.floats(1, 3000)), draw(st.floats(0.01, 1)), speed)


@given(scenes(), st.sampled_from(AGGREGATES), st.sampled_from(TERMS))
def test_any_scene_agrees_with_the_loop(scene: Scene, aggregate: str, terms: tuple[bool, bool, bool]) -> None:
    switches = dict(zip(("use_distance", "use_class", "use_speed"), terms, strict=True))
    values = assert_agrees(scene, aggregate=aggregate, **switches).values
    assert ((values >= 0) & (values <= 1)).all()


@given(st.floats(0, 80), st.floats(0.1, 5), st.floats(0.5, 9))
def test_anchors_of_the_formulas(speed: float, reaction: float, deceleration: float) -> None:
    settings = ImportanceSettings(reaction_s=reaction, deceleration_mps2=deceleration)
    d_safe = safe_distance_m(speed, settings)
    assert d_safe == pytest.approx(max(5.0, speed * reaction + speed * speed / (2 * deceleration)))
    anchors = distance_importance([0, d_safe, 2 * d_safe, 3 * d_safe, np.inf], d_safe)
    np.testing.assert_allclose(anchors, [1, 1, 0.5, 0.25, 0], rtol=0, atol=1e-12)
    assert (np.diff(distance_importance(np.linspace(0, 500, 100), d_safe)) <= 0).all()


def test_a_safe_distance_that_settings_make_infinite() -> None:
    with pytest.raises(JobError, match=r"reaction_s 1e\+308, deceleration_mps2 3.4: make the safe distance infinite"):
        safe_distance_m(30.0, ImportanceSettings(reaction_s=1e308))


def test_safe_distance_has_a_floor_and_a_fallback() -> None:
    assert safe_distance_m(0.0, ImportanceSettings()) == 5.0
    assert safe_distance_m(0.0, ImportanceSettings(d_safe_floor_m=2.0)) == 2.0
    assert safe_distance_m(30.0, ImportanceSettings(use_speed=False)) == pytest.approx(25 + 100 / 6.8)
    for speed in (-1.0, float("nan"), float("inf"), 1e200):
        with pytest.raises(JobError, match="speed"):
            safe_distance_m(speed, ImportanceSettings())
    for d_safe in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="d_safe_m"):
            distance_importance(1.0, d_safe)


def small(**changes: Any) -> Scene:
    """Two cars side by side over a road, at 10 m and 40 m, the safe distance being 39.7 m."""
    labels = np.full((4, 8), ROAD, np.uint8)
    labels[:2] = CAR
    instances = labels.astype(np.uint16)
    instances[:2, :4], instances[:2, 4:] = CAR * 1000, CAR * 1000 + 1
    disparity = np.full((4, 8), 257, np.uint16)
    disparity[:2, :4] = 4 * 256 + 1
    return replace(Scene(labels, instances, disparity, fx_px=400.0, baseline_m=0.1, speed_mps=10.0), **changes)


def test_objects_say_how_far_they_are() -> None:
    near, far = compute(small()).objects
    assert (near.label, near.instance_id, near.distance_m, near.within) == ("car", 26000, 10.0, True)
    assert (far.instance_id, far.distance_m, far.within, far.pixels, far.valid_pixels) == (26001, 40.0, False, 8, 8)
    (both,) = compute(small(), ImportanceSettings(aggregate="class")).objects
    assert (both.instance_id, both.distance_m, both.pixels) == (26, 25.0, 16)


def test_what_has_no_distance_is_never_taken_for_near() -> None:
    scene = small()
    disparity = scene.disparity.copy()
    disparity[:2, :4] = 0
    disparity[0, :4] = 60000  # four pixels that say 0.2 m are no measurement
    result = compute(small(disparity=disparity))
    assert result.objects[0].distance_m is None
    assert not result.objects[0].within
    np.testing.assert_array_equal(result.values[:2, :4], result.values[0, 4])  # as the other car
    assert "1, of which 1 took the median distance of their class" in result.notes[0]
    disparity[:2] = 0
    result = compute(small(disparity=disparity))
    np.testing.assert_array_equal(result.values[:2], 0.5)
    assert "2 the importance 0.5" in result.notes[0]


def test_raw_1_is_infinitely_far() -> None:
    disparity = small().disparity.copy()
    disparity[:2, 4:] = 1
    result = compute(small(disparity=disparity))
    assert result.objects[1].distance_m == np.inf
    assert (result.values[:2, 4:] == 0).all()


def test_a_standing_car_says_so() -> None:
    result = compute(small(speed_mps=0.0))
    assert result.d_safe_m == 5.0
    assert "floor" in result.notes[0]


def test_license_plates_are_objects_too() -> None:
    labels, instances = small().labels.astype(np.int16), small().instances.astype(np.int32)
    labels[0, 0], instances[0, 0] = -1, -1
    result = compute(small(labels=labels, instances=instances))
    assert {one.label for one in result.objects} == {"car", "license plate"}
    assert result.values[0, 0] == 0.5


def test_nothing_is_asked_that_is_not_needed() -> None:
    assert compute(small(instances=None), ImportanceSettings(aggregate="class")).objects
    result = compute(small(instances=None, disparity=None), ImportanceSettings(use_distance=False, classes="seed000"))
    assert set(result.values.ravel().tolist()) == {1.0, np.float32(0.1)}


def changed(name: str, value: int) -> Any:
    array = getattr(small(), name).copy()
    array[0, 0] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": changed("labels", 77)}, "labels: unknown ids 77; .*--classes"),
        ({"labels": changed("labels", 255)}, "labels: unknown ids 255"),
        ({"labels": changed("labels", 0).astype(np.int16) - 2}, "labels: unknown ids -2"),
        ({"labels": np.array([[0, 1, 13, 255]], np.uint8)}, "labels: holds train ids"),
        ({"labels": np.array([[0, 1, 2, 8, 10, 13]], np.int32)}, "labels: holds train ids"),
        ({"labels": small().labels.astype(float)}, "labels: must be integers"),
        ({"labels": small().labels[0]}, "labels: must be integers"),
        ({"labels": np.zeros((0, 8), np.uint8)}, "labels: must be integers"),
        ({"instances": changed("instances", 24000)}, "instances: 1 pixels .* as 24000 on 26"),
        ({"instances": changed("instances", 300)}, "instances: 1 pixels"),
        ({"labels": changed("labels", 7)}, "instances: 1 pixels .* as 26000 on 7"),
        ({"instances": None}, "instances: needed"),
        ({"instances": small().instances[:2]}, "instances: is 8x2 px, the labels are 8x4 px"),
        ({"disparity": None}, "disparity: needed"),
        ({"disparity": small().disparity[:, :5]}, "disparity: is 5x4 px, the labels are 8x4 px"),
        ({"disparity": np.zeros((4, 8), np.uint16)}, "disparity: no pixel is valid"),
        ({"disparity": small().disparity.astype(np.int32) * 1000}, "disparity: must be integers 0..65535"),
        ({"disparity": small().disparity.astype(np.float32)}, "disparity: must be integers"),
        ({"fx_px": 0.0}, "fx 0.0 px: must be within 1..1000000"),
        ({"fx_px": 1e-300}, "fx 1e-300 px: must be within"),
        ({"baseline_m": 1e-300}, "baseline 1e-300 m: must be within 0.001..100"),
        ({"baseline_m": 101.0}, "baseline 101.0 m"),
        ({"speed_mps": 151.0}, "speed 151.0 m/s: must be within 0..150"),
        ({"fx_px": float("nan")}, "fx nan px"),
        ({"baseline_m": -0.2}, "baseline -0.2 m"),
        ({"speed_mps": -0.1}, "speed -0.1 m/s"),
    ],
)
def test_bad_arrays_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(JobError, match=message):
        compute(small(**changes))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aggregate": "mean"}, "aggregate: 'mean'; allowed: instance, class, pixel"),
        ({"use_speed": 1}, "use_speed: 1; allowed"),
        ({"reaction_s": -1.0}, "reaction_s: -1.0"),
        ({"reaction_s": True}, "reaction_s: True"),
        ({"deceleration_mps2": 0}, "deceleration_mps2: 0; allowed"),
        ({"deceleration_mps2": float("inf")}, "deceleration_mps2: inf"),
        ({"d_safe_floor_m": 0.0}, "d_safe_floor_m: 0.0"),
        ({"classes": "mine.toml"}, "classes: 'mine.toml'"),
        ({"classes": Path("/nowhere/mine.toml")}, "/nowhere/mine.toml: class table cannot be read"),
    ],
)
def test_nonsense_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        ImportanceSettings(**settings)


def test_settings_can_be_keys() -> None:
    assert {ImportanceSettings(): 1}[ImportanceSettings(aggregate="instance")] == 1


@pytest.mark.parametrize(("classes", "ground"), [(None, 1), ("seed000", 0.1)])
def test_our_class_tables_are_those_of_cityscapes(classes: Literal["seed000"] | None, ground: float) -> None:
    """The ground that the car may drive on counts like a near object; the described code has 0.1 for it."""
    table = load(classes)
    assert table.names == {label.label_id: label.name for label in LABELS}
    assert len(table.names) == 35
    for label in LABELS:
        kind = 0 if label.category == "void" else 2 if label.category in {"human", "vehicle"} else 1
        assert table.kinds[label.label_id] == kind
        fixed = ground if label.name in {"road", "sidewalk"} else 0.1
        assert table.values[label.label_id] == np.float32(fixed if kind == 1 else 0)


def test_another_class_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[class]]\nid = 26\nname = "car"\nkind = "fixed"\nimportance = 1\n'
        '[[class]]\nid = 7\nname = "way"\nkind = "distance"\n'
    )
    result = compute(small(), ImportanceSettings(classes=path))
    assert (result.values[:2] == 1).all()
    assert [one.label for one in result.objects] == ["way"]
    assert result.values[3, 3] == pytest.approx(np.exp(-np.log(2) / result.d_safe_m * (40 - result.d_safe_m)), abs=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class = ", "not TOML"),
        ("", "class: Field required"),
        ("class = []", "class: .*at least 1"),
        ('class = [{ id = 1, name = "a", kind = "near" }]', r"class\[1\].kind: .*'void', 'fixed' or 'distance'"),
        ('class = [{ id = 1, name = "a", kind = "fixed" }]', "importance stands where kind is"),
        ('class = [{ id = 1, name = "a", kind = "void", importance = 0.1 }]', "importance stands where kind is"),
        ('class = [{ id = 1, name = "a", kind = "fixed", importance = 2.0 }]', "importance: .*less than or equal to 1"),
        (
            'class = [{ id = 1, name = "a", kind = "fixed", importance = true }]',
            r"class\[1\].importance: .*valid number \(found True\)",
        ),
        (
            'class = [{ id = 1, name = "a", kind = "fixed", importance = "0.5" }]',
            r"class\[1\].importance: .*valid number \(found '0.5'\)",
        ),
        ('class = [{ id = 300, name = "a", kind = "void" }]', "id: .*254"),
        ('class = [{ id = 70, name = "a", kind = "distance" }]', "a distance class has an id up to 64"),
        ('class = [{ id = 1, name = "a", kind = "void", gain = 1 }]', "gain: unknown key; known here: id, name"),
        ('[[class]]\nid = 1\nname = "a"\nkind = "void"\n' * 2, "id 1 stands in it twice"),
        ("x" * (1 << 20) + "y", "at most"),
    ],
)
def test_mistakes_in_a_class_table_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RequestError, match=message) as caught:
        ImportanceSettings(classes=path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
