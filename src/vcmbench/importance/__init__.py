"""Importance maps: how much each pixel of a driving scene matters, from labels, distance and speed."""

from vcmbench.importance.generate import (
    batch_generate_importance_maps_auto_speed_with_progress,
    generate_importance_maps,
)
from vcmbench.importance.inputs import importance_path, inputs_digest
from vcmbench.importance.maps import ImportanceMap, importance_map
from vcmbench.importance.objects import ObjectDistance
from vcmbench.importance.reading import read_importance
from vcmbench.importance.settings import ImportanceSettings, distance_importance, safe_distance_m

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
