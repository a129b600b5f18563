"""A data set of others, from its folder to scores: no file is renamed, and its labels are colours of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from tests.helpers.measuring import compressed, counts, measure, typed, write_toml
from tests.helpers.pictures import save

MINE = '[colours]\n"#ff0000" = "car"\n"#000001" = "ignore"\n'


def test_a_newcomers_way_from_a_tree_to_scores(tmp_path: Path) -> None:
    """Colours of one's own, no file renamed, maps by importance, nothing asked twice."""
    rng, root = np.random.default_rng(2), tmp_path / "drive"
    for number in range(3):
        save(root / f"rgb/val/a/f{number}.png", rng.integers(0, 256, (32, 48, 3), np.uint8))
        pixels = np.array([[255, 0, 0]] * 20 + [[0, 0, 1]] * 28, np.uint8)
        save(root / f"seg/val/a_{number}.png", np.tile(pixels, (32, 1, 1)))
    (tmp_path / "mine.toml").write_text(MINE)
    head = ('[dataset]\nimages = "rgb/{split}/{city}/f{n}.png"\nlabels = "seg/{split}/{city}_{n}.png"\n'
            'scheme = "mine.toml"\n[importance]\nuse_distance = false\n[task]\n'
            '[metrics]\niqa = ["PSNR"]\nlevels = ["image"]\nagainst = "labels"\n')  # fmt: skip
    config = write_toml(tmp_path, 'encoder = "jpeg"\nquality = [30]\nqp_map = { delta = 6 }', head=head)
    compressed(root, config)
    done = measure(root, config)
    assert (done.code, counts(done)) == (0, (3, 0, 0)), done.err
    (path,) = (root / "results/trial/scores").rglob("images_JPEG*/rgb/val/a/f0.json")
    part = json.loads(path.read_bytes())["machine"]
    assert sum(pixels for _, _, pixels in part["labels"]["confusion"]) == 32 * 20
    assert part["labels"]["importance"][1] == 32 * 20
    assert counts(measure(root, config)) == (0, 3, 0)
    (tmp_path / "mine.toml").write_text(MINE.replace("car", "bus"))
    assert counts(measure(root, config)) == (3, 0, 0), "another scheme is another truth"
    shutil.rmtree(root / "seg")
    done = typed("compress", "-d", root, "-s", config, "--runner", "local")
    assert done.code == 2 and f"qp_map: none of 3 pictures has its labels there, no {root}/seg/val/a_0.png" in done.err
    config = write_toml(tmp_path, 'encoder = "jpeg"\nquality = [30]', head=head)
    compressed(root, config)
    done = measure(root, config)
    assert done.code == 2 and 'metrics.against = "labels": none of 3 pictures has its labels there' in done.err
