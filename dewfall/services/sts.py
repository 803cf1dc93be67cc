"""STS: who am I, and temporary credentials.

The sessions handed out here are real: a later request signed with them has the role's identity. Where signatures are enforced, a role must
exist and trust its caller; else an unknown role is taken at its word.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

from dewfall.accounts import account_of_key
from dewfall.context import Caller, Ctx
from dewfall.engine.ports import Key
from dewfall.errors import AwsError, not_implemented
from dewfall.rules.policy import Access, trusts
from dewfall.rules.policy_text import Malformed, check_identity_policy
from dewfall.services.iam.entities import default_role
from dewfall.services.identity import open_session, role_session
from dewfall.services.registry import operation
from dewfall.settings import DEFAULT_ROLE

HOUR = 3600
POLICY_BYTES = 2048
SESSION_NAME = "https://aws.amazon.com/SAML/Attributes/RoleSessionName"
SESSION_SECONDS = "https://aws.amazon.com/SAML/Attributes/SessionDuration"
SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"


@operation("sts", "GetCallerIdentity")
def get_caller_identity(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"UserId": ctx.caller.user_id, "Account": ctx.caller.account, "Arn": ctx.caller.arn}


@operation("sts", "AssumeRole")
def assume_role(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    role = _role(ctx, req["RoleArn"])
    context = {"sts:rolesessionname": [req["RoleSessionName"]], "aws:principalarn": [ctx.caller.arn]}
    context |= {"sts:externalid": [req["ExternalId"]]} if req.get("ExternalId") else {}
    context |= {"sts:sourceidentity": [req["SourceIdentity"]]} if req.get("SourceIdentity") else {}
    if ctx.ports.settings.auth == "enforce":
        access = Access("sts:AssumeRole", req["RoleArn"], ctx.caller.arn, ctx.caller.account, context)
        if role is None or not trusts(role["AssumeRolePolicyDocument"], access):
            message = f"User: {ctx.caller.arn} is not authorized to perform: sts:AssumeRole on resource: {req['RoleArn']}"
            raise AwsError("AccessDenied", message, status=403)
    return _session(ctx, req, role, req.get("DurationSeconds", HOUR)) | _source(req)


def _source(req: dict[str, Any]) -> dict[str, Any]:
    return {"SourceIdentity": req["SourceIdentity"]} if req.get("SourceIdentity") else {}


def _role(ctx: Ctx, arn: str) -> dict[str, Any] | None:
    """The role's document, None for one that does not exist."""
    parts = arn.split(":")
    if len(parts) < 6 or parts[0] != "arn" or parts[2] != "iam" or not parts[5].startswith("role/"):
        raise AwsError("ValidationError", f"{arn} is invalid", status=400)
    name = arn.rsplit("/", 1)[-1]
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(Key(parts[4], "", "iam", "role", name))
    if record is None and name == DEFAULT_ROLE and parts[4] == ctx.account:
        record = default_role(ctx)
    return record.document if record and record.document["Arn"] == arn else None


def _session(ctx: Ctx, req: dict[str, Any], role: dict[str, Any] | None, seconds: int) -> dict[str, Any]:
    if role is not None and seconds > role["MaxSessionDuration"]:
        message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        raise AwsError("ValidationError", message, status=400)
    policies, tags = _policies(req), _passed_tags(ctx, req)
    session = role_session(req["RoleArn"], req["RoleSessionName"], role["RoleId"] if role else "")
    caller = Caller(session.account, session.arn, session.user_id, role_arn=req["RoleArn"], session_policies=policies, passed_tags=tags)
    credentials = open_session(ctx, caller, ctx.now() + timedelta(seconds=seconds))
    answer = {"Credentials": credentials, "AssumedRoleUser": {"AssumedRoleId": caller.user_id, "Arn": caller.arn}}
    return answer | _packed(policies)


def _passed_tags(ctx: Ctx, req: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The transitive tags of a session to be opened: its caller's and its own; refused where they are no tags of it, or its caller's already."""
    given = {tag["Key"].lower(): (tag["Key"], tag["Value"]) for tag in req.get("Tags") or []}
    passed = {key.lower() for key in req.get("TransitiveTagKeys") or []}
    if len(given) < len(req.get("Tags") or []):
        raise _no_value("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if not passed <= set(given):
        raise _no_value("The specified transitive tag key must be included in the requested tags.")
    if set(given) & {key.lower() for key, _ in ctx.caller.passed_tags}:
        message = "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session."
        raise _no_value(message)
    return ctx.caller.passed_tags + tuple(tag for key, tag in given.items() if key in passed)


def _no_value(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message, status=400)


def _policies(req: dict[str, Any]) -> tuple[str, ...]:
    if not req.get("Policy"):
        return ()
    try:
        check_identity_policy(req["Policy"])
    except Malformed as problem:
        raise AwsError("MalformedPolicyDocument", str(problem), status=400) from None
    return (req["Policy"],)


def _packed(policies: tuple[str, ...]) -> dict[str, Any]:
    return {"PackedPolicySize": max(1, len(policies[0]) * 100 // POLICY_BYTES)} if policies else {}


@operation("sts", "GetSessionToken")
def get_session_token(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"Credentials": open_session(ctx, ctx.caller, ctx.now() + timedelta(seconds=req.get("DurationSeconds", 12 * HOUR)))}


@operation("sts", "GetFederationToken")
def get_federation_token(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req["Name"]
    arn = f"arn:{ctx.partition}:sts::{ctx.account}:federated-user/{name}"
    policies = _policies(req)
    caller = Caller(ctx.account, arn, f"{ctx.account}:{name}", kind="user", session_policies=policies)
    credentials = open_session(ctx, caller, ctx.now() + timedelta(seconds=req.get("DurationSeconds", 12 * HOUR)))
    return {"Credentials": credentials, "FederatedUser": {"FederatedUserId": caller.user_id, "Arn": arn}, "PackedPolicySize": 0} | _packed(policies)


@operation("sts", "GetAccessKeyInfo")
def get_access_key_info(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"Account": account_of_key(req["AccessKeyId"], ctx.ports.settings.account)}


# ---------------------------------------------------------------- identities of others


def _unverified(ctx: Ctx, operation_name: str) -> None:
    """Nobody's signing keys are known here, so a token cannot be believed where identities are enforced."""
    if ctx.ports.settings.auth == "enforce":
        raise not_implemented("sts", f"{operation_name} with DEWFALL_AUTH=enforce")


@operation("sts", "AssumeRoleWithWebIdentity")
def assume_role_with_web_identity(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """The token's claims are told, its signature is not verified."""
    _unverified(ctx, "AssumeRoleWithWebIdentity")
    answer = _session(ctx, req, _role(ctx, req["RoleArn"]), req.get("DurationSeconds", HOUR))
    claims = _claims(req["WebIdentityToken"])
    told = {"SubjectFromWebIdentityToken": "sub", "Audience": "aud", "Provider": "iss"}
    return answer | {member: str(claims[name]) for member, name in told.items() if name in claims}


def _claims(token: str) -> dict[str, Any]:
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))) if len(parts) == 3 else {}
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


@operation("sts", "AssumeRoleWithSAML")
def assume_role_with_saml(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """The assertion's subject and attributes are taken, its signature is not verified."""
    _unverified(ctx, "AssumeRoleWithSAML")
    try:
        document = base64.b64decode(req["SAMLAssertion"])
        if b"<!DOCTYPE" in document or b"<!ENTITY" in document:
            raise ValueError
        assertion = ElementTree.fromstring(document)
    except (binascii.Error, ValueError, ElementTree.ParseError):
        raise AwsError("InvalidIdentityToken", "Invalid base64 SAMLResponse", status=400) from None
    attributes = {a.get("Name", ""): [v.text or "" for v in a] for a in assertion.iter(f"{SAML}Attribute")}
    if not attributes.get(SESSION_NAME):
        raise AwsError("InvalidIdentityToken", "RoleSessionName is required in AuthnResponse", status=400)
    seconds = int((attributes.get(SESSION_SECONDS) or ["0"])[0] or 0) or req.get("DurationSeconds", HOUR)
    answer = _session(ctx, req | {"RoleSessionName": attributes[SESSION_NAME][0]}, _role(ctx, req["RoleArn"]), seconds)
    subject, issuer = assertion.find(f".//{SAML}NameID"), assertion.find(f".//{SAML}Issuer")
    told: dict[str, Any] = {"Audience": "https://signin.aws.amazon.com/saml"}
    if subject is not None:
        told |= {"Subject": subject.text or "", "SubjectType": (subject.get("Format") or "").rsplit(":", 1)[-1] or "unspecified"}
    return answer | told | ({"Issuer": issuer.text or ""} if issuer is not None else {})
