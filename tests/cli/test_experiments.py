"""Experiments from the command line: written, looked at, taken away again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import videos
from tests.helpers.commands import JPEG, tree
from vcmbench import cli, experiment
from vcmbench.data.store import Store
from vcmbench.tasks.predictions import prediction_path, write_prediction

HOLD = """
import sys
from pathlib import Path
from vcmbench.data.dataset import open_root
from vcmbench.data.store import Store

store = Store(open_root(Path(sys.argv[1])), "another")
store.prepare()
with store.probe():
    print("at work", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def coded(photos: Path, write_experiment: Callable[..., Path]) -> Path:
    """Two photographs, coded by the experiment `trial`."""
    config = write_experiment(JPEG)
    assert cli.main(["compress", "-q", "-d", str(photos), "-s", str(config), "--runner", "local"]) == 0
    return photos


def names(root: Path) -> set[str]:
    return {path for path in tree(root) if not path.startswith("results/.")}


def test_a_written_experiment_says_what_it_found_and_runs(
    photos: Path, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.toml"
    assert cli.main(["init", "-d", str(photos), "-o", str(path)]) == 0
    assert f"vcmbench compress -d {photos} -s {path}" in capsys.readouterr().out
    wanted = experiment.load(str(path))
    assert (wanted.name, wanted.task) == ("mine", None)
    assert "# 2 pictures, the first of 320x256 px." in path.read_text()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "-d", str(photos)]) == 0
    assert experiment.load("my-photos.toml").name == "my-photos", "an experiment photos is shipped"
    assert cli.main(["init", "-d", str(photos), "-o", str(path)]) == 2, "a file that is there stays"
    assert cli.main(["init", "-d", str(photos), "-o", str(path.parent / "none/x.toml")]) == 2
    assert f"there is no folder {path.parent / 'none'}; make it" in capsys.readouterr().err
    assert cli.main(["init", "-d", str(streets), "-o", str(path), "--force"]) == 0
    found = experiment.load(str(path))
    assert found.task is not None
    assert found.dataset.split == "val"
    assert found.metrics.iqa == ["PSNR", "SSIM", "VSI"], "MS_SSIM is for larger pictures"


def test_a_written_experiment_codes_a_video_as_video(tmp_path: Path) -> None:
    video = videos.write(tmp_path / "drive.mp4")
    assert cli.main(["init", "-d", str(video), "-o", str(tmp_path / "mine.toml")]) == 0
    found = experiment.load(str(tmp_path / "mine.toml"))
    assert [one.structure and one.structure.kind for one in found.configurations()] == [
        *["lowdelay"] * 8, *["intra"] * 4
    ]  # fmt: skip


def test_status_counts_what_is_there_against_what_is_asked(
    coded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    config = str(tmp_path / "trial.toml")
    asked = ["status", "-d", str(coded), "-s", config, "--json", "--set", "coding.quality=[30, 40]"]
    assert cli.main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["encoders"] == {"jpeg": {"jobs": 4, "done": 2, "pictures": 4, "scored": 0}}
    assert found["files"] == {"bitstreams": 2, "records": 2, "scores": 0, "predictions": 0, "tables": 4}
    sizes = {path.stat().st_size for path in coded.glob("images_*/*.jpg")}
    assert found["size_bytes"]["bitstreams"] == sum(sizes)
    assert found["last_runs"]["compress"]["failed"] == 0
    assert cli.main(["status", "-d", str(coded)]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:4] == ["trial", "2", "0", "0"]
    assert cli.main(["status", "-d", str(tmp_path)]) == 2, "there is no experiment"


def test_clean_removes_what_the_experiment_made_and_nothing_else(
    coded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(tmp_path / "trial.toml")
    folder = next(coded.glob("images_*"))
    own = [coded / "results/trial/notes.txt", folder / "mine.txt", coded / "results/trial/records/x.json"]
    for path in own:
        path.write_text("{}")
    words = ["clean", "-d", str(coded), "-s", config]
    before = tree(coded)
    assert cli.main(words) == 2, "without a terminal nothing is agreed to"
    assert cli.main([*words, "--dry-run"]) == 0
    assert tree(coded) == before
    assert str(folder / "a.jpg") in capsys.readouterr().out
    assert cli.main([*words, "--yes"]) == 0
    assert names(coded) == {"a.png", "b.png", *(str(path.relative_to(coded)) for path in own)}
    for path in own:
        path.unlink()
    assert cli.main([*words, "--yes"]) == 0


def test_clean_leaves_what_others_have_records_of(
    coded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (tmp_path / "trial.toml").read_text()
    other = tmp_path / "other.toml"
    other.write_text(text.replace("trial", "other").replace("[30]", "[30, 60]"))
    assert cli.main(["compress", "-q", "-d", str(coded), "-s", str(other), "--runner", "local"]) == 0
    kept = {path for path in names(coded) if not path.startswith("results/trial")}
    capsys.readouterr()
    assert cli.main(["clean", "-d", str(coded), "-s", str(tmp_path / "trial.toml"), "--yes"]) == 0
    assert "2 bitstreams stay, for other experiments have records of them" in capsys.readouterr().err
    assert names(coded) == kept
    assert not (coded / "results/trial").exists()
    assert cli.main(["clean", "-d", str(coded), "-s", str(other), "--yes"]) == 0
    assert names(coded) == {"a.png", "b.png"}
    assert {path.name for path in coded.iterdir()} == {"a.png", "b.png"}, "not even empty folders are left"


def test_clean_follows_no_link_and_ends_no_run(coded: Path, tmp_path: Path) -> None:
    """Records behind a link, and bitstreams that the copy of an experiment names, are those of others."""
    text = (tmp_path / "trial.toml").read_text()
    (tmp_path / "linked.toml").write_text(text.replace("trial", "linked"))
    (coded / "results/linked").mkdir()
    (coded / "results/linked/records").symlink_to("../trial/records")
    shutil.copytree(coded / "results/trial", coded / "results/kept")
    before = names(coded)
    words = ["clean", "-d", str(coded), "-s"]
    assert cli.main([*words, str(tmp_path / "linked.toml"), "--yes"]) == 0
    assert names(coded) == before
    hold = [sys.executable, "-c", HOLD, str(coded)]
    with subprocess.Popen(hold, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stdout.readline() == b"at work\n"
        assert cli.main([*words, str(tmp_path / "trial.toml"), "--yes"]) == 2
        run.stdin.close()  # type: ignore[union-attr]
    assert cli.main([*words, str(tmp_path / "trial.toml"), "--yes"]) == 0
    assert names(coded) == {path for path in before if not path.startswith(("results/trial/", "results/linked/"))}


def test_predictions_of_the_users_own_are_left(coded: Path, tmp_path: Path, astronaut: object) -> None:
    import numpy as np

    from vcmbench.data.dataset import open_root
    from vcmbench.measure import holdings, records

    store = Store(open_root(coded), "trial")
    folder = next(coded.glob("images_*")).name
    for name, key in (("a", "made by us"), ("b", "")):
        path = store.folder / records.SCORES / folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        write_prediction(prediction_path(coded, Path(name), folder), np.zeros((2, 2), np.uint8), key)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holdings.records, "read", lambda path: path)
        assert [path.stem for path in holdings.holdings(store)["predictions"]] == ["a"]


def test_the_quiet_and_the_loud(photos: Path, tmp_path: Path, write_experiment: Callable[..., Path],
                                capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    words = ["compress", "-d", str(photos), "-s", str(write_experiment(JPEG)), "--runner", "local", "--force"]
    assert cli.main([*words, "-q"]) == 0
    quiet = capsys.readouterr()
    assert quiet.err == ""
    assert quiet.out.startswith("encoder")
    assert cli.main([*words, "-v"]) == 0
    assert len([line for line in capsys.readouterr().err.splitlines() if "jobs, ETA" in line]) == 2, "a line a job"
    (photos / "b.png").write_bytes(b"no picture")
    assert cli.main([*words, "-q"]) == 1
    assert "failed: " in capsys.readouterr().err
    assert cli.main(["-v", "compress", "-d", str(tmp_path / "none"), "-s", "quick"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    import subprocess

    pytest.importorskip("shtab")
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    for words, wanted in ((["vcmbench", "sta"], "status"), (["vcmbench", "plan", "--work"], "--workers")):
        ask = f'COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; _shtab_vcmbench; echo "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True)
        assert done.stdout.strip() == wanted
