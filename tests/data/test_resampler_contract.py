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
from vcmbench.experiment import Experiment
from vcmbench.measure.outcome import asked

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


@pytest.mark.parametrize(
    ("coding", "complaint"),
    [
        (CODING.format("none", "magic"), "resampler 'magic': unknown; there are bicubic lanczos"),
        (CODING.format("none", "lanczos").replace(", 0.5", ""), "'lanczos': has nothing to do at subsampling_factor 1"),
    ],
)
def test_what_would_do_nothing_is_refused(photos: Path, coding: str, complaint: str) -> None:
    config = photos.parent / "trial.toml"
    config.write_text(f'name = "trial"\n{coding}')
    done = type_command("compress", "-d", photos, "-s", config)
    assert done.code == 2
    assert complaint in done.err


def test_a_resampler_that_was_changed_decodes_nothing_as_if_it_were_the_same(plugins: Path, photos: Path) -> None:
    path = example("adding-a-resampler.md", plugins)
    config = photos.parent / "trial.toml"
    config.write_text('name = "trial"\n' + CODING.format("none", "nearest"))
    assert compress(photos, config).code == 0
    path.write_text(path.read_text() + "# faster\n")
    (record,) = (photos / "results/trial/records").glob("*nearest*/a.ppm.json")
    done = type_command("decode", record, "-o", photos.parent / "a.png", "--runner", "local")
    assert done.code == 1
    assert "resampler 'nearest': its file was changed since this was coded; run the experiment again" in done.err
    assert [event["state"] for event in compress(photos, config).events].count("done") == 2


def test_what_was_measured_before_there_were_resamplers_counts() -> None:
    def tables(**more: object) -> dict[str, object]:
        coding = {"encoder": "none", "subsampling_factor": [0.5], **more}
        (found,) = asked(Experiment.model_validate({"name": "trial", "coding": [coding]}))["coding"]
        return dict(found)

    assert "resampler" not in tables() and tables(resampler="lanczos")["resampler"] == "lanczos"
