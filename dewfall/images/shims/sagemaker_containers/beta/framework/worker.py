"""The response object that output_fn may return."""

from typing import Any


class Response:
    """A body with its content type and status."""

    def __init__(
        self, response: Any = None, accept: str | None = None, status: int = 200, headers: Any = None, mimetype: str | None = None, **_: Any
    ) -> None:
        self._response = response
        self.mimetype = mimetype or accept or "application/json"
        self.status_code = int(status)
        self.headers = dict(headers or {})

    def get_data(self, as_text: bool = False) -> Any:
        """The body as bytes, or as text."""
        body = self._response if self._response is not None else b""
        data = body if isinstance(body, (bytes, bytearray)) else body.encode() if isinstance(body, str) else b"".join(body)
        return bytes(data).decode() if as_text else bytes(data)

    @property
    def response(self) -> Any:
        return self._response
