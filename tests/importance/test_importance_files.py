"""Importance from files: where they lie, what is wrong with them, what is written, and what is done again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import files_up_to, tree
from tests.helpers.pictures import save, write_png
from vcmbench import experiment
from vcmbench.cli.commands.importance import _Tally
from vcmbench.data.dataset import DataRoot, Source, find_sources, open_root
from vcmbench.data.selection import Selection
from vcmbench.demo import cityscapes
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import (
    ImportanceSettings,
    batch_generate_importance_maps_auto_speed_with_progress,
    generate_importance_maps,
    importance_map,
    importance_path,
    inputs_digest,
    read_importance,
)
from vcmbench.importance.batch import ImportanceBatch, MapResult, MapTask, MapTasks, Record
from vcmbench.importance.classes import table_digest
from vcmbench.importance.generate import tasks_of

FRAME = "frankfurt/frankfurt_000000_000019"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("importance")
    cityscapes.write(root, width=256, height=128, train_scenes=0, sequences=0, jobs=1)
    return root


@pytest.fixture
def root(drawn: Path, tmp_path: Path) -> Path:
    """A data root of its own with three scenes, one in each city."""
    shutil.copytree(drawn / "cityscapes", tmp_path / "data/cityscapes")
    return tmp_path / "data"


def sources_of(root: Path) -> tuple[DataRoot, list[Source]]:
    data = open_root(root)
    return data, find_sources(data, Selection())


def file_of(root: Path, part: str) -> Path:
    """The first scene's file of a kind."""
    return root / "cityscapes" / part.partition(".")[0].partition("_")[0] / "val" / f"{FRAME}_{part}"


def read_first(root: Path, settings: ImportanceSettings | None = None) -> Any:
    data, sources = sources_of(root)
    return read_importance(data, sources[0], settings)


def batch(root: Path, **options: Any) -> list[MapResult]:
    data, sources = sources_of(root)
    every = options.pop("every", 1)
    return ImportanceBatch(tasks_of(data, sources, every), root / "importance_map", quiet=True, **options).execute()


def record_of(result: MapResult) -> Any:
    return json.loads(result.record_path.read_text())


def test_files_are_found_by_the_pictures_name(root: Path) -> None:
    result = read_first(root)
    camera = json.loads(file_of(root, "camera.json").read_text())
    arrays = [
        np.asarray(Image.open(file_of(root, part)))
        for part in ("gtFine_labelIds.png", "gtFine_instanceIds.png", "disparity.png")
    ]
    speed = json.loads(file_of(root, "vehicle.json").read_text())["speed"]
    again = importance_map(*arrays, camera["intrinsic"]["fx"], camera["extrinsic"]["baseline"], speed)
    np.testing.assert_array_equal(result.values, again.values)
    assert result.objects == again.objects
    data, sources = sources_of(root)
    assert importance_path(data, sources[0]) == data.root / f"importance_map/val/{FRAME}_importance.npy"


def test_a_flat_folder_says_what_to_do(photos: Path) -> None:
    data, sources = sources_of(photos)
    assert importance_path(data, sources[0]) == data.root / "importance_map/a_importance.npy"
    with pytest.raises(RequestError, match=r"flat folder.*importance_map/<name>_importance.npy"):
        tasks_of(data, sources, 1)
    with pytest.raises(JobError, match=r"flat folder.*importance_map/a_importance.npy"):
        read_importance(data, sources[0])


@pytest.mark.parametrize(
    ("part", "keep", "note"),
    [
        ("camera.json", None, "fx is missing: 282.815 px was taken"),
        ("camera.json", {"extrinsic": {"baseline": 0.2}}, "fx is missing: 282.815 px"),
        ("camera.json", {"intrinsic": {"fx": 300}, "extrinsic": {}}, "baseline is missing: 0.209313 m"),
        ("vehicle.json", None, "speed is missing: 10 m/s"),
        ("vehicle.json", {"yawRate": 0.1}, "speed is missing: 10 m/s"),
    ],
)
def test_missing_fields_have_reported_fallbacks(root: Path, part: str, keep: Any, note: str) -> None:
    path = file_of(root, part)
    if keep is None:
        path.unlink()
    else:
        path.write_text(json.dumps(keep))
    assert any(note in one for one in read_first(root).notes)
    records = [record_of(result) for result in batch(root, every=0)]
    assert [bool(record["fallbacks"]) for record in records] == [True, False, False]


def test_what_is_switched_off_is_not_read(root: Path) -> None:
    file_of(root, "vehicle.json").write_text("broken")
    file_of(root, "gtFine_instanceIds.png").unlink()
    result = read_first(root, ImportanceSettings(use_speed=False, aggregate="class"))
    assert result.d_safe_m == pytest.approx(25 + 100 / 6.8)
    file_of(root, "disparity.png").unlink()
    file_of(root, "camera.json").write_text("broken")
    assert read_first(root, ImportanceSettings(use_distance=False)).values.max() == 1


def write(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text) and None


def gray(shape: tuple[int, int], value: int = 0, kind: type = np.uint16) -> Callable[[Path], None]:
    return lambda path: save(path, np.full(shape, value, kind)) and None


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-900])


def bomb(path: Path) -> None:
    write_png(path, 60000, 60000, 8, 0, b"")


FULL = (128, 256)
BROKEN = [
    ("gtFine_labelIds.png", Path.unlink, "is missing"),
    ("gtFine_labelIds.png", write("no picture"), "not an image"),
    ("gtFine_labelIds.png", gray(FULL, 99, np.uint8), "unknown ids 99; labelIds are needed .*--classes"),
    ("gtFine_labelIds.png", gray(FULL), "colour mode I;16; needed is an 8-bit gray PNG"),
    ("gtFine_labelIds.png", gray((64, 128), 7, np.uint8), "is 128x64 px, its picture is 256x128 px"),
    ("gtFine_labelIds.png", bomb, "60000|3600000000"),
    ("gtFine_instanceIds.png", Path.unlink, "is missing"),
    ("gtFine_instanceIds.png", gray(FULL, 7), "pixels are of another class than their labels"),
    ("gtFine_instanceIds.png", gray(FULL, 26001), r"of another class than their labels, as 26001 on \d+"),
    ("gtFine_instanceIds.png", gray((128, 200)), "is 200x128 px, the labels are 256x128 px"),
    ("disparity.png", Path.unlink, "is missing"),
    ("disparity.png", gray(FULL), "no pixel is valid"),
    ("disparity.png", gray((64, 128), 99), "is 128x64 px, the labels are 256x128 px"),
    ("disparity.png", gray(FULL, 9, np.uint8), "colour mode L; needed is a 16-bit gray PNG"),
    ("disparity.png", cut_off, "damaged or truncated"),
    ("camera.json", write("{"), "not JSON"),
    ("camera.json", write("[" * 100000), "not JSON"),
    ("camera.json", write("[]"), "must be a JSON object, is list"),
    ("camera.json", write('{"intrinsic": 3}'), "intrinsic.fx: what holds it must be an object, is 3"),
    ("camera.json", write('{"intrinsic": {"fx": 0}}'), "intrinsic.fx: 0 is not within 1..1000000 px"),
    ("camera.json", write('{"intrinsic": {"fx": 1e-300}}'), "intrinsic.fx: 1e-300 is not within 1..1000000 px"),
    ("camera.json", write('{"intrinsic": {"fx": 1.1e6}}'), "intrinsic.fx: 1100000.0 is not within"),
    ("camera.json", write('{"intrinsic": {"fx": true}}'), "intrinsic.fx: True is no number"),
    ("camera.json", write('{"intrinsic": {"fx": NaN}}'), "intrinsic.fx: nan is not within"),
    (
        "camera.json",
        write('{"intrinsic": {"fx": 2e3}, "extrinsic": {"baseline": 0.0}}'),
        "baseline: 0.0 is not within 0.001..100 m",
    ),
    (
        "camera.json",
        write('{"intrinsic": {"fx": 2e3}, "extrinsic": {"baseline": 1e-300}}'),
        "extrinsic.baseline: 1e-300 is not within 0.001..100 m",
    ),
    ("camera.json", write('{"intrinsic": {"fx": 2e3}, "extrinsic": {"baseline": "1"}}'), "baseline: '1' is no number"),
    ("camera.json", write(" " * ((1 << 20) + 1)), "1048577 bytes"),
    ("vehicle.json", write("speed: 3"), "not JSON"),
    ("vehicle.json", write('{"speed": -0.01}'), "speed: -0.01 is not within 0..150 m/s"),
    ("vehicle.json", write('{"speed": null}'), "speed: None is no number"),
    ("vehicle.json", write('{"speed": 1e999}'), "speed: inf is not within"),
    ("vehicle.json", write('{"speed": 1' + "0" * 400 + "}"), "speed: 1000.* is not within"),
    ("vehicle.json", write('{"speed": 151}'), "speed: 151 is not within 0..150 m/s"),
    ("leftImg8bit.png", cut_off, "damaged or truncated"),
]


@pytest.mark.parametrize(("part", "spoil", "message"), BROKEN)
def test_what_is_broken_is_named_and_the_others_finish(
    root: Path, part: str, spoil: Callable[[Path], None], message: str
) -> None:
    path = file_of(root, part)
    spoil(path)
    results = batch(root)
    assert [result.state for result in results] == ["failed", "done", "done"]
    with pytest.raises(JobError, match=message) as caught:
        raise results[0].error or AssertionError
    assert str(path) in str(caught.value)
    assert not [name for name in tree(root / "importance_map") if "frankfurt" in name or ".tmp/" in name]
    if "left" not in part:
        with pytest.raises(JobError, match=message):
            read_first(root)


BROKEN_POLYGONS = [
    (write("{"), "not JSON"),
    (write("{}"), "objects: a list is needed"),
    (write('{"objects": [3]}'), r"objects\[1\]: a label and a polygon are needed"),
    (write('{"objects": [{"label": "car"}]}'), r"objects\[1\].polygon: a list"),
    (
        write('{"objects": [{"label": "car", "polygon": [[1, 2], [3, NaN], [5, 6]]}]}'),
        r"objects\[1\].polygon: \[x, y\] in pixels is needed, found \[3, nan\]",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), BROKEN_POLYGONS)
def test_broken_polygons_cost_only_their_picture(root: Path, spoil: Callable[[Path], None], message: str) -> None:
    path = file_of(root, "gtFine_polygons.json")
    spoil(path)
    results = batch(root)
    assert [result.state for result in results] == ["done"] * 3
    np.testing.assert_array_equal(np.load(results[0].map_path), read_first(root).values)
    record = record_of(results[0])
    (fault,) = record["faults"]
    assert fault in record["notes"]
    assert re.search(message, fault) and str(path) in fault
    assert not (root / f"importance_map/val/{FRAME}_distance_annotation.png").exists()
    assert [result.state for result in batch(root)] == ["resumed"] * 3


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def listening(path: Path) -> None:
    path.unlink()
    os.mknod(path, stat.S_IFSOCK | 0o600)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("part", ["gtFine_labelIds.png", "disparity.png", "camera.json", "vehicle.json"])
def test_what_is_no_regular_file_is_not_waited_for(root: Path, tmp_path: Path, part: str) -> None:
    path = file_of(root, part)
    (tmp_path / part).write_bytes(path.read_bytes())
    for spoil in (pipe, listening, device):
        spoil(path)
        error, *_ = (result.error for result in batch(root, every=0))
        assert str(error).startswith(f"{path}: is no regular file")
        with pytest.raises(JobError, match="is no regular file"):
            read_first(root)
    path.unlink()
    path.symlink_to(tmp_path / part)
    assert [result.state for result in batch(root, every=0)] == ["done", "resumed", "resumed"]


def test_pipes_in_other_places_are_not_waited_for(root: Path, tmp_path: Path) -> None:
    polygons = file_of(root, "gtFine_polygons.json")
    pipe(polygons)
    assert f"{polygons}: is no regular file" in record_of(batch(root)[0])["faults"][0]
    pipe(root / f"importance_map/val/{FRAME}_importance.json")
    assert [result.state for result in batch(root)] == ["done", "resumed", "resumed"]
    os.mkfifo(tmp_path / "classes.toml")
    with pytest.raises(RequestError, match="no regular file"):
        ImportanceSettings(classes=tmp_path / "classes.toml")


def test_a_fault_in_the_code_does_not_end_the_others(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vcmbench.importance import batch as module

    real = module.compute

    def fails_once(files: Any, *rest: Any) -> Any:
        if "lindau" in str(files.labels):
            raise ZeroDivisionError("oops")
        return real(files, *rest)

    monkeypatch.setattr(module, "compute", fails_once)
    results = batch(root)
    assert [result.state for result in results] == ["done", "failed", "done"]
    assert "internal error" in str(results[1].error)


def test_every_file_is_written(root: Path) -> None:
    before = tree(root)
    results = batch(root, jobs=2)
    assert [result.state for result in results] == ["done"] * 3
    assert {name: digest for name, digest in tree(root).items() if name.startswith("cityscapes")} == before
    start = root / "importance_map/val" / FRAME
    values = np.load(f"{start}_importance.npy", allow_pickle=False)
    assert (values.dtype, values.shape) == (np.float32, FULL)
    np.testing.assert_array_equal(values, read_first(root).values)
    np.testing.assert_array_equal(np.asarray(Image.open(f"{start}_importance.png")), np.rint(values * 255))
    for ending in ("importance_vis", "distance_annotation"):
        assert np.asarray(Image.open(f"{start}_{ending}.png")).shape == (*FULL, 3)
    record = json.loads(Path(f"{start}_importance.json").read_text())
    assert record["mean_importance"] == pytest.approx(values.mean(), abs=1e-6)
    assert record["share_at_one"] == pytest.approx((values == 1).mean())
    assert len(record["objects"]) == len(read_first(root).objects)
    assert record == record_of(results[0])
    assert np.array_equal(np.load(results[0].map_path), values)


def test_what_is_done_is_not_done_again(root: Path) -> None:
    assert [result.state for result in batch(root)] == ["done"] * 3
    first = tree(root)
    assert [result.state for result in batch(root)] == ["resumed"] * 3
    assert [result.state for result in batch(root, every=0)] == ["resumed"] * 3
    assert [result.state for result in batch(root, settings=ImportanceSettings(use_speed=False))] == ["done"] * 3
    assert [result.state for result in batch(root, force=True)] == ["done"] * 3
    assert tree(root) == first
    file_of(root, "vehicle.json").write_text('{"speed": 3}')
    (root / "importance_map/val/lindau/lindau_000000_000019_importance.npy").unlink()
    assert [result.state for result in batch(root)] == ["done", "done", "resumed"]
    file_of(root, "gtFine_polygons.json").unlink()
    results = batch(root)
    assert [result.state for result in results] == ["done", "resumed", "resumed"]
    assert not (root / f"importance_map/val/{FRAME}_distance_annotation.png").exists()
    assert "polygons.json is missing" in record_of(results[0])["notes"][-1]


@pytest.mark.parametrize("content", ["{", "[]", '{"files": 3}', "{}"])
def test_a_broken_record_is_made_again(root: Path, content: str) -> None:
    batch(root, every=0)
    (root / f"importance_map/val/{FRAME}_importance.json").write_text(content)
    assert [result.state for result in batch(root, every=0)] == ["done", "resumed", "resumed"]


@pytest.mark.parametrize("ending", ["importance.npy", "importance.png", "importance.json"])
def test_what_was_changed_is_made_again(root: Path, ending: str) -> None:
    """A value of the map, a pixel's bit, a digit of the record: the size is the same. What is laid out anew is not."""
    batch(root, every=0)
    before = tree(root)
    path = root / f"importance_map/val/{FRAME}_{ending}"
    content = bytearray(path.read_bytes())
    at = content.index(b"0.") + 2 if ending.endswith("json") else len(content) - 20
    content[at] ^= 1
    path.write_bytes(content)
    assert [result.state for result in batch(root, every=0)] == ["done", "resumed", "resumed"]
    assert tree(root) == before
    record = root / f"importance_map/val/{FRAME}_importance.json"
    record.write_text(json.dumps(json.loads(record.read_text()), indent=3))
    assert [result.state for result in batch(root, every=0)] == ["resumed"] * 3


def test_pictures_of_every_nth_map(root: Path) -> None:
    batch(root, every=2)
    shown = sorted(path.parent.name for path in root.glob("importance_map/val/*/*_vis.png"))
    assert shown == ["frankfurt", "munster"]
    assert len(list(root.glob("importance_map/val/*/*_importance.png"))) == 3


def test_a_failed_write_leaves_nothing(root: Path) -> None:
    target = root / f"importance_map/val/{FRAME}_importance.npy"
    (target / "in the way").mkdir(parents=True)
    results = batch(root)
    assert [result.state for result in results] == ["failed", "done", "done"]
    assert str(target) in str(results[0].error)
    assert not [name for name in tree(root / "importance_map") if "frankfurt" in name or ".tmp/" in name]


def test_a_full_disk_keeps_what_was_finished(root: Path) -> None:
    batch(root, every=0)
    before = tree(root)
    map_path = root / f"importance_map/val/{FRAME}_importance.npy"
    with files_up_to(map_path.stat().st_size - 1):
        results = batch(root)
    assert [result.state for result in results] == ["failed"] * 3
    assert str(results[0].error) == f"{map_path}: cannot be written: File too large"
    assert tree(root) == before
    assert [result.state for result in batch(root, every=0)] == ["resumed"] * 3


def test_where_a_record_lies_all_belongs_to_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch(root)
    real, seen = os.replace, []

    def fails(source: Path, target: Path) -> None:
        seen.append(target.name)
        if len(seen) == 3:
            raise OSError(5, "Input/output error")
        real(source, target)

    monkeypatch.setattr(os, "replace", fails)
    results = batch(root, force=True)
    monkeypatch.undo()
    assert [result.state for result in results] == ["failed", "done", "done"]
    assert seen[2] in str(results[0].error)
    assert not results[0].record_path.exists()
    assert all(name.endswith("_importance.json") for name in seen[7::5])
    assert [result.state for result in batch(root)] == ["done", "resumed", "resumed"]


def test_the_folder_of_temporaries_goes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "importance_map/.tmp"
    batch(root)
    assert not folder.exists()

    def make(*_: object) -> Record:
        with pytest.raises(OSError, match="not empty"):  # as another run would that ends meanwhile
            folder.rmdir()
        return {}

    monkeypatch.setattr(ImportanceBatch, "_make", make)
    assert [result.state for result in batch(root, force=True)] == ["done"] * 3
    assert not folder.exists()


def test_what_is_kept_of_a_picture_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of records, and the paths of thousands of files, would fill the memory."""
    count, objects = 3000, [{"label": f"car {i}", "distance_m": 1.0, "within": True} for i in range(19)]
    files = tasks_files(tmp_path)

    def do(self: ImportanceBatch, task: MapTask) -> tuple[MapResult, Record]:
        record = {
            "objects": json.loads(json.dumps(objects)),
            "fallbacks": ["speed"], "mean_importance": 0.5, "share_at_one": 0.25,
        }  # fmt: skip
        return MapResult("done", task.name, self.output), record

    monkeypatch.setattr(ImportanceBatch, "_do", do)
    names = [f"val/frankfurt/frankfurt_{i:06}_000019" for i in range(count)]
    tally = _Tally()
    one = ImportanceBatch(
        MapTasks(count, lambda i: MapTask(names[i], files(i), True)), tmp_path / "out", jobs=2, quiet=True
    )
    tracemalloc.start()
    try:
        results = one.execute(tally.add)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [result.name for result in results] == names
    assert tally.folders["val/frankfurt"].cells("f") == ("f", "3000", "0.5000", "25.00", "57000", "57000", "3000")
    # All of the records are 36 MB. What is left is that of a few pictures and threads, and garbage that waits for its
    # collector, which comes the later the more a long test session holds (8 MB were seen, 2 MB alone).
    assert peak < 200 * count + 12_000_000


def tasks_files(root: Path) -> Callable[[int], Any]:
    """The files of a picture by its number."""
    from vcmbench.importance.inputs import Files

    kinds = ("labels", "instances", "disparity", "camera", "vehicle", "picture", "polygons")
    return lambda i: Files(**{kind: root / kind / f"{i:06}_{kind}" for kind in kinds})


def test_an_error_holds_no_arrays(root: Path) -> None:
    file_of(root, "vehicle.json").write_text("{")
    error = batch(root, every=0)[0].error
    assert error is not None
    assert error.__traceback__ is error.__context__ is None


def test_a_class_table_that_goes_is_the_fault_of_the_pictures(root: Path, tmp_path: Path) -> None:
    data, sources = sources_of(root)
    table = tmp_path / "mine.toml"
    shutil.copy(Path(experiment.__file__).with_name("importance") / "classes.toml", table)
    settings = ImportanceSettings(classes=table)
    assert table_digest(table) == table_digest(None) == hashlib.sha256(table.read_bytes()).hexdigest()
    table.write_text(table.read_text() + "# changed\n")
    assert table_digest(table) == hashlib.sha256(table.read_bytes()).hexdigest() != table_digest(None)
    table.unlink()
    for work in (inputs_digest, read_importance):
        with pytest.raises(JobError, match=r"mine\.toml: class table cannot be read"):
            work(data, sources[0], settings)
    results = batch(root, settings=settings)
    assert [str(result.error).startswith(f"{table}: class table") for result in results] == [True] * 3


@pytest.mark.parametrize("apart", [(), ("unshare", "--pid", "--fork")])
def test_leftovers_of_killed_runs_go_and_those_of_living_ones_stay(root: Path, apart: tuple[str, ...]) -> None:
    """Also where the living one's process id means another process here, or none."""
    if apart and subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("a process namespace needs root")
    folder = root / "importance_map/.tmp"
    folder.mkdir(parents=True)
    holding = (
        "import sys; from pathlib import Path; from vcmbench.io import locks\n"
        "print(locks.take_new(Path(sys.argv[1])).path.name, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [*apart, sys.executable, "-c", holding, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as living:
        lease = str(living.stdout.readline().strip())  # type: ignore[union-attr]
        staying = sorted([lease, f"{lease}.{'a' * 12}", "of somebody else"])
        for name in (*staying, f"{'b' * 32}.{'a' * 12}", "c" * 32):
            (folder / name).touch()
        batch(root, every=0)
        assert sorted(path.name for path in folder.iterdir()) == staying
        living.communicate()  # its input ends, and it lets go without removing anything
    batch(root, every=0, force=True)
    assert [path.name for path in folder.iterdir()] == ["of somebody else"]


def test_an_output_that_cannot_be_written_is_said_first(root: Path) -> None:
    (root / "importance_map").write_text("a file")
    with pytest.raises(RequestError, match="importance_map: cannot be written"):
        batch(root)


@pytest.mark.parametrize(
    "part", ["gtFine_labelIds.png", "gtFine_instanceIds.png", "disparity.png", "camera.json", "vehicle.json"]
)
def test_the_digest_follows_every_input(root: Path, part: str) -> None:
    data, sources = sources_of(root)
    settings = ImportanceSettings()
    digests = {inputs_digest(data, sources[0], settings)}
    path = file_of(root, part)
    path.write_bytes(path.read_bytes() + b" ")
    digests.add(inputs_digest(data, sources[0], settings))
    path.unlink()
    digests.add(inputs_digest(data, sources[0], settings))
    assert len(digests) == 3


def test_the_digest_follows_settings_and_classes(root: Path, tmp_path: Path) -> None:
    data, sources = sources_of(root)
    own, copy = Path(experiment.__file__).with_name("importance") / "classes.toml", tmp_path / "copy.toml"
    shutil.copy(own, copy)

    def digest(**settings: Any) -> str:
        return inputs_digest(data, sources[0], ImportanceSettings(**settings))

    assert digest() == digest(classes=copy)
    file_of(root, "gtFine_polygons.json").unlink()
    variants = [{}, {"aggregate": "pixel"}, {"use_speed": False}, {"reaction_s": 1.0}, {"d_safe_floor_m": 3.0}]
    assert len({digest(**variant) for variant in variants}) == len(variants)
    copy.write_text(copy.read_text() + "# changed\n")
    assert digest() != digest(classes=copy)


def test_scripts_of_the_published_generator_run(root: Path) -> None:
    assert batch_generate_importance_maps_auto_speed_with_progress is generate_importance_maps
    roots = [root / f"cityscapes/{part}/val" for part in ("gtFine", "disparity", "vehicle")]
    for city in ("frankfurt", "munster"):
        results = generate_importance_maps(*roots, root / "out", selected_cities=city, visualize_every=30, quiet=True)
        assert [result.state for result in results] == ["done"]
    batch(root)
    ours, theirs = tree(root / "importance_map/val"), tree(root / "out")
    assert len(theirs) == 10
    for name, digest in theirs.items():
        if not name.endswith(".json"):
            assert ours[name] == digest


def test_wrong_folders_are_said_first(root: Path) -> None:
    roots = [root / f"cityscapes/{part}/val" for part in ("gtFine", "disparity", "vehicle")]
    for arguments, message in (
        ([root / "none", *roots[1:], root / "out"], "label_root .* is no folder"),
        ([*roots, root / "out", "rome"], "no city 'rome'; there are: frankfurt, lindau, munster"),
        ([root, *roots[1:], root / "out"], "holds no <city>/"),
        ([*roots, root / "out", None, -1], "visualize_every -1"),
    ):
        with pytest.raises(RequestError, match=message):
            generate_importance_maps(*arguments)
