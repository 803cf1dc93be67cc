"""Names and passwords for one service each, as records: there is no Git server and no table here to log in to."""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta
from typing import Any

from dewfall.context import Ctx, new_id
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.iam.entities import find, find_of_user, listing
from dewfall.services.iam.users import user_name
from dewfall.services.registry import operation

KIND = "service-credential"
PASSWORDS = ("cassandra.amazonaws.com", "codecommit.amazonaws.com")
API_KEYS = ("bedrock.amazonaws.com",)
LIMIT = 2  # for a user at a service
SECRETS = ("ServicePassword", "ServiceCredentialSecret")


def _check_service(name: str) -> None:
    if name not in PASSWORDS + API_KEYS:
        raise AwsError("NoSuchEntity", f"No such service {name} is supported for Service Specific Credentials", status=404)


def _secret(ctx: Ctx, user: str, service: str) -> dict[str, str]:
    """A new password of a user at a service; Bedrock's is an API key."""
    if service in API_KEYS:
        return {"ServiceCredentialSecret": "ABSK" + base64.b64encode(f"{user}-at-{ctx.account}:{secrets.token_urlsafe(33)}".encode()).decode()}
    return {"ServicePassword": base64.b64encode(secrets.token_bytes(44)).decode()}


def _of_user(tx: Tx, ctx: Ctx, req: dict[str, Any]) -> Record:
    identifier = req["ServiceSpecificCredentialId"]
    return find_of_user(tx, ctx, KIND, identifier, user_name(ctx, req), f"No such credential {identifier} exists")


@operation("iam", "CreateServiceSpecificCredential", records=True)
def create_service_specific_credential(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    user, service, identifier = req["UserName"], req["ServiceName"], "ACCA" + new_id(17)
    made = ctx.now().replace(microsecond=0)
    with ctx.ports.store.transaction() as tx:
        find(tx, ctx, "user", user)
        _check_service(service)
        others = [r for r in tx.records.list(ctx.account, "", "iam", KIND, parent=user) if r.document["ServiceName"] == service]
        if len(others) >= LIMIT:
            raise AwsError("LimitExceeded", f"Cannot exceed quota for ServiceSpecificCredentialsPerUser: {LIMIT}", status=409)
        alias = f"{user}{f'+{len(others)}' if others else ''}-at-{ctx.account}"
        document = {"CreateDate": made, "ServiceName": service, "ServiceSpecificCredentialId": identifier, "UserName": user, "Status": "Active"}
        document |= {"ServiceCredentialAlias" if service in API_KEYS else "ServiceUserName": alias} | _secret(ctx, user, service)
        if req.get("CredentialAgeDays"):
            document["ExpirationDate"] = made + timedelta(days=req["CredentialAgeDays"])
        tx.records.create(Record(Key(ctx.account, "", "iam", KIND, identifier), document, parent=user))
    return {"ServiceSpecificCredential": document}


@operation("iam", "ListServiceSpecificCredentials", records=True)
def list_service_specific_credentials(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        user = None if req.get("AllUsers") else user_name(ctx, req)
        if user is not None:
            find(tx, ctx, "user", user)
        if req.get("ServiceName"):
            _check_service(req["ServiceName"])
        documents = [record.document for record in tx.records.list(ctx.account, "", "iam", KIND, parent=user)]
    shown = [{k: v for k, v in d.items() if k not in SECRETS} for d in documents if req.get("ServiceName") in (None, d["ServiceName"])]
    answer = listing(shown, req, "ServiceSpecificCredentials", "ServiceSpecificCredentialId")
    return answer if answer["IsTruncated"] else {"ServiceSpecificCredentials": answer["ServiceSpecificCredentials"]}


@operation("iam", "UpdateServiceSpecificCredential", records=True)
def update_service_specific_credential(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _of_user(tx, ctx, req)
        record.document["Status"] = req["Status"]
        tx.records.save(record)


@operation("iam", "ResetServiceSpecificCredential", records=True)
def reset_service_specific_credential(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = _of_user(tx, ctx, req)
        record.document |= _secret(ctx, record.parent, record.document["ServiceName"])
        tx.records.save(record)
    return {"ServiceSpecificCredential": record.document}


@operation("iam", "DeleteServiceSpecificCredential", records=True)
def delete_service_specific_credential(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(_of_user(tx, ctx, req).key)
