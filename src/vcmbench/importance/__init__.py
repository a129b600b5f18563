"""Importance maps: how much each pixel of a driving scene matters, from labels, distance and speed."""

from typing import TYPE_CHECKING, Any

from vcmbench.importance.inputs import importance_path, inputs_digest
from vcmbench.importance.maps import ImportanceMap, importance_map
from vcmbench.importance.objects import ObjectDistance
from vcmbench.importance.reading import read_importance
from vcmbench.importance.settings import ImportanceSettings, distance_importance, safe_distance_m

if TYPE_CHECKING:
    from vcmbench.importance.generate import (
        batch_generate_importance_maps_auto_speed_with_progress,
        generate_importance_maps,
    )

__all__ = [
    "ImportanceMap",
    "ImportanceSettings",
    "ObjectDistance",
    "batch_generate_importance_maps_auto_speed_with_progress",
    "distance_importance",
    "generate_importance_maps",
    "importance_map",
    "importance_path",
    "inputs_digest",
    "read_importance",
    "safe_distance_m",
]


def __getattr__(name: str) -> Any:
    """The batch and all that draws are loaded when they are asked for: every run that compresses would pay for them."""
    if name in ("batch_generate_importance_maps_auto_speed_with_progress", "generate_importance_maps"):
        from vcmbench.importance import generate

        return getattr(generate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
