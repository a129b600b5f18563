"""The sentences that a run of `vcmbench compress` ends with."""

from __future__ import annotations

import pytest

from vcmbench.cli.compress_findings import sentences
from vcmbench.compress.equal_rate import EqualRateRow
from vcmbench.compress.summary import CompressSummary, Sums
from vcmbench.data.estimate import Estimate
from vcmbench.encoder.configuration import CodingConfiguration

RECORD = {
    "key": "0", "frames": 2, "width_px": 1000, "height_px": 1000, "size_bytes": 25_000, "encode_s": 0.4,
    "decode_s": 0.0, "psnr_y_db": 31.0, "frame_psnr_y_db": [31.0, 31.0], "coded_qp": None,
}  # fmt: skip


def summary(**curves: tuple[tuple[float, float | None, float], ...]) -> CompressSummary:
    """Points of (bpp, PSNR-Y in dB, seconds a megapixel) of each encoder, two pictures of a megapixel a point."""
    found = CompressSummary()
    for encoder, points in curves.items():
        for quality, (bpp, psnr, seconds) in enumerate(points, 10):
            sums = found.rows.setdefault(CodingConfiguration(encoder, quality), Sums())
            sums.pictures, sums.pixels, sums.bits, sums.encode_s = 2, 2_000_000, int(bpp * 2e6), seconds * 2
            if psnr is not None:
                sums.psnr_pictures, sums.psnr_sum_db = 2, psnr * 2
    return found


def gain(inside: float, outside: float | None) -> EqualRateRow:
    elsewhere = Estimate(outside, n=2) if outside is not None else Estimate(n=0, reason="nothing lies there")
    return EqualRateRow("x265", 32, "420", 1.0, "", "native", 2, 2, 0.0, Estimate(inside, n=2), elsewhere)


def test_bits_decibels_and_seconds() -> None:
    found = summary(
        lossless=((12.0, None, 0.1),),
        x265=((0.8, 40.0, 0.4), (0.1, 31.0, 0.2)),
        jpeg=((1.6, 38.0, 0.01), (0.2, 29.0, 0.01)),
    )
    # x265 and JPEG share 0.2 to 0.8 bpp; in the middle, at 0.4, x265 is 2 of 3 octaves up, JPEG 1 of 3
    assert sentences(found, []) == [
        "Rates from 0.100 bpp (31.0 dB PSNR-Y, x265) to 1.60 bpp (38.0 dB PSNR-Y, JPEG).",
        "PSNR-Y at 0.400 bpp: 37.0 dB with x265 to 32.0 dB with JPEG, of 2 curves.",
        "Encoding takes 0.01 s/Mpx with JPEG to 0.3 s/Mpx with x265.",
    ]


def test_what_there_is_not_is_not_said() -> None:
    assert sentences(summary(lossless=((12.0, None, 0.1),)), []) == []
    assert sentences(summary(x265=((0.1, 31.0, 0.2),)), []) == [
        "One rate, 0.100 bpp (31.0 dB PSNR-Y, x265).", "Encoding takes 0.2 s/Mpx with x265."
    ]  # fmt: skip
    moving = summary(x265=((0.1, 31.0, 0.2),))
    next(iter(moving.rows.values())).seconds = 0.08
    assert sentences(moving, [])[0] == "One rate, 2500 kbit/s (0.100 bpp, 31.0 dB PSNR-Y, x265)."
    row = next(iter(moving.rows))
    for fps in ({"fps": 25.0}, {}):  # two frames more, then two stills, which have no rate over time
        moving.add(row, RECORD | fps)
        assert moving.rows[row].kbps == (pytest.approx(2500) if fps else None)
    assert sentences(moving, [])[0] == "One rate, 0.100 bpp (31.0 dB PSNR-Y, x265)."
    apart = summary(x265=((0.2, 31.0, 0.2), (0.1, 30.0, 0.2)), jpeg=((0.9, 31.0, 0.2), (0.8, 30.0, 0.2)))
    assert not any("PSNR-Y at" in one for one in sentences(apart, []))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([gain(2.04, -1.5), gain(3.0, None)],
         "of 2 configurations: +2.0 to +3.0 dB where it matters, \u22121.5 dB elsewhere."),
        ([gain(0.5, -0.25)], "of 1 configuration: +0.5 dB where it matters, \u22120.2 dB elsewhere."),
    ],
)  # fmt: skip
def test_gains_of_maps(rows: list[EqualRateRow], said: str) -> None:
    assert sentences(summary(), rows) == [f"PSNR-Y by importance, at equal rate, {said}"]
