"""Checksums as S3 takes, verifies, combines and returns them.

FULL_OBJECT   of all bytes; those of parts combine by arithmetic (CRCs only)
COMPOSITE     checksum of the parts' checksums, with "-<number of parts>"
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from dewfall.bodies import StagedBody
from dewfall.engine.blobs import digest_bytes, digest_file
from dewfall.errors import AwsError
from dewfall.services.s3.access import invalid_request

# algorithm → (name in StagedBody.digests, bytes)
ALGORITHMS: dict[str, tuple[str, int]] = {
    "CRC32": ("crc32", 4),
    "CRC32C": ("crc32c", 4),
    "CRC64NVME": ("crc64nvme", 8),
    "SHA1": ("sha1", 20),
    "SHA256": ("sha256", 32),
    "SHA512": ("sha512", 64),
    "MD5": ("md5", 16),
    "XXHASH64": ("xxhash64", 8),
    "XXHASH3": ("xxhash3", 8),
    "XXHASH128": ("xxhash128", 16),
}
MEMBERS = {f"Checksum{name}": name for name in ALGORITHMS}
COMBINING = ("CRC32", "CRC32C", "CRC64NVME")


def staged(req: dict[str, Any]) -> StagedBody:
    """The request's body; bytes from a call inside the house and a missing body are staged, too."""
    body = req.get("Body")
    if isinstance(body, StagedBody):
        return body
    data = bytes(body) if body else b""
    return StagedBody(len(data), data=data, digests=digest_bytes(data))


def digest(body: StagedBody, algorithm: str) -> bytes:
    """A body's digest, computed now when it was not computed on the way."""
    name = ALGORITHMS[algorithm][0]
    if name not in body.digests:
        body.digests = body.digests | (digest_file(body.path, [name]) if body.path is not None else digest_bytes(body.data or b"", [name]))
    return body.digests[name]


def verify(body: StagedBody, req: dict[str, Any], default: str = "CRC64NVME") -> dict[str, str]:
    """Content-MD5 and x-amz-checksum-* held against the body; the checksum members to keep, those of `default` when no value came.

    An algorithm that is named without a value counts for nothing, as on AWS.
    """
    if req.get("ContentMD5") is not None:
        _verify_md5(body, req["ContentMD5"], part="PartNumber" in req)
    given = [name for name in MEMBERS if req.get(name) is not None]
    if len(given) > 1:
        raise invalid_request("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    if not given:
        if (req.get("ChecksumAlgorithm") or default).upper() not in ALGORITHMS:
            raise invalid_request("The value specified in the x-amz-sdk-checksum-algorithm header is invalid.")
        return {f"Checksum{default}": encode(digest(body, default))}
    algorithm = MEMBERS[given[0]]
    value = req[given[0]]
    if decoded(value, ALGORITHMS[algorithm][1]) is None:
        raise invalid_request(f"Value for x-amz-checksum-{algorithm.lower()} header is invalid.")
    if encode(digest(body, algorithm)) != value:
        raise AwsError("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.", status=400)
    return {given[0]: value}


def members_of(document: dict[str, Any]) -> dict[str, Any]:
    """The checksum members of a version or part, with their type."""
    found = {name: document[name] for name in MEMBERS if name in document}
    return found | ({"ChecksumType": document["ChecksumType"]} if found and "ChecksumType" in document else {})


def algorithm_of(document: dict[str, Any]) -> str:
    """The algorithm of a version's checksum, "" without one."""
    return next((MEMBERS[name] for name in document if name in MEMBERS), "")


def composite(algorithm: str, parts: Sequence[bytes]) -> str:
    """The checksum of checksums, with the number of parts."""
    return f"{encode(digest_bytes(b''.join(parts), [ALGORITHMS[algorithm][0]])[ALGORITHMS[algorithm][0]])}-{len(parts)}"


def combined(algorithm: str, parts: Sequence[tuple[bytes, int]]) -> str:
    """The CRC of all bytes, out of the parts' (digest, size)."""
    from awscrt import checksums

    combine = getattr(checksums, f"combine_{algorithm.lower()}")
    value = int.from_bytes(parts[0][0], "big")
    for following, size in parts[1:]:
        value = combine(value, int.from_bytes(following, "big"), size)
    return encode(value.to_bytes(ALGORITHMS[algorithm][1], "big"))


def encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def decoded(text: str, size: int) -> bytes | None:
    """base64 → bytes of this size, else None."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if len(value) == size else None


def _verify_md5(body: StagedBody, text: str, *, part: bool) -> None:
    """Content-MD5; AWS repeats it as it was sent with a part, and in hexadecimal digits with an object."""
    value = decoded(text, 16)
    if value is None:
        members: dict[str, Any] = {"Content-MD5": text}
        raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.", status=400, **members)
    found = digest(body, "MD5")
    if value != found:
        message = "The Content-MD5 you specified did not match what we received."
        raise AwsError("BadDigest", message, status=400, ExpectedDigest=text if part else value.hex(), CalculatedDigest=encode(found))
