"""Code repositories: the address of a Git repository under a name. Records: nobody here clones them."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import validation
from dewfall.services.common import drop_tags, order, page, put_tags, select, with_token
from dewfall.services.registry import operation

KIND = "code-repository"


@operation("sagemaker", "CreateCodeRepository", records=True)
def create_code_repository(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, now = req["CodeRepositoryName"], ctx.now()
    arn = ctx.arn("sagemaker", f"{KIND}/{name.lower()}")
    document = {"CodeRepositoryName": name, "CodeRepositoryArn": arn, "CreationTime": now, "LastModifiedTime": now, "GitConfig": req["GitConfig"]}
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(Record(_key(ctx, name), document))
            put_tags(tx, ctx, arn, req.get("Tags", ()))
    except AlreadyExists:
        raise validation(f'Cannot create already existing code repository "{arn}".') from None
    return {"CodeRepositoryArn": arn}


@operation("sagemaker", "DescribeCodeRepository", records=True)
def describe_code_repository(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return _load(ctx, tx, req).document


@operation("sagemaker", "UpdateCodeRepository", records=True)
def update_code_repository(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Only the secret may change."""
    with ctx.ports.store.transaction() as tx:
        record = _load(ctx, tx, req)
        record.document["GitConfig"] |= req.get("GitConfig") or {}
        record.document["LastModifiedTime"] = ctx.now()
        tx.records.save(record)
    return {"CodeRepositoryArn": record.document["CodeRepositoryArn"]}


@operation("sagemaker", "DeleteCodeRepository", records=True)
def delete_code_repository(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _load(ctx, tx, req)
        tx.records.delete(record.key)
        drop_tags(tx, ctx, record.document["CodeRepositoryArn"])


@operation("sagemaker", "ListCodeRepositories", records=True)
def list_code_repositories(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = select(tx.records.list(ctx.account, ctx.region, "sagemaker", KIND), req)
    shown, token = page(order(records, req, default="Name", direction="Ascending"), req, key=lambda record: record.key.name, default=10)
    return with_token({"CodeRepositorySummaryList": [record.document for record in shown]}, token)


def _load(ctx: Ctx, tx: Tx, req: dict[str, Any]) -> Record:
    record = tx.records.get(_key(ctx, req["CodeRepositoryName"]))
    if record is None:
        raise validation(f'Could not find code repository "{req["CodeRepositoryName"]}".')
    return record


def _key(ctx: Ctx, name: str) -> Key:
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)
