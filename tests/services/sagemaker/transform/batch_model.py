"""A user's own container for batches: answers each line of a request, and does what the record says. Standard library only."""

from __future__ import annotations

import json
import os
import signal
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler

BATCH = ("SAGEMAKER_BATCH", "SAGEMAKER_BATCH_STRATEGY", "SAGEMAKER_MAX_PAYLOAD_IN_MB", "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", "MODE", "EXTRA")
seen: dict[str, int] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/execution-parameters":
            told = os.environ.get("PARAMETERS")
            self.answer(200 if told else 404, (told or "").encode())
        else:
            self.answer(200, b"")

    def do_POST(self) -> None:
        body = self.body()
        seen[body.decode("latin-1")] = seen.get(body.decode("latin-1"), 0) + 1
        if b"bad" in body:
            self.answer(400, b"cannot parse\nthe record bad")
        elif b"boom" in body or (b"flaky" in body and seen[body.decode("latin-1")] < 3):
            self.answer(500, b"it went wrong")
        elif b"die" in body:
            os._exit(1)
        elif b"sleep" in body:
            time.sleep(60)
        elif os.environ.get("MODE") == "tell":
            told = {"body": body.decode("latin-1"), "pid": os.getpid(), "environment": {name: os.environ.get(name) for name in BATCH}}
            told |= {"chunked": "Transfer-Encoding" in self.headers, "type": self.headers["Content-Type"], "accept": self.headers["Accept"]}
            self.answer(200, json.dumps(told).encode())
        elif os.environ.get("MODE") == "echo":
            self.answer(200, body)
        else:
            lines = [line for line in body.decode().split("\n") if line]
            self.answer(200, "\n".join(score(line) for line in lines).encode())

    def body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", self.headers.get("Accept") or "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        print("request", self.path, flush=True)


def score(line: str) -> str:
    """The sum of a CSV row, or of the numbers of a JSON array or object."""
    if line[0] in "[{":
        values = json.loads(line)
        return json.dumps({"score": sum(values if isinstance(values, list) else values["features"])})
    return str(sum(float(value) for value in line.split(",")))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


if os.environ.get("MODE") == "fail":
    print("cannot load the model")
    sys.exit(9)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("serving", flush=True)
with Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler) as server:
    server.serve_forever()
