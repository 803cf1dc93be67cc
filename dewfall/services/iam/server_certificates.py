"""Server certificates, as records: nothing here serves TLS with them.

Private keys are taken and not kept, for IAM never tells one again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cryptography import x509

from dewfall.context import Ctx, new_id
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.iam.entities import entity_key, listing, merge_tags, tags_page, without_tags
from dewfall.services.registry import operation

KIND = "server-certificate"
METADATA = ("Path", "ServerCertificateName", "ServerCertificateId", "Arn", "UploadDate", "Expiration")


def _key(ctx: Ctx, name: str) -> Key:
    return entity_key(ctx, KIND, name)


def _find(tx: Tx, ctx: Ctx, name: str) -> Record:
    record = tx.records.get(_key(ctx, name))
    if record is None:
        raise AwsError("NoSuchEntity", f"The Server Certificate with name {name} cannot be found.", status=404)
    return record


def _metadata(document: dict[str, Any]) -> dict[str, Any]:
    return {member: document[member] for member in METADATA if member in document}


def _arn(ctx: Ctx, path: str, name: str) -> str:
    return f"arn:{ctx.partition}:iam::{ctx.account}:server-certificate{path}{name}"


def _taken(name: str) -> AwsError:
    return AwsError("EntityAlreadyExists", f"The Server Certificate with name {name} already exists.", status=409)


@operation("iam", "UploadServerCertificate", records=True)
def upload_server_certificate(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """A body that is no certificate is kept as well, where IAM refuses it; it has no Expiration then."""
    name, path = req["ServerCertificateName"], req.get("Path") or "/"
    tags = merge_tags([], req.get("Tags") or [])
    document = {
        "Path": path,
        "ServerCertificateName": name,
        "ServerCertificateId": "ASCA" + new_id(17),
        "Arn": _arn(ctx, path, name),
        "UploadDate": ctx.now().replace(microsecond=0),
        "CertificateBody": req["CertificateBody"],
        "Tags": tags,
    }
    document |= {"CertificateChain": req["CertificateChain"]} if req.get("CertificateChain") else {}
    end = _end_of(req["CertificateBody"])
    document |= {"Expiration": end} if end else {}
    with ctx.ports.store.transaction() as tx:
        try:
            tx.records.create(Record(_key(ctx, name), document))
        except AlreadyExists:
            raise _taken(name) from None
    return {"ServerCertificateMetadata": _metadata(document)} | ({"Tags": tags} if tags else {})


def _end_of(body: str) -> datetime | None:
    try:
        return x509.load_pem_x509_certificate(body.encode()).not_valid_after_utc
    except ValueError:
        return None


@operation("iam", "GetServerCertificate", records=True)
def get_server_certificate(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        document = _find(tx, ctx, req["ServerCertificateName"]).document
    return {"ServerCertificate": document | {"ServerCertificateMetadata": _metadata(document)}}


@operation("iam", "ListServerCertificates", records=True)
def list_server_certificates(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        found = [_metadata(r.document) for r in tx.records.list(ctx.account, "", "iam", KIND)]
    return listing(found, req, "ServerCertificateMetadataList", "ServerCertificateName")


@operation("iam", "UpdateServerCertificate", records=True)
def update_server_certificate(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, req["ServerCertificateName"])
        name, path = req.get("NewServerCertificateName") or req["ServerCertificateName"], req.get("NewPath") or record.document["Path"]
        if name != req["ServerCertificateName"] and tx.records.get(_key(ctx, name)):
            raise _taken(name)
        tx.records.delete(record.key)
        document = record.document | {"ServerCertificateName": name, "Path": path, "Arn": _arn(ctx, path, name)}
        tx.records.create(Record(_key(ctx, name), document))


@operation("iam", "DeleteServerCertificate", records=True)
def delete_server_certificate(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(_find(tx, ctx, req["ServerCertificateName"]).key)


@operation("iam", "TagServerCertificate", records=True)
def tag_server_certificate(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, req["ServerCertificateName"])
        record.document["Tags"] = merge_tags(record.document["Tags"], req["Tags"])
        tx.records.save(record)


@operation("iam", "UntagServerCertificate", records=True)
def untag_server_certificate(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _find(tx, ctx, req["ServerCertificateName"])
        record.document["Tags"] = without_tags(record.document["Tags"], req["TagKeys"])
        tx.records.save(record)


@operation("iam", "ListServerCertificateTags", records=True)
def list_server_certificate_tags(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return tags_page(_find(tx, ctx, req["ServerCertificateName"]).document["Tags"], req)
