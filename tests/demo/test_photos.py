"""The photographs of scikit-image's wheel."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from vcmbench.demo import photos


def test_photographs_are_rgb_and_one_is_odd_sized(tmp_path: Path) -> None:
    paths = photos.write(tmp_path / "photos")
    assert len(paths) >= 4
    sizes = []
    for path in paths:
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert image.format == "PNG"
            sizes.append(image.size)
    assert any(width % 2 or height % 2 for width, height in sizes)
    stamps = [path.stat().st_mtime_ns for path in paths]
    assert [path.stat().st_mtime_ns for path in photos.write(tmp_path / "photos")] == stamps
