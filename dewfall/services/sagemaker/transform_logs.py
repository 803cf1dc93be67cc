"""What a transform job's containers and its record loop print: shipped to /aws/sagemaker/TransformJobs, streams named as AWS names them.

<job>/i-0123456789abcdef0-<time>             the container of an instance
<job>/<container>-i-…-<time>                 one of several containers
<job>/i-…-<time>/data-log                    which records failed, and what the container said to them
"""

from __future__ import annotations

import hashlib
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.services.sagemaker.training_logs import read_lines

GROUP = "/aws/sagemaker/TransformJobs"


def stream_name(document: dict[str, Any], instance: int, container: str = "") -> str:
    """The stream of an instance's container; the instance id is made from the job's name, so it never changes."""
    name, at = document["TransformJobName"], int(document["CreationTime"].timestamp())
    digest = hashlib.sha256(f"{document['TransformJobArn']}.{at}.{instance}".encode()).hexdigest()[:17]
    return f"{name}/{container}-i-{digest}-{at}" if container else f"{name}/i-{digest}-{at}"


def data_stream(document: dict[str, Any]) -> str:
    """The data-log of the job."""
    return f"{stream_name(document, 1)}/data-log"


def open_stream(ctx: Ctx, stream: str) -> None:
    """Make the stream, so that clients find it before the first line."""
    ctx.ports.series.create_log_stream(ctx.account, ctx.region, GROUP, stream)


def note(ctx: Ctx, document: dict[str, Any], *lines: str) -> None:
    """Lines of the platform's own in the data-log."""
    now = ctx.now()
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    events = [(int(now.timestamp() * 1000), f"{stamp}:[sagemaker logs]: {line}") for line in lines]
    ctx.ports.series.append_logs(ctx.account, ctx.region, GROUP, data_stream(document), events)


def ship(ctx: Ctx, document: dict[str, Any], agent: str, stream: str, *, at_end: bool = False) -> None:
    """Ship what an agent has printed since the last time; how far is kept in the same transaction as the events."""
    file = ctx.ports.compute.log_file(agent)
    while True:
        with ctx.ports.store.transaction() as tx:
            record = _progress(ctx, tx, document["TransformJobName"])
            offset = int(record.document["Offsets"].get(agent, 0))
            lines, end = read_lines(file, offset, at_end=at_end)
            if end == offset:
                return
            events = [(line.milliseconds, line.text.replace("#011", "\t")) for line in lines]
            ctx.ports.series.append_logs(ctx.account, ctx.region, GROUP, stream, events)
            record.document["Offsets"][agent] = end
            tx.records.save(record)


def drop_progress(ctx: Ctx, tx: Tx, name: str) -> None:
    """The job has ended, and all is shipped."""
    tx.records.delete(_progress_key(ctx, name))


def _progress(ctx: Ctx, tx: Tx, name: str) -> Record:
    key = _progress_key(ctx, name)
    return tx.records.get(key) or tx.records.create(Record(key, {"Offsets": {}}))


def _progress_key(ctx: Ctx, name: str) -> Key:
    return Key(ctx.account, ctx.region, "sagemaker", "transform-progress", name)
