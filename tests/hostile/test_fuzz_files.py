"""Files of every kind with anything in them: they are taken, or refused in one line; nothing else comes out."""

from __future__ import annotations

import io
import json
import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.helpers import hostile
from tests.helpers.fuzzing import BYTES, VALUES, as_bytes, fuzz, lay, mutated, only_documented, spoilt
from tests.helpers.videos import numbered, write
from vcmbench import experiment
from vcmbench.data.dataset import read_picture
from vcmbench.data.video import index
from vcmbench.data.video_frames import read_all
from vcmbench.encoder import plugins
from vcmbench.importance import classes, inputs, polygons, qp_map
from vcmbench.importance import record as importance_record
from vcmbench.importance.settings import ImportanceSettings
from vcmbench.measure import records
from vcmbench.measure.blocks import published, published_scores
from vcmbench.tasks.predictions import prediction_key, read_prediction

# --- experiments and class tables

EXPERIMENT: dict[str, Any] = {
    "name": "trial",
    "seed": 3,
    "dataset": {"split": "val", "cities": ["lindau"], "limit": 2},
    "importance": {"aggregate": "class", "reaction_s": 2.0, "region": 0.5},
    "task": {"name": "segmentation", "model": "demo", "batch_size": 2},
    "metrics": {"iqa": ["PSNR"], "levels": ["image"], "bootstrap": 100, "blocks": {"size_px": [32], "count": 10}},
    "coding": [
        {"encoder": "x265", "quality": [22, 32], "color_subsampling": ["420"], "subsampling_factor": [1.0, 0.5],
         "qp_map": {"delta": 3.0, "block_size": 16}, "match": "rate", "parameters": {"rd": 3}},
        {"encoder": "jpeg", "target": {"bpp": 0.5}},
    ],
}  # fmt: skip


def toml(value: Any) -> str:
    """A value as TOML: tables in one line, which may hold anything that JSON does."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float):
        return str(value)
    return json.dumps(value) if value is not None else '""'


def document(value: Any) -> bytes:
    tables = value if isinstance(value, dict) else {"name": value}
    lines = [f"{json.dumps(str(key))} = {toml(one)}" for key, one in tables.items()]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


TOML_WORDS = st.sampled_from(
    ["name", "coding", "[[coding]]", "[", "]", "{", "}", "=", ".", ",", "\n", '"', "'", '"""', "#", "1", "-", "inf",
     "nan", "0x", "_", "1979-05-27", "true", "\\u0000", "\\", "é", "\r", "e", ":"]
)  # fmt: skip


@fuzz(150)
@given(st.lists(TOML_WORDS, max_size=40).map("".join).map(str.encode) | BYTES)
def test_experiments_of_any_text(tmp_path: Path, content: bytes) -> None:
    only_documented(lambda: experiment.load(str(lay(tmp_path / "x.toml", content))))


@fuzz(200)
@given(mutated(EXPERIMENT))
def test_experiments_that_were_changed(tmp_path: Path, value: Any) -> None:
    found = only_documented(lambda: experiment.load(str(lay(tmp_path / "x.toml", document(value)))))
    if found is not None:
        for coding in found.configurations():
            folder = plugins.get(coding.encoder).folder_name(coding)
            assert "/" not in folder and len(f"cityscapes_{folder}".encode()) <= 255


CLASSES: dict[str, Any] = {
    "class": [
        {"id": 0, "name": "void", "kind": "void"},
        {"id": 7, "name": "road", "kind": "fixed", "importance": 0.5},
        {"id": -1, "name": "plate", "kind": "void"},
        {"id": 26, "name": "car", "kind": "distance"},
    ]
}


@fuzz(150)
@given(mutated(CLASSES).map(document) | BYTES)
def test_class_tables(tmp_path: Path, content: bytes) -> None:
    found = only_documented(lambda: classes.load(lay(tmp_path / "x.toml", content)))
    if found is not None:
        assert found.kinds.shape == found.values.shape == (256,)
        assert ((found.values >= 0) & (found.values <= 1)).all()


# --- published files

BLOCKS: dict[str, Any] = {
    str(i): ["lindau/lindau_000000_000019", [3, 35, "420", 0.25], [926, 442], [64, 64], 0.5] for i in range(3)
}
METRICS: dict[str, Any] = {str(i): {"acc": i / 5, "PSNR": 30.5 + i, "SSIM": None} for i in range(5)}


@fuzz(250)
@given(mutated(BLOCKS).map(as_bytes) | VALUES.map(as_bytes) | BYTES)
def test_blocks(tmp_path: Path, content: bytes) -> None:
    path = lay(tmp_path / "b.json", content)
    found = only_documented(lambda: published.read_blocks(path))
    for block in (found or {}).values():
        assert block.image.isprintable() and not {"", ".", ".."} & set(block.image.split("/"))
        assert 0 <= block.accuracy <= 1 and 0 < block.coding.subsampling_factor <= 1
        assert block.coding.quality is None or math.isfinite(block.coding.quality)
    only_documented(lambda: published_scores.read_blocks(path, ["0", "1"]))


@fuzz(250)
@given(mutated(METRICS).map(as_bytes) | VALUES.map(as_bytes) | BYTES)
def test_metrics(tmp_path: Path, content: bytes) -> None:
    path = lay(tmp_path / "m.json", content)
    found = only_documented(lambda: published_scores.read_scores(path))
    if found is not None:
        assert np.isfinite(found.machine).all()
        assert all(name.isprintable() for name in found.metrics)


@fuzz(40)
@given(mutated(METRICS), st.booleans())
def test_the_command_that_correlates(tmp_path: Path, value: Any, is_json: bool) -> None:
    path = lay(tmp_path / "m.json", as_bytes(value))
    done = hostile.typed("correlate", path, "--bootstrap", 0, *(["--json"] if is_json else []))
    assert done.code in (0, 2)
    hostile.printable(done)


# --- scenes

NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, 0, -1, 2262.5, 0.2, 150])
CAMERA = {"intrinsic": {"fx": 2262.5}, "extrinsic": {"baseline": 0.2}}


@fuzz(150)
@given(
    mutated(CAMERA).map(as_bytes)
    | VALUES.map(as_bytes)
    | BYTES
    | NUMBERS.map(lambda fx: as_bytes({"intrinsic": {"fx": fx}}))
)
def test_cameras_and_vehicles(tmp_path: Path, content: bytes) -> None:
    path = lay(tmp_path / "c.json", content)

    def read() -> float:
        table = inputs.read_json(path, 1 << 20)
        fallbacks: list[str] = []
        inputs._number(path, table, "extrinsic.baseline", "m", (0.001, 100), 0.2, fallbacks)
        inputs._number(path, table, "speed", "m/s", (0, 150), 10, fallbacks)
        return inputs._number(path, table, "intrinsic.fx", "px", (1, 1_000_000), 2262.52, fallbacks)

    found = only_documented(read)
    assert found is None or 1 <= found <= 1_000_000


POLYGONS = {
    "objects": [
        {"label": "car", "polygon": [[1, 1], [50, 2], [40, 60]]},
        {"label": "road", "polygon": [[-5, 9], [99, 9], [3, 70]]},
    ]
}


@fuzz(150)
@given(mutated(POLYGONS).map(as_bytes) | VALUES.map(as_bytes) | BYTES)
def test_polygons(tmp_path: Path, content: bytes) -> None:
    found = only_documented(lambda: polygons.read_polygons(lay(tmp_path / "p.json", content), 64, 48))
    for polygon in found or []:
        assert all(-1e-6 <= x <= 63 + 1e-6 and -1e-6 <= y <= 47 + 1e-6 for x, y in polygon.points)
    if found:
        assert polygons.visible(found, 64, 48).shape == (48, 64)


IMPORTANCE = {
    "schema_version": 1, "files": {"importance.npy": 9}, "objects": [{"within": True}], "fallbacks": ["speed"],
    "notes": [], "faults": [], "mean_importance": 0.5, "share_at_one": 0.1,
}  # fmt: skip


@fuzz(100)
@given(mutated(IMPORTANCE).map(as_bytes) | VALUES.map(as_bytes) | BYTES)
def test_records_of_importance(tmp_path: Path, content: bytes) -> None:
    found = importance_record.read(lay(tmp_path / "i.json", content))
    if found is not None:
        json.dumps(found, allow_nan=False)
        assert sum(one["within"] for one in found["objects"]) >= 0
        assert 0 <= found["mean_importance"] <= 1


@fuzz(60)
@given(st.floats(), st.floats(), st.floats())
def test_settings_of_importance(reaction_s: float, deceleration_mps2: float, floor_m: float) -> None:
    only_documented(
        lambda: ImportanceSettings(reaction_s=reaction_s, deceleration_mps2=deceleration_mps2, d_safe_floor_m=floor_m)
    )


# --- score records

PART = {"confusion": [[0, 0, 5], [1, 2, 3]], "bands": [[], [], [], [[0, 0, 1]]], "importance": [1.0, 2.0]}
SCORE = {
    "schema_version": 1, "source": "a", "iqa": {"PSNR": {"value": 30.5, "reason": None, "key": "k"}},
    "machine": {"key": "k", "kind": "segmentation", "classes": 19, "pseudo": PART, "labels": None, "notes": {}},
}  # fmt: skip


@fuzz(250)
@given(mutated(SCORE).map(as_bytes) | VALUES.map(as_bytes) | BYTES)
def test_score_records(tmp_path: Path, content: bytes) -> None:
    from vcmbench.tasks.confusion import dense

    found = records.read(lay(tmp_path / "s.json", content))
    if found is None:
        return
    assert all(entry["value"] is None or math.isfinite(entry["value"]) for entry in found["iqa"].values())
    part = found["machine"]
    for against in ("pseudo", "labels") if part and part["kind"] == "segmentation" else ():
        if part[against] is not None:
            assert dense(part[against]["confusion"], part["classes"]).min() >= 0


# --- maps and pictures


@fuzz(150)
@given(st.lists(st.lists(st.integers(-(10**9) + 1, 10**9 - 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_qp_maps_come_back(tmp_path: Path, rows: list[list[int]]) -> None:
    qp_map.write_csv(tmp_path / "q.csv", np.array(rows, np.int64))
    assert qp_map.read_csv(tmp_path / "q.csv").tolist() == rows


@fuzz(150)
@given(spoilt(b"32,33,34\n30,31,32\n") | BYTES | st.text("0123456789+-., \n\r\t\0eE_", max_size=60).map(str.encode))
def test_qp_maps(tmp_path: Path, content: bytes) -> None:
    found = only_documented(lambda: qp_map.read_csv(lay(tmp_path / "q.csv", content)))
    assert found is None or (found.ndim == 2 and found.dtype == np.int64)


def _npy() -> bytes:
    data = io.BytesIO()
    np.save(data, np.full((4, 6), 0.5, np.float32))
    return data.getvalue()


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 6), }"


@fuzz(150)
@given(spoilt(_npy()) | BYTES.map(lambda text: _npy()[:10] + text[:118].ljust(118)) | spoilt(HEADER.encode()).map(
    lambda text: b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + bytes(96)))  # fmt: skip
def test_importance_maps(tmp_path: Path, content: bytes) -> None:
    found = only_documented(lambda: qp_map.load_importance(lay(tmp_path / "i.npy", content)))
    assert found is None or ((found >= 0) & (found <= 1)).all()


def _picture(form: str, mode: str = "RGB") -> bytes:
    data = io.BytesIO()
    picture = Image.fromarray(np.arange(16 * 12 * 3, dtype=np.uint8).reshape(12, 16, 3)).convert(mode)
    picture.save(data, form)
    return data.getvalue()


PICTURES = [_picture(form) for form in ("PNG", "JPEG", "BMP", "TIFF", "PPM", "WEBP")] + [_picture("PNG", "P")]


@fuzz(300)
@given(st.sampled_from(PICTURES).flatmap(spoilt) | BYTES)
@pytest.mark.filterwarnings("ignore")
def test_pictures(tmp_path: Path, content: bytes) -> None:
    path = lay(tmp_path / "a.png", content)
    found = only_documented(lambda: read_picture(path))
    assert found is None or (found.rgb.ndim == 3 and found.rgb.dtype == np.uint8)
    only_documented(lambda: read_prediction(path))
    only_documented(lambda: inputs._read_png(path, ("L", "I;16"), "gray"))
    prediction_key(path)


@cache
def _video(ending: str) -> bytes:
    with TemporaryDirectory() as folder:
        return write(Path(folder, f"a{ending}"), pictures=[numbered(number) for number in range(4)]).read_bytes()


@fuzz(30)
@given(st.sampled_from((".mp4", ".mkv", ".ts", ".avi")).flatmap(lambda ending: spoilt(_video(ending))) | BYTES)
def test_videos(tmp_path: Path, content: bytes) -> None:
    path = lay(tmp_path / "a.mp4", content)
    found = only_documented(lambda: sum(rgb.ndim == 3 for rgb in read_all(path)))
    known = only_documented(lambda: index(path))
    assert (found is None) == (known is None)
    assert known is None or len(known.times_s) == found


# --- tables

TABLE = b"encoder,quality,rate_bpp,psnr_y_db\n" + b"".join(
    b"%s,%d,%.2f,%.2f\n" % (name, q, 4 / q, 60 - q) for name in (b"x264", b"x265") for q in (12, 22, 32, 42)
)


@fuzz(80)
@given(spoilt(TABLE) | BYTES)
@pytest.mark.filterwarnings("ignore")
def test_the_command_that_reads_a_table(tmp_path: Path, content: bytes) -> None:
    path = lay(tmp_path / "t.csv", content)
    done = hostile.typed("bdrate", path, "--quality", "psnr_y_db", "--bootstrap", 0)
    assert done.code in (0, 2)
    hostile.printable(done)
