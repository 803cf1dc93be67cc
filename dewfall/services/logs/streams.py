"""Log streams: made, listed by name or by their last event, deleted."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.series import LogGroup, LogStream
from dewfall.errors import AwsError
from dewfall.services.common import with_token
from dewfall.services.logs.places import find_group, find_stream, group_arn, group_name, invalid, page_of
from dewfall.services.registry import operation

# PutLogEvents has taken no notice of sequence tokens since 2023, but clients still read them.
SEQUENCE_TOKEN = "49039859{:048d}"


@operation("logs", "CreateLogStream")
def create_log_stream(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req["logStreamName"]
    if ":" in name or "*" in name:
        raise invalid(
            f"1 validation error detected: Value '{name}' at 'logStreamName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [^:*]*"
        )
    with ctx.ports.store.transaction():
        group = find_group(ctx, req["logGroupName"])
        if not ctx.ports.series.create_log_stream(ctx.account, ctx.region, group.name, name):
            raise AwsError("ResourceAlreadyExistsException", "The specified log stream already exists", status=400)
    return {}


@operation("logs", "DeleteLogStream")
def delete_log_stream(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction():
        group = find_group(ctx, req["logGroupName"])
        ctx.ports.series.delete_log_stream(find_stream(ctx, group, req["logStreamName"]))
    return {}


@operation("logs", "DescribeLogStreams")
def describe_log_streams(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    prefix, by_time = req.get("logStreamNamePrefix", ""), req.get("orderBy") == "LastEventTime"
    if prefix and by_time:
        raise invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
    group = find_group(ctx, group_name(req))
    streams = ctx.ports.series.log_streams(group, prefix)
    if by_time:
        streams.sort(key=lambda stream: (stream.last_event or stream.created, stream.name))
    if req.get("descending"):
        streams.reverse()
    shown, token = page_of(streams, req, lambda stream: stream.name)
    return with_token({"logStreams": [_description(ctx, group, stream) for stream in shown]}, token, "nextToken")


def sequence_token(stream: LogStream) -> str:
    """A token that grows with the stream."""
    return SEQUENCE_TOKEN.format(stream.size)


def _description(ctx: Ctx, group: LogGroup, stream: LogStream) -> dict[str, Any]:
    document: dict[str, Any] = {
        "logStreamName": stream.name,
        "creationTime": stream.created,
        "arn": f"{group_arn(ctx, group.name)}:log-stream:{stream.name}",
        "storedBytes": 0,
    }
    if stream.last_ingestion:
        document |= {"firstEventTimestamp": stream.first_event, "lastEventTimestamp": stream.last_event}
        document |= {"lastIngestionTime": stream.last_ingestion, "uploadSequenceToken": sequence_token(stream)}
    return document
