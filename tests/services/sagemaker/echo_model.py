"""A user's own container: answers /ping and /invocations, and does what the request's body says. Standard library only."""

from __future__ import annotations

import json
import os
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"bad":
            self.answer(400, b"bad request")
        elif body == b"die":
            os._exit(1)
        else:
            known = ("MODEL_NAME", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_REGION", "SAGEMAKER_REGION")
            model = Path("/opt/ml/model")
            told = {
                "pid": os.getpid(),
                "accept": self.headers.get("Accept"),
                "environment": {name: os.environ.get(name) for name in known},
                "model": {str(file.relative_to(model)): file.read_text() for file in sorted(model.rglob("*")) if file.is_file()},
            }
            self.answer(200, json.dumps(told).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        print("request", self.path, flush=True)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


if os.environ.get("FAIL"):
    print("cannot load the model")
    sys.exit(9)
print("serving", flush=True)
with Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler) as server:
    server.serve_forever()
