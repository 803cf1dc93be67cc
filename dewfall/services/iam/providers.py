"""Identity providers, OpenID Connect and SAML, as records: nobody's tokens are verified here (see sts.py)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from dewfall.context import Ctx, new_id
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.iam.entities import merge_tags, tags_page, without_tags
from dewfall.services.registry import operation

CLIENTS_LIMIT = 100
THUMBPRINTS_LIMIT = 5
KINDS = {
    "oidc-provider": ("OpenIDConnectProvider", "OpenIDConnectProviderArn", "OpenIDConnect Provider not found for arn {}"),
    "saml-provider": ("SAMLProvider", "SAMLProviderArn", "Manifest not found for arn {}"),
}


def _find(tx: Tx, ctx: Ctx, kind: str, arn: str) -> Record:
    record = tx.records.get(Key(ctx.account, "", "iam", kind, arn))
    if record is None:
        raise AwsError("NoSuchEntity", KINDS[kind][2].format(arn), status=404)
    return record


def _create(ctx: Ctx, kind: str, arn: str, document: dict[str, Any], req: dict[str, Any]) -> dict[str, Any]:
    tags = merge_tags([], req.get("Tags") or [])
    whole = document | {"CreateDate": ctx.now().replace(microsecond=0), "Tags": tags}
    with ctx.ports.store.transaction() as tx:
        try:
            tx.records.create(Record(Key(ctx.account, "", "iam", kind, arn), whole))
        except AlreadyExists:
            message = f"Provider with url {req['Url']} already exists." if "Url" in document else "SAMLProvider already exists"
            raise AwsError("EntityAlreadyExists", message, status=409) from None
    return {KINDS[kind][1]: arn} | ({"Tags": tags} if tags else {})


# ---------------------------------------------------------------- OpenID Connect


@operation("iam", "CreateOpenIDConnectProvider", records=True)
def create_open_id_connect_provider(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    parts = urlsplit(req["Url"])
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise AwsError("ValidationError", "Invalid Open ID Connect Provider URL", status=400)
    name = parts.netloc + parts.path
    document = {"Url": name, "ClientIDList": req.get("ClientIDList") or [], "ThumbprintList": req.get("ThumbprintList") or []}
    _check_lists(document)
    return _create(ctx, "oidc-provider", f"arn:{ctx.partition}:iam::{ctx.account}:oidc-provider/{name}", document, req)


def _check_lists(document: dict[str, Any]) -> None:
    if len(document["ThumbprintList"]) > THUMBPRINTS_LIMIT:
        raise AwsError("InvalidInput", "Thumbprint list must contain fewer than 5 entries.", status=400)
    if len(document["ClientIDList"]) > CLIENTS_LIMIT:
        raise AwsError("LimitExceeded", f"Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {CLIENTS_LIMIT}", status=409)


@operation("iam", "GetOpenIDConnectProvider", records=True)
def get_open_id_connect_provider(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return _find(tx, ctx, "oidc-provider", req["OpenIDConnectProviderArn"]).document


@operation("iam", "ListOpenIDConnectProviders", records=True)
def list_open_id_connect_providers(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"OpenIDConnectProviderList": [{"Arn": r.key.name} for r in tx.records.list(ctx.account, "", "iam", "oidc-provider")]}


@operation("iam", "DeleteOpenIDConnectProvider", records=True)
def delete_open_id_connect_provider(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(Key(ctx.account, "", "iam", "oidc-provider", req["OpenIDConnectProviderArn"]))


def _change(ctx: Ctx, req: dict[str, Any], member: str, values: Any) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, "oidc-provider", req["OpenIDConnectProviderArn"])
        record.document[member] = values(record.document[member])
        _check_lists(record.document)
        tx.records.save(record)


@operation("iam", "UpdateOpenIDConnectProviderThumbprint", records=True)
def update_open_id_connect_provider_thumbprint(ctx: Ctx, req: dict[str, Any]) -> None:
    _change(ctx, req, "ThumbprintList", lambda _: req["ThumbprintList"])


@operation("iam", "AddClientIDToOpenIDConnectProvider", records=True)
def add_client_id_to_open_id_connect_provider(ctx: Ctx, req: dict[str, Any]) -> None:
    _change(ctx, req, "ClientIDList", lambda known: [*known, *({req["ClientID"]} - set(known))])


@operation("iam", "RemoveClientIDFromOpenIDConnectProvider", records=True)
def remove_client_id_from_open_id_connect_provider(ctx: Ctx, req: dict[str, Any]) -> None:
    _change(ctx, req, "ClientIDList", lambda known: [name for name in known if name != req["ClientID"]])


# ---------------------------------------------------------------- SAML


@operation("iam", "CreateSAMLProvider", records=True)
def create_saml_provider(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    document = {"SAMLMetadataDocument": req["SAMLMetadataDocument"], "SAMLProviderUUID": f"SAMLSP{new_id(14)}"}
    document |= {"AssertionEncryptionMode": req.get("AssertionEncryptionMode") or "Allowed", "PrivateKeyList": []}
    document["ValidUntil"] = ctx.now().replace(microsecond=0) + timedelta(days=36500)
    return _create(ctx, "saml-provider", f"arn:{ctx.partition}:iam::{ctx.account}:saml-provider/{req['Name']}", document, req)


@operation("iam", "GetSAMLProvider", records=True)
def get_saml_provider(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return _find(tx, ctx, "saml-provider", req["SAMLProviderArn"]).document


@operation("iam", "ListSAMLProviders", records=True)
def list_saml_providers(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        found = tx.records.list(ctx.account, "", "iam", "saml-provider")
    members = ("ValidUntil", "CreateDate")
    return {"SAMLProviderList": [{"Arn": r.key.name} | {m: r.document[m] for m in members} for r in found]}


@operation("iam", "UpdateSAMLProvider", records=True)
def update_saml_provider(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, "saml-provider", req["SAMLProviderArn"])
        record.document |= {member: req[member] for member in ("SAMLMetadataDocument", "AssertionEncryptionMode") if req.get(member)}
        tx.records.save(record)
    return {"SAMLProviderArn": req["SAMLProviderArn"]}


@operation("iam", "DeleteSAMLProvider", records=True)
def delete_saml_provider(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(_find(tx, ctx, "saml-provider", req["SAMLProviderArn"]).key)


# ---------------------------------------------------------------- tags of both


def _register_tags(kind: str) -> None:
    word, arn, _ = KINDS[kind]

    def tag_provider(ctx: Ctx, req: dict[str, Any]) -> None:
        with ctx.ports.store.transaction() as tx:
            record = _find(tx, ctx, kind, req[arn])
            record.document["Tags"] = merge_tags(record.document["Tags"], req["Tags"])
            tx.records.save(record)

    def untag_provider(ctx: Ctx, req: dict[str, Any]) -> None:
        with ctx.ports.store.transaction() as tx:
            record = _find(tx, ctx, kind, req[arn])
            record.document["Tags"] = without_tags(record.document["Tags"], req["TagKeys"])
            tx.records.save(record)

    def list_provider_tags(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
        with ctx.ports.store.reading() as tx:
            return tags_page(_find(tx, ctx, kind, req[arn]).document["Tags"], req)

    operation("iam", f"Tag{word}", records=True)(tag_provider)
    operation("iam", f"Untag{word}", records=True)(untag_provider)
    operation("iam", f"List{word}Tags", records=True)(list_provider_tags)


for _kind in KINDS:
    _register_tags(_kind)
