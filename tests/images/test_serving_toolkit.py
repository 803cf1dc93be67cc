"""The serving toolkit, run as the platform runs it."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

if TYPE_CHECKING:
    from tests.images.conftest import Client, Container

SKLEARN = "import joblib, os\ndef model_fn(model_dir): return joblib.load(os.path.join(model_dir, 'model.joblib'))\n"


@pytest.fixture
def sklearn(container: Container) -> Client:
    """A linear model 1·a + 2·b behind the defaults."""
    (container.home / "model").mkdir()
    joblib.dump(LinearRegression(fit_intercept=False).fit(np.eye(2), [1, 2]), container.home / "model" / "model.joblib")
    return container.serve({"inference.py": SKLEARN}, "inference.py", "sklearn")


def test_sklearn_defaults(sklearn: Client) -> None:
    body = io.BytesIO()
    np.save(body, np.array([[1.0, 1.0]]))
    status, kind, answer = sklearn.invoke(body.getvalue(), "application/x-npy", "application/x-npy")
    assert (status, kind) == (200, "application/x-npy")
    assert np.load(io.BytesIO(answer)).tolist() == pytest.approx([3.0])
    status, kind, answer = sklearn.invoke(b"[[0, 1], [1, 0]]", "application/json")
    assert (status, kind, json.loads(answer)) == (200, "application/json", pytest.approx([2.0, 1.0]))
    status, kind, answer = sklearn.invoke(b"0,1\n1,0\n", "text/csv", "text/csv")
    assert (status, kind, [round(float(line)) for line in answer.split()]) == (200, "text/csv", [2, 1])


def test_sklearn_errors(sklearn: Client) -> None:
    assert sklearn.invoke(b"<a/>", "text/xml")[0] == 415
    status, kind, answer = sklearn.invoke(b"[[0, 1]]", "application/json", "text/xml")
    assert (status, kind) == (406, "application/json")
    assert "text/xml" in json.loads(answer)["error-message"]
    status, _, answer = sklearn.invoke(b"[[0, 1, 2]]", "application/json")
    assert status == 500
    assert b"X has 3 features" in answer
    assert b"Traceback" in answer


def test_transform_fn_and_context(container: Container) -> None:
    code = """
def model_fn(model_dir, context): return "m"
def transform_fn(model, data, content_type, accept, context):
    return f"{model} {data} {content_type} {context.get_request_header(0, 'Accept')}", "text/plain"
"""
    client = container.serve({"serve.py": code}, "serve.py", "python")
    assert client.invoke(b'{"a": 1}', "application/json", "text/plain") == (200, "text/plain", b'm {"a": 1} application/json text/plain')


def test_streamed_output(container: Container) -> None:
    code = """
def model_fn(model_dir): return 1
def input_fn(body, content_type): return body
def predict_fn(data, model): return data
def output_fn(prediction, accept):
    yield b"one "
    yield prediction
"""
    client = container.serve({"inference.py": code}, "inference.py", "python")
    assert client.invoke(b"two", "text/plain", "text/plain") == (200, "text/plain", b"one two")


def test_names_of_aws_packages_are_there(container: Container) -> None:
    code = """
from sagemaker_containers.beta.framework import content_types, encoders, env, modules, transformer, worker
from sagemaker_inference import errors
def model_fn(model_dir): return 2
def predict_fn(data, model):
    if data.sum() < 0:
        raise errors.BaseInferenceToolkitError(422, "negative", "negative")
    return data * model
def output_fn(prediction, accept): return worker.Response(encoders.encode(prediction, accept), mimetype=accept)
"""
    client = container.serve({"inference.py": code}, "inference.py", "sklearn")
    assert client.invoke(b"[1, 2]", "application/json", "text/csv") == (200, "text/csv", b"2.0\n4.0\n")
    status, _, answer = client.invoke(b"[-1]", "application/json")
    assert (status, answer[:8]) == (422, b"negative")


@pytest.mark.parametrize(("tag", "is_there"), [("0.20.0-cpu-py3", True), ("1.2-1-cpu-py3", False)])
def test_joblib_is_where_the_image_had_it(container: Container, tag: str, is_there: bool) -> None:
    code = """
try:
    from sklearn.externals import joblib
except ImportError:
    joblib = None
def model_fn(model_dir): return "joblib" in str(joblib)
def predict_fn(data, model): return [int(model)]
"""
    client = container.serve({"inference.py": code}, "inference.py", "sklearn", SAGEMAKER_SCIKIT_LEARN_VERSION=tag)
    assert client.invoke(b"[1]", "application/json", "text/csv")[2] == (b"1\n" if is_there else b"0\n")


def test_xgboost_defaults(container: Container) -> None:
    code = """
import numpy, xgboost
def model_fn(model_dir):
    rows = numpy.array([[0.0, 5.0], [1.0, 5.0]] * 20)
    return xgboost.train({"objective": "binary:logistic", "min_child_weight": 0}, xgboost.DMatrix(rows, label=rows[:, 0]), 20)
"""
    client = container.serve({"inference.py": code}, "inference.py", "xgboost")
    for body, kind in ((b"0,5\n1,5\n", "text/csv"), (b"0 0:0 1:5\n1 0:1 1:5\n", "text/libsvm"), (b"0;5\n1;5\n", "text/csv")):
        status, _, answer = client.invoke(body, kind, "text/csv")
        assert (status, [round(float(line)) for line in answer.split()]) == (200, [0, 1])


def test_requests_that_wait_together_are_predicted_together(container: Container) -> None:
    code = """
import json, time
def model_fn(model_dir): return None
def input_fn(data, content_type): return int(data)
def predict_batch_fn(inputs, model):
    time.sleep(0.1)
    return [{"number": number, "together": len(inputs)} for number in inputs]
def output_fn(prediction, accept): return json.dumps(prediction)
"""
    client = container.serve({"inference.py": code}, "inference.py", "python")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.invoke(b"%d" % n if n else b"none", "text/csv"), range(8)))
    assert answers[0][0] == 500
    told = [json.loads(body) for _, _, body in answers[1:]]
    assert [one["number"] for one in told] == list(range(1, 8))
    assert max(one["together"] for one in told) > 1
