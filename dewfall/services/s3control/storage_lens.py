"""Storage Lens configurations, kept with their tags. No dashboard is drawn and nothing is exported."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.listings import write_token
from dewfall.services.s3.tagging import BUCKET_LIMIT, read_set, tag_set
from dewfall.services.s3control.access_points import MAX_PAGE, read_token
from dewfall.services.s3control.accounts import check_account


@operation("s3control", "PutStorageLensConfiguration", records=True)
def put_storage_lens_configuration(ctx: Ctx, req: dict[str, Any]) -> None:
    key, configuration = _key(ctx, req), req["StorageLensConfiguration"]
    arn = f"arn:{ctx.partition}:s3:{ctx.region}:{ctx.account}:storage-lens/{req['ConfigId']}"
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(key) or Record(key, {"Tags": {}})
        if req.get("Tags"):
            record.document["Tags"] = read_set(req["Tags"], BUCKET_LIMIT)
        record.document["Configuration"] = {"Id": req["ConfigId"], **configuration, "StorageLensArn": arn}
        tx.records.save(record) if record.version else tx.records.create(record)


@operation("s3control", "GetStorageLensConfiguration", records=True)
def get_storage_lens_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"StorageLensConfiguration": _need(ctx, tx, req).document["Configuration"]}


@operation("s3control", "ListStorageLensConfigurations", records=True)
def list_storage_lens_configurations(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    after = read_token(req.get("NextToken"))
    with ctx.ports.store.reading() as tx:
        found = tx.records.list(ctx.account, ctx.region, "s3", "storage-lens", after=after, limit=MAX_PAGE + 1)
    kept = [record.document["Configuration"] for record in found[:MAX_PAGE]]
    entries = [{**{name: entry[name] for name in ("Id", "StorageLensArn", "IsEnabled")}, "HomeRegion": ctx.region} for entry in kept]
    more = {"NextToken": write_token(found[MAX_PAGE - 1].key.name)} if len(found) > MAX_PAGE else {}
    return {"StorageLensConfigurationList": entries, **more}


@operation("s3control", "DeleteStorageLensConfiguration", records=True)
def delete_storage_lens_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(_need(ctx, tx, req).key)
    return {"_status": 204}


@operation("s3control", "PutStorageLensConfigurationTagging", records=True)
def put_storage_lens_configuration_tagging(ctx: Ctx, req: dict[str, Any]) -> None:
    tags = read_set(req.get("Tags"), BUCKET_LIMIT)
    with ctx.ports.store.transaction() as tx:
        record = _need(ctx, tx, req)
        record.document["Tags"] = tags
        tx.records.save(record)


@operation("s3control", "GetStorageLensConfigurationTagging", records=True)
def get_storage_lens_configuration_tagging(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"Tags": tag_set(_need(ctx, tx, req).document["Tags"])}


@operation("s3control", "DeleteStorageLensConfigurationTagging", records=True)
def delete_storage_lens_configuration_tagging(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = _need(ctx, tx, req)
        record.document["Tags"] = {}
        tx.records.save(record)
    return {"_status": 204}


def _need(ctx: Ctx, tx: Tx, req: dict[str, Any]) -> Record:
    record = tx.records.get(_key(ctx, req))
    if record is None:
        raise AwsError("NoSuchConfiguration", "The specified configuration does not exist.", status=404)
    return record


def _key(ctx: Ctx, req: dict[str, Any]) -> Key:
    check_account(ctx, req)
    return Key(ctx.account, ctx.region, "s3", "storage-lens", req["ConfigId"])
