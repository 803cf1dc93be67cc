"""An account's public access block: all its buckets are held to it, beside their own."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import account_block_key, invalid_request
from dewfall.services.s3control.access_points import BLOCKS


@operation("s3control", "PutPublicAccessBlock")
def put_public_access_block(ctx: Ctx, req: dict[str, Any]) -> None:
    block = req.get("PublicAccessBlockConfiguration")
    key = _key(ctx, req)
    if not block:
        raise invalid_request("Must specify at least one configuration.")
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(key) or Record(key, {})
        record.document = dict.fromkeys(BLOCKS, False) | block
        tx.records.save(record) if record.version else tx.records.create(record)


@operation("s3control", "GetPublicAccessBlock")
def get_public_access_block(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(_key(ctx, req))
    if record is None:
        message = "The public access block configuration was not found"
        raise AwsError("NoSuchPublicAccessBlockConfiguration", message, status=404, AccountId=req["AccountId"])
    return {"PublicAccessBlockConfiguration": record.document}


@operation("s3control", "DeletePublicAccessBlock")
def delete_public_access_block(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    key = _key(ctx, req)
    with ctx.ports.store.transaction() as tx:
        if tx.records.get(key) is not None:
            tx.records.delete(key)
    return {"_status": 204}


def check_account(ctx: Ctx, req: dict[str, Any]) -> None:
    """AccessDenied for another account: only the account itself may ask."""
    if req["AccountId"] != ctx.account:
        raise AwsError("AccessDenied", "Access Denied", status=403)


def _key(ctx: Ctx, req: dict[str, Any]) -> Key:
    """Where an account's block is kept."""
    check_account(ctx, req)
    return account_block_key(ctx.account)
