"""The XGBoost image: what it trains, prints, refuses and answers."""

import json
import pickle
import re

import numpy as np
import pytest
import xgboost

from dewfall.images.builtin.xgboost.predictor import load
from dewfall.images.builtin.xgboost.serving import XGBoostHandler, parse_csv
from dewfall.images.builtin.xgboost.training import train
from dewfall.images.builtin.xgboost.validation import validate
from dewfall.images.contract import AlgorithmError, UserError
from dewfall.images.http import Invocation
from dewfall.images.recordio import read_records, write_matrix

from .conftest import OptMl

RNG = np.random.default_rng(5)
FEATURES = RNG.normal(size=(300, 4)).astype(np.float32)
TARGET = (FEATURES[:, 0] * 3 - FEATURES[:, 1]).astype(np.float32)
KINDS = np.digitize(TARGET, [-1, 1]).astype(np.float32)
SAFE = {"num_round": "5", "objective": "reg:squarederror"}


def csv(*columns: np.ndarray) -> str:
    return "".join(",".join(map(repr, map(float, row))) + "\n" for row in np.column_stack(columns))


def asked(body: bytes | str, content_type: str = "text/csv", accept: str = "") -> Invocation:
    return Invocation(body.encode() if isinstance(body, str) else body, content_type, accept, {})


def served(opt_ml: OptMl, hyperparameters: dict[str, str], target: np.ndarray) -> XGBoostHandler:
    opt_ml.write(hyperparameters, {"train": csv(target, FEATURES)})
    train()
    handler = XGBoostHandler(opt_ml.model)
    handler.load()
    return handler


def test_model_equals_one_that_xgboost_trains(opt_ml: OptMl) -> None:
    opt_ml.write(SAFE, {"train": csv(TARGET, FEATURES)})
    train()
    ours = xgboost.Booster()
    ours.load_model(bytearray((opt_ml.model / "xgboost-model").read_bytes()))
    theirs = xgboost.train({"objective": "reg:squarederror"}, xgboost.DMatrix(FEATURES, TARGET), 5)
    assert np.array_equal(ours.predict(xgboost.DMatrix(FEATURES)), theirs.predict(xgboost.DMatrix(FEATURES)))


def test_metric_lines_fit_the_regex_of_aws(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    opt_ml.write(SAFE | {"eval_metric": "rmse,mae"}, {"train": csv(TARGET, FEATURES), "validation": csv(TARGET[:50], FEATURES[:50])})
    train()
    out = capsys.readouterr().out.replace("\t", "#011")
    assert len(re.findall(r".*\[[0-9]+\].*#011validation-mae:(\S+)", out)) == 5


@pytest.mark.parametrize("kind", ["text/libsvm", "application/x-recordio-protobuf", "application/x-parquet"])
def test_every_training_format_gives_the_same_model(opt_ml: OptMl, kind: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = "".join(
        f"{y!r} " + " ".join(f"{i}:{v!r}" for i, v in enumerate(row)) + "\n" for y, row in zip(TARGET.tolist(), FEATURES.tolist(), strict=True)
    )
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"y": TARGET, **{f"x{i}": FEATURES[:, i] for i in range(4)}}), sink)
    bodies = {
        "text/libsvm": lines.encode(),
        "application/x-recordio-protobuf": write_matrix(FEATURES, TARGET),
        "application/x-parquet": sink.getvalue().to_pybytes(),
    }
    opt_ml.write(SAFE, {"train": bodies[kind]}, kind)
    train()
    found = load(opt_ml.model).predict(FEATURES)
    theirs = xgboost.train({"objective": "reg:squarederror"}, xgboost.DMatrix(FEATURES, TARGET), 5)
    assert np.allclose(found, theirs.predict(xgboost.DMatrix(FEATURES)), atol=1e-6)


def test_weights_stand_in_the_second_column(opt_ml: OptMl) -> None:
    weights = RNG.uniform(0.1, 5, size=300).astype(np.float32)
    opt_ml.write(SAFE | {"csv_weights": "1"}, {"train": csv(TARGET, weights, FEATURES)})
    train()
    theirs = xgboost.train({"objective": "reg:squarederror"}, xgboost.DMatrix(FEATURES, TARGET, weight=weights), 5)
    assert np.allclose(load(opt_ml.model).predict(FEATURES), theirs.predict(xgboost.DMatrix(FEATURES)), atol=1e-6)


def test_header_is_refused(opt_ml: OptMl) -> None:
    opt_ml.write(SAFE, {"train": "rings,length\n1,2\n"})
    with pytest.raises(
        UserError, match=r"Non-numeric value 'rings' found in the header line 'rings,length...' of file 'data'. CSV format require no header"
    ):
        train()


def test_early_stopping_keeps_the_best_round(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    noise = RNG.normal(size=100)
    given = SAFE | {"num_round": "200", "early_stopping_rounds": "3", "eval_metric": "rmse"}
    opt_ml.write(given, {"train": csv(TARGET, FEATURES), "validation": csv(noise, FEATURES[:100])})
    train()
    values = [float(value) for value in re.findall(r"validation-rmse:(\S+)", capsys.readouterr().out)]
    model = xgboost.Booster()
    model.load_model(bytearray((opt_ml.model / "xgboost-model").read_bytes()))
    assert len(values) < 200
    assert model.num_boosted_rounds() == int(np.argmin(values)) + 1


def test_a_job_goes_on_from_its_checkpoint(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    opt_ml.write(SAFE, {"train": csv(TARGET, FEATURES)})
    (opt_ml.home / "input" / "config" / "checkpointconfig.json").write_text(json.dumps({"LocalPath": "/opt/ml/checkpoints"}))
    train()
    opt_ml.write(SAFE | {"num_round": "8"}, {"train": csv(TARGET, FEATURES)})
    train()
    assert "Resuming from iteration 5" in capsys.readouterr().out
    assert sorted(path.name for path in (opt_ml.home / "checkpoints").iterdir()) == [f"xgboost-checkpoint.{i}" for i in range(8)]


def test_cross_validation_leaves_a_model_per_fold_and_predictions(opt_ml: OptMl) -> None:
    opt_ml.write(SAFE | {"_kfold": "3"}, {"train": csv(TARGET, FEATURES)})
    train()
    assert sorted(path.name for path in opt_ml.model.iterdir()) == ["xgboost-model-0", "xgboost-model-1", "xgboost-model-2"]
    predictions = np.loadtxt(opt_ml.home / "output" / "data" / "predictions.csv", delimiter=",")
    assert np.allclose(predictions[:, 0], TARGET, atol=1e-6)
    assert np.asarray(np.corrcoef(predictions.T))[0, 1] > 0.8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Missing required hyperparameter: num_round"),
        ({"num_round": "1", "foo": "1"}, "Extraneous hyperparameter found: foo"),
        ({"num_round": "1", "eta": "2"}, "Hyperparameter eta: 2.0 is not in [0, 1]"),
        ({"num_round": "0"}, "Hyperparameter num_round: 0 is not in [1, +inf)"),
        ({"num_round": "x"}, "Hyperparameter num_round: could not parse value (caused by ValueError)"),
        ({"num_round": "1", "objective": "multi:softmax"}, "Require input for parameter 'num_class' for multi-classification"),
        (
            {"num_round": "1", "eval_metric": "auc", "objective": "reg:squarederror"},
            "Metric 'auc' can only be applied for classification and ranking problems.",
        ),
    ],
)
def test_hyperparameters_are_refused_in_the_words_of_the_container(given: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        validate(given)
    assert str(caught.value) == message


def test_labels_out_of_range_are_the_customers_error(opt_ml: OptMl) -> None:
    opt_ml.write({"num_round": "1", "objective": "binary:logistic"}, {"train": csv(TARGET, FEATURES)})
    with pytest.raises(UserError, match="label must be in"):
        train()


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("text/libsvm", b"1 -1:2\n", "is not 'LIBSVM' format"),
        ("text/libsvm", b"1 0:2 99999999999:1\n", "is not 'LIBSVM' format"),
        ("application/x-parquet", b"PAR1nothing", "Failed to load parquet data"),
    ],
)
def test_files_that_cannot_be_read_are_the_customers_error(opt_ml: OptMl, kind: str, body: bytes, message: str) -> None:
    opt_ml.write(SAFE, {"train": body}, kind)
    with pytest.raises(UserError, match=message):
        train()


def test_what_xgboost_refuses_is_told_without_its_stack(opt_ml: OptMl) -> None:
    opt_ml.write({"num_round": "1", "objective": "survival:aft"}, {"train": csv(TARGET, FEATURES)})
    with pytest.raises(AlgorithmError, match="XGB train call failed with exception:") as caught:
        train()
    assert "labels_lower_bound" in str(caught.value)
    assert "Stack trace" not in str(caught.value)


def test_validation_data_has_no_other_columns(opt_ml: OptMl) -> None:
    opt_ml.write(SAFE, {"train": "1,2\n2,3\n", "validation": "1,2,3\n"})
    with pytest.raises(UserError, match="the validation data has 2 features, the training data 1"):
        train()


def test_csv_answers_one_line_per_row(opt_ml: OptMl) -> None:
    handler = served(opt_ml, SAFE, TARGET)
    want = load(opt_ml.model).predict(FEATURES[:2]).tolist()
    assert handler.invoke(asked(csv(FEATURES[:2]))).body == f"{want[0]!r}\n{want[1]!r}\n"


def test_requests_that_wait_together_get_what_they_get_alone(opt_ml: OptMl) -> None:
    handler = served(opt_ml, {"num_round": "3", "objective": "multi:softprob", "num_class": "3"}, KINDS)
    asks = [asked(csv(FEATURES[i : i + 1 + i % 2]), accept="application/json") for i in range(4)] + [
        asked("a,b"),
        asked("1,1:2", "text/html"),
        asked("1 2:3", "text/libsvm"),
    ]
    assert handler.invoke_batch(asks) == [handler.invoke(one) for one in asks]


def test_probabilities_of_classes_stand_in_one_line(opt_ml: OptMl) -> None:
    handler = served(opt_ml, {"num_round": "3", "objective": "multi:softprob", "num_class": "3"}, KINDS)
    values = [float(value) for value in str(handler.invoke(asked(csv(FEATURES[:1]))).body).split(",")]
    assert len(values) == 3
    assert sum(values) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status"),
    [
        ("", "text/csv", "", 204),
        ("x,y", "text/csv", "", 415),
        ("1,2", "text/csv", "", 400),
        ("1", "application/json", "", 415),
        ("1,2,3,4", "text/csv", "text/html", 406),
    ],
)
def test_requests_are_refused_with_the_containers_status(opt_ml: OptMl, body: str, content_type: str, accept: str, status: int) -> None:
    assert served(opt_ml, SAFE, TARGET).invoke(asked(body, content_type, accept)).status == status


def test_recordio_goes_in_and_out(opt_ml: OptMl) -> None:
    handler = served(opt_ml, SAFE, TARGET)
    answer = handler.invoke(asked(write_matrix(FEATURES[:3]), "application/x-recordio-protobuf", "application/x-recordio-protobuf"))
    found = [record.label["score"].values[0] for record in read_records(bytes(answer.body))]  # type: ignore[arg-type]
    assert np.allclose(found, load(opt_ml.model).predict(FEATURES[:3]))


def test_selected_content(opt_ml: OptMl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_INFERENCE_OUTPUT", "predicted_label, probabilities, labels")
    handler = served(opt_ml, {"num_round": "3", "objective": "binary:logistic"}, (TARGET > 0).astype(float))
    answer = json.loads(bytes(handler.invoke(asked(csv(FEATURES[:1]), accept="application/json")).body))["predictions"][0]  # type: ignore[arg-type]
    assert answer["predicted_label"] == int(answer["probabilities"][1] > 0.5)
    assert answer["labels"] == [0, 1]
    assert sum(answer["probabilities"]) == pytest.approx(1)


def test_a_missing_cell_is_not_a_zero() -> None:
    assert np.isnan(parse_csv(b"1,,3")[0, 1])
    assert parse_csv(b"1;2;3\n4;5;6").shape == (2, 3)


def test_gblinear_is_served_too(opt_ml: OptMl) -> None:
    handler = served(opt_ml, SAFE | {"booster": "gblinear"}, TARGET)
    model = xgboost.Booster()
    model.load_model(bytearray((opt_ml.model / "xgboost-model").read_bytes()))
    want = model.predict(xgboost.DMatrix(FEATURES[:1])).tolist()[0]
    assert float(str(handler.invoke(asked(csv(FEATURES[:1]))).body)) == pytest.approx(want)


@pytest.mark.parametrize(("tag", "given", "begins"), [("1.7-1", {}, 0.5), ("1.7-1", {"base_score": "2"}, 2.0), ("3.0-5", {}, float(TARGET.mean()))])
def test_images_before_2_begin_at_a_half(opt_ml: OptMl, monkeypatch: pytest.MonkeyPatch, tag: str, given: dict[str, str], begins: float) -> None:
    monkeypatch.setenv("SAGEMAKER_XGBOOST_VERSION", tag)
    handler = served(opt_ml, {"num_round": "1", "eta": "0"} | given, TARGET)
    assert float(str(handler.invoke(asked(csv(FEATURES[:1]))).body)) == pytest.approx(begins, abs=1e-4)


@pytest.mark.parametrize("tag", ["latest", "0.90-2-cpu-py3", "1.2-2"])
def test_images_before_1_3_pickle_the_booster_and_answer_in_one_line(opt_ml: OptMl, monkeypatch: pytest.MonkeyPatch, tag: str) -> None:
    monkeypatch.setenv("SAGEMAKER_XGBOOST_VERSION", tag)
    handler = served(opt_ml, SAFE, TARGET)
    booster = pickle.loads((opt_ml.model / "xgboost-model").read_bytes())
    assert float(str(handler.invoke(asked(csv(FEATURES[:1]))).body)) == pytest.approx(float(booster.predict(xgboost.DMatrix(FEATURES[:1]))[0]))
    answer = str(handler.invoke(asked(csv(FEATURES[:3]))).body)
    assert len(answer.split(",")) == 3
    assert "\n" not in answer
