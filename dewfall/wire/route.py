"""Which service and operation a request means, read off exactly: never a guess by the shape of a path alone.

service     credential scope's signing name, else Host, else Action and Version, else S3
operation   X-Amz-Target, else Action, else method and path against the service's model
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from dewfall.settings import DEFAULT_REGION
from dewfall.wire import models, sqs_query
from dewfall.wire.messages import Request

if TYPE_CHECKING:
    from botocore.model import OperationModel

_SCOPE = re.compile(r"Credential=([^/,\s]*)/(\d*)/([^/,]*)/([^/,]*)/aws4_request")
_QUERY_SCOPE = re.compile(r"(?:^|&)X-Amz-Credential=([^&]*)")
_V2_HEADER = re.compile(r"AWS ([^:\s]+):")
_V2_QUERY = re.compile(r"(?:^|&)AWSAccessKeyId=([^&]*)")
_CBOR_PATH = re.compile(r"/service/([^/]+)/operation/([^/]+)$")
_S3_HOST = re.compile(
    r"^(?:(?P<bucket>.+)\.)?s3(?:-accesspoint)?(?:[.-](?:dualstack\.)?[a-z]{2,3}(?:-[a-z]+)+-\d)?\.(?:amazonaws\.com(?:\.cn)?|localhost(?:\.[a-z.]+)?)$"
)
_LOCAL_BUCKET = re.compile(r"^(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.localhost$")
_CONTROL_HOST = re.compile(r"(?:^|\.)s3-control[.-]")
_AWS_HOST = re.compile(r"^(?P<prefix>[a-z0-9.-]+?)(?:\.(?P<region>[a-z]{2,3}(?:-[a-z]+)+-\d))?\.(?:amazonaws\.com(?:\.cn)?|api\.aws)$")
JSON_TYPES = ("application/x-amz-json-1.0", "application/x-amz-json-1.1", "application/json")
# Models that name the same path: the deprecated twin, and the one of another kind of bucket, are never meant.
SHADOWED = frozenset({"GetBucketLifecycle", "PutBucketLifecycle", "GetBucketNotification", "PutBucketNotification", "ListDirectoryBuckets"})


@dataclass(slots=True)
class Match:
    """What a request means. `model` is None when service or operation is unknown; `complete` is False until a form body was read."""

    service: str
    operation: str = ""
    model: OperationModel | None = None
    protocol: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    region: str = DEFAULT_REGION
    access_key: str = ""
    complete: bool = True

    @property
    def streams(self) -> bool:
        """Whether the request's payload is a streamed blob, to be staged instead of read into memory."""
        return self.model is not None and _streams(self.model)


@functools.cache
def _streams(model: OperationModel) -> bool:
    return bool(model.has_streaming_input)


def match(request: Request, default_region: str = DEFAULT_REGION) -> Match:
    """Route by head. A query-protocol request comes back with complete=False: finish it with `match_form`."""
    access_key, region, signing = scope_of(request)
    host = request.headers.get("host", "").partition(":")[0]
    found = Match("", region=region or default_region, access_key=access_key)
    target = request.headers.get("x-amz-target")
    if target:
        return _by_target(found, request, target, signing)
    cbor = _CBOR_PATH.search(request.raw_path) if "smithy-protocol" in request.headers else None
    candidates = _candidates(signing, host, found)
    if signing and not candidates:
        found.service = signing
        return found
    if cbor:
        return _by_name(found, _of_name(cbor[1], candidates), cbor[2], "smithy-rpc-v2-cbor")
    if _is_form(request) and candidates != ("s3",):
        found.service = candidates[0] if candidates else ""
        found.complete = False
        return found
    _by_path(found, request, candidates or ("s3",), host)
    if found.model is None and signing in models.COMMON_SIGNING:
        _by_path(found, request, models.rare_services_signing_as(signing), host)
        found.service = found.service if found.model is not None else candidates[0]
    return found


def match_form(found: Match, request: Request, form: dict[str, str]) -> Match:
    """Finish the routing of a query or ec2 request with its form."""
    action, version = form.get("Action", ""), form.get("Version", "")
    found.complete = True
    if not found.service:
        found.service = models.service_of_version(version, action) or ("sqs" if sqs_query.is_queue(request.raw_path) else "")
    if not found.service or not action:
        return _by_path(found, request, (found.service or "s3",), "")
    found.service = models.spoken_in_version(found.service, version)
    spoken = models.protocols(found.service)
    found.protocol = next((p for p in ("query", "ec2") if p in spoken), "query")
    found.operation = action
    found.model = sqs_query.operation_model(action) if found.service == "sqs" else models.operation_model(found.service, action)
    return found


def scope_of(request: Request) -> tuple[str, str, str]:
    """(access key, region, signing name) off the Authorization header or the presigned query; "" where not signed."""
    scope = _SCOPE.search(request.headers.get("authorization", ""))
    if scope:
        return scope[1], scope[3], scope[4]
    if request.query:
        query = _QUERY_SCOPE.search(request.query)
        if query:
            parts = unquote(query[1]).split("/")
            if len(parts) >= 5:
                return "/".join(parts[:-4]), parts[-3], parts[-2]
        old = _V2_QUERY.search(request.query)
        if old:
            return unquote(old[1]), "", "s3"
    old = _V2_HEADER.match(request.headers.get("authorization", ""))
    return (old[1], "", "s3") if old else ("", "", "")


def bucket_of_host(host: str) -> str:
    """The bucket that a virtual-host style name carries, else ""."""
    found = _S3_HOST.match(host) or _LOCAL_BUCKET.match(host)
    return (found["bucket"] or "") if found else ""


def _candidates(signing: str, host: str, found: Match) -> tuple[str, ...]:
    if signing:
        return models.services_signing_as(signing)
    if not host or host[0].isdigit() or host == "localhost" or host.startswith("["):
        return ()
    if _S3_HOST.match(host) or _LOCAL_BUCKET.match(host):
        return ("s3",)
    aws = _AWS_HOST.match(host)
    if aws is None:
        return ()
    found.region = aws["region"] or found.region
    return tuple(h.service for h in models.heads().values() if h.prefix == aws["prefix"])


def _by_target(found: Match, request: Request, target: str, signing: str) -> Match:
    prefix, _, operation = target.rpartition(".")
    service = models.service_of_target(prefix, operation)
    found.service = service or (models.services_signing_as(signing) or ("",))[0] if signing else service or ""
    version = "1.0" if "json-1.0" in request.headers.get("content-type", "") else "1.1"
    found.protocol = f"json-{version}"
    found.operation = operation
    found.model = models.operation_model(service, operation) if service else None
    return found


def _of_name(name: str, candidates: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the candidates that a CBOR path names; services elsewhere only where nobody signed."""

    def is_named(head: models.Head) -> bool:
        return name in (head.target, head.service_id.replace(" ", ""))

    if candidates:
        heads = [models.head(service) for service in candidates]
        if not is_named(heads[0]):
            heads += [head for head in models.heads().values() if head.signing == heads[0].signing]
        return tuple(head.service for head in heads if is_named(head)) or candidates
    return tuple(head.service for head in models.heads().values() if is_named(head))


def _by_name(found: Match, candidates: tuple[str, ...], operation: str, protocol: str) -> Match:
    found.service = candidates[0] if candidates else ""
    found.operation, found.protocol = operation, protocol
    found.model = models.operation_model(found.service, operation) if found.service else None
    return found


def _is_form(request: Request) -> bool:
    if request.method == "POST" and request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return True
    return request.method in ("GET", "POST") and ("Action=" in request.query)


# ---------------------------------------------------------------- method and path


@dataclass(frozen=True, slots=True)
class Path:
    """One REST operation's address, with what its query and headers must hold."""

    operation: str
    pattern: re.Pattern[str]
    labels: tuple[str, ...]
    literals: int
    query: frozenset[str]
    needed_query: frozenset[str]
    needed_headers: frozenset[str]

    def labels_of(self, raw: str) -> dict[str, str] | None:
        """The labels that a path holds, decoded; None when it is not this operation's."""
        hit = self.pattern.match(raw)
        return {name: unquote(text) for name, text in zip(self.labels, hit.groups(), strict=True)} if hit else None


_LABEL = re.compile(r"\{([^}+]+)(\+?)\}")


@functools.cache
def paths(service: str) -> dict[str, list[Path]]:
    """Method → addresses of a REST service."""
    model = models.service_model(service)
    table: dict[str, list[Path]] = {}
    for name in model.operation_names:
        if name not in SHADOWED:
            operation = model.operation_model(name)
            table.setdefault(operation.http["method"], []).append(path_of(name, operation))
    return {method: sorted(found, key=_exactness, reverse=True) for method, found in table.items()}


@functools.cache
def plain_paths(service: str) -> dict[str, list[Path]]:
    """Those of `paths` that a request without a query string can mean."""
    return {method: [path for path in found if not path.query and not path.needed_query] for method, found in paths(service).items()}


def _exactness(path: Path) -> tuple[int, int, int]:
    """The more of an address is fixed, the surer it is meant."""
    return path.literals, len(path.query), len(path.needed_query) + len(path.needed_headers)


def path_of(name: str, operation: Any) -> Path:
    """The address of one operation."""
    uri, _, query = operation.http["requestUri"].partition("?")
    labels = tuple(m[0] for m in _LABEL.findall(uri))
    pieces, end = [], 0
    for found in _LABEL.finditer(uri):
        pieces += [re.escape(uri[end : found.start()]), "(.+)" if found[2] else "([^/]+)"]
        end = found.end()
    pieces.append(re.escape(uri[end:]))
    shape = operation.input_shape
    members = [shape.members[m] for m in shape.required_members] if shape is not None else []
    needed = {
        where: frozenset(m.serialization["name"] for m in members if m.serialization.get("location") == where) for where in ("querystring", "header")
    }
    literal = frozenset(pair for pair in query.split("&") if pair and not pair.startswith("x-id="))
    headers = frozenset(h.lower() for h in needed["header"])
    pattern = re.compile("".join(pieces).rstrip("/") + "/?$", re.DOTALL)
    return Path(name, pattern, labels, len(_LABEL.sub("", uri)), literal, needed["querystring"], headers)


def _by_path(found: Match, request: Request, candidates: tuple[str, ...], host: str) -> Match:
    raw, query = request.raw_path or "/", _query_keys(request.query)
    if "s3" in candidates and raw.startswith("/v20180820/") and _is_control(request, host):
        candidates = ("s3control",)
    bucket = bucket_of_host(host) if "s3" in candidates else ""
    if bucket:
        raw = f"/{bucket}{raw}"
    for service in candidates:
        rest = next((p for p in models.protocols(service) if p.startswith("rest-")), "")
        hit = _best(service, request, raw, query) if rest else None
        if hit is not None:
            path, labels = hit
            found.service, found.operation, found.protocol = service, path.operation, rest
            found.labels = labels
            found.model = models.operation_model(service, path.operation)
            return found
    found.service = found.service or (candidates[0] if candidates else "s3")
    found.protocol = _spoken_first(found.service)
    return found


def _is_control(request: Request, host: str) -> bool:
    """Whether a path that could be a key of S3's is S3 Control's: it says whose account, or which host was meant."""
    return not {"x-amz-account-id", "x-amz-outpost-id"}.isdisjoint(request.headers) or bool(_CONTROL_HOST.search(host))


def _spoken_first(service: str) -> str:
    """The protocol in which to refuse what has no operation."""
    spoken = models.protocols(service)
    if "json" in spoken:
        return f"json-{models.service_model(service).metadata.get('jsonVersion', '1.1')}"
    return spoken[0]


def _best(service: str, request: Request, raw: str, query: dict[str, str]) -> tuple[Path, dict[str, str]] | None:
    """The most exact address that fits."""
    where = raw if service != "s3" or raw == "/" else _split_key(raw)
    for path in (paths if query else plain_paths)(service).get(request.method, ()):
        if path.needed_headers and not path.query and not path.needed_headers <= request.headers.keys():
            continue  # where the query says what is asked, a missing header is only missing
        if query and not (all(_has(query, literal) for literal in path.query) and all(name in query for name in path.needed_query)):
            continue
        hit = path.labels_of(where)
        if hit is not None:
            return path, hit
    return None


def _split_key(raw: str) -> str:
    """S3: `/bucket/` is the bucket; a trailing slash further right belongs to the key."""
    return raw.rstrip("/") if raw.count("/") == 2 and raw.endswith("/") else raw


def _has(query: dict[str, str], literal: str) -> bool:
    name, equals, value = literal.partition("=")
    return name in query and (not equals or query[name] == value)


def _query_keys(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True)) if query else {}
