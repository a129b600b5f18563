"""Pictures measured by Dask workers that were started by separate commands: what comes out is the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import videos
from tests.helpers.clusters import Cluster, cluster
from tests.helpers.measuring import (
    CONFIGURATIONS,
    PICTURES,
    Results,
    compressed,
    copy,
    counts,
    measure,
    once,
    typed,
    write_toml,
)

ALL = CONFIGURATIONS * PICTURES


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), 2, "--resources", "CPU=1") as made:
        yield made


def content(results: Results) -> dict[str, Any]:
    """Predictions by their bytes, scores by what they say; floats to six digits (see docs/cluster.md)."""
    found: dict[str, Any] = {}
    for folder in ("P_GT", "P_hat_C"):
        for path in sorted((results.root / folder).rglob("*.png")):
            found[str(path.relative_to(results.root))] = path.read_bytes()
    for path in sorted((results.folder / "scores").rglob("*.json")):
        found[str(path.relative_to(results.root))] = rounded(json.loads(path.read_text()))
    return found


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return round(value, 5) if isinstance(value, float) else value


def test_two_workers_find_out_what_one_process_does(
    workers: Cluster, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = once(tmp_path_factory) / "trial.toml"
    expected = copy(tmp_path_factory, tmp_path / "here")
    far = copy(tmp_path_factory, tmp_path / "far")
    before = content(expected)
    far.remove("P_GT", "P_hat_C", "results/trial/scores")
    words = ("metrics", "-d", far.root, "-s", config, "--runner", "local", "--gpu", "none", "--json", "--no-report")
    done = typed(*words, "--scheduler", workers.address)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["done"], told["resumed"], told["failed"]) == (ALL, 0, [])
    assert content(far) == before
    again = json.loads(typed(*words, "--scheduler", workers.address).out)
    assert (again["done"], again["resumed"], again["failed"]) == (0, ALL, [])


def test_a_picture_that_fails_there_is_named_here(
    workers: Cluster, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = once(tmp_path_factory) / "trial.toml"
    far = copy(tmp_path_factory, tmp_path / "far")
    far.remove("results/trial/scores")
    bitstream = next(path for path in far.root.rglob("*.jpg") if "JPEG" in str(path))
    bitstream.write_bytes(bitstream.read_bytes()[:-1])
    done = typed("metrics", "-d", far.root, "-s", config, "--runner", "local", "--gpu", "none", "--json",
                        "--no-report", "--scheduler", workers.address)  # fmt: skip
    assert done.code == 1
    told = json.loads(done.out)
    assert told["done"] == ALL - 1
    assert len([title for title, _ in told["failed"] if "JPEG" in title]) == 1
    assert "its record says" in done.err
    assert "Traceback" not in done.err


def test_workers_measure_sequences_frame_by_frame(workers: Cluster, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    config = write_toml(tmp_path, 'encoder = "x264"\nquality = [27, 42]\nstructure = "lowdelay"',
                        head='[metrics]\niqa = ["PSNR"]\nlevels = ["image"]\n')  # fmt: skip
    for name in ("a.mp4", "b.mp4"):
        videos.write(tmp_path / "clips" / name, pictures=[videos.numbered(ord(name[0]) + one) for one in range(6)])
    compressed(tmp_path / "clips", config)
    assert counts(measure(tmp_path / "clips", config, "--scheduler", workers.address)) == (24, 0, 0)
    far = content(Results(tmp_path / "clips"))
    assert counts(measure(tmp_path / "clips", config, "--force")) == (24, 0, 0)
    assert content(Results(tmp_path / "clips")) == far and len(far) == 24
