"""Results of operations → HTTP answers, as each protocol writes them: documents, headers, payloads, event streams.

S3's departures from its own model (root names, the unwrapped location) are tables here and nowhere else.
"""

from __future__ import annotations

import base64
import functools
import json
from typing import TYPE_CHECKING, Any

from dewfall.bodies import FileRange, StagedBody
from dewfall.wire import cbor_codec, eventstream, json_codec, timestamps, xml_codec
from dewfall.wire.bindings import METADATA, Binding, binding
from dewfall.wire.messages import Response
from dewfall.wire.words import encode_words

if TYPE_CHECKING:
    from botocore.model import OperationModel

S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
# Root elements that are not the output shape's name without "Output" plus "Result".
S3_ROOTS = {
    "ListBuckets": "ListAllMyBucketsResult",
    "ListDirectoryBuckets": "ListAllMyDirectoryBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListObjectVersions": "ListVersionsResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketAcl": "AccessControlPolicy",
    "GetObjectAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "NotificationConfiguration": "NotificationConfiguration",  # the shape is its operation's answer, and not one of its own
    "ListBucketAnalyticsConfigurations": "ListBucketAnalyticsConfigurationResult",
    "ListBucketIntelligentTieringConfigurations": "ListBucketIntelligentTieringConfigurationsOutput",
    "ListBucketInventoryConfigurations": "ListInventoryConfigurationsResult",
    "ListBucketMetricsConfigurations": "ListMetricsConfigurationsResult",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketTagging": "Tagging",
    "GetObjectTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "ListParts": "ListPartsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
}


@functools.cache
def identity_headers_of(service: str) -> tuple[str, ...]:
    """The names under which a service tells the request's id."""
    return ("x-amz-request-id", "x-amz-id-2") if service in ("s3", "s3control") else ("x-amzn-RequestId",)


def identity_headers(service: str, request_id: str) -> list[tuple[str, str]]:
    """The headers that name a request; S3 has a second, longer id."""
    names = identity_headers_of(service)
    found = [(name, request_id if name != "x-amz-id-2" else host_id(request_id)) for name in names]
    return [*found, ("Server", "AmazonS3")] if service == "s3" else found


def host_id(request_id: str) -> str:
    """S3's x-amz-id-2, made from the request's id."""
    return base64.b64encode((request_id * 4)[:56].encode()).decode()


def write_response(service: str, model: OperationModel, protocol: str, result: dict[str, Any], request_id: str) -> Response:
    """An operation's result → the answer."""
    response = Response(200, identity_headers(service, request_id))
    shape = model.output_shape
    if protocol.startswith("json"):
        _write_json(shape, protocol, result, response)
    elif protocol == "query":
        _write_query(model, result, request_id, response)
    elif protocol == "ec2":
        _write_ec2(model, result, request_id, response)
    elif protocol == "smithy-rpc-v2-cbor":
        _write_cbor(shape, result, response)
    else:
        response.status = int(model.http.get("responseCode", 200))
        if shape is not None:
            _write_rest(service, model, protocol, result, response)
    if "_status" in result:
        response.status = int(result["_status"])
    if "_headers" in result:
        replaced = {name.lower() for name in result["_headers"]}
        response.headers = [pair for pair in response.headers if pair[0].lower() not in replaced]
        response.headers += [(name, str(value)) for name, value in result["_headers"].items()]
    return response


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _write_json(shape: Any, protocol: str, result: dict[str, Any], response: Response) -> None:
    content_type = f"application/x-amz-json-{protocol[-3:]}"
    stream = shape.event_stream_name if shape is not None else None
    if stream:
        rest = {name: value for name, value in result.items() if name != stream}
        response.headers.append(("Content-Type", "application/vnd.amazon.eventstream"))
        response.body = eventstream.write(shape.members[stream], result.get(stream) or (), "json", _dump(json_codec.write(shape, rest)))
        return
    response.headers.append(("Content-Type", content_type))
    if shape is not None:
        response.body = _dump(json_codec.write(shape, result))


def _write_cbor(shape: Any, result: dict[str, Any], response: Response) -> None:
    response.headers.append(("smithy-protocol", "rpc-v2-cbor"))
    stream = shape.event_stream_name if shape is not None else None
    if stream:
        rest = {name: value for name, value in result.items() if name != stream}
        response.headers.append(("Content-Type", "application/vnd.amazon.eventstream"))
        response.body = eventstream.write(shape.members[stream], result.get(stream) or (), "cbor", cbor_codec.write(shape, rest))
        return
    response.headers.append(("Content-Type", "application/cbor"))
    response.body = cbor_codec.write(shape, result) if shape is not None else b"\xa0"


def _write_query(model: OperationModel, result: dict[str, Any], request_id: str, response: Response) -> None:
    out = [f'<{model.name}Response xmlns="{namespace_of(model)}">']
    shape = model.output_shape
    if shape is not None:
        wrapper = shape.serialization.get("resultWrapper", f"{model.name}Result")
        out.append(f"<{wrapper}>")
        xml_codec.write_members(shape, result, out)
        out.append(f"</{wrapper}>")
    out.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{model.name}Response>")
    response.headers.append(("Content-Type", "text/xml"))
    response.body = "".join(out).encode("utf-8", "replace")


def _write_ec2(model: OperationModel, result: dict[str, Any], request_id: str, response: Response) -> None:
    out = [f'{XML_HEAD}<{model.name}Response xmlns="{namespace_of(model)}"><requestId>{request_id}</requestId>']
    if model.output_shape is not None:
        xml_codec.write_members(model.output_shape, result, out)
    out.append(f"</{model.name}Response>")
    response.headers.append(("Content-Type", "text/xml;charset=UTF-8"))
    response.body = "".join(out).encode("utf-8", "replace")


def namespace_of(model: OperationModel) -> str:
    """The XML namespace of a service's answers."""
    metadata = model.service_model.metadata
    return metadata.get("xmlNamespace") or f"http://{metadata['endpointPrefix']}.amazonaws.com/doc/{metadata['apiVersion']}/"


# ---------------------------------------------------------------- REST


def _write_rest(service: str, model: OperationModel, protocol: str, result: dict[str, Any], response: Response) -> None:
    place = binding(model.output_shape)
    write_headers(place, result, response)
    if place.status and result.get(place.status) is not None:
        response.status = int(result[place.status])
    if place.payload:
        _write_payload(service, place, protocol, result.get(place.payload), response)
    elif protocol == "rest-xml":
        if place.body:
            _set_type(response, "application/xml")
            response.body = _xml_document(service, model, place, result)
    elif place.body or not place.shape.members:
        _set_type(response, "application/json")
        if response.status not in (204, 304):
            located = {entry[0] for entry in (*place.headers, *place.prefixes)} | {place.status}
            response.body = _dump(json_codec.write(place.shape, {k: v for k, v in result.items() if k not in located}))


def write_headers(place: Binding, result: dict[str, Any], response: Response) -> None:
    """A shape's header members → headers."""
    for name, value in result.items():
        known = place.by_member.get(name)
        if known is not None and value is not None and not (value == [] and known[1].type_name == "list"):
            response.headers.append((known[0], header_text(known[1], value)))
    for name, prefix, _ in place.prefixes:
        for key, value in (result.get(name) or {}).items():
            response.headers.append((f"{prefix}{key}", encode_words(str(value)) if prefix == METADATA else str(value)))


def header_text(shape: Any, value: Any) -> str:
    """A value as a header writes it."""
    kind = shape.type_name
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        return str(timestamps.write(value, shape.serialization.get("timestampFormat", "rfc822")))
    if kind == "list":
        return ", ".join(_quoted(header_text(shape.member, item), shape.member) for item in value)
    if kind == "blob":
        return base64.b64encode(value).decode()
    if kind in ("float", "double"):
        return xml_codec.number_text(value)
    if kind == "string" and shape.serialization.get("jsonvalue"):
        return base64.b64encode(_dump(value)).decode()
    return str(value)


def _quoted(text: str, shape: Any) -> str:
    if shape.type_name == "string" and ("," in text or '"' in text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def _set_type(response: Response, content_type: str) -> None:
    if not any(name.lower() == "content-type" for name, _ in response.headers):
        response.headers.append(("Content-Type", content_type))


def _write_payload(service: str, place: Binding, protocol: str, value: Any, response: Response) -> None:
    member = place.shape.members[place.payload]
    if place.payload_kind == "eventstream":
        _set_type(response, "application/vnd.amazon.eventstream")
        response.body = eventstream.write(member, value or (), "xml" if protocol == "rest-xml" else "json")
    elif place.payload_kind == "blob":
        response.body = _raw(value)
        if value is not None:
            _set_type(response, "binary/octet-stream" if service == "s3" else "application/octet-stream")
    elif place.payload_kind == "string":
        response.body = str(value if value is not None else "").encode()
        _set_type(response, "application/json" if service == "s3" else "text/plain")
    elif protocol == "rest-xml":
        _set_type(response, "application/xml")
        if value is not None:
            out = [XML_HEAD]
            root = member.serialization.get("name", place.payload if service == "s3" else member.name)
            namespace = "" if member.serialization.get("xmlNamespace") else (S3_NAMESPACE if service == "s3" else "")
            xml_codec.write(member, value, root, out, namespace, full_seconds=service == "s3")
            response.body = "".join(out).encode("utf-8", "replace")
    else:
        _set_type(response, "application/json")
        response.body = _dump(json_codec.write(member, value)) if value is not None else b"{}"


def _raw(value: Any) -> Any:
    """A payload as the server can send it: bytes, a file's range, or chunks."""
    if value is None:
        return b""
    if isinstance(value, StagedBody):
        return value.data if value.path is None else FileRange(value.path, 0, value.size)
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, bytearray | memoryview) else value


def _xml_document(service: str, model: OperationModel, place: Binding, result: dict[str, Any]) -> bytes:
    if service == "s3":
        if model.name == "GetBucketLocation":
            return _location(result.get("LocationConstraint"))
        name = place.shape.name.removesuffix("Output")
        root, namespace = S3_ROOTS.get(name, f"{name}Result"), S3_NAMESPACE
    else:
        setting = place.shape.serialization.get("xmlNamespace") or {}
        root, namespace = place.shape.serialization.get("name", place.shape.name), setting.get("uri") or namespace_of(model)
    out = [f'{XML_HEAD}<{root} xmlns="{namespace}">']
    xml_codec.write_members(place.shape, result, out, full_seconds=service == "s3")
    out.append(f"</{root}>")
    return "".join(out).encode("utf-8", "replace")


def _location(region: str | None) -> bytes:
    """The answer that is the bare element; us-east-1 has none."""
    if not region or region == "us-east-1":
        return f'{XML_HEAD}<LocationConstraint xmlns="{S3_NAMESPACE}"/>'.encode()
    return f'{XML_HEAD}<LocationConstraint xmlns="{S3_NAMESPACE}">{region}</LocationConstraint>'.encode()
