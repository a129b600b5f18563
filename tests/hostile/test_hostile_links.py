"""Links that lead out of the data root: what lies there is read where it is a picture, and never changed.

A data set that is unpacked may hold a link in any place where results go.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import hostile
from tests.helpers.commands import JPEG, Typed, tree
from tests.helpers.pictures import save
from vcmbench.data.dataset import open_root, read_picture
from vcmbench.errors import JobError
from vcmbench.importance.qp_map import write_file
from vcmbench.io.files import check_inside, write_atomically

U8 = NDArray[np.uint8]
Write = Callable[..., Path]
FOLDER = "images_JPEG(quality=30, color_subsampling=420, subsampling_factor=1.0)"


def everything(root: Path) -> dict[str, str]:
    """All that lies below a folder: files with their hashes, folders and links by their names."""
    names = {str(path.relative_to(root)): "" for path in sorted(root.rglob("*"))}
    return names | tree(root)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody else, with files that have the names of ours."""
    folder = tmp_path / "outside"
    for name in ("a.jpg", "a.jpg.json", "precious", "records/a.jpg.json", f"records/{FOLDER}/a.jpg.json", "val/a.png",
                 f"trial/records/{FOLDER}/a.jpg.json", "compression.csv", "00000000000000000000000000000000",
                 "1" * 32 + ".abcdefabcdef"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} of somebody else\n")
    return folder


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def clear(done: Typed) -> None:
    """It ended as one that says what is wrong."""
    assert "Traceback" not in done.err, done.err
    assert "leads out of" in done.err


FOLDERS = {
    "results": "results",
    "the experiment": "results/trial",
    "records": "results/trial/records",
    "records of a configuration": f"results/trial/records/{FOLDER}",
    "temporaries": "results/.tmp",
    "leases": "results/.leases",
    "claims": "results/.claims",
    "another experiment": "results/other",
    "records of another experiment": "results/other/records",
    "a configuration": FOLDER,
}


@pytest.mark.parametrize("what", FOLDERS)
def test_folders_of_results(what: str, photos: Path, outside: Path, write_experiment: Write) -> None:
    """Coded with --force, which removes what is in its way; another experiment's are passed over."""
    link(photos / FOLDERS[what], outside)
    before = everything(outside)
    done = hostile.compress(photos, write_experiment(JPEG), "--force")
    assert everything(outside) == before
    if "another experiment" in what:
        assert done.code == 0, done.err
    else:
        assert done.code in (1, 2), done.err
        clear(done)


def test_a_folder_within_a_configuration(tmp_path: Path, astronaut: U8, outside: Path, write_experiment: Write) -> None:
    root = tmp_path / "photos"
    save(root / "val/a.png", astronaut)
    save(root / "b.png", astronaut)
    link(root / FOLDER / "val", outside)
    before = everything(outside)
    done = hostile.compress(root, write_experiment(JPEG))
    assert everything(outside) == before
    assert done.code == 1
    clear(done)
    assert {event["bitstream"].rpartition("/")[2]: event["state"] for event in done.events} == {
        "a.jpg": "failed",
        "b.jpg": "done",
    }


FILES = {
    "a bitstream": f"{FOLDER}/a.jpg",
    "a record": f"results/trial/records/{FOLDER}/a.jpg.json",
    "a record of another experiment": f"results/other/records/{FOLDER}/a.jpg.json",
    "a table": "results/trial/compression.csv",
    "the state of a table": "results/trial/compression.state.json",
    "the probe": "results/trial/.probe",
}


@pytest.mark.parametrize("what", FILES)
def test_single_files(what: str, photos: Path, outside: Path, write_experiment: Write) -> None:
    """A link that is in the way is replaced, as any file there would be; what it led to stays."""
    config = write_experiment(JPEG)
    link(photos / FILES[what], outside / "precious")
    before = everything(outside)
    done = hostile.compress(photos, config)
    assert done.code == 0, done.err
    assert everything(outside) == before
    assert hostile.compress(photos, config).code == 0
    assert everything(outside) == before


def test_links_to_nowhere(photos: Path, tmp_path: Path, write_experiment: Write) -> None:
    for name in (*FOLDERS.values(), *FILES.values()):
        path = photos / name
        link(path, tmp_path / "nowhere")
        done = hostile.compress(photos, write_experiment(JPEG), "--force")
        assert "Traceback" not in done.err
        assert not (tmp_path / "nowhere").exists(), name
        shutil.rmtree(photos / "results", ignore_errors=True)
        (photos / "results").unlink(missing_ok=True)
        if (photos / FOLDER).is_symlink():
            (photos / FOLDER).unlink()
        shutil.rmtree(photos / FOLDER, ignore_errors=True)


def test_the_log_of_runs_is_not_written_through_a_link(photos: Path, outside: Path, write_experiment: Write) -> None:
    from vcmbench.data import runlog

    link(photos / "results/trial" / runlog.FILE, outside / "precious")
    before = everything(outside)
    done = hostile.compress(photos, write_experiment(JPEG))
    assert "Traceback" not in done.err
    assert everything(outside) == before


def test_labels_are_not_linked_elsewhere(streets: Path, outside: Path, write_experiment: Write) -> None:
    folder = streets / "cityscapes_JPEG(quality=30, color_subsampling=420, subsampling_factor=1.0)"
    link(folder, outside)
    before = everything(outside)
    with pytest.raises(JobError, match="leads out of"):
        open_root(streets).link_labels(folder)
    assert hostile.compress(streets, write_experiment(JPEG)).code == 1
    assert everything(outside) == before


def test_pictures_are_read_through_links(photos: Path, tmp_path: Path, astronaut: U8, write_experiment: Write) -> None:
    """Data sets are linked together: that is meant. What becomes of the pictures lies in the data root."""
    elsewhere = tmp_path / "elsewhere"
    save(elsewhere / "c.png", astronaut[::2])
    save(elsewhere / "deep/d.png", astronaut[:, ::2])
    link(photos / "linked", elsewhere)
    link(photos / "e.png", elsewhere / "c.png")
    before = everything(elsewhere)
    done = hostile.compress(photos, write_experiment(JPEG))
    assert done.code == 0, done.err
    names = {record["sources"][0]["name"] for record in done.records()}
    assert names == {"a", "b", "e", "linked/c", "linked/deep/d"}
    assert everything(elsewhere) == before
    assert (photos / FOLDER / "linked/deep/d.jpg").is_file()


def test_a_data_root_that_is_a_link(photos: Path, tmp_path: Path, write_experiment: Write) -> None:
    (tmp_path / "here").symlink_to(photos)
    done = hostile.compress(tmp_path / "here", write_experiment(JPEG))
    assert done.code == 0, done.err


def test_links_that_make_many_ways_through_few_folders(tmp_path: Path, astronaut: U8) -> None:
    """Sixteen folders with four links each to the next: four thousand million ways, of which none is a circle."""
    root = tmp_path / "photos"
    save(root / "a.png", astronaut)
    for number in range(16):
        for way in "abcd":
            link(root / f"f{number}/{way}", root / f"f{number + 1}")
    (root / "f16").mkdir()
    config = tmp_path / "trial.toml"
    config.write_text(f'name = "trial"\n[[coding]]\n{JPEG}\n')
    with hostile.within(100):
        done = hostile.compress(root, config)
    assert done.code == 2
    assert "links lead to the same folders" in done.err
    assert done.err.count("\n") == 1


def test_folders_as_deep_as_names_can_be(tmp_path: Path, astronaut: U8, write_experiment: Write) -> None:
    """Deeper than Python likes to call itself; made step by step, since no system call takes such a name."""
    root = tmp_path / "photos"
    save(root / "a.png", astronaut)
    here = os.open(root, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    done = hostile.compress(root, write_experiment(JPEG))
    subprocess.run(["rm", "-rf", root / "d"], check=True)  # deeper than Python likes to remove, too
    assert done.code == 2
    assert "folders deep" in done.err
    assert len(done.err) < 1000


# --- importance maps


def scene(streets: Path) -> list[str]:
    """Labels and distances for the pictures of frankfurt, and their names."""
    data = streets / "cityscapes"
    names = []
    for path in sorted((data / "leftImg8bit/val/frankfurt").iterdir()):
        name = path.name.removesuffix("_leftImg8bit.png")
        names.append(name)
        save(data / f"gtFine/val/frankfurt/{name}_gtFine_labelIds.png", np.full((128, 192), 7, np.uint8))
        save(data / f"gtFine/val/frankfurt/{name}_gtFine_instanceIds.png", np.full((128, 192), 7, np.uint16))
        save(data / f"disparity/val/frankfurt/{name}_disparity.png", np.full((128, 192), 900, np.uint16))
    return names


@pytest.mark.parametrize("place", ["", "/.tmp", "/val", "/val/frankfurt"])
def test_importance_maps(place: str, streets: Path, outside: Path) -> None:
    scene(streets)
    link(streets / f"importance_map{place}", outside)
    before = everything(outside)
    done = hostile.typed("importance", "-d", streets, "--cities", "frankfurt", "--force")
    assert done.code in (1, 2)
    clear(done)
    assert everything(outside) == before


@pytest.mark.parametrize("ending", ["importance.npy", "importance.json", "importance_vis.png"])
def test_single_files_of_importance_maps(ending: str, streets: Path, outside: Path) -> None:
    name = scene(streets)[0]
    link(streets / f"importance_map/val/frankfurt/{name}_{ending}", outside / "precious")
    before = everything(outside)
    done = hostile.typed("importance", "-d", streets, "--cities", "frankfurt")
    assert done.code == 0, done.err
    assert everything(outside) == before


def test_a_folder_that_is_named_may_be_a_link(streets: Path, tmp_path: Path) -> None:
    """Whoever says -o means what it leads to."""
    scene(streets)
    (tmp_path / "disk").mkdir()
    (tmp_path / "maps").symlink_to(tmp_path / "disk")
    done = hostile.typed("importance", "-d", streets, "--cities", "frankfurt", "-o", tmp_path / "maps")
    assert done.code == 0, done.err
    assert list((tmp_path / "disk/val/frankfurt").glob("*.npy"))


# --- below all of them


def test_temporary_names_that_can_be_guessed(tmp_path: Path) -> None:
    """Somebody laid a link where a temporary file will be."""
    precious = tmp_path / "precious"
    precious.write_text("of somebody else")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/x.tmp").symlink_to(precious)
    write_atomically(tmp_path / "data/x", b"ours", tmp_path / "data/x.tmp")
    assert precious.read_text() == "of somebody else"
    assert (tmp_path / "data/x").read_bytes() == b"ours"
    assert os.listdir(tmp_path / "data") == ["x"]


def test_a_file_as_long_as_names_can_be(tmp_path: Path) -> None:
    write_file(tmp_path / ("x" * 255), b"ours")
    assert os.listdir(tmp_path) == ["x" * 255]


@pytest.mark.parametrize("name", ["a", "a/b", "a/b/c", "link/b"])
def test_check_inside(name: str, tmp_path: Path) -> None:
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "root/link").symlink_to("a")
    check_inside(tmp_path / "root", tmp_path / "root" / name)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root/out").symlink_to("../elsewhere")
    for way in ("out/x", "out/x/y", "a/../out/x", "../x", "a/../../x"):
        with pytest.raises(OSError, match="leads out of"):
            check_inside(tmp_path / "root", tmp_path / "root" / way)


def test_a_link_to_a_device_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("/dev/zero")
    with hostile.within(5), pytest.raises(JobError, match="no regular file"):
        read_picture(tmp_path / "a.png")
