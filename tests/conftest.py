"""Shared ground of the tests: real photographs, command lines as users type them, and a real Docker engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.paths import PHOTOGRAPHS
from tests.helpers.pictures import save
from tests.helpers.web import Web, serving
from vcmbench.io.plugins import VARIABLE

# What takes an engine, a browser, a cluster's processes, a network with weights, or kills runs: `make test FAST=1` does
# without. By folder or file, so that a new test has nothing to say.
SLOW = (
    "compress/test_compress", "compress/test_decode", "compress/test_faults", "compress/test_maps.py",
    "compress/test_maps_over_time", "compress/test_refined", "compress/test_reliability", "compress/test_sequences",
    "compress/forecast", "demo", "execution", "hostile", "importance/test_importance_command",
    "importance/test_predictor", "iqa", "measure", "report/test_report_in_browser", "tasks", "test_benchmarks",
)  # fmt: skip

# a busy machine makes no example slow enough to fail
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).as_posix().startswith(SLOW):
            item.add_marker("slow")


def pytest_configure(config: pytest.Config) -> None:
    # Probes of binaries are remembered in the user's cache; tests, with their faulty binaries, have one of their own.
    os.environ["XDG_CACHE_HOME"] = str(Path(config.rootpath) / ".pytest_cache" / "probes")


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    """A real photograph, (256, 320, 3) uint8 RGB: a detailed part of it."""
    with Image.open(PHOTOGRAPHS / "astronaut.png") as image:
        return np.asarray(image.convert("RGB"))[:256, 100:420].copy()


@pytest.fixture
def photos(tmp_path: Path, astronaut: NDArray[np.uint8]) -> Path:
    """A flat data root with two photographs."""
    root = tmp_path / "photos"
    save(root / "a.png", astronaut)
    save(root / "b.png", astronaut[:, ::-1])
    return root


@pytest.fixture
def streets(tmp_path: Path, astronaut: NDArray[np.uint8]) -> Path:
    """A data root in Cityscapes layout: two cities, three and two pictures of one size."""
    root = tmp_path / "data"
    for city, count in (("frankfurt", 3), ("lindau", 2)):
        for i in range(count):
            name = f"{city}_{i:06}_000019_leftImg8bit.png"
            save(root / "cityscapes/leftImg8bit/val" / city / name, np.roll(astronaut, 16 * i, axis=1)[:128, :192])
    (root / "cityscapes/gtFine/val").mkdir(parents=True)
    (root / "cityscapes/val.txt").write_text("frankfurt/frankfurt_000000_000019\n")
    return root


@pytest.fixture
def write_experiment(tmp_path: Path) -> Callable[..., Path]:
    """Writes an experiment from lines of TOML and returns its path."""

    def write(*codings: str, name: str = "trial", head: str = "") -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(f'name = "{name}"\n{head}\n' + "".join(f"[[coding]]\n{coding}\n" for coding in codings))
        return path

    return write


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of plugins, in which `encoders/x.py` and the like are found, also by other processes."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


@pytest.fixture
def encoders_folder(plugins: Path) -> Path:
    """Where that user's encoders lie."""
    folder = plugins / "encoders"
    folder.mkdir()
    return folder


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server on this machine, reached without a proxy; what is fetched is kept in `tmp_path/cache`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def engine() -> Any:
    """A client of a real engine. Without one: skip on a user's machine, fail where VCMBENCH_REQUIRE_DOCKER is set."""
    from vcmbench.errors import RequestError
    from vcmbench.execution.runner import images

    try:
        client = images.engine()
        client.images.get(images.BASE)
    except Exception as error:
        reason = f"needs a Docker engine with the image {images.BASE}: {error}"
        if os.environ.get("VCMBENCH_REQUIRE_DOCKER"):
            pytest.fail(reason)
        assert isinstance(error, RequestError) or "ImageNotFound" in type(error).__name__
        pytest.skip(reason)
    return client
