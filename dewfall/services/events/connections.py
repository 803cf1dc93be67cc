"""Connections, which know how to prove who is asking, and API destinations, the HTTP endpoints that events are sent to with them.

A connection's secrets stay in its record: there is no Secrets Manager here, though DescribeConnection names a secret as AWS does.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx, new_id, new_uuid
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.common import page, with_token
from dewfall.services.registry import operation

AUTHORIZED = "AUTHORIZED"
# What each kind of authorization needs, and the members that say nothing secret.
PARAMETERS = {
    "BASIC": ("BasicAuthParameters", ("Username",)),
    "API_KEY": ("ApiKeyAuthParameters", ("ApiKeyName",)),
    "OAUTH_CLIENT_CREDENTIALS": ("OAuthParameters", ("AuthorizationEndpoint", "HttpMethod")),
}
SETTINGS = ("Description", "ConnectionArn", "InvocationEndpoint", "HttpMethod", "InvocationRateLimitPerSecond")
TIMES = ("CreationTime", "LastModifiedTime")
RATE = 300


def _key(ctx: Ctx, kind: str, name: str) -> Key:
    return Key(ctx.account, ctx.region, "events", kind, name)


def _find(tx: Tx, ctx: Ctx, kind: str, name: str, prefix: str = "") -> Record:
    record = tx.records.get(_key(ctx, kind, name))
    if record is None:
        what = f"Connection '{name}'" if kind == "connection" else f"An api-destination '{name}'"
        raise AwsError("ResourceNotFoundException", f"{prefix}{what} does not exist.", status=400)
    return record


def _create(tx: Tx, ctx: Ctx, kind: str, document: dict[str, Any]) -> None:
    try:
        tx.records.create(Record(_key(ctx, kind, document["Name"]), document))
    except AlreadyExists:
        what = "Connection" if kind == "connection" else "An api-destination"
        raise AwsError("ResourceAlreadyExistsException", f"{what} '{document['Name']}' already exists.", status=400) from None


def _members(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: document[name] for name in names if name in document}


# ---------------------------------------------------------------- connections


def connection_by_arn(tx: Tx, ctx: Ctx, arn: str) -> Record | None:
    """The connection that an API destination names, if it is still there."""
    record = tx.records.get(_key(ctx, "connection", arn.partition(":connection/")[2].partition("/")[0]))
    return record if record is not None and record.document["ConnectionArn"] == arn else None


def _check_parameters(kind: str, parameters: dict[str, Any]) -> None:
    name = PARAMETERS[kind][0]
    if not parameters.get(name):
        raise AwsError("ValidationException", f"Parameter {name} is required for authorization type {kind}.", status=400)


def _public(kind: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Authorization parameters without what is secret in them."""
    name, open_members = PARAMETERS[kind]
    shown: dict[str, Any] = {name: _members(parameters.get(name, {}), *open_members)}
    if kind == "OAUTH_CLIENT_CREDENTIALS":
        shown[name]["ClientParameters"] = _members(parameters[name].get("ClientParameters", {}), "ClientID")
        if "OAuthHttpParameters" in parameters[name]:
            shown[name]["OAuthHttpParameters"] = _open_values(parameters[name]["OAuthHttpParameters"])
    if "InvocationHttpParameters" in parameters:
        shown["InvocationHttpParameters"] = _open_values(parameters["InvocationHttpParameters"])
    return shown


def _open_values(parameters: dict[str, Any]) -> dict[str, Any]:
    return {kind: [{k: v for k, v in p.items() if k != "Value" or not p.get("IsValueSecret")} for p in found] for kind, found in parameters.items()}


@operation("events", "CreateConnection")
def create_connection(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, kind, now = req["Name"], req["AuthorizationType"], ctx.now()
    _check_parameters(kind, req["AuthParameters"])
    document = {
        "ConnectionArn": ctx.arn("events", f"connection/{name}/{new_uuid()}"),
        "Name": name,
        # An OAuth endpoint is asked when an event is on its way; until it has answered, nobody knows.
        "ConnectionState": "AUTHORIZING" if kind == "OAUTH_CLIENT_CREDENTIALS" else AUTHORIZED,
        "AuthorizationType": kind,
        "SecretArn": ctx.arn("secretsmanager", f"secret:events!connection/{name}/{new_uuid()}-{new_id(6)}"),
        "CreationTime": now,
        "LastModifiedTime": now,
        "LastAuthorizedTime": now,
        "_auth": req["AuthParameters"],
    }
    document |= _members(req, "Description", "KmsKeyIdentifier")
    with ctx.ports.store.transaction() as tx:
        _create(tx, ctx, "connection", document)
    return _members(document, "ConnectionArn", "ConnectionState", *TIMES)


@operation("events", "DescribeConnection")
def describe_connection(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        document = _find(tx, ctx, "connection", req["Name"], "Failed to describe the connection(s). ").document
    shown = {name: value for name, value in document.items() if name != "_auth"}
    return shown | ({"AuthParameters": _public(document["AuthorizationType"], document["_auth"])} if document["_auth"] else {})


@operation("events", "ListConnections")
def list_connections(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    members = ("ConnectionArn", "Name", "ConnectionState", "StateReason", "AuthorizationType", *TIMES, "LastAuthorizedTime")
    with ctx.ports.store.reading() as tx:
        found = [r.document for r in tx.records.list(ctx.account, ctx.region, "events", "connection", prefix=req.get("NamePrefix") or "")]
    wanted = [d for d in found if req.get("ConnectionState") in (None, d["ConnectionState"])]
    taken, token = page(wanted, req, key=lambda d: str(d["Name"]), limit_member="Limit")
    return with_token({"Connections": [_members(d, *members) for d in taken]}, token)


@operation("events", "UpdateConnection")
def update_connection(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, "connection", req["Name"])
        record.document |= _members(req, "Description", "KmsKeyIdentifier", "AuthorizationType")
        record.document["LastModifiedTime"] = ctx.now()
        if req.get("AuthParameters"):
            kind, auth = record.document["AuthorizationType"], record.document["_auth"]
            name = PARAMETERS[kind][0]
            auth = {m: v for m, v in auth.items() if m in (name, "InvocationHttpParameters")} | req["AuthParameters"]
            auth[name] = {**record.document["_auth"].get(name, {}), **req["AuthParameters"].get(name, {})}
            _check_parameters(kind, auth)
            state = "AUTHORIZING" if kind == "OAUTH_CLIENT_CREDENTIALS" else AUTHORIZED
            record.document |= {"_auth": auth, "ConnectionState": state, "LastAuthorizedTime": ctx.now()}
        tx.records.save(record)
    return _members(record.document, "ConnectionArn", "ConnectionState", *TIMES, "LastAuthorizedTime")


@operation("events", "DeauthorizeConnection")
def deauthorize_connection(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """The secrets are forgotten; UpdateConnection can bring others."""
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, "connection", req["Name"])
        record.document |= {"_auth": {}, "ConnectionState": "DEAUTHORIZED", "LastModifiedTime": ctx.now()}
        tx.records.save(record)
    return _members(record.document, "ConnectionArn", "ConnectionState", *TIMES, "LastAuthorizedTime")


@operation("events", "DeleteConnection")
def delete_connection(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, "connection", req["Name"])
        tx.records.delete(record.key)
    return _members(record.document, "ConnectionArn", *TIMES, "LastAuthorizedTime") | {"ConnectionState": "DELETING"}


def authorized(ctx: Ctx, name: str) -> None:
    """A connection's OAuth endpoint has given a token."""
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(_key(ctx, "connection", name))
        if record is not None and record.document["ConnectionState"] != AUTHORIZED:
            record.document |= {"ConnectionState": AUTHORIZED, "LastAuthorizedTime": ctx.now()}
            tx.records.save(record)


# ---------------------------------------------------------------- API destinations


def destination_by_arn(tx: Tx, ctx: Ctx, arn: str) -> Record | None:
    """The API destination that a target means, if it is there."""
    record = tx.records.get(_key(ctx, "api-destination", arn.partition(":api-destination/")[2].partition("/")[0]))
    return record if record is not None and record.document["ApiDestinationArn"] == arn else None


def _shown(tx: Tx, ctx: Ctx, document: dict[str, Any]) -> dict[str, Any]:
    """A destination with its state, which is its connection's."""
    connection = connection_by_arn(tx, ctx, document["ConnectionArn"])
    active = connection is not None and connection.document["ConnectionState"] == AUTHORIZED
    return document | {"ApiDestinationState": "ACTIVE" if active else "INACTIVE"}


def _check_connection(tx: Tx, ctx: Ctx, arn: str) -> None:
    if connection_by_arn(tx, ctx, arn) is None:
        raise AwsError("ResourceNotFoundException", f"Connection '{arn.split('/')[1]}' does not exist.", status=400)


@operation("events", "CreateApiDestination")
def create_api_destination(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    now = ctx.now()
    document = {
        "ApiDestinationArn": ctx.arn("events", f"api-destination/{req['Name']}/{new_uuid()}"),
        "Name": req["Name"],
        "InvocationRateLimitPerSecond": RATE,
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    document |= _members(req, *SETTINGS)
    with ctx.ports.store.transaction() as tx:
        _check_connection(tx, ctx, req["ConnectionArn"])
        _create(tx, ctx, "api-destination", document)
        return _members(_shown(tx, ctx, document), "ApiDestinationArn", "ApiDestinationState", *TIMES)


@operation("events", "DescribeApiDestination")
def describe_api_destination(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return _shown(tx, ctx, _find(tx, ctx, "api-destination", req["Name"], "Failed to describe the api-destination(s). ").document)


@operation("events", "ListApiDestinations")
def list_api_destinations(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "events", "api-destination", prefix=req.get("NamePrefix") or "")
        found = [_shown(tx, ctx, record.document) for record in records]
    wanted = [d for d in found if req.get("ConnectionArn") in (None, d["ConnectionArn"])]
    taken, token = page(wanted, req, key=lambda d: str(d["Name"]), limit_member="Limit")
    return with_token({"ApiDestinations": [{k: v for k, v in d.items() if k != "Description"} for d in taken]}, token)


@operation("events", "UpdateApiDestination")
def update_api_destination(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, "api-destination", req["Name"])
        if req.get("ConnectionArn"):
            _check_connection(tx, ctx, req["ConnectionArn"])
        record.document |= _members(req, *SETTINGS) | {"LastModifiedTime": ctx.now()}
        tx.records.save(record)
        return _members(_shown(tx, ctx, record.document), "ApiDestinationArn", "ApiDestinationState", *TIMES)


@operation("events", "DeleteApiDestination")
def delete_api_destination(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(_find(tx, ctx, "api-destination", req["Name"]).key)
