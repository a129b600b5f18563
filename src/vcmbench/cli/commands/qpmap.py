"""Make QP maps from importance maps."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from vcmbench.cli.argtypes import number, positive_int, whole_number
from vcmbench.cli.terminal import say
from vcmbench.data.dataset import read_picture
from vcmbench.encoder import plugins
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import qp_map
from vcmbench.io.progress import Progress

_EXAMPLES = """\
examples:
  vcmbench qpmap aachen_importance.npy -o aachen_qp_map.csv \\
      --block-size 16 --base-qp 32 --delta 3
  vcmbench qpmap data/importance_map -o qp_maps --base-qp 32 --delta 6 \\
      --scaling absolute --no-picture
  vcmbench qpmap a.npy b.npy -o qp_maps --base-qp 40 --delta 10 --gamma 2 \\
      --codec vvenc --image a.png

An IMPORTANCE is an .npy file, (height, width) numbers from 0 to 1 for the pixels of a picture, or a folder: every .npy
file below it. With one file and an OUT that ends in .csv, OUT is the map; otherwise OUT is a folder, where
x_importance.npy becomes x_qp_map.csv, in the same subfolders. A map is a line of whole numbers for every row of blocks,
without a header; beside it lies its picture, x_qp_map_vis.png: blue and violet low QPs (fine), yellow high ones.

  QP = round(BASE + DELTA - 2 DELTA n ** GAMMA)

with n in 0..1 from the mean importance of a block.

exit codes: 0 all done, 1 some maps failed (each is named), 2 the request was wrong (nothing was started)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make a QP map, one QP for every block, from the importance map of a picture: the more a block "
        "matters, the lower its QP."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("maps", type=Path, nargs="+", metavar="IMPORTANCE", help="an .npy file, or a folder of them")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a .csv file, or a folder")
    parser.add_argument(
        "--block-size", type=positive_int, default=16, metavar="PX",
        help="side of a block; must divide both sides of the picture (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--base-qp", type=whole_number, required=True, metavar="QP", help="the middle of the QPs")
    parser.add_argument("--delta", type=number, required=True, metavar="QP", help="QPs are BASE-DELTA..BASE+DELTA")
    parser.add_argument(
        "--scaling", choices=qp_map.SCALINGS, default="minmax",
        help="minmax: the most and the least important block of each picture get the lowest and the highest QP; "
        "absolute: importance 0.5 gets the base in every picture (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--gamma", type=number, default=1.0, metavar="G",
        help="above 1, only the most important blocks keep a low QP; below 1, most do (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--codec", metavar="NAME", help="the encoder whose QP range holds (default: 0..51)")
    parser.add_argument("--image", type=Path, metavar="PICTURE", help="a picture whose size the maps must have")
    parser.add_argument("--no-picture", action="store_true", help="write no pictures of the maps")


def run(arguments: argparse.Namespace) -> int:
    qp_range = _qp_range(arguments.codec)
    qp_map.check_settings(
        arguments.block_size, arguments.base_qp, arguments.delta, arguments.scaling, arguments.gamma, qp_range
    )
    image_size = _size_of(arguments.image) if arguments.image else None
    work = _plan(arguments.maps, arguments.output)
    failed: list[Path] = []
    flat: dict[Path, int] = {}
    with Progress(len(work), "map") as progress:
        for source, target in work:
            try:
                qp_map.generate_qp_map_csv(
                    source,
                    target,
                    arguments.block_size,
                    arguments.base_qp,
                    arguments.delta,
                    arguments.gamma,
                    arguments.scaling,
                    qp_range=qp_range,
                    image_size=image_size,
                    picture=not arguments.no_picture,
                    on_rounded_away=partial(flat.__setitem__, target),
                )
            except (RequestError, OSError) as error:
                if len(work) == 1:
                    raise
                failed.append(source)
                progress.failed(_line(error))
            progress.advance(source.name)
    if flat:
        first, qp = next(iter(flat.items()))
        others = f" and {len(flat) - 1} more" if len(flat) > 1 else ""
        say(
            f"note: {first}{others}: QP {qp} everywhere, though importance differs: rounding to whole numbers leaves "
            f"nothing of --delta {arguments.delta:g}"
        )
    say(f"{len(work) - len(failed)} done, {len(failed)} failed: {arguments.output}", always=bool(failed))
    return 1 if failed else 0


def _line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _qp_range(codec: str | None) -> tuple[int, int]:
    if codec is None:
        return 0, 51
    scale = plugins.get(codec).quality
    if scale is None or scale.better != "low":
        reason = "has no quality scale" if scale is None else f"has a {scale.name}, where high is better"
        raise RequestError(f"--codec {codec}: it {reason}; a QP map needs a codec with a QP")
    return scale.minimum, scale.maximum


def _size_of(picture: Path) -> tuple[int, int]:
    if picture.exists() and not picture.is_file():  # a pipe would be waited for
        raise RequestError(f"--image {picture}: is no file")
    try:
        height, width, _ = read_picture(picture).rgb.shape
    except JobError as error:
        raise RequestError(f"--image {error}") from None
    return width, height


def _plan(maps: list[Path], output: Path) -> list[tuple[Path, Path]]:
    """Every importance map and where its QP map goes. Raises RequestError where a map is missing, or two collide."""
    for given in maps:
        if not given.exists():
            raise RequestError(f"{given}: no such file or folder")
    is_file = output.suffix == ".csv" and not output.is_dir()
    if is_file and len(maps) == 1 and not maps[0].is_dir():
        return [(maps[0], output)]
    if is_file or (output.exists() and not output.is_dir()):
        raise RequestError(f"{output}: several maps go to a folder")
    work: dict[Path, Path] = {}
    for given in maps:
        found = sorted(given.rglob("[!.]*.npy")) if given.is_dir() else [given]
        if not found:
            raise RequestError(f"{given}: holds no .npy files")
        for source in found:
            inside = source.relative_to(given).parent if given.is_dir() else Path()
            target = output / inside / f"{source.stem.removesuffix('_importance')}_qp_map.csv"
            if target in work and work[target] != source:
                raise RequestError(f"{work[target]} and {source} would both become {target}; rename one of them")
            work[target] = source
    return [(source, target) for target, source in work.items()]
