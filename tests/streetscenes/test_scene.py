"""One scene: are picture, labels, distance, disparity, sizes and outlines of one world?"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from PIL import Image, ImageDraw

from streetscenes import disparity as stereo
from streetscenes import labels as short
from streetscenes.camera import BASELINE_M, CAMERA_HEIGHT_M, Camera
from streetscenes.light import draw_light
from streetscenes.people import draw_person
from streetscenes.raster import Canvas
from streetscenes.scene import Scene, render
from streetscenes.shapes import Pose
from vcmbench.data.labels import BY_ID, BY_NAME, CLASSES, LABELS, colorize, train_id_lut

ENSURED = ("person", "rider", "bus", "fence")
MOVING = 5


@lru_cache
def scene(seed: int = 3) -> Scene:
    return render(seed, ensure=ENSURED)


def test_label_table_is_that_of_cityscapes() -> None:
    assert len(LABELS) == 35
    assert len(CLASSES) == 19
    assert CLASSES[0] == "road"
    assert CLASSES[13] == "car"
    assert CLASSES[18] == "bicycle"
    assert train_id_lut()[33] == 18
    assert [label.label_id for label in LABELS if label.has_instances] == list(range(24, 34))
    assert tuple(colorize(np.array([[26]], np.uint8))[0, 0]) == (0, 0, 142)


def test_types_and_shapes() -> None:
    s = scene()
    assert s.image.shape == (256, 512, 3)
    assert s.image.dtype == np.uint8
    for array, kind in (
        (s.label_ids, np.uint8),
        (s.instance_ids, np.int32),
        (s.distance_m, np.float32),
        (s.disparity, np.uint16),
    ):
        assert array.shape == (256, 512)
        assert array.dtype == kind
    assert set(s.camera["extrinsic"]) == {"baseline", "pitch", "roll", "x", "y", "yaw", "z"}
    assert set(s.camera["intrinsic"]) == {"fx", "fy", "u0", "v0"}
    assert set(s.vehicle) == {"gpsHeading", "gpsLatitude", "gpsLongitude", "outsideTemperature", "speed", "yawRate"}
    assert 0 <= s.vehicle["speed"] <= 16


def test_same_seed_same_scene_and_other_seed_another() -> None:
    again = render(3, ensure=ENSURED)
    for name in ("image", "label_ids", "instance_ids", "distance_m", "disparity"):
        assert np.array_equal(getattr(scene(), name), getattr(again, name)), name
    assert scene().polygons == again.polygons
    assert not np.array_equal(scene().image, render(4, ensure=ENSURED).image)


def test_what_was_asked_for_is_visible() -> None:
    counts = np.bincount(scene().label_ids.ravel(), minlength=40)
    for name in ENSURED:
        assert counts[BY_NAME[name].label_id] > 100, name


@pytest.mark.parametrize("size", [(8, 256), (512, 4)])
def test_too_small_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="16x16"):
        render(0, *size)


def test_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        render(-1)


def test_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match="unicorn"):
        render(0, ensure=("unicorn",))


def test_instances_follow_the_rule_of_the_dataset() -> None:
    s = scene()
    counted = (s.label_ids >= 24) & (s.label_ids <= 33)
    assert np.array_equal(s.instance_ids[~counted], s.label_ids[~counted])
    assert np.array_equal(s.instance_ids[counted] // 1000, s.label_ids[counted])
    assert np.unique(s.instance_ids[s.label_ids == BY_NAME["person"].label_id]).size > 1


def test_disparity_agrees_with_distance_and_camera() -> None:
    s = scene()
    valid = s.disparity > 0
    d = (s.disparity[valid].astype(float) - 1) / 256
    distance = s.camera["intrinsic"]["fx"] * BASELINE_M / d
    true = s.distance_m[valid]
    near = true < 40
    error = np.abs(distance - true) / true
    assert np.median(error[near]) < 0.01
    assert np.median(error) < 0.02
    exact = s.camera["intrinsic"]["fx"] * BASELINE_M / true
    assert abs(np.mean(d - exact)) < 0.01
    assert 0.03 < np.std(d - exact) < 0.08


def test_no_disparity_where_none_can_be() -> None:
    s = scene()
    sky = s.label_ids == BY_NAME["sky"].label_id
    assert sky.any()
    assert np.isinf(s.distance_m[sky]).all()
    assert not s.disparity[sky].any()
    assert not s.disparity[s.label_ids <= 3].any()
    exact = s.camera["intrinsic"]["fx"] * BASELINE_M / s.distance_m
    outside = np.arange(512)[None, :] - exact < 0
    assert outside.any()
    assert not s.disparity[outside].any()
    ground = (s.label_ids == BY_NAME["road"].label_id) & ~outside
    assert (s.disparity[ground] > 0).mean() > 0.93


def test_hidden_pixels_by_brute_force() -> None:
    s = scene()
    exact = np.where(np.isfinite(s.distance_m), s.camera["intrinsic"]["fx"] * BASELINE_M / s.distance_m, 0)
    exact = exact.astype(np.float32)
    fast = stereo.hidden(exact)
    assert 0.003 < fast.mean() < 0.2
    for y in range(60, 240, 20):
        landing = [float(np.float32(x) - exact[y, x]) for x in range(512)]
        for x in range(512):
            column = min(max(round(landing[x]), -1), 512)
            slow = any(
                exact[y, k] > exact[y, x] + np.float32(stereo.OCCLUSION_PX)
                and min(max(int(np.floor(landing[k])), -1), 512) in (column, column - 1)
                for k in range(512)
            )
            if 0 < column < 511:
                assert slow == fast[y, x], (x, y)
        assert not s.disparity[y][fast[y]].any()


def test_median_disparity_of_an_instance_gives_its_distance() -> None:
    s = scene()
    checked = 0
    for instance in np.unique(s.instance_ids[s.instance_ids >= 24000]):
        mask = (s.instance_ids == instance) & (s.disparity > 0)
        true = float(np.median(s.distance_m[s.instance_ids == instance]))
        if mask.sum() < 60 or true > 45:
            continue
        measured = s.camera["intrinsic"]["fx"] * BASELINE_M / ((np.median(s.disparity[mask]) - 1) / 256)
        assert measured == pytest.approx(true, rel=0.04)
        checked += 1
    assert checked >= 3


def test_size_in_pixels_agrees_with_height_and_distance() -> None:
    camera = Camera.scaled(512, 256)
    light = draw_light(np.random.default_rng(0))
    for distance in (6.0, 12.0, 24.0):
        canvas = Canvas(camera, light, 2, True)
        draw_person(canvas, Pose(0.5, distance), 1.75, 1, 5, 0.0)
        rows = np.flatnonzero((canvas.obj.reshape(canvas.height, canvas.width) == 1).any(axis=1))
        pixels = (rows[-1] - rows[0] + 1) / 2
        assert pixels == pytest.approx(camera.fy * 1.75 / distance, rel=0.04, abs=1.0)


def test_ground_lies_where_the_camera_says() -> None:
    s = scene()
    fy, v0 = s.camera["intrinsic"]["fy"], s.camera["intrinsic"]["v0"]
    y, x = np.nonzero(s.label_ids == BY_NAME["road"].label_id)
    assert np.allclose(s.distance_m[y, x], fy * CAMERA_HEIGHT_M / (y - v0), rtol=1e-3)


def test_outlines_painted_in_order_give_the_labels_back() -> None:
    s = scene()
    assert (s.polygons["imgHeight"], s.polygons["imgWidth"]) == (256, 512)
    picture = Image.new("L", (512, 256), 0)
    pen = ImageDraw.Draw(picture)
    for thing in s.polygons["objects"]:
        label = BY_NAME[thing["label"]].label_id
        points = [tuple(p) for p in thing["polygon"]]
        if len(points) >= 2:
            pen.polygon(points, fill=label, outline=label)
        else:
            pen.point(points, fill=label)
    painted = np.asarray(picture)
    assert (painted == s.label_ids).mean() > 0.98
    shares = []
    for label in np.unique(s.label_ids):
        a, b = painted == label, s.label_ids == label
        if b.sum() > 100:
            shares.append((a & b).sum() / (a | b).sum())
    assert np.mean(shares) > 0.95
    assert all(BY_ID[BY_NAME[t["label"]].label_id] for t in s.polygons["objects"])


def test_outlines_go_from_far_to_near() -> None:
    names = [thing["label"] for thing in scene().polygons["objects"]]
    assert names[0] == "out of roi"
    assert "ego vehicle" in names[-5:]
    assert names.index("sky") < names.index("car")


def test_other_sizes_show_the_same_world() -> None:
    small = render(3, 250, 125, ensure=ENSURED)
    assert small.image.shape == (125, 250, 3)
    assert small.camera["intrinsic"]["fx"] == pytest.approx(scene().camera["intrinsic"]["fx"] * 250 / 512)
    assert set(np.unique(small.label_ids)) <= set(np.unique(scene().label_ids)) | {29}
    odd = render(3, 501, 251)
    assert odd.image.shape == (251, 501, 3)


def test_picture_is_like_a_photograph() -> None:
    gray = scene().image.astype(float).mean(axis=2)
    assert 60 < gray.mean() < 170
    assert gray.std() > 30
    # Hardly any clipped or flat parts: neighbours differ nearly everywhere, mostly by little.
    step = np.abs(np.diff(gray, axis=1))
    assert (step == 0).mean() < 0.25
    assert 2 < np.percentile(step, 75) < 20


def test_a_pole_comes_nearer_as_the_car_drives() -> None:
    before = render(MOVING, ensure=ENSURED)
    after = render(MOVING, ensure=ENSURED, frame_time_s=4 / 17)
    speed = before.vehicle["speed"]
    assert speed > 1
    pole = BY_NAME["pole"].label_id
    depth = before.distance_m[(before.label_ids == pole) & (before.distance_m > 6) & (before.distance_m < 30)]
    place = float(np.median(depth))
    same = after.distance_m[(after.label_ids == pole) & (after.distance_m < 60)]
    expected = place - speed * 4 / 17
    assert np.abs(same - expected).min() < 0.25
    assert not np.array_equal(before.image, after.image)
    # House fronts beside the camera flow outwards, the horizon stays.
    assert abs(np.isinf(before.distance_m).mean() - np.isinf(after.distance_m).mean()) < 0.1


def test_names_and_ids_are_those_of_vcmbench() -> None:
    """The package stands alone, so it has its own short table."""
    assert set(short.BY_NAME) == {label.name for label in LABELS if label.label_id >= 0}
    for name, label in short.BY_NAME.items():
        known = BY_NAME[name]
        found = label.label_id, label.evaluated, label.has_instances
        assert found == (known.label_id, known.evaluated, known.has_instances), name
