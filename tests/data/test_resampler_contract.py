"""What every resampler keeps to: ours, and those of the folders that VCMBENCH_PLUGINS names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.commands import compress, type_command
from tests.helpers.docs import example
from vcmbench.compress.decode import decode
from vcmbench.data import resampling
from vcmbench.data.dataset import read_picture
from vcmbench.execution.runner.local import LocalRunner

U8 = NDArray[np.uint8]
SIZES = ((160, 128), (159, 127), (80, 64), (41, 33), (1, 1))


def check(name: str, photograph: U8) -> None:
    height, width = photograph.shape[:2]
    for picture in (photograph, photograph[..., 1]):
        for wide, high in SIZES:
            small = resampling.down(name, picture, wide, high)  # refuses another shape or type, and says so
            large = resampling.up(name, small, width, height)
            assert np.array_equal(small, resampling.down(name, picture, wide, high)), f"{name}: down varies"
            assert np.array_equal(large, resampling.up(name, small, width, height)), f"{name}: up varies"
        even = np.full_like(picture, 90)
        back = resampling.up(name, resampling.down(name, even, 77, 50), width, height)
        assert np.abs(back.astype(int) - 90).max() <= 1, f"{name}: an even picture does not come back even"
        half = resampling.up(name, resampling.down(name, picture, width // 2, height // 2), width, height)
        error = np.mean((half.astype(float) - picture) ** 2)
        assert error < picture.var() / 4, f"{name}: half the size and back is another picture (mean square {error:.0f})"


@pytest.mark.parametrize("name", sorted(resampling.discover()))
def test_a_resampler_keeps_the_contract(name: str, astronaut: U8) -> None:
    check(name, astronaut)


CODING = '[[coding]]\nencoder = "{}"\nsubsampling_factor = [1.0, 0.5]\nresampler = "{}"\n'


def test_one_file_is_a_resampler(plugins: Path, photos: Path, astronaut: U8) -> None:
    example("adding-a-resampler.md", plugins)
    (plugins / "resamplers/wrong.py").write_text(
        "from vcmbench.data.resampling import Resampler\n\n\nclass Wrong(Resampler):\n"
        "    def down(self, picture, width, height):\n        return picture[:height, :width, 0]\n"
    )
    check("nearest", astronaut)
    config = photos.parent / "trial.toml"
    config.write_text('name = "trial"\n' + CODING.format("lossless", "nearest") + CODING.format("none", "wrong"))
    done = compress(photos, config)
    failed = [event["error"] for event in done.events if "error" in event]
    assert done.code == 1 and len(failed) == 2, done.err
    assert all("resampler 'wrong': down gives (128, 160) uint8, must give (128, 160, 3) uint8" in one for one in failed)
    found = {record["subsampling_factor"]: record for record in done.records() if record["encoder"] == "lossless"}
    assert "resampler" not in found[1.0] and found[0.5]["resampler"] == "nearest"
    assert "subsampling_factor=0.5, resampler=nearest" in found[0.5]["bitstream"]
    picture = read_picture(photos / f"{found[0.5]['sources'][0]['name']}.png").rgb
    (decoded,) = decode(found[0.5], photos, LocalRunner())
    assert np.array_equal(decoded, np.repeat(np.repeat(picture[::2, ::2], 2, axis=0), 2, axis=1))


def test_an_unknown_one_is_refused(photos: Path) -> None:
    config = photos.parent / "trial.toml"
    config.write_text('name = "trial"\n' + CODING.format("none", "magic"))
    done = type_command("compress", "-d", photos, "-s", config)
    assert done.code == 2
    assert "resampler 'magic': unknown; there are bicubic lanczos" in done.err
