"""What the predictor of sensitivity learns from: what the encoder in the loop of the embedded network comes to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress.allocation.refined import Refinement
from vcmbench.compress.coder import Cache, Coder
from vcmbench.compress.jobs import find_tools, jobs_of
from vcmbench.compress.run import TIMEOUT_S
from vcmbench.data.dataset import Source, find_sources, open_root
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.experiment import Experiment
from vcmbench.io.progress import Progress
from vcmbench.tasks.base import TaskSettings
from vcmbench.tasks.sensitivity import SegmentationSensitivity

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

QUALITIES = range(22, 39)
BLOCK_PX = 16
QUALITIES_A_SCENE, _PASSES = 3, 3
_EXPERIMENT = {
    "name": "sensitivity",
    "dataset": {"split": "train"},
    "importance": {"source": "task", "points": 1},
    "coding": [{
        "encoder": "x265", "quality": list(QUALITIES), "off": ["loop_filters"],
        "qp_map": {"delta": 12, "refine": _PASSES, "block_size": BLOCK_PX}, "match": "rate",
    }],
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class LoopTarget:
    """A picture (H, W, 3) uint8 RGB, the bits a pixel that pictures usually take at the QP that it was coded with,
    and what the loop moved its blocks by: steps (passes, rows, columns)."""

    name: str
    rgb: U8
    bpp: float
    steps: F32


def make(root: Path, folder: Path, scenes: int) -> list[LoopTarget]:
    """The targets of some train scenes below `root`, each at three QPs. What lies in `folder` is not made again."""
    data, runner = open_root(root), LocalRunner()
    wanted = Experiment.model_validate(_EXPERIMENT)
    sources = sorted(find_sources(data, wanted.dataset), key=lambda one: chance(one.name.name))[:scenes]
    tools, missing = find_tools(wanted, runner)
    if missing:
        raise SystemExit("\n".join(missing.values()))
    asked, worker, kept = SegmentationSensitivity(TaskSettings()), runner.worker(), Cache(2)
    folder.mkdir(parents=True, exist_ok=True)
    found = []

    @cache
    def read(source: Source) -> U8:
        return source.read().rgb

    with Progress(QUALITIES_A_SCENE * len(sources), "target") as progress:
        for job in jobs_of(wanted, data, sources, tools, asked=asked):
            qp, name = job.coding.quality or 0, job.sources[0].name.name
            if qp not in _qualities(name) or job.geometry is None:
                continue
            path = folder / f"{name}_qp{qp}.npy"
            if not path.is_file():
                steps = _steps(Coder(job, job.geometry, worker, kept, TIMEOUT_S, asked))
                np.save(temporary := path.with_suffix(".tmp.npy"), steps)
                temporary.replace(path)
            rgb, bpp = read(job.sources[0]), job.encoder.usual_bpp(qp)
            found.append(LoopTarget(name, rgb, bpp, np.load(path).astype(np.float32)))
            progress.advance(path.stem)
    worker.close()
    return found


def _qualities(name: str) -> list[int]:
    """The QPs of a scene, spread evenly over all of them."""
    first, count = chance(name) % len(QUALITIES), len(QUALITIES)
    return [QUALITIES[(first + count * i // QUALITIES_A_SCENE) % count] for i in range(QUALITIES_A_SCENE)]


def chance(name: str) -> int:
    """The same for a scene in every run."""
    return crc32(name.encode())


def _steps(coder: Coder) -> NDArray[np.int8]:
    """What each answer of the network comes to; the last one is not coded any more."""
    coder.write_source()
    loop = Refinement(coder)
    passes = [loop.uniform()]
    for _ in range(_PASSES - 1):
        passes.append(loop.refined(passes[-1], passes[0].found.size_bytes))
    steps = [one.search.wanted for one in passes[1:]] + [loop.next_steps(passes[-1])]
    return np.stack(steps).astype(np.int8)
