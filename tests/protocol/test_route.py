"""Which operation a request means: by scope, host, target, form and path."""

from __future__ import annotations

import pytest

from dewfall.wire.messages import Request
from dewfall.wire.route import match, match_form, scope_of

CALLS = [
    # signing name, method, path, query → service, operation, labels
    ("sagemaker", "POST", "/endpoints/e/invocations", "", "sagemaker-runtime", "InvokeEndpoint", {"EndpointName": "e"}),
    (
        "sagemaker",
        "GET",
        "/FeatureGroup/f",
        "RecordIdentifierValueAsString=1",
        "sagemaker-featurestore-runtime",
        "GetRecord",
        {"FeatureGroupName": "f"},
    ),
    ("sagemaker", "PUT", "/BatchPutMetrics", "", "sagemaker-metrics", "BatchPutMetrics", {}),
    ("s3", "GET", "/b", "", "s3", "ListObjects", {"Bucket": "b"}),
    ("s3", "GET", "/b/", "list-type=2", "s3", "ListObjectsV2", {"Bucket": "b"}),
    ("s3", "GET", "/b//k/", "", "s3", "GetObject", {"Bucket": "b", "Key": "/k/"}),
    ("s3", "GET", "/b/a%2Fb%25", "x-id=GetObject", "s3", "GetObject", {"Bucket": "b", "Key": "a/b%"}),
    ("s3", "PUT", "/b/k", "partNumber=1&uploadId=u", "s3", "UploadPart", {"Bucket": "b", "Key": "k"}),
    ("s3", "POST", "/b", "delete", "s3", "DeleteObjects", {"Bucket": "b"}),
    ("s3", "GET", "/endpoints/e", "", "s3", "GetObject", {"Bucket": "endpoints", "Key": "e"}),
    ("lambda", "GET", "/2015-03-31/functions/arn%3Aaws%3Alambda%3Ax", "", "lambda", "GetFunction", {"FunctionName": "arn:aws:lambda:x"}),
    ("bedrock", "POST", "/model/a%2Fb/converse", "", "bedrock-runtime", "Converse", {"modelId": "a/b"}),
]


@pytest.mark.parametrize(("signing", "method", "path", "query", "service", "operation", "labels"), CALLS)
def test_paths(signing: str, method: str, path: str, query: str, service: str, operation: str, labels: dict[str, str]) -> None:
    scope = f"AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/{signing}/aws4_request, SignedHeaders=host, Signature=0"
    found = match(Request(method, path, query, {"host": "127.0.0.1:4566", "authorization": scope}))
    assert (found.service, found.operation, found.labels) == (service, operation, labels)
    assert (found.region, found.access_key) == ("eu-west-1", "key")


@pytest.mark.parametrize(
    ("host", "path", "wanted"),
    [
        ("my.bucket.s3.eu-west-1.amazonaws.com", "/a/b", {"Bucket": "my.bucket", "Key": "a/b"}),
        ("bucket.s3.amazonaws.com", "/k", {"Bucket": "bucket", "Key": "k"}),
        ("bucket.localhost:4566", "/k", {"Bucket": "bucket", "Key": "k"}),
        ("s3.us-west-2.amazonaws.com", "/bucket/k", {"Bucket": "bucket", "Key": "k"}),
        ("localhost:4566", "/bucket/k", {"Bucket": "bucket", "Key": "k"}),
    ],
)
def test_buckets_in_hosts_and_paths(host: str, path: str, wanted: dict[str, str]) -> None:
    assert match(Request("GET", path, "", {"host": host})).labels == wanted


@pytest.mark.parametrize(
    ("form", "service"),
    [
        ({"Action": "GetCallerIdentity", "Version": "2011-06-15"}, "sts"),
        ({"Action": "CreateRole", "Version": "2010-05-08"}, "iam"),
        ({"Action": "PutMetricData", "Version": "2010-08-01"}, "cloudwatch"),
        ({"Action": "Publish", "Version": "2010-03-31"}, "sns"),
        ({"Action": "Dance", "Version": "2011-06-15"}, "sts"),
    ],
)
def test_unsigned_forms_tell_their_service_by_version(form: dict[str, str], service: str) -> None:
    request = Request("POST", "/", "", {"host": "127.0.0.1", "content-type": "application/x-www-form-urlencoded"})
    found = match_form(match(request), request, form)
    assert (found.service, found.operation) == (service, form["Action"])


def test_services_that_sign_alike_are_told_apart_by_version() -> None:
    scope = "AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/elasticloadbalancing/aws4_request, SignedHeaders=host, Signature=0"
    request = Request("POST", "/", "", {"content-type": "application/x-www-form-urlencoded", "authorization": scope})
    assert match_form(match(request), request, {"Action": "DescribeTags", "Version": "2015-12-01"}).service == "elbv2"
    assert match_form(match(request), request, {"Action": "DescribeTags", "Version": "2012-06-01"}).service == "elb"


@pytest.mark.parametrize(
    ("headers", "query", "wanted"),
    [
        ({"authorization": "AWS key:signature"}, "", ("key", "", "s3")),
        ({}, "AWSAccessKeyId=key&Signature=x&Expires=1", ("key", "", "s3")),
        ({}, "X-Amz-Credential=key%2F20260101%2Feu-west-1%2Fsts%2Faws4_request", ("key", "eu-west-1", "sts")),
        ({}, "", ("", "", "")),
    ],
)
def test_credentials_wherever_they_are(headers: dict[str, str], query: str, wanted: tuple[str, str, str]) -> None:
    assert scope_of(Request("GET", "/b/k", query, headers)) == wanted


def test_s3_control_is_told_by_its_host_or_account() -> None:
    scope = "AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    put = Request("PUT", "/v20180820/bucket/b", "", {"host": "s3-control.eu-west-1.amazonaws.com", "authorization": scope})
    assert (match(put).service, match(put).operation) == ("s3control", "CreateBucket")
    get = Request("GET", "/v20180820/bucket/b", "", {"host": "127.0.0.1", "authorization": scope, "x-amz-account-id": "000000000000"})
    assert (match(get).service, match(get).operation) == ("s3control", "GetBucket")
    key = Request("PUT", "/v20180820/bucket/b", "", {"host": "127.0.0.1", "authorization": scope})
    assert (match(key).service, match(key).operation) == ("s3", "PutObject")


@pytest.mark.parametrize(
    ("signing", "target", "service", "operation"),
    [
        ("timestream", "Timestream_20181101.CreateDatabase", "timestream-write", "CreateDatabase"),
        ("timestream", "Timestream_20181101.Query", "timestream-query", "Query"),
        ("sagemaker", "SageMaker.CreateEndpoint", "sagemaker", "CreateEndpoint"),
    ],
)
def test_of_services_with_one_target_the_one_that_has_the_operation(signing: str, target: str, service: str, operation: str) -> None:
    scope = f"AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/{signing}/aws4_request, SignedHeaders=host, Signature=0"
    found = match(Request("POST", "/", "", {"host": "127.0.0.1", "authorization": scope, "x-amz-target": target}))
    assert (found.service, found.operation, found.model is not None) == (service, operation, True)


def test_a_cbor_path_names_its_service() -> None:
    headers = {"host": "127.0.0.1", "smithy-protocol": "rpc-v2-cbor"}
    scope = "AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/cloudhsm/aws4_request, SignedHeaders=host, Signature=0"
    found = match(Request("POST", "/service/BaldrApiService/operation/CreateCluster", "", headers | {"authorization": scope}))
    assert (found.service, found.operation) == ("cloudhsmv2", "CreateCluster")
