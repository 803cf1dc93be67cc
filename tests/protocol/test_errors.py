"""Errors: each protocol's shape, the model's status and members, and what is said of requests that make no sense."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.errors import AwsError, access_denied
from dewfall.wire.messages import Request
from tests.protocol.calls import Wire


def failing(error: Exception) -> Any:
    def function(ctx: Any, req: Any) -> Any:
        raise error

    return function


def code_of(wire: Wire, service: str, method: str, params: dict[str, Any]) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        getattr(wire.client(service), method)(**params)
    return caught.value.response["Error"]["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


MODELED = [
    ("s3", "GetObject", "get_object", {"Bucket": "b", "Key": "k"}, "NoSuchKey", ("NoSuchKey", 404)),
    ("s3", "HeadObject", "head_object", {"Bucket": "b", "Key": "k"}, "NoSuchKey", ("404", 404)),
    ("s3", "DeleteBucket", "delete_bucket", {"Bucket": "b"}, "BucketNotEmpty", ("BucketNotEmpty", 409)),
    ("sagemaker", "DescribeModel", "describe_model", {"ModelName": "m"}, "ResourceNotFound", ("ResourceNotFound", 400)),
    ("sagemaker-runtime", "InvokeEndpoint", "invoke_endpoint", {"EndpointName": "e", "Body": b""}, "ModelError", ("ModelError", 424)),
    ("iam", "GetRole", "get_role", {"RoleName": "r"}, "NoSuchEntity", ("NoSuchEntity", 404)),
    ("sqs", "GetQueueUrl", "get_queue_url", {"QueueName": "q"}, "QueueDoesNotExist", ("AWS.SimpleQueueService.NonExistentQueue", 400)),
    ("cloudwatch", "DeleteDashboards", "delete_dashboards", {"DashboardNames": ["d"]}, "DashboardNotFoundError", ("ResourceNotFound", 404)),
    ("lambda", "GetFunction", "get_function", {"FunctionName": "f"}, "ResourceNotFoundException", ("ResourceNotFoundException", 404)),
    ("ec2", "DescribeVpcs", "describe_vpcs", {}, "InvalidVpcID.NotFound", ("InvalidVpcID.NotFound", 400)),
    ("route53", "GetHostedZone", "get_hosted_zone", {"Id": "z"}, "NoSuchHostedZone", ("NoSuchHostedZone", 404)),
]


@pytest.mark.parametrize(("service", "operation", "method", "params", "code", "wanted"), MODELED)
def test_a_modeled_error_reaches_the_client(service: str, operation: str, method: str, params: Any, code: str, wanted: Any) -> None:
    wire = Wire({(service, operation): failing(AwsError(code, "words"))})
    assert code_of(wire, service, method, params) == wanted


DENIED = [
    ("s3", "ListBuckets", "list_buckets", ("AccessDenied", 403)),
    ("sagemaker", "ListModels", "list_models", ("AccessDeniedException", 400)),
    ("sts", "GetCallerIdentity", "get_caller_identity", ("AccessDenied", 403)),
    ("lambda", "ListFunctions", "list_functions", ("AccessDeniedException", 403)),
    ("ec2", "DescribeVpcs", "describe_vpcs", ("UnauthorizedOperation", 403)),
]


@pytest.mark.parametrize(("service", "operation", "method", "wanted"), DENIED)
def test_denial_has_each_protocols_name(service: str, operation: str, method: str, wanted: Any) -> None:
    wire = Wire({(service, operation): failing(access_denied("arn:me", "x:Y", "*"))})
    assert code_of(wire, service, method, {}) == wanted


@pytest.mark.parametrize(
    ("service", "method"), [("sagemaker", "list_models"), ("iam", "list_roles"), ("s3", "list_buckets"), ("lambda", "list_functions")]
)
def test_what_is_not_built_says_so(service: str, method: str) -> None:
    assert code_of(Wire(), service, method, {}) == ("NotImplemented", 501)


@pytest.mark.parametrize(
    ("service", "operation", "method", "code"),
    [("sagemaker", "ListModels", "list_models", "InternalFailure"), ("s3", "ListBuckets", "list_buckets", "InternalError")],
)
def test_an_exception_is_logged_and_answered(service: str, operation: str, method: str, code: str, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire({(service, operation): failing(ZeroDivisionError("secret"))})
    assert code_of(wire, service, method, {}) == (code, 500)
    assert "ZeroDivisionError" in caplog.text
    assert b"secret" not in wire.sent[0].body  # type: ignore[operator]


def test_members_of_the_modeled_shape_are_sent() -> None:
    wire = Wire({("sagemaker-runtime", "InvokeEndpoint"): failing(AwsError("ModelError", "m", OriginalStatusCode=500, OriginalMessage="boom"))})
    client = wire.client("sagemaker-runtime")
    with pytest.raises(client.exceptions.ModelError) as caught:
        client.invoke_endpoint(EndpointName="e", Body=b"")
    assert (caught.value.response["OriginalStatusCode"], caught.value.response["OriginalMessage"]) == (500, "boom")


def test_s3_names_the_resource_and_the_request() -> None:
    wire = Wire({("s3", "GetObject"): failing(AwsError("NoSuchKey", "words", Key="a<b"))})
    code_of(wire, "s3", "get_object", {"Bucket": "b", "Key": "a<b"})
    body = wire.sent[0].body
    assert isinstance(body, bytes)
    assert b"<Key>a&lt;b</Key><RequestId>" in body
    assert {"x-amz-request-id", "x-amz-id-2"} <= dict(wire.sent[0].headers).keys()


def test_not_modified_has_headers_and_no_body() -> None:
    wire = Wire({("s3", "GetObject"): failing(AwsError("NotModified", "Not Modified", status=304, headers={"ETag": '"x"'}))})
    response = wire.send(Request("GET", "/b/k", "", {"host": "127.0.0.1"}))
    assert (response.status, response.body, dict(response.headers)["ETag"]) == (304, b"", '"x"')


def json_request(target: str, body: bytes) -> Request:
    return Request("POST", "/", "", {"x-amz-target": target, "content-type": "application/x-amz-json-1.1", "host": "127.0.0.1"}, body)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff\xfe", b'{"ModelName": {}}', b'{"ModelName": ' + b"[" * 100_000])
def test_a_malformed_json_body_is_the_clients_fault(body: bytes) -> None:
    response = Wire({("sagemaker", "DescribeModel"): lambda ctx, req: {}}).send(json_request("SageMaker.DescribeModel", body))
    assert (response.status, json.loads(response.body)["__type"]) == (400, "SerializationException")  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["SageMaker.Nonsense", "SageMaker.", "Nonsense", "Nonsense.Nonsense"])
def test_an_unknown_target_is_an_error(target: str) -> None:
    response = Wire().send(json_request(target, b"{}"))
    assert response.status in (400, 501)
    assert isinstance(response.body, bytes)
    assert "__type" in json.loads(response.body)


@pytest.mark.parametrize("body", [b"<a", b"<!DOCTYPE x [<!ENTITY a 'b'>]><a>&a;</a>", b"\xff", b"plain"])
def test_malformed_xml_is_the_clients_fault(body: bytes) -> None:
    wire = Wire({("s3", "PutBucketVersioning"): lambda ctx, req: {}})
    response = wire.send(Request("PUT", "/b", "versioning", {"host": "127.0.0.1"}, body))
    assert response.status == 400
    assert b"<Code>MalformedXML</Code>" in bytes(response.body)  # type: ignore[arg-type]


@pytest.mark.parametrize(("method", "path"), [("PATCH", "/b/k"), ("POST", "/"), ("DELETE", "/"), ("OPTIONS", "/b")])
def test_a_method_that_s3_does_not_have(method: str, path: str) -> None:
    response = Wire().send(Request(method, path, "", {"host": "127.0.0.1"}))
    assert response.status == 405
    assert b"<Code>MethodNotAllowed</Code>" in bytes(response.body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"Action=Nonsense&Version=2010-05-08", b"InvalidAction"), (b"", b"MissingAction"), (b"Action=ListRoles&MaxItems=x", b"MalformedInput")],
)
def test_a_form_that_makes_no_sense(body: bytes, code: bytes) -> None:
    scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0"
    headers = {"host": "127.0.0.1", "authorization": scope, "content-type": "application/x-www-form-urlencoded"}
    response = Wire({("iam", "ListRoles"): lambda ctx, req: {}}).send(Request("POST", "/", "", headers, body))
    assert response.status == 400
    assert b"<Code>" + code + b"</Code>" in bytes(response.body)  # type: ignore[arg-type]


def test_a_service_that_botocore_does_not_know_is_not_built() -> None:
    scope = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/nonsense/aws4_request, SignedHeaders=host, Signature=0"
    response = Wire().send(Request("GET", "/x", "", {"host": "127.0.0.1", "authorization": scope}))
    assert response.status == 501
