"""A replica is Running once its GET /ping answers 200, and not before."""

from __future__ import annotations

import os

import pytest

from dewfall.engine.readiness import answers
from tests.engine.agents.jobs import Jobs

ON_PORT = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    count = 0
    def do_GET(self):
        Handler.count += 1
        self.send_response(200 if Handler.count > 3 else 503); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): print("asked", self.path, flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""
ON_SOCKET = """
import os, socket
listener = socket.socket(socket.AF_UNIX); listener.bind(os.environ["SAGEMAKER_BIND_TO_SOCKET"]); listener.listen()
while True:
    client, _ = listener.accept()
    client.recv(4096); client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n"); client.close()
"""


@pytest.mark.parametrize(("source", "kind"), [(ON_PORT, "tcp"), (ON_SOCKET, "unix")])
def test_whichever_address_answers_first_is_published(jobs: Jobs, source: str, kind: str) -> None:
    agent = jobs.script(source, kind="replica")
    status = jobs.wait(agent, "Running")
    assert status.state == "Running"
    assert status.address.startswith(f"{kind}:")
    assert answers(status.address)


def test_a_replica_that_ends_has_no_address(jobs: Jobs) -> None:
    agent = jobs.script("raise SystemExit(3)", kind="replica")
    status = jobs.wait(agent, "Running")
    assert (status.state, status.exit_code, status.address) == ("Exited", 3, "")


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="needs Linux's scheduling policies")
@pytest.mark.parametrize(("kind", "policy"), [("replica", "SCHED_BATCH"), ("job", "SCHED_OTHER")])
def test_a_replica_lets_the_router_finish(jobs: Jobs, kind: str, policy: str) -> None:
    """It is the router that wakes it, and that has more to send."""
    agent = jobs.script("import os; raise SystemExit(os.sched_getscheduler(0))", kind=kind)
    assert jobs.wait(agent, "Exited").exit_code == getattr(os, policy)
