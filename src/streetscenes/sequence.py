"""A drive: pictures of one world, 25 a second, from a moving car among moving traffic, with exact labels and motion."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streetscenes import disparity as stereo
from streetscenes.camera import Camera
from streetscenes.flow import View, between
from streetscenes.raster import Canvas
from streetscenes.scene import check, draw, name_objects, paint_hood, visibility
from streetscenes.sensor import expose
from streetscenes.traffic import build
from streetscenes.world import World

FRAMES_PER_SECOND = 25.0
_ATTEMPTS = 12
_SLOWEST_MPS = 3.0
# The car weaves in its lane by this much, this often.
_SWAY_M, _SWAY_HZ = 0.08, 0.3
# Numbers of the noise, apart from those of stills.
_FIRST_NOISE = 1 << 20


@dataclass(frozen=True)
class Frame:
    """One picture of a drive and all that is known of it.

    ``rgb`` (H, W, 3) uint8; ``label_ids`` (H, W) uint8; ``instance_ids`` (H, W) int32 as in ``Scene``, an object keeps
    its own through the sequence; ``depth_m`` (H, W) float32 along the optical axis, inf in the sky; ``disparity``
    (H, W) uint16 as in ``Scene``; ``flow_px`` (H, W, 2) float32: a point at (x, y) is at (x, y) + flow in the next
    frame (which is so for the last one, too); ``flow_is_valid`` (H, W) bool: it is seen there; ``camera``, ``vehicle``
    as in the files; ``view`` is the camera in the world.
    """

    rgb: NDArray[np.uint8]
    label_ids: NDArray[np.uint8]
    instance_ids: NDArray[np.int32]
    depth_m: NDArray[np.float32]
    disparity: NDArray[np.uint16]
    flow_px: NDArray[np.float32]
    flow_is_valid: NDArray[np.bool_]
    time_s: float
    speed_mps: float
    camera: dict[str, dict[str, float]]
    vehicle: dict[str, float]
    view: Camera


class Sequence:
    """The drive of ``seed``: iterate over it for its frames. Each iteration draws them anew, the same.

    ``ensure`` names classes that should be plainly visible in the first frame. ``noisy=False`` leaves the sensor's
    noise out (disparity keeps its own). Raises ``ValueError`` as ``render`` does, for no frames, and for a drive that
    is longer than the street.
    """

    def __init__(
        self,
        seed: int,
        frames: int,
        width: int = 512,
        height: int = 256,
        *,
        ensure: tuple[str, ...] = (),
        noisy: bool = True,
    ) -> None:
        check(seed, width, height, ensure)
        if frames < 1:
            raise ValueError(f"a sequence has at least one frame, not {frames}")
        self.seed, self.frames, self.width, self.height, self.noisy = seed, frames, width, height, noisy
        self.world = _world(seed, tuple(sorted(set(ensure))), frames / FRAMES_PER_SECOND)

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[Frame]:
        now = self._drawn(0, False)
        for number in range(self.frames):
            # Of what comes after the last frame only the geometry is needed.
            then = self._drawn(number + 1, number + 1 == self.frames)
            yield self._frame(number, now, then.view)
            now = then

    def _drawn(self, number: int, labels_only: bool) -> _Drawn:
        time_s = number / FRAMES_PER_SECOND
        canvas = draw(self.world, self._camera(time_s), time_s, labels_only=labels_only)
        hood = paint_hood(canvas)
        named = name_objects(self.world, canvas, hood)
        own = len(self.world.objects)
        return _Drawn(canvas, named, View.of(canvas, self.world, time_s, canvas.at_pixels(hood), named[0] > own))

    def _frame(self, number: int, drawn: _Drawn, then: View) -> Frame:
        world, view = self.world, drawn.view
        objects, ids, instances = drawn.named
        camera = view.camera
        with np.errstate(divide="ignore"):
            depth = (1 / view.inv_z).astype(np.float32)
        noise = _FIRST_NOISE + number
        flow, valid = between(view, then)
        vehicle = world.vehicle()
        vehicle["yawRate"] = round((then.camera.yaw - camera.yaw) * FRAMES_PER_SECOND, 6)
        return Frame(
            rgb=expose(drawn.canvas, self.seed, noise, self.noisy),
            label_ids=ids.astype(np.uint8)[objects],
            instance_ids=instances[objects],
            depth_m=depth,
            disparity=stereo.measure(depth, objects >= len(world.objects), camera, self.seed, noise),
            flow_px=flow,
            flow_is_valid=valid,
            time_s=number / FRAMES_PER_SECOND,
            speed_mps=world.speed_mps,
            camera=camera.json(),
            vehicle=vehicle,
            view=camera,
        )

    def _camera(self, time_s: float) -> Camera:
        """In the lane, weaving a little, looking where it drives."""
        world = self.world
        pulse = 2 * math.pi * _SWAY_HZ
        angle = pulse * time_s + self.seed % 628 / 100
        x, z, heading = world.street.place(world.ego_side + _SWAY_M * math.sin(angle), world.speed_mps * time_s)
        yaw = heading + world.ego_yaw + math.atan2(_SWAY_M * pulse * math.cos(angle), world.speed_mps)
        return Camera.scaled(self.width, self.height, x, z, yaw)


@dataclass(frozen=True)
class _Drawn:
    canvas: Canvas
    named: tuple[NDArray[np.int32], Any, Any]
    view: View


def _world(seed: int, ensure: tuple[str, ...], seconds: float) -> World:
    """The first world of this seed in which the car drives, meets nothing, and all that was asked for can be seen.

    If no world shows it all, the one that shows most.
    """
    best: World | None = None
    best_score = -1.0
    for attempt in range(_ATTEMPTS):
        world = build(seed, ensure, attempt)
        if world.speed_mps < _SLOWEST_MPS or not _is_clear(world, seconds):
            continue
        score = visibility(world, ensure)
        if score > best_score:
            best, best_score = world, score
        if score >= len(ensure):
            break
    if best is None:
        raise ValueError(f"no street of seed {seed} is free for a drive of {seconds:g} s; ask for fewer frames")
    return best


def _is_clear(world: World, seconds: float) -> bool:
    """Whether nothing comes into the car's way, and the street goes on far enough."""
    if world.speed_mps * seconds > world.street.end_m - 40:
        return False
    times = np.arange(0, seconds + 0.2, 0.2)
    for thing in world.things:
        if thing.kind in ("house", "tree", "sign", "signal", "lamp", "hedge"):
            continue
        for time_s in times.tolist():
            now = thing.at(time_s)
            ahead = abs(now.z - world.speed_mps * time_s) - now.size[2] / 2
            aside = abs(now.side - world.ego_side) - now.size[0] / 2
            if ahead < 3.0 and aside < 1.2:
                return False
    return True
