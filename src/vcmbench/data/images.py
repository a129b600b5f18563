"""Pictures that others made: opened by the few decoders that are wanted, and only where unpacking them is bounded.

Pillow knows a format by a file's content, whatever its name. Of its forty formats some call other programs, and all
take what a header says for true.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image, TiffImagePlugin, UnidentifiedImageError
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
    if image.format == "JPEG" and data.count(_START_OF_SCAN) * pixels > _MAX_SCANNED_PIXELS:
        # each of a few bytes goes over the whole picture
        raise Image.DecompressionBombError(f"{data.count(_START_OF_SCAN)} scans of {image.width}x{image.height} px")
    return image


def count(image: ImageFile) -> int:
    """How many pictures a file holds; 2 where there are several that were not counted."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 2 if image.is_animated else 1  # Pillow counts by reading all of them
    return int(getattr(image, "n_frames", 1))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a picture, by its header. Raises what Pillow raises, or OSError."""
    with open_regular(path, MAX_BYTES) as file, Image.open(file, formats=FORMATS) as image:
        return image.size


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
