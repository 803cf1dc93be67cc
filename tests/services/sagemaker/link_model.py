"""A container of a chain: writes its name around what it gets, with the content type it got, and answers in its own. Standard library only."""

from __future__ import annotations

import os
import socketserver
from http.server import BaseHTTPRequestHandler


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name, kind = os.environ["NAME"], self.headers.get("Content-Type", "-")
        if body == f"bad {name}".encode():
            self.answer(400, b"bad")
        elif body == f"die {name}".encode():
            os._exit(1)
        else:
            self.answer(200, body if body.startswith((b"bad", b"die")) else f"{name}<{kind}|".encode() + body + b">")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"text/{os.environ['NAME']}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        print(os.environ["NAME"], self.path, flush=True)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


with Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler) as server:
    server.serve_forever()
