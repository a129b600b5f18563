"""Bjontegaard deltas: our own integration as the reference, what must hold for any, refusals, intervals, command."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

from vcmbench.analysis import bdrate
from vcmbench.analysis.bdrate import METHODS, Curve, bd_accuracy, bd_rate
from vcmbench.cli import build_parser
from vcmbench.data.compression_table import CSV_FIELDS
from vcmbench.errors import RequestError

Array = NDArray[np.float64]
RATES = np.array([0.11, 0.19, 0.42, 0.83, 1.31])
MIOU = np.array([0.41, 0.55, 0.63, 0.67, 0.69])
OTHER_RATES, OTHER_MIOU = np.array([0.09, 0.21, 0.37, 0.71]), np.array([0.44, 0.58, 0.66, 0.7])


def some(seed: int, n: int = 6) -> Curve:
    """A curve that rises, as evenly as Akima's way wants it, points in no order."""
    rng = np.random.default_rng(seed)
    rates, qualities = 0.1 * np.exp(np.cumsum(rng.uniform(0.5, 0.8, n))), 0.3 + np.cumsum(rng.uniform(0.05, 0.07, n))
    order = rng.permutation(n)
    return Curve(rates[order], qualities[order])


def mean_gap(kind: str, anchor: Curve, test: Curve, method: str) -> float:
    """The reference: piecewise cubics, integrated piece by piece at Gauss-Legendre points, which is exact for them."""
    interpolator = {"pchip": PchipInterpolator, "akima": Akima1DInterpolator}[method]
    lines, knots = [], []
    for curve in (anchor, test):
        order = np.argsort(curve.rates)
        x, y = curve.qualities[order], np.log10(curve.rates[order])
        x, y = (x, y) if kind == "rate" else (y, x)
        lines.append(interpolator(x, y))
        knots.append(x)
    low, high = max(x[0] for x in knots), min(x[-1] for x in knots)
    cuts = np.unique(np.concatenate([[low, high], *(x[(x > low) & (x < high)] for x in knots)]))
    points, weights = np.polynomial.legendre.leggauss(2)
    total = 0.0
    for a, b in pairwise(cuts):
        x = (a + b) / 2 + points * (b - a) / 2
        total += float(weights @ (lines[1](x) - lines[0](x))) * (b - a) / 2
    return total / (high - low)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_values_are_those_of_an_integration_of_our_own(method: str, seed: int) -> None:
    anchor, test = some(seed, 5), some(seed + 100, 8)
    rate, accuracy = bd_rate(anchor, test, method), bd_accuracy(anchor, test, method)
    assert rate.estimate.value == pytest.approx(
        (10 ** mean_gap("rate", anchor, test, method) - 1) * 100, rel=1e-9, abs=1e-9
    )
    assert accuracy.estimate.value == pytest.approx(mean_gap("accuracy", anchor, test, method), rel=1e-9, abs=1e-12)
    assert (rate.points, rate.method, accuracy.kind) == ((5, 8), method, "accuracy")


@pytest.mark.parametrize("method", METHODS)
def test_of_straight_lines_the_answer_is_known(method: str) -> None:
    """log10(rate) = 0.1 q - 4 against 0.12 q - 4.9, from 30 to 40 dB: the mean gap is at 35 dB."""
    psnr = np.array([30.0, 33, 36, 38, 40])
    anchor, test = Curve(10 ** (0.1 * psnr - 4), psnr), Curve(10 ** (0.12 * psnr - 4.9), psnr)
    assert bd_rate(anchor, test, method).estimate.value == pytest.approx((10 ** (0.02 * 35 - 0.9) - 1) * 100, rel=1e-12)
    # q = (y + 4) / 0.1 against (y + 4.9) / 0.12, over the log rates -1 .. -0.1 that both have
    gap = (-0.55 + 4.9) / 0.12 - (-0.55 + 4) / 0.1
    assert bd_accuracy(anchor, test, method).estimate.value == pytest.approx(gap, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_what_holds_for_any_curve(method: str, seed: int) -> None:
    curve, other = some(seed), some(seed + 50)
    assert bd_rate(curve, curve, method).estimate.value == pytest.approx(0, abs=1e-12)
    assert bd_accuracy(curve, curve, method).estimate.value == pytest.approx(0, abs=1e-15)
    dearer = Curve(curve.rates * 1.1, curve.qualities)
    assert bd_rate(curve, dearer, method).estimate.value == pytest.approx(10, abs=1e-11)
    better = Curve(curve.rates, curve.qualities + 0.02)
    assert bd_accuracy(curve, better, method).estimate.value == pytest.approx(0.02, abs=1e-14)
    there, back = bd_rate(curve, other, method).estimate.value, bd_rate(other, curve, method).estimate.value
    assert there is not None and back is not None
    assert (1 + there / 100) * (1 + back / 100) == pytest.approx(1, abs=1e-12)
    gain, loss = bd_accuracy(curve, other, method).estimate.value, bd_accuracy(other, curve, method).estimate.value
    assert gain == pytest.approx(-loss if loss is not None else None, abs=1e-14)
    # neither the unit of the rate nor the order of points matters
    kilo = [Curve(c.rates[::-1] * 1000, c.qualities[::-1]) for c in (curve, other)]
    assert bd_rate(*kilo, method).estimate.value == pytest.approx(there, rel=1e-9, abs=1e-9)
    assert bd_accuracy(*kilo, method).estimate.value == pytest.approx(gain, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_losses_are_turned_round(method: str) -> None:
    anchor, test = some(1), some(2)
    lost = [Curve(c.rates, 1 - c.qualities) for c in (anchor, test)]
    assert bd_rate(*lost, method, False).estimate.value == pytest.approx(
        bd_rate(anchor, test, method).estimate.value, rel=1e-9
    )
    gain = bd_accuracy(anchor, test, method).estimate.value
    assert gain is not None
    assert bd_accuracy(*lost, method, False).estimate.value == pytest.approx(-gain, rel=1e-9)
    reason = bd_rate(*lost, method).estimate.reason
    assert reason is not None and "more rate with less quality" in reason


@pytest.mark.parametrize(
    ("rates", "qualities", "why"),
    [
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], "3 points; 4 are needed"),
        ([0.1], [0.1], "1 point; 4 are needed"),
        ([0.1, 0.2, 0.3, np.nan], [0.1, 0.2, 0.3, 0.4], "no finite rate: d;"),
        ([0.1, 0.2, 0.3, 0.4], [0.1, np.inf, 0.3, np.nan], "no finite quality: b, d;"),
        ([0.0, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], "a rate is not above 0: a"),
        ([0.1, -0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], "a rate is not above 0: b"),
        ([0.1, 0.4, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], "equal rates: b (0.4, 0.2) and d (0.4, 0.4);"),
        ([0.4, 0.1, 0.2, 0.3], [0.25, 0.1, 0.2, 0.3], "more rate with less quality: d (0.3, 0.3) and a (0.4, 0.25);"),
        ([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.3], "the same quality: c (0.3, 0.3) and d (0.4, 0.3); where quality"),
    ],
)
@pytest.mark.parametrize("delta", [bd_rate, bd_accuracy])
def test_what_cannot_be_computed_is_missing_with_the_points_at_fault(
    delta: Callable[..., bdrate.Delta], rates: list[float], qualities: list[float], why: str
) -> None:
    good = Curve(RATES, MIOU)
    bad = Curve(np.array(rates), np.array(qualities), tuple("abcd"[: len(rates)]))
    for found, side in ((delta(good, bad), "test"), (delta(bad, good), "anchor")):
        assert found.estimate.value is None and found.estimate.low is None
        assert found.estimate.reason is not None and found.estimate.reason.startswith(f"not computable: {side}: ")
        assert why in found.estimate.reason


def test_saturated_points_left_out_it_is_computable() -> None:
    saturated = Curve(np.array([0.1, 0.2, 0.3, 0.4, 0.9]), np.array([0.4, 0.5, 0.6, 0.65, 0.65]))
    advice = bdrate.unusable(saturated)
    assert advice is not None and "but the one of the lowest rate" in advice
    assert bd_rate(Curve(RATES, MIOU), saturated.only(np.arange(4))).estimate.value is not None


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (0.03, "Akima's curve of the anchor turns back between its points; take pchip"),
        (0.003, "Akima's curve of the anchor turns back"),
        (0.06, None),
    ],
)
def test_akima_is_refused_where_it_draws_what_was_not_measured(step: float, why: str | None) -> None:
    """A plateau inside of a curve: PCHIP says -2 and -9 %, Akima said +6 and +195 %."""
    rates = np.array([0.1, 0.2, 0.4, 0.8, 1.6])
    anchor = Curve(
        rates, np.array([0.68, 0.74 if why is None else 0.8, 0.8 + step, 0.9 if why is None else 0.86, 0.95])
    )
    test = Curve(rates, np.array([0.7, 0.79, 0.83, 0.87, 0.905]))
    assert bd_rate(anchor, test).estimate.value is not None
    for curves in ((anchor, test), (test, anchor)):
        found = bd_rate(*curves, "akima").estimate
        assert (found.value is None) == (why is not None)
        assert why is None or (why if curves[0] is anchor else why.replace("anchor", "test")) in str(found.reason)


def test_akima_is_refused_where_it_is_far_from_pchip() -> None:
    rates = np.array([0.1, 0.2, 0.4, 0.8, 1.6])
    anchor = Curve(rates, np.array([0.552, 0.572, 0.596, 0.710, 0.791]))
    test = Curve(rates, np.array([0.508, 0.524, 0.604, 0.745, 0.753]))
    found = bd_rate(anchor, test, "akima").estimate
    akima, pchip = ((10 ** mean_gap("rate", anchor, test, method) - 1) * 100 for method in ("akima", "pchip"))
    far = f"Akima's figure, {akima:+.4g}, is far from that of PCHIP, {pchip:+.4g}; take pchip"
    assert found.reason == f"not computable: {far}" and pchip < akima - 2.5


def test_overlap_is_a_share_of_the_union() -> None:
    # qualities 0.41 .. 0.69 and 0.44 .. 0.7: 0.25 of 0.29
    found = bd_rate(Curve(RATES, MIOU), Curve(OTHER_RATES, OTHER_MIOU))
    assert found.overlap == pytest.approx(0.25 / 0.29)
    assert found.note is None
    by_rate = bd_accuracy(Curve(RATES, MIOU), Curve(OTHER_RATES, OTHER_MIOU))
    assert by_rate.overlap == pytest.approx(np.log(0.71 / 0.11) / np.log(1.31 / 0.09))
    little = bd_rate(Curve(RATES, MIOU, label="x265"), Curve(RATES, MIOU + 0.2, label="vvenc"))
    assert little.estimate.value is not None and little.overlap == pytest.approx(0.08 / 0.48)
    assert little.note == "only 17% of their quality in common: x265 has 0.41 to 0.69, vvenc has 0.61 to 0.89"
    for lift in (0.28, 0.5):  # they touch; they do not
        apart = bd_rate(Curve(RATES, MIOU), Curve(RATES, MIOU + lift))
        assert (apart.estimate.value, apart.overlap) == (None, pytest.approx(0, abs=1e-9))
        assert (
            apart.estimate.reason is not None
            and "have no quality in common: anchor has 0.41 to 0.69" in apart.estimate.reason
        )
        assert bd_accuracy(Curve(RATES, MIOU), Curve(RATES, MIOU + lift)).estimate.value == pytest.approx(lift)


def test_what_is_asked_wrongly_is_refused() -> None:
    good = Curve(RATES, MIOU)
    with pytest.raises(RequestError, match="one of pchip, akima"):
        bd_rate(good, good, "cubic")
    with pytest.raises(RequestError, match="one each is needed"):
        Curve(RATES, MIOU[:4])
    with pytest.raises(RequestError, match=r"\(units, 5\) is needed"):
        Curve(RATES, MIOU, quality_samples=np.zeros((10, 4)))
    few, many = (Curve(RATES, MIOU, (), np.tile(RATES, (n, 1)), np.tile(MIOU, (n, 1))) for n in (10, 20))
    with pytest.raises(RequestError, match=r"\[10, 20\] units"):
        bd_rate(few, many)


def without(curve: Curve, noise: float, seed: int, units: int = 20) -> Curve:
    rng = np.random.default_rng(seed)
    qualities = curve.qualities + noise * rng.normal(size=(units, len(curve.rates)))
    return Curve(curve.rates, curve.qualities, (), np.tile(curve.rates, (units, 1)), qualities)


def test_intervals_are_jackknifes_on_the_logarithm_of_the_rate() -> None:
    anchor, test = without(some(1), 1e-4, 1), without(some(2), 1e-4, 2)
    assert anchor.quality_samples is not None and test.quality_samples is not None
    for delta in (bd_rate, bd_accuracy):
        found = delta(anchor, test).estimate
        values = np.array([
            delta(Curve(anchor.rates, one), Curve(test.rates, other)).estimate.value
            for one, other in zip(anchor.quality_samples, test.quality_samples, strict=True)
        ], float)  # fmt: skip
        assert found.value is not None and found.interval is not None
        ends = np.array([found.low, found.value, found.high], float)
        if delta is bd_rate:
            values, ends = np.log1p(values / 100), np.log1p(ends / 100)
        width = stats.t.ppf(0.975, 19) * np.sqrt(19 / 20 * ((values - values.mean()) ** 2).sum())
        assert np.diff(ends) == pytest.approx([width, width], rel=1e-3)


def test_a_unit_without_which_there_is_no_figure_leaves_no_interval() -> None:
    anchor, test = without(some(1), 0.05, 1), without(some(2), 0.05, 2)
    found = bd_rate(anchor, test).estimate
    assert found.value is not None and found.low is None
    assert str(found.reason).startswith(
        "no interval: not computable (quality turns back, or the curves do not overlap)"
    )
    # at equal rate the gap is defined, whether or not quality falls somewhere
    assert bd_accuracy(anchor, test).estimate.low is not None


def test_without_images_the_reason_is_told() -> None:
    poor = Curve(RATES, MIOU, lacking="3 images; an interval needs 5")
    found = bd_rate(poor, Curve(RATES, MIOU))
    assert found.estimate.value == pytest.approx(0)
    assert found.estimate.reason == "no interval: 3 images; an interval needs 5"


# The command


def typed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What `vcmbench bdrate WORDS` prints."""
    arguments = build_parser("bdrate").parse_args(["bdrate", *map(str, words)])
    assert arguments.run(arguments) == 0
    return capsys.readouterr().out


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """A row a point of three codecs; the third has points at fault."""
    path = tmp_path / "points.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("codec", "kbps", "miou"))
        for name, rates, scores in (
            ("old", RATES, MIOU), ("new", OTHER_RATES, OTHER_MIOU), ("odd", RATES[:4], MIOU[[0, 2, 1, 3]]),
        ):  # fmt: skip
            writer.writerows((name, rate, score) for rate, score in zip(rates, scores, strict=True))
    return path


def test_a_table_of_points(points: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (points, "--group", "codec", "--rate", "kbps", "--quality", "miou")
    found = json.loads(typed(capsys, *words, "--json"))
    assert [(pair["anchor"], pair["test"]) for pair in found["pairs"]] == [
        ("old", "new"),
        ("old", "odd"),
        ("new", "odd"),
    ]
    first, second, _ = found["pairs"]
    assert first["rate"]["value"] == pytest.approx(
        bd_rate(Curve(RATES, MIOU), Curve(OTHER_RATES, OTHER_MIOU)).estimate.value
    )
    assert first["rate"]["reason"] == "no interval: the table has no pictures"
    assert second["accuracy"]["value"] is None
    assert "odd: more rate with less quality: row 11 (0.19, 0.63) and row 12" in second["accuracy"]["reason"]
    akima = json.loads(typed(capsys, *words, "--anchor", "NEW", "--test", "old", "--method", "akima", "--json"))
    assert [pair["rate"]["method"] for pair in akima["pairs"]] == ["akima"]
    text = typed(capsys, *words, "--anchor", "old")
    assert [line.split()[:2] for line in text.splitlines()[2:4]] == [["old", "new"], ["old", "odd"]]
    assert f"{first['rate']['value']:+.2f}" in text
    assert "not computable: odd: more rate with less quality" in text


def table_of(path: Path, header: str, *curves: tuple[str, str, Array, Array]) -> Path:
    """A table of curves: what stands before and behind each of their rates and qualities."""
    rows = [f"{before},{rate},{score}{behind}" for before, behind, rates, scores in curves
            for rate, score in zip(rates, scores, strict=True)]  # fmt: skip
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def bd_rates(capsys: pytest.CaptureFixture[str], *words: object) -> dict[tuple[str, str], float]:
    pairs = json.loads(typed(capsys, *words, "--json"))["pairs"]
    return {(pair["anchor"], pair["test"]): pair["rate"]["value"] for pair in pairs}


def test_codings_are_curves_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where nothing but `options` tells them apart; the plain one answers to its encoder's name."""
    header, score = "encoder,color_subsampling,options,rate_bpp,miou", MIOU
    path = table_of(
        tmp_path / "points.csv", header, ("jpeg,420,", "", RATES, score), ("x264,420,", "", RATES * 0.5, score),
        ("x264,420,qp_map=m importance=a", "", RATES * 0.6, score),
        ("x264,420,qp_map=m importance=b", "", RATES * 0.7, score),
        ("x264,444,preset=slow", "", RATES * 0.8, score),
    )  # fmt: skip
    with path.open("a") as file:  # searched rates are points of one curve
        file.writelines(
            f"x264,420,target_bpp={rate:g},{rate * 0.9},{q}\n" for rate, q in zip(RATES, score, strict=True)
        )
    found = bd_rates(capsys, path, "--quality", "miou", "--anchor", "JPEG")
    assert {test: round(value) for (_, test), value in found.items()} == {
        "x264 color_subsampling=420": -50, "x264 color_subsampling=420 qp_map=m importance=a": -40,
        "x264 color_subsampling=420 qp_map=m importance=b": -30, "x264 color_subsampling=444 preset=slow": -20,
        "x264 color_subsampling=420 at set rates": -10,
    }  # fmt: skip
    (one,) = bd_rates(capsys, path, "--quality", "miou", "--anchor", "x264", "--test", "jpeg").values()
    assert one == pytest.approx(100)


def test_sequences_are_compared_each_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for column, a, b in (("sequence", "1", "2"), ("clip", "street", "park")):
        path = table_of(
            tmp_path / "points.csv", f"codec,{column},kbps,miou",
            (f"old,{a}", "", RATES, MIOU), (f"new,{a}", "", RATES * 1.3, MIOU),
            (f"old,{b}", "", RATES * 1.1, MIOU + 0.01), (f"new,{b}", "", RATES * 1.1 * 0.7, MIOU + 0.01),
        )  # fmt: skip
        words = (path, "--group", "codec", "--rate", "kbps", "--quality", "miou")
        for more in ((), ("--anchor", "old"), ("--anchor", "old", "--test", "new")):
            found = bd_rates(capsys, *words, *more)
            assert {pair: round(value) for pair, value in found.items()} == {
                (f"old {column}={a}", f"new {column}={a}"): 30, (f"old {column}={b}", f"new {column}={b}"): -30
            }  # fmt: skip
    # where a number alone tells them apart, a quality stands twice
    path = table_of(
        tmp_path / "points.csv", "encoder,take,qp,rate_bpp,miou",
        *((f"{codec},{take},22", "", RATES[:1] * take, MIOU[:1]) for codec in "ab" for take in (1, 2)),
    )  # fmt: skip
    with pytest.raises(RequestError, match="rows 1 and 2 are of one curve and qp=22; pick one with --where"):
        typed(capsys, path, "--quality", "miou")


def test_what_has_no_column_is_read_from_the_folder_of_a_bitstream(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = "encoder,quality,color_subsampling,subsampling_factor,qp_map,source,frames,width_px,height_px,bitstream,"
    folder = "c_x265(quality={}, color_subsampling=420, subsampling_factor=0.5{})/p.265"
    lines = [header + "size_bytes,rate_bpp,psnr_y_db"]
    for options, share in (("", 1.0), (", resampler=lanczos", 0.8), (", importance=files", 0.7)):
        for i, rate in enumerate(RATES):
            name = folder.format(i, options)
            lines.append(f'x265,{i},420,0.5,,p,1,100,80,"{name}",{round(rate * 1e6 * share)},{rate},{30 + i}')
    path = tmp_path / "compression.csv"
    path.write_text("\n".join(lines) + "\n")
    found = bd_rates(capsys, path, "--quality", "psnr_y_db", "--anchor", "x265", "--no-intervals")
    assert {test: round(value) for (_, test), value in found.items()} == {
        "x265 resampler=lanczos": -20, "x265 importance=files": -30
    }  # fmt: skip


SPENT: dict[str, dict[str, Any]] = {
    "x265": {"preset_used": "medium", "encode_s_per_mpx": 0.25},
    "vvenc": {"preset_used": "fast", "encode_s_per_mpx": 1.5},
}


def _fps(image: int) -> int:
    return 25 if image % 3 else 50


def compression_csv(folder: Path, lacking: tuple[str, int, str] | None = None, images: int = 8) -> Path:
    """A table as the compress step writes it: two encoders, one of them with two factors, and PSNR of pictures."""
    rng = np.random.default_rng(5)
    share = rng.uniform(0.5, 2, images)
    path = folder / "compression.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, CSV_FIELDS)
        writer.writeheader()
        for encoder, factor, saved in (("x265", 1.0, 1.0), ("x265", 0.5, 0.8), ("vvenc", 1.0, 0.9)):
            for step, quality in enumerate((22, 27, 32, 37, 42)):
                for image in range(images):
                    if (encoder, quality, f"img{image}") == lacking:
                        continue
                    size = round(60_000 * 0.6**step * saved * share[image])
                    row: dict[str, Any] = {"encoder": encoder, "quality": quality, "subsampling_factor": factor}
                    row |= {"source": f"img{image}", "frames": 1, "width_px": 512, "height_px": 256 + 256 * (image % 2)}
                    row |= {"size_bytes": size, "rate_bpp": size / 1000, "rate_kbps": size * 8 * _fps(image) / 1000}
                    row |= {"psnr_y_db": 45 - 2.5 * step - share[image] + 0.1 * rng.normal(), "experiment": "trial"}
                    row |= SPENT[encoder] | {"encode_s_per_mpx": SPENT[encoder]["encode_s_per_mpx"] * share[image] ** 2}
                    writer.writerow(row)
        lossless = {"encoder": "lossless", "source": "img0", "frames": 1, "width_px": 512, "height_px": 256}
        writer.writerow(lossless | {"size_bytes": 200_000, "rate_bpp": 12.2, "subsampling_factor": 1.0})
    return path


@pytest.mark.parametrize(("rate", "over"), [("rate_bpp", "all pixels"), ("rate_kbps", "the time of all sequences")])
def test_a_table_of_pictures(rate: str, over: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = compression_csv(tmp_path)
    quality = ("--rate", rate, "--quality", "psnr_y_db")
    words = (path, *quality, "--anchor", "x265 subsampling_factor=1.0", "--test", "vvenc")
    (pair,) = json.loads(typed(capsys, *words, "--json"))["pairs"]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    curves = []
    for encoder in ("x265", "vvenc"):
        own = [row for row in rows if (row["encoder"], row["subsampling_factor"]) == (encoder, "1.0")]
        by_qp = [[row for row in own if row["quality"] == str(qp)] for qp in (22, 27, 32, 37, 42)]
        rates = [
            sum(8 * int(row["size_bytes"]) for row in point)
            / sum(
                int(row["width_px"]) * int(row["height_px"]) if rate == "rate_bpp" else 1 / _fps(int(row["source"][3:]))
                for row in point
            )
            for point in by_qp
        ]
        psnr = [float(np.mean([float(row["psnr_y_db"]) for row in point])) for point in by_qp]
        curves.append(Curve(np.array(rates), np.array(psnr)))
    for name, delta in (("rate", bd_rate), ("accuracy", bd_accuracy)):
        assert pair[name]["value"] == pytest.approx(delta(*curves).estimate.value, rel=1e-9)
        assert pair[name]["low"] < pair[name]["value"] < pair[name]["high"]
    for which, encoder in (("anchor_effort", "x265"), ("test_effort", "vvenc")):
        own = [float(row["encode_s_per_mpx"]) for row in rows if row["encoder"] == encoder]
        assert pair[which] == {"preset": SPENT[encoder]["preset_used"], "s_per_mpx": pytest.approx(np.median(own))}
    assert json.loads(typed(capsys, *words, "--json"))["pairs"] == [pair]
    told = " ".join(typed(capsys, *words).split())
    assert "fast, " in told and " 6.0 ! " in told
    assert "! Encode times differ by up to 6.0 times, from x265 subsampling_factor=1.0 (medium, " in told
    text = typed(capsys, path, *quality)
    assert f"rows are pictures: rates are all bits over {over}, psnr_y_db is the mean" in text
    assert "lossless: left out, because psnr_y_db or rate is missing there" in text
    assert len([line for line in text.splitlines() if line.startswith("x265 subsampling_factor=1.0  ")]) == 3
    one = typed(capsys, path, "--quality", "psnr_y_db", "--where", "subsampling_factor=1.0", "encoder=x265,vvenc")
    assert next(line for line in one.splitlines() if line.startswith("x265")).split()[1] == "vvenc"


def test_pictures_that_not_all_points_have_do_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = compression_csv(tmp_path, lacking=("vvenc", 32, "img3"))
    words = ("--quality", "psnr_y_db", "--anchor", "x265 subsampling_factor=1.0", "--test", "vvenc", "--json")
    (pair,) = json.loads(typed(capsys, path, *words))["pairs"]
    assert pair["notes"] == [
        "x265 subsampling_factor=1.0 and vvenc: 7 of 8 pictures are in all of their points and count"
    ]
    rows = [line for line in path.read_text().splitlines() if "img3" not in line]
    path.write_text("\n".join(rows) + "\n")
    (same,) = json.loads(typed(capsys, path, *words))["pairs"]
    assert same["rate"] == pair["rate"] and same["notes"] == []


def test_few_pictures_or_groups_give_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "--quality",
        "psnr_y_db",
        "--where",
        "subsampling_factor=1.0",
        "--anchor",
        "x265",
        "--test",
        "vvenc",
        "--json",
    )
    (pair,) = json.loads(typed(capsys, compression_csv(tmp_path, images=4), *words))["pairs"]
    assert (pair["rate"]["reason"], pair["rate"]["low"]) == ("no interval: 4 images; an interval needs 5", None)
    found = []
    for more in (
        (),
        ("--groups", "img(?=[0-3])"),
        ("--groups", "img(?=[0-4])"),
        ("--groups", "no such"),
        ("--no-intervals",),
    ):
        (pair,) = json.loads(typed(capsys, compression_csv(tmp_path), *words, *more))["pairs"]
        found.append((pair["rate"]["low"], pair["rate"]["reason"]))
    assert found[0][0] == found[3][0] != found[1][0] is not None
    assert [reason for _, reason in found] == [
        None, None, "no interval: 4 groups; an interval needs 5", None, "no interval: none was asked for"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words", "complaint"),
    [
        ("", "--quality miou", "holds no rows"),
        ("encoder,rate_bpp,miou\n", "--quality miou", "holds no rows"),
        (
            "encoder,rate_bpp,miou\na,1,2\n",
            "--quality acc",
            "no column 'acc' \\(--quality\\); there are: encoder, rate_bpp",
        ),
        ("encoder,rate_bpp,miou\na,1,2\n", "--quality miou --where b=2", "no column 'b' \\(--where\\)"),
        ("encoder,rate_bpp,miou\na,1,2\n", "--quality miou --where encoder=b", "no row has encoder=b"),
        ("encoder,rate_bpp,miou\na,1,x\n", "--quality miou", "row 1, miou: 'x' is no number"),
        ("encoder,rate_bpp,miou\na,1\n", "--quality miou", "row 1 has not as many cells"),
        ("encoder,rate_bpp,miou\na,1,2,3\n", "--quality miou", "row 1 has not as many cells"),
        ("encoder,rate_bpp,miou,miou\na,1,2,3\n", "--quality miou", "two columns have the same name"),
        ("encoder,rate_bpp,miou\na,1,2\n", "--quality miou", "one curve, 'a'; a delta needs two"),
        ("encoder,rate_bpp,miou\na,1,2\nb,1,2\n", "--quality miou --anchor c", "no curve 'c'; there are: 'a', 'b'"),
        ("encoder,rate_bpp,miou\na,1,2\nb,1,2\n", "--quality miou --anchor a --test c", "no curve 'c'"),
        ("encoder,rate_bpp,miou\na,1,2\nb,1,2\n", "--quality miou --test b", "name it with --anchor"),
        ("encoder,rate_bpp,miou,source\na,1,2,x\n", "--quality miou", "needs columns size_bytes, width_px"),
        ("\xff\xfe", "--quality miou", "no table of comma-separated values"),
    ],
)
def test_bad_requests(
    content: str, words: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(RequestError, match=complaint):
        typed(capsys, path, *shlex.split(words))


def test_a_picture_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = compression_csv(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n")
    with pytest.raises(RequestError, match="rows 1 and 122 are of one picture and configuration"):
        typed(capsys, path, "--quality", "psnr_y_db")
