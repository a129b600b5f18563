"""What lies among the results of measuring and was not written by it: links, edited records, strange names."""

from __future__ import annotations

import copy as copying
import csv
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import hostile
from tests.helpers.commands import tree
from tests.helpers.measuring import (
    CONFIGURATIONS,
    FOLDERS,
    PICTURES,
    U8,
    Results,
    compressed,
    copy,
    counts,
    measure,
    once,
    typed,
    write_toml,
)
from tests.helpers.pictures import save
from vcmbench.data.dataset import DataRoot
from vcmbench.data.record import as_json, read_record
from vcmbench.data.store import Store
from vcmbench.measure import outcome, records
from vcmbench.measure.blocks import state as block_state

ALL = CONFIGURATIONS * PICTURES


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return copy(tmp_path_factory, tmp_path)


@pytest.fixture
def config(tmp_path: Path, results: Results) -> Path:
    return tmp_path / "trial.toml"


# --- links


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    for name in ("precious", "val/lindau/precious.png", "report.html", "trial_32x32.state.json", "accuracy.svg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("of somebody else")
    return folder


def everything(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): "" for path in root.rglob("*")} | tree(root)


PLACES = {
    "P_GT": "P_GT",
    "P_hat_C": "P_hat_C",
    "predictions of a configuration": f"P_hat_C/{FOLDERS['x265']}",
    "predictions of a split": "P_GT/val",
    "scores": "results/trial/scores",
    "scores of a configuration": f"results/trial/scores/{FOLDERS['x265']}",
    "scores of the pristine": "results/trial/scores/pristine",
    "blocks": "results/trial/blocks",
}


@pytest.mark.parametrize("what", PLACES)
def test_folders_that_are_links(what: str, results: Results, config: Path, outside: Path) -> None:
    """With --force, which makes everything anew; what is written elsewhere is the same as ever."""
    place = results.root / PLACES[what]
    shutil.rmtree(place)
    place.symlink_to(outside)
    before = everything(outside)
    done = measure(results.root, config, "--force")
    assert everything(outside) == before
    assert "Traceback" not in done.err
    assert done.code in (1, 2)
    assert "leads out of the data root" in done.err


@pytest.mark.parametrize("is_folder", [False, True], ids=["files", "figures"])
def test_the_report_does_not_go_elsewhere(is_folder: bool, results: Results, config: Path, outside: Path) -> None:
    for name in ["figures"] if is_folder else ["report.html", "bd.json", "figures/accuracy_rate.svg"]:
        (results.folder / name).parent.mkdir(exist_ok=True)
        (results.folder / name).symlink_to(outside if is_folder else outside / "precious")
    before = everything(outside)
    done = typed("report", "-d", results.root, "-s", config, "--runner", "local")
    assert everything(outside) == before
    assert "Traceback" not in done.err
    assert done.code == (2 if is_folder else 0), done.err


@pytest.mark.parametrize("place", ["image_scores.csv", "block_scores.parquet", "measured.json", "points.csv",
                                   "blocks/trial_32x32.state.json", "correlation_image.json"])  # fmt: skip
def test_single_files_that_are_links(place: str, results: Results, config: Path, outside: Path) -> None:
    path = results.folder / place
    path.unlink(missing_ok=True)
    path.symlink_to(outside / "precious")
    before = everything(outside)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (0, ALL, 0)), done.err
    assert everything(outside) == before


def test_predictions_that_are_links_are_replaced(results: Results, config: Path, outside: Path) -> None:
    for path in (results.prediction(None), results.prediction("x265")):
        path.unlink()
        path.symlink_to(outside / "val/lindau/precious.png")
    before = everything(outside)
    done = measure(results.root, config)
    assert done.code == 0, done.err
    assert everything(outside) == before
    assert not results.prediction("x265").is_symlink()


# --- pipes and gigabytes


def gigabytes(path: Path) -> Path:
    return hostile.sparse(path, 3 * hostile.GIGABYTE)


@pytest.mark.parametrize("lay", [hostile.pipe, gigabytes])
def test_what_is_in_the_way_of_results(lay: Callable[[Path], Path], results: Results, config: Path) -> None:
    """Records, states, predictions and correlations: they count as not there, and are made again."""
    for path in (
        results.score_path("x265"), results.score_path("jpeg 5", "munster"), results.folder / "measured.json",
        results.folder / "blocks/trial_32x32.state.json", results.folder / "blocks/trial_32x32_val_blocks.json",
        results.folder / "correlation_image.json", results.folder / "correlation_mine.json",
        results.prediction("x265"), results.prediction(None, "munster"),
    ):  # fmt: skip
        lay(path)
    with hostile.within(60):
        done = measure(results.root, config)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert results.json("correlation_image.json")["PSNR"]["n"]
    assert len(results.blocks()) == 40


def test_predictions_of_others_that_are_none(results: Results, config: Path) -> None:
    """Predictions of files: a picture whose prediction unpacks into gigabytes fails alone."""
    text = config.read_text()
    config.write_text(text.replace("[task]\n", '[task]\npredictions = "files"\n'))
    results.prediction("x265").write_bytes(hostile.png(60_000, 60_000, b"x"))
    hostile.sparse(results.prediction("jpeg 5"), 3 * hostile.GIGABYTE, hostile.png(8, 8))
    with hostile.within(60):
        done = measure(results.root, config)
    assert done.code == 1
    assert "Traceback" not in done.err
    assert counts(done)[2] == 2


# --- edited records

Edit = Callable[[dict[str, Any]], object]


def put(*way: Any) -> Edit:
    """Sets what lies at keys one below the other: the last word is the value."""
    *keys, last, value = way

    def edit(score: dict[str, Any]) -> None:
        node: Any = score
        for key in keys:
            node = node[key]
        node[last] = value

    return edit


ODD: tuple[Any, ...] = (
    None, "x", -1, 10**30, 1.5, True, [], {}, [[]], [[0, 0]], [[0, 0, "1"]], [[0, 0, -1]], [[0, 0, 1.0]], [[99, 0, 1]],
    [[0, 99, 1]], [[-1, 0, 1]], [[0, 0, 2**40]], [[0, 0, True]], "ab", {"0": 1},
)  # fmt: skip
EDITS: list[tuple[str, Edit]] = [
    *((f"confusion {value!r:.20}", put("machine", "pseudo", "confusion", value)) for value in ODD if value != []),
    *((f"bands {value!r:.20}", put("machine", "labels", "bands", value)) for value in ODD if value is not None),
    *((f"weights {value!r:.20}", put("machine", "pseudo", "importance", value)) for value in ODD if value is not None),
    *((f"classes {value!r:.20}", put("machine", "classes", value)) for value in (None, "19", 0, -1, 2**31, 1.5, [], 3)),
    *((f"kind {value!r:.20}", put("machine", "kind", value)) for value in (None, "x", 1, [], "classification")),
    *((f"pseudo {value!r:.20}", put("machine", "pseudo", value)) for value in ("x", 1, [], {}, {"right": [1, 1]})),
    *((f"machine {value!r:.20}", put("machine", value)) for value in ("x", 1, [], {})),
    *((f"machine key {value!r:.20}", put("machine", "key", value)) for value in (None, 1, [])),
    *((f"notes {value!r:.20}", put("machine", "notes", value)) for value in (None, "x", [], {"labels": 3})),
    *((f"identity {value!r:.20}", put("machine", "identity", value)) for value in ("x", 1, [])),
    *((f"metric {value!r:.20}", put("iqa", "PSNR", "value", value)) for value in
      ("30", True, [], {}, [30], float("nan"), float("inf"), 10**400)),
    *((f"reason {value!r:.20}", put("iqa", "PSNR", "reason", value)) for value in (1, [], {})),
    *((f"metric key {value!r:.20}", put("iqa", "PSNR", "key", value)) for value in (None, 1, [])),
    *((f"entry {value!r:.20}", put("iqa", "PSNR", value)) for value in (None, "x", 30.5, {}, {"value": 1})),
    *((f"iqa {value!r:.20}", put("iqa", value)) for value in (None, "x", [], 1)),
    *((f"version {value!r:.20}", put("schema_version", value)) for value in (None, "1", 0, [], 99)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(EDITS)), ids=[name for name, _ in EDITS])
def test_an_edited_score_record_is_none(number: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    sound = Results(once(tmp_path_factory) / "data").score_path("x265")
    score, path = records.read(sound), tmp_path / "x.json"
    assert score is not None
    EDITS[number][1](score)
    path.write_text(json.dumps(score))
    assert records.read(path) is None


def test_edited_score_records_are_made_again(results: Results, config: Path) -> None:
    """Of each of the twelve something else is wrong; a report is not made of them."""
    sound = {path: records.read(path) for path in sorted((results.folder / "scores").rglob("*.json"))}
    for (path, score), (_, edit) in zip(sound.items(), EDITS[:: len(EDITS) // len(sound)], strict=False):
        assert score is not None
        wrong = copying.deepcopy(score)
        if wrong["machine"].get("labels") is None or "configuration" not in wrong:
            wrong["machine"]["classes"] = 10**9
        else:
            edit(wrong)
        path.write_text(json.dumps(wrong))
    before = tree(results.folder)
    done = typed("report", "-d", results.root, "-s", config, "--runner", "local")
    assert done.code == 2
    assert "Traceback" not in done.err
    assert tree(results.folder) == before
    done = measure(results.root, config)
    assert done.code == 0, done.err
    assert {path: records.read(path) for path in sound} == sound


def test_records_of_two_networks_are_not_mixed(results: Results, config: Path) -> None:
    """A record that is sound by itself, but of another number of classes than the others."""
    path = results.score_path("x265")
    score = records.read(path)
    assert score is not None
    score["machine"] |= {"classes": 2, "pseudo": {"confusion": [[1, 1, 5]], "bands": None, "importance": None},
                         "labels": None}  # fmt: skip
    path.write_text(json.dumps(score))
    assert records.read(path) is not None
    for words in (["metrics", "--json", "--gpu", "none", "--no-report"], ["report"]):
        done = typed(words[0], "-d", results.root, "-s", config, "--runner", "local", *words[1:])
        assert "Traceback" not in done.err
        assert done.code == 0, done.err


STATES: list[Any] = [
    [], "x", {"metrics": []}, {"metrics": {"PSNR": 3}}, {"notes": 3}, {"notes": [1]}, {"key": []}, {"sampler": "x"},
    {"metrics": {"PSNR": {"key": "", "values": "x" * 40, "reasons": {}}}},
    {"metrics": {"PSNR": {"key": "", "values": [None] * 40, "reasons": {"a": 3}}}},
]  # fmt: skip


def test_edited_states_of_blocks(results: Results, config: Path) -> None:
    path = results.folder / "blocks/trial_32x32.state.json"
    sound = json.loads(path.read_bytes())
    del sound["seal"]
    tables = results.table("block_scores")
    for state in STATES:
        path.write_text(json.dumps(sound | state if isinstance(state, dict) else state))
        done = measure(results.root, config)
        assert done.code == 0, done.err
        assert results.table("block_scores") == tables


VALUES: list[Any] = [["x"], [True], [[1]], ["x"] * 40, [True] * 40, [None] * 39, [float("inf")] * 40, "x" * 40]


@pytest.mark.parametrize("values", VALUES, ids=range(len(VALUES)))
def test_values_of_blocks(values: Any) -> None:
    assert not block_state.is_of({"key": "k", "values": values, "reasons": {}}, "k", 40)
    good = {"key": "k", "values": [1.5] * 40, "reasons": {"why": [0, 39]}}
    assert block_state.is_of(good, "k", 40)
    for reasons in ({"why": [40]}, {"why": [-1]}, {"why": 3}, {"why": ["0"]}, [], None):
        assert not block_state.is_of(good | {"reasons": reasons}, "k", 40)


MEASURED: list[dict[str, Any]] = [
    {"blocks": ["../../../../etc/passwd"]}, {"blocks": ["/etc/passwd"]}, {"blocks": [3]}, {"blocks": "x"},
    {"kept": ["a/b"]}, {"kept": ["a\0b"]}, {"levels": ["x"]}, {"levels": 3}, {"failed": [["a"]]},
    {"failed": [["a", 3]]}, {"failed": {"a": "b"}}, {"missing": [3]}, {"unavailable": []},
    {"unavailable": {"PSNR": 3}}, {"commands": [[]]},
]  # fmt: skip


@pytest.mark.parametrize("change", MEASURED, ids=range(len(MEASURED)))
def test_an_edited_outcome_is_none(change: dict[str, Any], results: Results, config: Path) -> None:
    path = results.folder / "measured.json"
    path.write_text(json.dumps(results.json("measured.json") | change))
    assert outcome.recall(Store(DataRoot(results.root, True), "trial")) is None
    done = typed("report", "-d", results.root, "-s", config, "--runner", "local")
    assert done.code == 2
    assert "no run has measured all of it yet" in done.err


RECORDS: list[dict[str, Any]] = [
    {"rate_search": {}}, {"rate_search": 3}, {"rate_search": {"is_equal": "yes", "size_error": 0}}, {"map": []},
    {"map": {}}, {"region": 3}, {"uniform": []}, {"uniform": {"region": 3}}, {"tool": 3}, {"tool": {"encode": "x"}},
    {"notes": 3}, {"notes": [3]}, {"files": ["x"]}, {"files": {"../x": "a"}}, {"files": {"x": 3}},
    {"frame_psnr_y_db": 3}, {"frame_psnr_y_db": []}, {"frame_psnr_y_db": ["x"]},
]  # fmt: skip


@pytest.mark.parametrize("change", RECORDS, ids=range(len(RECORDS)))
def test_parts_of_a_record_that_not_every_one_has(
    change: dict[str, Any], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Sealed as we would: whoever edits a record can do that, too."""
    folder = Results(once(tmp_path_factory) / "data").folder / "records"
    record, path = read_record(next(folder.rglob("*.265.json"))), tmp_path / "x.json"
    assert record is not None
    path.write_bytes(as_json(record | change))
    assert read_record(path) is None


@pytest.mark.parametrize(
    "change",
    [
        {"width_px": 10**9, "height_px": 10**9}, {"scaled_width_px": 1 << 20, "scaled_height_px": 1 << 20},
        {"coded_width_px": 1 << 20, "coded_height_px": 1 << 20}, {"qp_map": {"x": 1}}, {"quality": 10**9},
        {"parameters": {"a": []}}, {"preset": "../../x"}, {"encoder": "../x"}, {"bitstream": ""}, {"bitstream": "."},
        {"bitstream": "results/x"}, {"size_bytes": 10**18},
    ],
    ids=range(12),
)  # fmt: skip
def test_records_that_are_decoded(change: dict[str, Any], results: Results, tmp_path: Path) -> None:
    """Of sizes that no picture has, and settings that no encoder has: one line, in no time, and nothing is written."""
    path = next((results.folder / "records").rglob("*.265.json"))
    record = read_record(path)
    assert record is not None
    path.write_bytes(as_json(record | change))
    with hostile.within(20):
        done = typed("decode", path, "-o", tmp_path / "out", "--runner", "local")
    assert done.code in (1, 2), done.err
    hostile.printable(done)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.png"))


@pytest.mark.parametrize("name", ["../../../x", "/etc/x", "..", "a/../../../../x", "a\0b", "\ud800", "x" * 300])
def test_names_of_sources_in_a_record(name: str, results: Results, tmp_path: Path) -> None:
    path = next((results.folder / "records").rglob("*.265.json"))
    record = read_record(path)
    assert record is not None
    record["sources"] = [{**record["sources"][0], "name": name}]
    try:
        path.write_bytes(as_json(record))
    except UnicodeEncodeError:
        path.write_bytes(json.dumps(record | {"schema_version": 2}).encode())
    before = {place: one for place, one in everything(tmp_path).items() if not place.startswith("out")}
    done = typed("decode", path, "-o", tmp_path / "out", "--runner", "local")
    assert done.code == (0 if name in ("/etc/x", "..") else 2), "names below the folder, whatever they look like"
    hostile.printable(done)
    assert {place: one for place, one in everything(tmp_path).items() if not place.startswith("out")} == before


def bitstreams() -> dict[str, bytes]:
    """What a bitstream of the JPEG encoder may be in place of one."""
    data = io.BytesIO()
    Image.new("L", (4000, 4000), 77).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return {
        "a program": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "60000 px": hostile.png(60_000, 60_000, b"x"),
        "many scans": whole[:-2] + 1000 * last + whole[-2:],
        "a text chunk": hostile.png(8, 8, b"", hostile.chunk(b"zTXt", b"k\0\0" + hostile.bomb(1 << 28))),
        "another picture": hostile.png(8, 8, b"\0" * 200),
        "zeros": bytes(99),
    }


@pytest.mark.parametrize("what", bitstreams())
def test_bitstreams_of_others(what: str, results: Results, tmp_path: Path) -> None:
    """Their records say the same of them: size and hash hold."""
    content = bitstreams()[what]
    path = next((results.folder / "records").rglob("*.jpg.json"))
    record = read_record(path)
    assert record is not None
    (results.root / record["bitstream"]).write_bytes(content)
    changed = {"size_bytes": len(content), "bitstream_sha256": hashlib.sha256(content).hexdigest()}
    path.write_bytes(as_json(record | changed))
    with hostile.within(20):
        done = typed("decode", path, "-o", tmp_path / "out", "--runner", "local")
    assert done.code in (1, 2), done.err
    hostile.printable(done)


# --- names


class _Tags(HTMLParser):
    """The elements of a page, and whether any has a handler or an address of elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        for name, value in attrs:
            if name.startswith("on") or (name in ("src", "href") and not (value or "").startswith(("data:", "#"))):
                self.bad.append(f"{tag} {name}={value}")


def page_of(path: Path) -> str:
    """A report in which names are only text."""
    text = path.read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(text)
    assert tags.scripts == 1
    assert tags.bad == []
    assert "<script>hit()" not in text
    assert not {"\u202e", "\u2066", "\x1b", "\x07", "\u2028"} & set(text)
    return text


def test_names_through_measuring_and_the_report(tmp_path: Path, astronaut: U8) -> None:
    """Pictures of one's own under every name: predictions, scores, tables, correlations and the report."""
    head = '[task]\n[metrics]\niqa = ["PSNR"]\nintervals = false\nlevels = ["image"]\n'
    root, config = tmp_path / "data", write_toml(tmp_path, 'encoder = "jpeg"\nquality = [5, 40]', head=head)
    for number, name in enumerate(hostile.NAMES):
        save(root / f"{name}.png", np.roll(astronaut, 16 * number, axis=1)[:64, :96])
    compressed(root, config)
    words = ["metrics", "-d", root, "-s", config, "--runner", "local", "--gpu", "none"]
    done = typed(*words)
    assert done.code == 0, done.err
    hostile.printable(done)
    results = Results(root)
    assert {row["source"] for row in results.table("image_scores")} == set(hostile.NAMES)
    assert {path.stem for path in (root / "P_GT").iterdir()} == set(hostile.NAMES)
    page_of(results.folder / "report.html")
    again = typed(*words)
    assert f"{2 * len(hostile.NAMES)} were known, 0 failed" in again.err
    assert not list(tmp_path.rglob("sprung"))


def test_names_in_a_report_of_failures(results: Results, config: Path) -> None:
    """What went wrong with a picture is told with its name, in the report, too."""
    city = results.root / "cityscapes/leftImg8bit/val/<script>hit()"
    name = "<img src=x onerror=hit()>\u202e_leftImg8bit.png"
    save(city / name, np.zeros((96, 192, 3), np.uint8))
    compressed(results.root, config)
    (city / name).write_bytes(b"no picture")
    done = typed("metrics", "-d", results.root, "-s", config, "--runner", "local", "--gpu", "none")
    assert done.code == 1
    hostile.printable(done)
    text = page_of(results.folder / "report.html")
    assert "&lt;img src=x onerror=hit()&gt;" in text


def test_names_of_classes(tmp_path: Path, astronaut: U8) -> None:
    """As a checkpoint brings them: in records, tables and the report."""
    import timm
    import torch
    from safetensors.torch import save_file

    classes = ["<script>hit()", "=cmd|' C calc'!A0\x1b[2J", "\u202edog\nnew line"]
    torch.manual_seed(0)
    weights = timm.create_model("test_resnet.r160_in1k", pretrained=False, num_classes=3).state_dict()
    save_file(weights, tmp_path / "resnet.safetensors", {"classes": json.dumps(classes)})
    head = (
        '[task]\nname = "classification"\nmodel = "test_resnet.r160_in1k"\ncheckpoint = "resnet.safetensors"\n'
        '[metrics]\niqa = ["PSNR"]\nintervals = false\nlevels = ["image"]\n'
    )
    root, config = tmp_path / "data", write_toml(tmp_path, 'encoder = "jpeg"\nquality = [3, 60]', head=head)
    for number in range(4):
        save(root / f"cat/{number}.png", np.roll(astronaut, 37 * number, axis=1)[:128, :160])
    compressed(root, config)
    done = typed("metrics", "-d", root, "-s", config, "--runner", "local", "--gpu", "none")
    assert done.code == 0, done.err
    hostile.printable(done)
    names = {name for score in Results(root).scores() for name in score["machine"]["names"].values()}
    assert names <= set(classes)
    assert names
    page_of(root / "results/trial/report.html")


def test_tables_hold_names_as_they_are(results: Results) -> None:
    """See test_hostile_names: a table is for programs, and joined by its names."""
    with (results.folder / "image_scores.csv").open(encoding="utf-8", newline="") as file:
        assert all(not row["source"].startswith("'") for row in csv.DictReader(file))
