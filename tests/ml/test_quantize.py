"""Models as ONNX and in smaller numbers, against the libraries that trained them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxmltools")
pytest.importorskip("skl2onnx")

from dewfall.ml import quantize as quantizing

pytestmark = pytest.mark.filterwarnings("ignore")
ROWS: NDArray[np.float32] = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
BINARY = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(float)
THREE = (ROWS[:, 0] > 0).astype(float) + (ROWS[:, 1] > 0)


def booster(objective: str, labels: Any, **more: Any) -> Any:
    import xgboost

    return xgboost.train({"objective": objective, "nthread": 1, **more}, xgboost.DMatrix(ROWS, labels), 5)


def light(objective: str, labels: Any, **more: Any) -> Any:
    import lightgbm

    return lightgbm.train({"objective": objective, "verbose": -1, "num_threads": 1, **more}, lightgbm.Dataset(ROWS, labels), 5)


def network() -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(hidden_layer_sizes=(64, 64), max_iter=30, random_state=0).fit(ROWS, BINARY.astype(int))


@pytest.mark.parametrize(
    ("framework", "objective", "labels", "more"),
    [
        ("xgboost", "binary:logistic", BINARY, {}),
        ("xgboost", "reg:squarederror", ROWS[:, 2], {}),
        ("xgboost", "multi:softmax", THREE, {"num_class": 3}),
        ("xgboost", "multi:softprob", THREE, {"num_class": 3}),
        ("lightgbm", "binary", BINARY, {}),
        ("lightgbm", "regression", ROWS[:, 2], {}),
        ("lightgbm", "multiclass", THREE, {"num_class": 3}),
    ],
)
def test_boosters_predict_the_same_as_onnx(framework: str, objective: str, labels: Any, more: dict[str, Any]) -> None:
    model = (booster if framework == "xgboost" else light)(objective, labels, **more)
    found = quantizing.prediction(quantizing.convert(model, framework, (4,)))(ROWS)
    np.testing.assert_allclose(found, quantizing.original(model, framework)(ROWS), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", quantizing.METHODS)
def test_smaller_numbers_are_smaller_and_nearly_the_same(method: str) -> None:
    model = network()
    converted = quantizing.convert(model, "sklearn", (4,))
    body = quantizing.quantize(converted.body, method, ROWS)
    assert len(body) < 0.75 * len(converted.body)
    after = quantizing.prediction(quantizing.Converted(body, converted.output, converted.column))
    told = quantizing.compare(quantizing.original(model, "sklearn"), after, ROWS[:50], BINARY[:50])
    assert told["Agreement"] > 0.9
    assert (told["Metric"], told["MetricBefore"] - told["MetricAfter"] < 0.1) == ("accuracy", True)
    assert told["LatencyAfter"]["OneRow"] > 0


def test_trees_have_nothing_to_quantize() -> None:
    body = quantizing.convert(booster("binary:logistic", BINARY), "xgboost", (4,)).body
    assert not quantizing.has_products(body)
    assert quantizing.quantize(body, "dynamic-int8") == body


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="framework: caffe"):
        quantizing.convert(None, "caffe", (4,))
    with pytest.raises(ValueError, match="model: it cannot be converted"):
        quantizing.convert(object(), "sklearn", (4,))
    with pytest.raises(ValueError, match="calibration"):
        quantizing.quantize(quantizing.convert(network(), "sklearn", (4,)).body, "static-int8")
