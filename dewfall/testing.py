"""A pytest plugin: the fixture `dewfall`, a server for the session that is empty again for every test.

    def test_upload(dewfall):
        s3 = dewfall.client("s3")
        s3.create_bucket(Bucket="data")

Standard library only, besides the user's own pytest and boto3; the server is a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dewfall.testing_server import Server, running, start, stop

__all__ = ["Server", "dewfall", "dewfall_server", "running", "start", "stop"]


@pytest.fixture(scope="session")
def dewfall_server() -> Iterator[Server]:
    """One server for the whole session, not reset between tests."""
    with running() as server:
        yield server


@pytest.fixture
def dewfall(dewfall_server: Server) -> Iterator[Server]:
    """A server without any resource; what the test creates is gone after it."""
    yield dewfall_server
    dewfall_server.reset()
