"""QP maps on their whole way: from labels to bits that went where they were told to, with the real encoders."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.commands import Typed, compress_here, half_written, tree, typed
from tests.helpers.pictures import save
from tests.helpers.tools import scripted_jm
from vcmbench import experiment
from vcmbench.compress import encode_job
from vcmbench.compress.coder import Cache
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.data.dataset import find_sources, open_root
from vcmbench.data.selection import Selection
from vcmbench.demo import cityscapes
from vcmbench.errors import JobError
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.importance import ImportanceSettings, importance_path, qp_map, read_importance

Write = Callable[..., Path]

MAP = "qp_map = { delta = 6 }\n"
X264 = f'encoder = "x264"\nquality = [30]\n{MAP}'
# what is promised of a map with delta 6, in dB of luma PSNR where it matters, at equal rate
GAINS_DB = {"x264": 2.0, "x265": 1.5, "kvazaar": 2.0, "jpeg": 0.7, "vvenc": 0.0}
QUALITIES = {"jpeg": 40}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes of the embedded data, 512x256."""
    root = tmp_path_factory.mktemp("drawn")
    cityscapes.write(root, val_per_city=1, train_scenes=0, sequences=0)
    return root / "cityscapes"


@pytest.fixture
def scenes(tmp_path: Path, drawn: Path) -> Path:
    """A data root of those scenes: labels, disparity and all the rest."""
    root = tmp_path / "data"
    root.mkdir()
    (root / "cityscapes").symlink_to(drawn)
    return root


@pytest.fixture
def own_scenes(tmp_path: Path, drawn: Path) -> Path:
    """The same as files of its own, to be damaged."""
    shutil.copytree(drawn, tmp_path / "data/cityscapes")
    return tmp_path / "data"


def with_map(root: Path, name: str, picture: NDArray[np.uint8], importance: NDArray[Any]) -> None:
    """A picture in a flat folder, with an importance map of its own."""
    save(root / f"{name}.png", picture)
    (root / "importance_map").mkdir(exist_ok=True)
    np.save(root / "importance_map" / f"{name}_importance.npy", importance)


FILES = '[importance]\nsource = "files"\n'
FEW = '[importance]\nclasses = "seed000"\n'
"""Objects within the safe distance alone matter: few enough that a map's mean is far from its base."""


def square(height: int, width: int) -> NDArray[np.float32]:
    """A quarter of a picture matters: the middle of it."""
    importance = np.zeros((height, width), np.float32)
    importance[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
    return importance


@pytest.mark.parametrize("name", GAINS_DB)
def test_at_equal_rate_bits_go_where_it_matters(name: str, scenes: Path, write_experiment: Write) -> None:
    """Delta 6 on the demo scenes, each file within 1 % of the uniform one: what is gained within the safe distance."""
    quality = QUALITIES.get(name, 30)
    config = write_experiment(f'encoder = "{name}"\nquality = [{quality}]\n{MAP}match = "rate"', head=FEW)
    done = compress_here(scenes, config)
    assert done.code == 0, done.err
    gains = []
    for record in done.records():
        search, uniform, region = record["rate_search"], record["uniform"], record["region"]
        assert search["is_equal"]
        assert abs(record["size_bytes"] / uniform["size_bytes"] - 1) <= 0.01
        assert search["encodes"] == len(search["tried"]) <= 8
        assert region["pixels_inside"] + region["pixels_outside"] == 512 * 256
        assert region["pixels_inside"] == uniform["region"]["pixels_inside"] > 0
        assert region["psnr_y_outside_db"] < uniform["region"]["psnr_y_outside_db"], "bits are taken from elsewhere"
        assert record["evidence"]["kind"]
        gains.append(region["psnr_y_inside_db"] - uniform["region"]["psnr_y_inside_db"])
    assert len(gains) == 3
    assert np.mean(gains) >= GAINS_DB[name], gains
    (row,) = csv.DictReader((scenes / "results/trial/equal_rate.csv").read_text().splitlines())
    assert float(row["inside_db"]) == pytest.approx(np.mean(gains))
    assert row["inside_low_db"] == row["inside_high_db"] == "", "three pictures are too few for an interval"


@pytest.mark.parametrize("name", ["x264", "x265"])
def test_coded_mean_qp_is_the_requested_one(
    name: str, scenes: Path, photos: Path, astronaut: NDArray[np.uint8], write_experiment: Write
) -> None:
    """Of the map, to the dither, and of what the tool was given within 0.25, on scenes and photographs, over QPs."""
    coding = f'encoder = "{name}"\nquality = [14, 22, 30, 38]\n'
    codings = [f"{coding}qp_map = {{ delta = {delta} }}" for delta in (3, 6)]
    for letter in "ab":
        with_map(photos, letter, np.asarray(Image.open(photos / f"{letter}.png")), square(256, 320))
    records = [(scenes, record) for record in compress_here(scenes, write_experiment(*codings, head=FEW)).records()]
    others = compress_here(photos, write_experiment(*codings, name="other", head=FILES)).records()
    records += [(photos, record) for record in others]
    assert len(records) == 8 * 5
    for root, record in records:
        evidence = record["evidence"]
        sent, coded = evidence["sent_mean_qp"], evidence["coded_mean_qp"]
        assert abs(sent - evidence["requested_mean_qp"]) <= 0.1
        table = qp_map.read_csv((root / record["bitstream"]).with_suffix("").with_name(
            f"{Path(record['bitstream']).stem}_qp_map.csv"))  # fmt: skip
        assert evidence["requested_mean_qp"] == pytest.approx(table.mean(), abs=1e-4)
        if name == "x264":  # a block without coefficients has no QP of its own
            sent = evidence["sent_mean_qp_of_coded_blocks"]
            coded = evidence["coded_mean_qp_of_coded_blocks"]
            assert evidence["blocks_as_requested"] + evidence["blocks_that_repeat"] >= 0.99 * evidence["blocks"]
        # x265 does not tell which blocks have no coefficients, hence no QP but that of finer neighbours: in the smooth
        # parts of a photograph, coarsely coded, there are some
        has_empty_blocks = name == "x265" and record["quality"] >= 30 and "importance=files" in record["bitstream"]
        assert -(1.0 if has_empty_blocks else 0.25) <= coded - sent <= 0.25, record["bitstream"]
        assert abs(record["coded_qp"] - evidence["coded_mean_qp"]) <= 0.01, "the tool and the bitstream agree"


def test_the_map_beside_a_bitstream_is_what_qpmap_makes(scenes: Path, write_experiment: Write, tmp_path: Path) -> None:
    """Compressing and `vcmbench qpmap` follow one rule, and with the same importance."""
    (record, *_) = compress_here(scenes, write_experiment(X264)).records()
    bitstream = scenes / record["bitstream"]
    theirs = qp_map.read_csv(bitstream.with_name(bitstream.name.replace(".264", "_qp_map.csv")))
    made = typed("importance", "-d", scenes, "--visualize-every", 0)
    assert made.code == 0, made.err
    name = record["sources"][0]["name"].removeprefix("leftImg8bit/").removesuffix("_leftImg8bit")
    options = ("--block-size", 16, "--base-qp", 30, "--delta", 6, "--scaling", "absolute", "--no-picture")
    out = tmp_path / "out.csv"
    done = typed("qpmap", scenes / "importance_map" / f"{name}_importance.npy", "-o", out, *options)
    assert done.code == 0, done.err
    np.testing.assert_array_equal(theirs, qp_map.read_csv(out))
    assert theirs.min() == 24
    assert theirs.max() == 36


def test_a_second_run_does_nothing_and_a_changed_input_is_done_again(own_scenes: Path, write_experiment: Write) -> None:
    config = write_experiment(X264)
    compress_here(own_scenes, config)
    before = tree(own_scenes)
    assert [event["state"] for event in compress_here(own_scenes, config).events] == ["resumed"] * 3
    assert tree(own_scenes) == before
    vehicle = next(own_scenes.glob("cityscapes/vehicle/val/frankfurt/*.json"))
    vehicle.write_text(json.dumps({**json.loads(vehicle.read_text()), "speed": 30.0}))
    states = [event["state"] for event in compress_here(own_scenes, config).events]
    assert sorted(states) == ["done", "resumed", "resumed"]
    slow = write_experiment(X264, name="slow", head="[importance]\nuse_speed = false\n")
    assert [event["state"] for event in compress_here(own_scenes, slow).events] == ["done"] * 3
    assert len(list(own_scenes.glob("cityscapes_x264*"))) == 2, "another importance has another folder"


def test_mapped_results_decode_from_their_records(scenes: Path, write_experiment: Write, tmp_path: Path) -> None:
    codings = [f'encoder = "{name}"\nquality = [{QUALITIES.get(name, 30)}]\n{MAP}' for name in GAINS_DB]
    done = compress_here(scenes, write_experiment(*codings, head="[dataset]\nlimit = 1\n"))
    assert done.code == 0, done.err
    again = typed("decode", scenes / "results/trial/records", "-o", tmp_path / "out", "--runner", "local")
    assert again.code == 0, again.err
    assert len(list((tmp_path / "out").rglob("*.png"))) == len(GAINS_DB)


@pytest.mark.parametrize("name", GAINS_DB)
def test_a_dense_random_map_and_odd_sizes(name: str, photos: Path, write_experiment: Write) -> None:
    """The worst case for a list of regions: every block differs from its neighbours. And sides that nothing divides."""
    rng = np.random.default_rng(3)
    for letter, (height, width) in (("a", (256, 320)), ("b", (201, 299))):
        picture = np.asarray(Image.open(photos / f"{letter}.png"))[:height, :width]
        side = 128 if name == "kvazaar" else 16  # in blocks of 64 px at half size; finer ones would vanish
        blocks = rng.random((height // side + 1, width // side + 1), np.float32)
        with_map(photos, letter, picture, blocks.repeat(side, 0).repeat(side, 1)[:height, :width])
    quality = QUALITIES.get(name, 30)
    codings = [f'encoder = "{name}"\nquality = [{quality}]\nsubsampling_factor = [1.0, 0.5]\n{MAP}']
    done = compress_here(photos, write_experiment(*codings, head=FILES))
    assert done.code == 0, done.err
    for record in done.records():
        told = record["map"]
        assert told["blocks"][0] == -(-record["coded_height_px"] // 16)
        assert told["levels_wanted"] >= (10 if record["subsampling_factor"] == 1 and name != "kvazaar" else 3)
        assert told["method"] in ("native", "coefficients", "prefilter")


@pytest.mark.skipif(shutil.which("kvazaar") is None, reason="kvazaar's program is not here")
def test_bits_of_kvazaar_s_blocks_sum_to_the_file_less_its_headers(scenes: Path, write_experiment: Write) -> None:
    """Parameter sets and the slice's header are what is left, also of the file of equal size that a search chose."""
    coding = 'encoder = "kvazaar"\npreset = "ultrafast"\nquality = [32]\n'
    done = compress_here(scenes, write_experiment(coding, f'{coding}{MAP}match = "rate"'))
    assert done.code == 0, done.err
    for record in done.records():
        told = record["block_bits"]
        assert told["block_px"] == 64 and np.shape(told["bits"]) == (4, 8)
        units = (scenes / record["bitstream"]).read_bytes().split(b"\0\0\1")
        headers = sum(len(unit) + 3 for unit in units if unit and unit[0] >> 1 & 63 >= 32)
        assert 0 < 8 * (record["size_bytes"] - headers) - np.sum(told["bits"]) < 8 * 24, "what is left of the slice"


def test_one_quality_a_picture(scenes: Path, write_experiment: Write) -> None:
    """Mode frame works with every encoder that has a quality; brighter pictures of importance get a finer one."""
    names = ("jpeg", "x264", "svtav1", "vvenc")
    codings = [
        f'encoder = "{n}"\nquality = [{40 if n == "svtav1" else 30}]\nqp_map = {{ mode = "frame", delta = 4 }}'
        for n in names
    ]
    done = compress_here(scenes, write_experiment(*codings))
    assert done.code == 0, done.err
    for name in names:
        told = [r["map"] for r in done.records() if r["encoder"] == name]
        ordered = sorted(told, key=lambda one: one["mean_importance"])
        steps = [one["steps"] for one in ordered]
        assert steps == sorted(steps, reverse=True)
        for one in ordered:
            assert one["steps"] == pytest.approx(4 - 8 * one["mean_importance"], abs=1e-3)


def test_stacks_take_a_qp_a_picture(scenes: Path, drawn: Path, photos: Path, write_experiment: Write) -> None:
    """The zones of x264 and x265. (x265 looks a zone up one picture late; each picture's error tells that apart.)"""
    rng = np.random.default_rng(0)
    base = np.asarray(Image.open(photos / "a.png"))
    for i, importance in enumerate((0.1, 0.9, 0.5, 1.0, 0.0, 0.3)):
        noisy = np.clip(base + rng.normal(0, 2, base.shape), 0, 255).astype(np.uint8)
        with_map(photos, f"p{i}", noisy, np.full(base.shape[:2], importance, np.float32))
    for letter in "ab":
        (photos / f"{letter}.png").unlink()
    coding = 'quality = [30]\nstacked = true\nqp_map = { mode = "frame", delta = 6 }'
    done = compress_here(
        photos, write_experiment(f'encoder = "x264"\n{coding}', f'encoder = "x265"\n{coding}', head=FILES)
    )
    assert done.code == 0, done.err
    for record in done.records():
        assert record["map"]["qualities"] == [35, 25, 30, 24, 36, 32]
        assert record["coded_qp"] == pytest.approx(np.mean(record["map"]["qualities"]), abs=0.01)
        psnrs = record["frame_psnr_y_db"]
        assert np.argsort(psnrs).tolist() == [4, 0, 5, 2, 1, 3]
    matched = write_experiment(
        *(f'encoder = "{n}"\n{coding}\nmatch = "rate"' for n in ("x264", "x265")), head=FILES, name="matched"
    )
    for record in compress_here(photos, matched).records():
        assert abs(record["rate_search"]["size_error"]) < 0.03, "a picture more or less is all that can be changed"


def test_a_target_rate_is_met(photos: Path, write_experiment: Write) -> None:
    """Whole qualities come as near as they can; with a map, whose offset has fractions, within 1 %."""
    for letter in "ab":
        with_map(photos, letter, np.asarray(Image.open(photos / f"{letter}.png")), square(256, 320))
    target = "target = { bpp = 0.8 }\n"
    codings = [f'encoder = "{name}"\n{target}{extra}' for name in ("x264", "jpeg", "svtav1") for extra in ("", MAP)]
    done = compress_here(photos, write_experiment(*codings[:-1], head=FILES))
    assert done.code == 0, done.err
    for record in done.records():
        search = record["rate_search"]
        assert search["encodes"] <= 8
        assert abs(record["rate_bpp"] / 0.8 - 1) == pytest.approx(abs(search["size_error"]), abs=1e-5)
        assert abs(search["size_error"]) < (0.01 if record["qp_map"] else 0.12)
        if not record["qp_map"]:  # no other whole quality is nearer
            sizes = [size for _, size in search["tried"]]
            assert record["size_bytes"] == min(sizes, key=lambda size: abs(np.log(size / search["target_bytes"])))
    unreachable = write_experiment('encoder = "x264"\ntarget = { bpp = 0.001 }', name="unreachable")
    for record in compress_here(photos, unreachable).records():
        assert record["found_quality"] == 51
        assert any("rate not met" in note for note in record["notes"])


DEAF = """
from vcmbench.encoder import Command, Encoder, QualityScale, ffmpeg, ffmpeg_regions


class Deaf(Encoder):
    \"\"\"x264 as it is when nobody reads its manual: a constant QP, and regions that it ignores without a word.\"\"\"

    label = "deaf"
    extension = ".264"
    quality = QualityScale("QP", 0, 51, "low")
    chroma = ("420",)
    map_method = "native"
    map_units_px = (16,)
    encode_tools = (ffmpeg.encoder_tool("libx264"),)
    decode_tools = (ffmpeg.decoder_tool("h264"),)
    TELLS = False

    def encode(self, program, coding, clip):
        return Command(ffmpeg.encode(clip, self.bitstream, "h264", **self._options(coding)))

    def encode_mapped(self, program, coding, clip, quantisers):
        return ffmpeg_regions.encode_mapped(clip, self.bitstream, "h264", quantisers, **self._options(coding))

    def _options(self, coding):
        return {"c:v": "libx264", "x264-params": f"qp={coding.quality}:ipratio=1:keyint=1:aq-mode=0"}

    def decode(self, program, coding, clip):
        return Command(ffmpeg.decode(clip, self.bitstream, "h264"))

    def block_qps(self, program, clip):
        return Command(ffmpeg.h264_block_qps(clip, self.bitstream)) if self.TELLS else None

    def read_block_qps(self, data, clip):
        return ffmpeg.read_block_qps(data, clip)
"""


@pytest.mark.parametrize("tells", [False, True], ids=["by errors", "by QPs of blocks"])
def test_an_encoder_that_ignores_its_map_fails(tells: bool, scenes: Path, encoders_folder: Path) -> None:
    (encoders_folder / "deaf.py").write_text(DEAF.replace("TELLS = False", f"TELLS = {tells}"))
    codings = [{"encoder": "deaf", "quality": [30], "qp_map": {"delta": 6}}, {"encoder": "x264", "quality": [30]}]
    wanted = experiment.Experiment.model_validate({"name": "deaf", "coding": codings})
    outcome = CompressRun(wanted, scenes, LocalRunner(), CompressSettings()).execute(lambda *_: None)
    assert outcome.done == 3, "the others finish"
    assert len(outcome.failed) == 3
    assert all("the QP map took no effect" in str(error) for _, error in outcome.failed)
    assert not list(scenes.glob("cityscapes_deaf*/leftImg8bit/**/*.264"))
    assert not half_written(scenes)


def damage(root: Path, kind: str, content: bytes | None) -> Path:
    (path,) = root.glob(f"cityscapes/{kind}/val/lindau/*_{'gtFine_labelIds.png' if kind == 'gtFine' else kind + '*'}")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("kind", "content"),
    [("gtFine", None), ("gtFine", b"no png"), ("disparity", None), ("camera", b"{"), ("vehicle", b'{"speed": -1}')],
)
def test_a_picture_whose_importance_cannot_be_known_is_named(
    kind: str, content: bytes | None, own_scenes: Path, write_experiment: Write
) -> None:
    path = damage(own_scenes, kind, content)
    done = compress_here(own_scenes, write_experiment(X264, 'encoder = "jpeg"\nquality = [30]'))
    assert done.code == 1
    assert path.name in done.err
    failed = [event for event in done.events if event["state"] == "failed"]
    assert len(failed) == 1, "the uniform encode of that picture and the other pictures are none of its business"
    assert "lindau" in failed[0]["bitstream"]
    assert len(done.records()) == 5
    assert not list(own_scenes.glob("cityscapes_x264*/leftImg8bit/val/lindau/*"))
    assert not half_written(own_scenes)


def test_missing_vehicle_data_falls_back_and_is_noted(own_scenes: Path, write_experiment: Write) -> None:
    path = damage(own_scenes, "vehicle", None)
    done = compress_here(own_scenes, write_experiment(X264))
    assert done.code == 0, done.err
    (noted,) = [r for r in done.records() if any("speed" in note for note in r.get("notes", []))]
    assert any("10 m/s" in note for note in noted["notes"])
    assert path.name.split("_vehicle")[0] in noted["sources"][0]["name"]


def test_maps_of_ones_own_must_fit(photos: Path, write_experiment: Write) -> None:
    picture = np.asarray(Image.open(photos / "a.png"))
    with_map(photos, "a", picture, square(128, 128))
    with_map(photos, "b", picture, np.full(picture.shape[:2], 1.5, np.float32))
    save(photos / "c.png", picture)
    with_map(photos, "d", picture, square(256, 320))
    done = compress_here(photos, write_experiment(X264, head=FILES))
    assert done.code == 1
    assert "128x128 px, the picture 320x256 px" in done.err
    assert "b_importance.npy: 1.5 in row 0, column 0 is not within [0, 1]" in done.err
    assert "c_importance.npy: no such file" in done.err
    assert [Path(r["bitstream"]).name for r in done.records()] == ["d.264"]
    labels = compress_here(photos, write_experiment(X264, name="labels"))
    assert labels.code == 2
    assert labels.out == ""
    assert "has no labels" in labels.err


def test_a_blank_picture_is_no_failure(tmp_path: Path, write_experiment: Write) -> None:
    """Where there is nothing to code, no quantiser makes a difference."""
    root = tmp_path / "data"
    ramp = np.linspace(0, 1, 128 * 192, dtype=np.float32).reshape(128, 192)
    with_map(root, "blank", np.full((128, 192, 3), 120, np.uint8), ramp)
    codings = [f'encoder = "{name}"\nquality = [{QUALITIES.get(name, 30)}]\n{MAP}' for name in GAINS_DB]
    done: Typed = compress_here(root, write_experiment(*codings, head=FILES))
    assert done.code == 0, done.err


def test_the_ablation_is_one_command(scenes: Path) -> None:
    """The shipped experiment, as a user types it, on a machine that lacks some of its encoders."""
    done = typed(
        "compress", "-d", scenes, "-s", "importance", "--runner", "local", "--skip-missing", "--encoder", "x265",
        "--encoder", "jm",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "left out: jm: no lencod" in done.err
    assert "mapped against uniform at equal rate" in done.out
    assert (scenes / "results/importance/equal_rate.csv").is_file()
    strict = typed("compress", "-d", scenes, "-s", "importance", "--runner", "local", "--encoder", "jm")
    assert strict.code == 2


def test_importance_in_jobs_is_importance_of_the_command(scenes: Path) -> None:
    made = typed("importance", "-d", scenes, "--visualize-every", 0, "--aggregate", "class")
    assert made.code == 0, made.err
    data = open_root(scenes)
    for source in find_sources(data, Selection()):
        values = read_importance(data, source, ImportanceSettings(aggregate="class")).values
        np.testing.assert_array_equal(values, np.load(importance_path(data, source)))


def test_the_way_of_a_mapped_jm_job(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    """JM takes no map: a low-pass before it, named as what it is. (Not JM itself, which is not to be had here.)"""
    for letter in "ab":
        with_map(photos, letter, np.asarray(Image.open(photos / f"{letter}.png")), square(256, 320))
    config = write_experiment(f'encoder = "jm"\nquality = [30]\n{MAP}match = "rate"', head=FILES)
    done = compress_here(photos, config, "--bin-dir", scripted_jm(tmp_path / "bin"))
    assert done.code == 0, done.err
    for record in done.records():
        assert record["map"]["method"] == "prefilter"
        assert record["rate_search"]["is_equal"]
        assert record["coded_qp"] == record["map"]["base"] < 30
        assert record["region"]["psnr_y_inside_db"] > record["uniform"]["region"]["psnr_y_inside_db"]


def test_maps_that_change_while_a_run_waits_are_found(photos: Path, write_experiment: Write) -> None:
    """A job was planned with one map; a record of its key must not speak of another."""
    picture = np.asarray(Image.open(photos / "a.png"))
    for letter in "ab":
        with_map(photos, letter, picture, square(256, 320))
    wanted = experiment.load(str(write_experiment(X264, head=FILES)))
    run = CompressRun(wanted, photos, LocalRunner(), CompressSettings())
    run.store.prepare()
    jobs = list(run.jobs())
    with_map(photos, "b", picture, 1 - square(256, 320))
    worker = run.runner.worker()
    try:
        encode_job.run(jobs[0], worker, run.store, Cache(3), 60, {"experiment": "trial", "runner": "local"})
        with pytest.raises(JobError, match="importance of b: its files changed since this run was planned"):
            encode_job.run(jobs[1], worker, run.store, Cache(3), 60, {"experiment": "trial", "runner": "local"})
    finally:
        worker.close()


@pytest.mark.parametrize(("size", "preset"), [((1920, 1200), "ultrafast"), ((320, 256), "placebo")])
def test_x265_where_its_small_units_are_not_allowed(
    size: tuple[int, int], preset: str, tmp_path: Path, astronaut: NDArray[np.uint8], write_experiment: Write
) -> None:
    """HEVC has no coding tree units of 16 px in large pictures; placebo's transform trees do not fit into them."""
    picture = np.asarray(Image.fromarray(astronaut).resize(size))
    with_map(tmp_path / "data", "a", picture, square(size[1], size[0]))
    coding = f'encoder = "x265"\nquality = [34]\npreset = "{preset}"\n{MAP}'
    done = compress_here(tmp_path / "data", write_experiment(coding, head=FILES))
    assert done.code == 0, done.err
    assert done.records()[0]["map"]["unit_px"] == 16


def test_flat_maps_and_blank_regions_are_no_failure(photos: Path, write_experiment: Write) -> None:
    """An empty road has one importance; what matters may lie in the dark. No encoder is deaf for that."""
    picture = np.asarray(Image.open(photos / "a.png")).copy()
    for value in (0.1, 0.5, 1.0):
        with_map(photos, f"flat {value}", picture, np.full((256, 320), value, np.float32))
    dark = picture.copy()
    dark[:, :160] = 0
    importance = np.zeros((256, 320), np.float32)
    importance[:, :160] = 1
    with_map(photos, "dark", dark, importance)
    for letter in "ab":
        (photos / f"{letter}.png").unlink()
    codings = [f'encoder = "{n}"\nquality = [{QUALITIES.get(n, 32)}]\n{MAP}match = "rate"' for n in GAINS_DB]
    done = compress_here(photos, write_experiment(*codings, head=FILES))
    assert done.code == 0, done.err
    for record in done.records():
        if record["sources"][0]["name"] == "flat 0.1":
            assert record["missing"]["region"] == "no pixel has an importance of 1 or more"
        is_flat = record["sources"][0]["name"].startswith("flat")
        assert any("the QP map is flat" in note for note in record.get("notes", [])) == is_flat


def test_a_picture_without_objects_is_coded(photos: Path, write_experiment: Write) -> None:
    """Importance that differs by one step, in few blocks or many, is no reason to fail."""
    for letter, share in (("a", 0.05), ("b", 0.5)):
        importance = np.full((256, 320), 0.1, np.float32)
        importance[: int(256 * share)] = 0.0
        with_map(photos, letter, np.asarray(Image.open(photos / f"{letter}.png")), importance)
    codings = [f'encoder = "{n}"\nquality = [{QUALITIES.get(n, 32)}]\n{MAP}' for n in GAINS_DB]
    done = compress_here(photos, write_experiment(*codings, head=FILES))
    assert done.code == 0, done.err


def test_a_map_that_vanishes_in_coarse_blocks_is_coded_flat_and_noted(photos: Path, write_experiment: Write) -> None:
    """A checkerboard of 16 px comes down to one quantiser in blocks of 64."""
    board = np.indices((16, 20)).sum(axis=0) % 2
    for letter in "ab":
        with_map(photos, letter, np.asarray(Image.open(photos / f"{letter}.png")), np.kron(board, np.ones((16, 16))))
    kvazaar = f'encoder = "kvazaar"\nquality = [30]\n{MAP}'
    done = compress_here(photos, write_experiment(kvazaar, kvazaar + 'match = "rate"', X264, head=FILES))
    assert done.code == 0, done.err
    for record in done.records():
        noted = [note for note in record.get("notes", []) if "vanish in what kvazaar takes, blocks of 64 px" in note]
        assert len(noted) == (record["encoder"] == "kvazaar")
        if noted:
            assert record["map"]["levels"] == 1 or record["match_rate"]


def test_the_comparison_is_over_all_records_of_the_experiment(scenes: Path, write_experiment: Write) -> None:
    codings = [f'encoder = "{name}"\nquality = [30]\n{MAP}match = "rate"' for name in ("x264", "jpeg")]
    config = write_experiment(*codings, head="[dataset]\nlimit = 1\n")
    table = scenes / "results/trial/equal_rate.csv"
    compress_here(scenes, config)
    compress_here(scenes, config, "--encoder", "x264")
    assert [row["encoder"] for row in csv.DictReader(table.read_text().splitlines())] == ["jpeg", "x264"]
    shutil.rmtree(scenes / "results/trial/records")
    compress_here(scenes, write_experiment('encoder = "jpeg"\nquality = [30]'))
    assert not table.exists(), "what an earlier run left would speak of records that are gone"
