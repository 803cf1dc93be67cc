"""What a queue is given by others, which may take its time on a busy machine and comes in several answers."""

from __future__ import annotations

import time
from typing import Any

PATIENCE = 60.0  # seconds


def receive(sqs: Any, url: str, count: int = 1, **more: Any) -> list[dict[str, Any]]:
    """Ask until that many messages have come, at the longest for a minute; more may be there, and a message that comes twice counts once."""
    found: dict[str, dict[str, Any]] = {}
    end = time.monotonic() + PATIENCE
    while len(found) < count and time.monotonic() < end:
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, **more).get("Messages", []):
            found.setdefault(message["MessageId"], message)
    return list(found.values())
