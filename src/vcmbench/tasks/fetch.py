"""Published weights: fetched once into the user's cache, checked against their checksum, and taken from there again."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from vcmbench.io import fetch, resources

_HASH_IN_NAME = re.compile(r"[-_]([0-9a-f]{8,64})\.(?:pth|pt|safetensors)$")


def cache_folder() -> Path:
    """Where fetched weights lie: `vcmbench/networks` in the user's cache."""
    return resources.cache_folder() / "networks"


def checksum_in_name(url: str) -> str | None:
    """The first digits of a file's SHA-256 that its name ends in, as PyTorch's and mmsegmentation's zoos have it."""
    found = _HASH_IN_NAME.search(PurePosixPath(urlsplit(url).path).name)
    return found[1] if found else None


def weights(url: str, checksum: str, name: str | None = None) -> Path:
    """The file of a URL, whose SHA-256 begins with `checksum` (8 or more hex digits), as `name` in the cache.

    Raises RequestError where it is neither in the cache nor can be fetched, or is not what it should be.
    """
    return fetch.cached(url, cache_folder() / (name or PurePosixPath(urlsplit(url).path).name), checksum)
