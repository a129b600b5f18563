"""`vcmbench demo`, in the checkout and from a wheel in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.helpers.commands import type_command
from tests.helpers.paths import CHECKOUT


def test_demo_ends_with_tables_and_paths(tmp_path: Path) -> None:
    done = type_command(
        "demo",
        "-o",
        tmp_path / "demo",
        "--scenes",
        1,
        "--drives",
        1,
        "--frames",
        8,
        "--width",
        256,
        "--runner",
        "local",
    )
    assert done.code == 0, done.err
    header = done.out.splitlines()[0]
    for column in ("encoder", "quality", "bpp", "PSNR-Y dB", "enc s", "dec s"):
        assert column in header
    for name in ("LOSSLESS", "JPEG", "x264", "x265", "KVAZAAR", "SVTAV1", "VVENC"):
        assert sum(line.startswith(f"{name} ") for line in done.out.splitlines()) >= 1
    assert str(tmp_path / "demo/photos/results/photos/compression.csv") in done.err
    assert "mapped against uniform at equal rate" in done.out
    assert str(tmp_path / "demo/data/results/importance/equal_rate.csv") in done.err
    reports = [tmp_path / f"demo/data/results/{name}/report.html" for name in ("demo_video", "demo")]
    lines = done.err.splitlines()
    assert [line for line in lines if line.startswith("report: ")] == [f"report: {report}" for report in reports]
    assert lines[-1] == f"report: {reports[-1]}"
    assert all(report.stat().st_size > 100_000 for report in reports)
    assert len(list((tmp_path / "demo/data/importance_map").rglob("*_distance_annotation.png"))) == 3


def test_demo_leaves_other_peoples_data_alone(tmp_path: Path) -> None:
    (tmp_path / "data/cityscapes/leftImg8bit").mkdir(parents=True)
    done = type_command("demo", "-o", tmp_path)
    assert done.code == 2
    assert "data that the demo did not make" in done.err
    (tmp_path / "file").write_text("")
    done = type_command("demo", "-o", tmp_path / "file" / "below")
    assert done.code == 2
    assert "Traceback" not in done.err


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with the wheel in it, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, CHECKOUT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "venv"
    venv.create(environment)
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin/python"]
    pip += ["--disable-pip-version-check", "--quiet", "install", "--no-compile"]
    subprocess.run(
        [*pip, "--require-hashes", "-r", CHECKOUT / "requirements/base.txt"], check=True, capture_output=True
    )
    subprocess.run([*pip, "--no-deps", wheel], check=True, capture_output=True)
    return environment / "bin"


def test_the_wheel_works_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [installed / "vcmbench", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    demo = run("demo", "--scenes", "1", "--drives", "0", "--width", "256", "--runner", "local")
    assert demo.returncode == 0, demo.stderr
    assert (tmp_path / "vcmbench-demo/data/results/demo/compression.csv").is_file()
    listed = run("encoders", "list")
    assert "x265" in listed.stdout
    plan = run("compress", "-d", "vcmbench-demo/data", "-s", "qomex2023", "--dry-run", "--runner", "local")
    assert "176 coding configurations" in plan.stdout
    package = next(installed.parent.glob("lib/python*/site-packages/vcmbench/bundled"))
    for name in ("docker/x265/Dockerfile", "docker/jm/source/README.md", "docker/base.sh", "val_config/quick.toml"):
        assert (package / name).is_file()
