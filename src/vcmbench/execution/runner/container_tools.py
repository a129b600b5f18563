"""Finding tools inside images: the same questions, whoever answers them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vcmbench.encoder.base import Tool
from vcmbench.execution.runner import probe
from vcmbench.execution.runner.tool import FoundTool

Ask = Callable[[list[str]], str]
"""Runs a command in an image and returns what it printed."""


def find(image: str, tools: Sequence[Tool], ask: Ask) -> FoundTool | None:
    """The first of `tools` that an image has; `image` is its digest."""
    for tool in tools:
        for program in (tool.program, *tool.aliases):
            path = ask(["sh", "-c", 'command -v "$1"', "sh", program]).strip()
            if path and _has_component(path, tool, ask):
                answer = ask([path, *probe.version_arguments(tool.program)])
                return FoundTool(tool.program, path, probe.first_line(answer), image, image)
    return None


def _has_component(path: str, tool: Tool, ask: Ask) -> bool:
    if not tool.needs:
        return True
    kind, component = tool.needs.split(":")
    return probe.lists_component(ask([path, "-hide_banner", f"-{kind}s"]), component)
