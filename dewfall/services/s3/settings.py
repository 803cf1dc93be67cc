"""What a bucket is configured to be, where it is one document: put, get and delete, by a table.

What has a meaning of its own (lifecycle, notifications, locks, versioning, ACLs, policy, CORS) has a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dewfall.context import Ctx, new_id
from dewfall.engine.buckets import Document, find_bucket
from dewfall.engine.ports import Tx
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, invalid_argument, invalid_request, malformed_xml, owner_of
from dewfall.services.s3.acls import private

Default = Callable[[Document], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One kind of configuration. `wrapped`: the member that answers carry it in ("" = its members are the answer's own)."""

    kind: str
    name: str  # as in GetBucket<name>, with Bucket where AWS has it
    member: str
    wrapped: str = ""
    error: tuple[str, str] = ("", "")
    deletable: str = ""
    default: Default | None = None


def _encryption(bucket: Document) -> Document:
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}


def _public_access(bucket: Document) -> Document:
    return dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


def _ownership(bucket: Document) -> Document:
    return {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


SETTINGS = (
    Setting(
        "Encryption",
        "BucketEncryption",
        "ServerSideEncryptionConfiguration",
        "ServerSideEncryptionConfiguration",
        deletable="DeleteBucketEncryption",
        default=_encryption,
    ),
    Setting(
        "PublicAccessBlock",
        "PublicAccessBlock",
        "PublicAccessBlockConfiguration",
        "PublicAccessBlockConfiguration",
        ("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"),
        "DeletePublicAccessBlock",
        _public_access,
    ),
    Setting(
        "OwnershipControls",
        "BucketOwnershipControls",
        "OwnershipControls",
        "OwnershipControls",
        ("OwnershipControlsNotFoundError", "The bucket ownership controls were not found"),
        "DeleteBucketOwnershipControls",
        _ownership,
    ),
    Setting("Logging", "BucketLogging", "BucketLoggingStatus", default=lambda bucket: {}),
    Setting(
        "Website",
        "BucketWebsite",
        "WebsiteConfiguration",
        "",
        ("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
        "DeleteBucketWebsite",
    ),
    Setting("Accelerate", "BucketAccelerateConfiguration", "AccelerateConfiguration", default=lambda bucket: {}),
    Setting("RequestPayment", "BucketRequestPayment", "RequestPaymentConfiguration", default=lambda bucket: {"Payer": "BucketOwner"}),
    Setting(
        "Replication",
        "BucketReplication",
        "ReplicationConfiguration",
        "ReplicationConfiguration",
        ("ReplicationConfigurationNotFoundError", "The replication configuration was not found"),
        "DeleteBucketReplication",
    ),
)
# Kinds of which a bucket has several, by Id: (name, member, member of the list)
NAMED = (
    ("Analytics", "AnalyticsConfiguration", "AnalyticsConfigurationList"),
    ("Metrics", "MetricsConfiguration", "MetricsConfigurationList"),
    ("Inventory", "InventoryConfiguration", "InventoryConfigurationList"),
    ("IntelligentTiering", "IntelligentTieringConfiguration", "IntelligentTieringConfigurationList"),
)
INVENTORY_FIELDS = (
    *("Size", "LastModifiedDate", "StorageClass", "ETag", "IsMultipartUploaded", "ReplicationStatus", "EncryptionStatus"),
    *("ObjectLockRetainUntilDate", "ObjectLockMode", "ObjectLockLegalHoldStatus", "IntelligentTieringAccessTier", "BucketKeyStatus"),
    *("ChecksumAlgorithm", "ObjectAccessControlList", "ObjectOwner", "LifecycleExpirationDate"),
)
UNCHANGING = {"Accelerate": {"Status": "Suspended"}}  # what changes nothing where nothing was set
GONE = "Deleted"  # what is kept of a default that was deleted


def _register(setting: Setting) -> None:
    def put(ctx: Ctx, req: dict[str, Any]) -> None:
        value = req.get(setting.member)
        if value is None:
            raise malformed_xml()
        with ctx.ports.store.transaction() as tx:
            record = bucket_record(ctx, tx, req)
            CHECKS.get(setting.kind, _nothing)(tx, record.document, value)
            if value == UNCHANGING.get(setting.kind) and setting.kind not in record.document["Settings"]:
                return
            record.document["Settings"][setting.kind] = value
            tx.records.save(record)

    def get(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
        with ctx.ports.store.reading() as tx:
            bucket = bucket_record(ctx, tx, req).document
        value = bucket["Settings"].get(setting.kind)
        if value is None and setting.default is not None:
            value = setting.default(bucket)
        if value is None or value == GONE:
            raise AwsError(setting.error[0], setting.error[1], status=404, BucketName=req["Bucket"])
        return {setting.wrapped: value} if setting.wrapped else value

    def delete(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
        with ctx.ports.store.transaction() as tx:
            record = bucket_record(ctx, tx, req)
            record.document["Settings"].pop(setting.kind, None)
            if setting.default is not None and setting.error[0]:
                record.document["Settings"][setting.kind] = GONE
            tx.records.save(record)
        return {"_status": 204}

    operation("s3", f"Put{setting.name}", records=True)(put)
    operation("s3", f"Get{setting.name}", records=True)(get)
    if setting.deletable:
        operation("s3", setting.deletable, records=True)(delete)


def _register_named(name: str, member: str, listed: str) -> None:
    def put(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
        value = req.get(member)
        if value is None:
            raise malformed_xml()
        if value.get("Id") != req["Id"]:
            if name in ("Analytics", "IntelligentTiering"):
                raise malformed_xml()
            raise AwsError("IdMismatch", "Document ID does not match the specified configuration ID.", status=400)
        if name == "Inventory":
            _check_inventory(value)
        with ctx.ports.store.transaction() as tx:
            record = bucket_record(ctx, tx, req)
            record.document["Settings"].setdefault(name, {})[req["Id"]] = value
            tx.records.save(record)
        return {"_status": 204}

    def get(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
        with ctx.ports.store.reading() as tx:
            kept = bucket_record(ctx, tx, req).document["Settings"].get(name, {})
        if req["Id"] not in kept:
            raise _no_such_configuration()
        return {member: kept[req["Id"]]}

    def delete(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
        with ctx.ports.store.transaction() as tx:
            record = bucket_record(ctx, tx, req)
            if record.document["Settings"].get(name, {}).pop(req["Id"], None) is None:
                raise _no_such_configuration()
            tx.records.save(record)
        return {"_status": 204}

    def list_all(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
        with ctx.ports.store.reading() as tx:
            kept = bucket_record(ctx, tx, req).document["Settings"].get(name, {})
        return {"IsTruncated": False, listed: [kept[key] for key in sorted(kept)]}

    operation("s3", f"PutBucket{name}Configuration", records=True)(put)
    operation("s3", f"GetBucket{name}Configuration", records=True)(get)
    operation("s3", f"DeleteBucket{name}Configuration", records=True)(delete)
    operation("s3", f"ListBucket{name}Configurations", records=True)(list_all)


def _check_inventory(value: Document) -> None:
    target = (value.get("Destination") or {}).get("S3BucketDestination") or {}
    if not str(target.get("Bucket", "")).startswith("arn:"):
        raise AwsError("InvalidS3DestinationBucket", "Invalid bucket ARN.", status=400)
    fits = target.get("Format") in ("CSV", "ORC", "Parquet") and value.get("IncludedObjectVersions") in ("All", "Current")
    fits = fits and (value.get("Schedule") or {}).get("Frequency") in ("Daily", "Weekly")
    if not fits or any(field not in INVENTORY_FIELDS for field in value.get("OptionalFields") or ()):
        raise malformed_xml()


def _no_such_configuration() -> AwsError:
    return AwsError("NoSuchConfiguration", "The specified configuration does not exist.", status=404)


# ---------------------------------------------------------------- what is refused


def _nothing(tx: Tx, bucket: Document, value: Document) -> None:
    """Every value is taken."""


def _check_encryption(tx: Tx, bucket: Document, value: Document) -> None:
    rules = value.get("Rules") or []
    if len(rules) != 1:
        raise malformed_xml()
    before = bucket["Settings"].get("Encryption", {}).get("Rules", [{}])[0]
    if "BlockedEncryptionTypes" in rules[0]:
        rules[0].setdefault("ApplyServerSideEncryptionByDefault", {"SSEAlgorithm": "AES256"})
        if not set(rules[0]["BlockedEncryptionTypes"].get("EncryptionType") or [""]) <= {"NONE", "SSE-C"}:
            raise malformed_xml()
    elif "BlockedEncryptionTypes" in before:
        rules[0]["BlockedEncryptionTypes"] = before["BlockedEncryptionTypes"]
    default = rules[0].get("ApplyServerSideEncryptionByDefault")
    if default is None:
        raise malformed_xml()
    if default.get("SSEAlgorithm") not in ("AES256", "aws:kms", "aws:kms:dsse"):
        raise malformed_xml()
    if default["SSEAlgorithm"] == "AES256" and default.get("KMSMasterKeyID"):
        raise invalid_argument(
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
            "ApplyServerSideEncryptionByDefault",
            None,
        )
    rules[0].setdefault("BucketKeyEnabled", False)


def _check_public_access(tx: Tx, bucket: Document, value: Document) -> None:
    if not value:
        raise invalid_request("Must specify at least one configuration.")
    for name in _public_access(bucket):
        value.setdefault(name, False)


def _check_ownership(tx: Tx, bucket: Document, value: Document) -> None:
    rules = value.get("Rules") or []
    if len(rules) != 1 or rules[0].get("ObjectOwnership") not in ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"):
        raise malformed_xml()
    if rules[0]["ObjectOwnership"] == "BucketOwnerEnforced" and bucket["Settings"].get("Acl") not in (None, private(owner_of(bucket))):
        message = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
        raise AwsError("InvalidBucketAclWithObjectOwnership", message, status=400)


def _check_accelerate(tx: Tx, bucket: Document, value: Document) -> None:
    if "." in bucket["Name"]:
        raise invalid_request("S3 Transfer Acceleration is not supported for buckets with periods (.) in their names")
    if value.get("Status") not in ("Enabled", "Suspended"):
        raise malformed_xml()


def _check_logging(tx: Tx, bucket: Document, value: Document) -> None:
    target = (value.get("LoggingEnabled") or {}).get("TargetBucket")
    if not value.get("LoggingEnabled"):
        return
    found = find_bucket(tx, target) if target else None
    if found is None or found.document["Account"] != bucket["Account"]:
        raise AwsError("InvalidTargetBucketForLogging", "The target bucket for logging does not exist", status=400, TargetBucket=target)
    if found.document["Region"] != bucket["Region"]:
        message = "Cross S3 location logging not allowed. "
        raise AwsError("CrossLocationLoggingProhibitted", message, status=403, TargetBucketLocation=found.document["Region"])


def _check_payment(tx: Tx, bucket: Document, value: Document) -> None:
    if value.get("Payer") not in ("Requester", "BucketOwner"):
        raise malformed_xml()


def _check_replication(tx: Tx, bucket: Document, value: Document) -> None:
    if bucket["Versioning"] != "Enabled":
        raise invalid_request("Versioning must be 'Enabled' on the bucket to apply a replication configuration")
    if not value.get("Rules"):
        raise malformed_xml()
    for rule in value["Rules"]:
        target = find_bucket(tx, str((rule.get("Destination") or {}).get("Bucket", "")).removeprefix("arn:aws:s3:::"))
        if target is None or target.document["Versioning"] != "Enabled":
            raise invalid_request("Destination bucket must have versioning enabled.")
        rule.setdefault("ID", new_id(48, "abcdefghijklmnopqrstuvwxyz0123456789"))


def _check_website(tx: Tx, bucket: Document, value: Document) -> None:
    redirect, index = value.get("RedirectAllRequestsTo"), value.get("IndexDocument")
    if redirect and len(value) > 1:
        raise invalid_argument(
            "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.", "RedirectAllRequestsTo", "not null"
        )
    if not redirect and not index:
        raise invalid_argument("A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty", "IndexDocument", "null")
    if index and (not index.get("Suffix") or "/" in index["Suffix"]):
        raise invalid_argument("The IndexDocument Suffix is not well formed", "IndexDocument", index.get("Suffix"))
    _check_routes(redirect or {}, value.get("RoutingRules"))


def _check_routes(redirect: dict[str, Any], rules: list[dict[str, Any]] | None) -> None:
    if rules == []:
        raise malformed_xml()
    for target in (redirect, *(rule.get("Redirect") or {} for rule in rules or ())):
        if target.get("Protocol") not in (None, "http", "https"):
            message = "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically."
            raise invalid_request(message)
        if "ReplaceKeyPrefixWith" in target and "ReplaceKeyWith" in target:
            raise invalid_request("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
    if any(rule.get("Condition") == {} for rule in rules or ()):
        message = "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present."
        raise invalid_request(message)


CHECKS: dict[str, Callable[[Tx, Document, Any], None]] = {
    "Logging": _check_logging,
    "Encryption": _check_encryption,
    "PublicAccessBlock": _check_public_access,
    "OwnershipControls": _check_ownership,
    "Accelerate": _check_accelerate,
    "RequestPayment": _check_payment,
    "Replication": _check_replication,
    "Website": _check_website,
}

for _setting in SETTINGS:
    _register(_setting)
for _name, _member, _listed in NAMED:
    _register_named(_name, _member, _listed)
