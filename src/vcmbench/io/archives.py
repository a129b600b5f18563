"""Whether a .pth file can be unpacked: that it is as large as what comes out of it.

PyTorch writes zip archives that are not compressed. Its reader inflates those that are, and believes what they say of
their sizes: a file of a kilobyte could fill the memory.
"""

from __future__ import annotations

import struct
import zipfile
from io import BufferedReader

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_MOST_COMMENT = 1 << 16
_MOST_LIST_BYTES = 1 << 26


def check(file: BufferedReader) -> None:
    """Raises ValueError where an archive is compressed, or says that it holds more than its file does. A file that is
    no archive passes, and OSError goes through."""
    if not zipfile.is_zipfile(file):
        return
    size = file.seek(0, 2)
    # Python reads the list of the members whole, however long the archive says that it is
    start, length = _list(file, size)
    if length > _MOST_LIST_BYTES:
        raise ValueError(f"its list of members would have {length} bytes")
    try:
        archive = zipfile.ZipFile(file)
        members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error) as error:
        raise ValueError(f"a damaged archive: {error}") from None
    if archive.start_dir != start:  # Python would look at one list, PyTorch at another
        raise ValueError("a damaged archive: its list of members is not where it says")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its members are compressed, which PyTorch never writes")
    total = sum(member.file_size for member in members)
    if total > size:
        raise ValueError(f"says that it holds {total} bytes, and has {size}")


def _list(file: BufferedReader, size: int) -> tuple[int, int]:
    """Where the list of members begins and how long it is, by the archive's last words."""
    start = max(0, size - _MOST_COMMENT - _END.size - _END64_LOCATOR.size)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        return 0, 0
    before = tail[max(0, at - _END64_LOCATOR.size) : at]
    if len(before) == _END64_LOCATOR.size and before.startswith(b"PK\6\7"):
        file.seek(min(_END64_LOCATOR.unpack(before)[2], size))
        long = file.read(_END64.size)
        if len(long) == _END64.size and long.startswith(b"PK\6\6"):
            *_, length, offset = _END64.unpack(long)
            return offset, length
    *_, length, offset, _ = _END.unpack(tail[at : at + _END.size])
    return offset, length
