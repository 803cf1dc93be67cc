"""JSON documents ↔ plain values, by shape: JSON 1.0 and 1.1 bodies and the bodies of rest-json."""

from __future__ import annotations

import base64
import binascii
import functools
import math
from typing import Any

from dewfall.errors import AwsError
from dewfall.wire import timestamps

# (member, name on the wire, shape, kind) of a structure, worked out once per shape.
Members = tuple[tuple[str, str, Any, str], ...]
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@functools.cache
def members_of(shape: Any) -> Members:
    """A structure's members."""
    return tuple((name, member.serialization.get("name", name), member, member.type_name) for name, member in shape.members.items())


def refuse(shape: Any, value: Any) -> AwsError:
    """What AWS says of a JSON value of the wrong type."""
    wanted = {"structure": "Start of structure or map", "map": "Start of structure or map", "list": "Start of list"}.get(
        shape.type_name, shape.type_name
    )
    return AwsError("SerializationException", f"{wanted} expected, found {type(value).__name__} {str(value)[:80]!r}.", status=400)


def read(shape: Any, value: Any) -> Any:
    """A parsed JSON value → the value operations see. Unknown members are ignored, null members are absent."""
    kind = shape.type_name
    if kind == "structure":
        return _read_structure(shape, value)
    if kind == "list":
        if not isinstance(value, list):
            raise refuse(shape, value)
        return [read(shape.member, item) for item in value if item is not None]
    if kind == "map":
        if not isinstance(value, dict):
            raise refuse(shape, value)
        return {key: read(shape.value, item) for key, item in value.items() if item is not None}
    return _read_scalar(shape, kind, value)


def _read_structure(shape: Any, value: Any) -> Any:
    if getattr(shape, "is_document_type", False):
        return value
    if not isinstance(value, dict):
        raise refuse(shape, value)
    if getattr(shape, "is_tagged_union", False) and sum(1 for k, v in value.items() if v is not None and k != "__type") > 1:
        raise AwsError("SerializationException", f"Only one member of the union {shape.name} may be set.", status=400)
    return read_members(members_of(shape), value)


def read_members(members: Members, value: dict[str, Any]) -> dict[str, Any]:
    """The members that a JSON object holds."""
    found = {}
    for name, key, member, kind in members:
        item = value.get(key)
        if item is not None:
            found[name] = item if kind == "string" and type(item) is str else read(member, item)
    return found


def _read_scalar(shape: Any, kind: str, value: Any) -> Any:
    if kind in ("string", "character"):
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float):
            return str(value).lower() if isinstance(value, bool) else str(value)
    elif kind in ("integer", "long"):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    elif kind in ("float", "double"):
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str) and value in _SPECIAL:
            return _SPECIAL[value]
    elif kind == "boolean":
        if isinstance(value, bool):
            return value
    elif kind == "timestamp":
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            return timestamps.read(value)
    elif kind == "blob":
        return read_blob(shape, value)
    else:
        return value
    raise refuse(shape, value)


def read_blob(shape: Any, value: Any) -> bytes:
    """Base64 text → bytes."""
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            pass
    raise refuse(shape, value)


def write(shape: Any, value: Any) -> Any:
    """A value → JSON-ready. Members that the shape does not have are left out, as are None."""
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False):
            return value
        found = {}
        for name, key, member, member_kind in members_of(shape):
            item = value.get(name)
            if item is not None:
                found[key] = item if member_kind == "string" and type(item) is str else write(member, item)
        return found
    if kind == "list":
        return [write(shape.member, item) for item in value]
    if kind == "map":
        return {str(key): write(shape.value, item) for key, item in value.items() if item is not None}
    if kind == "timestamp":
        return timestamps.write(value, shape.serialization.get("timestampFormat", "unixTimestamp"))
    if kind == "blob":
        return base64.b64encode(value if isinstance(value, bytes | bytearray) else str(value).encode()).decode()
    if kind in ("float", "double") and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if kind in ("float", "double"):
        return float(value)
    if kind == "string" and not isinstance(value, str):
        return str(value)
    return value
