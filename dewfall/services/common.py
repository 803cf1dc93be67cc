"""What operations of many services share: tags, pagination, the filters and orders of List operations.

Why here: SageMaker alone has fifty List operations that differ only in the names of their members.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from dewfall.context import Ctx
from dewfall.engine.ports import Conflict, Key, Record, Tx
from dewfall.errors import validation

T = TypeVar("T")

TAG_LIMIT = 50
SETTLE_SECONDS = 2.0
_SETTLING = threading.BoundedSemaphore(2)  # how many may wait at once: each holds one of the threads that all operations share


def transact(ctx: Ctx, act: Callable[[Tx], T]) -> T:
    """What `act(tx)` returns in a transaction of its own; from the start again where somebody else has saved a record in between.

    `transact(ctx, lambda tx: _stop(ctx, tx, load(ctx, tx, name)))`
    """
    while True:
        try:
            with ctx.ports.store.transaction() as tx:
                return act(tx)
        except Conflict:
            continue


# ---------------------------------------------------------------- tags


def tags_key(ctx: Ctx, arn: str) -> Key:
    """Where a resource's tags are kept."""
    return Key(ctx.account, ctx.region, "tags", "tags", arn)


def get_tags(tx: Tx, ctx: Ctx, arn: str) -> list[dict[str, str]]:
    """A resource's tags as AWS lists them, in the order of their setting."""
    record = tx.records.get(tags_key(ctx, arn))
    return list(record.document["Tags"]) if record else []


def tag_map(tx: Tx, ctx: Ctx, arn: str) -> dict[str, str]:
    """A resource's tags as events have them, a value by its key."""
    return {tag["Key"]: tag["Value"] for tag in get_tags(tx, ctx, arn)}


def check_tags(tags: Sequence[dict[str, str]], total: int = 0) -> None:
    """Refuse what AWS refuses of users' tags: reserved keys, keys given twice, more than 50 (`total` counts a resource's tags afterwards)."""
    keys = [tag["Key"] for tag in tags]
    if any(key.lower().startswith("aws:") for key in keys):
        raise validation("Tag keys starting with 'aws:' are reserved for system use.")
    if len(set(keys)) < len(keys):
        raise validation("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if max(total, len(keys)) > TAG_LIMIT:
        raise validation(f"Too many tags: a resource can have at most {TAG_LIMIT} tags.")


def put_tags(tx: Tx, ctx: Ctx, arn: str, tags: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Add tags, replacing values of keys that are there; the tags afterwards. Raises what check_tags refuses.

    `put_tags(tx, ctx, document["ModelArn"], req.get("Tags", ()))`
    """
    key = tags_key(ctx, arn)
    record = tx.records.get(key)
    merged = {tag["Key"]: tag.get("Value", "") for tag in [*(record.document["Tags"] if record else []), *tags]}
    check_tags(tags, len(merged))
    document = {"Tags": [{"Key": name, "Value": value} for name, value in merged.items()]}
    if record is None:
        if tags:
            tx.records.create(Record(key, document))
    else:
        record.document = document
        tx.records.save(record)
    return document["Tags"]


def remove_tags(tx: Tx, ctx: Ctx, arn: str, keys: Iterable[str]) -> None:
    """Remove tags by key; keys that are not there do not matter."""
    record = tx.records.get(tags_key(ctx, arn))
    if record is not None:
        gone = set(keys)
        record.document = {"Tags": [tag for tag in record.document["Tags"] if tag["Key"] not in gone]}
        tx.records.save(record)


def drop_tags(tx: Tx, ctx: Ctx, arn: str) -> None:
    """The resource is gone."""
    tx.records.delete(tags_key(ctx, arn))


# ---------------------------------------------------------------- deliveries


def settle(ctx: Ctx, messages: Iterable[int]) -> None:
    """Wait a moment, outside of any transaction, until messages of the outbox are delivered, so that who asks next finds what they brought.

    AWS promises no more than we do, delivery at some time after the answer; programs and their tests count on it being at once.
    Only a client waits: a delivery that publishes again must not hold up the deliveries that it waits for. And only two of them,
    so that receivers that cannot be reached leave threads for everybody else.
    """
    if not ctx.user_agent or not _SETTLING.acquire(blocking=False):
        return
    try:
        _wait(ctx, messages)
    finally:
        _SETTLING.release()


def _wait(ctx: Ctx, messages: Iterable[int]) -> None:
    until = time.monotonic() + SETTLE_SECONDS
    pause = 0.002
    for message in messages:
        while _waits(ctx, message) and time.monotonic() < until:
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)


def _waits(ctx: Ctx, message: int) -> bool:
    with ctx.ports.store.reading() as tx:
        return bool(tx.run("outbox_waits", id=message))


# ---------------------------------------------------------------- names


def name_of(name_or_arn: str) -> str:
    """The name in what may be a name or an ARN: `name_of("arn:aws:sagemaker:us-east-1:000000000000:model/m") == "m"`; paths stay whole."""
    if not name_or_arn.startswith("arn:"):
        return name_or_arn
    resource = name_or_arn.split(":", 5)[-1]
    separator = min((place for place in (resource.find("/"), resource.find(":")) if place >= 0), default=-1)
    return resource[separator + 1 :]


# ---------------------------------------------------------------- lists


def page(
    items: Sequence[T],
    req: dict[str, Any],
    *,
    key: Callable[[T], str],
    limit_member: str = "MaxResults",
    token_member: str = "NextToken",
    default: int = 100,
) -> tuple[list[T], str | None]:
    """One page of ordered items and the token of the next (None at the end).

    The token holds the last item's key and place, so that items which come or go between two calls shift nothing.

        records = order(select(tx.records.list(...), req), req)
        shown, token = page(records, req, key=lambda r: r.key.name)
        return with_token({"Models": [summary(r) for r in shown]}, token)
    """
    start = 0
    if req.get(token_member):
        place, last = _read_token(req[token_member])
        found = next((n for n, item in enumerate(items) if key(item) == last), None)
        start = place if found is None else found + 1
    limit = int(req.get(limit_member) or default)
    taken = list(items[start : start + limit])
    if start + limit >= len(items) or not taken:
        return taken, None
    return taken, _write_token(start + limit, key(taken[-1]))


def with_token(answer: dict[str, Any], token: str | None, member: str = "NextToken") -> dict[str, Any]:
    """The answer, with its next token if there is one."""
    return answer if token is None else {**answer, member: token}


def select(records: Iterable[Record], req: dict[str, Any], *, status_member: str = "StatusEquals", name: str = "NameContains") -> list[Record]:
    """Records that pass a List request's CreationTime…, LastModifiedTime…, NameContains and StatusEquals."""
    wanted = [r for r in records if _within(r.created, req, "CreationTime") and _within(r.modified, req, "LastModifiedTime")]
    if req.get(name):
        wanted = [r for r in wanted if req[name].lower() in r.key.name.lower()]
    if req.get(status_member):
        wanted = [r for r in wanted if r.status == req[status_member]]
    return wanted


def order(records: Iterable[Record], req: dict[str, Any], *, default: str = "CreationTime", direction: str = "Descending") -> list[Record]:
    """Records in a List request's SortBy (Name, Status, CreationTime, LastModifiedTime, also `FooName` forms) and SortOrder."""
    by = req.get("SortBy") or default
    down = (req.get("SortOrder") or direction) == "Descending"
    return sorted(records, key=lambda r: _sort_value(r, by), reverse=down)


def _sort_value(record: Record, by: str) -> tuple[Any, str]:
    if by == "Status":
        return record.status, record.key.name
    if by in ("LastModifiedTime", "LastAccessedTime"):
        return record.modified, record.key.name
    if by in ("CreationTime", "CreatedAt"):
        return record.created, record.key.name
    return record.key.name, record.key.name


def _within(moment: datetime | None, req: dict[str, Any], member: str) -> bool:
    after, before = req.get(member + "After"), req.get(member + "Before")
    if moment is None:
        return True
    return (after is None or moment >= after) and (before is None or moment <= before)


def _write_token(place: int, last: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([place, last]).encode()).decode()


def _read_token(token: str) -> tuple[int, str]:
    try:
        place, last = json.loads(base64.urlsafe_b64decode(token.encode()))
        return max(0, int(place)), str(last)
    except (binascii.Error, ValueError, TypeError):
        raise validation("Invalid pagination token given.") from None
