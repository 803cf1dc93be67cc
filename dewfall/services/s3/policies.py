"""Bucket policies: kept as the text they are, and asked whether they make the bucket public.

Authorization evaluates them; here they only have to be policies.
"""

from __future__ import annotations

import json
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.rules.policy_text import VERSIONS, is_statement, unknown_operators
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, is_blocked, open_bucket

MAX_BYTES = 20 * 1024
# A wildcard principal is not public where one of these keys narrows it to fixed values.
NARROWING = ("aws:sourceip", "aws:principalorgid", "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceaccount", "aws:userid")
NARROWING_MORE = ("aws:principalarn", "aws:principalaccount", "s3:dataaccesspointarn", "s3:dataaccesspointaccount", "aws:principalorgpaths")


@operation("s3", "PutBucketPolicy")
def put_bucket_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    text = req.get("Policy") or ""
    check_policy(text, req["Bucket"])
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        if is_public(json.loads(text)) and is_blocked(ctx.ports.store, record.document, "BlockPublicPolicy"):
            raise AwsError("AccessDenied", "Access Denied", status=403)
        record.document["Settings"]["Policy"] = text
        tx.records.save(record)
    return {"_status": 204}


@operation("s3", "GetBucketPolicy")
def get_bucket_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    text = open_bucket(ctx, req)["Settings"].get("Policy")
    if text is None:
        raise no_policy(req["Bucket"])
    return {"Policy": text}


@operation("s3", "DeleteBucketPolicy")
def delete_bucket_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        if record.document["Settings"].pop("Policy", None) is not None:
            tx.records.save(record)
    return {"_status": 204}


@operation("s3", "GetBucketPolicyStatus")
def get_bucket_policy_status(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    text = open_bucket(ctx, req)["Settings"].get("Policy")
    if text is None:
        raise no_policy(req["Bucket"])
    return {"PolicyStatus": {"IsPublic": is_public(json.loads(text))}}


def no_policy(bucket: str) -> AwsError:
    return AwsError("NoSuchBucketPolicy", "The bucket policy does not exist", status=404, BucketName=bucket)


def check_policy(text: str, bucket: str) -> None:
    """MalformedPolicy for what is no bucket policy about this bucket."""
    for statement in check_statements(text):
        for resource in listed(statement.get("Resource")):
            if resource != "*" and not resource.partition(":::")[2].partition("/")[0].startswith((bucket, "*", "${")):
                raise malformed("Policy has invalid resource")


def check_statements(text: str) -> list[dict[str, Any]]:
    """The statements of a resource's policy; MalformedPolicy where they lack what each needs."""
    if not text.startswith("{"):
        raise malformed("Policies must be valid JSON and the first byte must be '{'")
    try:
        policy = json.loads(text)
    except ValueError:
        raise malformed("This policy contains invalid Json") from None
    if len(text.encode()) > MAX_BYTES:
        raise malformed(f"Normalized policy document exceeds the maximum allowed size of {MAX_BYTES} bytes")
    if policy.get("Version", VERSIONS[0]) not in VERSIONS:
        raise malformed("The policy must contain a valid version string")
    statements = statements_of(policy)
    if not statements:
        raise malformed("Missing required field Statement")
    for statement in statements:
        if not isinstance(statement, dict):
            raise malformed("Invalid policy syntax.")
        for name in ("Effect", "Principal", "Action", "Resource"):
            if statement.get(name, statement.get(f"Not{name}", "")) in ("", [], {}):
                raise malformed(f"Missing required field {name}")
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise malformed(f"Invalid effect : {statement.get('Effect')}")
        if unknown := unknown_operators(statement.get("Condition")):
            raise malformed(f"Invalid Condition type : {unknown[0]}")
        if not is_statement(statement):
            raise malformed("Invalid policy syntax.")
        if statement["Effect"] == "Allow" and "NotPrincipal" in statement:
            raise malformed("Allow with NotPrincipal is not allowed.")
    return statements


def is_public(policy: dict[str, Any]) -> bool:
    """Whether some statement allows everybody something, without a condition that narrows everybody down."""
    return any(_allows_everybody(statement) for statement in statements_of(policy))


def is_public_text(text: str) -> bool:
    """The same of a policy as it is kept."""
    return is_public(json.loads(text))


def _allows_everybody(statement: dict[str, Any]) -> bool:
    principal = statement.get("Principal")
    named = listed(principal.get("AWS")) if isinstance(principal, dict) else listed(principal)
    if statement.get("Effect") != "Allow" or ("*" not in named and "NotPrincipal" not in statement):
        return False
    for operator, entries in (statement.get("Condition") or {}).items():
        for key, values in entries.items():
            fixed = all("*" not in str(value) and str(value) not in ("0.0.0.0/0", "::/0") for value in listed(values))
            if key.lower() in NARROWING + NARROWING_MORE and fixed and "Not" not in operator:
                return False
    return True


def statements_of(policy: Any) -> list[dict[str, Any]]:
    """A policy's statements; one may stand alone."""
    found = policy.get("Statement") if isinstance(policy, dict) else None
    return [found] if isinstance(found, dict) else list(found or [])


def listed(value: Any) -> list[Any]:
    """A value or a list of values, as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def malformed(message: str) -> AwsError:
    return AwsError("MalformedPolicy", message, status=400)
