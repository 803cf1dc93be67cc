"""Reading what a training job leaves in S3, as long as it takes.

The server may be away for a while, and the job that is watched goes on without it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

Found = TypeVar("Found")
PAUSE = 1.0


class Reading(Protocol):
    """Something to read from."""

    def keys(self, below: str, after: str = "", most: int = 0) -> list[str]:
        """The keys that begin so, in order, those up to `after` left out; the first `most` of them."""

    def versions(self, below: str, after: str = "") -> dict[str, str]:
        """The same with something that changes when they do."""

    def read(self, key: str) -> bytes:
        """What is at a key."""


class Reader:
    """The objects below an s3:// prefix; `s3` is a boto3 client. Keys are without the prefix."""

    def __init__(self, s3: Any, uri: str) -> None:
        place = urlsplit(uri)
        self.s3, self.bucket, self.prefix = s3, place.netloc, place.path.lstrip("/")

    def keys(self, below: str, after: str = "", most: int = 0) -> list[str]:
        """The keys that begin so, in order, those up to `after` left out; the first `most` of them."""
        return list(self.versions(below, after, most))

    def versions(self, below: str, after: str = "", most: int = 0) -> dict[str, str]:
        """The same with their ETags."""
        limit = {"PaginationConfig": {"MaxItems": most, "PageSize": most}} if most else {}
        first = self.prefix + after if after else ""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix + below, StartAfter=first, **limit)
        entries = patiently(lambda: [entry for page in pages for entry in page.get("Contents", ())])
        return {entry["Key"].removeprefix(self.prefix): entry["ETag"] for entry in entries}

    def read(self, key: str) -> bytes:
        """An object's bytes."""
        return patiently(lambda: bytes(self.s3.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read()))


def patiently(ask: Callable[[], Found]) -> Found:
    """The answer, asked for again until there is one, where nobody answers. Whatever the server itself refuses is raised."""
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError, ResponseStreamingError

    is_told = False
    while True:
        try:
            return ask()
        except (HTTPClientError, NoConnection, ResponseStreamingError) as problem:
            if not is_told:
                print(f"The job's data cannot be read now: {problem}", file=sys.stderr, flush=True)
            is_told = True
            time.sleep(PAUSE)
