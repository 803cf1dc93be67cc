"""Errors → HTTP answers, each in its protocol's own shape, with the status and the members that the model gives them.

One AwsError may be said in six protocols; what differs between them (names, statuses, places) is data in this file.
"""

from __future__ import annotations

import functools
import json
from typing import Any
from xml.sax.saxutils import escape

from dewfall.errors import AwsError
from dewfall.wire import cbor_codec, json_codec, models, sqs_query, xml_codec
from dewfall.wire.answers import XML_HEAD, host_id, identity_headers, namespace_of, write_headers
from dewfall.wire.bindings import binding
from dewfall.wire.messages import Request, Response
from dewfall.wire.route import Match

# Codes that models do not describe, by HTTP status. Everything else is 400, or 500 where the model calls it a fault.
STATUS: dict[str, int] = {
    code: status
    for status, codes in {
        304: "NotModified",
        403: "AccessDenied AccessDeniedException AllAccessDisabled ExpiredTokenException InvalidAccessKeyId InvalidClientTokenId "
        "InvalidObjectState InvalidSignatureException MissingAuthenticationToken MissingAuthenticationTokenException OptInRequired "
        "RequestExpired RequestTimeTooSkewed SignatureDoesNotMatch UnauthorizedOperation UnrecognizedClientException",
        404: "NoSuchAccessPointPolicy NoSuchBucket NoSuchBucketPolicy NoSuchConfiguration NoSuchCORSConfiguration NoSuchEntity NoSuchKey "
        "NoSuchLifecycleConfiguration NoSuchObjectLockConfiguration NoSuchPublicAccessBlockConfiguration NoSuchTagSet NoSuchUpload "
        "NoSuchVersion NoSuchWebsiteConfiguration ObjectLockConfigurationNotFoundError OwnershipControlsNotFoundError "
        "ReplicationConfigurationNotFoundError ServerSideEncryptionConfigurationNotFoundError",
        405: "MethodNotAllowed",
        409: "BucketAlreadyExists BucketAlreadyOwnedByYou BucketNotEmpty ConditionalRequestConflict InvalidBucketState OperationAborted",
        411: "MissingContentLength",
        412: "PreconditionFailed",
        413: "RequestEntityTooLargeException",
        416: "InvalidRange",
        500: "InternalError InternalFailure InternalServerException InternalServiceError",
        501: "NotImplemented",
        503: "ServiceUnavailable ServiceUnavailableException SlowDown",
    }.items()
    for code in codes.split()
}
# JSON-RPC services answer all client errors with 400, these among them.
ALWAYS_400 = frozenset(code for code, status in STATUS.items() if status == 403)
# What every room says in the words of the JSON services → what others say, unless their model has the code.
S3_NAMES = {
    "AccessDeniedException": "AccessDenied",
    "ValidationException": "InvalidArgument",
    "SerializationException": "InvalidArgument",
    "InternalFailure": "InternalError",
    "RequestEntityTooLargeException": "MaxMessageLengthExceeded",
}
QUERY_NAMES = {"AccessDeniedException": "AccessDenied", "ValidationException": "ValidationError", "SerializationException": "MalformedInput"}
EC2_NAMES = {"AccessDeniedException": "UnauthorizedOperation", "ValidationException": "InvalidParameterValue"}
# SQS's codes from the time when it spoke query; its clients still receive them in a header.
SQS = "AWS.SimpleQueueService."
SQS_CODES = {
    "QueueDoesNotExist": SQS + "NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    **{
        name: SQS + name
        for name in (
            "BatchEntryIdsNotDistinct",
            "BatchRequestTooLong",
            "EmptyBatchRequest",
            "InvalidBatchEntryId",
            "MessageNotInflight",
            "PurgeQueueInProgress",
            "QueueDeletedRecently",
            "TooManyEntriesInBatchRequest",
            "UnsupportedOperation",
        )
    },
}


@functools.cache
def error_shapes(service: str) -> dict[str, Any]:
    """A service's error shapes by name and, where no other has it as its name, by code."""
    try:
        shapes = models.service_model(service).error_shapes
    except KeyError:
        return {}
    found = {shape.error_code: shape for shape in shapes}
    return {**found, **{shape.name: shape for shape in shapes}}


def protocol_of(request: Request, match: Match) -> str:
    """The protocol to answer in, also where routing did not get so far."""
    if match.protocol:
        return match.protocol
    headers = request.headers
    if "x-amz-target" in headers:
        return "json-1.0" if "json-1.0" in headers.get("content-type", "") else "json-1.1"
    if "smithy-protocol" in headers:
        return "smithy-rpc-v2-cbor"
    if not match.complete or headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return "query"
    return "rest-json" if "json" in headers.get("content-type", "") else "rest-xml"


def write_error(request: Request, match: Match, error: AwsError, request_id: str) -> Response:
    """An error → the answer."""
    protocol = protocol_of(request, match)
    shape = error_shapes(match.service).get(error.code) if match.service else None
    code = error.code if shape is not None else _renamed(match.service, protocol, error.code)
    response = Response(_status(error, code, shape, protocol), identity_headers(match.service, request_id))
    response.headers += list(error.headers.items())
    if request.method == "HEAD" or response.status == 304:
        if request.method == "HEAD" and protocol == "rest-xml":
            response.headers.append(("Content-Type", "application/xml"))
        return response
    if protocol.startswith("json") or protocol == "smithy-rpc-v2-cbor":
        _write_rpc(match, protocol, error, code, shape, response)
    elif protocol == "rest-json":
        _write_rest_json(error, code, shape, response)
    elif protocol == "ec2":
        _write_ec2(error, code, request_id, response)
    elif protocol == "rest-xml" and match.service in ("s3", ""):
        _write_s3(request, error, code, request_id, response)
    else:
        _write_query(match, error, code, shape, request_id, response)
    return response


def _renamed(service: str, protocol: str, code: str) -> str:
    if service == "s3":
        return S3_NAMES.get(code, code)
    if protocol == "ec2":
        return EC2_NAMES.get(code, code)
    return QUERY_NAMES.get(code, code) if protocol in ("query", "rest-xml") else code


def _status(error: AwsError, code: str, shape: Any, protocol: str) -> int:
    if shape is not None:
        modeled = shape.metadata.get("error", {}).get("httpStatusCode")
        if modeled:
            return int(modeled)
        if shape.metadata.get("fault"):
            return 500
    if protocol.startswith("json") and code in ALWAYS_400:
        return 400
    return error.status or STATUS.get(code, 400)


def _members(error: AwsError, shape: Any) -> dict[str, Any]:
    """Message and further members under the names that the shape has."""
    name = "message"
    if shape is not None:
        name = next((member for member in shape.members if member.lower() == "message"), name)
    return {name: error.message, **error.members}


def _write_rpc(match: Match, protocol: str, error: AwsError, code: str, shape: Any, response: Response) -> None:
    kind = shape.name if shape is not None else code
    members = _members(error, shape)
    if match.service == "sqs":
        kind = sqs_query.TYPES.get(kind, kind)
    metadata = match.model.service_model.metadata if match.model is not None else {}
    if "awsQueryCompatible" in metadata:
        old = (
            SQS_CODES.get(kind, shape.error_code if shape is not None else code) if match.service == "sqs" else (shape.error_code if shape else code)
        )
        response.headers.append(("x-amzn-query-error", f"{old};{'Receiver' if response.status >= 500 else 'Sender'}"))
    if protocol != "json-1.1" and (shape is not None or match.service == "sqs"):
        kind = f"com.amazonaws.{match.service}#{kind}"
    if protocol == "smithy-rpc-v2-cbor":
        response.headers += [("smithy-protocol", "rpc-v2-cbor"), ("Content-Type", "application/cbor")]
        response.body = cbor_codec.write_error(kind, shape, members)
        return
    response.headers.append(("Content-Type", f"application/x-amz-json-{protocol[-3:]}"))
    response.body = _dump({"__type": kind, **_document(shape, members)})


def _document(shape: Any, members: dict[str, Any]) -> dict[str, Any]:
    """The error's members as JSON; a message is always among them."""
    if shape is None:
        return members
    written: dict[str, Any] = json_codec.write(shape, members)
    if not any(name.lower() == "message" for name in written):
        written.update({name: text for name, text in members.items() if name.lower() == "message"})
    return written


def _write_rest_json(error: AwsError, code: str, shape: Any, response: Response) -> None:
    members = _members(error, shape)
    if shape is not None:
        place = binding(shape)
        write_headers(place, members, response)
        members = {name: value for name, value in members.items() if name not in {entry[0] for entry in place.headers}}
    response.headers += [("x-amzn-ErrorType", shape.name if shape is not None else code), ("Content-Type", "application/json")]
    response.body = _dump(_document(shape, members))


def _write_query(match: Match, error: AwsError, code: str, shape: Any, request_id: str, response: Response) -> None:
    sender = "Receiver" if response.status >= 500 else "Sender"
    if shape is not None:
        code = SQS_CODES.get(shape.name, shape.error_code) if match.service == "sqs" else shape.error_code
    namespace = namespace_of(match.model) if match.model is not None else _namespace(match.service)
    out = [f'<ErrorResponse xmlns="{namespace}"><Error><Type>{sender}</Type><Code>{escape(code)}</Code>']
    message = error.message
    if match.service == "sqs":
        message = sqs_query.MESSAGES.get(error.code, message)
    out.append(f"<Message>{xml_codec.plain(message)}</Message>")
    if match.service == "sqs":
        out.append("<Detail/>")
    if shape is not None and error.members:
        xml_codec.write_members(shape, error.members, out)
    elif match.service == "s3control":
        out += [f"<{name}>{xml_codec.plain(value)}</{name}>" for name, value in error.members.items() if value is not None]
    out.append(f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>")
    response.headers.append(("Content-Type", "text/xml"))
    response.body = "".join(out).encode("utf-8", "replace")


@functools.cache
def _namespace(service: str) -> str:
    try:
        return str(models.service_model(service).metadata.get("xmlNamespace", f"http://{service}.amazonaws.com/"))
    except KeyError:
        return "http://webservices.amazon.com/AWSFault/2005-15-09"


def _write_ec2(error: AwsError, code: str, request_id: str, response: Response) -> None:
    text = f"<Response><Errors><Error><Code>{escape(code)}</Code><Message>{xml_codec.plain(error.message)}</Message></Error></Errors>"
    response.headers.append(("Content-Type", "text/xml;charset=UTF-8"))
    response.body = f"{XML_HEAD}{text}<RequestID>{request_id}</RequestID></Response>".encode("utf-8", "replace")


def _write_s3(request: Request, error: AwsError, code: str, request_id: str, response: Response) -> None:
    out = [f"{XML_HEAD}<Error><Code>{escape(code)}</Code><Message>{xml_codec.plain(error.message)}</Message>"]
    out += [f"<{name}>{xml_codec.plain(value)}</{name}>" for name, value in error.members.items() if value is not None]
    out.append(f"<RequestId>{request_id}</RequestId><HostId>{host_id(request_id)}</HostId></Error>")
    response.headers.append(("Content-Type", "application/xml"))
    response.body = "".join(out).encode("utf-8", "replace")


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), default=str).encode()
