"""Object keys as file paths: reversible, and readable for a person who opens the folder.

    data/train.csv   generation 17   →  data/train.csv@17
    a//b/            generation 18   →  a/%/b/%@18          an empty segment is "%"
    ../x@y           generation 19   →  %2E%2E/x%40y@19     dots alone, "@" and "%" as %XX

A stored file always ends in `@<generation>` and no folder holds an "@", so that `a` and `a/b` can both exist; a segment too long for
a file system is cut into folders ending in "%+".
"""

from __future__ import annotations

import re

SEGMENT_BYTES = 200  # file systems hold 255; the generation and the mark of a cut need room
CUT = "%+"
_UNSAFE = re.compile(r"[%@\x00\\:]")
_ESCAPED = re.compile(r"%([0-9A-F]{2})")


def key_path(key: str, generation: int) -> str:
    """The path of a version below its bucket's folder."""
    return f"{'/'.join(_segment(s) for s in key.split('/'))}@{generation}"


def read_key_path(path: str) -> tuple[str, int] | None:
    """Key and generation of a path made by `key_path`; None for a file that is none of ours."""
    name, _, generation = path.rpartition("@")
    if not generation.isdigit() or "@" in name:
        return None
    joined = name.replace(CUT + "/", "")
    return "/".join(_plain(s) for s in joined.split("/")), int(generation)


def _segment(segment: str) -> str:
    if segment == "":
        return "%"
    if segment in (".", ".."):
        return segment.replace(".", "%2E")
    safe = _UNSAFE.sub(_escape, segment)
    return safe if len(safe) * 4 <= SEGMENT_BYTES or len(safe.encode()) <= SEGMENT_BYTES else _cut(safe)


def _escape(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


def _cut(safe: str) -> str:
    """Pieces of at most SEGMENT_BYTES, cut between characters and never inside an escape."""
    pieces: list[str] = []
    piece, size = "", 0
    for part in re.findall(r"%[0-9A-F]{2}|.", safe, re.DOTALL):
        width = len(part.encode())
        if size + width > SEGMENT_BYTES:
            pieces.append(piece)
            piece, size = "", 0
        piece += part
        size += width
    last = piece.replace(".", "%2E") if piece in (".", "..") else piece
    return "/".join([*(p + CUT for p in pieces), last])


def _plain(segment: str) -> str:
    return "" if segment == "%" else _ESCAPED.sub(lambda m: chr(int(m[1], 16)), segment)
