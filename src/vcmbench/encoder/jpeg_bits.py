"""How many bits every block of a JPEG file takes, from its Huffman codes (ITU-T T.81, sequential, as libjpeg writes).

The scan is read as a decoder reads it, but for the values, which only take up their bits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SOF, _DHT, _SOS, _DRI, _EOI = (0xC0, 0xC1), 0xC4, 0xDA, 0xDD, 0xD9
_BARE = {0x01, *range(0xD0, 0xD9)}  # markers without a length


@dataclass(frozen=True)
class _Component:
    across: int  # blocks of 8x8 of a minimum coded unit
    down: int
    dc: dict[int, tuple[int, int]]
    ac: dict[int, tuple[int, int]]


def block_bits(data: bytes) -> NDArray[np.int64]:
    """(rows, columns) of minimum coded units (16x16 luma pixels at 4:2:0, 8x8 at 4:4:4): the bits of all of their
    blocks, of all components. They sum to the scan but for stuffed bytes and the padding of its last one.

    Raises ValueError for a file that is no sequential JPEG with one scan, or is cut off.
    """
    try:
        (height, width), components, scan = _parsed(data)
    except (IndexError, KeyError, struct.error):
        raise ValueError("no JPEG file, or one that is cut off") from None
    most = [max(getattr(one, side) for one in components) for side in ("across", "down")]
    columns, rows = -(-width // (8 * most[0])), -(-height // (8 * most[1]))
    bits = _Bits(scan)
    found = np.zeros(rows * columns, np.int64)
    try:
        for unit in range(rows * columns):
            start = bits.at
            for one in components:
                for _ in range(one.across * one.down):
                    _block(bits, one)
            found[unit] = bits.at - start
    except KeyError:
        raise ValueError("its scan holds a code that its tables do not have: damaged") from None
    return found.reshape(rows, columns)


def unit_px(data: bytes) -> tuple[int, int]:
    """Width and height of a minimum coded unit in pixels. Raises ValueError, see `block_bits`."""
    try:
        _, components, _ = _parsed(data)
    except (IndexError, KeyError, struct.error):
        raise ValueError("no JPEG file, or one that is cut off") from None
    return 8 * max(one.across for one in components), 8 * max(one.down for one in components)


def _block(bits: _Bits, of: _Component) -> None:
    size = bits.symbol(of.dc)
    bits.skip(size)
    place = 1
    while place < 64:
        symbol = bits.symbol(of.ac)
        if symbol == 0:  # end of the block
            return
        place += (symbol >> 4) + 1
        bits.skip(symbol & 15)


class _Bits:
    """A scan, bit by bit; `at` is where it is."""

    def __init__(self, scan: bytes) -> None:
        self._scan, self.at, self._end = scan + bytes(4), 0, 8 * len(scan)

    def symbol(self, table: dict[int, tuple[int, int]]) -> int:
        byte, shift = divmod(self.at, 8)
        window = (int.from_bytes(self._scan[byte : byte + 3], "big") >> (8 - shift)) & 0xFFFF
        length, symbol = table[window]
        self.skip(length)
        return symbol

    def skip(self, count: int) -> None:
        self.at += count
        if self.at > self._end:
            raise ValueError("the scan is cut off")


def _parsed(data: bytes) -> tuple[tuple[int, int], list[_Component], bytes]:
    """Height and width, the components of the scan, and the scan without stuffed bytes."""
    if data[:2] != b"\xff\xd8":
        raise ValueError("no JPEG file")
    at, tables, size, sampling = (
        2,
        dict[tuple[int, int], dict[int, tuple[int, int]]](),
        (0, 0),
        dict[int, tuple[int, int]](),
    )
    while True:
        marker = data[at + 1]
        if data[at] != 0xFF or marker == _EOI:
            raise ValueError("no scan")
        if marker in _BARE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        part = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == _DHT:
            tables |= _huffman(part)
        elif marker in _SOF:
            size = struct.unpack_from(">HH", part, 1)
            sampling = {part[6 + 3 * i]: divmod(part[7 + 3 * i], 16) for i in range(part[5])}
        elif 0xC2 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            raise ValueError("a progressive, lossless or arithmetic JPEG file")
        elif marker == _DRI and any(part):
            raise ValueError("a JPEG file with restart intervals")
        elif marker == _SOS:
            chosen = {part[1 + 2 * i]: divmod(part[2 + 2 * i], 16) for i in range(part[0])}
            break
    if len(chosen) != len(sampling):
        raise ValueError("a JPEG file of several scans")
    if len(sampling) == 1:  # of one component a unit is one block
        sampling = dict.fromkeys(sampling, (1, 1))
    components = [_Component(*sampling[one], tables[0, dc], tables[1, ac]) for one, (dc, ac) in chosen.items()]
    end = data.rfind(b"\xff\xd9")
    return (size[0], size[1]), components, data[at : end if end > at else None].replace(b"\xff\x00", b"\xff")


def _huffman(part: bytes) -> dict[tuple[int, int], dict[int, tuple[int, int]]]:
    """By class and number the tables of a DHT marker: for every 16 bits that may come, the length of the code that they
    begin with, and its symbol."""
    found = {}
    at = 0
    while at < len(part):
        which, counts = divmod(part[at], 16), part[at + 1 : at + 17]
        at += 17
        table, code = {}, 0
        for length, count in enumerate(counts, 1):
            for _ in range(count):
                first = code << (16 - length)
                for window in range(first, first + (1 << (16 - length))):
                    table[window] = (length, part[at])
                code, at = code + 1, at + 1
            code <<= 1
        found[which] = table
    return found
