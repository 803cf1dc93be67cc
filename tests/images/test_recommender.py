"""The shape of the load, and when it is over."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from botocore.session import get_session

from dewfall.images.recommender import load, traffic
from dewfall.images.recommender.report import document


def level(per_minute: float, p95: int = 1000) -> dict[str, Any]:
    return {"per_minute": per_minute, "latency": {"P95": p95, "P99": 2 * p95}}


def test_users_are_spawned_by_the_minute() -> None:
    phase = {"InitialNumberOfUsers": 2, "SpawnRate": 4, "DurationInSeconds": 35}
    assert traffic.levels({"TrafficType": "PHASES", "Phases": [phase]}) == [traffic.Level(2, 15.0), traffic.Level(3, 15.0), traffic.Level(4, 5.0)]


@pytest.mark.parametrize(
    ("loads", "conditions", "said"),
    [
        ([100, 200, 203, 204], {}, "no more invocations"),
        ([100, 200, 203, 204], {"FlatInvocations": "Continue"}, ""),
        ([100, 200, 203, 400], {}, ""),
        ([100], {"MaxInvocations": 90}, "reach the 90"),
        ([100], {"ModelLatencyThresholds": [{"Percentile": "P99", "ValueInMilliseconds": 1}]}, "P99 of 2.0 ms is beyond 1 ms"),
    ],
)
def test_a_load_ends_when_it_has_seen_enough(loads: list[float], conditions: dict[str, Any], said: str) -> None:
    assert said in traffic.reason_to_stop([level(load) for load in loads], conditions)
    assert bool(said) == bool(traffic.reason_to_stop([level(load) for load in loads], conditions))


def test_percentiles_are_nearest_ranks() -> None:
    found = traffic.measure(3, 30.0, list(range(1, 101)), 2, 0.0)
    assert (found["per_minute"], found["failures"]) == (200, 2)
    assert found["latency"] == {"P50": 51, "P90": 91, "P95": 96, "P99": 100, "mean": 50}


def test_the_report_names_what_was_not_measured() -> None:
    tests = [{"Name": "ml.x", "FailureReason": "too large"}]
    report = document({"JobName": "j", "Prices": {"date": "2024-06", "region": "us-east-1"}, "Tests": tests})
    assert any(getattr(block, "rows", None) == [["ml.x", "too large"]] for block in report.blocks)


class Answers(BaseHTTPRequestHandler):
    """Every request is answered with 1."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"1")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_load_waits_for_a_server_that_is_restarted(monkeypatch: pytest.MonkeyPatch, free_tcp_port: int) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_tcp_port}")
    target = load.Target(get_session(), "e", [load.Payload(b"1,2", "text/csv")])
    refused, checked = threading.Event(), threading.Event()
    connect = target.send

    def send(connection: http.client.HTTPConnection, number: int) -> tuple[int, bytes]:
        try:
            return connect(connection, number)
        except OSError:
            refused.set()
            raise

    monkeypatch.setattr(target, "send", send)

    def check() -> None:
        target.check()
        checked.set()

    checker = threading.Thread(target=check)
    checker.start()
    assert refused.wait(90)
    with HTTPServer(("127.0.0.1", free_tcp_port), Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        assert checked.wait(90)
        server.shutdown()
    checker.join()
