"""Images of encoders without an engine: what their labels say, and what is said of a build that fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import docker
import pytest

from vcmbench.errors import RequestError
from vcmbench.execution.runner import images

COMMITS = "1" * 40, "2" * 40
TARBALL = "vvenc-1.12.0.tar.gz sha256:" + "a" * 64
GIT = "https://github.com/fraunhoferhhi/vvenc.git v1.13.1"


@pytest.mark.parametrize(
    ("vvenc", "commit"), [(f"{GIT} commit:{COMMITS[0]}", COMMITS[0]), (f"{TARBALL} commit:unknown", "")]
)
def test_labels_are_of_the_encoder_and_of_what_lay_there(vvenc: str, commit: str) -> None:
    sources = f"upstream:vvenc {vvenc}\nupstream:vvdec vvdec-3.0.0.tar.gz sha256:{'b' * 64} commit:{COMMITS[1]}\n"
    found = images.source_labels("vvenc", sources)
    assert found == {"vcmbench.source": f"upstream:vvenc={vvenc.rpartition(' ')[0]}", "vcmbench.commit": commit}


def test_other_images_keep_their_labels() -> None:
    assert images.source_labels("x264", "debian:libx264-164=2:0.164\n") == {}


class Engine:
    """One without an image, whose builds fail."""

    class api:
        @staticmethod
        def build(**_: Any) -> Iterator[dict[str, str]]:
            yield {"stream": "Step 1/9 : ARG BASE\n"}
            yield {"error": "Get https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io: no such host"}

    class images:
        @staticmethod
        def get(_: str) -> None:
            raise docker.errors.ImageNotFound("no such image")


def test_a_build_without_a_base_image_says_what_to_do() -> None:
    lines: list[str] = []
    with pytest.raises(RequestError, match=r"no such host(.|\n)*debian:x is not here.*--base.*docker/base\.sh"):
        images.build(Engine(), "x264", "debian:x", {}, lines.append)  # type: ignore[arg-type]
    assert lines == ["Step 1/9 : ARG BASE"], "shown as it came"
