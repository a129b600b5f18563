"""Every bitstream can be decoded again from its record alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.commands import typed
from tests.helpers.pictures import save
from vcmbench import experiment
from vcmbench.compress import decode
from vcmbench.compress.luma_errors import psnr_db
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.data.colour import luma
from vcmbench.encoder import plugins
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.local import LocalRunner

U8 = NDArray[np.uint8]
LOCAL = [e.name for e in plugins.discover().values() if LocalRunner().find(e, e.encode_tools)]


@pytest.fixture
def root(tmp_path: Path, astronaut: U8) -> Path:
    save(tmp_path / "a.png", astronaut[:131, :177])
    save(tmp_path / "b.png", astronaut[100:231, :177])
    return tmp_path


def code(root: Path, name: str, **options: object) -> list[Path]:
    """Code both pictures and return the paths of the records."""
    scale = plugins.get(name).quality
    quality = {} if scale is None else {"quality": [20 if scale.better == "low" else 90]}
    coding = {"encoder": name, **quality, **options}
    wanted = experiment.Experiment.model_validate({"name": "decode", "coding": [coding]})
    outcome = CompressRun(wanted, root, LocalRunner(), CompressSettings()).execute(lambda *_: None)
    assert not outcome.failed
    return sorted((root / "results/decode/records").rglob("*.json"))


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("factor", [1.0, 0.5])
def test_pictures_come_back_in_their_size(name: str, factor: float, root: Path) -> None:
    for path in code(root, name, subsampling_factor=[factor]):
        record = decode.read(path)
        (picture,) = decode.decode(record, decode.data_root_of(path), LocalRunner())
        with Image.open(root / f"{record['sources'][0]['name']}.png") as image:
            pristine = np.asarray(image)
        assert picture.shape == pristine.shape
        assert picture.dtype == np.uint8
        again = psnr_db(luma(pristine), luma(picture))
        if record["psnr_y_db"] is None:
            np.testing.assert_array_equal(picture, pristine)
        else:
            # through RGB and back costs a little
            assert again == pytest.approx(record["psnr_y_db"], abs=0.6)


def test_stacks_come_back_in_order(root: Path) -> None:
    (path,) = code(root, "x264", stacked=True)
    record = decode.read(path)
    pictures = list(decode.decode(record, root, LocalRunner()))
    assert len(pictures) == 2
    for source, picture in zip(record["sources"], pictures, strict=True):
        with Image.open(root / f"{source['name']}.png") as image:
            psnr = psnr_db(luma(np.asarray(image)), luma(picture))
        assert psnr is None or psnr > 38


def test_the_command(root: Path, tmp_path: Path) -> None:
    record = code(root, "jpeg")[0]
    done = typed("decode", record, "-o", tmp_path / "out", "--runner", "local")
    assert done.code == 0, done.err
    target = tmp_path / "out/images_JPEG(quality=90, color_subsampling=420, subsampling_factor=1.0)/a.png"
    assert done.out.splitlines() == [str(target)]
    with Image.open(target) as image:
        assert image.size == (177, 131)


def test_two_data_roots_of_the_same_names_keep_all_their_pictures(tmp_path: Path, astronaut: U8) -> None:
    roots = [tmp_path / "one/data", tmp_path / "two/data"]
    for root in roots:
        save(root / "a.png", astronaut[:16, :16])
        code(root, "jpeg")
    out = tmp_path / "out"
    done = typed("decode", *(root / "results/decode/records" for root in roots), "-o", out, "--runner", "local")
    assert done.code == 0, done.err
    folder = "images_JPEG(quality=90, color_subsampling=420, subsampling_factor=1.0)"
    wanted = [out / name / "data" / folder / "a.png" for name in ("one", "two")]
    assert sorted(out.rglob("*.png")) == wanted


def test_the_command_takes_a_whole_experiment(root: Path, tmp_path: Path) -> None:
    code(root, "jpeg", quality=[10, 90], subsampling_factor=[1.0, 0.5])
    done = typed("decode", root / "results/decode/records", "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "runner: local (as the results that are there)" in done.err
    assert len(list((tmp_path / "out").rglob("*.png"))) == len(done.out.splitlines()) == 8
    empty = typed("decode", tmp_path / "nothing", "-o", tmp_path / "out")
    assert (empty.code, "no such record" in empty.err) == (2, True)


def test_what_is_wrong_with_a_record_or_its_bitstream(root: Path, tmp_path: Path) -> None:
    path = code(root, "x265")[0]
    record = decode.read(path)
    bitstream = root / record["bitstream"]
    data = bitstream.read_bytes()
    bitstream.write_bytes(data[:-1])
    with pytest.raises(JobError, match="its record says"):
        list(decode.decode(record, root, LocalRunner()))
    bitstream.write_bytes(bytes(len(data)))
    with pytest.raises(JobError, match="SHA-256"):
        list(decode.decode(record, root, LocalRunner()))
    bitstream.unlink()
    with pytest.raises(JobError, match="cannot be read"):
        list(decode.decode(record, root, LocalRunner()))
    with pytest.raises(JobError, match="outside of the data root"):
        list(decode.decode({**record, "bitstream": "../../etc/passwd"}, root, LocalRunner()))
    with pytest.raises(RequestError, match="unknown; there are"):
        list(decode.decode({**record, "encoder": "../evil"}, root, LocalRunner()))
    with pytest.raises(RequestError, match="not a record of vcmbench"):
        decode.read(root / "a.png")
    with pytest.raises(RequestError, match="does not lie below results"):
        decode.data_root_of(tmp_path / "a.json")
    done = typed("decode", root / "a.png", "-o", tmp_path / "out")
    assert done.code == 2
    assert "not a record of vcmbench" in done.err
