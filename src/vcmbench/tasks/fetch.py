"""Published weights: fetched once into the user's cache, checked against their checksum, and taken from there again."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from vcmbench.errors import RequestError

_TIMEOUT_S = 30.0
_CHUNK = 1 << 20
_MAX_BYTES = 1 << 34
_HASH_IN_NAME = re.compile(r"[-_]([0-9a-f]{8,64})\.(?:pth|pt|safetensors)$")


def cache_folder() -> Path:
    """Where fetched weights lie: `vcmbench/networks` in the user's cache."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no HOME, and a user that the system does not know
        raise RequestError("no folder for fetched weights: set HOME or XDG_CACHE_HOME") from None
    return base / "vcmbench" / "networks"


def checksum_in_name(url: str) -> str | None:
    """The first digits of a file's SHA-256 that its name ends in, as PyTorch's and mmsegmentation's zoos have it."""
    found = _HASH_IN_NAME.search(PurePosixPath(urlsplit(url).path).name)
    return found[1] if found else None


def weights(url: str, checksum: str, name: str | None = None) -> Path:
    """The file of a URL, whose SHA-256 begins with `checksum` (8 or more hex digits), as `name` in the cache.

    Raises RequestError where it is neither in the cache nor can be fetched, or is not what it should be.
    """
    path = cache_folder() / (name or PurePosixPath(urlsplit(url).path).name)
    if path.is_file():
        if not _sha256(path).startswith(checksum):
            raise RequestError(f"{path}: its SHA-256 does not begin with {checksum}; remove it, it is damaged")
        return path
    print(f"fetching {url}", file=sys.stderr, flush=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, checksum, path)
    except (OSError, ValueError) as error:  # urllib's errors are OSErrors, http.client's that are not are below
        raise _cannot(url, path, error) from None
    except Exception as error:
        if type(error).__module__.split(".")[0] != "http":
            raise
        raise _cannot(url, path, error) from None
    return path


def _cannot(url: str, path: Path, error: Exception) -> RequestError:
    reason = getattr(error, "reason", None) or error
    return RequestError(f"{url}: cannot be fetched ({reason}); where there is a network, fetch it and lay it at {path}")


def _fetch(url: str, checksum: str, path: Path) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("not an address of the web")
    digest = hashlib.sha256()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".fetch-", delete=False) as file:
        temporary = Path(file.name)
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310  # the scheme was checked
                while chunk := answer.read(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
                    if file.tell() > _MAX_BYTES:
                        raise ValueError(f"more than {_MAX_BYTES} bytes came")
            file.flush()
            if not digest.hexdigest().startswith(checksum):
                found = digest.hexdigest()[: len(checksum)]
                raise RequestError(f"{url}: what came has SHA-256 {found}..., not {checksum}...; nothing was kept")
            temporary.chmod(0o644)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
