"""A made-up experiment with numbers as they occur, and real photographs; the same for the same seed."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.paths import PHOTOGRAPHS
from vcmbench.analysis import correlation
from vcmbench.data.estimate import Estimate
from vcmbench.data.labels import CLASSES
from vcmbench.report import content as c
from vcmbench.report.build import correlation_table

CODECS = {"jpeg": 0.55, "x264": 0.30, "x265": 0.22, "vvenc": 0.16, "svtav1": 0.2}  # bpp at which half is lost
METRICS = {
    "PSNR": 0.75,
    "SSIM": 0.6,
    "MS_SSIM": 0.5,
    "VIFp": 0.55,
    "FSIM": 0.42,
    "VSI": 0.4,
    "HaarPSI": 0.45,
    "GMSD": 0.9,
}
BANDS = ("0\u201315 m", "15\u201330 m", "30\u201360 m", "> 60 m")
QUALITIES = (17, 22, 27, 32, 37, 42, 47)


def photograph(name: str, width: int = 400, height: int = 296) -> NDArray[np.uint8]:
    """A real photograph, (height, width, 3) uint8 RGB."""
    with Image.open(PHOTOGRAPHS / f"{name}.png") as image:
        return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))


def coded(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The picture after a real JPEG."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=quality)
    with Image.open(data) as image:
        return np.asarray(image.convert("RGB"))


def regions(picture: NDArray[np.uint8], coarse: int) -> NDArray[np.uint8]:
    """Train ids from the picture's own brightness, smoothed: no network, but regions with the picture's outlines."""
    from scipy.ndimage import gaussian_filter, median_filter

    brightness = gaussian_filter(picture.mean(axis=2), coarse)
    ids = np.array([0, 2, 8, 10, 13, 11, 1, 7], np.uint8)[np.clip(brightness // 32, 0, 7).astype(int)]
    found: NDArray[np.uint8] = median_filter(ids, 5)
    return found


def series(codec: str) -> c.Series:
    return c.Series(codec, codec)


def curve(codec: str, against: str, measure: str, random: np.random.Generator) -> c.RateCurve:
    top = {"pseudo": 1.0, "labels": {"accuracy": 0.93, "miou": 0.66}[measure]}[against]
    points = []
    for index, quality in enumerate(QUALITIES):
        rate = CODECS[codec] * 2.6 * 0.52 ** (index - 1)
        keeps = 1 / (1 + (CODECS[codec] * 0.35 / rate) ** 1.7) - 0.012 * random.random()
        value = top * (keeps if measure == "accuracy" else keeps**2.2)
        wide = 0.008 + 0.03 * (1 - keeps)
        points.append(c.RatePoint(quality, rate, Estimate(value, value - wide, min(value + wide, 1.0), n=20)))
    if codec == "svtav1" and measure == "miou":
        points[0] = replace(points[0], value=Estimate(reason="3 of 20 bitstreams are missing"))
    pristine = None if against == "pseudo" else Estimate(top, top - 0.01, top + 0.01, n=20)
    return c.RateCurve(series(codec), against, measure, points, pristine)


def scores(
    random: np.random.Generator, n: int
) -> tuple[NDArray[Any], dict[str, NDArray[Any]], list[str], NDArray[Any]]:
    """Machine's score, metrics, source images and codecs of n made-up blocks."""
    images = [f"city_{index % 24:06d}" for index in range(n)]
    codec = np.arange(n) % len(CODECS)
    true = random.random(n)
    machine = np.clip(true + 0.04 * random.normal(size=n), 0, 1)
    metrics = {}
    for index, (name, noise) in enumerate(METRICS.items()):
        latent = true + noise * 0.3 * random.normal(size=n) + 0.03 * codec
        metrics[name] = 24 + 14 * latent if name == "PSNR" else 1 / (1 + np.exp(-3 * latent + index % 3))
    metrics["GMSD"] = 0.35 - 0.3 * metrics["GMSD"]
    return machine, metrics, images, codec


def correlations(random: np.random.Generator) -> tuple[list[c.CorrelationTable], list[c.Scatter]]:
    machine, metrics, images, codec = scores(random, 600)
    found = correlation.compare(metrics, machine, images)
    broken = metrics | {"LPIPS": np.full(600, np.nan)}
    tables = [
        correlation_table(correlation.compare(broken, machine, images), "block"),
        correlation_table(
            correlation.compare({k: v[:120] for k, v in metrics.items()}, machine[:120], images[:120]),
            "image",
        ),
    ]  # fmt: skip
    scatters = []
    for name, values in metrics.items():
        clouds = [c.Cloud(series(label), values[codec == i], machine[codec == i]) for i, label in enumerate(CODECS)]
        fit = found.metrics[name].fit
        x = np.linspace(values.min(), values.max(), 60)
        line = None if fit is None else np.column_stack([x, fit.of(x)])
        value = found.metrics[name].values["SROC"]
        scatters.append(
            c.Scatter("block", name, clouds, unit="dB" if name == "PSNR" else "", higher_is_better=name != "GMSD",
                      srocc=Estimate(value.value, value.low, value.high, 600), fit=line)
        )  # fmt: skip
    return tables, scatters


def damage(rows: tuple[str, ...], measure: str, random: np.random.Generator) -> c.Losses:
    losses = []
    for index, name in enumerate(rows):
        base = 0.05 + 0.4 * random.random() ** 2 if rows is CLASSES else 0.04 + 0.07 * index
        row = []
        for codec in CODECS:
            value = base * (0.6 + CODECS[codec]) + 0.02 * random.normal()
            row.append(Estimate(value, value - 0.04, value + 0.04, n=20))
        if name in ("train", "truck"):
            row = [Estimate(reason=f"no pixel of {name} in truth or prediction")] * len(row)
        losses.append(row)
    pixels = [int(value) for value in 10 ** (3.5 + 3 * random.random(len(rows)))]
    return c.Losses("pseudo", measure, "at about 0.2 bpp", rows, [series(n) for n in CODECS], losses, pixels)


def comparisons(random: np.random.Generator) -> list[c.MapComparison]:
    found = []
    for codec in CODECS:
        for quality in (32, 42):
            effects = []
            for index, name in enumerate(("Overall", "Weighted by importance", *BANDS)):
                gain = [-0.008, 0.03, 0.036, 0.018, -0.004, -0.03][index] * (1 + 0.3 * random.normal())
                plain = 0.86 - 0.03 * index
                effects.append(
                    c.MapEffect(name, Estimate(plain, plain - 0.02, plain + 0.02, 20),
                                Estimate(plain + gain, plain + gain - 0.02, plain + gain + 0.02, 20),
                                Estimate(gain, gain - 0.012, gain + 0.012, 20))
                )  # fmt: skip
            if codec == "svtav1":
                effects[-1] = replace(effects[-1], difference=Estimate(reason="no pixel lies that far in 20 pictures"))
            method = {"jpeg": "coefficients", "vvenc": "prefilter"}.get(codec, "native")
            size = Estimate(0.0015, -0.002, 0.004, n=20)
            found.append(
                c.MapComparison(series(codec), quality, method, 0.3, size, effects, "delta 6, blocks of 16 px")
            )
    return found


def bd() -> list[c.BdRow]:
    rows = []
    for index, codec in enumerate(list(CODECS)[1:]):
        for method in ("PCHIP", "Akima"):
            rate, gain = -30.0 - 12 * index + (method == "Akima"), 0.03 + 0.02 * index
            rows.append(
                c.BdRow(series("jpeg"), series(codec), "pseudo", "accuracy", method,
                        Estimate(rate, rate - 5, rate + 5, n=20), Estimate(gain, gain - 0.01, gain + 0.01, n=20),
                        "0.41\u20130.97, 0.06\u20131.2 bpp")
            )  # fmt: skip
    why = Estimate(reason="the curve of svtav1 is not monotone between 0.21 and 0.34 bpp")
    return [*rows, c.BdRow(series("jpeg"), series("svtav1"), "labels", "miou", "PCHIP", why, why)]


def headroom() -> list[c.BdRow]:
    gain = Estimate(0.02, 0.01, 0.03, n=20)
    found = [("x265", Estimate(-18.0, -25.0, -9.0, n=20)), ("jpeg", Estimate(4.0, -3.0, 12.0, n=20)),
             ("vvenc", Estimate(-6.0, -9.0, -3.0, n=20)), ("x264", Estimate(-21.0, -30.0, -10.0, n=20)),
             ("svtav1", Estimate(reason="5 points; the curve falls"))]  # fmt: skip
    return [c.BdRow(series(codec), c.Series(f"{codec} with map", codec), "pseudo", "miou", "pchip", rate, gain)
            for codec, rate in found]  # fmt: skip


def pictures(random: np.random.Generator) -> tuple[list[c.Overlay], list[c.WorstFrame]]:
    overlays, worst = [], []
    for name, quality in (("coffee", 12), ("chelsea", 8)):
        pristine = photograph(name)
        decoded = coded(pristine, quality)
        before, after = regions(pristine, 3), regions(decoded, 4)
        error = np.abs(pristine.astype(float) - decoded).mean(axis=2)
        qp = 32 + np.round(6 * random.random((19, 25)) - 3)
        qp[:3] = np.nan
        title = f"{name}, jpeg at quality {quality}"
        layers = [
            c.Layer("Bits", random.gamma(2, 120, (19, 25)), "bits a block", 16),
            c.Layer("QP", qp, "QP", 16, low=29, high=35),
            c.Layer("Error", error, "mean absolute error, 0\u2013255"),
            c.Layer("Change of PSNR", random.normal(size=(19, 25)), "dB", 16, kind="diverging"),
            c.Layer("Lost pixels", (before != after).astype(float), kind="mask"),
        ]
        missing, height, width = {"Motion": "pictures have none"}, *pristine.shape[:2]
        blocks = [(x, y, 50, 50, f"x {x}, y {y} <b>") for y in range(0, height, 50) for x in range(0, width, 50)]
        overlays.append(c.Overlay(title, pristine, layers, "x265 in blocks of 16 px", missing, blocks))
        share = float((before == after).mean())
        facts = [("Accuracy", f"{share:.3f}"), ("Rate", "0.21 bpp"), ("Configuration", "jpeg, quality 8, 4:2:0")]
        worst.append(c.WorstFrame(title, pristine, decoded, before, after, facts))
    worst.append(c.WorstFrame("rocket", photograph("color"), coded(photograph("color"), 5), "rocket", "missile"))
    return overlays, worst


@cache
def sample(seed: int = 0) -> c.ReportContent:
    """The whole report."""
    random = np.random.default_rng(seed)
    tables, scatters = correlations(random)
    overlays, worst = pictures(random)
    return c.ReportContent(
        title="What five codecs do to segmentation",
        experiment="demo-metrics",
        created="2026-11-20",
        summary="20 street scenes were coded by five codecs at seven qualities each, decoded, and segmented again.",
        pictures=20,
        facts=[("Pictures", "20 of 1024\u00d7512"), ("Configurations", "35"), ("Network", "Fast-SCNN, embedded")],
        curves=[curve(k, a, m, random) for a in ("pseudo", "labels") for m in ("accuracy", "miou") for k in CODECS],
        correlations=tables,
        scatters=scatters,
        class_damage=[damage(CLASSES, "iou", random)],
        band_damage=[damage(BANDS, "accuracy", random)],
        comparisons=comparisons(random),
        bd=bd(),
        headroom=headroom(),
        judged="Asked where bits go: demo. demo-b judges, which was not asked.",
        overlays=overlays,
        worst=worst,
        commands=["vcmbench compress -d DATA -s demo-metrics", "vcmbench metrics -d DATA -s demo-metrics --level all"],
        provenance=[
            c.Facts("Versions", [("vcmbench", "0.4.0"), ("torch", "2.15.0"), ("piq", "0.8.0"), ("x265", "4.1+1")]),
            c.Facts(
                "Digests", [("weights (SHA-256)", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
            ),
            c.Facts("Seeds", [("blocks", "0"), ("bootstrap", "0")]),
        ],
        missing=[("LPIPS", "its weights are not here, and no network was given"), ("VMAF", "no FFmpeg with libvmaf")],
    )
