"""The encoders' container images: their tags, their state, and how they are built."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vcmbench.errors import RequestError
from vcmbench.io import resources
from vcmbench.io.plugins import user_folders

if TYPE_CHECKING:
    import docker

TIMEOUT_S = 60
BASE = "debian:trixie-slim"
_SOURCE_FILE = "/usr/local/share/vcmbench/source.txt"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def engine(timeout_s: int | None = None) -> docker.DockerClient:
    """A client of the running engine. It waits at most `timeout_s` (a minute) for an answer, but for a command in a
    container as long as that runs. Raises RequestError where no engine answers."""
    # imported here: a local run needs no Docker, and the import costs a tenth of a second
    import docker

    try:
        client = docker.from_env(timeout=TIMEOUT_S if timeout_s is None else timeout_s)
        client.ping()
    except Exception as error:  # the SDK lets errors of requests, urllib3 and the socket layer through
        raise RequestError(f"no Docker engine answers: {_short(error)}; start it, or use --runner local") from None
    return client


def is_engine_fault(error: BaseException) -> bool:
    """Whether an exception comes out of the Docker SDK, or of what it stands on."""
    return type(error).__module__.split(".")[0] in {"docker", "requests", "urllib3"}


def _short(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) < 200 else text[:200] + "..."


def _context(encoder: str) -> Path:
    """Where the image's Dockerfile lies, or would: in `docker/`, or beside a user's own encoders."""
    folders = [folder / encoder for folder in (resources.folder("docker"), *user_folders("docker"))]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def has_dockerfile(encoder: str) -> bool:
    return (_context(encoder) / "Dockerfile").is_file()


def _context_files(context: Path) -> list[Path]:
    return sorted(path for path in context.rglob("*") if path.is_file())


@cache
def tag(encoder: str) -> str:
    """The image's name: `vcmbench/<encoder>:<hash of its build context>`, so a changed Dockerfile is another image."""
    context = _context(encoder)
    digest = hashlib.sha256()
    for path in _context_files(context):
        digest.update(f"{path.relative_to(context)} {path.stat().st_size}\n".encode())
        # a tarball under source/ may be large: its name and size stand for it
        if path.stat().st_size < 1 << 20:
            digest.update(path.read_bytes())
    return f"vcmbench/{encoder}:{digest.hexdigest()[:12]}"


def image_id(client: docker.DockerClient, encoder: str) -> str | None:
    """The id of the encoder's image as it would be built now; None where it is not built."""
    import docker

    try:
        return str(client.images.get(tag(encoder)).id)
    except docker.errors.ImageNotFound:
        return None


def built(client: docker.DockerClient) -> Iterator[str]:
    """The ids of the images that are here: the encoders', as they would be built now, and the tasks', newest first."""
    names = {path.parent.name for folder in (resources.folder("docker"), *user_folders("docker"))
             for path in folder.glob("*/Dockerfile")}  # fmt: skip
    yield from (image for name in sorted(names) if (image := image_id(client, name)) is not None)
    yield from (str(image.id) for image in client.images.list(filters={"label": "vcmbench.task"}))


def build(
    client: docker.DockerClient, encoder: str, base: str, arguments: dict[str, str], log: Callable[[str], None]
) -> str:
    """Build an encoder's image and return its id. `log` gets the build's lines. Raises RequestError with the reason."""
    lines = run_build(client, encoder, base, log, arguments, path=str(_context(encoder)), tag=tag(encoder))
    built = image_id(client, encoder)
    if built is None:
        raise RequestError(f"{encoder}: the build ended without an image; its last lines:\n" + "\n".join(lines[-8:]))
    return _labelled(client, encoder, built)


def run_build(
    client: docker.DockerClient, name: str, base: str, log: Callable[[str], None], arguments: dict[str, str],
    **context: Any,
) -> list[str]:  # fmt: skip
    """Run a build of what `context` says (`path` or `fileobj`, `tag`) and return its lines, each of which `log` gets,
    too. Raises RequestError with the reason."""
    import docker

    lines: list[str] = []
    try:
        buildargs = {"BASE": base, **arguments}
        for event in client.api.build(buildargs=buildargs, rm=True, forcerm=True, decode=True, **context):
            _follow(event, lines, log)
    except docker.errors.APIError as error:
        why = f"{name}: the image cannot be built: {error.explanation or error}"
        raise RequestError(f"{why}{_without_base(client, base)}") from None
    except RequestError as error:
        raise RequestError(f"{error}{_without_base(client, base)}") from None
    return lines


def _without_base(client: docker.DockerClient, base: str) -> str:
    """What to do where a build failed for want of its base image; nothing where that is there."""
    import docker

    try:
        client.images.get(base)
    except docker.errors.APIError:
        return (
            f"\nthe base image {base} is not here, and no registry gave it: name another Debian 13 image with --base, "
            "or make it from this machine's apt sources: sudo sh docker/base.sh"
        )
    return ""


def _labelled(client: docker.DockerClient, encoder: str, image: str) -> str:
    """Put on an image's labels what it was built from, and return its id.

    Only the build itself knows what lay there, and which commit a tag resolved to; it leaves both in `_SOURCE_FILE`.
    """
    output = client.containers.run(image, ["cat", _SOURCE_FILE], remove=True, network_mode="none")
    labels = source_labels(encoder, output.decode(errors="replace"))
    if labels.items() <= client.images.get(image).labels.items():
        return image
    again = io.BytesIO(f"FROM {image}\n".encode())
    client.images.build(fileobj=again, tag=tag(encoder), labels=labels, rm=True, forcerm=True)
    return str(client.images.get(tag(encoder)).id)


def source_labels(encoder: str, sources: str) -> dict[str, str]:
    """The labels of an image that was built from upstream, by the lines of its `_SOURCE_FILE`, which may speak of a
    decoder, too: what it was built from, and its commit, empty where a tarball has none. {} for other images."""
    found = re.search(rf"^upstream:{re.escape(encoder)} (.+) commit:(\S+)$", sources, re.MULTILINE)
    if found is None:
        return {}
    commit = found[2] if re.fullmatch("[0-9a-f]{40}", found[2]) else ""
    return {"vcmbench.source": f"upstream:{encoder}={found[1]}", "vcmbench.commit": commit}


def _follow(event: dict[str, Any], lines: list[str], log: Callable[[str], None]) -> None:
    for line in _COLOURS.sub("", str(event.get("stream", ""))).splitlines():
        if line.strip():
            lines.append(line)
            log(line)
    if "error" in event:
        # what a command printed; the engine's own message would repeat the whole of the command
        said = [line for line in lines if not line.startswith(("Step ", " --->", "Removing "))][-6:]
        raise RequestError("the build failed:\n    | " + "\n    | ".join(said or [str(event["error"])]))
