"""Event streams: application/vnd.amazon.eventstream messages, one per event.

length(4) headers length(4) crc32 of these(4) │ headers │ payload │ crc32 of everything before(4)
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

from dewfall.errors import AwsError
from dewfall.wire import cbor_codec, json_codec, xml_codec

log = logging.getLogger(__name__)
_BYTES, _TEXT, _MOMENT = 6, 7, 8
CONTENT_TYPES = {"json": "application/json", "cbor": "application/cbor", "xml": "application/xml"}


def message(headers: dict[str, Any], payload: bytes) -> bytes:
    """One framed message."""
    encoded = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(encoded) + len(payload), len(encoded))
    prelude += struct.pack(">I", crc32(prelude))
    whole = prelude + encoded + payload
    return whole + struct.pack(">I", crc32(whole))


def _header(name: str, value: Any) -> bytes:
    label = name.encode()
    start = bytes([len(label)]) + label
    if isinstance(value, bool):
        return start + bytes([0 if value else 1])
    if isinstance(value, int):
        return start + (b"\x04" + struct.pack(">i", value) if -(2**31) <= value < 2**31 else b"\x05" + struct.pack(">q", value))
    if isinstance(value, datetime):
        return start + bytes([_MOMENT]) + struct.pack(">q", round(value.timestamp() * 1000))
    raw = value if isinstance(value, bytes) else str(value).encode()
    return start + bytes([_BYTES if isinstance(value, bytes) else _TEXT]) + struct.pack(">H", len(raw)) + raw


def write(shape: Any, events: Iterable[dict[str, Any]], codec: str, initial: bytes | None = None) -> Iterator[bytes]:
    """Events `{name: members}` → framed messages. RPC protocols send `initial`, the output's other members, first.

    An AwsError raised by the iterator ends the stream as the modeled exception event.
    """
    if initial is not None:
        yield message({":message-type": "event", ":event-type": "initial-response", ":content-type": CONTENT_TYPES[codec]}, initial)
    try:
        for event in events:
            for name, members in event.items():
                if name in shape.members:
                    yield _event(name, shape.members[name], members, codec)
    except AwsError as error:
        yield _exception(shape, error, codec)
    except Exception:
        log.exception("event stream failed shape=%s", shape.name)
        yield message({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "An internal error occurred"}, b"")


def _event(name: str, shape: Any, members: dict[str, Any], codec: str) -> bytes:
    headers: dict[str, Any] = {":message-type": "event", ":event-type": name}
    payload, content_type, explicit = b"", "", False
    for member, part in shape.members.items():
        value = members.get(member)
        if part.serialization.get("eventheader"):
            if value is not None:
                headers[member] = value
        elif part.serialization.get("eventpayload"):
            explicit = True
            payload, content_type = _payload(part, value, codec)
    if not explicit and shape.members:
        payload, content_type = _document(shape, members, codec), CONTENT_TYPES[codec]
    if content_type:
        headers[":content-type"] = content_type
    return message(headers, payload)


def _payload(shape: Any, value: Any, codec: str) -> tuple[bytes, str]:
    if shape.type_name == "blob":
        return (value if isinstance(value, bytes) else str(value or "").encode()), "application/octet-stream"
    if shape.type_name == "string":
        return str(value or "").encode(), "text/plain"
    return _document(shape, value or {}, codec), CONTENT_TYPES[codec]


def _document(shape: Any, value: dict[str, Any], codec: str) -> bytes:
    if codec == "cbor":
        return cbor_codec.write(shape, value)
    if codec == "xml":
        out: list[str] = []
        xml_codec.write(shape, value, shape.name, out)
        return "".join(out).encode()
    plain = {k: v for k, v in value.items() if k in shape.members and not shape.members[k].serialization.get("eventheader")}
    return json.dumps(json_codec.write(shape, plain), separators=(",", ":")).encode()


def _exception(shape: Any, error: AwsError, codec: str) -> bytes:
    for name, part in shape.members.items():
        if part.metadata.get("exception") and error.code in (name, part.name):
            member = next((m for m in part.members if m.lower() == "message"), "message")
            headers = {":message-type": "exception", ":exception-type": name, ":content-type": CONTENT_TYPES[codec]}
            return message(headers, _document(part, {member: error.message, **error.members}, codec))
    return message({":message-type": "error", ":error-code": error.code, ":error-message": error.message}, b"")


# ---------------------------------------------------------------- in

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = {2: ">b", 3: ">h", 4: ">i", 5: ">q"}
_UUID = 9


def read(shape: Any, body: bytes, codec: str) -> list[dict[str, Any]]:
    """Framed messages, the whole of a stream → its events `{name: members}`. Messages that are signed hold the real ones."""
    events: list[dict[str, Any]] = []
    for headers, payload in messages(body):
        if ":chunk-signature" in headers:
            events += read(shape, payload, codec)
            continue
        name = headers.get(":event-type", "")
        if name in shape.members:
            events.append({name: _members(shape.members[name], headers, payload, codec)})
    return events


def messages(body: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """(headers, payload) of each framed message. Raises SerializationException where a frame is cut or its checksum wrong."""
    view, at = memoryview(body), 0
    while at < len(view):
        try:
            total, length, checksum = struct.unpack_from(">III", view, at)
            whole = view[at : at + total]
            if len(whole) < max(total, 16 + length) or crc32(whole[:8]) != checksum or crc32(whole[:-4]) != struct.unpack(">I", whole[-4:])[0]:
                raise ValueError("checksum")
            yield _read_headers(bytes(whole[12 : 12 + length])), bytes(whole[12 + length : -4])
        except (ValueError, IndexError, KeyError, struct.error):
            raise AwsError("SerializationException", "The request body is not a well-formed event stream.", status=400) from None
        at += total


def _read_headers(raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = 0
    while at < len(raw):
        end = at + 1 + raw[at]
        name, kind = raw[at + 1 : end].decode(), raw[end]
        at = end + 1
        if kind in (0, 1):
            found[name] = kind == 0
        elif kind in (_BYTES, _TEXT):
            (size,) = struct.unpack_from(">H", raw, at)
            value, at = raw[at + 2 : at + 2 + size], at + 2 + size
            found[name] = value if kind == _BYTES else value.decode()
        else:
            form = ">q" if kind == _MOMENT else "16s" if kind == _UUID else _NUMBERS[kind]
            (number,) = struct.unpack_from(form, raw, at)
            at += struct.calcsize(form)
            found[name] = _EPOCH + timedelta(milliseconds=number) if kind == _MOMENT else number
    return found


def _members(shape: Any, headers: dict[str, Any], payload: bytes, codec: str) -> dict[str, Any]:
    found = {name: headers[name] for name, part in shape.members.items() if part.serialization.get("eventheader") and name in headers}
    explicit = next((name for name, part in shape.members.items() if part.serialization.get("eventpayload")), "")
    if not explicit:
        return found | (_read_document(shape, payload, codec) if payload else {})
    part = shape.members[explicit]
    if part.type_name in ("blob", "string"):
        return found | {explicit: payload if part.type_name == "blob" else payload.decode("utf-8", "replace")}
    return found | {explicit: _read_document(part, payload, codec)}


def _read_document(shape: Any, payload: bytes, codec: str) -> dict[str, Any]:
    if codec == "cbor":
        return dict(cbor_codec.read(shape, cbor_codec.parse(payload)))
    if codec == "xml":
        return dict(xml_codec.read(shape, xml_codec.parse(payload)))
    try:
        return dict(json_codec.read(shape, json.loads(payload)))
    except (ValueError, RecursionError):
        raise AwsError("SerializationException", "An event of the stream is not well-formed JSON.", status=400) from None
