"""Makes importance.png and distance.png from maps that `vcmbench importance` made.

`vcmbench demo --width 2048 --scenes 1 --data-only -o DEMO`, `vcmbench importance -d DEMO/data`, then
`python make_importance_pictures.py DEMO/data`.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FRAME = "frankfurt/frankfurt_000000_000019"
WIDTH, GAP, CAPTION = 480, 8, 24


def pane(path: Path, caption: str) -> Image.Image:
    picture = Image.open(path).convert("RGB")
    picture = picture.resize((WIDTH, picture.height * WIDTH // picture.width), Image.Resampling.LANCZOS)
    result = Image.new("RGB", (WIDTH, picture.height + CAPTION), "white")
    result.paste(picture, (0, CAPTION))
    ImageDraw.Draw(result).text((2, 3), caption, "black", ImageFont.load_default(15))
    return result


def save(picture: Image.Image, name: str) -> None:
    target = Path(__file__).with_name(name)
    picture.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
    print(target, target.stat().st_size)


def main(data: Path) -> None:
    maps = data / "importance_map/val"
    panes = [
        pane(data / f"cityscapes/leftImg8bit/val/{FRAME}_leftImg8bit.png", "a street scene of the embedded data set"),
        pane(maps / f"{FRAME}_importance_vis.png", "its importance: black 0, red 0.1 .. white 1"),
    ]
    sheet = Image.new("RGB", (2 * WIDTH + GAP, panes[0].height), "white")
    for i, one in enumerate(panes):
        sheet.paste(one, (i * (WIDTH + GAP), 0))
    save(sheet, "importance.png")
    distances = Image.open(maps / f"{FRAME}_distance_annotation.png")
    save(distances.resize((960, 480), Image.Resampling.LANCZOS), "distance.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
