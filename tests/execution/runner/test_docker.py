"""The docker runner against a real engine, with every image that can be built without upstream."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import numpy as np
import pytest

from tests.helpers.commands import JPEG, type_command
from vcmbench import experiment
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.encoder import plugins
from vcmbench.execution.runner import images
from vcmbench.execution.runner.docker import OWNER_LABEL, RUN_LABEL, DockerRunner
from vcmbench.io.files import is_alive

Write = Callable[..., Path]

# VVenC and JM come from upstream repositories that CI cannot reach; their images are built where a tarball lies.
BUILDABLE = [
    name
    for name in plugins.discover()
    if images.has_dockerfile(name)
    and (name not in {"vvenc", "jm"} or list((images.resources.folder("docker") / name / "source").glob("*.tar.gz")))
]

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module", autouse=True)
def built(engine: Any) -> Any:
    """All images, built by the command that users type; nothing is left behind at the end."""
    done = type_command("encoders", "build", *BUILDABLE)
    assert done.code == 0, done.err
    yield engine
    assert not left_behind(engine)


def owner(container: Any) -> int:
    """The process id of the run that a container belongs to."""
    return int(container.labels[OWNER_LABEL].split()[-1])


def containers(engine: Any, pid: int) -> list[Any]:
    """The containers of one run (others may use the same engine at the same time)."""
    listed = engine.containers.list(all=True, ignore_removed=True, filters={"label": RUN_LABEL})
    return [container for container in listed if owner(container) == pid]


def left_behind(engine: Any) -> list[Any]:
    listed = engine.containers.list(all=True, ignore_removed=True, filters={"label": RUN_LABEL})
    return [container for container in listed if owner(container) == os.getpid() or not is_alive(owner(container))]


def test_a_second_build_costs_nothing(built: Any) -> None:
    before = {name: images.image_id(built, name) for name in BUILDABLE}
    again = type_command("encoders", "build", "--verbose", *BUILDABLE)
    assert again.code == 0
    steps = [line for line in again.err.splitlines() if line.startswith("Step ")]
    assert steps
    outside = [step for step in steps if " : FROM " in step or " : ARG BASE" in step]
    assert again.err.count("---> Using cache") == len(steps) - len(outside)
    assert {name: images.image_id(built, name) for name in BUILDABLE} == before


def test_images_say_what_they_are(built: Any) -> None:
    for name in BUILDABLE:
        image = built.images.get(images.tag(name))
        assert image.labels["vcmbench.encoder"] == name
        assert image.labels["vcmbench.source"]
        assert image.attrs["Config"]["User"] not in ("", "0", "root")


def test_listing_and_testing(built: Any) -> None:
    listed = type_command("encoders", "list")
    assert listed.code == 0
    for name in BUILDABLE:
        line = next(line for line in listed.out.splitlines() if line.startswith(f"{name} "))
        assert line.split("  ")[-1].strip() == "built"
    tested = type_command("encoders", "test", "--runner", "docker", *BUILDABLE)
    assert tested.code == 0, tested.out
    assert tested.out.count(": ok: ") == len(BUILDABLE)


def test_the_photos_experiment_in_containers(photos: Path, write_experiment: Write) -> None:
    """The photos experiment for every image: more bits always give more PSNR, and the second run does nothing."""
    shipped = {coding.encoder: coding for coding in experiment.load("photos").coding}
    codings = [f'encoder = "{name}"\nquality = {shipped[name].quality}' for name in BUILDABLE if name in shipped]
    codings += [f'encoder = "{name}"\nquality = [27, 37]' for name in BUILDABLE if name not in shipped]
    config = write_experiment(*codings)
    words = ("compress", "-d", photos, "-s", config, "--runner", "docker", "--json")
    first = type_command(*words)
    assert first.code == 0, first.err
    curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for record in first.records():
        assert record["runner"] == "docker"
        assert record["image_digest"] == record["tool"]["encode"]["digest"]
        assert record["image_digest"].startswith("sha256:")
        curve = curves.setdefault((record["encoder"], record["sources"][0]["name"]), [])
        curve.append((record["size_bytes"], record["psnr_y_db"]))
        if record["encoder"] in ("x264", "x265", "kvazaar", "hm"):
            assert record["coded_qp"] == record["quality"]
    assert len(curves) == 2 * len(BUILDABLE)
    for curve in curves.values():
        psnrs = [psnr for _, psnr in sorted(curve)]
        assert psnrs == sorted(set(psnrs))
    second = type_command(*words)
    assert {event["state"] for event in second.events} == {"resumed"}


def test_every_chroma_format_and_stacks_in_containers(streets: Path, write_experiment: Write) -> None:
    codings = []
    for name in BUILDABLE:
        one = plugins.get(name)
        quality = f"quality = [{30 if one.quality and one.quality.better == 'low' else 60}]"
        codings.append(f'encoder = "{name}"\n{quality}\ncolor_subsampling = {list(one.chroma)}')
        if one.stackable:
            codings.append(f'encoder = "{name}"\n{quality}\nstacked = true')
    config = write_experiment(*codings, head="[dataset]\nlimit = 3\n")
    done = type_command("compress", "-d", streets, "-s", config, "--runner", "docker", "--json")
    assert done.code == 0, done.err
    for name in BUILDABLE:
        psnrs = [r["psnr_y_db"] for r in done.records() if r["encoder"] == name and not r["stacked"]]
        assert max(psnrs) - min(psnrs) < 3, name
        assert min(psnrs) > 30, name


def test_maps_are_obeyed_in_containers(photos: Path, write_experiment: Write) -> None:
    """Every image, its encoder's own way to spend bits unevenly, at equal rate: a quarter of a photograph matters."""
    for letter in "ab":
        importance = np.zeros((256, 320), np.float32)
        importance[64:192, 80:240] = 1
        (photos / "importance_map").mkdir(exist_ok=True)
        np.save(photos / f"importance_map/{letter}_importance.npy", importance)
    codings = []
    for name in BUILDABLE:
        quality = {"svtav1": 35, "jpeg": 40}.get(name, 30)
        codings.append(f'encoder = "{name}"\nquality = [{quality}]\nqp_map = {{ delta = 6 }}\nmatch = "rate"')
    config = write_experiment(*codings, head='[importance]\nsource = "files"\n')
    done = type_command("compress", "-d", photos, "-s", config, "--runner", "docker", "--json")
    assert done.code == 0, done.err
    gains: dict[str, list[float]] = {name: [] for name in BUILDABLE}
    for record in done.records():
        assert record["rate_search"]["is_equal"], record["rate_search"]
        mapped, uniform = record["region"], record["uniform"]["region"]
        gains[record["encoder"]].append(mapped["psnr_y_inside_db"] - uniform["psnr_y_inside_db"])
        assert record["evidence"]
        is_noted = any("`uniform` is coded by SvtAv1EncApp" in note for note in record.get("notes", []))
        assert is_noted == (record["encoder"] == "svtav1"), "without a map it is FFmpeg's"
    least = {"x264": 2.0, "x265": 2.0, "kvazaar": 2.0, "svtav1": 1.0, "jpeg": 0.7, "hm": 0.0}
    for name, found in gains.items():
        assert len(found) == 2
        assert float(np.mean(found)) >= least[name], (name, found)


def test_local_and_docker_give_the_same_jpeg(photos: Path, write_experiment: Write) -> None:
    """libjpeg-turbo's cjpeg and the copy inside Pillow: other builds of one library, the same picture."""
    config = write_experiment('encoder = "jpeg"\nquality = [10, 50, 90]')
    psnrs = {}
    for runner in ("local", "docker"):
        done = type_command("compress", "-d", photos, "-s", config, "--runner", runner, "--json", "--force")
        psnrs[runner] = {r["bitstream"]: r["psnr_y_db"] for r in done.records()}
    assert psnrs["local"] == pytest.approx(psnrs["docker"], abs=0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_container_outlives_its_run(
    number: signal.Signals, built: Any, photos: Path, write_experiment: Write
) -> None:
    """Ctrl-C kills them by label; a run that is killed -9 leaves none running, since they end with its open socket."""
    config = write_experiment('encoder = "hm"\nquality = [0, 1, 2, 3, 4, 5, 6, 7, 8]', JPEG)
    words = ["compress", "-d", photos, "-s", config, "--runner", "docker"]
    type_command(*words, "--dry-run")  # asks the images for their tools, in containers that end by themselves
    process = subprocess.Popen(
        [sys.executable, "-m", "vcmbench", *words],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not any(c.status == "running" for c in containers(built, process.pid)):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()[1]
            os.sched_yield()
        process.send_signal(number)
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == (130 if number == signal.SIGINT else -9)
    deadline = time.monotonic() + 20
    while any(c.status == "running" for c in containers(built, process.pid)):
        assert time.monotonic() < deadline
        os.sched_yield()
    again = type_command("compress", "-d", photos, "-s", config, "--runner", "docker", "--encoder", "jpeg", "--json")
    assert again.code == 0, again.err
    assert not list(photos.glob("results/.tmp/*"))
    assert not containers(built, process.pid), "the next run removed what had been made but not started"


def test_a_container_that_ends_underneath_costs_no_job(built: Any, photos: Path, write_experiment: Write) -> None:
    """The worker starts another container, and does the job again there. A tool that is killed at its memory limit
    looks the same at first (exit code 137); there, the shell beside it is left to say so."""
    loaded = experiment.load(str(write_experiment('encoder = "hm"\nquality = [22]')))
    run = CompressRun(loaded, photos, DockerRunner(), CompressSettings(jobs=1))
    tool = plugins.get("hm").encode_tools[0].program
    killed: list[str] = []

    def kill_often(stop: threading.Event) -> None:
        while not stop.wait(0.05):
            for container in containers(built, os.getpid()):
                if len(killed) < 2 and container.id not in killed and tool in _processes(container):
                    with suppress(docker.errors.APIError):  # it ended by itself
                        container.kill()
                        killed.append(container.id)

    stop = threading.Event()
    killer = threading.Thread(target=kill_often, args=(stop,))
    killer.start()
    try:
        outcome = run.execute(lambda *_: None)
    finally:
        stop.set()
        killer.join()
    assert len(killed) == 2
    assert (outcome.done, outcome.failed) == (2, [])


def _processes(container: Any) -> str:
    try:
        return str(container.top())
    except docker.errors.APIError:  # it does not run
        return ""


def test_an_image_that_is_not_built(photos: Path, write_experiment: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "tag", lambda name: f"vcmbench/{name}:nosuch")
    runner = DockerRunner()
    one = plugins.get("jpeg")
    assert runner.find(one, one.encode_tools) is None, "Pillow must not stand in for the image in silence"
    assert "image not built; run: vcmbench encoders build jpeg" in runner.missing(one, one.encode_tools)


def test_auto_takes_docker_where_all_images_are_there(photos: Path, write_experiment: Write) -> None:
    done = type_command("compress", "-d", photos, "-s", write_experiment(JPEG), "--dry-run")
    assert "runner: docker (an engine answers and every image is built)" in done.err
    none = type_command("compress", "-d", photos, "-s", write_experiment('encoder = "none"'), "--dry-run")
    assert "runner: local (none of these encoders comes in a container)" in none.err


def test_auto_keeps_to_the_runner_of_what_is_there(photos: Path, write_experiment: Write, tmp_path: Path) -> None:
    """Else an engine that comes or goes would make it do everything again."""
    config = write_experiment(JPEG)
    words = ("compress", "-d", photos, "-s", config, "--json")
    type_command(*words, "--runner", "local")
    again = type_command(*words)
    assert "runner: local (as the results that are there)" in again.err
    assert {event["state"] for event in again.events} == {"resumed"}
    assert {event["state"] for event in type_command(*words, "--runner", "docker").events} == {"done"}
    without = type_command(*words, env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/no.sock"})
    assert without.code == 2
    assert "made by the docker runner, which cannot go on now (no Docker engine answers" in without.err


def test_without_an_engine(photos: Path, write_experiment: Write, tmp_path: Path) -> None:
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/no.sock"}
    config = write_experiment(JPEG)
    asked = type_command("compress", "-d", photos, "-s", config, "--runner", "docker", env=environment)
    assert asked.code == 2
    assert "no Docker engine answers" in asked.err
    auto = type_command("compress", "-d", photos, "-s", config, env=environment)
    assert auto.code == 0
    assert "runner: local (no Docker engine answers" in auto.err
