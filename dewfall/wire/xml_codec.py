"""XML documents ↔ plain values, by shape: rest-xml bodies both ways, and the answers of query and ec2."""

from __future__ import annotations

import base64
import binascii
import functools
import math
import re
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from dewfall.errors import AwsError
from dewfall.wire import timestamps

Element = ElementTree.Element
_UNSAFE = {"\r": "&#xD;", "\n": "&#xA;", "\u0085": "&#x85;", "\u2028": "&#x2028;"}
_SPECIAL = re.compile("[&<>\\x00-\\x1f\\x85\u2028]")
_CONTROL = {c: None for c in range(32) if chr(c) not in "\t\r\n"}


def parse(body: bytes) -> Element:
    """XML text → element tree; a document type (entities) is refused as malformed."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise malformed()
    try:
        return ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError):
        raise malformed() from None


def malformed() -> AwsError:
    """S3's words for XML that does not fit."""
    return AwsError("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema", status=400)


def local(tag: str) -> str:
    """A tag without its namespace."""
    return tag.rpartition("}")[2]


def read(shape: Any, element: Element) -> Any:
    """Element → value."""
    kind = shape.type_name
    if kind == "structure":
        return _read_structure(shape, element)
    if kind == "list":
        return [read(shape.member, child) for child in element]
    if kind == "map":
        return _read_map(shape, list(element))
    return scalar(shape, element.text or "")


def _read_structure(shape: Any, element: Element) -> dict[str, Any]:
    children: dict[str, list[Element]] = {}
    for child in element:
        children.setdefault(local(child.tag), []).append(child)
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        if member.serialization.get("location"):
            continue
        if member.serialization.get("xmlAttribute"):
            text = _attribute(element, member.serialization["name"])
            if text is not None:
                found[name] = scalar(member, text)
            continue
        flat = member.type_name in ("list", "map") and member.serialization.get("flattened")
        tags = [member.serialization.get("name", name)]
        if flat and member.type_name == "list":
            tags.append(member.member.serialization.get("name", "member"))
        hits = next((children[tag] for tag in tags if tag in children), None)
        if hits is None:
            continue
        if flat:
            found[name] = [read(member.member, hit) for hit in hits] if member.type_name == "list" else _read_map(member, hits)
        else:
            found[name] = read(member, hits[-1])
    return found


def _attribute(element: Element, name: str) -> str | None:
    wanted = name.rpartition(":")[2]
    return next((text for key, text in element.attrib.items() if local(key) == wanted), None)


def _read_map(shape: Any, entries: list[Element]) -> dict[str, Any]:
    key_name, value_name = shape.key.serialization.get("name", "key"), shape.value.serialization.get("name", "value")
    found = {}
    for entry in entries:
        parts = {local(child.tag): child for child in entry}
        if key_name in parts and value_name in parts:
            found[parts[key_name].text or ""] = read(shape.value, parts[value_name])
    return found


def scalar(shape: Any, text: str) -> Any:
    """Text → value of a simple shape."""
    kind = shape.type_name
    try:
        if kind in ("integer", "long"):
            return int(text.strip())
        if kind in ("float", "double"):
            return float(text.strip())
        if kind == "boolean":
            if text.strip().lower() not in ("true", "false", "1", "0"):
                raise ValueError(text)
            return text.strip().lower() in ("true", "1")
        if kind == "timestamp":
            return timestamps.read(text)
        if kind == "blob":
            return base64.b64decode(text)
    except (ValueError, binascii.Error):
        raise malformed() from None
    return text


# ---------------------------------------------------------------- writing


def write(shape: Any, value: Any, name: str, out: list[str], namespace: str = "", *, full_seconds: bool = False) -> None:
    """Append `<name>value</name>` for a value of a shape. `full_seconds`: timestamps have milliseconds even where they are zero."""
    kind = shape.type_name
    if kind == "structure":
        out.append(f"<{name}{_namespace(shape, namespace)}{_attributes(shape, value)}>")
        write_members(shape, value, out, full_seconds=full_seconds)
        out.append(f"</{name}>")
    elif kind == "list":
        item = shape.member.serialization.get("name", "member")
        out.append(f"<{name}{_namespace(shape, namespace)}>")
        for entry in value:
            write(shape.member, entry, item, out, full_seconds=full_seconds)
        out.append(f"</{name}>")
    elif kind == "map":
        out.append(f"<{name}{_namespace(shape, namespace)}>")
        _write_entries(shape, value, "entry", out)
        out.append(f"</{name}>")
    else:
        form = "iso8601ms" if full_seconds else "iso8601"
        out.append(f"<{name}{_namespace(shape, namespace)}>{text_of(shape, value, form)}</{name}>")


def write_members(shape: Any, value: dict[str, Any], out: list[str], *, full_seconds: bool = False) -> None:
    """Append a structure's members that belong in the body."""
    for name, tag, kind, member in _written(shape):
        entry = value.get(name)
        if entry is None:
            continue
        if kind == "flat list":
            for item in entry:
                write(member, item, tag, out, full_seconds=full_seconds)
        elif kind == "flat map":
            _write_entries(member, entry, tag, out)
        elif kind == "text":
            out.append(f"<{tag}>{plain(entry)}</{tag}>")
        else:
            write(member, entry, tag, out, full_seconds=full_seconds)


@functools.cache
def _written(shape: Any) -> tuple[tuple[str, str, str, Any], ...]:
    """(member, tag, kind, shape) of what a structure has in the body; of a flattened list, its member's shape."""
    found = []
    for name, member in shape.members.items():
        setting = member.serialization
        if setting.get("location") or setting.get("xmlAttribute"):
            continue
        tag, kind = setting.get("name", name), member.type_name
        if kind == "list" and setting.get("flattened"):
            found.append((name, member.member.serialization.get("name", tag), "flat list", member.member))
        elif kind == "map" and setting.get("flattened"):
            found.append((name, tag, "flat map", member))
        else:
            simple = kind in ("string", "integer", "long") and "xmlNamespace" not in setting
            found.append((name, tag, "text" if simple else kind, member))
    return tuple(found)


def _write_entries(shape: Any, value: dict[str, Any], tag: str, out: list[str]) -> None:
    for key, item in value.items():
        out.append(f"<{tag}>")
        write(shape.key, key, shape.key.serialization.get("name", "key"), out)
        write(shape.value, item, shape.value.serialization.get("name", "value"), out)
        out.append(f"</{tag}>")


def text_of(shape: Any, value: Any, form: str) -> str:
    """A simple value as escaped text."""
    kind = shape.type_name
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        return str(timestamps.write(value, shape.serialization.get("timestampFormat", form)))
    if kind == "blob":
        return base64.b64encode(value if isinstance(value, bytes | bytearray) else str(value).encode()).decode()
    if kind in ("float", "double"):
        return number_text(value)
    return plain(value)


def plain(value: Any) -> str:
    """Any value as escaped text; control characters, which XML cannot hold, are left out."""
    text = str(value)
    return escape(text.translate(_CONTROL), _UNSAFE) if _SPECIAL.search(text) else text


def number_text(value: Any) -> str:
    """A number of floating point as text."""
    number = float(value)
    if math.isfinite(number):
        return repr(number)
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")


def _namespace(shape: Any, inherited: str) -> str:
    setting = shape.serialization.get("xmlNamespace")
    if isinstance(setting, dict) and setting.get("uri"):
        prefix = f":{setting['prefix']}" if setting.get("prefix") else ""
        return f" xmlns{prefix}={quoteattr(setting['uri'])}"
    return f" xmlns={quoteattr(inherited)}" if inherited else ""


def _attributes(shape: Any, value: dict[str, Any]) -> str:
    if not _has_attributes(shape):
        return ""
    return "".join(
        f" {member.serialization['name']}={quoteattr(str(value[name]))}"
        for name, member in shape.members.items()
        if member.serialization.get("xmlAttribute") and value.get(name) is not None
    )


@functools.cache
def _has_attributes(shape: Any) -> bool:
    return any(member.serialization.get("xmlAttribute") for member in shape.members.values())
