"""Which device a network runs on: `--gpu auto|none|N`."""

from __future__ import annotations

import re

from vcmbench.errors import RequestError


def check_choice(gpu: str) -> None:
    """Raises RequestError unless `gpu` is auto, none or a number."""
    if gpu not in ("auto", "none") and not re.fullmatch(r"\d{1,3}", gpu):
        raise RequestError(f"--gpu {gpu!r}: must be auto, none or the number of a GPU")


def local(gpu: str) -> str:
    """The device for this process, "cpu" or "cuda:N". Raises RequestError where the GPU asked for is not there."""
    check_choice(gpu)
    if gpu == "none":
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpu == "auto":
        return "cuda:0" if count else "cpu"
    if int(gpu) >= count:
        there = f"has GPUs 0..{count - 1}" if count else "finds no GPU here"
        raise RequestError(f"--gpu {gpu}: PyTorch {there}; use --gpu {'auto' if count else 'none'}")
    return f"cuda:{int(gpu)}"


def in_container(gpu: str, runtimes: list[str]) -> str | None:
    """The GPU to hand into a container of an engine with these runtimes; None: none.

    Raises RequestError where one was asked for and the engine cannot hand it in.
    """
    check_choice(gpu)
    if gpu == "none" or (gpu == "auto" and "nvidia" not in runtimes):
        return None
    if "nvidia" not in runtimes:
        raise RequestError(
            f"--gpu {gpu}: the Docker engine has no nvidia runtime (it has {', '.join(runtimes) or 'none'}); install "
            "NVIDIA's container toolkit, or use --gpu none"
        )
    return "0" if gpu == "auto" else str(int(gpu))
