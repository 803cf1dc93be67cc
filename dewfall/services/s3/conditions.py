"""If-Match, If-None-Match and the dates: on reads, on the source of a copy, and on writes.

Why apart: the same four rules with three outcomes (304, 412, or 404), which HTTP and S3 order carefully.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dewfall.engine.buckets import no_such_key
from dewfall.engine.objects import Check
from dewfall.engine.ports import Record, Tx
from dewfall.engine.versions import Version
from dewfall.errors import AwsError
from dewfall.services.s3.access import http_date, precondition_failed


def check_read(req: dict[str, Any], version: Version, now: datetime) -> None:
    """PreconditionFailed, or NotModified for what the client has already; a moment that is yet to come is no condition."""
    match, since = req.get("IfMatch"), req.get("IfUnmodifiedSince")
    if match is not None:
        if not fits_etag(match, version.etag):
            raise precondition_failed("If-Match")
    elif since is not None and _seconds(version.modified) > _seconds(since):
        raise precondition_failed("If-Unmodified-Since")
    none_match, after = req.get("IfNoneMatch"), req.get("IfModifiedSince")
    if none_match is not None:
        if fits_etag(none_match, version.etag):
            raise not_modified(version)
    elif after is not None and _seconds(version.modified) <= _seconds(after) <= _seconds(now):
        raise not_modified(version)


def check_source(req: dict[str, Any], version: Version, now: datetime) -> None:
    """The x-amz-copy-source-if-* headers: every failure is PreconditionFailed."""
    match, since = req.get("CopySourceIfMatch"), req.get("CopySourceIfUnmodifiedSince")
    if match is not None:
        if not fits_etag(match, version.etag):
            raise precondition_failed("x-amz-copy-source-If-Match")
    elif since is not None and _seconds(version.modified) > _seconds(since):
        raise precondition_failed("x-amz-copy-source-If-Unmodified-Since")
    none_match, after = req.get("CopySourceIfNoneMatch"), req.get("CopySourceIfModifiedSince")
    if none_match is not None:
        if fits_etag(none_match, version.etag):
            raise precondition_failed("x-amz-copy-source-If-None-Match")
    elif after is not None and _seconds(version.modified) <= _seconds(after) <= _seconds(now):
        raise precondition_failed("x-amz-copy-source-If-Modified-Since")


def write_check(req: dict[str, Any]) -> Check | None:
    """The check of a conditional write, for inside the transaction; None when the write is unconditional."""
    match, none_match = req.get("IfMatch"), req.get("IfNoneMatch")
    if match is None and none_match is None:
        return None
    if none_match is not None and (match is not None or none_match != "*"):
        if match is not None:
            raise not_implemented_header("If-Match,If-None-Match", "Multiple conditional request headers present in the request")
        raise not_implemented_header("If-None-Match")
    if match == "*":
        raise not_implemented_header("If-Match")

    def check(tx: Tx, bucket: Record, last: Version | None) -> None:
        present = last is not None and not last.marker
        if none_match is not None and present:
            raise precondition_failed("If-None-Match")
        if match is not None:
            if last is None or not present:
                raise no_such_key(req["Key"])
            if not fits_etag(match, last.etag):
                raise precondition_failed("If-Match")

    return check


def conflict(condition: str, key: str) -> AwsError:
    """Somebody changed the key between the beginning and the end of a conditional write."""
    message = "The conditional request cannot succeed due to a conflicting operation against this resource."
    return AwsError("ConditionalRequestConflict", message, status=409, Condition=condition, Key=key)


def not_implemented_header(name: str, why: str = "") -> AwsError:
    message = "A header you provided implies functionality that is not implemented"
    more = why or f"We don't accept the provided value of {name} header for this API"
    return AwsError("NotImplemented", message, status=501, Header=name, additionalMessage=more)


def fits_etag(wanted: str, etag: str) -> bool:
    """Whether a list of entity tags, or `*`, names this one."""
    return any(tag.strip().removeprefix("W/").strip('"') in (etag, "*") for tag in wanted.split(","))


def not_modified(version: Version) -> AwsError:
    headers = {"ETag": f'"{version.etag}"', "Last-Modified": http_date(version.modified)}
    return AwsError("NotModified", "Not Modified", status=304, headers=headers)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
