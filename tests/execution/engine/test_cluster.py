"""Many processes do what one does: local clusters, and Dask workers that were started by separate commands."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vcmbench
from tests.helpers.clusters import Cluster, cluster, end, start, wait_until
from tests.helpers.commands import JPEG, X265, compress, tree, type_command
from tests.helpers.tools import faulty_ffmpeg

Write = Callable[..., Path]

GRID = (
    'encoder = "none"',
    JPEG,
    X265,
    'encoder = "x264"\nquality = [30]\nqp_map = { delta = 6 }\nmatch = "rate"',
    'encoder = "kvazaar"\nquality = [32]\nstacked = true',
)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "cluster") as made:
        yield made


def with_maps(root: Path) -> Path:
    """Importance maps of one's own for two photographs."""
    for letter in "ab":
        importance = np.zeros((256, 320), np.float32)
        importance[64:192, 80:240] = 1
        (root / "importance_map").mkdir(exist_ok=True)
        np.save(root / f"importance_map/{letter}_importance.npy", importance)
    return root


TIMES = {"encode_s", "decode_s", "encode_s_per_mpx"}


def results(root: Path) -> dict[str, Any]:
    """All that a run left, times aside: bitstreams and maps by their hashes, records and tables by what they say."""
    found: dict[str, Any] = {name: digest for name, digest in tree(root).items() if not name.startswith("results/")}
    for path in sorted(root.glob("results/*/records/**/*.json")):
        record = json.loads(path.read_text())
        (record.get("map") or {}).pop("filter_s", None)
        found[str(path)] = {name: value for name, value in record.items() if name not in TIMES}
    for path in root.glob("results/*/*.csv"):
        rows = list(csv.DictReader(path.open()))
        found[path.name] = [{name: value for name, value in row.items() if name not in TIMES} for row in rows]
    return found


def start_afresh(root: Path) -> None:
    for path in (root / "results", *root.glob("images_*"), *root.glob("cityscapes_*")):
        shutil.rmtree(path, ignore_errors=True)


def test_wherever_jobs_are_done_the_results_are_the_same(two: Cluster, photos: Path, write_experiment: Write) -> None:
    """Threads, processes of this machine, and two `dask worker` commands on a `dask scheduler`: byte for byte."""
    config = write_experiment(*GRID, head='[importance]\nsource = "files"\n')
    with_maps(photos)
    seen = []
    for words in ((), ("--jobs", 2), ("--scheduler", two.address)):
        start_afresh(photos)
        done = compress(photos, config, *words)
        assert done.code == 0, done.err
        assert [event["state"] for event in done.events] == ["done"] * 9
        seen.append(results(photos))
        again = compress(photos, config, *words)
        assert [event["state"] for event in again.events] == ["resumed"] * 9
    assert seen[0].keys() == seen[1].keys() == seen[2].keys()
    assert seen[0] == seen[1] == seen[2]
    assert not list((photos / "results/.leases").iterdir()), "nobody is at work any more"
    assert not list((photos / "results/.claims").iterdir())


def test_an_encode_never_takes_the_gpu_worker(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    log = 'echo $PPID >> "$HOME/parents"; exec "$real" "$@"'
    bins = faulty_ffmpeg(tmp_path / "bin", log)
    home = {**os.environ, "HOME": str(tmp_path)}
    config = write_experiment(X265.replace("[32]", "[30, 31, 32, 33]"))
    with cluster(tmp_path / "cluster", 0) as made:
        made.start_worker("--resources", "GPU=1", "--nanny", env=home)
        made.wait_for_workers(1)
        alone = compress(photos, config, "--scheduler", made.address, "--bin-dir", bins)
        assert alone.code == 2
        assert 'start a worker for them: dask worker ADDRESS --nthreads 1 --resources "CPU=1"' in alone.err
        made.start_worker("--resources", "CPU=1", "--no-nanny", env=home)
        made.wait_for_workers(2)
        done = compress(photos, config, "--scheduler", made.address, "--bin-dir", bins)
        assert done.code == 0, done.err
        parents = {int(line) for line in (tmp_path / "parents").read_text().split()}
        assert parents == {made.processes[-1].pid}, "without a nanny, the command is the worker"


def test_without_named_resources_any_worker_will_do(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    """A worker of two threads does two jobs at once, in one process."""
    with cluster(tmp_path / "cluster", 0) as made:
        made.start_worker("--nthreads", 2)
        made.wait_for_workers(1)
        done = compress(photos, write_experiment(X265, JPEG), "--scheduler", made.address)
        assert done.code == 0, done.err
        assert len(done.events) == 4


@pytest.mark.skipif(os.getuid() != 0, reason="another view of the disk needs root")
def test_a_worker_that_does_not_see_the_data_is_named(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    """A machine that has another folder at that path, or none."""
    config = write_experiment(JPEG)
    with cluster(tmp_path / "cluster", 1) as made:
        hidden = f'mount -t tmpfs tmpfs "{photos}" && mkdir "{photos}/results" && exec "$@"'
        made.start_worker(before=("unshare", "-m", "sh", "-c", hidden, "sh"))
        made.wait_for_workers(2)
        before = tree(photos)
        done = compress(photos, config, "--scheduler", made.address)
        assert done.code == 2
        assert "1 of 2 workers cannot work on this, nothing was started" in done.err
        assert "is not seen there: another folder of that name" in done.err
        assert {name for name in tree(photos) if not name.startswith("results/.")} == set(before)


def test_a_worker_with_another_vcmbench_is_named(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    source = Path(vcmbench.__file__).parent
    other = tmp_path / "other/vcmbench"
    shutil.copytree(source, other, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for name in ("encoders", "docker", "val_config"):
        shutil.copytree(source.parents[1] / name, other / "bundled" / name)
    changed = other / "compress/encode_job.py"
    changed.write_text(changed.read_text() + "# changed\n")
    with cluster(tmp_path / "cluster", 0) as made:
        made.start_worker(env={**os.environ, "PYTHONPATH": str(other.parent)})
        made.wait_for_workers(1)
        done = compress(photos, write_experiment(JPEG), "--scheduler", made.address)
    assert done.code == 2
    assert "vcmbench is another one there" in done.err


def test_a_worker_with_another_tool_fails_its_jobs_by_name(
    tmp_path: Path, photos: Path, write_experiment: Write
) -> None:
    """What it would make must not lie under the key of what was asked for."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    faulty_ffmpeg(ours, 'exec "$real" "$@"')
    faulty_ffmpeg(theirs, 'sleep 0; exec "$real" "$@"')
    with cluster(tmp_path / "cluster", 0) as made:
        made.start_worker(env={**os.environ, "PATH": f"{theirs}:{os.environ['PATH']}"})
        made.wait_for_workers(1)
        environment = {**os.environ, "PATH": f"{ours}:{os.environ['PATH']}"}
        done = compress(photos, write_experiment(X265), "--scheduler", made.address, env=environment)
    assert done.code == 1
    assert "ffmpeg: the worker has another one" in done.err
    assert not [name for name in tree(photos) if name.endswith((".265", ".265.json"))]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers there"),
        (["--scheduler", "nonsense"], "'nonsense': is no address such as tcp://host:8786"),
        (["--scheduler", "tcp://127.0.0.1:9", "--jobs", "2"], "not allowed with argument"),
    ],
)
def test_no_scheduler(photos: Path, write_experiment: Write, words: list[str], complaint: str) -> None:
    done = compress(photos, write_experiment(JPEG), *words)
    assert done.code == 2
    assert complaint in done.err
    assert "Traceback" not in done.err
    assert not list(photos.glob("images_*"))


@pytest.mark.parametrize("where", ["--jobs", "--scheduler"])
def test_ctrl_c_ends_tools_on_workers(where: str, tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    slow = faulty_ffmpeg(tmp_path / "bin", 'touch "$HOME/started"; exec sleep 600')
    home = {**os.environ, "HOME": str(tmp_path)}
    config = write_experiment(X265, JPEG)
    with cluster(tmp_path / "cluster", 0) as made:
        if where == "--scheduler":
            made.start_worker(env=home)
            made.wait_for_workers(1)
        place = made.address if where == "--scheduler" else "2"
        process = start(
            "compress", "-d", photos, "-s", config, "--runner", "local", "--bin-dir", slow, where, place, env=home
        )
        try:
            wait_until((tmp_path / "started").exists, why=lambda: str(process.poll()))
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            end(process)
        assert process.returncode == 130, err
        assert "interrupted: run the same command again to go on" in err
        assert not subprocess.run(["pgrep", "-f", str(slow / "ffmpeg")], capture_output=True).stdout
        assert "Traceback" not in err
        done = compress(photos, config, *((where, place) if where == "--scheduler" else ()))
        assert done.code == 0, "the cluster is there for the next run"


def test_help_tells_of_clusters() -> None:
    said = type_command("compress", "--help").out
    assert "--scheduler ADDRESS" in said
    assert "tcp://head:8786" in said
