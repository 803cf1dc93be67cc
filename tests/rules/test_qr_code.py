"""QR codes against what a reader (zxing) has read from them, and the standard's own limits."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from dewfall.rules.qr_code import modules, png

# Hashes of codes that zxing decoded to the text they were made of: versions 1, 7 (which adds version bits) and 20 (eight blocks).
READ = {1: "0761cd01deb8bbb2", 150: "3b3f82b5245722f9", 858: "be465641e6cfe0df"}


def text(length: int) -> str:
    return ("otpauth://totp/x@1?secret=" + "ABCD2345" * 120)[:length]


@pytest.mark.parametrize("length", READ)
def test_codes_stay_as_they_were_read(length: int) -> None:
    dark = "".join("01"[module] for row in modules(text(length).encode()) for module in row)
    assert hashlib.sha256(dark.encode()).hexdigest()[:16] == READ[length]


@pytest.mark.parametrize(("length", "size"), [(17, 21), (18, 25), (154, 45), (155, 49), (858, 97)])
def test_a_code_is_as_large_as_its_text_needs(length: int, size: int) -> None:
    assert len(modules(b"x" * length)) == size


def test_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        modules(b"x" * 859)


def test_the_picture_is_a_png_with_a_light_border() -> None:
    picture = png("hello")
    lines = zlib.decompress(picture[picture.index(b"IDAT") + 4 : -16])
    side = (21 + 8) * 4
    assert picture[16:24] == side.to_bytes(4, "big") * 2
    assert len(lines) == (side + 1) * side
    assert set(lines[1 : side + 1]) == {255}
