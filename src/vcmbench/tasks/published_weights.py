"""The published weights of a classifier: from where timm and torchvision say, with the checksum given there."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from vcmbench.errors import RequestError
from vcmbench.io.fetch import headers
from vcmbench.tasks import fetch

_HUB = "https://huggingface.co"
_FILE = "model.safetensors"
_CHECKSUM = re.compile(r"[0-9a-f]{64}")


def of_torchvision(name: str) -> Path:
    """The default weights of a torchvision model. Raises RequestError where they cannot be had."""
    from torchvision import models

    return _from_address(f"torchvision/{name}", str(models.get_model_weights(name).DEFAULT.url))


def of_timm(name: str) -> Path:
    """The weights that timm has for a model. Raises RequestError where they cannot be had."""
    import timm

    try:
        about: Any = timm.get_pretrained_cfg(name)
    except Exception as error:  # what it raises over an unknown tag differs between its versions
        raise RequestError(f"model {name!r}: {error}") from None
    if about is not None and about.url and fetch.checksum_in_name(about.url):
        return _from_address(name, about.url)
    if about is not None and about.hf_hub_id:
        return _from_hub(name, about.hf_hub_id)
    raise RequestError(f"model {name!r}: has no published weights; give a checkpoint")


def _from_address(model: str, url: str) -> Path:
    checksum = fetch.checksum_in_name(url)
    if checksum is None:
        raise RequestError(f"model {model!r}: its address {url} has no checksum; fetch it and give it as checkpoint")
    return fetch.weights(url, checksum)


def _from_hub(model: str, repository: str) -> Path:
    """From the model hub, which reports the SHA-256 of a large file beside its address; kept under that name."""
    stem = repository.replace("/", "--")
    kept = sorted(fetch.cache_folder().glob(f"{stem}-{'[0-9a-f]' * 64}.safetensors"))
    url = f"{os.environ.get('HF_ENDPOINT') or _HUB}/{repository}/resolve/main/{_FILE}"
    if kept:
        return fetch.weights(url, kept[0].stem[-64:], kept[0].name)
    checksum = _reported_checksum(model, url)
    return fetch.weights(url, checksum, f"{stem}-{checksum}.safetensors")


def _reported_checksum(model: str, url: str) -> str:
    try:
        checksum = str(headers(url).get("X-Linked-Etag", "")).strip('"')
    except RequestError as error:
        raise _cannot(model, url, str(error)) from None
    if not _CHECKSUM.fullmatch(checksum):  # it becomes part of a file's name
        raise _cannot(model, url, "it reports no checksum")
    return checksum


def _cannot(model: str, url: str, reason: str) -> RequestError:
    return RequestError(
        f"model {model!r}: its weights cannot be fetched from {url} ({reason}); give them as checkpoint "
        "(a network without weights is never used)"
    )
