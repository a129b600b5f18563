"""What the steps around the tools cost: `python benchmarks/figures_steps.py` (some ten minutes; --no-metrics two).

Prints the constants of `vcmbench.compress.forecast.builtin`: reading, converting and comparing pictures, and for the
measuring step the embedded network, every metric that is there, decoding to R'G'B', counting, and block sampling;
seconds of one core per megapixel, with a fixed part where that matters, from 512x256 and 2048x1024 street scenes.
Seconds are processor time of this thread or process, so that others at work on the machine count little.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streetscenes import scene
from vcmbench.compress import coder, luma_errors, prefilter
from vcmbench.compress.job import geometry
from vcmbench.data import colour, frames
from vcmbench.data.dataset import Source, read_picture
from vcmbench.encoder import plugins
from vcmbench.encoder.base import Encoder
from vcmbench.encoder.configuration import CodingConfiguration

SIZES = ((512, 256), (2048, 1024))
U8 = NDArray[np.uint8]


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """Processor seconds of the process, the fewest of some calls after one that does not count."""
    work()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def tell(name: str, of_size: dict[tuple[int, int], float]) -> None:
    """Fixed seconds and seconds per megapixel of a straight line through both sizes."""
    (small, few), (large, many) = ((width * height / 1e6, value) for (width, height), value in of_size.items())
    slope = (many - few) / (large - small)
    print(f"{name:<28} {max(few - slope * small, 0) * 1e3:8.2f} ms + {slope * 1e3:9.2f} ms/Mpx", flush=True)


def make(folder: Path) -> dict[tuple[int, int], Source]:
    found = {}
    for size in SIZES:
        path = folder / f"{size[0]}.png"
        Image.fromarray(scene.render(0, *size).image).save(path)
        found[size] = Source(PurePosixPath(path.stem), path)
    return found


def preparing(sources: dict[tuple[int, int], Source], one: Encoder, factor: float) -> dict[tuple[int, int], float]:
    coding = CodingConfiguration(one.name, 30, one.chroma[0], factor)
    found = {}
    for size, source in sources.items():
        digest, shape = source.sha256(), geometry(one, coding, *size, 1)
        found[size] = seconds(lambda: coder.prepare(source, digest, one, shape))  # noqa: B023  called at once
    return found


def harness(sources: dict[tuple[int, int], Source]) -> None:
    """Around encoders: per original megapixel."""
    tell("read", {size: seconds(lambda: read_picture(source.path)) for size, source in sources.items()})  # noqa: B023
    for name in ("x265", "jpeg"):
        for factor in (1.0, 0.5):
            tell(f"prepare, {name}, {factor:g}", preparing(sources, plugins.get(name), factor))
    of_pixels = {size: read_picture(source.path).rgb for size, source in sources.items()}
    lumas = {size: np.ascontiguousarray(colour.luma(rgb)) for size, rgb in of_pixels.items()}
    tell("compare", {size: seconds(lambda: luma_errors.psnr_db(luma, luma[::-1])) for size, luma in lumas.items()})  # noqa: B023
    halves = {size: frames.resize(luma, size[0] // 2, size[1] // 2) for size, luma in lumas.items()}
    tell("luma back to full size", {size: seconds(lambda: frames.resize(half, *size)) for size, half in halves.items()})  # noqa: B023
    smaller = {size: frames.resize(rgb, size[0] // 2, size[1] // 2) for size, rgb in of_pixels.items()}
    tell("RGB back to full size", {size: seconds(lambda: frames.resize(rgb, *size)) for size, rgb in smaller.items()})  # noqa: B023
    chroma = colour.CHROMA_FORMATS["420"]
    planes = {size: colour.rgb_to_planes(rgb, chroma) for size, rgb in of_pixels.items()}
    tell("planes to RGB", {size: seconds(lambda: colour.planes_to_rgb(one, chroma)) for size, one in planes.items()})  # noqa: B023
    sigma = {size: np.full(luma.shape, 1.5, np.float32) for size, luma in lumas.items()}
    tell("low-pass of a luma plane",
         {size: seconds(lambda: prefilter.low_pass(lumas[size], sigma[size])) for size in lumas})  # fmt: skip  # noqa: B023


def measuring(sources: dict[tuple[int, int], Source], folder: Path) -> None:
    import torch

    from vcmbench.data.labels import CLASSES
    from vcmbench.iqa import METRICS, Scorer
    from vcmbench.measure.blocks.strata import strata_of
    from vcmbench.tasks import confusion
    from vcmbench.tasks.base import TaskSettings
    from vcmbench.tasks.opening import open_task
    from vcmbench.tasks.predictions import read_prediction, write_prediction

    print(f"after the imports: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")
    torch.set_num_threads(1)
    of_pixels = {size: read_picture(source.path).rgb for size, source in sources.items()}
    with open_task(TaskSettings(), "local", "none", 1) as task:
        tell("network", {size: seconds(lambda: task.predict([rgb])) for size, rgb in of_pixels.items()})  # noqa: B023
        labels = {size: task.predict([rgb])[0] for size, rgb in of_pixels.items()}
    print(f"after the network: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")
    written = {size: folder / f"{size[0]}_labels.png" for size in labels}
    tell("write prediction",
         {size: seconds(lambda: write_prediction(written[size], one)) for size, one in labels.items()})  # fmt: skip  # noqa: B023
    sizes = [round(path.stat().st_size / (width * height) * 1e6) for (width, height), path in written.items()]
    print("prediction, bytes per Mpx:", sizes)
    tell("read prediction", {size: seconds(lambda: read_prediction(path)) for size, path in written.items()})  # noqa: B023
    classes = len(CLASSES)
    tell("confusion", {size: seconds(lambda: confusion.confusion(one, one, classes)) for size, one in labels.items()})  # noqa: B023
    for side in (32, 64, 128):
        tell(f"strata of {side} px",
             {size: seconds(lambda: strata_of(one == one[::-1], side, side, 10, None))  # noqa: B023
              for size, one in labels.items()})  # fmt: skip
    for profile in ("standard", "qomex2023"):
        for name in METRICS:
            scorer = Scorer([name], profile)
            if scorer.missing:
                print(f"{name}: {scorer.missing[name]}")
                continue
            clock = _wall if METRICS[name].needs == "ffmpeg" else seconds
            pairs = {size: (rgb[None], np.ascontiguousarray(rgb[None, ::-1])) for size, rgb in of_pixels.items()}
            tell(f"{name}, {profile}", {size: clock(lambda: scorer.score(*pair)) for size, pair in pairs.items()})  # noqa: B023
            block = tuple(np.ascontiguousarray(pixels[:, :64, :64]).repeat(64, 0) for pixels in pairs[SIZES[0]])
            print(f"    64x64 px: {clock(lambda: scorer.score(*block), 1) / 64 * 1e3:.2f} ms")  # noqa: B023
    print(f"at the end: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


def _wall(work: Callable[[], Any], repeats: int = 3) -> float:
    """Wall seconds: the work is another process's."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-metrics", action="store_true", help="only what goes round the encoders")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = make(Path(folder))
        harness(sources)
        if not arguments.no_metrics:
            measuring(sources, Path(folder))


if __name__ == "__main__":
    main()
