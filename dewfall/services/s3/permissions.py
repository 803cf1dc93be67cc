"""Whether a caller may do what it asks of a bucket: identity policies, the bucket's policy, and ACLs, as AWS weighs them.

Asked only where signatures are enforced. The account's owner, and roles that Dewfall's IAM does not know, need no policy.

    explicit deny → no · own account: identity or bucket policy or ACL · elsewhere: both sides · nobody in particular: bucket policy or ACL
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from dewfall.context import Caller, Ctx
from dewfall.engine.buckets import Document, find_bucket, no_such_bucket
from dewfall.engine.ports import Tx
from dewfall.engine.versions import Version, find_version, newest
from dewfall.errors import AwsError
from dewfall.rules.policy import EXPLICIT_DENY, Access, Decision, Policy, decide
from dewfall.services.s3 import jumpstart
from dewfall.services.s3.access import canonical_id, is_blocked, owner_in, owner_of
from dewfall.services.s3.acls import ALL_USERS, AUTHENTICATED, are_disabled, private
from dewfall.services.s3.copies import read_source
from dewfall.services.s3.deletes import DENIED
from dewfall.services.s3.policies import is_public
from dewfall.settings import DEFAULT_ROLE

# Operations whose action is not called as they are. With a version named, object actions get the word that follows "Object".
ACTIONS = {
    "AbortMultipartUpload": "AbortMultipartUpload",
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteBucketCors": "PutBucketCORS",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteObjects": "DeleteObject",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBuckets": "ListAllMyBuckets",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListParts": "ListMultipartUploadParts",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "PutBucketCors": "PutBucketCORS",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "PutBucketReplication": "PutReplicationConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
}
VERSIONED = ("GetObject", "DeleteObject", "GetObjectAcl", "PutObjectAcl", "GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging")
# What an ACL's permission stands for: on a bucket, on an object.
BUCKET_GRANTS = {
    "ListBucket": "READ",
    "ListBucketVersions": "READ",
    "ListBucketMultipartUploads": "READ",
    "PutObject": "WRITE",
    "DeleteObject": "WRITE",
    "GetBucketAcl": "READ_ACP",
    "PutBucketAcl": "WRITE_ACP",
}
OBJECT_GRANTS = {"GetObject": "READ", "GetObjectAcl": "READ_ACP", "PutObjectAcl": "WRITE_ACP"}
# Members of a request that conditions may ask for: s3:<key>.
KEYS = {
    "Prefix": "s3:prefix",
    "Delimiter": "s3:delimiter",
    "MaxKeys": "s3:max-keys",
    "VersionId": "s3:versionid",
    "ACL": "s3:x-amz-acl",
    "StorageClass": "s3:x-amz-storage-class",
    "CopySource": "s3:x-amz-copy-source",
    "MetadataDirective": "s3:x-amz-metadata-directive",
    "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "SSECustomerAlgorithm": "s3:x-amz-server-side-encryption-customer-algorithm",
    "GrantRead": "s3:x-amz-grant-read",
    "GrantWrite": "s3:x-amz-grant-write",
    "GrantReadACP": "s3:x-amz-grant-read-acp",
    "GrantWriteACP": "s3:x-amz-grant-write-acp",
    "GrantFullControl": "s3:x-amz-grant-full-control",
    "ObjectLockMode": "s3:object-lock-mode",
    "ObjectLockLegalHoldStatus": "s3:object-lock-legal-hold",
}
WRITES = ("PutObject", "CopyObject", "CreateMultipartUpload")
# What a writer needs besides, where it says so: member → action.
ALSO = {"Tagging": "PutObjectTagging", "ObjectLockMode": "PutObjectRetention", "ObjectLockLegalHoldStatus": "PutObjectLegalHold"}
CHANGES_OWNER = ("PutBucketAcl", "PutObjectAcl")
# How AWS calls the policies that deny, where they are not an identity's own.
DENIERS = {"session": "a session policy", "permissions-boundary": "a permissions boundary"}
ALWAYS_THE_OWNERS = ("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy")


@dataclass(frozen=True, slots=True)
class Question:
    """One thing a request wants: an action (without "s3:") on a bucket or on a key of it."""

    action: str
    bucket: str
    key: str = ""
    version_id: str | None = None

    @property
    def resource(self) -> str:
        return f"arn:aws:s3:::{self.bucket}/{self.key}" if self.key else f"arn:aws:s3:::{self.bucket or '*'}"


def authorize_s3(ctx: Ctx, operation: str, req: dict[str, Any]) -> None:
    """AccessDenied unless the caller may do everything that the request wants; DeleteObjects hears it key by key."""
    if operation == "DeleteObjects":
        for entry in (req.get("Delete") or {}).get("Objects") or ():
            _mark_denied(ctx, req, entry)
        return
    for question in questions(operation, req):
        with ctx.ports.store.reading() as tx:
            if not is_allowed(ctx, tx, question, req) or (question.action in CHANGES_OWNER and _changes_owner(tx, question, req)):
                raise denied(ctx, tx, question, req)
            _check_may_miss(ctx, tx, question)


def authorize_control(ctx: Ctx, operation: str, req: dict[str, Any]) -> None:
    """The same for S3 Control: the account itself, and whom its IAM policies allow it."""
    question = Question(operation.replace("PublicAccessBlock", "AccountPublicAccessBlock"), "")
    with ctx.ports.store.reading() as tx:
        if req.get("AccountId", ctx.account) != ctx.account or not is_allowed(ctx, tx, question, {}):
            raise denied(ctx, tx, question, {})


def questions(operation: str, req: dict[str, Any]) -> Iterator[Question]:
    """What an operation wants. A copy asks for its source, too."""
    action, bucket, version_id = ACTIONS.get(operation, operation), req.get("Bucket", ""), req.get("VersionId")
    yield Question(action, bucket, req.get("Key", ""), version_id)
    if operation in WRITES:
        yield from (Question(named, bucket, req.get("Key", "")) for member, named in ALSO.items() if req.get(member))
    if operation in ("CopyObject", "UploadPartCopy"):
        source, key, of = read_source(req["CopySource"])
        yield Question("GetObject", source, key, of)
    if req.get("BypassGovernanceRetention"):
        yield Question("BypassGovernanceRetention", bucket, req.get("Key", ""))


def is_allowed(ctx: Ctx, tx: Tx, question: Question, req: dict[str, Any]) -> bool:
    """The verdict on one question."""
    made_already = question.bucket and question.action != "CreateBucket"  # whoever may create buckets may hear that a name is taken
    caller, record = ctx.caller, find_bucket(tx, question.bucket) if made_already else None
    own = record is None or (record.document["Account"] == caller.account and caller.kind != "anonymous")
    version = _version(tx, question) if record is not None and question.action in OBJECT_GRANTS else None
    if record is not None and version is not None and version.document.get("Owner"):
        return _may_with_anothers(ctx, tx, question, req, (record.document, version))
    if is_trusted(ctx, tx, caller) and own and (record is None or "Policy" not in record.document["Settings"]):
        return True
    if record is None and made_already and not question.bucket.startswith(jumpstart.BUCKET):  # those are there once somebody asks
        raise no_such_bucket(question.bucket)  # AWS tells that everybody
    if record is None:
        return caller.kind != "anonymous" and _by_identity(ctx, tx, question, _context(ctx, question, req, None)) == "allowed"
    bucket = record.document
    version = _version(tx, question)
    access = _access(ctx, question, _context(ctx, question, req, version))
    policy = _policy(bucket)
    by_policy = decide(access, [], resource=policy).verdict if policy else "implicitDeny"
    trusted = is_trusted(ctx, tx, caller)
    if by_policy == EXPLICIT_DENY:
        return trusted and own and question.action in ALWAYS_THE_OWNERS
    by_identity = "allowed" if trusted else _by_identity(ctx, tx, question, access.context) if caller.kind != "anonymous" else "implicitDeny"
    if by_identity == EXPLICIT_DENY:
        return False
    if own and by_identity == "allowed":
        return True
    restricted = policy is not None and not own and is_public({"Statement": list(policy.statements)})
    restricted = restricted and is_blocked(ctx.ports.store, bucket, "RestrictPublicBuckets")
    shared = not restricted and (by_policy == "allowed" or _by_acl(ctx, bucket, version, question))
    if not shared and question.action == "GetObject" and version is None:
        return is_allowed(ctx, tx, Question("ListBucket", question.bucket), {"Prefix": question.key})  # who may list may know that
    return shared and (own or caller.kind == "anonymous" or by_identity == "allowed")


def _may_with_anothers(ctx: Ctx, tx: Tx, question: Question, req: dict[str, Any], where: tuple[Document, Version]) -> bool:
    """The verdict on an object that is not the bucket owner's: its ACL decides; the bucket's policy can only forbid."""
    (bucket, version), caller = where, ctx.caller
    access = _access(ctx, question, _context(ctx, question, req, version))
    policy = _policy(bucket)
    if policy and decide(access, [], resource=policy).verdict == EXPLICIT_DENY:
        return False
    if caller.kind != "anonymous" and not is_trusted(ctx, tx, caller) and _by_identity(ctx, tx, question, access.context) != "allowed":
        return False
    return _by_acl(ctx, bucket, version, question)


def _check_may_miss(ctx: Ctx, tx: Tx, question: Question) -> None:
    """That there is no object is told to those who may list."""
    if question.action != "GetObject" or question.version_id or find_bucket(tx, question.bucket) is None or _version(tx, question) is not None:
        return
    listing, asked = Question("ListBucket", question.bucket), {"Prefix": question.key}
    if not is_allowed(ctx, tx, listing, asked):
        raise denied(ctx, tx, listing, asked)


def _changes_owner(tx: Tx, question: Question, req: dict[str, Any]) -> bool:
    """Whether an ACL names another owner than there is, which nobody may."""
    named = ((req.get("AccessControlPolicy") or {}).get("Owner") or {}).get("ID")
    record, version = find_bucket(tx, question.bucket), _version(tx, question)
    if named is None or record is None or (question.key and version is None):
        return False
    return bool(named != (owner_in(record.document, version.document) if version else owner_of(record.document))["ID"])


def is_trusted(ctx: Ctx, tx: Tx, caller: Caller) -> bool:
    """The owner of an account, a service of the house, or a role that nobody has described."""
    if caller.kind in ("root", "service"):
        return True
    if caller.kind != "assumed-role":
        return False
    name = caller.role_arn.rsplit("/", 1)[-1]
    return name in ("", DEFAULT_ROLE) or not _described(tx, caller.account, name)


def denied(ctx: Ctx, tx: Tx, question: Question, req: dict[str, Any]) -> AwsError:
    """The refusal; strangers and other accounts hear no reason."""
    record, caller = find_bucket(tx, question.bucket) if question.bucket else None, ctx.caller
    if caller.kind == "anonymous" or (record is not None and record.document["Account"] != caller.account):
        return AwsError("AccessDenied", "Access Denied", status=403)
    where = "" if question.action == "ListAllMyBuckets" else f' on resource: "{question.resource.removesuffix("*")}"'
    message = f"User: {caller.arn} is not authorized to perform: s3:{question.action}{where} "
    return AwsError("AccessDenied", message + _reason(ctx, tx, question, req), status=403)


# ---------------------------------------------------------------- inside


def _reason(ctx: Ctx, tx: Tx, question: Question, req: dict[str, Any]) -> str:
    """The kind of policy that denies, else the kind that fails to allow."""
    record = find_bucket(tx, question.bucket) if question.bucket else None
    context = _context(ctx, question, req, _version(tx, question) if record is not None else None)
    policy = _policy(record.document) if record is not None else None
    if policy and decide(_access(ctx, question, context), [], resource=policy).verdict == EXPLICIT_DENY:
        return "with an explicit deny in a resource-based policy"
    if not is_trusted(ctx, tx, ctx.caller):
        found = _identity_decision(ctx, tx, question, context)
        if found.verdict == EXPLICIT_DENY:
            return f"with an explicit deny in {DENIERS.get(found.matched[0][0].kind, 'an identity-based policy')}"
    return f"because no identity-based policy allows the s3:{question.action} action"


def _mark_denied(ctx: Ctx, req: dict[str, Any], entry: dict[str, Any]) -> None:
    """Note in one entry of DeleteObjects why it may not be deleted."""
    wanted = {**entry, "Bucket": req["Bucket"], "BypassGovernanceRetention": req.get("BypassGovernanceRetention")}
    try:
        authorize_s3(ctx, "DeleteObject", wanted)
    except AwsError as error:
        entry[DENIED] = error.message


def _described(tx: Tx, account: str, role: str) -> bool:
    from dewfall.engine.ports import Key

    return tx.records.get(Key(account, "", "iam", "role", role)) is not None


def _by_identity(ctx: Ctx, tx: Tx, question: Question, context: dict[str, list[str]] | Any) -> str:
    return _identity_decision(ctx, tx, question, context).verdict


def _identity_decision(ctx: Ctx, tx: Tx, question: Question, context: dict[str, list[str]] | Any) -> Decision:
    from dewfall.services.iam.simulation import boundary_of, identity_policies

    caller = ctx.caller
    kind, name = ("role", caller.role_arn.rsplit("/", 1)[-1]) if caller.kind == "assumed-role" else ("user", caller.arn.rsplit("/", 1)[-1])
    policies = identity_policies(tx, ctx, kind, name)
    session = [Policy.parse("session", "session", text) for text in caller.session_policies]
    return decide(_access(ctx, question, context), policies, boundary=boundary_of(tx, ctx, kind, name), session=session)


def _access(ctx: Ctx, question: Question, context: Any) -> Access:
    action = question.action
    if question.version_id and action in VERSIONED:
        action = action.replace("Object", "ObjectVersion", 1)
    return Access(f"s3:{action}", question.resource, ctx.caller.arn, ctx.caller.account if ctx.caller.kind != "anonymous" else "", context)


def _context(ctx: Ctx, question: Question, req: dict[str, Any], version: Version | None) -> dict[str, list[str]]:
    caller = ctx.caller
    found = {
        "aws:sourceip": [ctx.source_ip],
        "aws:useragent": [ctx.user_agent],
        "aws:securetransport": [str(ctx.secure).lower()],
        "aws:currenttime": [ctx.now().isoformat()],
        "aws:epochtime": [str(int(ctx.now().timestamp()))],
        "aws:requestedregion": [ctx.region],
    }
    if ctx.referer:
        found["aws:referer"] = [ctx.referer]
    if caller.kind != "anonymous":
        found |= {"aws:userid": [caller.user_id], "aws:principalaccount": [caller.account], "aws:principalarn": [caller.role_arn or caller.arn]}
    if caller.kind == "user":
        found["aws:username"] = [caller.arn.rsplit("/", 1)[-1]]
    found |= {key: [str(req[member])] for member, key in KEYS.items() if req.get(member) is not None}
    asked = dict(parse_qsl(req["Tagging"])) if isinstance(req.get("Tagging"), str) else {}
    if isinstance(req.get("Tagging"), dict):
        asked = {tag["Key"]: tag["Value"] for tag in req["Tagging"].get("TagSet") or () if "Value" in tag}
    found |= {f"s3:requestobjecttag/{name.lower()}": [value] for name, value in asked.items()}
    if asked:
        found["s3:requestobjecttagkeys"] = list(asked)
    tags = version.document.get("Tags", {}) if version is not None else {}
    return found | {f"s3:existingobjecttag/{name.lower()}": [value] for name, value in tags.items()}


def _version(tx: Tx, question: Question) -> Version | None:
    if not question.key:
        return None
    if question.version_id:
        return find_version(tx, question.bucket, question.key, question.version_id)
    return newest(tx, question.bucket, question.key)


def _policy(bucket: Document) -> Policy | None:
    text = bucket["Settings"].get("Policy")
    return Policy.parse("bucket", "resource", text) if text else None


def _by_acl(ctx: Ctx, bucket: Document, version: Version | None, question: Question) -> bool:
    caller = ctx.caller
    if are_disabled(bucket):
        return False
    if question.action in BUCKET_GRANTS:
        acl, permission = bucket["Settings"].get("Acl") or private(owner_of(bucket)), BUCKET_GRANTS[question.action]
    elif question.action in OBJECT_GRANTS and version is not None:
        acl, permission = version.document.get("Acl") or private(owner_in(bucket, version.document)), OBJECT_GRANTS[question.action]
    else:
        return False
    if question.action in OBJECT_GRANTS and version is not None and version.document.get("Writer") == caller.account:
        return True
    known, foreign = caller.kind != "anonymous", version is not None and bool(version.document.get("Owner"))
    other = known and (foreign or caller.account != bucket["Account"])  # an account's own users have their rights from its policies
    ignored = is_blocked(ctx.ports.store, bucket, "IgnorePublicAcls")
    groups = () if ignored else (ALL_USERS, AUTHENTICATED) if known else (ALL_USERS,)
    for grant in acl["Grants"]:
        grantee = grant["Grantee"]
        if grant["Permission"] in (permission, "FULL_CONTROL") and (
            grantee.get("URI") in groups or (other and grantee.get("ID") == canonical_id(caller.account))
        ):
            return True
    return False
