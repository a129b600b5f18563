"""What quality metrics cost: `python benchmarks/iqa.py` (a quarter of an hour; `--quick` two minutes).

The ten metrics that need no weights, on 4,096 blocks of 64x64 and on 20 pictures of 2048x1024, by `Scorer` and by piq
and piqa called metric by metric, as the published experiment did: objects built once, batches of 64 blocks or of one
picture.
Pictures are photographs of scikit-image, some of them blurred, noisy, coarsely quantised or coded as JPEG.

Both sides take turns, piece by piece, have the same cores and torch's own number of threads. The other side is given
ready tensors; ours begins with uint8 pixels. Values are compared, too: with calls for one picture (those of SR_SIM, and
of MDSI in piqa 1.3, depend on the rest of a batch), as differences in units of max(1, |value|). MDSI of the published
conventions is compared with piq's of the picture as piqa shrinks it: piqa 1.3 has an error there.

Exits with 1 where blocks are not 2 times, or pictures not 1.3 times as fast, or values differ by more than 1e-6.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import piq
import piqa
import skimage
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from table import Row, number

from vcmbench.iqa import METRICS, Scorer

NAMES = ("PSNR", "SSIM", "MS_SSIM", "FSIM", "SR_SIM", "GMSD", "MS_GMSD", "VSI", "HaarPSI", "MDSI")
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
BATCH, BOUND_BLOCKS, BOUND_PICTURES, BOUND_DIFFERENCE = 64, 2.0, 1.3, 1e-6

U8 = NDArray[np.uint8]
Side = Callable[[U8, U8], dict[str, NDArray[np.float64]]]
Metric = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def photograph(name: str, width: int | None = None, height: int | None = None) -> Image.Image:
    with Image.open(Path(skimage.__file__).parent / "data" / name) as image:
        image = image.convert("RGB")
        return image.resize((width, height), Image.Resampling.BICUBIC) if width and height else image


def distorted(image: Image.Image, rng: np.random.Generator) -> Iterator[U8]:
    """What coding and capture do to a picture: from hardly to heavily."""
    for quality in (90, 50, 20, 5):
        coded = io.BytesIO()
        image.save(coded, "JPEG", quality=quality)
        yield np.asarray(Image.open(coded).convert("RGB"))
    yield np.asarray(image.filter(ImageFilter.GaussianBlur(2)))
    pixels = np.asarray(image)
    yield np.clip(pixels + rng.normal(0, 10, pixels.shape), 0, 255).astype(np.uint8)
    yield (pixels // 24 * 24).astype(np.uint8)


def blocks(count: int, side: int, rng: np.random.Generator) -> tuple[U8, U8]:
    pairs = [(np.asarray(p), d) for p in map(photograph, PHOTOGRAPHS) for d in distorted(p, rng)]
    pristine, decoded = [], []
    for _ in range(count):
        whole, coded = pairs[rng.integers(len(pairs))]
        y, x = (int(rng.integers(length - side + 1)) for length in whole.shape[:2])
        pristine.append(whole[y : y + side, x : x + side])
        decoded.append(coded[y : y + side, x : x + side])
    return np.stack(pristine), np.stack(decoded)


def pictures(count: int, width: int, height: int, rng: np.random.Generator) -> tuple[U8, U8]:
    pristine, decoded = [], []
    for i in range(count):
        whole = photograph(PHOTOGRAPHS[i % len(PHOTOGRAPHS)], width, height)
        pristine.append(np.asarray(whole))
        decoded.append(list(distorted(whole, rng))[i % 7])
    return np.stack(pristine), np.stack(decoded)


def gray3(pixels: U8) -> torch.Tensor:
    """The published conversion: Pillow's luma three times, in 0..1."""
    planes = np.stack([np.asarray(Image.fromarray(picture).convert("L")) for picture in pixels])
    return torch.from_numpy(planes)[:, None].repeat(1, 3, 1, 1).float() / 255


def rgb(pixels: U8) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float() / 255


def luma(x: torch.Tensor) -> torch.Tensor:
    return (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def by_hand(profile: str) -> dict[str, Metric]:
    """The calls of piq and piqa, all given what the profile's colours are."""
    one: dict[str, Any] = {"reduction": "none"}
    if profile == "qomex2023":
        window = {"window_size": 3, "sigma": 1 / 3}
        return {
            "PSNR": piqa.PSNR(**one),
            "SSIM": piqa.SSIM(**window, **one),
            "MS_SSIM": piqa.MS_SSIM(**window, **one),
            "FSIM": piq.FSIMLoss(**one),
            "SR_SIM": piq.SRSIMLoss(scale=1, **one),
            "GMSD": piqa.GMSD(**one),
            "MS_GMSD": piqa.MS_GMSD(**one),
            "VSI": piq.VSILoss(**one),
            "HaarPSI": piqa.HaarPSI(**one),
            "MDSI": piqa.MDSI(**one),
        }
    return {
        "PSNR": lambda x, y: piq.psnr(x, y, **one),
        "SSIM": lambda x, y: piq.ssim(luma(x), luma(y), downsample=False, **one),
        "MS_SSIM": lambda x, y: piq.multi_scale_ssim(luma(x), luma(y), **one),
        "FSIM": lambda x, y: piq.fsim(x, y, **one),
        "SR_SIM": lambda x, y: piq.srsim(x, y, **one),
        "GMSD": lambda x, y: piq.gmsd(x, y, **one),
        "MS_GMSD": lambda x, y: piq.multi_scale_gmsd(x, y, **one),
        "VSI": lambda x, y: piq.vsi(x, y, **one),
        "HaarPSI": lambda x, y: piq.haarpsi(x, y, **one),
        "MDSI": lambda x, y: piq.mdsi(x, y, **one),
    }


class Bench:
    """Both sides, timed in turns."""

    def __init__(self, title: str, names: tuple[str, ...], profile: str, data: tuple[U8, U8], batch: int) -> None:
        self.title, self.names, self.profile, self.batch = title, names, profile, batch
        self.pristine, self.decoded = data
        self.tensor = gray3 if profile == "qomex2023" else rgb
        self.hand = by_hand(profile)
        self.scorers = {name: Scorer([name], profile) for name in names}
        self.all = Scorer(names, profile)
        self.seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in (*names, "all ten")}

    def timed(self, work: Callable[..., object], *arguments: object) -> float:
        start = time.perf_counter()
        with torch.no_grad():
            work(*arguments)
        return time.perf_counter() - start

    def run(self) -> None:
        """Batch by batch: each metric of both sides, and all ten of ours together."""
        for start in range(0, len(self.pristine), self.batch):
            part = slice(start, start + self.batch)
            y, x = self.pristine[part], self.decoded[part]
            tensors = self.tensor(x), self.tensor(y)
            whole = 0.0
            for name in self.names:
                theirs, ours = self.seconds[name]
                theirs.append(self.timed(self.hand[name], *tensors))
                ours.append(self.timed(self.scorers[name].score, y, x))
                whole += theirs[-1]
            self.seconds["all ten"][0].append(whole)
            self.seconds["all ten"][1].append(self.timed(self.all.score, y, x))

    def warm_up(self) -> None:
        count = min(4, len(self.pristine))
        self.all.score(self.pristine[:count], self.decoded[:count])
        tensors = self.tensor(self.decoded[:count]), self.tensor(self.pristine[:count])
        for name in self.names:
            self.hand[name](*tensors)

    def differences(self, count: int) -> dict[str, float]:
        """The largest difference of each metric over some pictures, in units of max(1, |value|)."""
        chosen = np.linspace(0, len(self.pristine) - 1, min(count, len(self.pristine))).astype(int)
        scores = self.all.score(self.pristine[chosen], self.decoded[chosen])
        found = dict.fromkeys(self.names, 0.0)
        for at, index in enumerate(chosen):
            x, y = (self.tensor(pixels[index : index + 1]) for pixels in (self.decoded, self.pristine))
            for name in self.names:
                if name == "MDSI" and self.profile == "qomex2023":
                    factor = max(1, round(min(x.shape[-2:]) / 256))
                    shrunk = (torch.nn.functional.avg_pool2d(t, factor, ceil_mode=True) for t in (x, y))
                    wanted = float(piq.mdsi(*shrunk, reduction="none")[0])
                else:
                    wanted = float(self.hand[name](x, y)[0])
                off = abs(scores.values[name][at] - wanted) / max(1.0, abs(wanted))
                found[name] = max(found[name], off)
        return found

    def report(self, compared: int) -> tuple[float, float]:
        """Print the table of medians over batches; the ratio of all ten and the largest difference."""
        worst = self.differences(compared)
        print(f"\n{self.title}, profile {self.profile}: {len(self.pristine)} pairs, values of {compared} compared")
        print(f"{'':<10}{'ratio':>7}  {'quartiles':<16}{'share of ours':>14}{'largest difference':>21}")
        total = sum(self.seconds["all ten"][1])
        overall = 0.0
        for name, (theirs, ours) in self.seconds.items():
            ratios = np.array(theirs) / np.array(ours)
            low, overall, high = np.percentile(ratios, [25, 50, 75])
            share = f"{sum(ours) / total:.0%}" if name in worst else ""
            difference = f"{worst[name]:.1e}" if name in worst else f"{max(worst.values()):.1e}"
            print(f"{name:<10}{overall:>7.2f}  {f'{low:.2f} to {high:.2f}':<16}{share:>14}{difference:>21}")
        pairs = statistics.median(self.seconds["all ten"][1]) / self.batch * 1e3
        theirs_ms = statistics.median(self.seconds["all ten"][0]) / self.batch * 1e3
        print(f"all ten: {theirs_ms:.1f} ms a pair there, {pairs:.1f} ms here")
        return overall, max(worst.values())


def cases(count_blocks: int, count_pictures: int, profile: str) -> Iterator[tuple[Bench, float, int]]:
    """Both kinds of pairs, measured, with the least ratio, and over how many of them values are compared."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(2023)
    for title, data, batch, bound, compared in (
        ("blocks of 64x64", blocks(count_blocks, 64, rng), BATCH, BOUND_BLOCKS, 256),
        ("pictures of 2048x1024", pictures(count_pictures, 2048, 1024, rng), 1, BOUND_PICTURES, 20),
    ):
        smallest = data[0].shape[2], data[0].shape[1]
        names = tuple(n for n in NAMES if not METRICS[n].convention(profile).smallest.reason(*smallest))
        bench = Bench(title, names, profile, data, batch)
        bench.warm_up()
        bench.run()
        yield bench, bound, min(compared, len(data[0]))


def rows(small: bool) -> Iterator[Row]:
    for bench, bound, compared in cases(*((64, 1) if small else (4096, 20)), "qomex2023"):
        ratio, difference = bench.report(compared)
        theirs, ours = (statistics.median(found) / bench.batch * 1e3 for found in bench.seconds["all ten"])
        title = f"{len(bench.names)} metrics, {len(bench.pristine):,} {bench.title}"
        other = f"piq and piqa, metric by metric: {number(theirs)} ms"
        yield Row("quality metrics", f"{title}, a pair", ours, "ms", other, ratio, bound, "at least")
        what = f"{title}: largest difference to their values"
        yield Row("quality metrics", what, difference * 1e6, "millionths", bound=BOUND_DIFFERENCE * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="128 blocks and 2 pictures")
    parser.add_argument("--profile", default="qomex2023", choices=("qomex2023", "standard"))
    arguments = parser.parse_args()
    counts = (128, 2) if arguments.quick else (4096, 20)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; ratios: time of piq and piqa to ours")
    failed = []
    for bench, bound, compared in cases(*counts, arguments.profile):
        ratio, difference = bench.report(compared)
        failed += [f"{bench.title}: {ratio:.2f} times as fast, below {bound:g}"] if ratio < bound else []
        failed += [f"{bench.title}: values differ by {difference:.1e}"] if difference > BOUND_DIFFERENCE else []
    if failed:
        sys.exit("limits broken:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
