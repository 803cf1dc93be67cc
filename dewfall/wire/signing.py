"""Signatures verified: SigV4 in the header, presigned and chunked, and S3's version 2; and presigned URLs that have expired.

    canonical request → string to sign → HMAC chain of the secret → compared in constant time

Why it takes the secret: where secrets are kept is nothing that the wire knows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from dewfall.bodies import StagedBody
from dewfall.errors import AwsError
from dewfall.wire.credentials import (
    STAMP,
    Credential,
    credential_of,
    expired_token,
    mismatch,
    missing,
    query_of,
    speaks_query,
    token_of,
    unknown_key,
    wrong_token,
)
from dewfall.wire.messages import Request
from dewfall.wire.route import Match, bucket_of_host

__all__ = ["check_expiry", "check_token", "missing", "unknown_key", "verify"]

MAX_EXPIRES = 604800
SKEW = timedelta(minutes=15)
EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = ("UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
STEP = 1024 * 1024
_SPACES = re.compile(r" +")
# Parameters that version 2 counts to the resource.
_V2_NAMES = (
    "accelerate acl cors defaultObjectAcl location logging partNumber policy requestPayment torrent versioning versionId versions website "
    "uploads uploadId response-content-type response-content-language response-expires response-cache-control response-content-disposition "
    "response-content-encoding delete lifecycle tagging restore storageClass notification replication analytics metrics inventory select "
    "select-type object-lock encryption retention legal-hold publicAccessBlock ownershipControls"
)
V2_RESOURCE = frozenset(_V2_NAMES.split())


def verify(request: Request, secret_key: str, now: datetime) -> None:
    """Raise AwsError unless the request was signed with this secret, now, and arrived as it was signed."""
    credential = credential_of(request)
    if credential is None:
        raise missing("", "query" if speaks_query(request) else "")
    _check_time(request, credential, now)
    if credential.version == 2:
        _verify_v2(request, credential, secret_key)
        return
    _check_headers(request, credential)
    payload = _payload_hash(request, credential)
    key = _signing_key(secret_key, credential.scope)
    tried = [(_string_to_sign(credential, text), text) for text in _canonical_requests(request, credential, payload)]
    if not any(hmac.compare_digest(_hmac(key, text), credential.signature) for text, _ in tried):
        raise mismatch(request, credential, *tried[0])
    if payload.startswith("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"):
        _verify_chunks(request, credential, key, trailer=payload.endswith("-TRAILER"))


def check_token(request: Request, token: str, end: datetime | None, match: Match, now: datetime) -> None:
    """Refuse temporary credentials without their token or after their end, and a token that comes with a long-lived key ("")."""
    given = token_of(request)
    if not hmac.compare_digest(token.encode(), given.encode()):
        raise wrong_token(match.service, match.protocol, match.access_key, given)
    if end is not None and now >= end:
        raise expired_token(match.service, match.protocol, given)


# ---------------------------------------------------------------- time


def check_expiry(request: Request, now: datetime) -> None:
    """Refuse a presigned URL whose time is over; also where signatures are not verified."""
    if "Expires=" not in request.query:
        return
    given = query_of(request)
    if "X-Amz-Signature" in given:
        seconds = given.get("X-Amz-Expires", "")
        try:
            start, length = datetime.strptime(given.get("X-Amz-Date", ""), STAMP).replace(tzinfo=UTC), int(seconds)
        except ValueError:
            raise _bad_query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"") from None
        if length > MAX_EXPIRES:
            raise _bad_query("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
        if length < 0:
            raise _bad_query("X-Amz-Expires must be non-negative")
        if now > start + timedelta(seconds=length):
            raise _expired(start + timedelta(seconds=length), now, {"X-Amz-Expires": seconds})
    elif "Signature" in given and "AWSAccessKeyId" in given:
        if not given["Expires"].isdigit():
            raise AwsError("AccessDenied", f"Invalid date (should be seconds since epoch): {given['Expires']}", status=403)
        end = datetime.fromtimestamp(min(int(given["Expires"]), 2**36), UTC)
        if now > end:
            raise _expired(end, now, {})


def _expired(end: datetime, now: datetime, members: dict[str, Any]) -> AwsError:
    times: dict[str, Any] = {"Expires": end.strftime("%Y-%m-%dT%H:%M:%SZ"), "ServerTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return AwsError("AccessDenied", "Request has expired", status=403, **members, **times)


def _bad_query(message: str) -> AwsError:
    return AwsError("AuthorizationQueryParametersError", message, status=400)


def _check_time(request: Request, credential: Credential, now: datetime) -> None:
    if credential.presigned:
        check_expiry(request, now)
        if credential.version == 4 and credential.moment - now > SKEW:
            raise AwsError("AccessDenied", "Request is not yet valid", status=403)
        return
    try:
        moment = credential.moment
    except (ValueError, TypeError, IndexError):
        raise AwsError("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header", status=403) from None
    if abs(moment - now) <= SKEW:
        return
    if credential.service == "s3":
        message = "The difference between the request time and the current time is too large."
        server = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        members: dict[str, Any] = {"RequestTime": credential.stamp, "ServerTime": server, "MaxAllowedSkewMilliseconds": "900000"}
        raise AwsError("RequestTimeTooSkewed", message, status=403, **members)
    stamp, here = moment.strftime(STAMP), now.strftime(STAMP)
    if moment < now:
        message = f"Signature expired: {stamp} is now earlier than {(now - SKEW).strftime(STAMP)} ({here} - 15 min.)"
    else:
        message = f"Signature not yet current: {stamp} is still later than {(now + SKEW).strftime(STAMP)} ({here} + 15 min.)"
    raise AwsError("SignatureDoesNotMatch" if speaks_query(request) else "InvalidSignatureException", message, status=403)


# ---------------------------------------------------------------- version 4


def _check_headers(request: Request, credential: Credential) -> None:
    """S3 takes no x-amz- header that the signature does not speak of."""
    if credential.service != "s3":
        return
    sent = (name for name in request.headers if name.startswith("x-amz-") and name != "x-amz-content-sha256")
    unsigned = sorted(name for name in sent if name not in credential.signed_headers)
    if unsigned:
        message = "There were headers present in the request which were not signed"
        raise AwsError("AccessDenied", message, status=403, HeadersNotSigned=", ".join(unsigned))


def _payload_hash(request: Request, credential: Credential) -> str:
    """The payload's line in the canonical request; a hash that was sent must be the body's."""
    sent = request.headers.get("x-amz-content-sha256", "")
    if credential.presigned and credential.service == "s3":
        return sent or "UNSIGNED-PAYLOAD"
    if sent in UNSIGNED or sent.startswith("STREAMING-"):
        return sent
    real = _sha256(request.body)
    if sent and sent != real:
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise AwsError("XAmzContentSHA256Mismatch", message, status=400, ClientComputedContentSHA256=sent, S3ComputedContentSHA256=real)
    return real


def _sha256(body: bytes | StagedBody) -> str:
    if isinstance(body, bytes):
        return hashlib.sha256(body).hexdigest()
    if "sha256" in body.digests:
        return body.digests["sha256"].hex()
    digest = hashlib.sha256()
    if body.path is None:
        digest.update(body.data or b"")
        return digest.hexdigest()
    with body.path.open("rb") as stream:
        while chunk := stream.read(STEP):
            digest.update(chunk)
    return digest.hexdigest()


def _canonical_requests(request: Request, credential: Credential, payload: str) -> Iterator[str]:
    """The canonical request; where clients differ in how they encode, each reading of it."""
    lines = "".join(f"{name}:{_SPACES.sub(' ', request.headers.get(name, '').strip())}\n" for name in credential.signed_headers)
    names = ";".join(credential.signed_headers)
    seen = set()
    for path in _paths(request.raw_path or "/", credential.service):
        for query in _queries(request.query):
            text = "\n".join((request.method, path, query, lines, names, payload))
            if text not in seen:
                seen.add(text)
                yield text


def _paths(raw: str, service: str) -> tuple[str, ...]:
    if service.startswith("s3"):
        return raw, quote(unquote(raw), safe="/~")
    return quote(_without_dots(raw), safe="/~"), quote(raw, safe="/~")


def _without_dots(path: str) -> str:
    """RFC 3986's dot segments taken out, and empty segments with them."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    return "/" + "/".join(kept) + ("/" if path.endswith("/") and kept else "")


def _queries(raw: str) -> tuple[str, ...]:
    pairs = [part.partition("=")[::2] for part in raw.split("&") if part]
    pairs = [(name, value) for name, value in pairs if name != "X-Amz-Signature"]
    forms = (lambda text: text, lambda text: quote(unquote(text), safe="-_.~"), lambda text: quote(unquote_plus(text), safe="-_.~"))
    return tuple("&".join(f"{n}={v}" for n, v in sorted((form(name), form(value)) for name, value in pairs)) for form in forms)


def _string_to_sign(credential: Credential, canonical: str) -> str:
    stamp = credential.moment.strftime(STAMP)
    return "\n".join(("AWS4-HMAC-SHA256", stamp, credential.scope, hashlib.sha256(canonical.encode()).hexdigest()))


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _hmac(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()


def _verify_chunks(request: Request, credential: Credential, key: bytes, *, trailer: bool) -> None:
    """Each chunk's signature has its predecessor's in it; the first has the request's own, as seed."""
    start = f"{credential.moment.strftime(STAMP)}\n{credential.scope}\n"
    previous = credential.signature
    if not request.chunks:
        raise mismatch(request, credential, start)
    for chunk in request.chunks:
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{start}{previous}\n{EMPTY}\n{chunk.digest}"
        previous = _hmac(key, text)
        if not hmac.compare_digest(previous, chunk.signature):
            raise mismatch(request, credential, text)
    if trailer:
        sent = {name: value for name, value in request.trailers.items() if name != "x-amz-trailer-signature"}
        lines = "".join(f"{name}:{value}\n" for name, value in sorted(sent.items()))
        text = f"AWS4-HMAC-SHA256-TRAILER\n{start}{previous}\n{hashlib.sha256(lines.encode()).hexdigest()}"
        if not hmac.compare_digest(_hmac(key, text), request.trailers.get("x-amz-trailer-signature", "")):
            raise mismatch(request, credential, text)


# ---------------------------------------------------------------- version 2


def _verify_v2(request: Request, credential: Credential, secret: str) -> None:
    ends = ("/", "") if request.raw_path.count("/") == 1 and len(request.raw_path) > 1 else ("",)  # of a bucket some sign it with the slash
    texts = [_string_to_sign_v2(request, credential, end) for end in ends]
    wanted = [base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode() for text in texts]
    if not any(hmac.compare_digest(text, credential.signature) for text in wanted):
        raise mismatch(request, credential, texts[-1])


def _string_to_sign_v2(request: Request, credential: Credential, end: str) -> str:
    given = query_of(request)
    headers = dict(request.headers)
    if credential.presigned:  # the signer moves headers into the query
        moved = {name.lower(): value for name, value in given.items() if name.lower().startswith(("x-amz-", "content-"))}
        headers = moved | headers
    moment = str(credential.expires) if credential.presigned else ("" if "x-amz-date" in headers else headers.get("date", ""))
    amz = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers) if name.startswith("x-amz-"))
    bucket = bucket_of_host(request.headers.get("host", "").partition(":")[0])
    resource = (f"/{bucket}" if bucket else "") + request.raw_path + end
    kept = sorted(part.partition("=") for part in request.query.split("&") if part.partition("=")[0] in V2_RESOURCE)
    if kept:
        resource += "?" + "&".join(name + equals + unquote_plus(value) for name, equals, value in kept)
    return "\n".join((request.method, headers.get("content-md5", ""), headers.get("content-type", ""), moment, amz + resource))
