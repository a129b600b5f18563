"""A drive: do its frames, labels, distances and motion belong together?"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from streetscenes.camera import BASELINE_M, Array
from streetscenes.labels import BY_NAME
from streetscenes.people import draw_person
from streetscenes.raster import Canvas
from streetscenes.sequence import FRAMES_PER_SECOND, Frame, Sequence
from streetscenes.shapes import Pose
from streetscenes.textures import wrap

WALKERS = 4


@pytest.fixture(scope="module")
def drive() -> Sequence:
    return Sequence(WALKERS, 4, 128, 64, ensure=("person", "rider"), noisy=False)


@pytest.fixture(scope="module")
def frames(drive: Sequence) -> list[Frame]:
    return list(drive)


def _targets(frame: Frame) -> tuple[Array, Array]:
    y, x = np.mgrid[: frame.flow_px.shape[0], : frame.flow_px.shape[1]]
    return x + frame.flow_px[..., 0], y + frame.flow_px[..., 1]


def _luma(frame: Frame) -> Array:
    return frame.rgb @ np.array([0.299, 0.587, 0.114])


def test_types_and_shapes(frames: list[Frame]) -> None:
    assert len(frames) == 4
    kinds = {"rgb": np.uint8, "label_ids": np.uint8, "instance_ids": np.int32, "depth_m": np.float32,
             "disparity": np.uint16, "flow_px": np.float32, "flow_is_valid": np.bool_}  # fmt: skip
    for name, kind in kinds.items():
        array = getattr(frames[0], name)
        assert array.dtype == kind
        assert array.shape[:2] == (64, 128), name
    assert [frame.time_s for frame in frames] == [i / FRAMES_PER_SECOND for i in range(4)]


def test_flow_brings_the_next_frame_back(frames: list[Frame]) -> None:
    for now, then in pairwise(frames):
        x, y = _targets(now)
        valid = now.flow_is_valid
        assert valid.mean() > 0.75
        back = map_coordinates(_luma(then), [y, x], order=1, mode="nearest")
        error = np.abs(back - _luma(now))[valid]
        still = np.abs(_luma(then) - _luma(now))[valid]
        assert np.median(error) < 4
        assert error.mean() < 0.7 * still.mean()
        at = np.rint(y[valid]).astype(int), np.rint(x[valid]).astype(int)
        assert (then.label_ids[at] == now.label_ids[valid]).mean() > 0.98
        assert (then.instance_ids[at] == now.instance_ids[valid]).mean() > 0.98


def test_things_keep_their_ids_and_move(frames: list[Frame]) -> None:
    """A car that drives has another flow than what stands at its place would have."""
    one, last = ({int(i) for i in np.unique(f.instance_ids) if i >= 24000} for f in (frames[0], frames[-1]))
    assert len(one & last) >= 0.6 * len(one | last)
    car = (frames[0].label_ids == BY_NAME["car"].label_id) & frames[0].flow_is_valid
    assert car.sum() > 10
    assert np.abs(frames[0].flow_px - _static_flow(frames[0], frames[1]))[car].max() > 0.05


def _static_flow(now: Frame, then: Frame) -> Array:
    """The flow (H, W, 2) if nothing moved but the camera: each pixel's point, projected into the next camera."""
    y, x = np.mgrid[: now.depth_m.shape[0], : now.depth_m.shape[1]]
    c = now.view
    depth = np.minimum(now.depth_m, 1e9).astype(float)
    local = np.stack([(x - c.u0) / c.fx * depth, (c.v0 - y) / c.fy * depth, depth], 2)
    world = local @ c.rotation + c.centre
    c = then.view
    local = then.view.to_camera(world.reshape(-1, 3)).reshape(world.shape)
    return np.stack(
        [c.u0 + c.fx * local[..., 0] / local[..., 2] - x, c.v0 - c.fy * local[..., 1] / local[..., 2] - y], 2
    )


def test_ego_motion_moves_the_ground_as_the_camera_says(frames: list[Frame]) -> None:
    now, then = frames[0], frames[1]
    road = (now.label_ids == BY_NAME["road"].label_id) & now.flow_is_valid
    assert np.allclose(now.flow_px[road], _static_flow(now, then)[road], atol=0.01)
    step = np.hypot(then.view.x_m - now.view.x_m, then.view.z_m - now.view.z_m)
    assert step == pytest.approx(now.speed_mps / FRAMES_PER_SECOND, rel=0.02)
    assert now.vehicle["speed"] == pytest.approx(now.speed_mps, abs=1e-3)
    assert now.vehicle["yawRate"] == pytest.approx((then.view.yaw - now.view.yaw) * FRAMES_PER_SECOND, abs=1e-5)


def test_disparity_agrees_with_depth(frames: list[Frame]) -> None:
    for frame in frames:
        valid = frame.disparity > 0
        measured = (frame.disparity[valid].astype(float) - 1) / 256
        exact = frame.camera["intrinsic"]["fx"] * BASELINE_M / frame.depth_m[valid]
        assert abs(np.mean(measured - exact)) < 0.01
        assert np.std(measured - exact) < 0.08


def test_same_seed_same_frames_but_new_noise_in_each(drive: Sequence, frames: list[Frame]) -> None:
    again = next(iter(drive))
    for name in ("rgb", "label_ids", "instance_ids", "depth_m", "disparity", "flow_px", "flow_is_valid"):
        assert np.array_equal(getattr(again, name), getattr(frames[0], name)), name
    noisy = Sequence(WALKERS, 2, 128, 64, ensure=("person", "rider"))
    grains = [a.rgb.astype(int) - b.rgb for a, b in zip(noisy, frames, strict=False)]
    assert 0.3 < grains[0].std() < 4
    assert abs(np.corrcoef(grains[0].ravel(), grains[1].ravel())[0, 1]) < 0.1


def test_a_walkers_leg_moves_with_itself() -> None:
    """Limbs are known by their number, whatever of them is seen."""
    drive = Sequence(WALKERS, 1, 64, 32)
    feet = []
    for phase in (0.5, 0.7):
        canvas = Canvas(drive._camera(0.0), drive.world.light, 1, True)
        draw_person(canvas, Pose(drive.world.ego_side, 8.0), 1.75, 1, 5, phase)
        feet.append(np.array([ends for _, ends in canvas.limbs]))
    assert feet[0].shape == feet[1].shape
    assert np.abs(feet[0] - feet[1]).max() > 0.02


@pytest.mark.parametrize(("frames", "message"), [(0, "at least one frame"), (100_000, "ask for fewer")])
def test_impossible_lengths_are_refused(frames: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sequence(0, frames, 64, 32)


def test_wrap_is_numpys_mod_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 50, 50_000), np.arange(-20, 20) * 0.3, [0.0, -1e-9]]).astype(np.float32)
    for period in (0.05, 0.14, 0.3, 1.0, 2.0, 3.4, 9.0):
        assert np.array_equal(wrap(x, period), np.mod(x, np.float32(period)))
