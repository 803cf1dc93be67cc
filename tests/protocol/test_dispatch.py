"""From a real client to an operation and back: what only shows when all steps work together."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, EventStreamError

from dewfall.bodies import StagedBody
from dewfall.context import Caller, Ctx
from dewfall.errors import AwsError
from dewfall.settings import Settings
from dewfall.wire.messages import Request
from tests.protocol.calls import ACCOUNT, Wire, keeping


def test_an_operation_sees_caller_region_and_request() -> None:
    seen: list[Any] = []

    def identity(ctx: Ctx, req: Any) -> dict[str, Any]:
        seen.append(ctx)
        return {"Account": ctx.account}

    wire = Wire({("sts", "GetCallerIdentity"): identity})
    answer = wire.client("sts").get_caller_identity()
    assert answer["Account"] == ACCOUNT
    assert (seen[0].region, seen[0].caller.access_key) == ("eu-west-1", "test")
    assert seen[0].request_id == answer["ResponseMetadata"]["RequestId"]


def test_a_streamed_body_arrives_as_staged_body() -> None:
    seen: list[Any] = []
    wire = Wire({("s3", "PutObject"): keeping(seen, {"ETag": '"x"'})})
    wire.client("s3").put_object(Bucket="b", Key="a/ü", Body=b"hello", Metadata={"Color": "red"}, ContentType="text/plain")
    assert isinstance(seen[0]["Body"], StagedBody)
    assert (seen[0]["Key"], seen[0]["Body"].read(), seen[0]["Metadata"], seen[0]["ContentLength"]) == ("a/ü", b"hello", {"color": "red"}, 5)


def test_aws_chunked_is_the_transports_affair() -> None:
    seen: list[Any] = []
    wire = Wire({("s3", "PutObject"): keeping(seen, {})})
    headers = {"host": "127.0.0.1", "content-encoding": "gzip,aws-chunked", "content-length": "99", "x-amz-decoded-content-length": "5"}
    wire.send(Request("PUT", "/b/k", "", headers, b"hello", trailers={"x-amz-checksum-crc32": "AAAAAA=="}))
    assert (seen[0]["ContentEncoding"], seen[0]["ContentLength"], seen[0]["ChecksumCRC32"]) == ("gzip", 5, "AAAAAA==")


def test_a_bucket_in_the_host_name_is_a_bucket() -> None:
    seen: list[Any] = []
    wire = Wire({("s3", "GetObject"): keeping(seen, {"Body": b""})})
    wire.send(Request("GET", "/a/b", "", {"host": "my.bucket.s3.eu-west-1.amazonaws.com"}))
    assert seen == [{"Bucket": "my.bucket", "Key": "a/b"}]


def test_a_compressed_request_is_inflated() -> None:
    seen: list[Any] = []
    wire = Wire({("sts", "GetCallerIdentity"): keeping(seen, {})})
    headers = {"host": "sts.amazonaws.com", "content-type": "application/x-www-form-urlencoded", "content-encoding": "gzip"}
    response = wire.send(Request("POST", "/", "", headers, gzip.compress(b"Action=GetCallerIdentity&Version=2011-06-15")))
    assert (response.status, seen) == (200, [{}])


@pytest.mark.parametrize(("region", "wanted"), [("eu-west-1", "eu-west-1"), ("us-east-1", None)])
def test_the_location_of_a_bucket_is_not_wrapped(region: str, wanted: str | None) -> None:
    wire = Wire({("s3", "GetBucketLocation"): lambda ctx, req: {"LocationConstraint": region}})
    assert wire.client("s3").get_bucket_location(Bucket="b")["LocationConstraint"] == wanted


def test_own_headers_and_status_of_a_result() -> None:
    wire = Wire({("s3", "GetObject"): lambda ctx, req: {"Body": b"x", "ETag": '"a"', "_headers": {"X-Own": "1"}, "_status": 206}})
    answer = wire.client("s3").get_object(Bucket="b", Key="k")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (answer["ResponseMetadata"]["HTTPHeaders"]["x-own"], answer["Body"].read()) == ("1", b"x")


def test_an_event_stream_is_framed() -> None:
    events = [{"PayloadPart": {"Bytes": b"one"}}, {"PayloadPart": {"Bytes": b"two"}}]
    wire = Wire({("sagemaker-runtime", "InvokeEndpointWithResponseStream"): lambda ctx, req: {"Body": iter(events), "ContentType": "text/plain"}})
    answer = wire.client("sagemaker-runtime").invoke_endpoint_with_response_stream(EndpointName="e", Body=b"")
    assert answer["ContentType"] == "text/plain"
    assert [event["PayloadPart"]["Bytes"] for event in answer["Body"]] == [b"one", b"two"]


def test_an_error_in_an_event_stream_ends_it() -> None:
    def events() -> Any:
        yield {"PayloadPart": {"Bytes": b"one"}}
        raise AwsError("ModelStreamError", "broke", ErrorCode="StreamBroken")

    wire = Wire({("sagemaker-runtime", "InvokeEndpointWithResponseStream"): lambda ctx, req: {"Body": events()}})
    answer = wire.client("sagemaker-runtime").invoke_endpoint_with_response_stream(EndpointName="e", Body=b"")
    with pytest.raises(EventStreamError, match=r"ModelStreamError.*broke"):
        list(answer["Body"])


def test_an_expired_presigned_url_is_refused_though_nothing_is_enforced() -> None:
    wire = Wire({("s3", "GetObject"): lambda ctx, req: {"Body": b"x"}})
    url = wire.client("s3").generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"}, ExpiresIn=60)
    request = Request("GET", "/b/k", url.partition("?")[2], {"host": "127.0.0.1:4566"})
    assert wire.send(request).status == 200
    wire.clock.move(datetime.now(UTC) + timedelta(minutes=2))
    response = wire.send(request)
    assert response.status == 403
    assert b"<Code>AccessDenied</Code><Message>Request has expired</Message>" in bytes(response.body)  # type: ignore[arg-type]


def test_a_presigned_request_may_be_handled_twice() -> None:
    seen: list[Any] = []
    wire = Wire({("s3", "HeadObject"): keeping(seen, {})}, settings=Settings(Path("/nonexistent"), auth="enforce"), secrets={"test": "test"})
    client = wire.client("s3", signature_version="s3v4")
    client.meta.events.register("before-sign.s3", lambda request, **_: request.params.update({"x-amz-checksum-mode": "ENABLED"}))
    url = client.generate_presigned_url("head_object", Params={"Bucket": "b", "Key": "k"})
    assert "x-amz-checksum-mode=ENABLED" in url
    assert "SignedHeaders=host&" in url
    request = Request("HEAD", "/b/k", url.partition("?")[2], {"host": urlsplit(url).netloc})
    assert [wire.send(request).status, wire.send(request).status] == [200, 200]
    assert [asked["ChecksumMode"] for asked in seen] == ["ENABLED", "ENABLED"]


def test_a_call_from_inside_is_validated_like_a_clients() -> None:
    wire = Wire({("sagemaker", "DescribeModel"): lambda ctx, req: {"ModelName": req["ModelName"]}})
    caller = Caller(ACCOUNT, "arn", "id")
    ctx = wire.dispatcher.ctx(ACCOUNT, "us-east-1", caller)
    assert ctx.call("sagemaker", "DescribeModel", {"ModelName": "m"}) == {"ModelName": "m"}
    with pytest.raises(AwsError, match="Value null at 'modelName' failed to satisfy constraint: Member must not be null"):
        ctx.call("sagemaker", "DescribeModel", {})
    with pytest.raises(AwsError, match="sagemaker:DeleteModel"):
        ctx.call("sagemaker", "DeleteModel", {"ModelName": "m"})


def test_constraints_speak_in_the_words_of_aws() -> None:
    wire = Wire({("sagemaker", "CreateModel"): lambda ctx, req: {}})
    with pytest.raises(ClientError) as caught:
        wire.client("sagemaker").create_model(ModelName="a_b", ExecutionRoleArn="arn:aws:iam::000000000000:role/x")
    pattern = "[a-zA-Z0-9]([\\-a-zA-Z0-9]*[a-zA-Z0-9])?"
    message = f"Value 'a_b' at 'modelName' failed to satisfy constraint: Member must satisfy regular expression pattern: {pattern}"
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert caught.value.response["Error"]["Message"] == f"1 validation error detected: {message}"
