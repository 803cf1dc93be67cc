"""The linear learner image: many linear models trained together, the best by the chosen criterion kept.

The model is `model.npz`: `weights` (d, outputs), `bias` (outputs), and `kind`, `loss`, `threshold` of the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dewfall.images import contract
from dewfall.images.builtin import algorithm, report
from dewfall.images.builtin.linear_metrics import evaluate, objective_name
from dewfall.images.contract import UserError, cluster, folders
from dewfall.ml import linear, losses, thresholds

LOSSES = {
    "binary_classifier": ("logistic", "hinge_loss"),
    "multiclass_classifier": ("softmax_loss",),
    "regressor": ("squared_loss", "absolute_loss", "eps_insensitive_squared_loss", "eps_insensitive_absolute_loss", "quantile_loss", "huber_loss"),
}
AUTO_MODELS = 32
TUNING = "_tuning_objective_metric"  # a tuning job searches by itself: then one model is trained
Rows = NDArray[np.float32]
Labels = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinearModel:
    """weights (d, outputs), bias (outputs,); threshold cuts a binary score."""

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    kind: str
    loss: str
    threshold: float

    @property
    def features(self) -> int:
        return len(self.weights)

    def scores(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """What answers call score: probability, margin for the hinge loss, class probabilities, or the predicted number."""
        z: NDArray[np.float64] = np.asarray(rows, dtype=np.float64) @ self.weights + self.bias
        if self.kind == "multiclass_classifier":
            return losses.softmax(z)
        return losses.sigmoid(z[:, 0]) if self.loss == "logistic" else z[:, 0]

    def labels(self, scores: NDArray[np.float64]) -> NDArray[Any]:
        return scores.argmax(axis=1) if scores.ndim == 2 else (scores >= self.threshold).astype(np.int64)

    def predict(self, rows: algorithm.Numbers, *, verbose: bool = False) -> list[dict[str, Any]]:
        scores = self.scores(rows)
        if self.kind == "regressor":
            return [{"score": score} for score in scores.tolist()]
        found = zip(scores.tolist(), self.labels(scores).tolist(), strict=True)
        return [{"score": score, "predicted_label": label} for score, label in found]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"kind": np.array(self.kind), "loss": np.array(self.loss), "threshold": np.array(self.threshold)}
        np.savez(folder / "model.npz", weights=self.weights, bias=self.bias, **texts)  # type: ignore[arg-type]


def train() -> None:
    """Train on channel train, judge by validation (train when there is none), report on both and on test."""
    given = algorithm.settings("linear-learner")
    given["loss"] = _loss(given)
    host = cluster().current_host
    table = algorithm.train_table(label_size=1, feature_dim=given["feature_dim"], batch=given["mini_batch_size"])
    width = table.features.shape[1]
    labels = _labels(algorithm.labels_of(table, "train"), given)
    sets: dict[str, tuple[Rows, Labels]] = {"train": (table.features, labels)}
    for name in ("validation", "test"):
        other = algorithm.other_table(name, label_size=1, feature_dim=width)
        if other is not None:
            sets[name] = (other.features, _labels(algorithm.labels_of(other, name), given))
    models = linear.fit(
        table.features,
        labels,
        _settings(given),
        weights=_weights(labels, given),
        validation=sets.get("validation"),
        watch=_watcher(given, host, sets),
    )
    report.progress(host, 100)
    model = select(models, given, *sets.get("validation", sets["train"]))
    for name, (rows, truth) in sets.items():
        for metric, value in evaluate(model.scores(rows), truth, given, model.threshold).items():
            report.final(host, name, metric, value)
    model.save(folders().model)


def _loss(given: dict[str, Any]) -> str:
    allowed = LOSSES[given["predictor_type"]]
    if given["loss"] != "auto" and given["loss"] not in allowed:
        raise UserError(f"Invalid loss '{given['loss']}' for predictor_type '{given['predictor_type']}'. Valid values: auto, {', '.join(allowed)}.")
    if given["predictor_type"] == "multiclass_classifier" and not given["num_classes"]:
        raise UserError("num_classes is a required hyperparameter when predictor_type is multiclass_classifier.")
    return allowed[0] if given["loss"] == "auto" else str(given["loss"])


def _labels(labels: Labels, given: dict[str, Any]) -> Labels:
    kinds = {"binary_classifier": 2, "multiclass_classifier": given["num_classes"], "regressor": None}[given["predictor_type"]]
    if kinds is None:
        return labels
    whole = labels == np.floor(labels)
    if not (whole & (labels >= 0) & (labels < kinds)).all():
        found = sorted({float(label) for label in np.unique(labels)})[:10]
        raise UserError(
            f"The labels of a {given['predictor_type']} must be integers from 0 to {kinds - 1}; the data has labels {found}."
            if kinds > 2
            else f"The labels of a binary_classifier must be 0 or 1; the data has labels {found}."
        )
    return labels


def _weights(labels: Labels, given: dict[str, Any]) -> Labels | None:
    """Weights of rows by their class, where the job asks for them."""
    if given["predictor_type"] == "binary_classifier":
        share = float((labels > 0).mean())
        asked = given["positive_example_weight_mult"]
        weight = (1 - share) / share if asked in ("balanced", "auto") and 0 < share < 1 else 1.0 if isinstance(asked, str) else float(asked)
        return np.where(labels > 0, weight, 1.0)
    if given["predictor_type"] == "multiclass_classifier" and given["balance_multiclass_weights"]:
        counts = np.bincount(labels.astype(np.intp), minlength=given["num_classes"])
        weighed: Labels = (len(labels) / np.maximum(counts, 1))[labels.astype(np.intp)]
        return weighed
    return None


def _settings(given: dict[str, Any]) -> linear.Settings:
    def known(name: str, otherwise: Any) -> Any:
        return otherwise if given.get(name) in ("auto", None) else given[name]

    asked = contract.hyperparameters()
    models = 1 if TUNING in asked else known("num_models", AUTO_MODELS)
    rates = linear.RATES if given["learning_rate"] == "auto" else (given["learning_rate"],)
    l2 = linear.PENALTIES if given["wd"] == "auto" else (given["wd"],)
    is_regressor = given["predictor_type"] == "regressor"
    return linear.Settings(
        loss=given["loss"],
        shape=losses.Shape(known("loss_insensitivity", 0.01), known("quantile", 0.5), known("huber_delta", 1.0), known("margin", 1.0)),
        outputs=given["num_classes"] if given["predictor_type"] == "multiclass_classifier" else 1,
        epochs=given["epochs"],
        batch=given["mini_batch_size"],
        rates=rates if models > 1 else (given["learning_rate"] if given["learning_rate"] != "auto" else 0.05,),
        l2=l2 if models > 1 or given["wd"] != "auto" else (0.0,),
        l1=(known("l1", 0.0),),
        models=models,
        optimizer=known("optimizer", "adam"),
        momentum=known("momentum", 0.9),
        beta_1=known("beta_1", 0.9),
        beta_2=known("beta_2", 0.999),
        use_bias=given["use_bias"],
        bias_rate=known("bias_lr_mult", 1.0),
        bias_l2=known("bias_wd_mult", 0.0),
        decay=known("use_lr_scheduler", True),
        normalize=known("normalize_data", True),
        unbias=known("unbias_data", given["use_bias"]),
        normalize_label=bool(known("normalize_label", True) and is_regressor),
        unbias_label=bool(known("unbias_label", given["use_bias"]) and is_regressor and given["use_bias"]),
        start=_first_weights(given, asked),
        start_bias=given["init_bias"],
        patience=known("early_stopping_patience", 3),
        tolerance=known("early_stopping_tolerance", 0.001),
        **_steps(given),
    )


def _first_weights(given: dict[str, Any], asked: Mapping[str, str]) -> tuple[str, float] | None:
    """How weights begin, where the job says so; at 0 otherwise, which is as good and always the same."""
    if not {"init_method", "init_scale", "init_sigma"} & set(asked):
        return None
    return given["init_method"], given["init_scale"] if given["init_method"] == "uniform" else given["init_sigma"]


def _steps(given: dict[str, Any]) -> dict[str, Any]:
    """The learning rate's steps; automatic ones fall evenly instead."""
    if given["lr_scheduler_step"] == "auto":
        return {}
    named = {"rate_factor": given["lr_scheduler_factor"], "least_rate": given["lr_scheduler_minimum_lr"]}
    return {"rate_step": given["lr_scheduler_step"]} | {name: value for name, value in named.items() if value != "auto"}


def _watcher(given: dict[str, Any], host: str, sets: Mapping[str, tuple[Rows, Labels]]) -> linear.Watcher:
    """After each epoch, the loss of the best model, in the labels' own units."""
    name, shape = objective_name(given["loss"]), _settings(given).shape

    def watch(epoch: linear.Epoch) -> None:
        judged = epoch.train if epoch.validation is None else epoch.validation
        best = epoch.models.one(int(np.argmin(judged)))
        for channel in ("train", "validation"):
            if channel in sets:
                rows, labels = sets[channel]
                value = float(losses.loss(given["loss"], best.scores(rows), labels, shape).mean())
                report.quality(host, f"{channel} {name}", value, epoch=epoch.number)
        report.progress(host, min(99, 100 * (epoch.number + 1) // given["epochs"]))

    return watch


def select(models: linear.Models, given: dict[str, Any], rows: Rows, labels: Labels) -> LinearModel:
    """The model that the criterion likes best on (the first num_calibration_samples of) these rows, with its threshold."""
    if given["num_calibration_samples"] != "auto":
        rows, labels = rows[: given["num_calibration_samples"]], labels[: given["num_calibration_samples"]]
    kind, loss = given["predictor_type"], given["loss"]
    z = models.scores(rows)
    criterion = given["binary_classifier_model_selection_criteria"]
    if kind == "binary_classifier" and criterion in thresholds.CRITERIA:
        target = given["target_recall"] if criterion == "precision_at_target_recall" else given["target_precision"]
        columns = losses.sigmoid(z) if loss == "logistic" else z
        cuts = [thresholds.choose(column, labels, criterion, target=target, beta=given["f_beta"]) for column in columns.T]
        best = int(np.argmax([cut.value for cut in cuts]))
        threshold = cuts[best].threshold
    else:
        shape = _settings(given).shape
        best, threshold = int(np.argmin(losses.loss(loss, z, labels, shape).mean(axis=0))), 0.5 if loss == "logistic" else 0.0
    return LinearModel(models.weights[best], models.bias[best], kind, loss, threshold)


def load(folder: Path) -> LinearModel:
    with np.load(folder / "model.npz") as stored:
        kind, loss, threshold = str(stored["kind"]), str(stored["loss"]), float(stored["threshold"])
        return LinearModel(stored["weights"], stored["bias"], kind, loss, threshold)


if __name__ == "__main__":
    algorithm.run(train, load)
