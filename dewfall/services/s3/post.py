"""Form uploads: a browser's multipart/form-data POST to a bucket, held against the policy that the form carries.

    read_form(content_type, body) → Form, expand(form)
    post_object(ctx, bucket, form, body) → (status, headers, body)

Why apart from objects.py: no service model knows this request; its fields are headers, its limits are the policy's.
"""

from __future__ import annotations

import base64
import json
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from dewfall.bodies import StagedBody
from dewfall.context import Ctx
from dewfall.engine.blobs import digest_bytes
from dewfall.engine.objects import Draft
from dewfall.engine.versions import NULL
from dewfall.errors import AwsError
from dewfall.services.s3.access import check_key, invalid_argument, open_bucket, origin_of, precondition_failed
from dewfall.services.s3.checksums import ALGORITHMS, verify
from dewfall.services.s3.content import describe, storage_class

Answer = tuple[int, dict[str, str], bytes]
FIELDS = {
    "acl": "ACL",
    "content-type": "ContentType",
    "cache-control": "CacheControl",
    "content-disposition": "ContentDisposition",
    "content-encoding": "ContentEncoding",
    "expires": "Expires",
    "x-amz-storage-class": "StorageClass",
    "x-amz-website-redirect-location": "WebsiteRedirectLocation",
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-server-side-encryption-aws-kms-key-id": "SSEKMSKeyId",
    "x-amz-server-side-encryption-customer-algorithm": "SSECustomerAlgorithm",
    "x-amz-server-side-encryption-customer-key": "SSECustomerKey",
    "x-amz-server-side-encryption-customer-key-md5": "SSECustomerKeyMD5",
    "x-amz-object-lock-mode": "ObjectLockMode",
    "x-amz-object-lock-legal-hold": "ObjectLockLegalHoldStatus",
    "x-amz-checksum-algorithm": "ChecksumAlgorithm",
    "content-md5": "ContentMD5",
    **{f"x-amz-checksum-{name.lower()}": f"Checksum{name}" for name in ALGORITHMS},
}
# How many bytes of a form may come before its file, and the fields whose very text was signed.
PREFACE = 20480
SIGNED = {"policy", "signature", "x-amz-signature"}
# Fields that a policy need not name.
UNCHECKED = (
    "x-amz-signature",
    "signature",
    "awsaccesskeyid",
    "policy",
    "file",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-security-token",
)
SIMPLE = "Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."
_NAME = re.compile(r'[;\s]name="((?:[^"\\]|\\.)*)"')
SIGNATURES = (("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature"), ("AWSAccessKeyId", "Signature"))
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_LONG = re.compile(r"\d{8}T\d{6}Z")
_FILE = re.compile(r'filename="((?:[^"\\]|\\.)*)"')


@dataclass(slots=True)
class Form:
    """A parsed form: its fields by lower-case name, and where its file lies in the body."""

    fields: dict[str, str]
    start: int = -1
    length: int = 0
    filename: str | None = ""
    file_type: str = ""


def post_object(ctx: Ctx, bucket: str, form: Form, body: StagedBody) -> Answer:
    """Store the file of an expanded form. Takes the body in any case; raises AwsError as an operation does."""
    try:
        document = open_bucket(ctx, {"Bucket": bucket})
        fields = form.fields
        if "key" not in fields:
            raise missing_field("key")
        if form.start < 0:
            raise invalid_argument("POST requires exactly one file upload per request.", "file", "0")
        key = fields["key"]
        check_key(key)
        if "policy" in fields:
            check_policy(fields, bucket, form.length, ctx.now())
        req = request_of(bucket, form)
        content = file_of(ctx, body, form, req)
    finally:
        body.drop()
    try:
        described = describe(ctx, document, req)
        checksum = verify(content, req)
        described |= checksum | {"ChecksumType": "FULL_OBJECT"}
        etag = content.digests["md5"].hex()
        draft = Draft(bucket, key, content, etag, described, ctx.now(), storage_class(req), "ObjectCreated:Post", origin_of(ctx))
        version = ctx.ports.objects.commit(draft)
    except BaseException:
        content.drop()
        raise
    told = {"ETag": f'"{version.etag}"', "Location": f"{ctx.ports.settings.endpoint}/{bucket}/{quote(key, safe='')}"}
    told |= {f"x-amz-checksum-{name.removeprefix('Checksum').lower()}": str(value) for name, value in checksum.items()}
    told["x-amz-checksum-type"] = "FULL_OBJECT"
    if version.version_id != NULL:
        told["x-amz-version-id"] = version.version_id
    if "ServerSideEncryption" in described:
        told["x-amz-server-side-encryption"] = described["ServerSideEncryption"]
    return answer_of(fields, bucket, key, told)


def read_form(content_type: str, body: StagedBody) -> Form:
    """multipart/form-data → fields, and the place of the file. MalformedPOSTRequest for anything else."""
    boundary = re.search(r'boundary="?([^";]+)"?', content_type)
    if not content_type.lower().startswith("multipart/form-data"):
        raise precondition_failed("Bucket POST must be of the enclosure-type multipart/form-data")
    if boundary is None:
        raise malformed()
    mark = b"--" + boundary[1].encode()
    form = Form({})
    with _view(body) as view:
        place = view.find(mark)
        while place >= 0 and view[place + len(mark) : place + len(mark) + 2] != b"--":
            head = view.find(b"\r\n\r\n", place)
            end = view.find(b"\r\n" + mark, max(head, 0))
            if head < 0 or end < 0:
                raise malformed()
            if _take_part(form, bytes(view[place + len(mark) : head]), (view, head + 4, max(end, head + 4))):
                break
            if end > PREFACE:
                message = "Your POST request fields preceeding the upload file was too large."
                raise AwsError("MaxPostPreDataLengthExceeded", message, status=400, MaxPostPreDataLengthBytes=PREFACE)
            place = end + 2
        if place < 0:
            raise malformed()
    return form


def expand(form: Form) -> None:
    """ "${filename}" in every field is the file's name; it stays as it is when the file's part gives none."""
    if form.filename is not None:
        for name in form.fields.keys() - SIGNED:
            form.fields[name] = form.fields[name].replace("${filename}", form.filename)


def request_of(bucket: str, form: Form) -> dict[str, Any]:
    """The form's fields as PutObject's members."""
    fields = form.fields
    req: dict[str, Any] = {"Bucket": bucket, "Key": fields.get("key", ""), "ContentType": form.file_type or None}
    req |= {member: fields[name] for name, member in FIELDS.items() if fields.get(name)}
    metadata = {name.removeprefix("x-amz-meta-"): value for name, value in fields.items() if name.startswith("x-amz-meta-")}
    if metadata:
        req["Metadata"] = metadata
    until = fields.get("x-amz-object-lock-retain-until-date")
    if until:
        try:
            req["ObjectLockRetainUntilDate"] = datetime.fromisoformat(until)
        except ValueError:
            message = "The retain until date must be provided in ISO 8601 format"
            raise invalid_argument(message, "x-amz-object-lock-retain-until-date", until) from None
    if fields.get("tagging"):
        req["Tagging"] = urlencode(_tags(fields["tagging"]))
    return req


def file_of(ctx: Ctx, body: StagedBody, form: Form, req: dict[str, Any]) -> StagedBody:
    """The file's bytes as a body of their own, with their digests."""
    wanted = [ALGORITHMS[name][0] for name in ALGORITHMS if f"Checksum{name}" in req or req.get("ChecksumAlgorithm") == name]
    if body.path is not None:
        return ctx.ports.objects.blobs.cut(body.path, form.start, form.length, wanted)
    data = (body.data or b"")[form.start : form.start + form.length]
    return StagedBody(len(data), data=data, digests=digest_bytes(data, wanted))


def check_policy(fields: dict[str, str], bucket: str, size: int, now: datetime) -> None:
    """The form against its policy: not expired, every condition met, nothing in it that the policy does not name."""
    check_signed(fields)
    policy = _read_policy(fields["policy"])
    if datetime.fromisoformat(policy["expiration"]) <= now:
        raise refused("Policy expired.")
    given = {**fields, "bucket": bucket}
    named = set()
    for condition in policy["conditions"]:
        if isinstance(condition, dict):
            if len(condition) != 1:
                raise AwsError("InvalidPolicyDocument", SIMPLE, status=400)
            triples = [("eq", f"${name}", _text(value)) for name, value in condition.items()]
        elif condition == []:
            raise AwsError("InvalidPolicyDocument", "Invalid Policy: Invalid Condition: missing operation identifier.", status=400)
        elif isinstance(condition, list) and len(condition) == 3:
            triples = [(str(condition[0]).lower(), condition[1], condition[2])]
        else:
            raise AwsError("InvalidPolicyDocument", "Invalid Policy: Invalid Condition.", status=400)
        for operator, name, value in triples:
            if operator == "content-length-range":
                if isinstance(name, float) or isinstance(value, float):
                    raise no_json()
                if not (_is_whole(name) and _is_whole(value)):
                    raise failed(operator, name, value)
                _check_size(size, _natural(name), _natural(value))
                continue
            field = str(name).removeprefix("$").lower()
            named.add(field)
            if not str(name).startswith("$") or not _holds(operator, field, given.get(field, ""), str(value)):
                raise failed(operator, name, value)
    extra = next((n for n in given if n not in named and n not in UNCHECKED and not n.startswith("x-ignore-")), None)
    if extra is not None:
        raise refused(f"Extra input fields: {extra}")


def check_signed(fields: dict[str, str]) -> None:
    """Whether the form has all fields of a signature, of version 4 or of version 2; whether it is right is found out where that is enforced."""
    if "policy" not in fields:
        raise missing_field("policy")
    for names in SIGNATURES:
        missing = [name for name in names if name.lower() not in fields]
        if missing and len(missing) < len(names):
            raise missing_field(missing[0])
        if not missing:
            moment = fields.get("x-amz-date", "")
            if names[0] == "X-Amz-Algorithm" and not _LONG.fullmatch(moment):
                raise invalid_argument("X-Amz-Date must be formated via ISO8601 Long format", "X-Amz-Date", moment)
            return
    raise AwsError("AccessDenied", "Access Denied", status=403)


def missing_field(name: str) -> AwsError:
    message = f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
    return invalid_argument(message, name, "")


def answer_of(fields: dict[str, str], bucket: str, key: str, headers: dict[str, str]) -> Answer:
    """A redirect, or the status that the form asks for; 204 by default."""
    target = fields.get("success_action_redirect") or fields.get("redirect")
    if target and target.startswith(("http://", "https://")):
        query = urlencode({"bucket": bucket, "key": key, "etag": headers["ETag"]})
        return 303, {**headers, "Location": f"{target}{'&' if '?' in target else '?'}{query}"}, b""
    status = fields.get("success_action_status", "204")
    if status != "201":
        return (200 if status == "200" else 204), headers, b""
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<PostResponse><Location>{escape(headers["Location"])}</Location><Bucket>{bucket}</Bucket>'
        f"<Key>{escape(key)}</Key><ETag>{escape(headers['ETag'])}</ETag></PostResponse>"
    )
    return 201, {**headers, "Content-Type": "application/xml"}, body.encode()


def refused(why: str) -> AwsError:
    return AwsError("AccessDenied", f"Invalid according to Policy: {why}", status=403)


def failed(operator: str, name: Any, value: Any) -> AwsError:
    return refused(f"Policy Condition failed: {json.dumps([operator, str(name), str(value)])}")


def no_json() -> AwsError:
    return AwsError("InvalidPolicyDocument", "Invalid Policy: Invalid JSON.", status=400)


def malformed() -> AwsError:
    message = "The body of your POST request is not well-formed multipart/form-data."
    return AwsError("MalformedPOSTRequest", message, status=400)


# ---------------------------------------------------------------- inside


@contextmanager
def _view(body: StagedBody) -> Iterator[Any]:
    """The body's bytes to search in, mapped and not read when they lie in a file."""
    if body.path is None:
        yield body.data or b""
        return
    with body.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        yield view


def _take_part(form: Form, head: bytes, where: tuple[Any, int, int]) -> bool:
    """One part of the form; True when it was the file, after which fields do not count."""
    view, start, end = where
    text = head.decode("utf-8", "replace")
    disposition = next((line for line in text.split("\r\n") if line.lower().startswith("content-disposition:")), "")
    name, file = _NAME.search(disposition), _FILE.search(disposition)
    if name is None:
        raise malformed()
    if name[1].lower() != "file":
        given = [form.fields[name[1].lower()]] if name[1].lower() in form.fields else []
        form.fields[name[1].lower()] = ",".join([*given, bytes(view[start:end]).decode("utf-8", "replace")])
        return False
    form.start, form.length = start, end - start
    form.filename = file[1].replace("\\", "/").rsplit("/", 1)[-1] if file else None
    form.file_type = next((line.partition(":")[2].strip() for line in text.split("\r\n") if line.lower().startswith("content-type:")), "")
    return True


def _read_policy(text: str) -> dict[str, Any]:
    try:
        policy: dict[str, Any] = json.loads(base64.b64decode(text))
    except ValueError:
        raise no_json() from None
    strange = sorted(policy.keys() - {"expiration", "conditions"}) if isinstance(policy, dict) else []
    if strange:
        raise AwsError("InvalidPolicyDocument", f"Invalid Policy: Unexpected: '{strange[0].lower()}'", status=400)
    for name in ("expiration", "conditions"):
        if not isinstance(policy, dict) or name not in policy:
            raise AwsError("InvalidPolicyDocument", f"Invalid Policy: Policy missing {name}.", status=400)
    try:
        if not _MOMENT.fullmatch(policy["expiration"]):
            raise ValueError(policy["expiration"])
    except (ValueError, TypeError):
        message = f"Invalid Policy: Invalid 'expiration' value: '{policy['expiration']}'"
        raise AwsError("InvalidPolicyDocument", message, status=400) from None
    if not isinstance(policy["conditions"], list):
        raise AwsError("InvalidPolicyDocument", "Invalid Policy: Invalid 'conditions' value: must be a List.", status=400)
    return policy


def _text(value: Any) -> str:
    """The value of a simple condition, which has to be text."""
    if value is None:
        raise no_json()
    if not isinstance(value, str):
        message = "Invalid Policy: Invalid Simple-Condition: value must be a string."
        raise AwsError("InvalidPolicyDocument", message, status=400)
    return value


def _holds(operator: str, field: str, given: str, value: str) -> bool:
    if operator == "starts-with":
        return all(part.strip().startswith(value) for part in (given.split(",") if field == "content-type" else [given]))
    return operator == "eq" and given == value


def _is_whole(value: Any) -> bool:
    return re.fullmatch(r"-?\d+", str(value)) is not None


def _natural(value: Any) -> int:
    if int(value) < 0:
        raise AwsError("InvalidPolicyDocument", "Invalid Policy: Invalid 'content-length-range' value.", status=400)
    return int(value)


def _check_size(size: int, least: int, most: int) -> None:
    if size < least:
        message = "Your proposed upload is smaller than the minimum allowed size"
        raise AwsError("EntityTooSmall", message, status=400, ProposedSize=size, MinSizeAllowed=least)
    if size > most:
        message = "Your proposed upload exceeds the maximum allowed size"
        raise AwsError("EntityTooLarge", message, status=400, ProposedSize=size, MaxSizeAllowed=most)


def _tags(text: str) -> list[tuple[str, str]]:
    """The tagging field: a Tagging document as XML."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        message = "The XML you provided was not well-formed or did not validate against our published schema"
        raise AwsError("MalformedXML", message, status=400) from None
    pairs = []
    for tag in root.iter():
        if tag.tag.rpartition("}")[2] == "Tag":
            parts = {child.tag.rpartition("}")[2]: child.text or "" for child in tag}
            pairs.append((parts.get("Key", ""), parts.get("Value", "")))
    return pairs
