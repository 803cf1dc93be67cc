"""The model's server as the explainer asks it: at whichever of its addresses answers, over a connection that is kept."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass

from dewfall.images.batch.calls import Connection

SECONDS = 60.0  # a model may take that long, as in real time
PING_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model's server answered; header names in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def content_type(self) -> str:
        """Its media type, with parameters."""
        return self.headers.get("content-type", "")


class Model:
    """The server at one of these addresses. For one thread."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses
        self._kept: Connection | None = None

    def ping(self) -> bool:
        """Whether it is up and healthy; finds out which address it took."""
        for address in self._addresses:
            connection = Connection(address, PING_SECONDS)
            try:
                if _exchange(connection, "GET", "/ping", b"", {}).status == 200:
                    self._addresses = [address]
                    return True
            except (OSError, http.client.HTTPException):
                continue
            finally:
                connection.close()
        return False

    def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Its answer to a request. Raises OSError or HTTPException where there is none."""
        if self._kept is not None:
            try:
                return _exchange(self._kept, method, path, body, headers)
            except (ConnectionError, http.client.RemoteDisconnected):  # closed by the server while it was idle
                self._drop()
            except BaseException:
                self._drop()
                raise
        self._kept = Connection(self._address(), SECONDS)
        try:
            return _exchange(self._kept, method, path, body, headers)
        except BaseException:
            self._drop()
            raise

    def _address(self) -> str:
        if len(self._addresses) > 1 and not self.ping():
            raise ConnectionError("the model does not answer")
        return self._addresses[0]

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None


def _exchange(connection: Connection, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
    connection.request(method, path, body=body if method == "POST" else None, headers=dict(headers))
    connection.acknowledge()
    response = connection.getresponse()
    return Reply(response.status, response.read(), {name.lower(): value for name, value in response.getheaders()})
