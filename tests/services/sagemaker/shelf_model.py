"""A user's own multi-model server, with room for two models: the container contract and nothing of Dewfall. Standard library only."""

from __future__ import annotations

import json
import os
import socketserver
from http.server import BaseHTTPRequestHandler
from pathlib import Path

ROOM = 2
models: dict[str, str] = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write: a kill cuts no answer in two

    def do_GET(self) -> None:
        if self.path == "/ping":
            self.answer(200, {})
        elif self.path.startswith("/models/"):
            name = self.path.split("/")[2]
            self.answer(200 if name in models else 404, {"modelName": name})
        else:
            self.answer(200, {"models": [{"modelName": name, "modelUrl": url} for name, url in models.items()]})

    def do_DELETE(self) -> None:
        self.answer(200 if models.pop(self.path.split("/")[2], None) else 404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/models":
            self.load(**json.loads(body))
            return
        name = self.path.split("/")[2]
        if body == b"forget" and len(models) > 1:
            models.clear()
        if name not in models:
            self.answer(404, {"error": "not loaded"})
            return
        weights = (Path(models[name]) / "weights.txt").read_text()
        asked = self.headers["X-Amzn-SageMaker-Target-Model"]
        self.answer(200, {"weights": weights, "asked": asked, "loaded": len(models), "pid": os.getpid(), "path": models[name]})

    def load(self, model_name: str, url: str) -> None:
        if model_name in models:
            self.answer(409, {})
        elif len(models) >= ROOM:
            self.answer(507, {})
        elif not (Path(url) / "weights.txt").exists():
            self.answer(500, {"error": "a model without weights"})
        else:
            models[model_name] = url
            self.answer(200, {})

    def answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        print(self.command, self.path, flush=True)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


with Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler) as server:
    server.serve_forever()
