"""Write an experiment for the pictures of a data root, with a comment on every choice."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from shlex import quote

from vcmbench import experiment
from vcmbench.cli.terminal import say
from vcmbench.data.dataset import DataRoot, Source, find_sources, open_root
from vcmbench.data.selection import Selection
from vcmbench.encoder import plugins
from vcmbench.errors import RequestError
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.io import resources
from vcmbench.iqa import METRICS

_EXAMPLES = """\
examples:
  vcmbench init -d photos
  vcmbench init -d data -o mine.toml

Looks which pictures, labels and tools are there, writes the file, and names the commands that run it. What is not known
to suit the pictures stands in it as a comment.
"""
_QUALITIES = {
    "jpeg": [10, 30, 50, 80], "x265": [22, 27, 32, 37], "x264": [22, 27, 32, 37], "vvenc": [22, 27, 32, 37],
    "svtav1": [20, 32, 43, 55], "kvazaar": [22, 27, 32, 37],
}  # fmt: skip
"""In the order in which they are offered; the first two that are here are coded with."""
_METRICS = ("PSNR", "SSIM", "MS_SSIM", "VSI")
"""Of which those are offered that take pictures of that size."""
_VIDEO = """
# A grid each: every quality as video. structure: "lowdelay", "randomaccess" or "intra" (docs/encoders.md, Sequences).
[[coding]]
encoder = "x265"
quality = [22, 27, 32, 37]
structure = "lowdelay"
intra_period = 24             # an intra picture so often; leave the line out for the first one only

[[coding]]
encoder = "x264"
quality = [22, 27, 32, 37]
structure = "lowdelay"
intra_period = 24

[[coding]]
encoder = "x265"
quality = [22, 27, 32, 37]
structure = "intra"           # every picture by itself: what prediction saves"""
_SPLITS = ("val", "test", "train")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("-d", "--data", type=Path, required=True, metavar="DATA", help="the data root")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.toml",
                        help="where the experiment goes (default: the data root's name, here)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def run(arguments: argparse.Namespace) -> int:
    root = open_root(arguments.data)
    path: Path = arguments.output or Path(f"{_name(root.picture.stem if root.picture else root.root.name)}.toml")
    if path.suffix != ".toml":
        raise RequestError(f"--output {path}: must end in .toml")
    split, sources = _pictures(root)
    text = _text(_name(path.stem), root, split, sources)
    try:
        with path.open("w" if arguments.force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RequestError(f"{path}: is there already; --force writes over it, -o names another file") from None
    except FileNotFoundError:
        raise RequestError(f"{path}: there is no folder {path.parent}; make it, or name another with -o") from None
    wanted = experiment.load(str(path))
    pictures = f"{len(sources)} picture{'s' * (len(sources) != 1)}"
    say(f"{path}: {len(wanted.configurations())} coding configurations of {pictures}; run it with")
    for command in ("compress", "metrics"):
        print(f"vcmbench {command} -d {quote(str(arguments.data))} -s {quote(str(path))}")
    return 0


def _name(text: str) -> str:
    """A name that an experiment may have, and none that is shipped has."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:60] or "mine"
    shipped = {path.stem for path in resources.folder("val_config").glob("*.toml")}
    return f"my-{name}" if name in shipped else name


def _pictures(root: DataRoot) -> tuple[str, list[Source]]:
    """The first split that has pictures, and these. Raises RequestError where there are none at all."""
    for split in _SPLITS if root.is_cityscapes else ():
        if any((root.pristine / "leftImg8bit" / split).glob("*/*")):
            return split, find_sources(root, Selection(split=split))
    return _SPLITS[0], find_sources(root, Selection())


def _text(name: str, root: DataRoot, split: str, sources: list[Source]) -> str:
    height, width, _ = sources[0].read().rgb.shape
    is_video = all(source.frame is not None for source in sources)
    return "\n".join([
        f"# {len(sources)} pictures, the first of {width}x{height} px. Every key: docs/compress.md, docs/metrics.md.",
        f'name = "{name}"               # results lie in DATA/results/{name}',
        *_dataset(root, split, is_video), *_measures(root, split, (width, height)),
        *([_VIDEO] if is_video else _codings()),
    ]) + "\n"  # fmt: skip


def _dataset(root: DataRoot, split: str, is_video: bool) -> list[str]:
    if is_video:
        return ["", "[dataset]", "frames = 48                   # of every video; leave the line out for all of them"]
    lines = ["", "[dataset]", "limit = 20                    # the first pictures; leave the line out for all of them"]
    return [*lines, f'split = "{split}"                 # of cityscapes/leftImg8bit'] if root.is_cityscapes else lines


def _measures(root: DataRoot, split: str, size: tuple[int, int]) -> list[str]:
    names = [name for name in _METRICS if METRICS[name].conventions["standard"].smallest.reason(*size) is None]
    labels = root.is_cityscapes and any((root.pristine / "gtFine" / split).glob("*/*_labelIds.png"))
    about = [
        "", "# What the machine makes of the pictures. \"demo\" has seen drawn street scenes only; docs/tasks.md names",
        "# networks for real ones, and how to give your own.",
        *(["[task]", 'model = "demo"'] if root.is_cityscapes else ["# [task]", '# model = "demo"']),
        "", "[metrics]", f"iqa = {json.dumps(names)}   # all of them: docs/quality.md",
        'levels = ["image"]            # "block" as well: which metric follows the machine, block by block',
    ]  # fmt: skip
    return [*about, '# against = "labels"          # gtFine is there; without: the pristine prediction'] \
        if labels else about  # fmt: skip


def _codings() -> list[str]:
    local = LocalRunner()
    here = [
        name for name in _QUALITIES if name in plugins.discover()
        and all(local.find(plugins.get(name), tools) for tools in
                (plugins.get(name).encode_tools, plugins.get(name).decode_tools))
    ]  # fmt: skip
    lines = ["", "# A grid each: every quality with every factor. Low QPs are good, high JPEG qualities are."]
    for number, name in enumerate([*here, *(name for name in _QUALITIES if name not in here)]):
        mark = "" if number < 2 else "# "
        where = "" if name in here else "          # not found here: vcmbench encoders build " + name
        lines += [f"{mark}[[coding]]{where}", f'{mark}encoder = "{name}"', f"{mark}quality = {_QUALITIES[name]}"]
        lines += ["# subsampling_factor = [1.0, 0.5]   # coded at half size, too"] if number == 1 else []
        lines.append("")
    return lines[:-1]
