"""The signature of messages that SNS delivers, by a key of this server whose certificate it serves.

Receivers are told to check it: certificate by SigningCertURL → public key → signature over the members in the order of their names.
"""

from __future__ import annotations

import base64
import datetime as dt
import functools
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from dewfall.settings import Settings

START, END = "/SimpleNotificationService-", ".pem"
YEARS = 10
# What is signed, in this order, as far as it is there.
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def sign(settings: Settings, message: dict[str, Any], version: str) -> None:
    """Fill in SignatureVersion, Signature and SigningCertURL of an envelope; version "1" means SHA-1, "2" SHA-256."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    key, certificate = _identity(settings.data / "authority")
    digest = hashes.SHA256() if version == "2" else hashes.SHA1()
    message["SignatureVersion"] = version
    message["Signature"] = base64.b64encode(key.sign(text_to_sign(message).encode(), padding.PKCS1v15(), digest)).decode()
    message["SigningCertURL"] = settings.endpoint + address_of(certificate)


def text_to_sign(message: dict[str, Any]) -> str:
    """Name and value of each signed member, a line each."""
    return "".join(f"{name}\n{message[name]}\n" for name in SIGNED[message["Type"]] if message.get(name) is not None)


def certificate_at(settings: Settings, path: str) -> bytes | None:
    """The certificate that lies at an address of this server, None where there is none."""
    file = settings.data / "authority" / "sns.pem"
    if not file.exists():
        return None
    certificate = file.read_bytes()
    return certificate if path == address_of(certificate) else None


def address_of(certificate: bytes) -> str:
    return f"{START}{hashlib.sha256(certificate).hexdigest()[:32]}{END}"


@functools.lru_cache(maxsize=4)
def _identity(folder: Path) -> tuple[RSAPrivateKey, bytes]:
    """The key and its certificate, made on first use and kept in the data folder."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    key_file, certificate_file = folder / "sns.key", folder / "sns.pem"
    if not (key_file.exists() and certificate_file.exists()):
        _make(key_file, certificate_file)
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    return key, certificate_file.read_bytes()


def _make(key_file: Path, certificate_file: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=365 * YEARS))
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_file.parent.mkdir(parents=True, exist_ok=True)
    for file, data, mode in ((key_file, private, 0o600), (certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)):
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
            stream.write(data)
        draft.replace(file)
