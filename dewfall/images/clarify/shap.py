"""Kernel SHAP through the model's endpoint: of tables, and of texts whose tokens, sentences or paragraphs are the players."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from dewfall.images.clarify import config, dataset, texts
from dewfall.images.clarify.config import Analysis
from dewfall.images.clarify.dataset import Dataset
from dewfall.images.contract import UserError
from dewfall.ml.explain import AGGREGATES, Explanation, kernel_shap
from dewfall.ml.prototypes import prototypes

FOLDER = "explanations_shap"
PART = 50  # rows between two lines of progress
Scores = Callable[[Any], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Found:
    """What the analysis gives: the member of analysis.json, and the local values for charts and the choice of pdp features."""

    document: dict[str, Any]
    local: NDArray[np.float64]
    rows: NDArray[Any]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    expected: NDArray[np.float64]


def explain(analysis: Analysis, data: Dataset, scores: Scores, output: Path, fetch: Any) -> Found:
    """Explain every row; writes out.csv (or out.jsonl) and, where it was computed, baseline.csv."""
    settings = dict(analysis.methods["shap"] or {})
    check(settings)
    rows = table(data)
    background = _baseline(analysis, data, rows, settings, output, fetch)
    if settings.get("text_config"):
        return texts.explain(analysis, data, scores, output, background, settings)
    found = _explained(scores, rows, background, settings)
    labels = label_names(analysis, found.expected)
    shown = _shown(data.features, settings.get("features_to_explain"))
    names = [data.features[i] for i in shown]
    values = found.values[:, shown, :]
    if settings.get("save_local_shap_values", False):
        write_local(output / FOLDER, names, labels, values, _join(data))
    overall = AGGREGATES[settings.get("agg_method", "mean_abs")](values)
    document = {
        label: {
            "global_shap_values": {name: float(overall[i, k]) for i, name in enumerate(names)},
            "expected_value": float(found.expected[k]),
        }
        for k, label in enumerate(labels)
    }
    return Found(document, values, rows[:, shown], tuple(names), labels, found.expected)


def table(data: Dataset) -> NDArray[Any]:
    """The features (n, d): floats where all are numbers, else objects."""
    frame = data.frame.select(data.features)
    if all(kind.is_numeric() or kind == pl.Boolean for kind in frame.dtypes):
        return np.asarray(frame.to_numpy().astype(np.float64))
    return np.array(frame.rows(), dtype=object).reshape(frame.height, frame.width)


def label_names(analysis: Analysis, expected: NDArray[np.float64]) -> tuple[str, ...]:
    """A name for every score of the model."""
    headers = tuple(map(str, analysis.predictor.get("label_headers") or ()))
    return headers if len(headers) == len(expected) else tuple(f"label{i}" for i in range(len(expected)))


def write_local(folder: Path, names: list[str], labels: tuple[str, ...], values: NDArray[np.float64], join: tuple[str, list[Any]] | None) -> None:
    """out.csv: a row per record, features first and labels slower, the join key last."""
    folder.mkdir(parents=True, exist_ok=True)
    header = [f"{name}_{label}" for label in labels for name in names]
    with (folder / "out.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header + ([join[0]] if join else []))
        for number, row in enumerate(values):
            writer.writerow([*row.T.ravel().tolist(), *([join[1][number]] if join else [])])


def _explained(scores: Scores, rows: NDArray[Any], background: NDArray[Any], settings: dict[str, Any]) -> Explanation:
    parts = []
    for start in range(0, len(rows), PART):
        try:
            parts.append(
                kernel_shap(
                    scores,
                    rows[start : start + PART],
                    background,
                    num_samples=settings.get("num_samples"),
                    use_logit=bool(settings.get("use_logit", False)),
                    seed=int(settings.get("seed") or 0),
                )
            )
        except ValueError as error:
            raise UserError(f"shap: {error}.") from None
        print(f"SHAP values of {min(start + PART, len(rows))} of {len(rows)} records", flush=True)
    return Explanation(np.concatenate([part.values for part in parts]), parts[0].expected, np.concatenate([part.predictions for part in parts]))


def _baseline(analysis: Analysis, data: Dataset, rows: NDArray[Any], settings: dict[str, Any], output: Path, fetch: Any) -> NDArray[Any]:
    given = settings.get("baseline")
    if given is None:
        found = prototypes(rows, settings.get("num_clusters"), seed=int(settings.get("seed") or 0))
        folder = output / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "baseline.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([list(data.features), *found.tolist()])
        return found
    if settings.get("num_clusters"):
        raise UserError("shap: give either baseline or num_clusters, not both.")
    held = _given_rows(analysis, data, given, fetch)
    for row in held:
        if len(row) != len(data.features):
            raise UserError(
                f"shap: a baseline row has {len(row)} values, but the model gets {len(data.features)} features ({', '.join(data.features[:20])})."
            )
    if rows.dtype == np.float64:
        try:
            return np.array(held, dtype=np.float64)
        except (TypeError, ValueError):
            raise UserError("shap: the baseline has values that are not numbers, but the features are numbers.") from None
    return np.array(held, dtype=object).reshape(len(held), len(data.features))


def _given_rows(analysis: Analysis, data: Dataset, given: Any, fetch: Any) -> list[list[Any]]:
    if isinstance(given, str):
        bodies = fetch(given)
        if not bodies:
            raise UserError(f"shap: there is no baseline at {given}.")
        if analysis.kind in (config.CSV, config.PARQUET):
            frame = dataset.read_csv(bodies[0][1], None, bodies[0][0])
            return [list(row) for row in frame.rows()]
        given = (
            [json.loads(line) for line in bodies[0][1].splitlines() if line.strip()]
            if analysis.kind == config.JSON_LINES
            else json.loads(bodies[0][1])
        )
    records = [given] if isinstance(given, dict) else list(given)
    return [_record(analysis, data, record) for record in records]


def _record(analysis: Analysis, data: Dataset, record: Any) -> list[Any]:
    """A baseline row: as a list, as an object of feature names, or as a record of the dataset's own form."""
    import jmespath

    if isinstance(record, list):
        return record
    if isinstance(record, dict) and set(data.features) <= set(record):
        return [record[name] for name in data.features]
    found = jmespath.search(str(analysis.get("features", "@")), record)
    if isinstance(found, list):
        return list(found[0]) if len(found) == 1 and isinstance(found[0], list) else found
    raise UserError(f"shap: the baseline record {json.dumps(record)[:200]} has no features.")


def _shown(features: tuple[str, ...], asked: Any) -> list[int]:
    if not asked:
        return list(range(len(features)))
    places: dict[str | int, int] = {name: i for i, name in enumerate(features)} | {i: i for i in range(len(features))}
    unknown = [name for name in asked if name not in places]
    if unknown:
        raise UserError(f"shap: features_to_explain names '{unknown[0]}', which is not a feature.")
    return [places[name] for name in asked]


def _join(data: Dataset) -> tuple[str, list[Any]] | None:
    return (data.join, data.frame[data.join].to_list()) if data.join else None


def check(settings: dict[str, Any]) -> None:
    """Raise UserError for settings that cannot be meant, before any model is asked."""
    if settings.get("image_config"):
        raise UserError("shap: image_config is for dataset_type application/x-image.")
    method = settings.get("agg_method", "mean_abs")
    if method not in AGGREGATES:
        raise UserError(f"shap: agg_method '{method}' is not one of {', '.join(AGGREGATES)}.")
    for member in ("num_samples", "num_clusters"):
        value = settings.get(member)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError(f"shap: {member} must be a positive whole number.")
