"""Whatever a client sends, the answer is an error of AWS's, never an exception."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dewfall.wire.messages import Request
from tests.protocol.calls import Wire

SERVICES = ["s3", "sagemaker", "sts", "iam", "logs", "monitoring", "sqs", "sns", "lambda", "ec2", "nonsense", ""]
TARGETS = [
    "SageMaker.CreateModel",
    "Logs_20140328.PutLogEvents",
    "AmazonSQS.SendMessage",
    "GraniteServiceVersion20100801.PutMetricData",
    "x",
    ".",
    "",
]
PATHS = ["/", "/b", "/b/k", "/b/k%2", "//", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "/2015-03-31/functions/x", "/%00", "/ü"]
QUERIES = [
    "",
    "a",
    "=",
    "&&",
    "list-type=2&max-keys=x",
    "delete",
    "uploads",
    "Action=ListRoles",
    "partNumber=x&uploadId=",
    "X-Amz-Expires=1",
    "Expires=x",
]
BODIES = [
    b"",
    b"{}",
    b"[1]",
    b"null",
    b'{"a":',
    b"<a/>",
    b"<Delete><Object/></Delete>",
    b"Action=CreateQueue&Attribute.1.Name=",
    b"\xff\xa1",
    b"\xbf\xbf\xff",
]
TYPES = [
    "",
    "application/json",
    "application/x-amz-json-1.1",
    "application/x-www-form-urlencoded",
    "application/cbor",
    "multipart/form-data",
    "text/xml",
]
OTHERS: list[dict[str, str]] = [
    {},
    {"content-encoding": "gzip"},
    {"smithy-protocol": "rpc-v2-cbor"},
    {"x-amz-copy-source": "%"},
    {"content-length": "x"},
    {"x-amz-object-lock-retain-until-date": "never"},
    {"host": "s3.amazonaws.com"},
    {"host": "b.s3.amazonaws.com"},
    {"host": "[::1]:80"},
]


class Anything(dict[tuple[str, str], Any]):
    """Every operation is built, and answers nothing."""

    def get(self, key: Any, default: Any = None) -> Any:
        return lambda ctx, req: {}


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS"]),
    path=st.sampled_from(PATHS),
    query=st.sampled_from(QUERIES),
    body=st.sampled_from(BODIES) | st.binary(max_size=20),
    service=st.sampled_from(SERVICES),
    target=st.sampled_from(TARGETS),
    content_type=st.sampled_from(TYPES),
    other=st.sampled_from(OTHERS),
)
def test_nothing_a_client_sends_is_an_internal_failure(
    method: str, path: str, query: str, body: bytes, service: str, target: str, content_type: str, other: dict[str, str]
) -> None:
    headers = {"host": "127.0.0.1:4566", "content-type": content_type, **other}
    if service:
        headers["authorization"] = f"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    if target:
        headers["x-amz-target"] = target
    response = Wire(Anything()).send(Request(method, path, query, headers, body))
    assert response.status in range(200, 500) or response.status == 501, response


@pytest.fixture(autouse=True)
def _no_tracebacks(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
