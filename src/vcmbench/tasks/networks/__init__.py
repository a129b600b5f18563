"""The embedded networks: their weights, and what they are made of."""

from pathlib import Path

FOLDER = Path(__file__).parent
EMBEDDED = {
    "segmentation": {"demo": "demo", "demo-b": "demo-b"},
    "detection": {"demo": "detector"},
}
"""Of each task that has any: its networks as `[task] model` names them, and the name of their files here."""


def weights(task: str, model: str) -> Path:
    return FOLDER / f"{EMBEDDED[task][model]}.safetensors"


def description(model: str) -> Path:
    """The mmseg config of a segmentation network."""
    return FOLDER / f"{EMBEDDED['segmentation'][model]}.json"
