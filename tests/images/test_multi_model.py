"""Many models in one process: the toolkits and a built-in algorithm, asked as the platform asks them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from dewfall.images.http import Answer, Invocation
from dewfall.images.multimodel import MultiModelHandler
from dewfall.images.serving import ScriptHandler, own_code

SCRIPT = """
import helper, joblib, os
def model_fn(model_dir): return joblib.load(os.path.join(model_dir, "model.joblib"))
def output_fn(prediction, accept): return f"{helper.NAME}:{prediction[0]:.0f}", "text/plain"
"""


class Server:
    """The server's paths, without sockets."""

    def __init__(self, framework: str) -> None:
        self.handler = MultiModelHandler(lambda folder: ScriptHandler("", framework, folder, code=own_code(folder, "", Path("/none"))))

    def ask(self, method: str, path: str, document: Any = None, body: bytes = b"") -> tuple[int, Any]:
        sent = body if document is None else json.dumps(document).encode()
        answer = self.handler.route(method, path, Invocation(sent, "application/json", "", {}))
        assert isinstance(answer, Answer)
        assert isinstance(answer.body, (bytes, str))
        text = answer.body if isinstance(answer.body, str) else answer.body.decode()
        return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    def load(self, name: str, folder: Path) -> int:
        return self.ask("POST", "/models", {"model_name": name, "url": str(folder)})[0]

    def invoke(self, name: str, body: bytes) -> tuple[int, Any]:
        return self.ask("POST", f"/models/{name}/invoke", body=body)


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """Folders one and two: models that multiply by 1 and 2, each with code of its own under the same names."""
    for factor, name in ((1, "one"), (2, "two")):
        (tmp_path / name / "code").mkdir(parents=True)
        joblib.dump(LinearRegression(fit_intercept=False).fit(np.eye(1), [factor]), tmp_path / name / "model.joblib")
        (tmp_path / name / "code" / "inference.py").write_text(SCRIPT)
        (tmp_path / name / "code" / "helper.py").write_text(f"NAME = '{name}'\n")
    return tmp_path


def test_models_with_modules_of_the_same_name_serve_side_by_side(linear: Path) -> None:
    server = Server("sklearn")
    assert [server.load(name, linear / name) for name in ("one", "two")] == [200, 200]
    assert [server.invoke(name, b"[[7]]") for name in ("one", "two", "one")] == [(200, "one:7"), (200, "two:14"), (200, "one:7")]


def test_the_list_and_what_is_not_there(linear: Path) -> None:
    server = Server("sklearn")
    server.load("one", linear / "one")
    assert server.load("one", linear / "one") == 409
    assert server.ask("GET", "/models") == (200, {"models": [{"modelName": "one", "modelUrl": str(linear / "one")}]})
    assert server.ask("GET", "/models/one")[0] == 200
    assert server.ask("DELETE", "/models/one")[0] == 200
    assert [server.ask("GET", "/models/one")[0], server.ask("DELETE", "/models/one")[0], server.invoke("one", b"[[1]]")[0]] == [404, 404, 404]


def test_a_model_that_cannot_be_loaded_says_why_and_harms_no_other(linear: Path, tmp_path: Path) -> None:
    server = Server("sklearn")
    server.load("one", linear / "one")
    (linear / "two" / "model.joblib").write_bytes(b"broken")
    status, said = server.ask("POST", "/models", {"model_name": "two", "url": str(linear / "two")})
    assert status == 500
    assert "Traceback" in said
    assert server.invoke("one", b"[[3]]") == (200, "one:3")


def test_no_memory_is_told_as_507(linear: Path) -> None:
    (linear / "one" / "code" / "inference.py").write_text("def model_fn(model_dir): raise MemoryError('full')\n")
    assert Server("sklearn").load("one", linear / "one") == 507
