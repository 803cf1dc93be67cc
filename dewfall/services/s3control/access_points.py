"""Access points: further names of a bucket, each with an alias and a policy of its own.

An access point works: its ARN, its host name and its alias stand for the bucket in every operation on objects
(`dewfall.services.s3.aliases` reads them). Its policy is kept and not weighed.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from dewfall.context import Ctx, new_id
from dewfall.engine.buckets import need_bucket
from dewfall.engine.ports import AlreadyExists, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import check_owner, invalid_request
from dewfall.services.s3.aliases import ALIAS_ENDS, alias_key, no_such_point, point_key
from dewfall.services.s3.listings import write_token
from dewfall.services.s3.policies import check_statements, is_public_text
from dewfall.services.s3.tagging import BUCKET_LIMIT, read_set

Document = dict[str, Any]
MAX_PAGE = 1000
BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
ENDPOINTS = {
    "ipv4": "s3-accesspoint.{region}.amazonaws.com",
    "fips": "s3-accesspoint-fips.{region}.amazonaws.com",
    "fips_dualstack": "s3-accesspoint-fips.dualstack.{region}.amazonaws.com",
    "dualstack": "s3-accesspoint.dualstack.{region}.amazonaws.com",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,48}[a-z0-9]")


@operation("s3control", "CreateAccessPoint")
def create_access_point(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, account = req["Name"], req["AccountId"]
    if not _NAME.fullmatch(name) or name.endswith(ALIAS_ENDS):
        raise invalid_request("Your Amazon S3 AccessPoint name is invalid")
    network = req.get("VpcConfiguration")
    block = req.get("PublicAccessBlockConfiguration")
    document: Document = {
        "Name": name,
        "Bucket": req["Bucket"],
        "BucketAccountId": req.get("BucketAccountId") or account,
        "NetworkOrigin": "VPC" if network else "Internet",
        "PublicAccessBlockConfiguration": dict.fromkeys(BLOCKS, True) if block is None else dict.fromkeys(BLOCKS, False) | block,
        "CreationDate": ctx.now(),
        "Alias": f"{name[:20]}-{new_id(34, 'abcdefghijklmnopqrstuvwxyz0123456789')}{ALIAS_ENDS}",
        "AccessPointArn": f"arn:{ctx.partition}:s3:{ctx.region}:{account}:accesspoint/{name}",
        "Tags": read_set(req["Tags"], BUCKET_LIMIT) if req.get("Tags") else {},
        **({"VpcConfiguration": network} if network else {}),
    }
    try:
        with ctx.ports.store.transaction() as tx:
            check_owner(need_bucket(tx, req["Bucket"]).document, document["BucketAccountId"])
            tx.records.create(Record(point_key(account, ctx.region, name), document, parent=req["Bucket"], created=document["CreationDate"]))
            tx.records.create(Record(alias_key(document["Alias"]), {"Account": account, "Region": ctx.region, "Name": name}, parent=req["Bucket"]))
    except AlreadyExists:
        message = "Your previous request to create the named accesspoint succeeded and you already own it."
        raise AwsError("AccessPointAlreadyOwnedByYou", message, status=409, AccessPointName=name) from None
    return document


@operation("s3control", "GetAccessPoint")
def get_access_point(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        document = need_point(ctx, tx, req).document
    return document | {"Endpoints": {name: text.format(region=ctx.region) for name, text in ENDPOINTS.items()}}


@operation("s3control", "ListAccessPoints")
def list_access_points(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    limit, after = min(req.get("MaxResults") or MAX_PAGE, MAX_PAGE), read_token(req.get("NextToken"))
    with ctx.ports.store.reading() as tx:
        found = tx.records.list(req["AccountId"], ctx.region, "s3", "access-point", parent=req.get("Bucket"), after=after, limit=limit + 1)
    answer: dict[str, Any] = {"AccessPointList": [record.document for record in found[:limit]]}
    return answer | ({"NextToken": write_token(found[limit - 1].key.name)} if len(found) > limit else {})


@operation("s3control", "DeleteAccessPoint")
def delete_access_point(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = need_point(ctx, tx, req)
        tx.records.delete(record.key)
        tx.records.delete(alias_key(record.document["Alias"]))
    return {"_status": 204}


@operation("s3control", "PutAccessPointPolicy", records=True)
def put_access_point_policy(ctx: Ctx, req: dict[str, Any]) -> None:
    check_statements(req["Policy"])
    with ctx.ports.store.transaction() as tx:
        record = need_point(ctx, tx, req)
        record.document["Policy"] = req["Policy"]
        tx.records.save(record)


@operation("s3control", "GetAccessPointPolicy", records=True)
def get_access_point_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"Policy": _policy(ctx, req)}


@operation("s3control", "GetAccessPointPolicyStatus", records=True)
def get_access_point_policy_status(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"PolicyStatus": {"IsPublic": is_public_text(_policy(ctx, req))}}


@operation("s3control", "DeleteAccessPointPolicy", records=True)
def delete_access_point_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = need_point(ctx, tx, req)
        record.document.pop("Policy", None)
        tx.records.save(record)
    return {"_status": 204}


def need_point(ctx: Ctx, tx: Tx, req: dict[str, Any]) -> Record:
    """The access point that a request names, or NoSuchAccessPoint."""
    name = req["Name"].rpartition("/")[2]
    record = tx.records.get(point_key(req["AccountId"], ctx.region, name))
    if record is None:
        raise no_such_point(name)
    return record


def read_token(token: str | None) -> str:
    """The name after which a page begins, as write_token hid it."""
    if not token:
        return ""
    try:
        text = base64.b64decode(token, b"-_", validate=True).decode()
    except ValueError:
        text = ""
    if not text.startswith("1"):
        raise AwsError("InvalidNextTokenException", "The nextToken provided is invalid", status=400)
    return text[1:]


def _policy(ctx: Ctx, req: dict[str, Any]) -> str:
    with ctx.ports.store.reading() as tx:
        text: str | None = need_point(ctx, tx, req).document.get("Policy")
    if text is None:
        raise AwsError("NoSuchAccessPointPolicy", "The specified accesspoint policy does not exist", status=404, AccessPointName=req["Name"])
    return text
