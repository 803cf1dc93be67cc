"""Dewfall's own certificate authority: made once per data folder, mints a certificate per host on first use.

Why: programs under `dewfall exec` speak TLS to AWS host names that end at this machine.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

YEARS = 5
DAY = dt.timedelta(days=1)
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")  # one certificate is for all of them


class Authority:
    """A CA in a folder: ca.pem and ca.key, and certificates in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate_file = folder / "ca.pem"
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self._key, self._certificate = self._open()

    @property
    def minted(self) -> int:
        """How many hosts have a certificate."""
        return len(self._contexts)

    def bundle(self, user_bundle: str = "") -> Path:
        """A file with the user's own CA bundle (else certifi's or the system's) and this CA."""
        own = self.certificate_file.read_text()
        base = Path(user_bundle) if user_bundle and Path(user_bundle).is_file() else default_bundle()
        text = (base.read_text() if base else "") + "\n" + own
        file = self.folder / "bundle.pem"
        _write(file, text.encode(), 0o644)
        return file

    def context(self, host: str) -> ssl.SSLContext:
        """A server-side TLS context for a host name."""
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = self._mint(host)
            return self._contexts[host]

    def _open(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key_file = self.folder / "ca.key"
        if key_file.exists() and self.certificate_file.exists():
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            return key, x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        self.folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Dewfall local authority")])
        certificate = (
            _builder(name, name, key.public_key(), YEARS * 365)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signing=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(key_file, _private(key), 0o600)
        _write(self.certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        return key, certificate

    def _mint(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        names = [_general_name(name) for name in (LOCAL_NAMES if host in LOCAL_NAMES else (host,))]
        certificate = (
            _builder(subject, self._certificate.subject, key.public_key(), 365)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        file = self.folder / f"host-{os.getpid()}.pem"
        _write(file, certificate.public_bytes(serialization.Encoding.PEM) + _private(key), 0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        file.unlink()
        return context


def default_bundle() -> Path | None:
    """certifi's bundle, else the system's."""
    try:
        import certifi

        return Path(certifi.where())
    except ImportError:
        system = ssl.get_default_verify_paths().cafile
        return Path(system) if system else None


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signing: bool) -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, signing, signing, False, False)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(file: Path, data: bytes, mode: int) -> None:
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
    draft.replace(file)
