"""Pixels on their way to encoders and back: what changes them makes jobs new, and all are compared by one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vcmbench import experiment
from vcmbench.compress import pixels
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.data import colour, frames, resampling
from vcmbench.encoder import plugins
from vcmbench.execution.runner.local import LocalRunner

CODINGS = [
    {"encoder": "x265", "quality": [32], "subsampling_factor": [1.0, 0.5]},
    {"encoder": "x264", "quality": [32], "color_subsampling": ["400"]},
    {"encoder": "jpeg", "quality": [30]},
]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    pixels.preparation.cache_clear()
    yield
    pixels.preparation.cache_clear()


def keys(photos: Path, codings: list[dict[str, Any]] = CODINGS) -> dict[str, str]:
    wanted = experiment.Experiment.model_validate({"name": "keys", "coding": codings})
    run = CompressRun(wanted, photos, LocalRunner(), CompressSettings())
    pixels.preparation.cache_clear()
    return {str(job.bitstream): job.key for job in run.jobs()}


def turned(module: Any, name: str, change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(module, name, change(getattr(module, name)))


def other_pad(pad: Any) -> Any:
    return lambda rgb, width, height: pad(rgb, width, height)[:, ::-1] if rgb.shape[:2] != (height, width) else rgb


@pytest.mark.parametrize(
    "change",
    [
        turned(colour, "_LUMA", lambda weights: (weights[1], weights[0], weights[2])),
        turned(colour, "_CB", lambda weights: tuple(-w for w in weights)),
        turned(frames, "pad", other_pad),
        turned(pixels.metadata, "version", lambda version: lambda name: version(name) + ".1"),
    ],
    ids=["luma", "chroma", "pad", "Pillow"],
)
def test_other_pixels_make_jobs_new(
    change: Callable[[pytest.MonkeyPatch], None], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(photos)
    assert keys(photos) == before
    change(monkeypatch)
    after = keys(photos)
    assert not {name for name in before if before[name] == after[name]}


def test_another_way_to_scale_makes_jobs_new(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(photos)
    kernel = type(resampling.get(resampling.DEFAULT))
    nearest = Image.Resampling.NEAREST
    monkeypatch.setattr(kernel, "down", lambda self, *rest: resampling.by_pillow(*rest, nearest))
    assert not set(before.values()) & set(keys(photos).values())


def test_a_forecast_makes_no_job_new(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates say where the search for a quality begins; what searches none has nothing to do with them."""
    (photos / "importance_map").mkdir()
    for name in "ab":
        np.save(photos / f"importance_map/{name}_importance.npy", np.eye(256, 320, dtype=np.float32))
    mapped = {"encoder": "x265", "quality": [32], "qp_map": {"delta": 6}}
    target = {"encoder": "x265", "target": {"bpp": 0.5}}

    def found() -> dict[str, str]:
        wanted = {
            "name": "keys",
            "importance": {"source": "files"},
            "coding": [mapped, {**mapped, "match": "rate"}, target],
        }
        run = CompressRun(experiment.Experiment.model_validate(wanted), photos, LocalRunner(), CompressSettings())
        return {str(job.bitstream): job.key for job in run.jobs()}

    before = found()
    monkeypatch.setattr(type(plugins.get("x265")), "search_rates", ((0, 4.0), (51, 0.01)))
    after = found()
    assert {name for name in before if before[name] != after[name]} == {name for name in before if "target_bpp" in name}


def test_keys_of_before_hold_where_pixels_do(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(photos)
    monkeypatch.setattr(pixels, "FIRST", ("", ""))
    named = keys(photos)
    assert set(before) == set(named) and not set(before.values()) & set(named.values())
    if pixels.metadata.version("pillow") == "13.0.0":
        monkeypatch.undo()
        assert pixels.preparation() == pixels.FIRST


@pytest.mark.parametrize("coding", [{"encoder": "none"}, {"encoder": "jpeg", "quality": [30]}])
def test_luma_of_smaller_pictures_is_enlarged_as_luma(coding: dict[str, Any], photos: Path) -> None:
    """With encoders that take R'G'B' as with those that take Y'CbCr, which have nothing else to enlarge."""
    wanted = experiment.Experiment.model_validate({"name": "half", "coding": [{**coding, "subsampling_factor": [0.5]}]})
    found: dict[str, Any] = {}
    run = CompressRun(wanted, photos, LocalRunner(), CompressSettings())
    run.execute(
        lambda state, job, record, error: found.update({record["sources"][0]["name"]: record} if record else {})
    )
    with Image.open(photos / found["a"]["bitstream"]) as small, Image.open(photos / "a.png") as picture:
        luma = Image.fromarray(colour.luma(np.asarray(small.convert("RGB"))))
        enlarged = np.asarray(luma.resize(picture.size, Image.Resampling.BICUBIC)).astype(float)
        error = enlarged - colour.luma(np.asarray(picture.convert("RGB")))
    assert found["a"]["psnr_y_db"] == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)), abs=1e-9)
