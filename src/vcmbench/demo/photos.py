"""The real colour photographs inside scikit-image's wheel, as a flat folder of PNG files."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image

from vcmbench.demo.cityscapes import save_png

# Photographs only: drawings, micrographs, test cards and the grayscale ones are left out.
PHOTOS: tuple[str, ...] = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
)


def write(folder: Path) -> list[Path]:
    """Copy the photographs as 8-bit RGB PNG in their own sizes (``chelsea`` is 451 wide); returns their paths.

    Reads only files of the installed package, nothing from a network. Raises ``FileNotFoundError`` if it has none.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    source = files("skimage") / "data"
    written: list[Path] = []
    for name in PHOTOS:
        resource = source / name
        if not resource.is_file():
            continue
        path = folder / f"{Path(name).stem}.png"
        if not path.exists():
            with as_file(resource) as real, Image.open(real) as image:
                save_png(path, np.asarray(image.convert("RGB")))
        written.append(path)
    if not written:
        raise FileNotFoundError(f"scikit-image has none of {', '.join(PHOTOS)} in {source}")
    return written
