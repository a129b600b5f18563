"""An ONNX file against the same network in PyTorch: `python benchmarks/networks.py` (a minute).

The embedded networks, exported as `vcmbench tasks export` does, on pictures of 512x256, on one thread. Both are asked
through the same task, with all that goes before and behind the network, and take turns, picture by picture. Answers are
compared, too.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image
from table import Row, number

from streetscenes.scene import render
from vcmbench import tasks
from vcmbench.tasks import TaskSettings
from vcmbench.tasks.onnx import exporting

WIDTH, HEIGHT = 512, 256
ROUNDS = 12
BOUND = 1.2


def pictures(small: bool) -> list[NDArray[np.uint8]]:
    if small:
        with Image.open(Path(skimage.__file__).parent / "data/coffee.png") as image:
            return [np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT)))]
    return [render(seed, WIDTH, HEIGHT).image for seed in range(4)]


def rows(small: bool) -> Iterator[Row]:
    shown = pictures(small)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("segmentation", "detection"):
            file = Path(folder) / f"{name}.onnx"
            exporting.export(name, file)
            with ExitStack() as stack:
                ours, theirs = (
                    stack.enter_context(tasks.open_task(settings, "local", "none"))
                    for settings in (TaskSettings(name=name, model=str(file)), TaskSettings(name=name))
                )
                yield from _compared(name, ours, theirs, shown, 2 if small else ROUNDS)


def _compared(
    name: str, onnx: tasks.Task, torch: tasks.Task, shown: list[NDArray[np.uint8]], rounds: int
) -> Iterator[Row]:
    seconds: dict[tasks.Task, list[float]] = {onnx: [], torch: []}
    answers: dict[tasks.Task, list[NDArray[np.generic]]] = {onnx: [], torch: []}
    for task in seconds:
        task.predict(shown[:1])
    for _ in range(rounds):
        for picture in shown:
            for task, taken in seconds.items():
                started = time.perf_counter()
                answers[task] += task.predict([picture])
                taken.append(time.perf_counter() - started)
    ratios = [first / second for first, second in zip(seconds[onnx], seconds[torch], strict=True)]
    spread = statistics.quantiles(ratios, n=4)
    took, against = (statistics.median(seconds[task]) * 1e3 for task in (onnx, torch))
    yield Row(
        "networks", f"{name}, the embedded network as an ONNX file, {WIDTH}x{HEIGHT}, one thread",
        took, "ms a picture", f"in PyTorch: {number(against)} ms",
        statistics.median(ratios), BOUND, spread=(spread[0], spread[-1]),
    )  # fmt: skip
    same = [one.shape == other.shape and np.isclose(one, other, atol=1e-2).mean()
            for one, other in zip(answers[onnx], answers[torch], strict=True)]  # fmt: skip
    yield Row("networks", f"{name}, share of pixels or boxes that are equal", float(np.mean(same)), "", bound=0.999,
              direction="at least")  # fmt: skip


if __name__ == "__main__":
    for row in rows(small=False):
        print(" | ".join(row.cells()))
