"""Pictures that others made: opened by the few decoders that are wanted, and only where unpacking them is bounded.

Pillow knows a format by a file's content, whatever its name. Of its forty formats some call other programs, and all
take what a header says for true.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from vcmbench.errors import JobError
from vcmbench.io.files import open_regular, read_bounded

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "PPM", "WEBP")
MAX_PIXELS = 1 << 28
"""16384 x 16384: beyond it a small file that unpacks into memory is no picture."""
MAX_BYTES = (1 << 30) + (1 << 24)
"""As many pixels of four bytes that are not compressed, and a little more."""
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_MAX_TILE_PIXELS = 1 << 24
_FULL = 255
_SIDES_CHANGE = (5, 6, 7, 8)
_TURN = Image.Transpose
_UNDO = {
    2: _TURN.FLIP_LEFT_RIGHT, 3: _TURN.ROTATE_180, 4: _TURN.FLIP_TOP_BOTTOM, 5: _TURN.TRANSPOSE, 6: _TURN.ROTATE_90,
    7: _TURN.TRANSVERSE, 8: _TURN.ROTATE_270,
}  # fmt: skip
_START_OF_SCAN = b"\xff\xda"
_MAX_SCANNED_PIXELS = 1 << 33


def read(path: Path) -> bytes:
    """The bytes of a picture's file. Raises OSError."""
    return read_bounded(path, MAX_BYTES)


def opened(data: bytes, formats: tuple[str, ...] = FORMATS) -> ImageFile:
    """A picture that is not decoded yet, from its file's bytes: Pillow would fetch a file in dozens of small reads.

    Raises what Pillow raises, which `complaints` makes a JobError of; so it is where memory or time would not do.
    """
    image = Image.open(BytesIO(data), formats=formats)
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{image.width}x{image.height} px is more than {MAX_PIXELS} px")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # a tile is unpacked whole, however little of it lies within the picture
        tile = int(image.tag_v2.get(_TILE_WIDTH, 1)) * int(image.tag_v2.get(_TILE_LENGTH, 1))
        if tile > max(4 * pixels, _MAX_TILE_PIXELS):
            raise Image.DecompressionBombError(f"{image.width}x{image.height} px in tiles of {tile} px")
    if image.format in ("JPEG", "MPO") and data.count(_START_OF_SCAN) * pixels > _MAX_SCANNED_PIXELS:
        # each of a few bytes goes over the whole picture
        raise Image.DecompressionBombError(f"{data.count(_START_OF_SCAN)} scans of {image.width}x{image.height} px")
    return image


def count(image: ImageFile) -> int:
    """How many pictures a file holds; 2 where there are several that were not counted."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 2 if image.is_animated else 1  # Pillow counts by reading all of them
    return int(getattr(image, "n_frames", 1))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is stored, by its header. Raises what Pillow raises, or OSError."""
    with open_regular(path, MAX_BYTES) as file, Image.open(file, formats=FORMATS) as image:
        return image.size[::-1] if turned(image) in _SIDES_CHANGE else image.size


def format_of(path: Path) -> str | None:
    """The format of a picture whose name says that it is something else; None where it is no picture."""
    try:
        with open_regular(path, MAX_BYTES) as file, Image.open(file, formats=FORMATS) as image:
            return image.format
    except Exception:  # Pillow may raise anything
        return None


def orientation(image: ImageFile) -> int:
    """How EXIF says that a picture should be turned, 1..8: 1 is not at all. PNG is decoded for it."""
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def turned(image: ImageFile) -> int:
    """By which orientation Pillow will turn a picture when it is decoded: TIFF by its own, and nothing else."""
    return orientation(image) if image.format == "TIFF" else 1


def as_stored(image: ImageFile, by: int) -> Image.Image:
    """A picture's pixels in the order of its file, turned back `by` what `turned` said of it before it was decoded."""
    return image.transpose(_UNDO[by]) if by in _UNDO else image


def depths(image: ImageFile) -> tuple[bool, bool]:
    """Whether the samples of a picture that is not decoded yet have more than 8 bits, and whether fewer values than 256
    are stretched over 0..255: Pillow opens all as 8 bits, and only what its decoder is given shows it."""
    raw = {tile[3] if isinstance(tile[3], str) else str(tile[3][0]) for tile in image.tile if tile[3]}
    if image.format == "PPM":
        most = max((int(tile[3][1]) for tile in image.tile if isinstance(tile[3], tuple)), default=255)
        return most > _FULL, most < _FULL
    if image.format == "BMP":
        return False, bool(raw & {"BGR;15", "BGR;16"})
    is_deep = image.mode.startswith(("I", "F")) or any(";16" in mode for mode in raw)
    return is_deep, image.mode == "L" and bool(raw & {"L;2", "L;4"})


@contextmanager
def complaints(path: Path, what: str = "image") -> Iterator[None]:
    """Whatever goes wrong with a picture's file inside is a JobError that names it."""
    try:
        yield
    except JobError:
        raise
    except UnidentifiedImageError:
        raise JobError(f"{path}: not an image that can be read") from None
    except Image.DecompressionBombError as error:
        raise JobError(f"{path}: {error}") from None
    except OSError as error:
        if error.errno is not None:  # of the system; Pillow's own have none
            raise JobError(f"{path}: {what} cannot be read: {error.strerror}") from None
        raise JobError(f"{path}: damaged or truncated {what}: {error}") from None
    except Exception as error:  # decoders raise nearly anything over what a damaged file holds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise JobError(f"{path}: damaged or truncated {what}: {reason}") from None
