"""CORS: a bucket's rules, the answer to a browser's preflight, and the headers that other answers carry.

preflight(store, bucket, headers)         → (status, headers, body) of OPTIONS
headers_for(store, bucket, headers, method) → headers to add to any answer whose request has an Origin
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from dewfall.context import Ctx
from dewfall.engine.buckets import find_bucket
from dewfall.engine.ports import Store
from dewfall.errors import AwsError
from dewfall.services.registry import operation
from dewfall.services.s3.access import bucket_record, invalid_request, malformed_xml

METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")
VARY = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"


@operation("s3", "PutBucketCors")
def put_bucket_cors(ctx: Ctx, req: dict[str, Any]) -> None:
    rules = (req.get("CORSConfiguration") or {}).get("CORSRules")
    if not rules or len(rules) > 100:
        raise malformed_xml()
    for rule in rules:
        if not rule.get("AllowedMethods") or not rule.get("AllowedOrigins"):
            raise malformed_xml()
        for method in rule["AllowedMethods"]:
            if method not in METHODS:
                raise invalid_request(f"Found unsupported HTTP method in CORS config. Unsupported method is {method}")
        for origin in rule["AllowedOrigins"]:
            if origin.count("*") > 1:
                raise invalid_request(f'AllowedOrigin "{origin}" can not have more than one wildcard.')
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        record.document["Settings"]["Cors"] = {"CORSRules": rules}
        tx.records.save(record)


@operation("s3", "GetBucketCors")
def get_bucket_cors(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        kept: dict[str, Any] | None = bucket_record(ctx, tx, req).document["Settings"].get("Cors")
    if kept is None:
        raise AwsError("NoSuchCORSConfiguration", "The CORS configuration does not exist", status=404, BucketName=req["Bucket"])
    return kept


@operation("s3", "DeleteBucketCors")
def delete_bucket_cors(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = bucket_record(ctx, tx, req)
        if record.document["Settings"].pop("Cors", None) is not None:
            tx.records.save(record)
    return {"_status": 204}


def preflight(store: Store, bucket: str, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    """The answer to OPTIONS. `headers` by lower-case name."""
    origin, method = headers.get("origin"), headers.get("access-control-request-method")
    if not origin:
        return _refused(400, "BadRequest", "Insufficient information. Origin request header needed.")
    if not method:
        message = "Invalid Access-Control-Request-Method: null"
        return _refused(400, "BadRequest", message)
    rules = rules_of(store, bucket)
    if not rules:
        return _refused(403, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.")
    asked = [name.strip().lower() for name in headers.get("access-control-request-headers", "").split(",") if name.strip()]
    for rule in rules:
        if _fits(rule, origin, method) and all(_header_fits(rule, name) for name in asked):
            found = _allowed(rule, origin)
            if asked:
                found["Access-Control-Allow-Headers"] = ", ".join(asked)
            return 200, found, b""
    return _refused(
        403,
        "AccessForbidden",
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, "
        "request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
    )


def headers_for(store: Store, bucket: str, headers: Mapping[str, str], method: str) -> dict[str, str]:
    """What to add to the answer of a request with an Origin; nothing where no rule fits."""
    origin, method = headers.get("origin"), headers.get("access-control-request-method") or method
    rule = next((rule for rule in rules_of(store, bucket) if _fits(rule, origin, method)), None) if origin else None
    return _allowed(rule, origin) if rule is not None and origin else {}


def rules_of(store: Store, bucket: str) -> list[dict[str, Any]]:
    """A bucket's CORS rules; none for a bucket that does not exist."""
    with store.reading() as tx:
        record = find_bucket(tx, bucket)
    return list(record.document["Settings"].get("Cors", {}).get("CORSRules", [])) if record is not None else []


def _fits(rule: dict[str, Any], origin: str, method: str) -> bool:
    return method in rule["AllowedMethods"] and any(_like(pattern, origin) for pattern in rule["AllowedOrigins"])


def _header_fits(rule: dict[str, Any], name: str) -> bool:
    return any(_like(pattern.lower(), name) for pattern in rule.get("AllowedHeaders", ()))


def _like(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(re.escape(piece) for piece in pattern.split("*")), text) is not None


def _allowed(rule: dict[str, Any], origin: str) -> dict[str, str]:
    every = "*" in rule["AllowedOrigins"]
    found = {"Access-Control-Allow-Origin": "*" if every else origin, "Access-Control-Allow-Methods": ", ".join(rule["AllowedMethods"])}
    if not every:
        found["Access-Control-Allow-Credentials"] = "true"
    if rule.get("ExposeHeaders"):
        found["Access-Control-Expose-Headers"] = ", ".join(rule["ExposeHeaders"])
    if rule.get("MaxAgeSeconds") is not None:
        found["Access-Control-Max-Age"] = str(rule["MaxAgeSeconds"])
    return found | {"Vary": VARY}


def _refused(status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>'
    return status, {"Content-Type": "application/xml"}, body.encode()
