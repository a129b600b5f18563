"""`vcmbench tasks`, and where a task is opened when nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest

from vcmbench import tasks
from vcmbench.cli import build_parser
from vcmbench.errors import RequestError
from vcmbench.execution.runner import images
from vcmbench.tasks import container_image, opening


def _type(*words: str) -> int:
    arguments = build_parser("tasks").parse_args(["tasks", *words])
    code: int = arguments.run(arguments)
    return code


@pytest.fixture
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")


def test_listing(no_engine: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert _type("list") == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert set(tasks.discover()) <= set(rows)
    assert " demo, demo-b " in rows["segmentation"]
    assert rows["local:"] == "local: ready"
    assert rows["docker:"].startswith("docker: no Docker engine answers")


def test_listing_the_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    assert _type("list", "--zoo", "fast_scnn") == 0
    assert "fast_scnn_8xb4-160k_cityscapes-512x1024  Cityscapes  to be fetched" in capsys.readouterr().out
    assert _type("list", "--zoo") == 0
    assert len(capsys.readouterr().out.splitlines()) > 500
    with pytest.raises(RequestError, match="no network of mmsegmentation's zoo has that in its name"):
        _type("list", "--zoo", "nosuch")


def test_building_without_an_engine(no_engine: None) -> None:
    with pytest.raises(RequestError, match="no Docker engine answers"):
        _type("build")


def test_the_image_follows_the_pins_and_not_our_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real, before = images.resources.folder, container_image.tag()
    (tmp_path / "requirements").mkdir()
    for name in ("base.txt", "metrics.txt"):
        (tmp_path / "requirements" / name).write_bytes((real("requirements") / name).read_bytes())
    monkeypatch.setattr(
        container_image.resources, "folder", lambda name: tmp_path / name if name == "requirements" else real(name)
    )
    container_image.tag.cache_clear()
    assert container_image.tag() == before
    with (tmp_path / "requirements/metrics.txt").open("a") as file:
        file.write("# another line\n")
    container_image.tag.cache_clear()
    assert container_image.tag() != before
    container_image.tag.cache_clear()
    assert set(container_image._context()) == {"Dockerfile", "requirements/base.txt", "requirements/metrics.txt"}


def test_the_same_context_is_the_same_bytes() -> None:
    """Else the engine would not know its own layers again."""
    context = container_image._context()
    assert container_image._as_tar(context) == container_image._as_tar(dict(reversed(context.items())))


def test_auto_is_local_where_it_can_be(monkeypatch: pytest.MonkeyPatch, no_engine: None) -> None:
    assert opening.where("auto") == "local"
    assert opening.where("docker") == "docker"
    monkeypatch.setattr(opening, "_NEEDS", ("torch", "no_such_package"))
    with pytest.raises(RequestError, match=r"need no_such_package, which .*or a container \(no Docker engine answers"):
        opening.where("auto")
    monkeypatch.setattr(images, "engine", lambda: None)
    monkeypatch.setattr(container_image, "image_id", lambda client: "sha256:0")
    assert opening.where("auto") == "docker"
    monkeypatch.setattr(container_image, "image_id", lambda client: None)
    with pytest.raises(RequestError, match="image not built; run: vcmbench tasks build"):
        opening.where("auto")
