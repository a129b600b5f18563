"""Scores of pairs of pictures under a profile: values, and the reason of each one that is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import Cancelled, JobError, Lost, RequestError
from vcmbench.execution.runner.base import Runner
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.io.files import sha256_of
from vcmbench.iqa.metric import Convention, Missing
from vcmbench.iqa.table import METRICS, check
from vcmbench.iqa.weights import Weights

if TYPE_CHECKING:
    import torch

    from vcmbench.iqa.batch import Batch

VERSION = 2
"""Part of what decides a score's key: raised with every change of a value."""

_ONE_THREAD_PX = 128 * 128
"""Pictures up to this size are scored by one thread each: to share their work out costs more than it saves."""
_CUDA_PX, _CUDA_PICTURES = 1 << 22, 64
_VIDEO_PX, _VIDEO_PICTURES = 1 << 23, 256
_MAX_FILE_BYTES = 1 << 20

U8 = NDArray[np.uint8]
_NO_NETWORK = 'needs a network that is not the one that is measured; say [metrics] network = "demo-b", or a file'


class Foresight(Protocol):
    """Where a network is expected to answer otherwise; see `tasks.flips`."""

    def identity(self) -> dict[str, Any]: ...

    def of(self, pristine: U8, decoded: U8) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class MetricScores:
    """For each metric (N,) float64 values and N reasons. A value is NaN where, and only where, its reason says why."""

    values: dict[str, NDArray[np.float64]]
    reasons: dict[str, tuple[str | None, ...]]

    def at(self, name: str, index: int) -> tuple[float | None, str | None]:
        """One value, None where it is missing, and the reason then."""
        reason = self.reasons[name][index]
        return (None if reason else float(self.values[name][index])), reason


class Scorer:
    """Scores with the metrics `names`, under one profile. What cannot be computed at all is in `missing`, by name.

    `weights` is a folder with weights of learned metrics; without it they are looked for in the cache and fetched.
    `jobs` is the number of small pictures that are scored side by side on a CPU (None: as many as torch has threads).
    `runner` finds and runs the FFmpeg of XPSNR and VMAF, and ends it when it is cancelled (None: this machine's).
    `network` is the one whose answers `Flips` expects to change (None: it is missing).
    Raises RequestError where a name, the profile, the device, or a given file of weights is wrong.
    """

    def __init__(
        self,
        names: Sequence[str],
        profile: str = "standard",
        device: str = "cpu",
        weights: Path | None = None,
        jobs: int | None = None,
        runner: Runner | None = None,
        network: Foresight | None = None,
    ) -> None:
        check(names, profile)
        from vcmbench.iqa.devices import open_device  # imports torch, as all do that compute

        self.names, self.profile, self.device, self._jobs = tuple(names), profile, open_device(device), jobs
        self._network = network
        self._metrics = {name: METRICS[name] for name in names}
        self.missing: dict[str, str] = {}
        self._functions: dict[str, Callable[[Batch], torch.Tensor]] = {}
        self._identities: dict[str, dict[str, Any]] = {}
        store, runner = Weights(weights), runner or LocalRunner()
        for name in self.names:
            try:
                self._open(name, store, runner)
            except Missing as missing:
                self.missing[name] = str(missing)
            except (RequestError, KeyboardInterrupt):
                raise
            except BaseException as error:  # a fault in one metric must not take the others along
                self.missing[name] = _fault(name, "cannot be opened", error)

    def _open(self, name: str, store: Weights, runner: Runner) -> None:
        metric, function = self._metrics[name], self.convention(name).resolve()
        libraries = {library: version(library) for library in ("piq", "piqa")}
        if metric.needs is None:
            self._functions[name] = function
            self._identities[name] = libraries
            if metric.file is not None:
                self._identities[name] = {"file": sha256_of(metric.file, _MAX_FILE_BYTES)}
            return
        if metric.needs == "network":
            if self._network is None:
                raise Missing(_NO_NETWORK)
            self._functions[name], self._identities[name] = function, {"network": self._network.identity()}
            return
        is_learned = metric.needs == "weights"
        opened = function(store, self.device) if is_learned else function(runner)
        self._functions[name] = opened.score
        self._identities[name] = (libraries if is_learned else {}) | dict(opened.identity)

    def convention(self, name: str) -> Convention:
        return self._metrics[name].convention(self.profile)

    def identity(self, name: str) -> dict[str, Any]:
        """What decides a metric's values beside the pictures, as JSON, for keys.

        torch's version and the device are not in it: they move the last digits only.
        """
        return {
            "metric": name,
            "profile": self.profile,
            "call": self.convention(name).call,
            "version": VERSION,
            **self._identities.get(name, {}),
        }

    def flips(self, pristine: U8, decoded: U8, names: Sequence[str]) -> NDArray[np.float32] | None:
        """Where a network is expected to answer otherwise, (H, W) 0..0.5, of a pair (H, W, 3) uint8; None where none of
        these metrics needs it. Raises JobError where the network cannot take the pictures."""
        if self._network is None or not any(METRICS[name].needs == "network" for name in names):
            return None
        return self._network.of(pristine, decoded)

    def score(
        self, pristine: U8, decoded: U8, names: Sequence[str] | None = None, flips: NDArray[np.float32] | None = None
    ) -> MetricScores:
        """Scores of N pairs, each (N, H, W, 3) uint8 RGB. A pair's score does not depend on the other pairs.

        `names` are some of the scorer's (None: all). Of blocks, `flips` are those of their places in whole pictures,
        (N, H, W): a network sees little in a block alone.
        """
        from vcmbench.iqa.batch import Batch
        from vcmbench.iqa.devices import side_by_side

        _check_pictures(pristine, decoded)
        count, height, width = pristine.shape[:3]
        values = {name: np.full(count, np.nan) for name in (self.names if names is None else names)}
        reasons: dict[str, list[str | None]] = {}
        wanted: list[str] = []
        for name in self.names if names is None else names:
            reason = self.missing.get(name) or self.convention(name).smallest.reason(width, height)
            reasons[name] = [reason] * count
            wanted += [] if reason else [name]
        if flips is None and (flips := self._seen(pristine, decoded, wanted, reasons)) is None:
            wanted = [name for name in wanted if self._metrics[name].needs != "network"]
        own = [name for name in wanted if self._metrics[name].needs != "ffmpeg"]
        jobs = [(own, part) for part in _parts(count, self._at_once(height * width))] if own else []
        filtered = [name for name in wanted if name not in own]
        at_once = max(1, min(_VIDEO_PICTURES, _VIDEO_PX // (height * width)))
        jobs += [(filtered, part) for part in _parts(count, at_once)] if filtered else []

        def work(job: tuple[list[str], slice]) -> None:
            names, part = job
            batch = Batch(decoded[part], pristine[part], self.device, None if flips is None else flips[part])
            for name in names:
                values[name][part], reasons[name][part] = self._scored(name, batch)

        if self.device.type == "cpu" and height * width <= _ONE_THREAD_PX:
            side_by_side(work, jobs, self._jobs)
        else:
            for job in jobs:
                work(job)
        return MetricScores(values, {name: tuple(found) for name, found in reasons.items()})

    def _seen(
        self, pristine: U8, decoded: U8, wanted: Sequence[str], reasons: dict[str, list[str | None]]
    ) -> NDArray[np.float32] | None:
        """`flips` of all pairs; None where no metric needs them, or the network fails, whose reason is noted."""
        try:
            found = [self.flips(*pair, wanted) for pair in zip(pristine, decoded, strict=True)]
        except JobError as error:
            lacking = [name for name in wanted if self._metrics[name].needs == "network"]
            reasons.update({name: [str(error)] * len(pristine) for name in lacking})
            return None
        known = [one for one in found if one is not None]
        return np.stack(known) if known else None

    def _at_once(self, area_px: int) -> int:
        # On a CPU one pair at a time: it stays in the cache, and its value is that of a call for it alone.
        return max(1, min(_CUDA_PICTURES, _CUDA_PX // area_px)) if self.device.type == "cuda" else 1

    def _scored(self, name: str, batch: Batch) -> tuple[NDArray[np.float64], list[str | None]]:
        from vcmbench.iqa.devices import compute

        try:
            found = compute(self._functions[name], batch)
        except (Cancelled, Lost, KeyboardInterrupt):  # nothing is known of the pictures
            raise
        except JobError as error:
            why = str(error)
        except MemoryError:
            why = f"{batch.width_px}x{batch.height_px} px: not enough memory on {self.device}"
        except BaseException as error:  # a fault in one metric must not take the others along
            why = _fault(name, "failed", error)
        else:
            why = self.convention(name).not_finite or "no number comes out"
            reasons = [None if math.isfinite(value) else f"{why} ({value})" for value in found]
            return np.where(np.isfinite(found), found, np.nan), reasons
        return np.full(batch.size, np.nan), [why] * batch.size


def _fault(name: str, what: str, error: BaseException) -> str:
    lines = f"{name} {what}: {type(error).__name__}: {error}".splitlines()
    return lines[0][:300]


def _check_pictures(pristine: U8, decoded: U8) -> None:
    for name, pictures in (("pristine", pristine), ("decoded", decoded)):
        if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8:
            raise RequestError(f"iqa: {name} pictures are {pictures.dtype} {pictures.shape}, not uint8 (N, H, W, 3)")
        if 0 in pictures.shape[1:]:
            raise RequestError(f"iqa: {name} pictures are empty: {pictures.shape}")
    if pristine.shape != decoded.shape:
        raise RequestError(f"iqa: pristine pictures are {pristine.shape}, decoded ones {decoded.shape}")


def _parts(count: int, at_once: int) -> list[slice]:
    return [slice(start, min(start + at_once, count)) for start in range(0, count, at_once)]
