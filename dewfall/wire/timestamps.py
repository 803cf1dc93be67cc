"""Timestamps as the protocols write them: seconds since the epoch, ISO 8601, or an HTTP date."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from dewfall.errors import AwsError


def read(value: Any) -> datetime:
    """Any of the three forms → aware UTC datetime. SerializationException for anything else."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        text = str(value).strip()
        if text.replace(".", "", 1).lstrip("-").isdigit():
            return datetime.fromtimestamp(float(text), UTC)
        if text[:1].isdigit():
            parsed = datetime.fromisoformat(text)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        return parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError, TypeError, IndexError):
        raise AwsError("SerializationException", f"Invalid timestamp: {value!r}", status=400) from None


def write(value: Any, form: str) -> Any:
    """datetime (or seconds) → unixTimestamp (a number), iso8601, iso8601ms (milliseconds even if zero) or rfc822 (text)."""
    moment = value if isinstance(value, datetime) else read(value)
    if moment.tzinfo is not UTC:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if form == "unixTimestamp":
        seconds = round(moment.timestamp(), 3)
        return int(seconds) if math.floor(seconds) == seconds else seconds
    if form == "rfc822":
        return format_datetime(moment, usegmt=True)
    if form == "iso8601ms" or moment.microsecond >= 1000:
        return moment.isoformat(timespec="milliseconds")[:23] + "Z"
    return moment.isoformat(timespec="seconds")[:19] + "Z"
