"""The tasks' container image: its name, its state, and its build from docker/tasks and the pinned requirements."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from vcmbench.errors import RequestError
from vcmbench.execution.runner import images
from vcmbench.io import resources

if TYPE_CHECKING:
    import docker

NAME = "tasks"
_REQUIREMENTS = ("base.txt", "metrics.txt")


def _context() -> dict[str, bytes]:
    """The build's context: what lies in docker/tasks, and the requirements that the project itself is installed by."""
    folder = resources.folder("docker") / NAME
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    requirements = resources.folder("requirements")
    return files | {f"requirements/{name}": (requirements / name).read_bytes() for name in _REQUIREMENTS}


@cache
def tag() -> str:
    """`vcmbench/tasks:<hash of the build's context>`: other pins are another image, other code of ours is not."""
    digest = hashlib.sha256()
    for name, data in sorted(_context().items()):
        digest.update(f"{name} {len(data)}\n".encode() + data)
    return f"vcmbench/{NAME}:{digest.hexdigest()[:12]}"


def image_id(client: docker.DockerClient) -> str | None:
    """The id of the image as it would be built now; None where it is not built."""
    import docker

    try:
        return str(client.images.get(tag()).id)
    except docker.errors.ImageNotFound:
        return None


def why_not_ready(client: docker.DockerClient) -> str | None:
    """What is to be done before a task can run in a container; None where nothing is."""
    return None if image_id(client) else "image not built; run: vcmbench tasks build"


def build(client: docker.DockerClient, base: str, log: Callable[[str], None]) -> str:
    """Build the image and return its id; `log` gets the build's lines. Raises RequestError with the reason."""
    context = io.BytesIO(_as_tar(_context()))
    lines = images.run_build(client, NAME, base, log, {}, fileobj=context, custom_context=True, tag=tag())
    built = image_id(client)
    if built is None:
        raise RequestError(f"{NAME}: the build ended without an image; its last lines:\n" + "\n".join(lines[-8:]))
    return built


def _as_tar(files: dict[str, bytes]) -> bytes:
    """A tar with the same bytes for the same files, so that the engine's cache knows it again."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()
