"""A user's own container with a logistic model of three numbers: CSV or JSON Lines in, CSV or JSON Lines out. A word counts as its length."""

from __future__ import annotations

import json
import math
import os
import socketserver
from http.server import BaseHTTPRequestHandler
from typing import Any

WEIGHTS = (0.5, -1.0, 2.0)


def score(row: list[Any]) -> float:
    held = [
        float(len(value)) / 10 if isinstance(value, str) and not value.replace(".", "").replace("-", "").isdigit() else float(value) for value in row
    ]
    margin = sum(w * x for w, x in zip(WEIGHTS, held, strict=False)) + held[0] * held[-1]
    return 1 / (1 + math.exp(-margin))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(200, b"", "text/plain")

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        lines = [line for line in text.splitlines() if line]
        if text == "die":
            os._exit(3)
        if text == "bad" or (len(lines) > 1 and os.environ.get("ONE_BY_ONE")):
            self.answer(400, b"one record only", "text/plain")
        elif self.headers["Content-Type"] == "text/csv":
            self.answer(200, "\n".join(f"{s > 0.5:d},{s!r}" for s in map(score, (line.split(",") for line in lines))).encode(), "text/csv")
        else:
            found = [score(json.loads(line)["x"]) for line in lines]
            self.answer(200, "\n".join(json.dumps({"p": s, "names": ["yes"]}) for s in found).encode(), "application/jsonlines")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


if __name__ == "__main__":
    with Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler) as server:
        server.serve_forever()
