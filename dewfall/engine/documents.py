"""Documents as JSON text: what AWS would answer, with datetimes, bytes and decimals kept exactly.

Why tagged JSON and not pickle: a person can read the database, PostgreSQL can hold it, and loading runs no code.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

TAG = "$dewfall"


def dump(document: dict[str, Any]) -> str:
    """Document → text. Raises TypeError for a value that no AWS document holds."""
    return json.dumps(document, default=_tag, separators=(",", ":"), ensure_ascii=False)


def load(text: str) -> dict[str, Any]:
    """Text → document."""
    hook = _untag if TAG in text else None
    document: dict[str, Any] = json.loads(text, object_hook=hook)
    return document


def _tag(value: object) -> dict[str, Any]:
    if isinstance(value, datetime):
        return {TAG: "t", "v": value.astimezone(UTC).isoformat()}
    if isinstance(value, bytes | bytearray):
        return {TAG: "b", "v": base64.b64encode(value).decode()}
    if isinstance(value, Decimal):
        return {TAG: "d", "v": str(value)}
    raise TypeError(f"a document cannot hold {type(value).__name__}")


def _untag(value: dict[str, Any]) -> Any:
    tag = value.get(TAG)
    if tag == "t":
        return datetime.fromisoformat(value["v"])
    if tag == "b":
        return base64.b64decode(value["v"])
    if tag == "d":
        return Decimal(value["v"])
    return value
