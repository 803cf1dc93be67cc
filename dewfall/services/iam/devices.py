"""MFA devices, SSH keys and signing certificates of users, as records: nothing here asks for a second factor, or serves Git."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from typing import Any
from urllib.parse import quote

from dewfall.context import Ctx, new_id
from dewfall.engine.ports import AlreadyExists, Record, Tx
from dewfall.errors import AwsError
from dewfall.rules import qr_code
from dewfall.services.iam.entities import entity_key, find, find_of_user, listing, merge_tags, tags_page, without_tags
from dewfall.services.iam.users import user_name
from dewfall.services.registry import operation

CERTIFICATES_LIMIT = 2


def _list(ctx: Ctx, req: dict[str, Any], kind: str, member: str, key: str) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        name = user_name(ctx, req)
        find(tx, ctx, "user", name)
        return listing([r.document for r in tx.records.list(ctx.account, "", "iam", kind, parent=name)], req, member, key)


# ---------------------------------------------------------------- MFA


@operation("iam", "CreateVirtualMFADevice", records=True)
def create_virtual_mfa_device(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req["VirtualMFADeviceName"]
    arn = f"arn:{ctx.partition}:iam::{ctx.account}:mfa{req.get('Path') or '/'}{name}"
    document = {"SerialNumber": arn, "Tags": merge_tags([], req.get("Tags") or [])}
    with ctx.ports.store.transaction() as tx:
        try:
            tx.records.create(Record(entity_key(ctx, "virtual-mfa-device", arn), document))
        except AlreadyExists:
            raise AwsError("EntityAlreadyExists", "MFA device already exists.", status=409) from None
    seed = base64.b32encode(secrets.token_bytes(40))
    picture = qr_code.png(f"otpauth://totp/{quote(name, safe='@')}@{ctx.account}?secret={seed.decode()}")
    shown = {member: value for member, value in document.items() if value}
    return {"VirtualMFADevice": shown | {"Base32StringSeed": seed, "QRCodePNG": picture}}


@operation("iam", "DeleteVirtualMFADevice", records=True)
def delete_virtual_mfa_device(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _virtual(tx, ctx, req)
        if tx.records.get(entity_key(ctx, "mfa-device", req["SerialNumber"])):
            raise AwsError("DeleteConflict", "MFA VirtualDevice still in use", status=409)
        tx.records.delete(record.key)


@operation("iam", "ListVirtualMFADevices", records=True)
def list_virtual_mfa_devices(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    status = req.get("AssignmentStatus") or "Any"
    shown = []
    with ctx.ports.store.reading() as tx:
        for device in tx.records.list(ctx.account, "", "iam", "virtual-mfa-device"):
            enabled = tx.records.get(entity_key(ctx, "mfa-device", device.key.name))
            if status == "Any" or (status == "Assigned") == (enabled is not None):
                user = {"User": find(tx, ctx, "user", enabled.parent).document, "EnableDate": enabled.document["EnableDate"]} if enabled else {}
                shown.append({"SerialNumber": device.key.name} | user)
    return listing(shown, req, "VirtualMFADevices", "SerialNumber")


@operation("iam", "EnableMFADevice", records=True)
def enable_mfa_device(ctx: Ctx, req: dict[str, Any]) -> None:
    document = {"UserName": req["UserName"], "SerialNumber": req["SerialNumber"], "EnableDate": ctx.now().replace(microsecond=0)}
    with ctx.ports.store.transaction() as tx:
        find(tx, ctx, "user", req["UserName"])
        try:
            tx.records.create(Record(entity_key(ctx, "mfa-device", req["SerialNumber"]), document, parent=req["UserName"]))
        except AlreadyExists:
            raise AwsError("EntityAlreadyExists", "MFA Device is already in use.", status=409) from None


@operation("iam", "DeactivateMFADevice", records=True)
def deactivate_mfa_device(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(find_of_user(tx, ctx, "mfa-device", req["SerialNumber"], user_name(ctx, req), _no_device(req)).key)


@operation("iam", "GetMFADevice", records=True)
def get_mfa_device(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(entity_key(ctx, "mfa-device", req["SerialNumber"]))
        if record is None or req.get("UserName") not in (None, record.parent):
            raise AwsError("NoSuchEntity", _no_device(req), status=404)
        return record.document


def _no_device(req: dict[str, Any]) -> str:
    return f"MFA Device with serial number {req['SerialNumber']} does not exist."


@operation("iam", "ListMFADevices", records=True)
def list_mfa_devices(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _list(ctx, req, "mfa-device", "MFADevices", "SerialNumber")


def _virtual(tx: Tx, ctx: Ctx, req: dict[str, Any]) -> Record:
    record = tx.records.get(entity_key(ctx, "virtual-mfa-device", req["SerialNumber"]))
    if record is None:
        raise AwsError("NoSuchEntity", _no_device(req), status=404)
    return record


@operation("iam", "TagMFADevice", records=True)
def tag_mfa_device(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _virtual(tx, ctx, req)
        record.document["Tags"] = merge_tags(record.document["Tags"], req["Tags"])
        tx.records.save(record)


@operation("iam", "UntagMFADevice", records=True)
def untag_mfa_device(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _virtual(tx, ctx, req)
        record.document["Tags"] = without_tags(record.document["Tags"], req["TagKeys"])
        tx.records.save(record)


@operation("iam", "ListMFADeviceTags", records=True)
def list_mfa_device_tags(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return tags_page(_virtual(tx, ctx, req).document["Tags"], req)


# ---------------------------------------------------------------- SSH keys


@operation("iam", "UploadSSHPublicKey", records=True)
def upload_ssh_public_key(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    body = req["SSHPublicKeyBody"]
    digest = hashlib.md5(_key_bytes(body), usedforsecurity=False).hexdigest()
    document = {
        "UserName": req["UserName"],
        "SSHPublicKeyId": "APKA" + new_id(16),
        "Fingerprint": ":".join(digest[i : i + 2] for i in range(0, 32, 2)),
        "SSHPublicKeyBody": body,
        "Status": "Active",
        "UploadDate": ctx.now().replace(microsecond=0),
    }
    with ctx.ports.store.transaction() as tx:
        find(tx, ctx, "user", req["UserName"])
        tx.records.create(Record(entity_key(ctx, "ssh-key", document["SSHPublicKeyId"]), document, parent=req["UserName"]))
    return {"SSHPublicKey": document}


def _key_bytes(body: str) -> bytes:
    """What a fingerprint is taken of: the key itself, of an `ssh-rsa AAAA…` line or of a PEM block."""
    lines = [line for line in body.splitlines() if line and "-----" not in line]
    text = body.split()[1] if body.startswith("ssh-") and len(body.split()) > 1 else "".join(lines)
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return body.encode()


def _ssh_key(tx: Tx, ctx: Ctx, req: dict[str, Any]) -> Record:
    message = f"The Public Key with id {req['SSHPublicKeyId']} cannot be found."
    return find_of_user(tx, ctx, "ssh-key", req["SSHPublicKeyId"], user_name(ctx, req), message)


@operation("iam", "GetSSHPublicKey", records=True)
def get_ssh_public_key(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"SSHPublicKey": _ssh_key(tx, ctx, req).document}


@operation("iam", "ListSSHPublicKeys", records=True)
def list_ssh_public_keys(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _list(ctx, req, "ssh-key", "SSHPublicKeys", "SSHPublicKeyId")


@operation("iam", "UpdateSSHPublicKey", records=True)
def update_ssh_public_key(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _ssh_key(tx, ctx, req)
        record.document["Status"] = req["Status"]
        tx.records.save(record)


@operation("iam", "DeleteSSHPublicKey", records=True)
def delete_ssh_public_key(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(_ssh_key(tx, ctx, req).key)


# ---------------------------------------------------------------- signing certificates


@operation("iam", "UploadSigningCertificate", records=True)
def upload_signing_certificate(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, body = user_name(ctx, req), req["CertificateBody"]
    if not _is_certificate(body):
        raise AwsError("MalformedCertificate", f"Certificate {body} is malformed.", status=400)
    document = {"UserName": name, "CertificateId": new_id(24), "CertificateBody": body, "Status": "Active"}
    document["UploadDate"] = ctx.now().replace(microsecond=0)
    with ctx.ports.store.transaction() as tx:
        find(tx, ctx, "user", name)
        if len(tx.records.list(ctx.account, "", "iam", "signing-certificate", parent=name)) >= CERTIFICATES_LIMIT:
            raise AwsError("LimitExceeded", f"Cannot exceed quota for CertificatesPerUser: {CERTIFICATES_LIMIT}", status=409)
        tx.records.create(Record(entity_key(ctx, "signing-certificate", document["CertificateId"]), document, parent=name))
    return {"Certificate": document}


def _is_certificate(text: str) -> bool:
    lines = text.strip().splitlines()
    if len(lines) < 3 or lines[0] != "-----BEGIN CERTIFICATE-----" or lines[-1] != "-----END CERTIFICATE-----":
        return False
    try:
        return base64.b64decode("".join(lines[1:-1]), validate=True)[:1] == b"\x30"
    except (binascii.Error, ValueError):
        return False


def _certificate(tx: Tx, ctx: Ctx, req: dict[str, Any]) -> Record:
    message = f"The Certificate with id {req['CertificateId']} cannot be found."
    return find_of_user(tx, ctx, "signing-certificate", req["CertificateId"], user_name(ctx, req), message)


@operation("iam", "ListSigningCertificates", records=True)
def list_signing_certificates(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _list(ctx, req, "signing-certificate", "Certificates", "CertificateId")


@operation("iam", "UpdateSigningCertificate", records=True)
def update_signing_certificate(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = _certificate(tx, ctx, req)
        record.document["Status"] = req["Status"]
        tx.records.save(record)


@operation("iam", "DeleteSigningCertificate", records=True)
def delete_signing_certificate(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(_certificate(tx, ctx, req).key)
