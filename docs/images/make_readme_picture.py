"""Makes readme.png: `vcmbench demo --width 1024 --scenes 1 -o DEMO`, then `python make_readme_picture.py DEMO`.

Above: a scene of the embedded data set, its labels, its disparity. Below: a detail of it, pristine and decoded again
from records, with what it cost.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vcmbench.compress import decode
from vcmbench.execution.runner.local import LocalRunner

FRAME = "frankfurt/frankfurt_000000_000019"
SHOWN = ["JPEG(quality=10,", "x265(quality=42,", "VVENC(quality=42,"]
WIDTH, GAP, CAPTION = 480, 8, 24


def pane(picture: Image.Image, caption: str) -> Image.Image:
    picture = picture.convert("RGB")
    picture = picture.resize((WIDTH, picture.height * WIDTH // picture.width), Image.Resampling.LANCZOS)
    result = Image.new("RGB", (WIDTH, picture.height + CAPTION), "white")
    result.paste(picture, (0, CAPTION))
    ImageDraw.Draw(result).text((2, 3), caption, "black", ImageFont.load_default(15))
    return result


def disparity_picture(path: Path) -> Image.Image:
    values = np.asarray(Image.open(path)).astype(float)
    shade = np.sqrt(values / values.max()) * 255
    return Image.fromarray(np.stack([shade, shade * 0.6, (255 - shade) * (values > 0)], axis=-1).astype(np.uint8))


def main(demo: Path) -> None:
    data = demo / "data"
    cityscapes = data / "cityscapes"
    pristine = Image.open(cityscapes / f"leftImg8bit/val/{FRAME}_leftImg8bit.png")
    panes = [
        pane(pristine, "a street scene of the embedded data set"),
        pane(Image.open(cityscapes / f"gtFine/val/{FRAME}_gtFine_color.png"), "its labels, in the Cityscapes layout"),
        pane(disparity_picture(cityscapes / f"disparity/val/{FRAME}_disparity.png"), "its stereo disparity"),
    ]
    box = (pristine.width * 3 // 8, pristine.height * 3 // 8, pristine.width * 5 // 8, pristine.height * 5 // 8)
    for name in SHOWN:
        (record_path,) = (data / "results/demo/records").glob(
            f"cityscapes_{name} color_subsampling=420, subsampling_factor=1.0)/leftImg8bit/val/{FRAME}*.json"
        )
        record = decode.read(record_path)
        (picture,) = decode.decode(record, data, LocalRunner())
        caption = f"{name.rstrip(',')}): {record['rate_bpp']:.3f} bpp, {record['psnr_y_db']:.1f} dB"
        panes.append(pane(Image.fromarray(picture).crop(box), caption))
    rows = [panes[:3], panes[3:]]
    height = sum(row[0].height for row in rows) + GAP
    sheet = Image.new("RGB", (3 * WIDTH + 2 * GAP, height), "white")
    y = 0
    for row in rows:
        for i, one in enumerate(row):
            sheet.paste(one, (i * (WIDTH + GAP), y))
        y += row[0].height + GAP
    target = Path(__file__).with_name("readme.png")
    sheet.save(target, optimize=True)
    print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
