"""Who is calling, and what a job may call with: access keys, sessions, and the authorization step of dispatch.

Why apart from sts.py and iam.py: dispatch asks it for every request, also for those of other services.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from dewfall.accounts import account_of_key, new_access_key, owner_file, root_credentials
from dewfall.context import Caller, Ctx, new_id
from dewfall.engine.ports import Conflict, Key, Record
from dewfall.settings import DEFAULT_ROLE

if TYPE_CHECKING:
    from dewfall.engine.ports import Ports
    from dewfall.settings import Settings
    from dewfall.wire.route import Match

JOB_HOURS = 24 * 7
NOTED_EVERY = timedelta(minutes=1)
TOKEN_START = "FQoGZXIvYXdzE"  # as AWS's session tokens begin


def default_caller(account: str) -> Caller:
    """Who calls with a key that nobody handed out: a session of the execution role, which the SageMaker SDKs ask for."""
    arn = f"arn:aws:sts::{account}:assumed-role/{DEFAULT_ROLE}/local"
    return Caller(account, arn, "AROADEWFALLEXECUTION0:local", role_arn=f"arn:aws:iam::{account}:role/{DEFAULT_ROLE}")


def find_identity(access_key: str, match: Match, ports: Ports, settings: Settings) -> Caller:
    """The caller behind an access key id; a key that Dewfall does not know acts as the default caller of its account."""
    account = account_of_key(access_key, settings.account)
    if access_key.startswith(("ASIADW", "AKIADW")):
        session = find_session(ports, access_key) or find_user_key(ports, account, match)
        if session is not None:
            return session
    return default_caller(account)


def find_session(ports: Ports, access_key: str) -> Caller | None:
    """The caller of temporary credentials."""
    with ports.store.reading() as tx:
        record = tx.records.get(session_key(access_key))
    if record is None:
        return None
    kept = record.document
    return Caller(
        kept["Account"],
        kept["Arn"],
        kept["UserId"],
        kept["Kind"],
        access_key,
        kept.get("RoleArn", ""),
        tuple(kept.get("SessionPolicies", ())),
        tuple((key, value) for key, value in kept.get("PassedTags", ())),
    )


def find_secret(access_key: str, match: Match, ports: Ports, settings: Settings) -> str | None:
    """The secret behind an access key id, None for a key that is unknown or inactive; what signatures are checked with."""
    account = account_of_key(access_key, settings.account)
    if account == settings.account or owner_file(settings.data, account, settings.account).exists():
        root = root_credentials(settings.data, account, settings.account)
        if access_key == root["AccessKeyId"]:
            return root["SecretAccessKey"]
    with ports.store.reading() as tx:
        session = tx.records.get(session_key(access_key))
        key = tx.records.get(Key(account, "", "iam", "access-key", access_key))
    found = session or (key if key and key.document["Status"] == "Active" else None)
    return str(found.document["SecretAccessKey"]) if found else None


def find_token(access_key: str, ports: Ports) -> tuple[str, datetime | None]:
    """The session token that must come with an access key and when both end; ("", None) of a long-lived key."""
    with ports.store.reading() as tx:
        session = tx.records.get(session_key(access_key))
    return (str(session.document["SessionToken"]), session.document["Expiration"]) if session else ("", None)


def find_user_key(ports: Ports, account: str, match: Match) -> Caller | None:
    """The IAM user of a long-lived access key."""
    with ports.store.reading() as tx:
        key = tx.records.get(Key(account, "", "iam", "access-key", match.access_key))
        user = tx.records.get(Key(account, "", "iam", "user", key.document["UserName"])) if key else None
    if key is None or user is None:
        return None
    if match.service:
        _note_use(ports, key, match)
    return Caller(account, user.document["Arn"], user.document["UserId"], "user", match.access_key)


def _note_use(ports: Ports, key: Record, match: Match) -> None:
    """When a key was used last, where and for what; written at most once a minute while the place stays the same."""
    now, place = ports.store.clock.now().replace(microsecond=0), {"ServiceName": match.service, "Region": match.region}
    before = key.document.get("_used")
    if before is not None and now - before["LastUsedDate"] < NOTED_EVERY and before | place == before:
        return
    key.document["_used"] = place | {"LastUsedDate": now}
    with suppress(Conflict), ports.store.transaction() as tx:
        tx.records.save(key)


def session_key(access_key: str) -> Key:
    """Where a session is kept: access key ids are unique over all accounts."""
    return Key("", "", "sts", "session", access_key)


def open_session(ctx: Ctx, caller: Caller, expires: datetime) -> dict[str, Any]:
    """Hand out temporary credentials that act as `caller`; AWS's Credentials structure."""
    access_key, secret = new_access_key(caller.account, temporary=True), secrets.token_urlsafe(30)
    token = TOKEN_START + secrets.token_urlsafe(257)
    document = {
        "Account": caller.account,
        "Arn": caller.arn,
        "UserId": caller.user_id,
        "Kind": caller.kind,
        "RoleArn": caller.role_arn,
        "SessionPolicies": list(caller.session_policies),
        "PassedTags": [list(tag) for tag in caller.passed_tags],
        "SecretAccessKey": secret,
        "SessionToken": token,
        "Expiration": expires,
    }
    with ctx.ports.store.transaction() as tx:
        tx.records.create(Record(session_key(access_key), document))
    return {"AccessKeyId": access_key, "SecretAccessKey": secret, "SessionToken": token, "Expiration": expires}


def role_session(role_arn: str, session_name: str, role_id: str = "") -> Caller:
    """The identity that a role's session has."""
    partition, account, name = role_arn.split(":")[1], role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    arn = f"arn:{partition}:sts::{account}:assumed-role/{name}/{session_name}"
    return Caller(account, arn, f"{role_id or 'AROA' + new_id(17)}:{session_name}", role_arn=role_arn)


def job_environment(ctx: Ctx, role_arn: str, session_name: str) -> dict[str, str]:
    """The AWS_* variables of a job or replica: this server, its region, and temporary credentials of its role."""
    credentials = open_session(ctx, role_session(role_arn, session_name), ctx.now() + timedelta(hours=JOB_HOURS))
    return {
        "AWS_ENDPOINT_URL": ctx.ports.settings.endpoint,
        "AWS_REGION": ctx.region,
        "AWS_DEFAULT_REGION": ctx.region,
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def trust_policy(service: str) -> str:
    """A role's trust in one AWS service, as JSON text."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def authorize(ctx: Ctx, service: str, operation: str, params: dict[str, Any]) -> None:
    """The authorization step: who may do what, where signatures are enforced. S3 asks its buckets, SageMaker the trust of the roles it is to
    assume, ECR other accounts' repositories; elsewhere every known caller may everything. S3's requests name the bucket itself from here on."""
    if service == "s3":
        from dewfall.services.s3.aliases import name_bucket

        name_bucket(ctx, operation, params)
    if ctx.ports.settings.auth != "enforce":
        return
    if service == "s3":
        from dewfall.services.s3.permissions import authorize_s3

        authorize_s3(ctx, operation, params)
    elif service == "s3control":
        from dewfall.services.s3.permissions import authorize_control

        authorize_control(ctx, operation, params)
    elif service == "ecr":
        from dewfall.services.ecr.repositories import check_registry

        check_registry(ctx, operation, params)
    elif service == "sagemaker":
        from dewfall.services.sagemaker.roles import check_roles

        check_roles(ctx, operation, params)
