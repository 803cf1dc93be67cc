"""QR codes (ISO/IEC 18004) of short texts, as PNG: bytes mode, error correction level L, versions 1 to 20, always mask 0."""

from __future__ import annotations

import struct
import zlib

LARGEST = 20
CORRECTION = (7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28)  # codewords per block, by version
BLOCKS = (1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8)
LEVEL_AND_MASK = 0b01000
BORDER, SCALE = 4, 4

Grid = list[list[bool | None]]


def png(text: str) -> bytes:
    """The picture of a text's QR code, black on white.

    >>> png("hello")[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    return _png(modules(text.encode()))


def modules(data: bytes) -> list[list[bool]]:
    """The squares of a code, by row; True is dark."""
    version = next((v for v in range(1, LARGEST + 1) if _bits_of(v) <= _capacity(v) * 8 - 8 * len(data)), None)
    if version is None:
        raise ValueError("the text is too long for a QR code")
    grid = _patterns(version)
    fixed = [[module is not None for module in row] for row in grid]
    _place(grid, _codewords(version, data))
    size = len(grid)
    return [[bool(grid[y][x]) ^ (not fixed[y][x] and (x + y) % 2 == 0) for x in range(size)] for y in range(size)]


# ---------------------------------------------------------------- codewords


def _raw(version: int) -> int:
    """How many codewords a version holds in all."""
    bits = (16 * version + 128) * version + 64
    if version >= 2:
        marks = version // 7 + 2
        bits -= (25 * marks - 10) * marks - 55
    return (bits - 36 if version >= 7 else bits) // 8


def _capacity(version: int) -> int:
    return _raw(version) - CORRECTION[version - 1] * BLOCKS[version - 1]


def _bits_of(version: int) -> int:
    """What precedes the data: the mode and the length."""
    return 4 + (8 if version <= 9 else 16)


def _codewords(version: int, data: bytes) -> list[int]:
    """Data with padding and correction, the blocks interleaved."""
    bits = "0100" + format(len(data), f"0{_bits_of(version) - 4}b") + "".join(format(byte, "08b") for byte in data)
    room = _capacity(version) * 8
    bits += "0" * min(4, room - len(bits))
    bits += "0" * (-len(bits) % 8)
    words = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    words += [(0xEC, 0x11)[i % 2] for i in range(_capacity(version) - len(words))]
    blocks, correction = BLOCKS[version - 1], CORRECTION[version - 1]
    short, longer = divmod(len(words), blocks)
    parts, start = [], 0
    for number in range(blocks):
        length = short + (number >= blocks - longer)
        parts.append(words[start : start + length])
        start += length
    checks = [_correction(part, correction) for part in parts]
    woven = [part[i] for i in range(short + 1) for part in parts if i < len(part)]
    return woven + [check[i] for i in range(correction) for check in checks]


def _times(a: int, b: int) -> int:
    """Product in GF(2^8) with the polynomial 0x11D."""
    product = 0
    for bit in range(7, -1, -1):
        product = (product << 1) ^ ((product >> 7) * 0x11D)
        product ^= ((b >> bit) & 1) * a
    return product


def _correction(data: list[int], degree: int) -> list[int]:
    """The Reed-Solomon remainder of a block."""
    divisor, root = [0] * (degree - 1) + [1], 1
    for _ in range(degree):
        divisor = [_times(d, root) ^ (divisor[i + 1] if i + 1 < degree else 0) for i, d in enumerate(divisor)]
        root = _times(root, 2)
    rest = [0] * degree
    for word in data:
        factor = word ^ rest.pop(0)
        rest.append(0)
        rest = [r ^ _times(d, factor) for r, d in zip(rest, divisor, strict=True)]
    return rest


# ---------------------------------------------------------------- the grid


def _patterns(version: int) -> Grid:
    """A grid with what is the same for every text; None where data goes."""
    size = version * 4 + 17
    grid: Grid = [[None] * size for _ in range(size)]
    for i in range(size):
        grid[6][i] = grid[i][6] = i % 2 == 0
    for cx, cy in ((3, 3), (size - 4, 3), (3, size - 4)):
        for dy in range(-4, 5):
            for dx in range(-4, 5):
                if 0 <= cx + dx < size and 0 <= cy + dy < size:
                    grid[cy + dy][cx + dx] = max(abs(dx), abs(dy)) not in (2, 4)
    centres = _centres(version, size)
    for cy in centres:
        for cx in centres:
            if (cx, cy) not in ((6, 6), (6, size - 7), (size - 7, 6)):
                for dy in range(-2, 3):
                    for dx in range(-2, 3):
                        grid[cy + dy][cx + dx] = max(abs(dx), abs(dy)) != 1
    _format(grid, size)
    if version >= 7:
        bits = (version << 12) | _remainder(version, 12, 0x1F25)
        for i in range(18):
            grid[i // 3][size - 11 + i % 3] = grid[size - 11 + i % 3][i // 3] = bool(bits >> i & 1)
    return grid


def _centres(version: int, size: int) -> list[int]:
    """Where the alignment patterns' centres are, along either side."""
    if version == 1:
        return []
    count = version // 7 + 2
    step = (version * 8 + count * 3 + 5) // (count * 4 - 4) * 2
    return [6, *(size - 7 - i * step for i in range(count - 1))]


def _remainder(value: int, degree: int, polynomial: int) -> int:
    rest = value
    for _ in range(degree):
        rest = (rest << 1) ^ ((rest >> (degree - 1)) * polynomial)
    return rest


def _format(grid: Grid, size: int) -> None:
    """Level and mask, twice, and the module that is always dark."""
    bits = ((LEVEL_AND_MASK << 10) | _remainder(LEVEL_AND_MASK, 10, 0x537)) ^ 0x5412
    dark = [bool(bits >> i & 1) for i in range(15)]
    for i, y in enumerate((0, 1, 2, 3, 4, 5, 7, 8)):
        grid[y][8] = dark[i]
    grid[8][7] = dark[8]
    for i in range(9, 15):
        grid[8][14 - i] = dark[i]
    for i in range(8):
        grid[8][size - 1 - i] = dark[i]
    for i in range(8, 15):
        grid[size - 15 + i][8] = dark[i]
    grid[size - 8][8] = True


def _place(grid: Grid, words: list[int]) -> None:
    """Fill what is free in columns of two, from the right, up and down in turn."""
    size = len(grid)
    bits = (bool(word >> bit & 1) for word in words for bit in range(7, -1, -1))
    for turn, right in enumerate(r if r > 6 else r - 1 for r in range(size - 1, 1, -2)):
        for step in range(size):
            y = size - 1 - step if turn % 2 == 0 else step
            for x in (right, right - 1):
                if grid[y][x] is None:
                    grid[y][x] = next(bits, False)


# ---------------------------------------------------------------- the picture


def _png(grid: list[list[bool]]) -> bytes:
    side = (len(grid) + 2 * BORDER) * SCALE
    light = b"\xff" * (SCALE * BORDER)
    empty = b"\x00" + b"\xff" * side
    lines = [b"\x00" + light + b"".join((b"\x00" if dark else b"\xff") * SCALE for dark in row) + light for row in grid]
    picture = empty * (SCALE * BORDER) + b"".join(line * SCALE for line in lines) + empty * (SCALE * BORDER)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(picture, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
