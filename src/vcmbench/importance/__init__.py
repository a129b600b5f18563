"""How much each pixel of a driving scene matters, and the QP maps that follow.

Importance comes from labels, distance and speed, or from files (`source` is the one place); `qp_map` makes QPs of it.
Imports `data` and `io`.
"""

from vcmbench.importance.compute import read_importance
from vcmbench.importance.generate import (
    batch_generate_importance_maps_auto_speed_with_progress,
    generate_importance_maps,
)
from vcmbench.importance.inputs import importance_path, inputs_digest
from vcmbench.importance.maps import ImportanceMap, importance_map
from vcmbench.importance.objects import ObjectDistance
from vcmbench.importance.qp_map import generate_qp_map_csv
from vcmbench.importance.settings import ImportanceSettings, distance_importance, safe_distance_m

__all__ = [
    "ImportanceMap",
    "ImportanceSettings",
    "ObjectDistance",
    "batch_generate_importance_maps_auto_speed_with_progress",
    "distance_importance",
    "generate_importance_maps",
    "generate_qp_map_csv",
    "importance_map",
    "importance_path",
    "inputs_digest",
    "read_importance",
    "safe_distance_m",
]
