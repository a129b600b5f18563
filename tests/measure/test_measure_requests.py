"""What users ask for, rightly and wrongly: levels, predictions and weights of their own, and what each mistake says."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import bjontegaard
import numpy as np
import pytest
from PIL import Image

from tests.helpers.measuring import (
    CONFIGURATIONS,
    FOLDERS,
    HEAD,
    METRICS,
    PICTURES,
    TASK,
    U8,
    Results,
    compressed,
    copy,
    counts,
    measure,
    once,
    outcome,
    tree,
    typed,
    write_toml,
)
from tests.helpers.pictures import save
from vcmbench.data.labels import PALETTE
from vcmbench.tasks import networks
from vcmbench.tasks.predictions import read_prediction, write_prediction

ALL = CONFIGURATIONS * PICTURES
JPEG40 = 'encoder = "jpeg"\nquality = [40]'


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return copy(tmp_path_factory, tmp_path)


@pytest.fixture
def config(tmp_path: Path, results: Results) -> Path:
    return tmp_path / "trial.toml"


def change(config: Path, *pairs: tuple[str, str]) -> None:
    text = config.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    config.write_text(text)


# --- predictions of others


def as_published(results: Results) -> None:
    """The predictions as somebody else would lay them there: RGB pictures in Cityscapes' colours, black for void."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(PALETTE)] = PALETTE
    for path in results.root.glob("P_*/**/*.png"):
        Image.fromarray(colours[read_prediction(path)]).save(path)


@pytest.fixture
def files(results: Results, config: Path) -> Results:
    change(config, (TASK, '[task]\npredictions = "files"\n'))
    as_published(results)
    return results


def test_predictions_of_others_are_read_as_ours(
    files: Results, config: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The published kind gives the same scores and the same blocks."""
    ours = Results(once(tmp_path_factory) / "data")
    before = tree(files.root / "P_hat_C")
    done = measure(files.root, config)
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    for name in ("image_scores", "block_scores"):
        assert files.table(name) == ours.table(name)
    assert tree(files.root / "P_hat_C") == before, "nobody writes there"
    assert counts(measure(files.root, config)) == (0, ALL, 0)


def test_a_replaced_prediction_of_others_is_counted_anew(files: Results, config: Path) -> None:
    assert measure(files.root, config).code == 0
    shutil.copy(files.prediction(None), files.prediction("x265"))
    done = measure(files.root, config)
    assert (done.code, counts(done)) == (0, (1, ALL - 1, 0)), done.err
    score = json.loads(files.score_path("x265").read_bytes())
    assert all(truth == found for truth, found, _ in score["machine"]["pseudo"]["confusion"])
    reference = next((files.folder / "scores/pristine").rglob("lindau*.json"))
    before = reference.read_bytes()
    shutil.copy(files.prediction("x265", "munster"), files.prediction(None))  # the pristine one counts for all
    assert counts(measure(files.root, config)) == (CONFIGURATIONS, ALL - CONFIGURATIONS, 0)
    assert reference.read_bytes() != before, "what the pristine one scores against the labels, too"


def test_missing_predictions_start_nothing(files: Results, config: Path) -> None:
    files.prediction("x265").unlink()
    files.prediction(None, "munster").unlink()
    before = tree(files.root)
    done = measure(files.root, config)
    assert done.code == 2
    assert 'task.predictions = "files": 2 predictions are not there:' in done.err
    assert str(files.prediction("x265")) in done.err
    assert tree(files.root) == before


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda rgb: rgb[:64], "the prediction has 192x64 px, but its picture has 192x96"),
        (lambda rgb: rgb // 2 + 3, "which is no colour of Cityscapes' 19 classes or black"),
        (lambda rgb: np.full(rgb.shape[:2], 33, np.uint8), "holds index 33; the classes are 0..18"),
        (lambda rgb: rgb.astype(np.uint16)[..., 0] * 256, "colour mode"),
    ],
)
def test_predictions_that_cannot_be_fail_by_name(files: Results, config: Path, spoil: Any, complaint: str) -> None:
    path = files.prediction("jpeg 40")
    Image.fromarray(np.ascontiguousarray(spoil(np.asarray(Image.open(path).convert("RGB"))))).save(path)
    done = measure(files.root, config)
    assert (done.code, counts(done)) == (1, (ALL - 1, 0, 1)), done.err
    assert complaint in done.err and str(path) in done.err
    assert len(files.table("image_scores")) == ALL - 1


def test_predictions_of_others_are_not_replaced(results: Results, config: Path) -> None:
    """Without `predictions = "files"` the network would write over them."""
    as_published(results)
    before = tree(results.root)
    for words in ((), ("--force",)):
        done = measure(results.root, config, *words)
        assert done.code == 2
        assert f"{ALL + PICTURES} predictions lie there that vcmbench did not make and would replace; say" in done.err
    assert tree(results.root) == before


def test_a_constant_machine_correlates_with_nothing(files: Results, config: Path) -> None:
    for city in ("frankfurt", "lindau", "munster"):
        for folder in FOLDERS:
            shutil.copy(files.prediction(None, city), files.prediction(folder, city))
    done = measure(files.root, config, "--level", "image")
    assert done.code == 0
    reason = "the machine's score is 1 everywhere; nothing correlates with a constant"
    assert outcome(done)["correlations"] == {"image": reason}
    assert not list(files.folder.glob("correlation_*"))


# --- networks of others


class Code:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("pwned"),)


def test_a_pickle_with_code_is_refused(results: Results, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    (config.parent / "evil.pth").write_bytes(pickle.dumps({"state_dict": Code()}))
    shutil.copy(networks.FOLDER / "demo.json", config.parent / "net.json")
    change(config, (TASK, '[task]\nmodel = "net.json"\ncheckpoint = "evil.pth"\n'))
    before = tree(results.root)
    done = measure(results.root, config)
    assert done.code == 2
    assert "evil.pth" in done.err and "Traceback" not in done.err
    assert not (config.parent / "pwned").exists()
    assert tree(results.root) == before


def test_a_checkpoint_of_another_network_is_refused(results: Results, config: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(networks.FOLDER / "demo.safetensors")
    del tensors["decode_head.conv_seg.bias"]
    save_file(tensors, config.parent / "other.safetensors")
    shutil.copy(networks.FOLDER / "demo.json", config.parent / "net.json")
    change(config, (TASK, '[task]\nmodel = "net.json"\ncheckpoint = "other.safetensors"\n'))
    done = measure(results.root, config)
    assert done.code == 2
    assert "other.safetensors" in done.err and "decode_head.conv_seg.bias" in done.err


# --- what is asked of the experiment


def test_bitstreams_that_are_missing_name_the_command(results: Results, config: Path, tmp_path: Path) -> None:
    shutil.rmtree(results.root / FOLDERS["x265"])
    done = measure(results.root, config)
    assert done.code == 2
    assert f"3 of {ALL} bitstreams are not there; run first: python run_compression.py -d {results.root} -s" in done.err
    assert f"-s {config}; or measure what is there, with --skip-missing" in done.err
    done = measure(results.root, config, "--skip-missing", "--level", "image")
    assert "bitstreams are left out" in done.err
    assert (done.code, counts(done)) == (0, (0, ALL - 3, 0)), done.err
    assert {row["encoder"] for row in results.table("image_scores")} == {"lossless", "jpeg"}
    (picture := results.picture()).write_bytes(b"no picture")
    assert f"{picture.stem} cannot be compressed: " in measure(results.root, config).err
    other = write_toml(tmp_path, name="never")
    for words in ((), ("--skip-missing",)):
        assert measure(results.root, other, *words).code == 2


def test_a_stack_that_lacks_a_picture_counts_as_missing(results: Results, tmp_path: Path) -> None:
    """A picture that joined the folder is in no frame of the stack: the frames after it would be another's."""
    stack = 'encoder = "x265"\nquality = [40]\npreset = "ultrafast"\nstacked = true'
    config = write_toml(
        tmp_path, stack, head=METRICS.replace("intervals", 'levels = ["image"]\nintervals'), name="stack"
    )
    compressed(results.root, config)
    assert counts(measure(results.root, config)) == (3, 0, 0)
    save(results.picture().with_name("lindau_000000_000001_leftImg8bit.png"), np.zeros((96, 192, 3), np.uint8))
    done = measure(results.root, config)
    assert done.code == 2
    assert "1 of 3 bitstreams are not there" in done.err


def test_one_configuration_stacked_and_not_is_two_experiments(results: Results, tmp_path: Path) -> None:
    """Published folder names do not tell them apart, so one would have the scores of the other."""
    one = 'encoder = "x265"\nquality = [42]\n'
    config = write_toml(tmp_path, one, f'{one}compat = "qomex2023"\nstacked = true', name="both")
    compressed(results.root, config)
    done = measure(results.root, config)
    assert done.code == 2
    assert "are of one configuration by its name, stacked and not" in done.err
    assert "make them two experiments" in done.err


@pytest.mark.parametrize(
    ("pairs", "words", "complaint"),
    [
        ([('"SSIM"', '"SIMM"')], [], "metric 'SIMM' is unknown; known: PSNR"),
        ([("intervals", "intervalls")], [], "metrics.intervalls: unknown key; known here: iqa, profile, levels"),
        ([("count", "counts")], [], "metrics.blocks.counts: unknown key; known here: size_px, count"),
        ([("intervals = true", "intervals = 7")], [], "metrics.intervals: "),
        ([("intervals", 'profile = "best"\nintervals')], [], "metrics.profile: "),
        ([("intervals", 'machine = "luck"\nintervals')], [], "metrics.machine: "),
        ([(TASK, '[task]\nmodel = "demmo"\n')], [], "demmo"),
        ([(TASK, '[task]\nname = "depth"\n')], [], "'depth': unknown task"),
        ([(TASK, '[task]\npredictions = "mine"\n')], [], "task.predictions: "),
        ([], ["--gpu", "7"], "7"),
        ([], ["--gpu", "fast"], "fast"),
        ([], ["--weights", "/nowhere"], "'/nowhere': is not a folder"),
        ([], ["--blocks", "/nowhere.json"], "--blocks /nowhere.json: no such file"),
        ([], ["--level", "city"], "invalid choice: 'city'"),
    ],
)
def test_wrong_requests_start_nothing(
    results: Results, config: Path, pairs: list[tuple[str, str]], words: list[str], complaint: str
) -> None:
    change(config, *pairs)
    before = tree(results.root)
    done = measure(results.root, config, *words)
    assert (done.code, done.out) == (2, "")
    assert complaint in done.err and "Traceback" not in done.err
    assert tree(results.root) == before


def test_results_that_cannot_be_written_start_nothing(results: Results, config: Path) -> None:
    shutil.move(results.folder / "records", results.root / "kept")
    shutil.rmtree(results.folder)
    results.folder.write_text("a file")
    done = measure(results.root, config)
    assert done.code == 2 and "Traceback" not in done.err


def test_a_place_of_predictions_that_cannot_be_written_fails_by_name(results: Results, config: Path) -> None:
    shutil.rmtree(results.root / "P_hat_C")
    (results.root / "P_hat_C").write_text("a file")
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (1, (0, 0, ALL))
    assert "P_hat_C" in done.err and "Traceback" not in done.err
    assert not (results.folder / "image_scores.csv").exists()


def test_one_picture_only(results: Results, config: Path) -> None:
    change(config, (TASK, f"[dataset]\nlimit = 1\n{TASK}"))
    done = measure(results.root, config, "--level", "image")
    assert done.code == 0
    reason = "one source image only: a correlation would be about its configurations, not about pictures"
    assert outcome(done)["correlations"] == {"image": reason}
    assert f"no correlations, image: {reason}" in done.err


def test_only_lossless(results: Results, tmp_path: Path) -> None:
    config = write_toml(tmp_path, 'encoder = "lossless"', name="lossless")
    compressed(results.root, config)
    done = measure(results.root, config)
    assert done.code == 0, done.err
    assert outcome(done)["correlations"] == {"image": "no configuration loses anything; there is no loss to follow"}
    assert outcome(done)["missing"] == ["blocks: no configuration loses anything, so none would differ"]


def test_lossless_at_half_size_is_no_reference(results: Results, tmp_path: Path) -> None:
    config = write_toml(tmp_path, 'encoder = "lossless"\nsubsampling_factor = [0.5]', name="half")
    compressed(results.root, config)
    done = measure(results.root, config, "--level", "image")
    assert outcome(done)["correlations"] == {"image": "correlation_image.json"}


def test_a_metric_without_weights_is_missing_with_the_reason(results: Results, config: Path, tmp_path: Path) -> None:
    change(config, ('"SSIM"', '"SSIM", "LPIPS", "PieAPP"'))
    (tmp_path / "weights").mkdir()
    done = measure(results.root, config, "--weights", tmp_path / "weights")
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    told = outcome(done)["missing"]
    assert [line.split(":")[0] for line in told] == ["LPIPS", "PieAPP"]
    assert "no weights: " in told[0] and "has no lpips-vgg.pth" in told[0]
    assert f"missing: {told[0]}" in done.err
    for table in ("image_scores", "block_scores"):
        assert {row["LPIPS"] for row in results.table(table)} == {""}
        assert all(float(row["SSIM"]) <= 1 for row in results.table(table))
    assert {score["iqa"]["LPIPS"]["reason"] for score in results.scores()} == {told[0].removeprefix("LPIPS: ")}
    found = results.json("correlation_image.json")
    assert found["LPIPS"]["SROC"] == [None, None] and found["LPIPS"]["reasons"]["SROC"]
    assert found["SSIM"]["SROC"][0] is not None
    assert counts(measure(results.root, config, "--weights", tmp_path / "weights")) == (0, ALL, 0)


def test_only_a_metric_that_is_missing(results: Results, tmp_path: Path) -> None:
    """Records, tables and reasons are there all the same."""
    config = write_toml(tmp_path, JPEG40, head='[metrics]\niqa = ["LPIPS"]\nlevels = ["image"]\n', name="lpips")
    compressed(results.root, config)
    (tmp_path / "weights").mkdir()
    done = measure(results.root, config, "--weights", tmp_path / "weights")
    assert (done.code, counts(done)) == (0, (3, 0, 0)), done.err
    assert [row["LPIPS"] for row in Results(results.root, "lpips").table("image_scores")] == [""] * 3


def test_pictures_too_small_for_a_metric(results: Results, config: Path) -> None:
    """161 px are needed: blocks have 32, whole pictures are 96 high."""
    change(config, ('"SSIM"', '"SSIM", "MS_SSIM"'))
    done = measure(results.root, config)
    assert done.code == 0, done.err
    reason = results.scores()[0]["iqa"]["MS_SSIM"]["reason"]
    assert "161" in reason
    assert {row["MS_SSIM"] for row in results.table("image_scores") + results.table("block_scores")} == {""}


def test_no_metrics_at_all(results: Results, config: Path) -> None:
    change(config, ('"PSNR", "SSIM"', ""))
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (0, ALL, 0)), done.err
    assert outcome(done)["correlations"] == {"image": "no metric was asked for"}
    assert outcome(done)["missing"] == ["blocks: no metric was asked for (metrics.iqa)"]
    assert float(results.table("image_scores")[3]["accuracy_pseudo"]) < 1


# --- levels


def test_level_image(results: Results, config: Path) -> None:
    done = measure(results.root, config, "--level", "image")
    assert (done.code, counts(done)) == (0, (0, ALL, 0))
    assert list(outcome(done)["correlations"]) == ["image"]
    done = measure(results.root, config, "--level", "all")
    assert list(outcome(done)["correlations"]) == ["image", "block 32x32"]


def test_level_block(results: Results, config: Path) -> None:
    """Metrics are not computed on whole pictures then, which takes most of the time."""
    shutil.rmtree(results.folder / "scores")
    done = measure(results.root, config, "--level", "block")
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    assert list(outcome(done)["correlations"]) == ["block 32x32"]
    assert {json.dumps(score["iqa"]) for score in results.scores()} == {"{}"}
    rows = results.table("image_scores")
    assert "PSNR" not in rows[0] and all(row["accuracy_pseudo"] for row in rows)
    assert all(row["PSNR"] for row in results.table("block_scores"))


@pytest.mark.parametrize(
    ("size_px", "reason"),
    [
        (64, r"none of the 9 pairs .* has a block with an accuracy in \[0, 0.1\)"),
        (96, "each would hold void pixels"),
        (128, "larger than every picture"),
    ],
)
def test_blocks_that_pictures_do_not_have_are_a_line(results: Results, config: Path, size_px: int, reason: str) -> None:
    """Mild coding, or small pictures: there is nothing to mend, and all else is measured."""
    change(config, ("strata = 3", "strata = 10"), ("size_px = [32]", f"size_px = [{size_px}]"))
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (0, ALL, 0)), done.err
    assert re.search(f"blocks of {size_px}x{size_px} px: {reason}", " ".join(outcome(done)["missing"]))
    assert list(outcome(done)["correlations"]) == ["image"], "all else is done"
    assert len(results.table("image_scores")) == ALL
    assert not list(results.folder.glob("block_scores.*"))


# --- photographs, and names that nobody should have


def flat(root: Path, picture: U8, *names: str) -> None:
    for number, name in enumerate(names):
        save(root / name, np.roll(picture, 24 * number, axis=1)[:96, :160])


def test_a_flat_folder_has_no_labels(tmp_path: Path, astronaut: U8) -> None:
    flat(tmp_path / "photos", astronaut, "a.png", "b.png", "sub/c.png")
    config = write_toml(tmp_path, 'encoder = "jpeg"\nquality = [3, 20]', head=HEAD)
    compressed(tmp_path / "photos", config)
    done = measure(tmp_path / "photos", config)
    assert (done.code, counts(done)) == (0, (6, 0, 0)), done.err
    assert "warning: the embedded network has seen drawn scenes only" in done.err
    found = Results(tmp_path / "photos")
    rows = found.table("image_scores")
    assert {row["accuracy_labels"] for row in rows} == {row["accuracy_0_15m_pseudo"] for row in rows} == {""}
    assert all(0 < float(row["accuracy_pseudo"]) <= 1 for row in rows)
    assert found.scores()[0]["machine"]["notes"]["labels"] == "a flat folder of images has none"
    assert (tmp_path / "photos/P_GT/sub/c.png").is_file()
    note = "no image has labels: blocks there may hold void pixels, which the published sampling leaves out"
    assert found.json("correlation_block_32x32.json")["vcmbench"]["notes"] == [note]
    against = config.read_text().replace("intervals", 'against = "labels"\nintervals')
    config.write_text(against)
    done = measure(tmp_path / "photos", config)
    assert outcome(done)["correlations"]["image"] == "no machine score is known"


def test_photographs_without_a_task_get_metrics_over_rate(tmp_path: Path, astronaut: U8) -> None:
    """And BD-rates by metric, of losses too, in the report, in bd.json and on the terminal, where all metrics are."""
    flat(tmp_path / "photos", astronaut, "a.png", "b.png")
    codings = [f'encoder = "{name}"\nquality = {values}' for name, values in
               (("jpeg", [5, 15, 40, 80]), ("x264", [40, 34, 28, 22]))]  # fmt: skip
    names = ["PSNR", "SSIM", "GMSD", "HaarPSI"]
    head = f'[metrics]\niqa = {names}\nintervals = false\nlevels = ["image"]\n'
    config = write_toml(tmp_path, *codings, 'encoder = "lossless"', head=head)
    compressed(tmp_path / "photos", config)
    done = typed("metrics", "-d", tmp_path / "photos", "-s", config, "--runner", "local", "--gpu", "none")
    assert done.code == 0, done.err
    found = Results(tmp_path / "photos")
    bd = {row["measure"]: row for row in found.json("bd.json") if row["method"] == "pchip"}
    assert list(bd) == names and all(row["against"] == "pristine" for row in bd.values())
    rows = found.table("points")
    for name, sign in (("PSNR", 1), ("GMSD", -1)):
        curves = []
        for encoder in ("jpeg", "x264"):
            points = [row for row in rows if row["encoder"] == encoder]
            values = [sign * np.array([float(row[key]) for row in points]) for key in ("rate_bpp", name)]
            order = np.argsort(sign * values[0])
            curves += [sign * values[0][order], values[1][order]]
        wanted = bjontegaard.bd_rate(*curves, method="pchip", require_matching_points=False, min_overlap=0)
        assert bd[name]["bd_rate_percent"]["value"] == pytest.approx(wanted)
    assert bd["PSNR"]["test_effort"]["preset"] == "medium" and bd["PSNR"]["test_effort"]["s_per_mpx"] > 0
    assert all(name in done.out.splitlines()[1] for name in names)
    assert max(map(len, done.out.splitlines())) <= 100
    assert "- Rate at equal PSNR, against JPEG" in done.err
    page = (found.folder / "report.html").read_text()
    assert "what compression did to the pictures" in page and "Quality over rate" in page
    assert {"PSNR_pristine.svg", "GMSD_pristine.svg"} <= {path.name for path in (found.folder / "figures").iterdir()}


@pytest.mark.parametrize(
    "name", ["with spaces", 'it\'s "q"', "서울 거리", "a=b(c), d", "<b>bold</b>".replace("/", "∕")]
)
def test_strange_names(name: str, tmp_path: Path, astronaut: U8) -> None:
    root = tmp_path / name / name
    flat(root, astronaut, f"{name}.png", f"{name}/other.png")
    config = write_toml(tmp_path / name, 'encoder = "jpeg"\nquality = [3]', head=TASK + METRICS)
    compressed(root, config)
    done = measure(root, config, "--level", "image")
    assert (done.code, counts(done)) == (0, (2, 0, 0)), done.err
    assert {row["source"] for row in Results(root).table("image_scores")} == {name, f"{name}/other"}
    assert counts(measure(root, config, "--level", "image")) == (0, 2, 0)


def test_jobs_change_nothing(results: Results, config: Path) -> None:
    before = tree(results.root)
    assert measure(results.root, config, "--force", "--jobs", 1).code == 0
    assert tree(results.root) == before


def test_the_command_says_what_it_takes() -> None:
    done = typed("metrics", "--help")
    assert done.code == 0
    for option in ("--level", "--blocks", "--gpu", "--weights", "--skip-missing", "--force", "--json", "--runner"):
        assert option in done.out


def test_a_prediction_with_a_void_pixel_is_wrong_there(results: Results, config: Path) -> None:
    change(config, (TASK, '[task]\npredictions = "files"\n'))
    prediction = read_prediction(results.prediction(None)).copy()
    prediction[:10, :10] = 255
    write_prediction(results.prediction("x265"), prediction)
    done = measure(results.root, config, "--level", "image")
    assert done.code == 0, done.err
    row = next(row for row in results.table("image_scores") if row["encoder"] == "x265" and "lindau" in row["source"])
    assert float(row["accuracy_pseudo"]) == 1 - 100 / (96 * 192)
