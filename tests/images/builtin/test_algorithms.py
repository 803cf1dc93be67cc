"""AWS's own algorithms: each trained and served on real and on drawn data, compared with scikit-learn where it has the same."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dewfall.images.builtin import kmeans, knn, linear_learner, pca, randomcutforest
from dewfall.images.builtin.algorithm import ModelHandler
from dewfall.images.contract import UserError
from dewfall.images.http import Invocation
from dewfall.images.recordio import read_records, write_matrix

from .conftest import OptMl

RECORDIO = "application/x-recordio-protobuf"
Find = Callable[[str], Path]
RNG = np.random.default_rng(2)
ROWS = RNG.normal(size=(400, 3)).astype(np.float32)
SIDES = (ROWS @ [2.0, -1.0, 0.5] > 0).astype(np.float32)
CLASSIFIER = {"predictor_type": "binary_classifier", "mini_batch_size": "400"}


def served(module: Any, opt_ml: OptMl, answer: str = "predictions") -> ModelHandler:
    handler = ModelHandler(opt_ml.model, module.load, answer)
    handler.load()
    return handler


def asked(handler: ModelHandler, rows: np.ndarray, accept: str = "application/json") -> Any:
    body = "".join(",".join(map(repr, map(float, row))) + "\n" for row in rows)
    return json.loads(bytes(handler.invoke(Invocation(body.encode(), "text/csv", accept, {})).body))  # type: ignore[arg-type]


def iris(find: Find) -> tuple[np.ndarray, np.ndarray]:
    with find("iris.csv").open() as file:
        lines = [line for line in csv.reader(file) if line]
    names = sorted({line[0] for line in lines})
    return np.array([[float(cell) for cell in line[1:]] for line in lines]), np.array([names.index(line[0]) for line in lines], dtype=float)


def test_kmeans_finds_what_scikit_learn_finds(opt_ml: OptMl, shared_data: Find, capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.cluster import KMeans

    rows, _ = iris(shared_data)
    opt_ml.write({"k": "3", "feature_dim": "4", "eval_metrics": '["msd","ssd"]'}, {"train": write_matrix(rows), "test": write_matrix(rows)}, RECORDIO)
    kmeans.train()
    found = float(re.findall(r"#quality_metric: host=\S+, test ssd <loss>=(\S+)", capsys.readouterr().out)[0])
    assert found < KMeans(3, n_init=5, random_state=0).fit(rows).inertia_ * 1.01
    answer = asked(served(kmeans, opt_ml), rows[:2])["predictions"]
    assert set(answer[0]) == {"closest_cluster", "distance_to_cluster"}
    assert answer[0]["closest_cluster"] == answer[1]["closest_cluster"]


@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_pca_projects_as_scikit_learn_does(opt_ml: OptMl, shared_data: Find, mode: str) -> None:
    from sklearn.decomposition import PCA

    rows, _ = iris(shared_data)
    given = {"num_components": "2", "feature_dim": "4", "mini_batch_size": "50", "algorithm_mode": mode}
    opt_ml.write(given, {"train": write_matrix(rows.astype(np.float64))}, RECORDIO)
    pca.train()
    answer = asked(served(pca, opt_ml, "projections"), rows)["projections"]
    theirs = PCA(2).fit(rows).transform(rows)[:, ::-1]
    assert np.allclose(np.abs([one["projection"] for one in answer]), np.abs(theirs), atol=1e-4)


def test_knn_votes_as_scikit_learn_does(opt_ml: OptMl, shared_data: Find) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    rows, labels = iris(shared_data)
    given = {"k": "5", "feature_dim": "4", "sample_size": "150", "predictor_type": "classifier"}
    opt_ml.write(given, {"train": write_matrix(rows, labels)}, RECORDIO)
    knn.train()
    handler = served(knn, opt_ml)
    odd = rows + 0.05
    answer = [one["predicted_label"] for one in asked(handler, odd)["predictions"]]
    assert np.mean(answer == KNeighborsClassifier(5).fit(rows, labels).predict(odd)) > 0.99
    verbose = asked(handler, odd[:1], "application/json; verbose=true")["predictions"][0]
    assert verbose["distances"] == sorted(verbose["distances"])
    assert len(verbose["labels"]) == 5


@pytest.mark.parametrize("index", ["faiss.IVFFlat", "faiss.IVFPQ"])
def test_knn_regression_by_inexact_index_and_projection(opt_ml: OptMl, index: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = RNG.normal(size=(500, 8)).astype(np.float32)
    given = {"k": "5", "feature_dim": "8", "sample_size": "400", "predictor_type": "regressor", "index_type": index, "faiss_index_pq_m": "2"}
    reduced = {"dimension_reduction_type": "sign", "dimension_reduction_target": "4"}
    target = rows[:, 0]
    opt_ml.write(given | reduced, {"train": write_matrix(rows, target), "test": write_matrix(rows[:50], target[:50])}, RECORDIO)
    knn.train()
    error = float(re.findall(r"test mse <loss>=(\S+)", capsys.readouterr().out)[0])
    assert error < target[:50].var()


@pytest.mark.parametrize("reduced", [{}, {"dimension_reduction_type": "fjlt", "dimension_reduction_target": "4"}])
def test_knn_widens_rows_until_the_parts_divide_them(opt_ml: OptMl, reduced: dict[str, str]) -> None:
    given = {"k": "3", "feature_dim": "5", "sample_size": "300", "predictor_type": "regressor", "index_type": "faiss.IVFPQ", "faiss_index_pq_m": "3"}
    rows = RNG.normal(size=(300, 5)).astype(np.float32)
    opt_ml.write(given | reduced, {"train": write_matrix(rows, rows[:, 0])}, RECORDIO)
    knn.train()
    answer = [one["predicted_label"] for one in asked(served(knn, opt_ml), rows[:50])["predictions"]]
    assert np.mean((np.array(answer) - rows[:50, 0]) ** 2) < rows[:50, 0].var()
    opt_ml.write(given | {"index_metric": "COSINE"}, {"train": write_matrix(rows, rows[:, 0])}, RECORDIO)
    with pytest.raises(UserError, match=r"COSINE is not supported with index_type faiss\.IVFPQ"):
        knn.train()


def test_random_cut_forest_finds_the_odd_ones(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    odd = np.zeros(400)
    odd[:4] = 1
    test = ROWS + odd[:, None] * 9
    body = "".join(f"{int(mark)}," + ",".join(map(str, row)) + "\n" for mark, row in zip(odd, test.tolist(), strict=True))
    opt_ml.write(
        {"feature_dim": "3", "num_trees": "50"},
        {"train": "\n".join(",".join(map(str, row)) for row in ROWS.tolist()), "test": body},
        "text/csv;label_size=0",
    )
    entry = {"ContentType": "text/csv;label_size=1", "TrainingInputMode": "File"}
    config = opt_ml.home / "input" / "config" / "inputdataconfig.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"test": entry}))
    randomcutforest.train()
    assert float(re.findall(r"test f1 <score>=(\S+)", capsys.readouterr().out)[0]) > 0.7
    scores = asked(served(randomcutforest, opt_ml, "scores"), np.array([[0, 0, 0], [9, 9, 9]]))["scores"]
    assert scores[1]["score"] > 2 * scores[0]["score"]


@pytest.mark.parametrize(
    ("trained", "given"),
    [
        (linear_learner, {"predictor_type": "binary_classifier"}),  # its batches have 1,000 rows unless it is told otherwise
        (linear_learner, {"predictor_type": "regressor", "mini_batch_size": "401"}),
        (pca, {"num_components": "2", "feature_dim": "3", "mini_batch_size": "401"}),
    ],
)
def test_a_batch_of_more_rows_than_there_are_is_refused(opt_ml: OptMl, trained: Any, given: dict[str, str]) -> None:
    opt_ml.write(given, {"train": write_matrix(ROWS, SIDES)}, RECORDIO)
    with pytest.raises(UserError, match="the mini-batch size is too high"):
        trained.train()


def test_linear_learner_classifies_as_well_as_logistic_regression(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.linear_model import LogisticRegression

    noisy = np.where(RNG.random(400) < 0.05, 1 - SIDES, SIDES)
    opt_ml.write(CLASSIFIER, {"train": write_matrix(ROWS, noisy), "validation": write_matrix(ROWS, noisy)}, RECORDIO)
    linear_learner.train()
    out = capsys.readouterr().out
    accuracy = float(re.findall(r"#quality_metric: host=\S+, validation binary_classification_accuracy <score>=(\S+)", out)[0])
    assert accuracy >= LogisticRegression().fit(ROWS, noisy).score(ROWS, noisy)
    assert re.search(r"epoch=0, train binary_classification_cross_entropy_objective <loss>=\S+", out)
    answer = asked(served(linear_learner, opt_ml), ROWS[:20])["predictions"]
    assert np.mean([one["predicted_label"] == side for one, side in zip(answer, SIDES, strict=False)]) > 0.8
    assert all(0 <= one["score"] <= 1 for one in answer)


def test_linear_learner_regression_matches_least_squares(opt_ml: OptMl, shared_data: Find) -> None:
    from sklearn.linear_model import LinearRegression

    with shared_data("abalone.csv").open() as file:
        table = np.array([[float(cell) for cell in line[1:]] for line in csv.reader(file)])
    rows, target = table[:, :-1], table[:, -1]
    opt_ml.write({"predictor_type": "regressor"}, {"train": write_matrix(rows, target)}, RECORDIO)
    linear_learner.train()
    found = np.array([one["score"] for one in asked(served(linear_learner, opt_ml), rows)["predictions"]])
    best = LinearRegression().fit(rows, target).predict(rows)
    assert ((found - target) ** 2).mean() < ((best - target) ** 2).mean() * 1.01


def test_linear_learner_tells_classes_apart(opt_ml: OptMl, shared_data: Find) -> None:
    rows, labels = iris(shared_data)
    opt_ml.write(
        {"predictor_type": "multiclass_classifier", "num_classes": "3", "mini_batch_size": "150"}, {"train": write_matrix(rows, labels)}, RECORDIO
    )
    linear_learner.train()
    answer = asked(served(linear_learner, opt_ml), rows)["predictions"]
    assert np.mean([one["predicted_label"] for one in answer] == labels) > 0.95
    assert sum(answer[0]["score"]) == pytest.approx(1)


@pytest.mark.parametrize("loss", ["absolute_loss", "huber_loss", "quantile_loss", "eps_insensitive_squared_loss", "eps_insensitive_absolute_loss"])
def test_every_loss_of_regression_learns(opt_ml: OptMl, loss: str) -> None:
    target = ROWS @ [2.0, -1.0, 0.5] + 7
    opt_ml.write({"predictor_type": "regressor", "loss": loss, "mini_batch_size": "400"}, {"train": write_matrix(ROWS, target)}, RECORDIO)
    linear_learner.train()
    found = np.array([one["score"] for one in asked(served(linear_learner, opt_ml), ROWS)["predictions"]])
    assert np.abs(found - target).mean() < 0.1


def test_recall_is_kept_when_precision_is_sought(opt_ml: OptMl, capsys: pytest.CaptureFixture[str]) -> None:
    noisy = np.where(RNG.random(400) < 0.2, 1 - SIDES, SIDES)
    given = {
        **CLASSIFIER,
        "binary_classifier_model_selection_criteria": "precision_at_target_recall",
        "target_recall": "0.9",
    }
    opt_ml.write(given, {"train": write_matrix(ROWS, noisy)}, RECORDIO)
    linear_learner.train()
    assert float(re.findall(r"train recall <score>=(\S+)", capsys.readouterr().out)[0]) >= 0.9


def test_all_answer_formats(opt_ml: OptMl) -> None:
    opt_ml.write({"k": "2", "feature_dim": "3"}, {"train": write_matrix(ROWS)}, RECORDIO)
    kmeans.train()
    handler = served(kmeans, opt_ml)
    request = write_matrix(ROWS[:2])
    lines = bytes(handler.invoke(Invocation(request, RECORDIO, "application/jsonlines", {})).body).splitlines()  # type: ignore[arg-type]
    table = bytes(handler.invoke(Invocation(request, RECORDIO, "text/csv", {})).body).decode().split()  # type: ignore[arg-type]
    records = list(read_records(bytes(handler.invoke(Invocation(request, RECORDIO, RECORDIO, {})).body)))  # type: ignore[arg-type]
    first = json.loads(lines[0])
    assert table[0] == f"{first['closest_cluster']},{first['distance_to_cluster']}"
    assert records[0].label["distance_to_cluster"].values[0] == pytest.approx(first["distance_to_cluster"])
    assert handler.invoke(Invocation(b"1,2", "text/csv", "", {})).status == 400
    assert handler.invoke(Invocation(b"1,2", "image/png", "", {})).status == 415


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"feature_dim": "3"}, "'k' is a required property"),
        ({"k": "2", "feature_dim": "3", "size": "1"}, "Additional properties are not allowed"),
        ({"k": "2", "feature_dim": "5"}, "feature_dim, 5"),
    ],
)
def test_customers_errors(opt_ml: OptMl, given: dict[str, str], message: str) -> None:
    opt_ml.write(given, {"train": write_matrix(ROWS)}, RECORDIO)
    with pytest.raises(UserError, match=message):
        kmeans.train()


@pytest.mark.parametrize(
    "given",
    [
        {"loss": "hinge_loss", "margin": "0.5"},
        {"lr_scheduler_step": "20", "lr_scheduler_factor": "0.9", "lr_scheduler_minimum_lr": "0.001"},
        {"init_method": "normal", "init_sigma": "0.1", "init_bias": "0.5", "unbias_data": "false"},
        {"_tuning_objective_metric": "validation:objective_loss", "optimizer": "rmsprop", "normalize_data": "auto"},
        {"positive_example_weight_mult": "balanced", "num_calibration_samples": "auto", "optimizer": "sgd", "momentum": "0.5"},
    ],
)
def test_settings_of_the_linear_learner_take_effect_and_learn(opt_ml: OptMl, given: dict[str, str]) -> None:
    opt_ml.write(CLASSIFIER | given, {"train": write_matrix(ROWS, SIDES)}, RECORDIO)
    linear_learner.train()
    answer = asked(served(linear_learner, opt_ml), ROWS)["predictions"]
    assert np.mean([one["predicted_label"] == side for one, side in zip(answer, SIDES, strict=True)]) > 0.93


def test_without_bias_the_line_goes_through_the_origin(opt_ml: OptMl) -> None:
    given = {"predictor_type": "regressor", "use_bias": "false", "mini_batch_size": "400"}
    opt_ml.write(given, {"train": write_matrix(ROWS + 1, ROWS @ [2.0, -1.0, 0.5] + 1.5)}, RECORDIO)
    linear_learner.train()
    assert asked(served(linear_learner, opt_ml), np.zeros((1, 3)))["predictions"][0]["score"] == 0
