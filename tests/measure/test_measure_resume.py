"""What is known is not found out again, what has changed is, and a run that is stopped is gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import half_written
from tests.helpers.measuring import (
    BLOCKS,
    CODINGS,
    CONFIGURATIONS,
    HEAD,
    PICTURES,
    TASK,
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
from vcmbench.compress import decode
from vcmbench.data.labels import CLASSES
from vcmbench.data.record import as_json
from vcmbench.io.sealed import sealed_json
from vcmbench.iqa import Scorer
from vcmbench.measure.blocks import level
from vcmbench.measure.steps import Steps
from vcmbench.tasks import kind as kinds
from vcmbench.tasks import networks, segmentation
from vcmbench.tasks.segmentation import Segmentation

ALL = CONFIGURATIONS * PICTURES


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return copy(tmp_path_factory, tmp_path)


@pytest.fixture
def config(tmp_path: Path, results: Results) -> Path:
    return tmp_path / "trial.toml"


def edit(path: Path, change: Callable[[Any], None]) -> None:
    """What is changed has no seal, as no record had before."""
    content = json.loads(path.read_bytes())
    content.pop("seal", None)
    change(content)
    path.write_text(json.dumps(content))


def mark(results: Results) -> None:
    """Numbers in every record that nobody would find out: what is computed anew loses them."""
    for path in (results.folder / "scores").rglob("*.json"):
        if "pristine" not in path.parts:
            edit(path, lambda score: score["iqa"]["PSNR"].update(value=-1.0))
            edit(path, lambda score: score["machine"]["notes"].update(marked="yes"))


def marked(results: Results) -> tuple[int, int]:
    """How many records have the metric's mark, and how many the machine's."""
    scores = results.scores()
    return (
        sum(score["iqa"]["PSNR"]["value"] == -1 for score in scores),
        sum("marked" in score["machine"]["notes"] for score in scores),
    )


def other_network(folder: Path, seed: int = 1) -> str:
    """[task] with the embedded network, its last layers shaken: another network for whoever asks it."""
    from safetensors.numpy import load_file, save_file

    rng = np.random.default_rng(seed)
    tensors = load_file(networks.FOLDER / "demo.safetensors")
    for name, values in tensors.items():
        if name.startswith("decode_head.conv_seg"):
            tensors[name] = values + rng.normal(0, values.std() / 2, values.shape).astype(values.dtype)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "other.safetensors")
    shutil.copy(networks.FOLDER / "demo.json", folder / "other.json")
    return f'[task]\nmodel = "{folder / "other.json"}"\ncheckpoint = "{folder / "other.safetensors"}"\n'


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks a network fails."""

    def fail(*_: object) -> None:
        raise AssertionError("a network was asked")

    monkeypatch.setattr(Segmentation, "predict", fail)


def test_a_second_run_finds_nothing_to_do(results: Results, config: Path, no_network: None) -> None:
    before = tree(results.root)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (0, ALL, 0)), done.err
    assert tree(results.root) == before


def test_a_new_metric_is_computed_alone(results: Results, config: Path, no_network: None) -> None:
    mark(results)
    files = {path: path.stat() for path in results.root.glob("P_*/**/*.png")}
    assert len(files) == ALL + PICTURES
    state = results.folder / "blocks/trial_32x32.state.json"
    edit(state, lambda content: content["metrics"]["PSNR"]["values"].__setitem__(0, -1.0))
    config.write_text(config.read_text().replace('"SSIM"', '"SSIM", "GMSD"'))
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    assert marked(results) == (ALL, ALL) and "another network" not in done.err
    assert all(0 <= score["iqa"]["GMSD"]["value"] < 1 for score in results.scores())
    assert {path: (s.st_ino, s.st_mtime_ns) for path, s in files.items()} == {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files
    }
    rows = results.table("block_scores")
    assert rows[0]["PSNR"] == "-1.0" and all(row["GMSD"] for row in rows)


def test_another_network_has_only_its_own_part_done_again(results: Results, config: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in results.root.glob("P_*/**/*.png")}
    blocks = results.blocks()
    mark(results)
    config.write_text(config.read_text().replace(TASK, other_network(tmp_path / "net"), 1))
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    assert marked(results) == (ALL, 0)
    assert all(path.read_bytes() != content for path, content in before.items())
    assert results.blocks() != blocks, "blocks are drawn by what this network predicts"
    assert len({json.dumps(score["machine"]["identity"]) for score in results.scores()}) == 1
    again = measure(results.root, config)
    assert counts(again) == (0, ALL, 0)


def test_other_labels_are_another_truth(
    results: Results, config: Path, no_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so are other ways of counting: answers are not asked for anew."""
    mark(results)
    path = next((results.root / "cityscapes/gtFine/val/lindau").glob("*_labelIds.png"))
    ids = np.asarray(Image.open(path)).copy()
    ids[ids == 7] = 8  # what was road is sidewalk
    Image.fromarray(ids).save(path)
    instances = next(path.parent.glob("*_instanceIds.png"))
    values = np.asarray(Image.open(instances)).copy()
    values[values == 7] = 8
    Image.fromarray(values).save(instances)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (CONFIGURATIONS, ALL - CONFIGURATIONS, 0)), done.err
    assert marked(results) == (ALL, ALL - CONFIGURATIONS)
    reference = json.loads(next((results.folder / "scores/pristine").rglob("lindau*.json")).read_bytes())
    assert all(truth != 0 for truth, _, _ in reference["machine"]["labels"]["confusion"]), "the pristine score, too"
    kind = kinds.get("segmentation")
    assert (kind.version(CLASSES), kind.version(CLASSES[:3])) == (0, 1)
    monkeypatch.setattr(type(kind), "version", lambda *_: 1)
    assert counts(measure(results.root, config, "--level", "image")) == (ALL, 0, 0)
    assert marked(results) == (ALL, 0)


def test_labels_decide_where_blocks_may_be(results: Results, config: Path) -> None:
    """Blocks hold no void: were the key without the labels, old blocks would lie on what is void now."""
    for kind, void in (("labelIds", 0), ("instanceIds", 0)):
        for path in (results.root / "cityscapes/gtFine/val").glob(f"*/*_{kind}.png"):
            ids = np.asarray(Image.open(path)).copy()
            ids[:, :96] = void
            Image.fromarray(ids).save(path)
    assert any(block.x < 96 for block in results.blocks().values())
    done = measure(results.root, config)
    assert done.code == 0, done.err
    assert all(block.x >= 96 for block in results.blocks().values())


@pytest.mark.parametrize(("folder", "again"), [("x265", 1), (None, CONFIGURATIONS)])
@pytest.mark.parametrize("damage", ["deleted", "truncated", "emptied"])
def test_a_lost_prediction_is_made_again(
    results: Results, config: Path, folder: str | None, again: int, damage: str
) -> None:
    path = results.prediction(folder)
    data = path.read_bytes()
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2 if damage == "truncated" else 0])
    before = tree(results.folder)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (again, ALL - again, 0)), done.err
    assert path.read_bytes() == data
    assert tree(results.folder) == before


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "null", '{"schema_version": 1}', '{"schema_version": 1, "iqa": {"PSNR": 3}, "machine": null}',
     '{"schema_version": 1, "iqa": {}, "machine": {"key": 1}}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_record_is_made_again(results: Results, config: Path, damage: str) -> None:
    before = tree(results.folder)
    results.score_path("jpeg 5").write_text(damage)
    pristine = next((results.folder / "scores/pristine").rglob("*frankfurt*.json"))
    pristine.write_text(damage)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (1 + CONFIGURATIONS, ALL - 1 - CONFIGURATIONS, 0)), done.err
    assert tree(results.folder) == before


def test_a_record_in_anothers_place_or_of_more_pixels_than_there_are(results: Results, config: Path) -> None:
    before = tree(results.folder)
    large, other = results.score_path("jpeg 5"), results.score_path("x265")
    score = json.loads(large.read_bytes())
    score.pop("seal")
    score["machine"]["pseudo"]["confusion"][0][2] += 192 * 96
    large.write_bytes(sealed_json(score, sort_keys=True))
    shutil.copy(results.score_path("x265", "munster"), other)
    done = typed("verify", "-d", results.root, "-s", config, "--json")
    found = {results.root / event["path"] for event in map(json.loads, done.out.splitlines())}
    assert (done.code, found) == (1, {large, other})
    assert counts(measure(results.root, config)) == (2, ALL - 2, 0)
    assert tree(results.folder) == before


def test_edited_figures_of_compression_do_not_stay(results: Results, config: Path, no_network: None) -> None:
    before = tree(results.folder)
    edit(results.score_path("jpeg 5"), lambda score: score.update(rate_bpp=9.9, psnr_y_db=99.0, quality=50))
    done = measure(results.root, config)
    assert counts(done) == (1, ALL - 1, 0)
    assert tree(results.folder) == before


def test_a_decoder_that_gives_another_picture_is_not_believed(
    results: Results, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = decode._pictures
    monkeypatch.setattr(decode, "_pictures", lambda *words: (np.zeros_like(one) for one in real(*words)))
    done = measure(results.root, config, "--force")
    assert (done.code, counts(done)) == (1, (0, 0, ALL))
    assert done.err.count("what is decoded is not what was coded: luma PSNR") >= 1


def test_a_changed_digit_is_found_and_measured_again(results: Results, config: Path) -> None:
    before = tree(results.folder)
    sealed = {results.score_path("jpeg 5"), results.folder / "blocks/trial_32x32.state.json",
              results.folder / "measured.json"}  # fmt: skip
    tables = {"points.csv", "image_scores.csv", "blocks/trial_32x32_val_blocks.json", "compression.csv"}
    changed = sealed | {results.folder / name for name in tables}
    for path in changed:
        text = path.read_text()
        at = re.search(r"\d\.\d", text).start()  # type: ignore[union-attr]
        path.write_text(f"{text[:at]}{9 - int(text[at])}{text[at + 1 :]}")
    done = typed("verify", "-d", results.root, "-s", config, "--json")
    found = {results.root / event["path"]: event["why"] for event in map(json.loads, done.out.splitlines())}
    assert (done.code, found.keys()) == (1, changed)
    assert all("its seal does not hold" in found[path] for path in sealed - {results.folder / "measured.json"})
    assert all("was changed after it was written" in why for why in found.values())
    assert typed("report", "-d", results.root, "-s", config).code == 2, "its reader notices, too"
    bd = typed("bdrate", results.folder / "points.csv", "--quality", "PSNR", "--anchor", "jpeg")
    assert "points.csv: was changed after it was written" in bd.err
    assert typed("verify", "-d", results.root, "-s", config, "--repair").code == 1
    assert counts(measure(results.root, config)) == (1, ALL - 1, 0)
    compressed(results.root, config)
    assert tree(results.folder) == before


@pytest.mark.parametrize(("ours", "other"), [("jpeg 5", "jpeg 40"), (None, "x265")])
def test_a_prediction_in_anothers_place_is_found(ours: str | None, other: str, results: Results, config: Path) -> None:
    place = results.prediction(ours)
    place.write_bytes(results.prediction(other).read_bytes())
    done = typed("verify", "-d", results.root, "-s", config, "--json")
    (event,) = map(json.loads, done.out.splitlines())
    assert (done.code, results.root / event["path"]) == (1, place)
    assert event["why"].startswith("is the prediction that belongs at ")


def test_edited_blocks_are_drawn_again(results: Results, config: Path) -> None:
    before = tree(results.folder)
    edit(results.folder / "blocks/trial_32x32_val_blocks.json", lambda blocks: blocks["0"].__setitem__(2, [0, 0]))
    assert measure(results.root, config).code == 0
    assert tree(results.folder) == before


def test_force_does_all_of_it_again(results: Results, config: Path) -> None:
    before = tree(results.folder)
    mark(results)
    done = measure(results.root, config, "--force")
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    assert tree(results.folder) == before


def test_another_bitstream_is_measured_anew(results: Results, config: Path) -> None:
    """As where another tool coded it: the place is the same, the record and the bytes are not."""
    mark(results)
    score = json.loads(results.score_path("jpeg 40").read_bytes())
    lower = json.loads(results.score_path("jpeg 5").read_bytes())
    bitstream = results.root / score["bitstream"]
    shutil.copy(results.root / lower["bitstream"], bitstream)
    data = bitstream.read_bytes()
    told = {"key": "0" * 64, "bitstream_sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    record = results.folder / f"records/{score['bitstream']}.json"
    record.write_bytes(as_json(json.loads(record.read_bytes()) | told))
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (1, ALL - 1, 0)), done.err
    now = json.loads(results.score_path("jpeg 40").read_bytes())
    assert now["machine"]["pseudo"] == lower["machine"]["pseudo"]
    assert now["size_bytes"] == len(data)


def test_a_picture_that_changed_since_is_not_held_against_its_bitstream(results: Results, config: Path) -> None:
    """Also where all scores of the picture before are known."""
    save(results.picture(), np.asarray(Image.open(results.picture())).copy()[::-1])
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (1, (0, ALL - CONFIGURATIONS, CONFIGURATIONS))
    assert "is another picture than the one that was compressed; compress it again" in done.err
    assert not [row for row in results.table("image_scores") if "lindau" in row["source"]]
    assert not (results.folder / "block_scores.csv").exists()
    compressed(results.root, config)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (CONFIGURATIONS, ALL - CONFIGURATIONS, 0)), done.err


def test_a_picture_that_changed_since_gives_no_blocks(results: Results, config: Path) -> None:
    save(results.picture(), np.asarray(Image.open(results.picture())).copy()[::-1])
    config.write_text(config.read_text().replace('"SSIM"', '"SSIM", "GMSD"'))
    done = measure(results.root, config, "--level", "block")
    assert done.code == 1
    failed = outcome(done)["failed"]
    assert len(failed) >= CONFIGURATIONS
    assert all("is another picture than the one that was compressed" in reason for _, reason in failed[:CONFIGURATIONS])


def test_pictures_are_told_apart_by_content(results: Results, config: Path) -> None:
    """Configurations that were made of different pictures of one name: only those of the one that lies there count."""
    original = results.picture().read_bytes()
    save(results.picture(), np.asarray(Image.open(results.picture())).copy()[::-1])
    one = write_toml(config.parent, 'encoder = "jpeg"\nquality = [40]', name="one")
    compressed(results.root, one)  # jpeg 40 is of the flipped picture now, all others of the original
    results.picture().write_bytes(original)
    record = "records/" + json.loads(results.score_path("jpeg 40").read_bytes())["bitstream"] + ".json"
    shutil.copy(results.root / "results/one" / record, results.folder / record)
    done = measure(results.root, config, "--level", "image", "--force")
    assert (done.code, counts(done)) == (1, (ALL - 1, 0, 1))
    assert not results.score_path("jpeg 40").exists()


def test_a_failure_takes_the_old_figures_with_it(results: Results, config: Path, tmp_path: Path) -> None:
    """Another network, and one bitstream that is damaged by now: its old score is of the old network."""
    bitstream = results.root / json.loads(results.score_path("x265").read_bytes())["bitstream"]
    data = bytearray(bitstream.read_bytes())
    data[len(data) // 2] ^= 255
    bitstream.write_bytes(data)
    config.write_text(config.read_text().replace(TASK, other_network(tmp_path / "net"), 1))
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (1, (ALL - 1, 0, 1))
    line = f"answers of another network are there (network, weights_sha256 differ): {ALL} pictures are measured anew"
    assert done.err.count(line) == 1
    assert "its SHA-256 is not the one in its record: damaged, or of another run" in done.err
    assert len(results.table("image_scores")) == ALL - 1
    assert outcome(done)["missing"] == ["blocks: some pictures failed; mend that and run again"]


def test_experiments_share_the_places_of_predictions_but_no_results(
    results: Results, config: Path, tmp_path: Path
) -> None:
    head = HEAD.replace(TASK, other_network(tmp_path / "net"), 1)
    other = write_toml(tmp_path, *CODINGS, head=head, name="other")
    compressed(results.root, other)
    before = tree(results.folder)
    assert measure(results.root, other).code == 0
    assert tree(results.folder) == before
    theirs = tree(results.root / "results/other")
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), "predictions are made again"
    assert tree(results.folder) == before
    assert measure(results.root, other).code == 0
    assert tree(results.root / "results/other") == theirs


@pytest.mark.parametrize("writes", [2, 9])
def test_killed_while_it_writes(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, writes: int) -> None:
    """SIGKILL between a file's writing and its renaming: the next run ends as if nothing had been."""
    shutil.copytree(once(tmp_path_factory), tmp_path, dirs_exist_ok=True, symlinks=True)
    results = Results(tmp_path / "data")
    finished = tree(results.root)
    for folder in ("P_GT", "P_hat_C", "results/trial/scores", "results/trial/blocks"):
        shutil.rmtree(results.root / folder)
    script = f"""
        import itertools, os, signal, sys
        from vcmbench import cli
        from vcmbench.io import files
        left, rename = itertools.count({writes}, -1), os.replace

        def replace(*paths):
            if "probe" not in str(paths[1]) and next(left) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(*paths)

        files.os.replace = replace
        sys.exit(cli.main(sys.argv[1:]))
        """
    words = ["metrics", "-d", str(results.root), "-s", str(tmp_path / "trial.toml"), "--gpu", "none", "--no-report"]
    command = [sys.executable, "-c", textwrap.dedent(script), *words, "--runner", "local", "--jobs", "1"]
    killed = subprocess.run(command, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (results.folder / "measured.json").exists()
    assert half_written(results.root) or list(results.root.glob("P_*/**/.*.png.*")), "what was being written"
    done = measure(results.root, tmp_path / "trial.toml")
    assert done.code == 0, done.err
    assert not half_written(results.root)
    assert tree(results.root) == finished


def interrupting(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """The `call`-th call of a function brings Ctrl-C, and goes on."""
    original, left = getattr(owner, name), iter(range(call, -1, -1))

    def wrapped(*arguments: Any, **named: Any) -> Any:
        if next(left, None) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (Steps, "score", 2),  # among the pictures
        (segmentation.Segmentation, "predict", 3),
        (level, "read_prediction", 4),  # while blocks are drawn
        (level.confusion, "crop", 10),  # while they are scored
    ],
)
def test_interrupted_and_gone_on_with(
    results: Results, config: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int
) -> None:
    finished = tree(results.root)
    for folder in ("P_GT", "P_hat_C", "results/trial/scores", "results/trial/blocks"):
        shutil.rmtree(results.root / folder)
    with monkeypatch.context() as patched:
        interrupting(patched, owner, name, call)
        done = measure(results.root, config, "--jobs", 1)
    assert done.code == 130
    assert outcome(done)["interrupted"] and outcome(done)["failed"] == []
    assert "interrupted: run the same command again to go on" in done.err
    again = measure(results.root, config)
    assert again.code == 0, again.err
    measured, known, _ = counts(again)
    assert (measured, known) == (ALL - counts(done)[0], counts(done)[0])
    assert tree(results.root) == finished


def test_a_metric_that_comes_to_be_missing_is_told_as_missing(
    results: Results, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old values may be of another profile; nobody can tell. So the tables lack them, and the records keep them."""
    before = {path: path.read_bytes() for path in (results.folder / "scores").rglob("*.json")}
    original = Scorer._open

    def opened(self: Scorer, name: str, *how: Any) -> None:
        if name == "PSNR":
            from vcmbench.iqa.metric import Missing

            raise Missing("has no weights today")
        original(self, name, *how)

    monkeypatch.setattr(Scorer, "_open", opened)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (0, ALL, 0))
    assert outcome(done)["missing"] == ["PSNR: has no weights today"]
    assert {row["PSNR"] for row in results.table("image_scores") + results.table("block_scores")} == {""}
    why = results.json("correlation_image.json")["PSNR"]["reasons"]["SROC"]
    assert why == "no score for 9 of 9 pictures: has no weights today"
    assert {path: path.read_bytes() for path in before} == before
    done = measure(results.root, config, "--force")
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), "all else is found out again"
    assert all(score["iqa"]["PSNR"]["key"] for score in results.scores()), "what cannot be, stays"
    monkeypatch.setattr(Scorer, "_open", original)
    monkeypatch.setattr(Scorer, "score", lambda *_: pytest.fail("what is known was computed again"))
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (0, ALL, 0)), done.err
    assert any(row["PSNR"] for row in results.table("image_scores"))
    assert any(row["PSNR"] for row in results.table("block_scores"))


def test_other_sizes_of_blocks_leave_nothing_behind(results: Results, config: Path) -> None:
    config.write_text(config.read_text().replace("size_px = [32]", "size_px = [24, 24, 16]"))
    done = measure(results.root, config)
    assert done.code == 0, done.err
    assert list(outcome(done)["correlations"]) == ["image", "block 24x24", "block 16x16"]
    assert sorted(path.name for path in results.folder.glob("correlation_*")) == [
        "correlation_block_16x16.json", "correlation_block_24x24.json", "correlation_image.json",
    ]  # fmt: skip
    assert len(results.table("block_scores")) == 80


def test_only_what_was_asked_for_is_told(results: Results, config: Path, no_network: None) -> None:
    """Records keep what other requests found out; tables do not tell it."""
    config.write_text(config.read_text().replace(TASK, "").replace('"PSNR", "SSIM"', '"SSIM"').replace(BLOCKS, ""))
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (0, ALL, 0)), done.err
    assert "no [task] in the experiment: quality metrics only" in done.err
    rows = results.table("image_scores")
    assert "PSNR" not in rows[0]
    assert {row["accuracy_pseudo"] for row in rows} == {""}
    assert not (results.folder / "block_scores.csv").exists()
    assert "blocks: no [task] in the experiment" in outcome(done)["missing"][0]
