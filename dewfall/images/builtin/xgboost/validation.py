"""XGBoost's hyperparameters: names, types, ranges and what depends on what, refused with the container's own messages."""

import ast
from dataclasses import dataclass
from typing import Any

from dewfall.images.contract import UserError

MINIMIZE = (
    "aft-nloglik", "cox-nloglik", "error", "gamma-deviance", "gamma-nloglik", "interval-regression-accuracy", "logloss", "mae", "mape",
    "merror", "mlogloss", "mphe", "mse", "poisson-nloglik", "rmse", "rmsle", "tweedie-nloglik",
)  # fmt: skip
MAXIMIZE = (
    "accuracy", "auc", "aucpr", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "map", "ndcg", "precision", "r2", "recall",
    "precision_macro", "precision_micro", "recall_macro", "recall_micro",
)  # fmt: skip
METRICS = MAXIMIZE + MINIMIZE
OBJECTIVES = [
    "aft_loss_distribution", "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson", "multi:softmax", "multi:softprob",
    "rank:pairwise", "rank:ndcg", "rank:map", "reg:linear", "reg:squarederror", "reg:logistic", "reg:gamma", "reg:pseudohubererror",
    "reg:squaredlogerror", "reg:absoluteerror", "reg:quantileerror", "reg:tweedie", "survival:aft", "survival:cox",
]  # fmt: skip
TREE_UPDATERS = ["grow_colmaker", "distcol", "grow_histmaker", "grow_local_histmaker", "grow_skmaker", "sync", "refresh", "prune",
                 "grow_quantile_histmaker"]  # fmt: skip
GROWING = ("grow_colmaker", "distcol", "grow_histmaker", "grow_local_histmaker", "grow_quantile_histmaker")
LINEAR_UPDATERS = ["shotgun", "coord_descent"]
ALIASES = {"learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha"}


@dataclass(frozen=True, slots=True)
class Range:
    """An interval; `open_low`, `open_high` leave the end out. Printed as the container prints it."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        below = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return above and below

    def __str__(self) -> str:
        left = "(-inf" if self.low is None else f"{'(' if self.open_low else '['}{self.low}"
        right = "+inf)" if self.high is None else f"{self.high}{')' if self.open_high else ']'}"
        return f"{left}, {right}"


UNIT, OVER_UNIT, POSITIVE, NATURAL = Range(0, 1), Range(0, 1, open_low=True), Range(1), Range(0)
BOOLEAN = ["true", "false"]
INTEGERS = {
    "num_round": POSITIVE, "csv_weights": UNIT, "early_stopping_rounds": POSITIVE, "silent": UNIT, "verbosity": Range(0, 3), "nthread": POSITIVE,
    "max_depth": NATURAL, "refresh_leaf": UNIT, "max_leaves": NATURAL, "max_bin": NATURAL, "one_drop": UNIT, "num_class": Range(2),
    "_kfold": Range(2), "_num_cv_round": POSITIVE, "seed": Range(-(2**31), 2**31 - 1, True, True), "num_parallel_tree": POSITIVE,
    "prob_buffer_row": Range(1.0, open_low=True), "max_cat_to_onehot": POSITIVE, "max_cat_threshold": POSITIVE,
}  # fmt: skip
NUMBERS = {
    "eta": UNIT, "gamma": NATURAL, "min_child_weight": NATURAL, "max_delta_step": NATURAL, "subsample": OVER_UNIT, "colsample_bytree": OVER_UNIT,
    "colsample_bylevel": OVER_UNIT, "colsample_bynode": OVER_UNIT, "lambda": NATURAL, "alpha": NATURAL, "sketch_eps": Range(0, 1, True, True),
    "scale_pos_weight": Range(0, open_low=True), "rate_drop": UNIT, "skip_drop": UNIT, "lambda_bias": UNIT,
    "tweedie_variance_power": Range(1, 2, True, True), "base_score": NATURAL, "aft_loss_distribution_scale": NATURAL, "huber_slope": NATURAL,
}  # fmt: skip
CATEGORIES = {
    "booster": ["gbtree", "gblinear", "dart"], "tree_method": ["auto", "exact", "approx", "hist", "gpu_hist"], "dsplit": ["row", "col"],
    "process_type": ["default", "update"], "grow_policy": ["depthwise", "lossguide"], "predictor": ["auto", "cpu_predictor", "gpu_predictor"],
    "sample_type": ["uniform", "weighted"], "normalize_type": ["tree", "forest"], "objective": OBJECTIVES,
    "_tuning_objective_metric": [f"validation:{name}" for name in METRICS] + [f"train:{name}" for name in METRICS],
    "save_model_on_termination": BOOLEAN, "aft_loss_distribution": ["normal", "logistic", "extreme"], "single_precision_histogram": BOOLEAN,
    "deterministic_histogram": BOOLEAN, "sampling_method": ["uniform", "gradient_based"], "use_dask_gpu_training": BOOLEAN,
}  # fmt: skip
LISTS = ("updater", "eval_metric")
LITERALS = ("monotone_constraints", "interaction_constraints")


def validate(given: dict[str, str]) -> dict[str, Any]:
    """Typed hyperparameters by XGBoost's names. UserError says what is missing, unknown, out of range or does not go together."""
    named = {ALIASES.get(key, key): value for key, value in given.items() if not key.startswith("sagemaker_")}
    if "num_round" not in named:
        raise UserError("Missing required hyperparameter: num_round")
    values = {name: _parse(name, text) for name, text in named.items()}
    for name, value in values.items():
        _check_range(name, value)
    _check_dependencies(values)
    return _for_xgboost(values)


def _parse(name: str, text: str) -> Any:
    try:
        if name in INTEGERS:
            return int(text)
        if name in NUMBERS:
            return float(text)
        if name in LITERALS:
            return ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise UserError(f"Hyperparameter {name}: could not parse value (caused by {type(error).__name__})")
    if name in LISTS:
        return text.split(",")
    if name in CATEGORIES:
        return text
    raise UserError(f"Extraneous hyperparameter found: {name}")


def _check_range(name: str, value: Any) -> None:
    allowed: Any = INTEGERS.get(name) or NUMBERS.get(name) or CATEGORIES.get(name)
    if allowed is not None:
        if value not in allowed:
            raise UserError(f"Hyperparameter {name}: {value} is not in {allowed}")
        return
    if name == "eval_metric":
        bad = [metric for metric in value if not _is_metric(metric)]
        allowed = list(METRICS)
    elif name == "updater":
        bad, allowed = [one for one in value if one not in TREE_UPDATERS + LINEAR_UPDATERS], TREE_UPDATERS + LINEAR_UPDATERS
    elif name == "monotone_constraints":
        bad, allowed = [one for one in value if one not in (-1, 0, 1)], [-1, 0, 1]
    else:
        bad, allowed = [one for group in value for one in group if one not in Range(0)], Range(0)
    if bad:
        raise UserError(f"Hyperparameter {name}: value {value} not in range {allowed}")


def _is_metric(metric: str) -> bool:
    if "<function" in metric:
        raise UserError(f"User defined evaluation metric {metric} is not supported yet.")
    if "@" not in metric:
        return metric in METRICS
    name, _, threshold = (part.strip() for part in metric.partition("@"))
    if name not in ("error", "ndcg", "map"):
        raise UserError(
            f"Metric '{metric}' is not supported. Parameter 'eval_metric' with customized threshold should "
            "be one of these options: 'error', 'ndcg', 'map'."
        )
    try:
        float(threshold)
    except ValueError:
        raise UserError(f"Threshold value 't' in '{name}@t' expects float input.")
    return True


def _check_dependencies(values: dict[str, Any]) -> None:
    objective = values.get("objective", "")
    if objective in ("multi:softmax", "multi:softprob") and "num_class" not in values:
        raise UserError("Require input for parameter 'num_class' for multi-classification")
    if "num_class" in values and not objective:
        raise UserError("Do not need to setup parameter 'num_class' for learning task other than multi-classification.")
    measured = values.get("eval_metric", [])
    if "auc" in measured and not objective.startswith(("binary:", "rank:", "multi:softprob")):
        raise UserError("Metric 'auc' can only be applied for classification and ranking problems.")
    if "aft-nloglik" in measured and objective != "survival:aft":
        raise UserError("Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.")
    method = values.get("tree_method")
    if "monotone_constraints" in values and method not in ("exact", "hist"):
        raise UserError("monotone_constraints can be used only when the tree_method parameter is set to either 'exact' or 'hist'.")
    if "interaction_constraints" in values and method not in ("exact", "hist", "approx"):
        raise UserError("interaction_constraints can be used only when the tree_method parameter is set to either 'exact', 'hist' or 'approx'.")
    if "updater" in values:
        _check_updater(values["updater"], values.get("booster"), values.get("process_type"))


def _check_updater(updaters: list[str], booster: str | None, process: str | None) -> None:
    if booster == "gblinear":
        if len(updaters) != 1 or updaters[0] not in LINEAR_UPDATERS:
            raise UserError("Linear updater should be one of these options: 'shotgun', 'coord_descent'.")
    elif process == "update":
        if not set(updaters) <= {"refresh", "prune"}:
            raise UserError("process_type 'update' can only be used with updater 'refresh' and 'prune'")
    elif not set(updaters) <= set(TREE_UPDATERS):
        raise UserError(
            "Tree updater should be selected from these options: 'grow_colmaker', 'distcol', 'grow_histmaker', 'grow_local_histmaker', "
            "'grow_skmaker', 'grow_quantile_histmaker', 'sync', 'refresh', 'prune', 'shortgun', 'coord_descent'."
        )
    elif sum(updater in GROWING for updater in updaters) > 1:
        raise UserError(
            "Only one tree grow plugin can be selected. Choose one from the following: 'grow_colmaker', 'distcol', 'grow_histmaker', "
            "'grow_local_histmaker', 'grow_skmaker'"
        )


def _for_xgboost(values: dict[str, Any]) -> dict[str, Any]:
    """What today's XGBoost calls differently: reg:linear, gpu_hist, silent, lists as text."""
    found = dict(values)
    if found.get("objective") == "reg:linear":
        found["objective"] = "reg:squarederror"
    if found.get("tree_method") == "gpu_hist":
        raise UserError("tree_method 'gpu_hist' needs a GPU, and this host offers none. Use 'hist'.")
    if "silent" in found:
        found["verbosity"] = 0 if found.pop("silent") else 1
    if "updater" in found:
        found["updater"] = ",".join(found["updater"])
    if "monotone_constraints" in found:
        found["monotone_constraints"] = tuple(found["monotone_constraints"])
    found.pop("lambda_bias", None)
    return found
