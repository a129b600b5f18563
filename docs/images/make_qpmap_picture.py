"""Makes qpmap.png from a run: a detail of a scene, uniform and mapped at equal rate, and the QP map of that detail.

`vcmbench demo --width 1024 --scenes 1 --data-only -o DEMO`, `vcmbench compress -d DEMO/data -s qpmap.toml --runner
local` (it lies beside this file), then `python make_qpmap_picture.py DEMO/data`.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont

from vcmbench.compress import decode
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.importance import qp_map

FRAME = "frankfurt/frankfurt_000000_000019"
BOX = (592, 192, 912, 352)  # px of the scene, whole blocks
BLOCK = 16
SCALE, GAP, CAPTION = 2, 8, 24


def pane(picture: Image.Image, caption: str) -> Image.Image:
    result = Image.new("RGB", (picture.width, picture.height + CAPTION), "white")
    result.paste(picture, (0, CAPTION))
    ImageDraw.Draw(result).text((2, 3), caption, "black", ImageFont.load_default(15))
    return result


def detail(picture: Image.Image) -> Image.Image:
    crop = picture.convert("RGB").crop(BOX)
    return crop.resize((crop.width * SCALE, crop.height * SCALE), Image.Resampling.LANCZOS)


def coded(data: Path, record_path: Path) -> tuple[Image.Image, dict]:
    record = decode.read(record_path)
    (picture,) = decode.decode(record, data, LocalRunner())
    return Image.fromarray(picture), record


def map_picture(path: Path) -> Image.Image:
    """The detail's QPs, blue low and yellow high, as viridis has them, with the numbers."""
    left, top, right, bottom = (side // BLOCK for side in BOX)
    qps = qp_map.read_csv(path)
    low, high = qps.min(), qps.max()
    shown = qps[top:bottom, left:right]
    colours = (colormaps["viridis"]((shown - low) / (high - low))[..., :3] * 255).astype(np.uint8)
    side = BLOCK * SCALE
    picture = Image.fromarray(colours).resize((shown.shape[1] * side, shown.shape[0] * side), Image.Resampling.NEAREST)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for (row, column), qp in np.ndenumerate(shown):
        place = ((column + 0.5) * side, (row + 0.5) * side)
        draw.text(place, str(qp), "white" if qp < (low + high) / 2 else "black", font, anchor="mm")
    return picture


def main(data: Path) -> None:
    folders = sorted((data / "results/qpmap-picture/records").glob("cityscapes_x265*"), key=lambda path: len(path.name))
    records = [folder / f"leftImg8bit/val/{FRAME}_leftImg8bit.265.json" for folder in folders]
    (plain, uniform), (mapped, best) = (coded(data, path) for path in records)
    csv = (data / best["bitstream"]).with_name(f"{Path(FRAME).name}_leftImg8bit_qp_map.csv")
    panes = [
        pane(detail(Image.open(data / f"cityscapes/leftImg8bit/val/{FRAME}_leftImg8bit.png")), "pristine"),
        pane(map_picture(csv), "QP map, blocks of 16 px; its numbers are those of the CSV"),
    ]
    regions = best["uniform"]["region"], best["region"]
    for name, picture, record, region in zip(
        ("uniform", "mapped"), (plain, mapped), (uniform, best), regions, strict=True
    ):
        inside, outside = region["psnr_y_inside_db"], region["psnr_y_outside_db"]
        size = record["size_bytes"]
        caption = f"{name}: {size} bytes; PSNR-Y within d_safe {inside:.1f} dB, elsewhere {outside:.1f} dB"
        panes.append(pane(detail(picture), caption))
    width, height = panes[0].size
    sheet = Image.new("RGB", (2 * width + GAP, 2 * height + GAP), "white")
    for i, one in enumerate(panes):
        sheet.paste(one, (i % 2 * (width + GAP), i // 2 * (height + GAP)))
    target = Path(__file__).with_name("qpmap.png")
    sheet.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
    print(target, target.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
