"""Users that send payloads to an endpoint, one request after the other, and note how long each answer took.

Why signed once: a signature is good for minutes, and signing each request anew would take processor time from what is measured.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from dewfall.images.contract import UserError

SIGNATURE_SECONDS = 120.0
TIMEOUT = 70.0
PAUSE = 0.05  # seconds after a request that failed
SENDER = 0.8  # processors that the sending itself may take before it is what limits the load
SAID = 300  # characters of a refusal
PATIENCE = 60.0  # seconds that a server may be away, as while it is restarted


@dataclass(frozen=True, slots=True)
class Payload:
    """What is sent."""

    body: bytes
    content_type: str


class Target:
    """An endpoint, and its payloads as signed requests."""

    def __init__(self, session: Any, endpoint: str, payloads: list[Payload], headers: dict[str, str] | None = None) -> None:
        self._session = session
        self._payloads = payloads
        self._headers = headers or {}
        url = session.create_client("sagemaker-runtime").meta.endpoint_url
        self.host = urlsplit(url)
        self.path = f"/endpoints/{quote(endpoint)}/invocations"
        self._signed: list[dict[str, str]] = []
        self._until = 0.0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._payloads)

    def request(self, number: int) -> tuple[bytes, dict[str, str]]:
        """The body and headers of the n-th payload."""
        if time.monotonic() > self._until:
            with self._lock:
                if time.monotonic() > self._until:
                    self._signed = [self._sign(payload) for payload in self._payloads]
                    self._until = time.monotonic() + SIGNATURE_SECONDS
        place = number % len(self._payloads)
        return self._payloads[place].body, self._signed[place]

    def connect(self) -> http.client.HTTPConnection:
        """A connection of a user's own."""
        kind = http.client.HTTPSConnection if self.host.scheme == "https" else http.client.HTTPConnection
        return kind(self.host.hostname or "127.0.0.1", self.host.port, timeout=TIMEOUT)

    def send(self, connection: http.client.HTTPConnection, number: int) -> tuple[int, bytes]:
        """One exchange: status and answer."""
        body, headers = self.request(number)
        connection.request("POST", self.path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()

    def check(self) -> None:
        """Send every payload once. Raises UserError with the model's word for one that it refuses."""
        connection = self.connect()
        for number in range(len(self)):
            status, answer = self._send_patiently(connection, number)
            if status != 200:
                text = answer.decode("utf-8", "replace")[:SAID]
                raise UserError(f"The model refuses the sample payload {number + 1} of {len(self)} with status {status}: {text}")
        connection.close()

    def _send_patiently(self, connection: http.client.HTTPConnection, number: int) -> tuple[int, bytes]:
        """One exchange, again and again while the server is away: the load outlives it."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self.send(connection, number)
            except (OSError, http.client.HTTPException):
                connection.close()
                if time.monotonic() > until:
                    raise
                time.sleep(PAUSE)

    def _sign(self, payload: Payload) -> dict[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        headers = {"Content-Type": payload.content_type, **self._headers}
        request = AWSRequest("POST", f"{self.host.scheme}://{self.host.netloc}{self.path}", data=payload.body, headers=headers)
        SigV4Auth(self._session.get_credentials(), "sagemaker", self._session.get_config_variable("region")).add_auth(request)
        return dict(request.headers.items())


class Crowd:
    """As many users as one says, each a thread."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._users = 0
        self._threads: list[threading.Thread] = []
        self._latencies: list[tuple[float, int]] = []
        self._failures: list[float] = []
        self._is_over = threading.Event()

    def be(self, users: int) -> None:
        """From now on there are so many users; those that are too many go after their answer."""
        self._users = users
        while len(self._threads) < users:
            thread = threading.Thread(target=self._act, args=(len(self._threads),), daemon=True)
            self._threads.append(thread)
            thread.start()

    def take(self, since: float) -> tuple[list[int], int]:
        """(latencies in microseconds, failures) of the requests that were answered since then; what came before is forgotten."""
        latencies, self._latencies = self._latencies, []
        failures, self._failures = self._failures, []
        return [micros for at, micros in latencies if at >= since], sum(at >= since for at in failures)

    def leave(self) -> None:
        """No more requests; waits for the last answers."""
        self._is_over.set()
        for thread in self._threads:
            thread.join(timeout=TIMEOUT)

    def wait(self, seconds: float) -> None:
        """Let them act."""
        self._is_over.wait(seconds)

    def _act(self, number: int) -> None:
        connection, place = self._target.connect(), number
        while not self._is_over.is_set():
            if number >= self._users:
                self._is_over.wait(PAUSE)
                continue
            started = time.monotonic()
            if self._ask(connection, place):
                ended = time.monotonic()
                self._latencies.append((ended, int(1e6 * (ended - started))))
            else:
                self._failures.append(time.monotonic())
                connection.close()
                self._is_over.wait(PAUSE)
            place += 1

    def _ask(self, connection: http.client.HTTPConnection, place: int) -> bool:
        try:
            return self._target.send(connection, place)[0] == 200
        except (OSError, http.client.HTTPException):
            return False


def run(target: Target, plan: list[Any], conditions: dict[str, Any], say: Callable[[str], None]) -> tuple[list[dict[str, Any]], str]:
    """Load the target level by level; (what each level measured, why it ended)."""
    from dewfall.images.recommender import traffic

    target.check()
    crowd, measured, why = Crowd(target), [], "the traffic pattern is over"
    for level in plan:
        crowd.be(level.users)
        began, at, worked = time.monotonic(), time.time(), time.process_time()
        crowd.wait(level.seconds)
        latencies, failures = crowd.take(began)
        found = traffic.measure(level.users, time.monotonic() - began, latencies, failures, at)
        found["sender"] = round((time.process_time() - worked) / found["seconds"], 3)
        measured.append(found)
        say(
            f"{level.users} users: {found['per_minute']:.0f} invocations/min, P50 {found['latency']['P50'] / 1000:.2f} ms, "
            f"P95 {found['latency']['P95'] / 1000:.2f} ms, {failures} failed" + (", limited by this load process" if found["sender"] > SENDER else "")
        )
        stop = traffic.reason_to_stop(measured, conditions)
        if stop:
            why = stop
            break
    crowd.leave()
    return measured, why
