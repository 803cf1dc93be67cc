"""XGBoost's training job: hyperparameters → boosting → `xgboost-model`, with checkpoints, cross validation and several hosts.

The behaviour (files, log lines, what is refused) is the container's algorithm mode; the boosting is XGBoost itself.
"""

from pathlib import Path
from typing import Any

import numpy as np

from dewfall.images import contract
from dewfall.images.builtin.report import threads
from dewfall.images.builtin.xgboost import is_before_1_3, is_before_2, metrics
from dewfall.images.builtin.xgboost.data import Table, read
from dewfall.images.builtin.xgboost.progress import Checkpoints, KeptModel, Monitor, say
from dewfall.images.builtin.xgboost.validation import validate
from dewfall.images.contract import AlgorithmError, UserError
from dewfall.images.debugging import boosting

MODEL = "xgboost-model"
PREDICTIONS = "predictions.csv"
NOT_FOR_XGBOOST = ("csv_weights", "num_round", "early_stopping_rounds", "_kfold", "_num_cv_round", "_tuning_objective_metric",
                   "save_model_on_termination", "use_dask_gpu_training", "dsplit", "predictor", "sketch_eps", "prob_buffer_row",
                   "deterministic_histogram", "single_precision_histogram")  # fmt: skip
CUSTOMER_ERRORS = (
    "label must be in [0,1] for logistic regression",
    "for logistic regression",
    "label must be in [0, num_class)",
    "Target is multiclass but average='binary'",
    "feature_names mismatch",
    "preds.size() == info.labels_.size()",
    "the dataset only contains pos or neg samples",
    "base_score must be in (0,1)",
    "label must be nonnegative",
    "should be greater equal to 0",
    "Label set is empty",
    "Label contains NaN",
    "Input data contains `inf`",
    "label and prediction size not match",
    "must be in [0, 1]",
    "Invalid number of classes",
    "SoftmaxMultiClassObj: label must be",
)


def train() -> None:
    """Run the job that /opt/ml describes."""
    settings = validate(contract.hyperparameters())
    channels = contract.channels()
    unknown = set(channels) - {"train", "validation", "code"}
    if "train" not in channels:
        raise UserError("Missing required channel: train")
    if unknown:
        raise UserError(f"Extraneous channel found: {sorted(unknown)[0]}")
    weighted = settings.get("csv_weights", 0) == 1
    tables: dict[str, Table | None] = {name: read(channels[name], weighted=weighted) for name in ("train", "validation") if name in channels}
    for name, role in (("train", "training"), ("validation", "validation")):
        if name in tables and tables[name] is None:
            raise UserError(f"No data in {role} channel path {channels[name].path}")
    cluster = contract.cluster()
    if len(cluster.hosts) == 1:
        say("Single node training.")
        _train_here(settings, tables)
        return
    _train_together(settings, tables, cluster)


def _train_together(settings: dict[str, Any], tables: dict[str, Table | None], cluster: contract.Cluster) -> None:
    """Every host brings its rows; XGBoost sums histograms over all of them, the leader keeps the model."""
    from dewfall.images.builtin.xgboost.together import communicator

    say(f"Distributed node training with {len(cluster.hosts)} hosts: {list(cluster.hosts)}")
    with communicator() as is_leader:
        _train_here(settings, tables, is_leader=bool(is_leader))


def _train_here(settings: dict[str, Any], tables: dict[str, Table | None], *, is_leader: bool = True) -> None:
    table, validation = tables["train"], tables.get("validation")
    assert table is not None
    say(f"Train matrix has {table.rows} rows and {table.features.shape[1]} columns")
    if validation is not None:
        say(f"Validation matrix has {validation.rows} rows")
    _check_width(table, validation)
    try:
        if "_kfold" in settings:
            models = _cross_validate(settings, table, validation)
        else:
            models = {MODEL: _boost(settings, table, validation, contract.folders().model, is_leader=is_leader)}
    except UserError:
        raise
    except Exception as error:
        if any(text in str(error) for text in CUSTOMER_ERRORS):
            raise UserError(_said(error))
        raise AlgorithmError(f"XGB train call failed with exception:\n {_said(error)}") from error
    if is_leader:
        for name, model in models.items():
            save(model, contract.folders().model / name)


def _check_width(table: Table, validation: Table | None) -> None:
    """Validation data may have fewer columns, the rest of which is missing, never more: they would be features that no tree knows."""
    ours, theirs = (0 if one is None else one.features.shape[1] for one in (validation, table))
    if ours > theirs:
        raise UserError(f"feature_names mismatch: the validation data has {ours} features, the training data {theirs}.")


def _said(error: Exception) -> str:
    """XGBoost's sentence, without the addresses of its stack."""
    return str(error).partition("\nStack trace:")[0].strip()


def save(model: Any, path: Path) -> None:
    """Images before 1.3 pickle the Booster, later ones use XGBoost's own format; both load in XGBoost of our version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_before_1_3():
        import pickle

        path.write_bytes(pickle.dumps(model))
        return
    path.write_bytes(bytes(model.save_raw(raw_format="ubj")))


def matrix(table: Table) -> Any:
    import xgboost

    found = xgboost.DMatrix(table.features, label=table.labels, weight=table.weights, nthread=threads())
    if table.groups is not None:
        found.set_info(qid=table.groups)
    return found


def _boost(settings: dict[str, Any], table: Table, validation: Table | None, folder: Path, *, fold: int | None = None, is_leader: bool = True) -> Any:
    import xgboost

    watched = [(matrix(table), "train")] + ([(matrix(validation), "validation")] if validation is not None else [])
    names = evaluated(settings)
    own, custom = metrics.split(names)
    parameters = {key: value for key, value in settings.items() if key not in NOT_FOR_XGBOOST and key != "eval_metric"}
    parameters.setdefault("nthread", threads())
    if is_before_2():
        parameters.setdefault("base_score", 0.5)
    if own:
        parameters["eval_metric"] = own
    checkpoints = Checkpoints.find(contract.read_config("checkpointconfig.json").get("LocalPath"), fold)
    start, resumed = checkpoints.newest() if checkpoints else (0, None)
    callbacks: list[Any] = [Monitor(start)]
    if checkpoints and is_leader:
        callbacks.append(checkpoints.callback(start))
    if settings.get("save_model_on_termination") == "true" and is_leader:
        callbacks.append(KeptModel(folder / (MODEL if fold is None else f"{MODEL}-{fold}")))
    debugging = boosting.find_config() if fold is None else None
    if debugging is not None:
        held = watched[1][0] if validation is not None else None
        callbacks.append(boosting.xgboost_hook(debugging, settings, watched[0][0], held, start))
    rounds = settings.get("early_stopping_rounds")
    if rounds and validation is not None:
        callbacks.append(_early_stopping(rounds, names, is_leader))
    return xgboost.train(
        parameters,
        watched[0][0],
        num_boost_round=max(0, settings["num_round"] - start),
        evals=watched,
        custom_metric=metrics.evaluation(custom, settings.get("objective", "reg:squarederror")) if custom else None,
        callbacks=callbacks,
        xgb_model=resumed,
        verbose_eval=False,
    )


def evaluated(settings: dict[str, Any]) -> list[str]:
    """The metrics of `eval_metric` and of the tuning objective, as the container joins them."""
    tuned = settings.get("_tuning_objective_metric")
    wanted = tuned.split(":", 1)[1].split(",") if tuned else []
    given = settings.get("eval_metric", [])
    return sorted({*wanted, *given}) if wanted and given else wanted or given


def _early_stopping(rounds: int, names: list[str], is_leader: bool) -> Any:
    import xgboost

    metric = names[-1] if names else None
    return xgboost.callback.EarlyStopping(
        rounds=rounds, data_name="validation", metric_name=metric, maximize=metrics.is_better_greater(metric) if metric else None, save_best=is_leader
    )


def _cross_validate(settings: dict[str, Any], table: Table, validation: Table | None) -> dict[str, Any]:
    """Boost on each fold of train and validation together; keep every model and what each predicted for rows it had not seen."""
    from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold

    folds, repeats = settings["_kfold"], settings.get("_num_cv_round", 1)
    whole = table if validation is None else table.joined(validation)
    say(f"Run {repeats}-round of {folds}-fold cross validation with {whole.rows} rows")
    objective = settings.get("objective", "reg:squarederror")
    is_classes = bool(settings.get("num_class")) or objective.startswith("binary:")
    splitter = (RepeatedStratifiedKFold if is_classes else RepeatedKFold)(n_splits=folds, n_repeats=repeats, random_state=settings.get("seed"))
    models: dict[str, Any] = {}
    results: list[dict[str, dict[str, list[float]]]] = []
    seen: list[list[Any]] = [[] for _ in range(whole.rows)]
    for fold, (train_rows, held_rows) in enumerate(splitter.split(np.zeros(whole.rows), whole.labels if is_classes else None)):
        say(f"Train cross validation fold {fold % folds + 1}")
        held = whole.taken(held_rows)
        model = _boost(settings, whole.taken(train_rows), held, contract.folders().model, fold=fold)
        models[f"{MODEL}-{fold}"] = model
        results.append(_last_metrics(model, settings, whole.taken(train_rows), held))
        for row, prediction in zip(held_rows, model.predict(matrix(held)), strict=True):
            seen[row].append(prediction)
        if (fold + 1) % folds == 0:
            say(f"The metrics of round {(fold + 1) // folds} cross validation")
            _print_means(settings["num_round"], results[-folds:])
    if repeats > 1:
        say(f"The overall metrics of {repeats}-round cross validation")
        _print_means(settings["num_round"], results)
    _write_predictions(whole, seen, is_classes, objective)
    return models


def _last_metrics(model: Any, settings: dict[str, Any], table: Table, held: Table) -> dict[str, dict[str, list[float]]]:
    _, custom = metrics.split(evaluated(settings))
    watched = [(matrix(table), "train"), (matrix(held), "validation")]
    evaluate = metrics.evaluation(custom, settings.get("objective", "reg:squarederror")) if custom else None
    found: dict[str, dict[str, list[float]]] = {"train": {}, "validation": {}}
    for part in model.eval_set(watched, 0, feval=evaluate, output_margin=False).split("\t")[1:]:
        name, _, value = part.rpartition(":")
        data, _, metric = name.partition("-")
        found[data][metric] = [float(value)]
    return found


def _print_means(rounds: int, results: list[dict[str, dict[str, list[float]]]]) -> None:
    line = f"[{rounds}]"
    for metric in results[0]["train"]:
        for data in ("train", "validation"):
            line += f"\t{data}-{metric}:{np.mean([result[data][metric][-1] for result in results]):.5f}"
    print(line, flush=True)


def _write_predictions(whole: Table, seen: list[list[Any]], is_classes: bool, objective: str) -> None:
    """output/data/predictions.csv: label, and the mean prediction; for classes label, probability and the commonest class."""
    predictions = np.array(seen)
    labels = np.asarray(whole.labels)
    if not is_classes:
        columns = [labels, predictions.mean(axis=1)]
    else:
        each = np.stack([metrics.classes(predictions[:, i], objective) for i in range(predictions.shape[1])], axis=1)
        chance = predictions.max(axis=2) if predictions.ndim == 3 else predictions
        columns = [labels, chance.mean(axis=1), np.array([np.bincount(row).argmax() for row in each])]
    folder = contract.folders().output_data
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / PREDICTIONS, np.column_stack(columns), delimiter=",", fmt="%f")
