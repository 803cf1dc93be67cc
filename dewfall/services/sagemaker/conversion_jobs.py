"""What compilation and optimization jobs have in common as records: create, load, list, stop, delete.

Why one place: AWS gives them the same operations and differs only in the word before "Job".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.services.common import drop_tags, order, page, put_tags, select, transact, with_token
from dewfall.services.sagemaker.model_conversion import FINAL, WORDS, save


def create_job(ctx: Ctx, kind: str, req: dict[str, Any], kept: Iterable[str], work: Callable[[Tx], dict[str, Any]], **members: Any) -> dict[str, Any]:
    """A job that starts at once, of these members of the request and further ones; `work(tx)` says what is to be done. Raises AWS's error
    where there is one of its name."""
    word, now = WORDS[kind], ctx.now()
    name = req[f"{word}JobName"]
    arn = _arn(ctx, kind, name)
    document: dict[str, Any] = {member: req[member] for member in kept if req.get(member) is not None}
    document |= {f"{word}JobArn": arn, f"{word}JobStatus": "STARTING", "CreationTime": now, "LastModifiedTime": now, **members}
    try:
        with ctx.ports.store.transaction() as tx:
            document["_Work"] = work(tx)
            record = tx.records.create(Record(_key(ctx, kind, name), document, "STARTING"))
            put_tags(tx, ctx, arn, req.get("Tags", ()))
            tx.queue.put(kind, record.key)
    except AlreadyExists:
        raise AwsError("ResourceInUse", f"{word} job names must be unique within an AWS account and region: {arn}") from None
    return {f"{word}JobArn": arn}


def describe_job(ctx: Ctx, kind: str, req: dict[str, Any]) -> dict[str, Any]:
    """A job's document."""
    with ctx.ports.store.reading() as tx:
        return _load(ctx, tx, kind, req).document


def list_jobs(ctx: Ctx, kind: str, req: dict[str, Any], summary: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """A page of summaries, each of a job's document."""
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", kind)
    shown, token = page(order(select(records, req), req), req, key=lambda record: record.key.name, default=10)
    return with_token({f"{WORDS[kind]}JobSummaries": [summary(record.document) for record in shown]}, token)


def stop_job(ctx: Ctx, kind: str, req: dict[str, Any]) -> None:
    """Stop a job that is under way."""

    def act(tx: Tx) -> None:
        record = _load(ctx, tx, kind, req)
        if record.status in FINAL:
            raise validation(f"The request was rejected because the {WORDS[kind].lower()} job is in status {record.status}.")
        save(ctx, tx, record, "STOPPING")
        tx.queue.wake(kind, record.key)

    transact(ctx, act)


def delete_job(ctx: Ctx, kind: str, req: dict[str, Any]) -> None:
    """Delete a job that has ended."""
    with ctx.ports.store.transaction() as tx:
        record = _load(ctx, tx, kind, req)
        if record.status not in FINAL:
            raise validation(f"{WORDS[kind]} job {record.key.name} is in status {record.status} and cannot be deleted. Stop it first.")
        tx.records.delete(record.key)
        drop_tags(tx, ctx, record.document[f"{WORDS[kind]}JobArn"])


def _load(ctx: Ctx, tx: Tx, kind: str, req: dict[str, Any]) -> Record:
    name = req[f"{WORDS[kind]}JobName"]
    record = tx.records.get(_key(ctx, kind, name))
    if record is None:
        raise AwsError("ResourceNotFound", f"Could not find {WORDS[kind].lower()} job: {_arn(ctx, kind, name)}")
    return record


def _key(ctx: Ctx, kind: str, name: str) -> Key:
    return Key(ctx.account, ctx.region, "sagemaker", kind, name)


def _arn(ctx: Ctx, kind: str, name: str) -> str:
    return ctx.arn("sagemaker", f"{kind}/{name}")
