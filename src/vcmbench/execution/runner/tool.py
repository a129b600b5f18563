"""A tool as a runner found it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FoundTool:
    """Enough to call a tool, and to say later which one it was.

    `digest` is the SHA-256 of the binary, or the id of the image that it came in (which `image` names then).
    """

    program: str
    path: str
    version: str
    digest: str
    image: str | None = None
    is_builtin: bool = False

    def identity(self) -> dict[str, str]:
        return {"program": self.program, "version": self.version, "digest": self.digest}
