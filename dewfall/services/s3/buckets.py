"""Buckets: create, head, delete, list, and where they are.

Names are global over all accounts, as on AWS; each bucket belongs to an account and a region.
"""

from __future__ import annotations

import base64
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.buckets import Document, bucket_key, find_bucket
from dewfall.engine.ports import AlreadyExists, Record
from dewfall.engine.uploads import uploads_from
from dewfall.engine.versions import is_empty
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3 import acls
from dewfall.services.s3.access import bucket_record, check_bucket_name, invalid_argument, malformed_xml, open_bucket, owner_of
from dewfall.services.s3.aliases import ALIASES
from dewfall.services.s3.tagging import BUCKET_LIMIT, read_set

CLASSIC = "us-east-1"
REGIONS = frozenset(
    [
        "af-south-1",
        "ap-east-1",
        "ap-east-2",
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-northeast-3",
        "ap-south-1",
        "ap-south-2",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ap-southeast-5",
        "ap-southeast-6",
        "ap-southeast-7",
        "ca-central-1",
        "ca-west-1",
        "cn-north-1",
        "cn-northwest-1",
        "EU",
        "eu-central-1",
        "eu-central-2",
        "eu-north-1",
        "eu-south-1",
        "eu-south-2",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "il-central-1",
        "me-central-1",
        "me-south-1",
        "mx-central-1",
        "sa-east-1",
        "us-east-2",
        "us-gov-east-1",
        "us-gov-west-1",
        "us-iso-east-1",
        "us-iso-west-1",
        "us-isob-east-1",
        "us-west-1",
        "us-west-2",
    ]
)
OWNERSHIPS = ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")
MAX_PAGE = 10_000


@operation("s3", "CreateBucket")
def create_bucket(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """In us-east-1 creating one's own bucket again succeeds, as it always has on AWS."""
    name = req["Bucket"]
    check_bucket_name(name)
    _check_namespace(ctx, req)
    configuration = req.get("CreateBucketConfiguration") or {}
    region = location(ctx, configuration.get("LocationConstraint"))
    document = new_bucket(ctx, name, region, req)
    if configuration.get("Tags"):
        document["Settings"]["Tags"] = read_set(configuration["Tags"], BUCKET_LIMIT)
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(Record(bucket_key(name), document, parent=ctx.account, created=document["CreationDate"]))
    except AlreadyExists:
        _refuse_second(ctx, name)
        _reset_acl(ctx, name, document)
    where = f"/{name}" if ctx.region == CLASSIC else f"http://{name}.s3.amazonaws.com/"
    return {"Location": where, "BucketArn": f"arn:{ctx.partition}:s3:::{name}"}


@operation("s3", "HeadBucket")
def head_bucket(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    bucket = open_bucket(ctx, req)
    return {
        "BucketRegion": bucket["Region"],
        "BucketArn": f"arn:{ctx.partition}:s3:::{bucket['Name']}",
        "AccessPointAlias": False,
        "_headers": {"Content-Type": "application/xml"},
    }


@operation("s3", "DeleteBucket")
def delete_bucket(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        if not is_empty(tx, req["Bucket"]):
            message = "The bucket you tried to delete is not empty"
            message += ". You must delete all versions in the bucket." if record.document["Versioning"] else ""
            raise AwsError("BucketNotEmpty", message, status=409, BucketName=req["Bucket"])
        if tx.records.list(*ALIASES, parent=req["Bucket"], limit=1):
            message = "Bucket has access points attached and cannot be deleted."
            raise AwsError("BucketHasAccessPointsAttached", message, status=400, BucketName=req["Bucket"])
        left = uploads_from(tx, req["Bucket"], ("", ""), 1_000_000)
        for upload in left:
            tx.run("part_remove", upload=upload.id)
            tx.run("upload_remove", id=upload.id)
        tx.records.delete(record.key)
    for upload in left:
        ctx.ports.objects.blobs.discard_upload(upload.id)
    ctx.ports.objects.blobs.discard_bucket(req["Bucket"])
    return {"_status": 204}


@operation("s3", "ListBuckets")
def list_buckets(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    limit, prefix = req.get("MaxBuckets"), req.get("Prefix") or ""
    if limit is not None and not 1 <= limit <= MAX_PAGE:
        raise invalid_argument("MaxBuckets must be between 1 and 10000", "max-buckets", limit)
    after = _read_token(req["ContinuationToken"]) if req.get("ContinuationToken") else ""
    with ctx.ports.store.reading() as tx:
        records = tx.records.list("", "", "s3", "bucket", parent=ctx.account, prefix=prefix, after=after)
    wanted = req.get("BucketRegion")
    found = [record.document for record in records if wanted in (None, record.document["Region"])]
    shown = found[: limit or MAX_PAGE]
    answer: dict[str, Any] = {"Buckets": [_entry(bucket, req) for bucket in shown], "Owner": owner_of({"Account": ctx.account})}
    if prefix:
        answer["Prefix"] = prefix
    if len(found) > len(shown):
        answer["ContinuationToken"] = base64.urlsafe_b64encode(shown[-1]["Name"].encode()).decode()
    return answer


@operation("s3", "GetBucketLocation")
def get_bucket_location(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    bucket = open_bucket(ctx, req)
    return {"LocationConstraint": None if bucket["Region"] == CLASSIC else bucket.get("Location", bucket["Region"])}


def new_bucket(ctx: Ctx, name: str, region: str, req: dict[str, Any]) -> Document:
    """The document of a new bucket."""
    ownership = req.get("ObjectOwnership")
    if ownership is not None and ownership not in OWNERSHIPS:
        raise invalid_argument("Invalid x-amz-object-ownership header: " + ownership, "x-amz-object-ownership", ownership)
    document: Document = {
        "Name": name,
        "Account": ctx.account,
        "Region": "eu-west-1" if region == "EU" else region,
        "CreationDate": ctx.now().replace(microsecond=0),
        "Versioning": "",
        "Settings": {},
    }
    if region == "EU":
        document["Location"] = "EU"
    if ownership is not None:
        document["Settings"]["OwnershipControls"] = {"Rules": [{"ObjectOwnership": ownership}]}
    if req.get("ObjectLockEnabledForBucket"):
        document["Versioning"] = "Enabled"
        document["Settings"]["ObjectLock"] = {"ObjectLockEnabled": "Enabled"}
    enforced = ownership == "BucketOwnerEnforced"
    if req.get("ACL") not in (None, "private") and enforced:
        message = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
        raise AwsError("InvalidBucketAclWithObjectOwnership", message, status=400)
    acl = None if enforced and req.get("ACL") == "private" else acls.of_request(ctx, document, req, owner_of(document))
    if acl is not None:
        document["Settings"]["Acl"] = acl
    return document


def location(ctx: Ctx, constraint: str | None) -> str:
    """The region of a new bucket: the endpoint's, which a constraint must name unless it is us-east-1's."""
    here = ctx.region if ctx.region in REGIONS else CLASSIC  # some clients sign for "US"
    if constraint is None:
        if here != CLASSIC:
            raise _illegal("unspecified")
        return CLASSIC
    if constraint == "":
        raise malformed_xml()
    if here not in (CLASSIC, constraint) and not (constraint == "EU" and ctx.region == "eu-west-1"):
        raise _illegal(constraint)
    if constraint not in REGIONS:
        message = "The specified location-constraint is not valid"
        raise AwsError("InvalidLocationConstraint", message, status=400, LocationConstraint=constraint)
    return constraint


def _check_namespace(ctx: Ctx, req: dict[str, Any]) -> None:
    """Names that end in `-<account>-<region>-an` are the account's own, and are asked for by a header."""
    namespace, name = req.get("BucketNamespace"), req["Bucket"]
    if namespace not in (None, "global", "account-regional"):
        raise AwsError("InvalidNamespaceHeader", "The specified bucket namespace is not valid", status=400)
    region = (req.get("CreateBucketConfiguration") or {}).get("LocationConstraint") or ctx.region
    if namespace == "account-regional" and not name.endswith(f"-{ctx.account}-{region}-an"):
        message = "The requested bucket was not created because the bucket name does not end in the account's regional suffix"
        raise AwsError("InvalidNamespaceHeader", message, status=400)


def _illegal(constraint: str) -> AwsError:
    message = f"The {constraint} location constraint is incompatible for the region specific endpoint this request was sent to."
    return AwsError("IllegalLocationConstraintException", message, status=400)


def _reset_acl(ctx: Ctx, name: str, document: Document) -> None:
    """Creating one's bucket again sets its ACL anew, as in us-east-1."""
    with ctx.ports.store.transaction() as tx:
        record = find_bucket(tx, name)
        if record is not None and record.document["Settings"].get("Acl") != document["Settings"].get("Acl"):
            record.document["Settings"].pop("Acl", None)
            record.document["Settings"] |= {"Acl": document["Settings"]["Acl"]} if "Acl" in document["Settings"] else {}
            tx.records.save(record)


def _refuse_second(ctx: Ctx, name: str) -> None:
    with ctx.ports.store.reading() as tx:
        record = find_bucket(tx, name)
    if record is not None and record.document["Account"] == ctx.account:
        if ctx.region == CLASSIC and record.document["Region"] == CLASSIC:
            return
        message = "Your previous request to create the named bucket succeeded and you already own it."
        raise AwsError("BucketAlreadyOwnedByYou", message, status=409, BucketName=name)
    message = (
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
        "Please select a different name and try again."
    )
    raise AwsError("BucketAlreadyExists", message, status=409, BucketName=name)


def _entry(bucket: Document, req: dict[str, Any]) -> dict[str, Any]:
    entry = {"Name": bucket["Name"], "CreationDate": bucket["CreationDate"], "BucketArn": f"arn:aws:s3:::{bucket['Name']}"}
    asked = any(req.get(name) for name in ("MaxBuckets", "ContinuationToken", "Prefix", "BucketRegion"))
    return entry | ({"BucketRegion": bucket["Region"]} if asked else {})


def _read_token(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text).decode()
    except ValueError:
        raise invalid_argument("The continuation token provided is incorrect", "continuation-token", text) from None
