"""Signatures made by botocore are accepted; anything changed afterwards is not."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from dewfall.errors import AwsError
from dewfall.wire.chunked import AwsChunkedDecoder
from dewfall.wire.messages import Request
from dewfall.wire.signing import check_expiry, verify

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ENDPOINT = "http://127.0.0.1:4566"


class _Sent(Exception):
    """Carries the signed request out of botocore before it leaves."""


def client(service: str, signature: str | None = None) -> Any:
    session = boto3.Session(KEY, SECRET, region_name="us-east-1")
    return session.client(service, endpoint_url=ENDPOINT, config=Config(signature_version=signature, retries={"max_attempts": 0}))


def plain(method: str, url: str, headers: Any = None, body: Any = b"") -> Request:
    where = urlsplit(url)
    found = {name.lower(): value.decode() if isinstance(value, bytes) else str(value) for name, value in (headers or {}).items()}
    found["host"] = where.netloc
    content = body.read() if hasattr(body, "read") else body or b""
    return Request(method, where.path, where.query, found, content if isinstance(content, bytes) else content.encode())


def signed(service: str, operation: str, params: dict[str, Any]) -> Request:
    """The request that a real client would send."""
    caller = client(service)
    found: list[Request] = []

    def take(request: Any, **_: Any) -> None:
        found.append(plain(request.method, request.url, request.headers, request.body))
        raise _Sent

    caller.meta.events.register("before-send.*", take)
    with pytest.raises(_Sent):
        getattr(caller, operation)(**params)
    return found[0]


def now() -> datetime:
    return datetime.now(UTC)


CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("s3", "put_object", {"Bucket": "b", "Key": "a//b/../ü +&=~é", "Body": b"hello", "Metadata": {"x": "a   b"}}),
    ("s3", "list_objects_v2", {"Bucket": "b", "Prefix": "a b/ü&=", "Delimiter": "/"}),
    ("s3", "get_object", {"Bucket": "b", "Key": "k%2Fl", "VersionId": "a+b"}),
    ("sagemaker", "describe_training_job", {"TrainingJobName": "x"}),
    ("sts", "get_caller_identity", {}),
    ("iam", "create_role", {"RoleName": "x", "AssumeRolePolicyDocument": "{}"}),
    ("lambda", "get_function", {"FunctionName": "arn:aws:lambda:us-east-1:000000000000:function:x"}),
    ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "e", "Body": b"1,2", "ContentType": "text/csv"}),
]


@pytest.mark.parametrize(("service", "operation", "params"), CALLS)
def test_what_botocore_signs_is_accepted(service: str, operation: str, params: dict[str, Any]) -> None:
    verify(signed(service, operation, params), SECRET, now())


@pytest.mark.parametrize(
    ("service", "operation", "params", "code"),
    [(*CALLS[0], "SignatureDoesNotMatch"), (*CALLS[3], "InvalidSignatureException"), (*CALLS[4], "SignatureDoesNotMatch")],
)
def test_another_secret_is_refused(service: str, operation: str, params: dict[str, Any], code: str) -> None:
    with pytest.raises(AwsError) as refused:
        verify(signed(service, operation, params), "another", now())
    assert refused.value.code == code


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(AwsError, match="XAmzContentSHA256Mismatch"):
        verify(replace(signed(*CALLS[0]), body=b"hellx"), SECRET, now())


@pytest.mark.parametrize(("call", "code"), [(CALLS[0], "RequestTimeTooSkewed"), (CALLS[3], "InvalidSignatureException")])
def test_a_clock_that_is_far_off_is_refused(call: Any, code: str) -> None:
    with pytest.raises(AwsError) as refused:
        verify(signed(*call), SECRET, now() + timedelta(minutes=16))
    assert refused.value.code == code


@pytest.mark.parametrize("signature", [None, "s3v4"])
@pytest.mark.parametrize(("operation", "method"), [("get_object", "GET"), ("put_object", "PUT")])
def test_a_presigned_url_holds_until_it_expires(signature: str | None, operation: str, method: str) -> None:
    url = client("s3", signature).generate_presigned_url(operation, Params={"Bucket": "b", "Key": "k/ü x"}, ExpiresIn=60)
    request = plain(method, url)
    verify(request, SECRET, now())
    with pytest.raises(AwsError, match="Request has expired"):
        check_expiry(request, now() + timedelta(seconds=62))
    with pytest.raises(AwsError, match="SignatureDoesNotMatch"):
        verify(replace(request, raw_path="/b/other"), SECRET, now())


def chunked_request(tampered: bool) -> Request:
    """A body of two signed chunks and a signed trailer, put together as the documentation of SigV4 says."""
    moment, scope = now().strftime("%Y%m%dT%H%M%SZ"), now().strftime("%Y%m%d") + "/us-east-1/s3/aws4_request"
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()

    def sign(*lines: str) -> str:
        return hmac.new(key, "\n".join(lines).encode(), "sha256").hexdigest()

    payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    canonical = f"PUT\n/b/k\n\nhost:h\nx-amz-content-sha256:{payload}\nx-amz-date:{moment}\n\nhost;x-amz-content-sha256;x-amz-date\n{payload}"
    previous = seed = sign("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest())
    body, empty = b"", hashlib.sha256(b"").hexdigest()
    for data in (b"a" * 8192, b"hello", b""):
        previous = sign("AWS4-HMAC-SHA256-PAYLOAD", moment, scope, previous, empty, hashlib.sha256(data).hexdigest())
        body += f"{len(data):x};chunk-signature={previous}\r\n".encode() + data + (b"\r\n" if data else b"")
    trailer = sign("AWS4-HMAC-SHA256-TRAILER", moment, scope, previous, hashlib.sha256(b"x-amz-checksum-crc32:AAAAAA==\n").hexdigest())
    body += f"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:{trailer}\r\n\r\n".encode()
    decoder = AwsChunkedDecoder()
    plain_body = decoder.feed(body.replace(b"hello", b"hellx") if tampered else body)
    authorization = f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={seed}"
    headers = {"host": "h", "x-amz-date": moment, "x-amz-content-sha256": payload, "authorization": authorization}
    return Request("PUT", "/b/k", "", headers, plain_body, trailers=decoder.trailers, chunks=decoder.signatures)


def test_signed_chunks_are_accepted_with_their_trailer() -> None:
    verify(chunked_request(tampered=False), SECRET, now())


def test_a_changed_chunk_is_refused() -> None:
    with pytest.raises(AwsError, match="SignatureDoesNotMatch"):
        verify(chunked_request(tampered=True), SECRET, now())
