"""Access control lists, canned, by grant headers, or whole, kept and answered as AWS does.

Nothing is decided by them here; authorization reads them. A bucket whose owner enforces ownership refuses them, as AWS's do.
"""

from __future__ import annotations

import re
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.buckets import Document
from dewfall.engine.notices import announce
from dewfall.engine.versions import save_document
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import NOBODY, bucket_record, canonical_id, find_object, invalid_argument, is_blocked, origin_of, owner_in, owner_of

GROUPS = "http://acs.amazonaws.com/groups/"
ALL_USERS, AUTHENTICATED, LOG_DELIVERY = GROUPS + "global/AllUsers", GROUPS + "global/AuthenticatedUsers", GROUPS + "s3/LogDelivery"
CANNED: dict[str, tuple[tuple[str, str], ...]] = {
    "private": (),
    "public-read": ((ALL_USERS, "READ"),),
    "public-read-write": ((ALL_USERS, "READ"), (ALL_USERS, "WRITE")),
    "authenticated-read": ((AUTHENTICATED, "READ"),),
    "log-delivery-write": ((LOG_DELIVERY, "WRITE"), (LOG_DELIVERY, "READ_ACP")),
    "aws-exec-read": (),
    "bucket-owner-read": (),
    "bucket-owner-full-control": (),
}
OWNERS = {"bucket-owner-read": "READ", "bucket-owner-full-control": "FULL_CONTROL"}  # of objects that are another account's
HEADERS = {
    "GrantFullControl": "FULL_CONTROL",
    "GrantRead": "READ",
    "GrantReadACP": "READ_ACP",
    "GrantWrite": "WRITE",
    "GrantWriteACP": "WRITE_ACP",
}
_GRANTEE = re.compile(r'\s*(id|uri|emailAddress)\s*=\s*"?([^",]+)"?\s*')


@operation("s3", "PutBucketAcl")
def put_bucket_acl(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        record.document["Settings"]["Acl"] = _wanted(ctx, record.document, req, owner_of(record.document))
        tx.records.save(record)


@operation("s3", "GetBucketAcl")
def get_bucket_acl(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, req).document
    return bucket["Settings"].get("Acl") or private(owner_of(bucket))


@operation("s3", "PutObjectAcl")
def put_object_acl(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        version = find_object(tx, record.document, req["Key"], req.get("VersionId"), "PUT")
        version.document["Acl"] = _wanted(ctx, record.document, req, owner_in(record.document, version.document))
        save_document(tx, version)
        announce(tx, record, version, "ObjectAcl:Put", origin_of(ctx))
    return {}


@operation("s3", "GetObjectAcl")
def get_object_acl(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        bucket = bucket_record(ctx, tx, req).document
        version = find_object(tx, bucket, req["Key"], req.get("VersionId"))
    return version.document.get("Acl") or private(owner_in(bucket, version.document))


def private(owner: dict[str, str]) -> Document:
    """The ACL of what has none: full control for the owner."""
    return {"Owner": owner, "Grants": [_grant({"Type": "CanonicalUser", **owner}, "FULL_CONTROL")]}


def writer(ctx: Ctx, bucket: Document, req: dict[str, Any]) -> Document:
    """The Owner member of a new object's document, where another account writes it and keeps it; nothing where it is the bucket's.

    Where ownership was never put, the object is the bucket's, as of new buckets, and its writer keeps its rights, as of old ones.
    """
    account = NOBODY if ctx.caller.kind == "anonymous" else ctx.caller.account
    kind = ownership(bucket)
    given = req.get("ACL") == "bucket-owner-full-control" or canonical_id(bucket["Account"]) in (req.get("GrantFullControl") or "")
    if account not in (bucket["Account"], NOBODY) and kind == "BucketOwnerEnforced" and not are_disabled(bucket):
        return {"Writer": account}
    if account == bucket["Account"] or kind == "BucketOwnerEnforced" or (kind == "BucketOwnerPreferred" and given):
        return {}
    return {"Owner": account}


def of_request(ctx: Ctx, bucket: Document, req: dict[str, Any], owner: dict[str, str]) -> Document | None:
    """The AccessControlPolicy that ACL or Grant* headers mean for a thing of this owner; None without any."""
    canned = req.get("ACL")
    named = {name: req[name] for name in HEADERS if req.get(name)}
    if canned and named:
        message = "Specifying both Canned ACLs and Header Grants is not allowed"
        raise AwsError("InvalidRequest", message, status=400)
    if canned:
        if canned not in CANNED:
            raise invalid_argument("", "x-amz-acl", canned)
        _check_allowed(bucket, canned)
        _check_public(ctx, bucket, [{"URI": uri} for uri, _ in CANNED[canned]])
        acl = private(owner)
        if canned in OWNERS and owner != owner_of(bucket):
            acl["Grants"].append(_grant({"Type": "CanonicalUser", **owner_of(bucket)}, OWNERS[canned]))
        acl["Grants"] += [_grant({"Type": "Group", "URI": uri}, permission) for uri, permission in CANNED[canned]]
        return acl
    if not named:
        return None
    _check_allowed(bucket, "")
    grants = [_grant(grantee, HEADERS[name]) for name, text in named.items() for grantee in _grantees(name, text)]
    _check_public(ctx, bucket, [grant["Grantee"] for grant in grants])
    return {"Owner": owner, "Grants": grants}


def _wanted(ctx: Ctx, bucket: Document, req: dict[str, Any], owner: dict[str, str]) -> Document:
    policy = req.get("AccessControlPolicy")
    acl = of_request(ctx, bucket, req, owner)
    if acl is not None:
        if policy:
            raise AwsError("UnexpectedContent", "This request does not support content", status=400)
        return acl
    if policy is None:
        message = "Your request was missing a required header"
        raise AwsError("MissingSecurityHeader", message, status=400, MissingHeaderName="x-amz-acl")
    _check_allowed(bucket, "")
    grants = policy.get("Grants")
    if grants is None or "ID" not in (policy.get("Owner") or {}):
        raise malformed_acl()
    for grant in grants:
        grantee = grant.get("Grantee") or {}
        if grant.get("Permission") not in HEADERS.values() or not _is_whole(grantee):
            raise malformed_acl()
        _check_grantee(grantee)
    _check_grantee({"ID": policy["Owner"]["ID"]})
    _check_public(ctx, bucket, [grant["Grantee"] for grant in grants])
    return {"Owner": policy["Owner"], "Grants": grants}


def _is_whole(grantee: dict[str, Any]) -> bool:
    """Whether a grantee has the member that its type is known by; without a type, any."""
    wanted = {"CanonicalUser": "ID", "Group": "URI", "AmazonCustomerByEmail": "EmailAddress"}
    return bool({wanted[grantee["Type"]]} & grantee.keys() if grantee.get("Type") in wanted else set(wanted.values()) & grantee.keys())


def _check_allowed(bucket: Document, canned: str) -> None:
    """AccessControlListNotSupported where the owner has chosen to enforce ownership: of ACLs there is left only the one that says so."""
    if are_disabled(bucket) and canned != "bucket-owner-full-control":
        raise AwsError("AccessControlListNotSupported", "The bucket does not allow ACLs", status=400)


def _check_public(ctx: Ctx, bucket: Document, grantees: list[dict[str, Any]]) -> None:
    """AccessDenied for a public grant where the bucket's owner has chosen to block them."""
    public = any(grantee.get("URI") in (ALL_USERS, AUTHENTICATED) for grantee in grantees)
    if public and is_blocked(ctx.ports.store, bucket, "BlockPublicAcls"):
        raise AwsError("AccessDenied", "Access Denied", status=403)


def malformed_acl() -> AwsError:
    message = "The XML you provided was not well-formed or did not validate against our published schema"
    return AwsError("MalformedACLError", message, status=400)


def are_disabled(bucket: Document) -> bool:
    """Whether the bucket's owner has chosen that ACLs count for nothing. A new bucket says so, too, but takes them until it is chosen."""
    controls = bucket["Settings"].get("OwnershipControls")
    return isinstance(controls, dict) and controls["Rules"][0].get("ObjectOwnership") == "BucketOwnerEnforced"


def ownership(bucket: Document) -> str:
    """Who owns what other accounts write. Where nothing was chosen, a bucket whose ACL lets others in is one of the kind that has ACLs."""
    controls = bucket["Settings"].get("OwnershipControls")
    if isinstance(controls, dict):
        return str(controls["Rules"][0].get("ObjectOwnership"))
    shared = controls is not None or bucket["Settings"].get("Acl") not in (None, private(owner_of(bucket)))
    return "ObjectWriter" if shared else "BucketOwnerEnforced"


def _grantees(name: str, text: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for part in text.split(","):
        hit = _GRANTEE.fullmatch(part)
        if hit is None:
            raise invalid_argument("Argument format not recognized", f"x-amz-{re.sub('(?<=[a-z])(?=[A-Z])', '-', name).lower()}", text)
        kind, value = hit[1], hit[2]
        grantee = {"id": {"Type": "CanonicalUser", "ID": value}, "uri": {"Type": "Group", "URI": value}}.get(kind)
        found.append(grantee or {"Type": "AmazonCustomerByEmail", "EmailAddress": value})
        _check_grantee(found[-1], "uri", "id")
    return found


def _check_grantee(grantee: dict[str, Any], group: str = "Group/URI", person: str = "CanonicalUser/ID") -> None:
    """Groups are AWS's three, ids have their form, and no account here has an e-mail address."""
    uri, user = grantee.get("URI"), grantee.get("ID")
    if grantee.get("EmailAddress") is not None:
        message = "The e-mail address you provided does not match any account on record."
        raise AwsError("UnresolvableGrantByEmailAddress", message, status=400)
    if uri is not None and uri not in (ALL_USERS, AUTHENTICATED, LOG_DELIVERY):
        raise invalid_argument("Invalid group uri", group, uri)
    if user is not None and not re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{64}", user):
        raise invalid_argument("Invalid id", person, user)


def _grant(grantee: dict[str, Any], permission: str) -> Document:
    return {"Grantee": grantee, "Permission": permission}
