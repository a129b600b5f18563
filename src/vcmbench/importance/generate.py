"""Which pictures a batch is made of: those of a data root, or those below folders that are named one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vcmbench.data.dataset import DataRoot, Source
from vcmbench.errors import RequestError
from vcmbench.importance.batch import ImportanceBatch, MapResult, MapTask, MapTasks
from vcmbench.importance.inputs import FOLDER, Files, files_of, place_of
from vcmbench.importance.settings import ImportanceSettings

_LABELS = "_gtFine_labelIds.png"


def tasks_of(data: DataRoot, sources: Sequence[Source], visualize_every: int) -> MapTasks:
    """One task a picture of a Cityscapes layout; every `visualize_every`-th with pictures of its map, 0: none."""
    if not data.is_cityscapes:
        raise RequestError(
            f"{data.root}: is a flat folder; importance is computed from labels, disparity and speed, which the "
            "Cityscapes layout has (cityscapes/ in DATA). Maps of your own lie at "
            f"{data.root / FOLDER}/<name>_importance.npy"
        )

    def task(number: int) -> MapTask:
        source = sources[number]
        return MapTask(str(place_of(data, source)), files_of(data, source), _is_shown(number, visualize_every))

    return MapTasks(len(sources), task)


def _is_shown(number: int, visualize_every: int) -> bool:
    return visualize_every > 0 and number % visualize_every == 0


def generate_importance_maps(
    label_root: str | Path,
    disparity_root: str | Path,
    vehicle_root: str | Path,
    output_root: str | Path,
    selected_cities: str | Sequence[str] | None = None,
    visualize_every: int = 1,
    *,
    camera_root: str | Path | None = None,
    image_root: str | Path | None = None,
    settings: ImportanceSettings | None = None,
    jobs: int = 1,
    force: bool = False,
    quiet: bool = False,
) -> list[MapResult]:
    """Importance maps of all pictures below folders `.../<split>` that hold a folder a city.

    `label_root` (gtFine: labelIds, instanceIds, polygons), `disparity_root` and `vehicle_root` are read, `output_root`
    gets a folder a city. `camera_root` and `image_root` (leftImg8bit) default to the folders of those names beside
    `label_root`'s. `selected_cities`: one name or several; None is all. Every `visualize_every`-th picture gets
    pictures of its map (0: none). What is done is not done twice, unless `force`. A picture that fails is named on
    stderr and in its result, and the others finish; results have name, state, error, `map_path` and `record_path`.
    Raises RequestError where nothing can be started.
    """
    labels = Path(label_root)
    if not labels.is_dir():
        raise RequestError(f"label_root {str(labels)!r}: is no folder")
    if visualize_every < 0 or jobs < 1:
        raise RequestError(f"visualize_every {visualize_every}, jobs {jobs}: allowed: from 0, from 1")
    beside = labels.absolute().parent.parent
    cameras = Path(camera_root) if camera_root else beside / "camera" / labels.name
    images = Path(image_root) if image_root else beside / "leftImg8bit" / labels.name
    cities = [selected_cities] if isinstance(selected_cities, str) else selected_cities

    def files(place: str) -> Files:
        picture = images / f"{place}_leftImg8bit.png"
        return Files(
            labels=labels / f"{place}{_LABELS}",
            instances=labels / f"{place}_gtFine_instanceIds.png",
            disparity=Path(disparity_root) / f"{place}_disparity.png",
            camera=cameras / f"{place}_camera.json",
            vehicle=Path(vehicle_root) / f"{place}_vehicle.json",
            picture=picture if picture.is_file() else None,
            polygons=labels / f"{place}_gtFine_polygons.json",
        )

    places = _places(labels, cities)
    tasks = MapTasks(len(places), lambda i: MapTask(places[i], files(places[i]), _is_shown(i, visualize_every)))
    return ImportanceBatch(tasks, Path(output_root), settings or ImportanceSettings(), jobs, force, quiet).execute()


def _places(labels: Path, cities: Sequence[str] | None) -> list[str]:
    """`<city>/<city>_<seq>_<frame>` of all label pictures, sorted."""
    there = sorted(path.name for path in labels.iterdir() if path.is_dir())
    for city in cities or ():
        if city not in there:
            raise RequestError(f"{labels}: no city {city!r}; there are: {', '.join(there) or 'none'}")
    found = [path for city in dict.fromkeys(cities or there) for path in sorted((labels / city).glob(f"*{_LABELS}"))]
    if not found:
        raise RequestError(f"{labels}: holds no <city>/*{_LABELS}")
    return [f"{path.parent.name}/{path.name.removesuffix(_LABELS)}" for path in found]


# The name under which published scripts call it.
batch_generate_importance_maps_auto_speed_with_progress = generate_importance_maps
