"""How often 95 % intervals hold the truth, and how often the paired test finds a difference that is not there.

    python -m benchmarks.coverage [--trials 400] [--pictures 6 12 20 50]

Pictures are drawn from made-up populations whose truth is known, and go through the code that reports go through.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vcmbench.analysis.bdrate import bd_accuracy, bd_rate
from vcmbench.analysis.clusters import ClusterJackknife
from vcmbench.analysis.correlation import compare
from vcmbench.analysis.curves import ImageJackknife, Resampled, curve, joined
from vcmbench.compress.equal_rate import mean_of
from vcmbench.data.estimate import LEVEL, SHARE, Estimate, with_p
from vcmbench.tasks.confusion import reduced, sparse
from vcmbench.tasks.kind import Part
from vcmbench.tasks.kinds.detection import DetectionKind
from vcmbench.tasks.precision import AREAS, MOST_DETECTIONS

Array = NDArray[np.float64]
Generator = np.random.Generator
Figures = dict[str, Estimate]
Trial = Callable[[Generator, int], Figures]
_CLASSES, _POPULATION, _POINTS, _PIXELS = 19, 5_000, 5, 131_072
_BLOCKS, _WITHIN, _SLOPE = 30, 0.3, 0.6  # blocks of a picture, their intra-class correlation, the true correlation


def scenes(rng: Generator, pictures: int) -> NDArray[np.int32]:
    """Confusion counts (2, pictures, K, K + 1) of two codings of street scenes: classes from common to rare, a picture
    has few of the rare ones, some pictures are harder than others, and what harms a class harms it in both codings."""
    present = rng.random((pictures, _CLASSES)) < np.geomspace(1, 0.2, _CLASSES)
    pixels = present * rng.gamma(0.7, np.geomspace(40_000, 400, _CLASSES), (pictures, _CLASSES)) + present * 20
    pixels *= _PIXELS / pixels.sum(axis=1, keepdims=True)
    hard = rng.normal(0, 0.7, (pictures, 1)) + rng.normal(0, 0.7, (pictures, _CLASSES))
    likely = present + 0.02 * (rng.random(present.shape) < 0.02) + 1e-9  # classes are taken for what is there, mostly
    found = np.zeros((2, pictures, _CLASSES, _CLASSES + 1), np.int32)
    for coding, loss in enumerate((0.0, 0.4)):
        right = 1 / (1 + np.exp(hard + loss + rng.normal(0, 0.4, hard.shape) - np.linspace(3, 0.3, _CLASSES)))
        for of in range(_CLASSES):
            wrong = likely * np.geomspace(1, 0.01, _CLASSES)
            wrong[:, of] = 0
            shares = (1 - right[:, of, None]) * wrong / wrong.sum(axis=1, keepdims=True)
            shares[:, of] = right[:, of]
            found[coding, :, of, :_CLASSES] = np.round(pixels[:, of, None] * shares)
    return found


class Segmentation:
    """Accuracy and mIoU of two codings, and their differences."""

    def __init__(self, rng: Generator) -> None:
        self._all = [[{"confusion": sparse(counts)} for counts in coding] for coding in scenes(rng, _POPULATION)]
        first, second = (reduced(coding, _CLASSES, np.ones((1, _POPULATION))) for coding in self._all)
        self.truth = {name: float(first[name][0]) for name in ("accuracy", "miou")}
        self.truth |= {f"{name}, difference": float(second[name][0] - first[name][0]) for name in ("accuracy", "miou")}

    def trial(self, rng: Generator, n: int) -> Figures:
        drawn, jackknife = rng.integers(0, _POPULATION, n), ImageJackknife(n)
        parts = [[coding[i] for i in drawn] for coding in self._all]
        first, second = (jackknife.reduced(partial(reduced, of, _CLASSES), SHARE) for of in parts)
        both = {name: joined([first[name], second[name]]) for name in ("accuracy", "miou")}
        values = {name: one.estimate(0) for name, one in both.items()}
        return values | {f"{name}, difference": one.difference(1, 0) for name, one in both.items()}


# of accuracy on the logit: mean and deviation; of the pixels: deviation of their logarithm, and how much of accuracy's
# deviation they follow. As on twelve embedded scenes, x265 and JPEG from fine to coarse
_SHARES = {
    "accuracy, 0 to 15 m": (3.2, 1.1, 0.16, 0.0),
    "accuracy, 30 to 60 m": (2.4, 0.6, 0.25, 0.2),
    "importance-weighted accuracy": (2.7, 0.5, 0.18, 0.05),
}


class Shares:
    """What is right of the pixels of a distance band, and of pixels weighted by importance: ratios of sums."""

    def __init__(self, rng: Generator) -> None:
        self.truth = {name: float(of.values[0]) for name, of in self._shares(rng, 500_000).items()}

    def _shares(self, rng: Generator, n: int) -> dict[str, Resampled]:
        jackknife = ImageJackknife(n, wanted=n < _POPULATION)
        found = {}
        for name, (mean, deviation, spread, follows) in _SHARES.items():
            seen = rng.normal(0, 1, n)
            pixels = 20_000 * np.exp(spread * rng.normal(0, 1, n) + follows * seen)
            right = pixels / (1 + np.exp(-mean - deviation * seen))
            found[name] = jackknife.ratio(np.round(right), np.round(pixels), SHARE)
        return found

    def trial(self, rng: Generator, n: int) -> Figures:
        return {name: of.estimate(0) for name, of in self._shares(rng, n).items()}


class Detections:
    """AP of two codings, and its difference: pictures have many objects of some classes and few of others, a detection
    fits its object more or less, and what is hard in one coding is hard in both."""

    _PER_PICTURE = (6.0, 2.0, 0.7)

    def __init__(self, rng: Generator) -> None:
        self._all = [self._picture(rng) for _ in range(_POPULATION)]
        first, second = (self._reduced(coding, np.ones((1, _POPULATION))) for coding in zip(*self._all, strict=True))
        self.truth = {name: float(first[name][0]) for name in ("ap", "ap50")}
        self.truth["ap, difference"] = float(second["ap"][0] - first["ap"][0])

    def _picture(self, rng: Generator) -> tuple[Part, Part]:
        codings: tuple[Part, Part] = ({"matches": {}}, {"matches": {}})
        hard = rng.normal(0, 0.6)
        for number, objects in enumerate(rng.poisson(np.array(self._PER_PICTURE) * rng.gamma(2, 0.5))):
            alone = rng.poisson(0.4 * objects + 0.2)  # detections of nothing
            seen, unsure = rng.normal(1.2 - hard, 1.0, objects), rng.normal(-0.3, 0.8, alone)
            for coding, loss in zip(codings, (0.0, 0.4), strict=True):
                sure = seen - loss + rng.normal(0, 0.3, objects)
                found = sure > 0
                iou = 1 / (1 + np.exp(-0.6 - 0.5 * sure[found] - rng.normal(0, 0.5, found.sum())))
                bits = [(1 << int(np.clip((one - 0.45) / 0.05, 0, 10))) - 1 for one in iou] + [0] * alone
                logits = np.concatenate([sure[found], unsure + rng.normal(0, 0.3, alone)])
                order = np.argsort(-logits)[:MOST_DETECTIONS]
                if objects or len(order):
                    hits, areas = [bits[i] for i in order], len(AREAS)
                    coding["matches"][str(number)] = {
                        "scores": (1 / (1 + np.exp(-logits[order]))).tolist(), "truths": [int(objects)] * areas,
                        "hits": [hits] * areas, "ignored": [[0] * len(hits)] * areas,
                    }  # fmt: skip
        return codings

    def _reduced(self, parts: Sequence[Part], weights: Array) -> dict[str, Array]:
        found = DetectionKind().reduce(parts, len(self._PER_PICTURE), weights)
        return {name: found[name] for name in ("ap", "ap50")}

    def trial(self, rng: Generator, n: int) -> Figures:
        drawn, jackknife = [self._all[i] for i in rng.integers(0, _POPULATION, n)], ImageJackknife(n)
        first, second = (jackknife.reduced(partial(self._reduced, of), SHARE) for of in zip(*drawn, strict=True))
        values = {name: one.estimate(0) for name, one in first.items()}
        return values | {"ap, difference": joined([first["ap"], second["ap"]]).difference(1, 0)}


class Rates:
    """BD-rate and BD-accuracy of two codecs over five qualities, of the mean accuracy of pictures."""

    def __init__(self, rng: Generator) -> None:
        found = self._deltas(rng, 200_000)
        self.truth = {name: one.value or 0.0 for name, one in found.items()}

    def _deltas(self, rng: Generator, n: int) -> Figures:
        size, hard = rng.lognormal(0, 0.6, n), rng.normal(0, 1, n)
        saved = rng.normal(-0.15, 0.15, n)  # of the second codec, in log rate, by picture
        steps = np.arange(_POINTS)[:, None]
        bits = np.vstack([size * np.exp(-0.6 * steps), size * np.exp(-0.6 * steps + saved)])
        harm = np.tile(0.55 * steps, (2, 1)) + hard + rng.normal(0, 0.15, (2 * _POINTS, n)) - 3
        jackknife = ImageJackknife(n, wanted=n < _POPULATION)
        rate, score = jackknife.ratio(bits, np.ones(n)), jackknife.ratio(1 / (1 + np.exp(harm)), np.ones(n))
        curves = curve(rate, score, range(_POINTS)), curve(rate, score, range(_POINTS, 2 * _POINTS))
        return {"BD-rate": bd_rate(*curves).estimate, "BD-accuracy": bd_accuracy(*curves).estimate}

    def trial(self, rng: Generator, n: int) -> Figures:
        return self._deltas(rng, n)


class Gains:
    """The mean gain in PSNR of pictures, which is skewed: a few gain much."""

    def __init__(self) -> None:
        self.truth = {"PSNR gain": 1.5}

    def trial(self, rng: Generator, n: int) -> Figures:
        return {
            "PSNR gain": mean_of(
                (rng.gamma(2, 0.5, n) + rng.normal(0.5, 0.5, n)).tolist(), [*map(str, range(n))], "picture"
            )
        }


def blocks(rng: Generator, pictures: int, metrics: int) -> tuple[Array, Array, Array]:
    """The machine's score, (n,), metrics that follow it alike, (metrics, n), and the picture of each block."""
    picture = np.repeat(np.arange(pictures), _BLOCKS)

    def noise() -> Array:
        shared, own = rng.normal(size=pictures)[picture], rng.normal(size=len(picture))
        return np.asarray(_WITHIN**0.5 * shared + (1 - _WITHIN) ** 0.5 * own)

    machine = noise()
    return machine, np.array([_SLOPE * machine + (1 - _SLOPE**2) ** 0.5 * noise() for _ in range(metrics)]), picture


class Correlations:
    """A metric's correlations with the machine, blocks clustered by picture; normal, so that the truth is known: the
    best curve is a straight line."""

    def __init__(self) -> None:
        rank, pairs = 6 / np.pi * np.arcsin(_SLOPE / 2), 2 / np.pi * np.arcsin(_SLOPE)
        self.truth = {"PLCC": _SLOPE, "SROC": float(rank), "KROCC": float(pairs), "PLCC_fit": _SLOPE}

    def trial(self, rng: Generator, n: int) -> Figures:
        machine, (metric,), picture = blocks(rng, n, 1)
        found = compare({"metric": metric}, machine, [str(of) for of in picture]).metrics["metric"].values
        return {name: found[name] for name in self.truth}


def rejections(rng: Generator, n: int, trials: int) -> float:
    """How often the paired test of two metrics that are alike says that they are not."""
    found = 0
    for _ in range(trials):
        machine, (a, b), picture = blocks(rng, n, 2)
        jackknife = ClusterJackknife(picture.tolist())
        values = Estimate(float(stats.spearmanr(a, machine)[0] - stats.spearmanr(b, machine)[0]))
        test = with_p(values, jackknife.spearman(a, machine)[0] - jackknife.spearman(b, machine)[0])
        found += test.p is not None and test.p < LEVEL
    return found / trials


def coverage(trials: int, pictures: list[int], seed: int = 0) -> dict[str, list[float]]:
    """For each figure the share of intervals that hold the truth, by the number of pictures; of the paired test the
    share of trials in which it rejects. What has no interval in a trial is in no share."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for population in (Gains(), Segmentation(rng), Shares(rng), Detections(rng), Rates(rng), Correlations()):
        for n in pictures:
            hits: dict[str, list[bool]] = {name: [] for name in population.truth}
            for _ in range(trials):
                for name, one in population.trial(rng, n).items():
                    if one.interval is not None:
                        hits[name].append(one.interval[0] <= population.truth[name] <= one.interval[1])
            for name, of in hits.items():
                found.setdefault(name, []).append(float(np.mean(of)))
    found["paired test rejects"] = [rejections(rng, n, trials) for n in pictures]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--pictures", type=int, nargs="+", default=[6, 12, 20, 50])
    arguments = parser.parse_args()
    print("| figure |", " | ".join(f"{n} pictures" for n in arguments.pictures), "|")
    print("|---|" + "---|" * len(arguments.pictures))
    for name, shares in coverage(arguments.trials, arguments.pictures).items():
        print(f"| {name} |", " | ".join(f"{share:.3f}" for share in shares), "|")


if __name__ == "__main__":
    main()
