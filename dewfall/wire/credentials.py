"""The credential in a request: which key signed it, when, for what, and the refusals that AWS has for bad ones.

Four places: the Authorization header and the query string, each in signature version 4 and in S3's version 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl

from dewfall.errors import AwsError
from dewfall.wire.messages import Request

_PART = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]*)")
STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request says of its signature. `scope` is date/region/service/aws4_request; version 2 has none."""

    version: int
    access_key: str
    signature: str
    stamp: str = ""
    scope: str = ""
    service: str = "s3"
    signed_headers: tuple[str, ...] = ()
    presigned: bool = False
    expires: int = 0

    @property
    def moment(self) -> datetime:
        """When the request was signed."""
        try:
            return datetime.strptime(self.stamp, STAMP).replace(tzinfo=UTC)
        except ValueError:
            return parsedate_to_datetime(self.stamp).astimezone(UTC)


def query_of(request: Request) -> dict[str, str]:
    """The query string's parameters, decoded."""
    return dict(parse_qsl(request.query, keep_blank_values=True)) if request.query else {}


def credential_of(request: Request) -> Credential | None:
    """The request's credential, or None when it is not signed. Raises AwsError for one that is malformed."""
    header = request.headers.get("authorization", "")
    if header.startswith("AWS4-HMAC-SHA256"):
        return _from_header(request, header)
    if header.startswith("AWS "):
        key, _, signature = header[4:].strip().rpartition(":")
        return Credential(2, key, signature, request.headers.get("x-amz-date") or request.headers.get("date", ""))
    if "X-Amz-Signature=" in request.query or "X-Amz-Credential=" in request.query:
        return _from_query(request)
    _check_query_v2(request)
    if "Signature=" in request.query and "AWSAccessKeyId=" in request.query:
        given = query_of(request)
        return Credential(2, given["AWSAccessKeyId"], given["Signature"], expires=_seconds(given.get("Expires", "")), presigned=True)
    return None


def _check_query_v2(request: Request) -> None:
    """The three parameters of version 2 come together or not at all."""
    if "Signature=" in request.query or "AWSAccessKeyId=" in request.query:
        names = {"Signature", "Expires", "AWSAccessKeyId"} & query_of(request).keys()
        if 0 < len(names) < 3:
            message = "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
            raise AwsError("AccessDenied", message, status=403)


def _from_header(request: Request, header: str) -> Credential:
    parts = dict(_PART.findall(header))
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not parts.get(name)]
    key, scope, service = _scope(parts.get("Credential", ""))
    if missing or not scope:
        raise malformed(request, f"Authorization header requires '{(missing or ['Credential'])[0]}' parameter. Authorization={header.split(',')[0]}")
    stamp = request.headers.get("x-amz-date") or request.headers.get("date", "")
    if not stamp and service == "s3":
        raise AwsError("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header", status=403)
    if not stamp:
        raise malformed(request, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    return Credential(4, key, parts["Signature"], stamp, scope, service, tuple(parts["SignedHeaders"].split(";")))


def _from_query(request: Request) -> Credential:
    given = query_of(request)
    needed = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires")
    key, scope, service = _scope(given.get("X-Amz-Credential", ""))
    if any(not given.get(name) for name in needed):
        message = (
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, "
            "X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
        raise AwsError("AuthorizationQueryParametersError", message, status=400)
    if not scope:
        message = "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; "
        message += 'expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
        raise AwsError("AuthorizationQueryParametersError", message, status=400)
    headers = tuple(given["X-Amz-SignedHeaders"].split(";"))
    return Credential(4, key, given["X-Amz-Signature"], given["X-Amz-Date"], scope, service, headers, True, _seconds(given["X-Amz-Expires"]))


def _scope(text: str) -> tuple[str, str, str]:
    """(access key, scope, service) off `key/date/region/service/aws4_request`; the key may have slashes of its own."""
    parts = text.split("/")
    if len(parts) < 5 or parts[-1] != "aws4_request":
        return "", "", ""
    return "/".join(parts[:-4]), "/".join(parts[-4:]), parts[-2]


def _seconds(text: str) -> int:
    return int(text) if text.isdigit() and len(text) < 12 else 0


# ---------------------------------------------------------------- refusals


def speaks_query(request: Request) -> bool:
    """Whether the request is in the query protocol, whose codes for refused signatures are other ones."""
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded") or "Action=" in request.query


def malformed(request: Request, message: str) -> AwsError:
    """A credential that cannot be read."""
    if "/s3/aws4_request" in request.headers.get("authorization", "") or (not speaks_query(request) and "x-amz-target" not in request.headers):
        return AwsError("AuthorizationHeaderMalformed", f"The authorization header is malformed; {message}", status=400)
    return AwsError("IncompleteSignature" if speaks_query(request) else "IncompleteSignatureException", message, status=400)


def refuse_unreadable(request: Request) -> None:
    """S3's words for an Authorization header or a presigned query in which there is no access key; nothing for a request without them."""
    header = request.headers.get("authorization", "")
    credential_of(request)
    if not header:
        return
    message = "Unsupported Authorization Type"
    if header.startswith("AWS "):
        message = "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature"
    raise AwsError("InvalidArgument", message, status=400, ArgumentName="Authorization", ArgumentValue=header)


def missing(service: str, protocol: str) -> AwsError:
    """No credential where one is needed."""
    if service == "s3":
        return AwsError("AccessDenied", "Access Denied", status=403)
    code = "MissingAuthenticationToken" if protocol in ("query", "ec2", "rest-xml") else "MissingAuthenticationTokenException"
    return AwsError(code, "Request is missing Authentication Token", status=403)


def unknown_key(service: str, protocol: str, access_key: str) -> AwsError:
    """An access key that nobody handed out."""
    if service == "s3":
        message = "The AWS Access Key Id you provided does not exist in our records."
        return AwsError("InvalidAccessKeyId", message, status=403, AWSAccessKeyId=access_key)
    code = "InvalidClientTokenId" if protocol in ("query", "ec2", "rest-xml") else "UnrecognizedClientException"
    return AwsError(code, "The security token included in the request is invalid.", status=403)


def mismatch(request: Request, credential: Credential, string_to_sign: str, canonical: str = "") -> AwsError:
    """A signature that another secret made, or another request."""
    start = "The request signature we calculated does not match the signature you provided. "
    if credential.service == "s3":
        members: dict[str, Any] = {
            "AWSAccessKeyId": credential.access_key,
            "StringToSign": string_to_sign,
            "SignatureProvided": credential.signature,
            "StringToSignBytes": string_to_sign.encode().hex(" "),
        }
        if canonical:
            members.update(CanonicalRequest=canonical, CanonicalRequestBytes=canonical.encode().hex(" "))
        return AwsError("SignatureDoesNotMatch", start + "Check your key and signing method.", status=403, **members)
    code = "SignatureDoesNotMatch" if speaks_query(request) else "InvalidSignatureException"
    end = "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    return AwsError(code, start + end, status=403)


def token_of(request: Request) -> str:
    """The session token that came with a signature: a header, or a parameter of a presigned URL."""
    if "x-amz-security-token" in request.headers:
        return request.headers["x-amz-security-token"]
    given = query_of(request)
    return given.get("X-Amz-Security-Token") or given.get("x-amz-security-token", "")


def wrong_token(service: str, protocol: str, access_key: str, token: str) -> AwsError:
    """A session token that is missing, or not the key's."""
    if service == "s3" and token:
        members: dict[str, Any] = {"Token-0": token}
        return AwsError("InvalidToken", "The provided token is malformed or otherwise invalid.", status=400, **members)
    return unknown_key(service, protocol, access_key)


def expired_token(service: str, protocol: str, token: str) -> AwsError:
    """Temporary credentials whose time is over."""
    if service == "s3":
        members: dict[str, Any] = {"Token-0": token}
        return AwsError("ExpiredToken", "The provided token has expired.", status=400, **members)
    code = "ExpiredToken" if protocol in ("query", "ec2", "rest-xml") else "ExpiredTokenException"
    return AwsError(code, "The security token included in the request is expired", status=403)
