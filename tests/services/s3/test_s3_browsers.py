"""What browsers send: preflights and form uploads."""

from __future__ import annotations

import html
import json
from base64 import b64encode
from typing import Any

import httpx
import pytest

from dewfall.testing import Server

RULE = {"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["https://*.example.com"], "AllowedHeaders": ["x-*"], "ExposeHeaders": ["ETag"]}


@pytest.fixture
def open_to_browsers(s3: Any) -> Any:
    s3.put_bucket_cors(Bucket="data", CORSConfiguration={"CORSRules": [RULE]})
    return s3


@pytest.mark.parametrize(
    ("origin", "method", "asked", "status"),
    [
        ("https://a.example.com", "PUT", "X-One", 200),
        ("https://a.example.com", "DELETE", "", 403),
        ("https://example.org", "GET", "", 403),
        ("https://a.example.com", "GET", "authorization", 403),
    ],
)
def test_preflight(dewfall: Server, open_to_browsers: Any, origin: str, method: str, asked: str, status: int) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": asked}
    answer = httpx.options(f"{dewfall.url}/data/k", headers=headers)
    assert answer.status_code == status
    assert answer.headers.get("access-control-allow-origin") == (origin if status == 200 else None)


def test_answers_carry_cors_headers(open_to_browsers: Any) -> None:
    open_to_browsers.put_object(Bucket="data", Key="k", Body=b"x")
    address = open_to_browsers.generate_presigned_url("get_object", Params={"Bucket": "data", "Key": "k"})
    answer = httpx.get(address, headers={"Origin": "https://a.example.com"})
    assert (answer.headers["access-control-allow-origin"], answer.headers["access-control-expose-headers"]) == ("https://a.example.com", "ETag")


def upload(s3: Any, body: bytes, **changed: str) -> httpx.Response:
    limits = [["content-length-range", 1, 300_000], {"x-amz-meta-m": "1"}]
    form = s3.generate_presigned_post("data", "up/${filename}", Fields={"x-amz-meta-m": "1"}, Conditions=limits)
    return httpx.post(form["url"], data=form["fields"] | changed, files={"file": ("f.txt", body, "text/plain")})


@pytest.mark.parametrize("size", [5, 200_000])
def test_a_form_upload_is_an_object(s3: Any, size: int) -> None:
    assert upload(s3, b"x" * size).status_code == 204
    got = s3.get_object(Bucket="data", Key="up/f.txt")
    assert (got["Body"].read(), got["Metadata"]) == (b"x" * size, {"m": "1"})


def test_a_form_is_held_against_its_policy(s3: Any) -> None:
    assert "EntityTooSmall" in upload(s3, b"").text
    assert "EntityTooLarge" in upload(s3, b"x" * 300_001).text
    assert "Policy Condition failed" in upload(s3, b"x", key="elsewhere").text
    assert "Extra input fields: acl" in upload(s3, b"x", acl="private").text
    assert "Contents" not in s3.list_objects_v2(Bucket="data")


def test_a_forms_policy_names_the_bucket(s3: Any) -> None:
    policy = {"expiration": "2999-01-01T00:00:00Z", "conditions": [["starts-with", "$key", ""]]}
    fields = {"key": "k", "AWSAccessKeyId": "a", "signature": "s", "policy": b64encode(json.dumps(policy).encode()).decode()}
    assert "Extra input fields: bucket" in httpx.post(f"{s3.meta.endpoint_url}/data", data=fields, files={"file": b"x"}).text


def test_a_method_that_a_request_speaks_of_counts_for_cors(open_to_browsers: Any) -> None:
    open_to_browsers.put_object(Bucket="data", Key="k", Body=b"x")
    asking = {"Origin": "https://a.example.com", "Access-Control-Request-Method": "PUT"}
    answer = httpx.delete(f"{open_to_browsers.meta.endpoint_url}/data/k", headers=asking)
    assert answer.headers["access-control-allow-methods"] == "GET, PUT"


def test_metadata_of_a_form_comes_back_in_ascii(s3: Any) -> None:
    limits = [{"x-amz-meta-m": "caf\u00e9"}]
    form = s3.generate_presigned_post("data", "k", Fields={"x-amz-meta-m": "caf\u00e9"}, Conditions=limits)
    assert httpx.post(form["url"], data=form["fields"], files={"file": b"x"}).status_code == 204
    assert s3.head_object(Bucket="data", Key="k")["Metadata"] == {"m": "=?UTF-8?Q?caf=C3=A9?="}


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (["eq", "key", "k"], 'Policy Condition failed: ["eq", "key", "k"]'),
        (["content-length-range", "test", 10], 'Policy Condition failed: ["content-length-range", "test", "10"]'),
        ({"key": "k", "acl": "private"}, "Simple-Conditions must have exactly one property specified."),
    ],
)
def test_conditions_of_forms_that_hold_for_nothing(s3: Any, condition: Any, message: str) -> None:
    form = s3.generate_presigned_post("data", "k", Conditions=[condition])
    assert message in html.unescape(httpx.post(form["url"], data=form["fields"], files={"file": b"x"}).text)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ([{"x-amz-meta-n": 5}], "Invalid Simple-Condition: value must be a string."),
        ([{"x-amz-meta-n": None}], "Invalid JSON."),
        ([["content-length-range", 0, 512.0]], "Invalid JSON."),
        ([[]], "Invalid Condition: missing operation identifier."),
        ([["starts-with", "$x-amz-meta-n", "a"]], 'Policy Condition failed: ["starts-with", "$x-amz-meta-n", "a"]'),
    ],
)
def test_policies_of_forms_that_cannot_be_read(s3: Any, conditions: Any, message: str) -> None:
    form = s3.generate_presigned_post("data", "k", Conditions=conditions)
    assert message in html.unescape(httpx.post(form["url"], data=form["fields"], files={"file": b"x"}).text)


def test_the_variable_stays_where_a_file_has_no_name(s3: Any) -> None:
    form = s3.generate_presigned_post("data", "up/${filename}", Fields={"x-amz-meta-m": "${filename}"}, Conditions=[{"x-amz-meta-m": "f"}])
    answers = [httpx.post(form["url"], data=form["fields"], files={"file": (name, b"x")}) for name in ("f", None)]
    assert [answer.status_code for answer in answers] == [204, 403]
    assert answers[0].headers["location"].endswith("/data/up%2Ff")
    assert answers[0].headers["x-amz-checksum-type"] == "FULL_OBJECT"
    form = s3.generate_presigned_post("data", "up/${filename}")
    httpx.post(form["url"], data=form["fields"], files={"file": (None, b"x")})
    assert s3.head_object(Bucket="data", Key="up/${filename}")["ContentLength"] == 1


def test_fields_before_the_file_are_limited(s3: Any) -> None:
    form = s3.generate_presigned_post("data", "k")
    answer = httpx.post(form["url"], data=form["fields"] | {"x-ignore-it": "x" * 20480}, files={"file": b"x"})
    assert answer.status_code == 400
    assert "<MaxPostPreDataLengthBytes>20480<" in answer.text


def test_fields_of_one_name_are_joined(s3: Any) -> None:
    form = s3.generate_presigned_post("data", "k", Conditions=[{"x-amz-meta-m": "a,b"}])
    assert httpx.post(form["url"], data=form["fields"] | {"x-amz-meta-m": ["a", "b"]}, files={"file": b"x"}).status_code == 204
    assert s3.head_object(Bucket="data", Key="k")["Metadata"] == {"m": "a,b"}
