"""Where a job's input comes from, as files: prefixes and manifests of S3, augmented manifests.

Why apart from the channels: training and processing jobs name the same sources and fail with the same sentences.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.objects import StoredObject
from dewfall.engine.ports import FileLink
from dewfall.errors import AwsError

FAILED = "ClientError: Data download failed:"
BROKEN_MANIFEST = "The manifest file {} is not valid. It must be a JSON array of an object with a prefix and of keys below it."


class InputError(Exception):
    """What a job's FailureReason says when its input cannot be delivered."""


class NothingFound(InputError):
    """An input without objects."""


def relative_path(key: str, prefix: str) -> str:
    """Where an object of an S3 prefix appears in its channel; "" for what is no file.

    Below the prefix as a folder, the path goes on from there; a prefix that ends inside a name counts from its last folder.
    """
    if not prefix or prefix.endswith("/"):
        path = key[len(prefix) :]
    elif key.startswith(prefix + "/"):
        path = key[len(prefix) + 1 :]
    else:
        path = key[prefix.rfind("/") + 1 :]
    if key.endswith("/"):
        return ""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InputError(f"{FAILED}The object key {key} cannot be a file name")
    return "/".join(parts)


def nothing_found(region: str, uri: str, role: str) -> str:
    """AWS's sentence about an input without objects."""
    bucket = uri.removeprefix("s3://").split("/", 1)[0]
    return (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists in the selected region '
        f'({region}), that objects exist under that S3 prefix, and that the role "{role}" has "s3:ListBucket" permissions on bucket "{bucket}".'
    )


def stored_files(ctx: Ctx, kind: str, uri: str, role: str) -> tuple[FileLink, ...]:
    """The files of an S3Prefix or a ManifestFile. Raises InputError, also when there are none."""
    try:
        links = tuple(_manifest_links(ctx, uri) if kind == "ManifestFile" else prefix_links(ctx, uri))
    except AwsError as error:
        raise InputError(f"{FAILED}{error.message}") from None
    if not links:
        raise NothingFound(FAILED + nothing_found(ctx.region, uri, role))
    return links


def prefix_links(ctx: Ctx, prefix_uri: str) -> Iterator[FileLink]:
    """The files of an S3 prefix at their places below it."""
    prefix = prefix_uri.removeprefix("s3://").partition("/")[2]
    for key, file, size in ctx.ports.objects.files(prefix_uri):
        path = relative_path(key, prefix)
        if path:
            yield FileLink(path, file, size)


def augmented_files(ctx: Ctx, source: dict[str, Any]) -> tuple[FileLink, ...]:
    """Line for line the attributes of an augmented manifest in the order asked for: an object where the name ends in -ref, else a text.

    Raises InputError when a line is no JSON object, lacks an attribute, or names an object that is not there.
    """
    uri, names = source["S3Uri"], source["AttributeNames"]
    values = [value for number, line in enumerate(_lines(ctx, uri), 1) for value in _attributes(uri, number, line, names)]
    references = iter(_found(ctx, [value for is_reference, value in values if is_reference]))
    links = []
    for is_reference, value in values:
        if is_reference:
            stored = next(references)
            links.append(FileLink(stored.key, str(stored.path), stored.size))
        else:
            links.append(FileLink("", "", len(value), value))
    if not links:
        raise InputError(f"{FAILED}The augmented manifest file {uri} has no lines")
    return tuple(links)


def _manifest_links(ctx: Ctx, uri: str) -> Iterator[FileLink]:
    try:
        first, *entries = json.loads(ctx.ports.objects.read(uri))
        prefix = first["prefix"]
    except (ValueError, LookupError, TypeError):
        raise InputError(FAILED + BROKEN_MANIFEST.format(uri)) from None
    if not isinstance(prefix, str) or not prefix.startswith("s3://") or not all(isinstance(entry, str) for entry in entries):
        raise InputError(FAILED + BROKEN_MANIFEST.format(uri))
    wanted = [(path, prefix + entry) for entry in entries if (path := relative_path(entry, ""))]
    for (path, _), stored in zip(wanted, _found(ctx, [name for _, name in wanted]), strict=True):
        yield FileLink(path, str(stored.path), stored.size)


def _lines(ctx: Ctx, uri: str) -> list[bytes]:
    try:
        return [line for line in ctx.ports.objects.read(uri).splitlines() if line.strip()]
    except AwsError as error:
        raise InputError(f"{FAILED}{error.message}") from None


def _attributes(uri: str, number: int, line: bytes, names: list[str]) -> Iterator[tuple[bool, str]]:
    try:
        document = json.loads(line)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise InputError(f"{FAILED}Line {number} of the augmented manifest file {uri} is not a JSON object")
    for name in names:
        if name not in document:
            raise InputError(f"{FAILED}Attribute {name} is missing in line {number} of the augmented manifest file {uri}")
        value = document[name]
        is_reference = name.endswith("-ref")
        if is_reference and not (isinstance(value, str) and value.startswith("s3://")):
            raise InputError(f"{FAILED}Attribute {name} in line {number} of the augmented manifest file {uri} is not an S3 URI")
        yield is_reference, value if isinstance(value, str) else json.dumps(value)


def _found(ctx: Ctx, uris: list[str]) -> Iterator[StoredObject]:
    try:
        for uri, stored in zip(uris, ctx.ports.objects.find(uris), strict=True):
            if stored is None:
                raise InputError(f"{FAILED}NoSuchKey (404): The specified key does not exist: {uri}")
            yield stored
    except AwsError as error:
        raise InputError(f"{FAILED}{error.message}") from None
