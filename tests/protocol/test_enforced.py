"""Where signatures are enforced: who may enter, and what the others are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.exceptions import ClientError

from dewfall.errors import AwsError
from dewfall.settings import Settings
from dewfall.wire.messages import Request
from dewfall.wire.route import Match
from dewfall.wire.signing import check_token
from tests.protocol.calls import Wire

BUILT: dict[tuple[str, str], Any] = {
    ("s3", "ListBuckets"): lambda ctx, req: {"Buckets": []},
    ("sagemaker", "ListModels"): lambda ctx, req: {"Models": []},
    ("sts", "GetCallerIdentity"): lambda ctx, req: {"Account": ctx.caller.account},
    ("sts", "AssumeRoleWithWebIdentity"): lambda ctx, req: {},
}
CALLS = [("s3", "list_buckets"), ("sagemaker", "list_models"), ("sts", "get_caller_identity")]


def enforcing(**secrets: str) -> Wire:
    return Wire(BUILT, settings=Settings(Path("/nonexistent"), auth="enforce"), secrets=secrets)


@pytest.mark.parametrize(("service", "method"), CALLS)
def test_the_right_secret_enters(service: str, method: str) -> None:
    answer = getattr(enforcing(test="test").client(service), method)()
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    ("service", "method", "unknown", "wrong"),
    [
        (*CALLS[0], "InvalidAccessKeyId", "SignatureDoesNotMatch"),
        (*CALLS[1], "UnrecognizedClientException", "InvalidSignatureException"),
        (*CALLS[2], "InvalidClientTokenId", "SignatureDoesNotMatch"),
    ],
)
def test_others_do_not(service: str, method: str, unknown: str, wrong: str) -> None:
    for wire, code in ((enforcing(), unknown), (enforcing(test="other"), wrong)):
        with pytest.raises(ClientError) as caught:
            getattr(wire.client(service), method)()
        assert caught.value.response["Error"]["Code"] == code


@pytest.mark.parametrize(
    ("service", "method", "code"), [(*CALLS[1], "MissingAuthenticationTokenException"), (*CALLS[2], "MissingAuthenticationToken")]
)
def test_no_signature_is_told_so(service: str, method: str, code: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(enforcing().client(service, signature_version=UNSIGNED), method)()
    assert caught.value.response["Error"]["Code"] == code


def test_operations_that_nobody_signs_stay_open() -> None:
    enforcing().client("sts").assume_role_with_web_identity(
        RoleArn="arn:aws:iam::000000000000:role/r", RoleSessionName="se", WebIdentityToken="t" * 20
    )


@pytest.mark.parametrize(
    ("service", "protocol", "code"),
    [("s3", "rest-xml", "ExpiredToken"), ("sts", "query", "ExpiredToken"), ("sagemaker", "json-1.1", "ExpiredTokenException")],
)
def test_temporary_credentials_end(service: str, protocol: str, code: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    request = Request("POST", "/", "", {"x-amz-security-token": "token"})
    match = Match(service, protocol=protocol, access_key="ASIA")
    check_token(request, "token", now + timedelta(seconds=1), match, now)
    with pytest.raises(AwsError) as caught:
        check_token(request, "token", now, match, now)
    assert caught.value.code == code
