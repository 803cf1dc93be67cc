"""The user's code: from a tarball, a folder or s3:// into the code folder, without letting an archive write elsewhere.

The platform usually leaves the tarball beside the channels (DEWFALL_SUBMIT_ARCHIVE), which spares the job an S3 client.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dewfall.images.contract import UserError

ALWAYS_FINE = 1 << 30  # bytes unpacked that no ratio is asked about
RATIO = 300  # of unpacked to packed bytes
MEMBERS = 1_000_000
CHUNK = 1 << 20


def place_code(source: str, target: Path) -> None:
    """Fill the code folder unless it has something already, as AWS's toolkit does. UserError when the source is not there or no archive."""
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        return
    ready = os.environ.get("DEWFALL_SUBMIT_ARCHIVE", "")
    if ready and Path(ready).is_file():
        unpack(Path(ready), target)
    elif source.startswith("s3://"):
        fetch(source, target)
    elif Path(source).is_dir():
        if Path(source).resolve() != target.resolve():
            shutil.copytree(source, target, dirs_exist_ok=True)
    elif Path(source).is_file() and tarfile.is_tarfile(source):
        unpack(Path(source), target)
    elif Path(source).is_file():
        shutil.copy2(source, target)
    else:
        raise UserError(f"The source directory {source} does not exist")


def unpack(archive: Path, target: Path) -> None:
    """A tarball's files, never outside of the target, and no more than an archive of its size may reasonably hold."""
    budget = max(ALWAYS_FINE, archive.stat().st_size * RATIO)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(target, members=_within(tar, budget), filter="data")
            _to_the_end(tar.fileobj, budget)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UserError(f"The source archive {archive.name} cannot be unpacked: {error}") from None


def _within(tar: tarfile.TarFile, budget: int) -> Iterator[tarfile.TarInfo]:
    """The archive's members as long as they fit."""
    total = 0
    for count, member in enumerate(tar):
        total += member.size
        if total > budget or count >= MEMBERS:
            raise tarfile.TarError(f"{member.name!r} exceeds what may be unpacked: {budget} bytes in {MEMBERS} files")
        yield member


def _to_the_end(stream: Any, budget: int) -> None:
    """Read the padding, too: the checksum comes after it."""
    while stream is not None and budget > 0 and (rest := len(stream.read(CHUNK))):
        budget -= rest


def fetch(uri: str, target: Path) -> None:
    """An s3:// tarball, unpacked; or every object below an s3:// folder."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    client = _client()
    if key.endswith((".tar.gz", ".tgz", ".tar")):
        archive = target.with_name(f"{target.name}.download")
        try:
            _download(client, bucket, key, archive)
            unpack(archive, target)
        finally:
            archive.unlink(missing_ok=True)
        return
    prefix = key if not key or key.endswith("/") else key + "/"
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            path = target / entry["Key"][len(prefix) :]
            if not path.resolve().is_relative_to(target.resolve()):
                raise UserError(f"The object key {entry['Key']} cannot be a file name")
            if not entry["Key"].endswith("/"):
                path.parent.mkdir(parents=True, exist_ok=True)
                _download(client, bucket, entry["Key"], path)


def _client() -> Any:
    from botocore.config import Config
    from botocore.session import Session

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return Session().create_client("s3", region_name=region, config=Config(s3={"addressing_style": "path"}))


def _download(client: Any, bucket: str, key: str, path: Path) -> None:
    from botocore.exceptions import ClientError

    try:
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        raise UserError(f"s3://{bucket}/{key} cannot be downloaded: {error}") from None
    with path.open("wb") as file:
        shutil.copyfileobj(body, file)
