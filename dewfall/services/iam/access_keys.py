"""Access keys of IAM users."""

from __future__ import annotations

import secrets
from typing import Any

from dewfall.accounts import new_access_key
from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.iam.entities import find, listing
from dewfall.services.iam.users import user_name
from dewfall.services.registry import operation

KEYS_LIMIT = 2


@operation("iam", "CreateAccessKey")
def create_access_key(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = user_name(ctx, req)
    with ctx.ports.store.transaction() as tx:
        find(tx, ctx, "user", name)
        if len(tx.records.list(ctx.account, "", "iam", "access-key", parent=name)) >= KEYS_LIMIT:
            raise AwsError("LimitExceeded", f"Cannot exceed quota for AccessKeysPerUser: {KEYS_LIMIT}", status=409)
        document: dict[str, Any] = {
            "UserName": name,
            "AccessKeyId": new_access_key(ctx.account),
            "Status": "Active",
            "SecretAccessKey": secrets.token_urlsafe(30),
            "CreateDate": ctx.now().replace(microsecond=0),
        }
        tx.records.create(Record(Key(ctx.account, "", "iam", "access-key", document["AccessKeyId"]), document, parent=name))
    return {"AccessKey": document}


@operation("iam", "ListAccessKeys")
def list_access_keys(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = user_name(ctx, req)
    with ctx.ports.store.reading() as tx:
        find(tx, ctx, "user", name)
        keys = [r.document for r in tx.records.list(ctx.account, "", "iam", "access-key", parent=name)]
    return listing([{k: v for k, v in key.items() if k != "SecretAccessKey"} for key in keys], req, "AccessKeyMetadata", "AccessKeyId")


def _find_key(tx: Tx, ctx: Ctx, access_key: str) -> Record:
    record = tx.records.get(Key(ctx.account, "", "iam", "access-key", access_key))
    if record is None:
        raise AwsError("NoSuchEntity", f"The Access Key with id {access_key} cannot be found.", status=404)
    return record


@operation("iam", "UpdateAccessKey")
def update_access_key(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _find_key(tx, ctx, req["AccessKeyId"])
        record.document["Status"] = req["Status"]
        tx.records.save(record)


@operation("iam", "DeleteAccessKey")
def delete_access_key(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(_find_key(tx, ctx, req["AccessKeyId"]).key)


@operation("iam", "GetAccessKeyLastUsed")
def get_access_key_last_used(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(Key(ctx.account, "", "iam", "access-key", req["AccessKeyId"]))
    if record is None:
        message = f"User: {ctx.caller.arn} is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key {req['AccessKeyId']}"
        raise AwsError("AccessDenied", message, status=403)
    return {"UserName": record.document["UserName"], "AccessKeyLastUsed": record.document.get("_used", {"ServiceName": "N/A", "Region": "N/A"})}
