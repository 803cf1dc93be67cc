"""Messages of application/vnd.amazon.eventstream as InvokeEndpointWithResponseStream sends them.

Why beside wire/eventstream.py: the data path knows its two kinds of message beforehand, and the engine must not import the wire.
"""

from __future__ import annotations

import json
import struct
from zlib import crc32


def _text_header(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()


def _headers(headers: dict[str, str]) -> bytes:
    return b"".join(_text_header(name, value) for name, value in headers.items())


PART = _headers({":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"})
BROKEN = _headers({":message-type": "exception", ":exception-type": "ModelStreamError", ":content-type": "application/json"})


def payload_part(data: bytes) -> bytes:
    """A piece of the model's answer."""
    return _message(PART, data)


def stream_error(code: str, message: str) -> bytes:
    """The answer cannot be finished: code StreamBroken or ModelInvocationTimeExceeded."""
    return _message(BROKEN, json.dumps({"Message": message, "ErrorCode": code}).encode())


def _message(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack(">I", crc32(prelude))
    check = crc32(payload, crc32(headers, crc32(prelude)))
    return b"".join((prelude, headers, payload, struct.pack(">I", check)))
