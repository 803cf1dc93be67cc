"""An S3 client with a bucket, and the word for a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server

Refused = Callable[..., tuple[str, int]]


def without_resolver(control: Any) -> Any:
    """An S3 Control client whose requests to `<account>.<address>` find the server though nobody resolves that name."""

    def aim(request: Any, **_: Any) -> None:
        place = urlsplit(request.url)
        request.headers["Host"] = place.netloc
        request.url = request.url.replace(place.netloc, place.netloc.partition(".")[2], 1)

    control.meta.events.register("before-send.s3-control.*", aim)
    return control


@pytest.fixture
def s3(dewfall: Server) -> Any:
    """A client, and the bucket "data"."""
    client = dewfall.client("s3")
    client.create_bucket(Bucket="data")
    return client


@pytest.fixture
def versioned(s3: Any) -> Any:
    """The same with versioning on."""
    s3.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    return s3


@pytest.fixture
def refused() -> Refused:
    """`refused(call, **arguments)` → (code, status) of the error that the call must raise."""

    def call(function: Callable[..., Any], **arguments: Any) -> tuple[str, int]:
        with pytest.raises(ClientError) as caught:
            function(**arguments)
        return caught.value.response["Error"]["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]

    return call
