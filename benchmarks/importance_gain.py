"""What the machine gains by importance maps on frames and with a network of your own:

    python benchmarks/importance_gain.py FRAMES TASK.toml [--crops] [--encoders x264 x265 kvazaar] [-o DIR]

FRAMES is a folder of pictures of streets, TASK.toml an experiment of which only `[task]` is taken (paths as from its
folder), whose classes are the 19 of Cityscapes. The network's answers on the pristine frames are the labels that
importance is computed from, and the truth; so this is an upper end of what a map of other labels gains. Frames are
coded with the default map, with that of `classes = "seed000"`, and without, QP 22, 27, 32 and 37. Prints BD-rates of
each codec with a map against the same without (below 0: fewer bits for the same), with 95 % intervals from 5 pictures
on. `--crops` takes two of half the width from each frame, at the height where the road begins. Minutes to an hour;
what was done in DIR is not done again.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
from PIL import Image

from vcmbench import experiment
from vcmbench.analysis.bdrate import bd_rate
from vcmbench.analysis.curves import curve
from vcmbench.analysis.run import recalled
from vcmbench.data.labels import LABELS
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.measure.outcome import MeasureSettings
from vcmbench.measure.run import MeasureRun
from vcmbench.tasks.predictions import prediction_path

QUALITIES = (22, 27, 32, 37)
TABLES = {"default": "", "seed000": 'classes = "seed000"\n'}
_UNIT_PX = {"kvazaar": 64}


def vcmbench(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "vcmbench", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def as_toml(table: dict[str, object], heading: str) -> str:
    """`[task]` again: words, numbers, lists and tables of them."""
    own = "".join(f"{key} = {value!r}\n".replace("True", "true").replace("False", "false")
                  for key, value in table.items() if not isinstance(value, dict))  # fmt: skip
    inner = (as_toml(value, f"{heading}.{key}") for key, value in table.items() if isinstance(value, dict))
    return f"[{heading}]\n{own}" + "".join(inner)


def with_paths(task: dict[str, object], folder: Path) -> dict[str, object]:
    """The table with what are names of files there made absolute."""
    return {key: str(folder / value) if isinstance(value, str) and (folder / value).is_file() else value
            for key, value in task.items()}  # fmt: skip


def lay_out(frames: Path, root: Path, crops: bool) -> None:
    """The frames, or crops of them, in the layout of Cityscapes, yet without labels."""
    folder = root / "cityscapes/leftImg8bit/val/frames"
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(sorted(path for path in frames.iterdir() if path.suffix in (".png", ".jpg"))):
        with Image.open(path) as picture:
            rgb = np.asarray(picture.convert("RGB"))
        height, width = rgb.shape[:2]
        for place in range(2 if crops else 1):
            left = place * width // 2
            part = rgb[height // 4 : height * 3 // 4, left : left + width // 2] if crops else rgb
            target = folder / f"frames_{number:06d}_{place:06d}_leftImg8bit.png"
            if not target.exists():
                Image.fromarray(part).save(target)


def label(root: Path) -> None:
    """The network's answers on the pristine frames, as label ids."""
    ids = np.zeros(256, np.uint8)
    for one in LABELS:
        if one.evaluated:
            ids[one.train_id] = one.label_id
    base = root / "cityscapes/leftImg8bit"
    for path in base.rglob("*.png"):
        name = path.relative_to(root / "cityscapes").with_suffix("")
        with Image.open(prediction_path(root, name)) as prediction:
            labels = ids[np.asarray(prediction)]
        target = root / "cityscapes/gtFine" / Path(*name.parts[1:-1])
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(target / f"{name.name.removesuffix('_leftImg8bit')}_gtFine_labelIds.png")


def write_experiment(path: Path, task: str, encoders: list[str], table: str) -> None:
    codings = []
    for encoder in encoders:
        plain = f'[[coding]]\nencoder = "{encoder}"\nquality = {list(QUALITIES)}\n'
        codings += [plain, f"{plain}qp_map = {{ delta = 6, block_size = {_UNIT_PX.get(encoder, 16)} }}\n"]
    path.write_text(
        f'name = "{path.stem}"\n{task}[metrics]\niqa = ["PSNR"]\nlevels = ["image"]\n'
        f'[importance]\nsource = "labels"\nuse_distance = false\n{table}' + "".join(codings)
    )


def lines(root: Path, config: Path, encoders: list[str]) -> list[str]:
    """A line an encoder: BD-rates of accuracy and mIoU, mapped against uniform."""
    run = MeasureRun(experiment.load(str(config)), root, LocalRunner(), MeasureSettings(quiet=True), str(config))
    summary = recalled(run).summary
    names = [point.name for point in summary.points]
    found = []
    for encoder in encoders:
        of = {summary.points[numbers[0]].is_mapped: numbers for numbers in summary.series().values()
              if summary.points[numbers[0]].encoder == encoder}  # fmt: skip
        cells = []
        for measure in ("accuracy", "miou"):
            values = summary.measures("pseudo")[measure]
            uniform, mapped = (curve(summary.rate, values, of[is_mapped], names) for is_mapped in (False, True))
            delta = bd_rate(uniform, mapped)
            cells.append(f"{delta.estimate:+.0f}" if delta.estimate.value is not None else str(delta.estimate.reason))
        found.append(f"| {encoder} | {config.stem} | {' | '.join(cells)} | {len(summary.images)} |")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path)
    parser.add_argument("task", type=Path)
    parser.add_argument("--crops", action="store_true")
    parser.add_argument("--encoders", nargs="+", default=["x264", "x265", "kvazaar"])
    parser.add_argument("-o", "--output", type=Path, help="keep what is made there; a temporary folder without it")
    arguments = parser.parse_args()
    root = arguments.output or Path(tempfile.mkdtemp())
    try:
        task = with_paths(tomllib.loads(arguments.task.read_text())["task"], arguments.task.resolve().parent)
        lay_out(arguments.frames, root, arguments.crops)
        first = root / "answers.toml"
        text = as_toml(task, "task")
        first.write_text(
            f'name = "answers"\n{text}[metrics]\niqa = []\nlevels = ["image"]\n[[coding]]\nencoder = "none"\n'
        )
        for command in ("compress", "metrics"):
            vcmbench(command, "-q", "-d", root, "-s", first, "--runner", "local")
        label(root)
        print("| encoder | map | BD-rate of accuracy, % | BD-rate of mIoU, % | n |\n|---|---|---|---|---|")
        for name, table in TABLES.items():
            config = root / f"{name}.toml"
            write_experiment(config, text, arguments.encoders, table)
            vcmbench("compress", "-q", "-d", root, "-s", config, "--runner", "local")
            vcmbench("metrics", "-q", "-d", root, "-s", config, "--runner", "local", "--no-report")
            print(*lines(root, config, arguments.encoders), sep="\n", flush=True)
    finally:
        if arguments.output is None:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
