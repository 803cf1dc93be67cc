"""CBOR documents ↔ plain values, by shape: the bodies of smithy-rpc-v2-cbor.

Why our own: the protocol uses a small part of RFC 8949, and a malformed body must become an AWS error, not an exception.
"""

from __future__ import annotations

import math
import struct
from datetime import datetime
from typing import Any

from dewfall.errors import AwsError
from dewfall.wire import timestamps
from dewfall.wire.json_codec import members_of, refuse

_DEPTH_LIMIT = 128
_BREAK = object()
_SIMPLE = {20: False, 21: True, 22: None, 23: None}
_FLOATS = {25: (">e", 2), 26: (">f", 4), 27: (">d", 8)}


class Tagged:
    """A tagged item that is no timestamp; kept so that it is refused where a plain value is expected."""

    def __init__(self, tag: int, value: Any) -> None:
        self.tag, self.value = tag, value


def malformed() -> AwsError:
    """What is said of bytes that are no CBOR."""
    return AwsError("SerializationException", "The request body is not well-formed CBOR.", status=400)


def parse(body: bytes) -> Any:
    """One data item; bytes after it are refused."""
    try:
        value, end = _item(body, 0, 0)
    except (IndexError, struct.error, UnicodeDecodeError, TypeError, OverflowError):
        raise malformed() from None
    if end != len(body) or value is _BREAK:
        raise malformed()
    return value


def _item(body: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > _DEPTH_LIMIT:
        raise malformed()
    major, info = body[at] >> 5, body[at] & 31
    at += 1
    if major == 7:
        return _simple(body, at, info)
    if info == 31:
        return _indefinite(body, at, major, depth)
    count, at = _count(body, at, info)
    if major == 0:
        return count, at
    if major == 1:
        return -1 - count, at
    if major in (2, 3):
        raw = body[at : at + count]
        if len(raw) != count:
            raise malformed()
        return (raw if major == 2 else raw.decode()), at + count
    if count > len(body):
        raise malformed()
    if major == 6:
        value, at = _item(body, at, depth + 1)
        return (timestamps.read(value) if count == 1 else Tagged(count, value)), at
    return _collect(body, at, major, count, depth)


def _count(body: bytes, at: int, info: int) -> tuple[int, int]:
    if info < 24:
        return info, at
    if info > 27:
        raise malformed()
    size = 1 << (info - 24)
    raw = body[at : at + size]
    if len(raw) != size:
        raise malformed()
    return int.from_bytes(raw, "big"), at + size


def _simple(body: bytes, at: int, info: int) -> tuple[Any, int]:
    if info in _SIMPLE:
        return _SIMPLE[info], at
    if info == 31:
        return _BREAK, at
    if info not in _FLOATS:
        raise malformed()
    form, size = _FLOATS[info]
    return struct.unpack(form, body[at : at + size])[0], at + size


def _collect(body: bytes, at: int, major: int, count: int, depth: int) -> tuple[Any, int]:
    """An array or map of known length."""
    if major == 4:
        items = []
        for _ in range(count):
            value, at = _item(body, at, depth + 1)
            items.append(value)
        return items, at
    found = {}
    for _ in range(count):
        key, at = _item(body, at, depth + 1)
        found[key], at = _item(body, at, depth + 1)
    return found, at


def _indefinite(body: bytes, at: int, major: int, depth: int) -> tuple[Any, int]:
    items: list[Any] = []
    while True:
        value, at = _item(body, at, depth + 1)
        if value is _BREAK:
            break
        items.append(value)
    if major == 4:
        return items, at
    if major == 5 and len(items) % 2 == 0:
        return dict(zip(items[::2], items[1::2], strict=True)), at
    if major == 2:
        return b"".join(items), at
    if major == 3:
        return "".join(items), at
    raise malformed()


# ---------------------------------------------------------------- by shape


def read(shape: Any, value: Any) -> Any:
    """A parsed item → the value operations see. Unknown members are ignored, null members are absent."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            raise refuse(shape, value)
        return {name: read(member, value[key]) for name, key, member, _ in members_of(shape) if value.get(key) is not None}
    if kind == "list" and isinstance(value, list):
        return [read(shape.member, item) for item in value if item is not None]
    if kind == "map" and isinstance(value, dict):
        return {str(key): read(shape.value, item) for key, item in value.items() if item is not None}
    return _read_scalar(shape, kind, value)


def _read_scalar(shape: Any, kind: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in ("string", "character") and isinstance(value, str):
        return value
    if kind in ("integer", "long") and number and math.isfinite(value) and int(value) == value:
        return int(value)
    if kind in ("float", "double") and number:
        return float(value)
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "blob" and isinstance(value, bytes):
        return value
    if kind == "timestamp" and isinstance(value, datetime):
        return value
    if kind == "timestamp" and number:
        return timestamps.read(value)
    raise refuse(shape, value)


def write(shape: Any, value: Any) -> bytes:
    """A value → CBOR. Members that the shape does not have are left out, as are None."""
    out = bytearray()
    _write(shape, value, out)
    return bytes(out)


def write_error(code: str, shape: Any, value: dict[str, Any]) -> bytes:
    """An error's document: `__type`, then the members of its shape, or all texts of `value` where it has none."""
    named = [(n, k, m) for n, k, m, _ in members_of(shape) if value.get(n) is not None] if shape is not None else []
    plain = {} if named else {key: str(item) for key, item in value.items() if item is not None}
    out = bytearray()
    _head(5, 1 + len(named) + len(plain), out)
    _text("__type", out)
    _text(code, out)
    for name, key, member in named:
        _text(key, out)
        _write(member, value[name], out)
    for key, item in plain.items():
        _text(key, out)
        _text(item, out)
    return bytes(out)


def _write(shape: Any, value: Any, out: bytearray) -> None:
    kind = shape.type_name
    if kind == "structure":
        members = [(key, member, value[name]) for name, key, member, _ in members_of(shape) if value.get(name) is not None]
        _head(5, len(members), out)
        for key, member, item in members:
            _text(key, out)
            _write(member, item, out)
    elif kind == "list":
        _head(4, len(value), out)
        for item in value:
            _write(shape.member, item, out)
    elif kind == "map":
        entries = [(key, item) for key, item in value.items() if item is not None]
        _head(5, len(entries), out)
        for key, item in entries:
            _text(str(key), out)
            _write(shape.value, item, out)
    else:
        _write_scalar(kind, value, out)


def _write_scalar(kind: str, value: Any, out: bytearray) -> None:
    if kind in ("integer", "long"):
        _integer(int(value), out)
    elif kind in ("float", "double"):
        out += b"\xfb" + struct.pack(">d", value)
    elif kind == "boolean":
        out.append(0xF5 if value else 0xF4)
    elif kind == "blob":
        raw = value if isinstance(value, bytes | bytearray) else str(value).encode()
        _head(2, len(raw), out)
        out += raw
    elif kind == "timestamp":
        out.append(0xC1)
        seconds = timestamps.write(value, "unixTimestamp")
        if isinstance(seconds, int):
            _integer(seconds, out)
        else:
            out += b"\xfb" + struct.pack(">d", seconds)
    else:
        _text(str(value), out)


def _integer(value: int, out: bytearray) -> None:
    _head(0 if value >= 0 else 1, value if value >= 0 else -1 - value, out)


def _text(value: str, out: bytearray) -> None:
    raw = value.encode()
    _head(3, len(raw), out)
    out += raw


def _head(major: int, count: int, out: bytearray) -> None:
    if count < 24:
        out.append(major << 5 | count)
        return
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if count < 1 << (8 * size):
            out.append(major << 5 | info)
            out += count.to_bytes(size, "big")
            return
    raise ValueError(f"{count} does not fit into 64 bits")
