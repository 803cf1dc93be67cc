"""What browsers ask of S3 beyond its service model: preflights (OPTIONS), form uploads, and CORS headers on other answers.

Why beside server.py: only the server knows raw requests and services both.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from dewfall.bodies import StagedBody
from dewfall.context import Caller
from dewfall.errors import AwsError
from dewfall.wire.bindings import staged
from dewfall.wire.credentials import unknown_key
from dewfall.wire.messages import Request, Response
from dewfall.wire.route import Match, bucket_of_host

if TYPE_CHECKING:
    from dewfall.engine.ports import Store
    from dewfall.wire.dispatch import Dispatcher


def is_form_upload(request: Request, match: Match) -> bool:
    """A multipart/form-data POST to a bucket."""
    is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    return match.model is None and match.service in ("s3", "") and request.method == "POST" and is_form


def is_preflight(request: Request, match: Match) -> bool:
    """A browser asking whether it may ask."""
    return request.method == "OPTIONS" and match.service in ("s3", "")


def bucket_of(request: Request) -> str:
    """The bucket that a request's host or path names."""
    host = request.headers.get("host", "").partition(":")[0]
    return bucket_of_host(host) or unquote(request.raw_path.lstrip("/").partition("/")[0])


def answer_preflight(store: Store, request: Request) -> Response:
    """OPTIONS by the bucket's CORS rules."""
    from dewfall.services.s3.cors import preflight

    return _response(*preflight(store, bucket_of(request), request.headers))


def cors_headers(store: Store, request: Request) -> list[tuple[str, str]]:
    """What the answer to a request with an Origin carries besides."""
    from dewfall.services.s3.cors import headers_for

    return list(headers_for(store, bucket_of(request), request.headers, request.method).items())


def answer_form(dispatcher: Dispatcher, request: Request, match: Match) -> Response:
    """Store a form upload; where signatures are enforced, its policy must be signed."""
    from dewfall.services.s3.post import check_signed, expand, post_object, read_form, request_of

    body: StagedBody = staged(request.body)
    match.service = "s3"
    try:
        form = read_form(request.headers.get("content-type", ""), body)
        expand(form)
        fields = form.fields
        access_key = (fields.get("x-amz-credential") or fields.get("awsaccesskeyid") or "").partition("/")[0]
        match.access_key = access_key or match.access_key
        enforced = dispatcher.settings.auth == "enforce"
        if enforced and (access_key or "policy" in fields):
            check_signed(fields)
            _verify(dispatcher, match, fields)
        if enforced and not access_key:
            caller = Caller(dispatcher.settings.account, "", "", kind="anonymous")
        else:
            caller = dispatcher.find_identity(match.access_key, match, dispatcher.ports, dispatcher.settings)
        ctx = dispatcher.ctx(caller.account, match.region, caller)
        dispatcher.authorize(ctx, "s3", "PutObject", request_of(bucket_of(request), form))
        return _response(*post_object(ctx, bucket_of(request), form, body))
    except AwsError as error:
        return dispatcher.refuse(request, match, error)
    finally:
        body.drop()


def _verify(dispatcher: Dispatcher, match: Match, fields: dict[str, str]) -> None:
    """The signature of a form's policy, SigV4 or SigV2."""
    secret = dispatcher.find_secret(match.access_key, match, dispatcher.ports, dispatcher.settings) if dispatcher.find_secret else None
    credential, policy = fields.get("x-amz-credential", "").split("/"), fields.get("policy", "")
    if secret is None:
        raise unknown_key("s3", match.protocol, match.access_key)
    if len(credential) == 5:
        key = f"AWS4{secret}".encode()
        for text in credential[1:]:
            key = hmac.digest(key, text.encode(), "sha256")
        expected, given = hmac.digest(key, policy.encode(), "sha256").hex(), fields.get("x-amz-signature", "")
    else:
        expected, given = b64encode(hmac.digest(secret.encode(), policy.encode(), "sha1")).decode(), fields.get("signature", "")
    if not hmac.compare_digest(expected, given):
        message = "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        told: dict[str, Any] = {"AWSAccessKeyId": match.access_key, "StringToSign": policy, "SignatureProvided": given}
        told["StringToSignBytes"] = policy.encode().hex(" ")
        raise AwsError("SignatureDoesNotMatch", message, status=403, **told)


def _response(status: int, headers: dict[str, Any], body: bytes) -> Response:
    return Response(status, list(headers.items()), body)
