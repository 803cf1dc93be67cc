"""Uploads that break off or lie: refused as AWS refuses them, without a trace of them and without an answer that pretends."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server
from tests.crash.world import until

BUCKET = "cut"
SIZE = 3_000_000
AUTH = "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00\r\n"
CHUNKED = (
    "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\ncontent-encoding: aws-chunked\r\nx-amz-trailer: x-amz-checksum-crc32\r\n"
    "x-amz-decoded-content-length: {}\r\n"
)


@pytest.fixture
def s3(dewfall: Server) -> Iterator[Any]:
    client = dewfall.client("s3")
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="k", Body=b"old")
    yield client
    assert client.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"old"
    staging = dewfall.data / "blobs" / "staging"
    until(lambda: not list(staging.iterdir()))


def send(dewfall: Server, head: str, body: bytes, *, finish: bool = True) -> bytes:
    """A raw PUT of the object; what comes back."""
    host, _, port = dewfall.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 10) as sock:
        sock.sendall(f"PUT /{BUCKET}/k HTTP/1.1\r\nHost: {host}\r\n{AUTH}{head}\r\n".encode() + body)
        if not finish:
            return b""
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return answer


@pytest.mark.parametrize("sent", [0, 100, 70_000, SIZE - 1])
def test_a_connection_that_is_cut(dewfall: Server, s3: Any, sent: int) -> None:
    assert b"200 OK" not in send(dewfall, f"Content-Length: {SIZE}\r\n", b"x" * sent)


def test_a_client_that_vanishes(dewfall: Server, s3: Any) -> None:
    for sent in (0, 1, 70_000, SIZE - 1):
        send(dewfall, f"Content-Length: {SIZE}\r\n", b"x" * sent, finish=False)


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello",
        b"ffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloworld\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"\r\n\r\n\r\n",
        b"x" * 100_000,
        b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
        b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:!!!\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"a:b\r\n" * 20_000 + b"\r\n",
    ],
)
def test_chunks_that_lie(dewfall: Server, s3: Any, body: bytes) -> None:
    answer = send(dewfall, CHUNKED.format(5) + f"Content-Length: {len(body)}\r\n", body)
    assert answer.startswith(b"HTTP/1.1 400"), answer[:300]
    assert b"<Code>" in answer


def test_a_decoded_length_that_is_wrong(dewfall: Server, s3: Any) -> None:
    body = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    answer = send(dewfall, CHUNKED.format(6) + f"Content-Length: {len(body)}\r\n", body)
    assert b"<Code>IncompleteBody</Code>" in answer


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"ChecksumCRC32": "AAAAAA=="}, "BadDigest"),
        ({"ChecksumSHA256": "A" * 43 + "="}, "BadDigest"),
        ({"ContentMD5": "AAAAAAAAAAAAAAAAAAAAAA=="}, "BadDigest"),
        ({"ContentMD5": "nonsense"}, "InvalidDigest"),
        ({"ChecksumCRC32": "nonsense"}, "InvalidRequest"),
    ],
)
def test_checksums_that_are_wrong(s3: Any, members: dict[str, str], code: str) -> None:
    for size in (10, SIZE):
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket=BUCKET, Key="k", Body=b"x" * size, **members)
        assert caught.value.response["Error"]["Code"] == code


def test_a_signed_hash_that_is_wrong(dewfall: Server, s3: Any) -> None:
    answer = send(dewfall, f"x-amz-content-sha256: {'0' * 64}\r\nContent-Length: 5\r\n", b"hello")
    assert b"<Code>XAmzContentSHA256Mismatch</Code>" in answer


@pytest.mark.parametrize("head", ["Content-Length: -1\r\n", "Content-Length: x\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n", ""])
def test_lengths_that_are_none(dewfall: Server, s3: Any, head: str) -> None:
    answer = send(dewfall, head, b"hello")
    assert b" 200 " not in answer[:20]
    assert b" 500 " not in answer[:20]


def test_parts_that_break_off(dewfall: Server, s3: Any) -> None:
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big")["UploadId"]
    with pytest.raises(ClientError):
        s3.upload_part(Bucket=BUCKET, Key="big", UploadId=upload, PartNumber=1, Body=b"x" * SIZE, ChecksumCRC32="AAAAAA==")
    assert "Parts" not in s3.list_parts(Bucket=BUCKET, Key="big", UploadId=upload)
    s3.abort_multipart_upload(Bucket=BUCKET, Key="big", UploadId=upload)
    until(lambda: not list((dewfall.data / "blobs" / "parts").rglob("*@*")))
