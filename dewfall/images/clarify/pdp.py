"""Partial dependence of the model on its features, as analysis.json holds it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from dewfall.images.clarify import shap
from dewfall.images.clarify.config import Analysis
from dewfall.images.clarify.dataset import Dataset
from dewfall.images.contract import UserError
from dewfall.ml.explain import partial_dependence

GRID, TOP = 15, 10
CATEGORIES = 50  # distinct texts beyond which a column is free text


def explain(analysis: Analysis, data: Dataset, scores: shap.Scores, found: shap.Found | None) -> list[dict[str, Any]]:
    """An entry per feature: the configured ones, else the weightiest by SHAP. A feature that cannot be done has its error."""
    settings = analysis.methods["pdp"] or {}
    names = _chosen(settings, data, found)
    rows = shap.table(data)
    entries = []
    for name in names:
        entry: dict[str, Any] = {"feature_name": name, "data_type": _kind(data, name)}
        try:
            entries.append(
                entry | _dependence(scores, rows, data.features.index(name), int(settings.get("grid_resolution") or GRID), analysis, entry)
            )
        except ValueError as error:
            entries.append(entry | {"error": str(error)})
        print(f"Partial dependence on {name}", flush=True)
    return entries


def _dependence(scores: shap.Scores, rows: Any, feature: int, grid: int, analysis: Analysis, entry: dict[str, Any]) -> dict[str, Any]:
    if entry["data_type"] == "free_text":
        raise ValueError("PDP is not supported for free text features")
    held = partial_dependence(scores, rows, feature, grid_resolution=grid)
    return {
        "feature_values": [value.item() if isinstance(value, np.generic) else value for value in held.grid],
        "data_distribution": held.share.tolist(),
        "model_predictions": held.average.T.tolist(),
        "label_headers": list(shap.label_names(analysis, held.average[0])),
    }


def _chosen(settings: dict[str, Any], data: Dataset, found: shap.Found | None) -> list[str]:
    asked = settings.get("features")
    if asked:
        names = [data.features[one] if isinstance(one, int) and one < len(data.features) else str(one) for one in asked]
        unknown = [name for name in names if name not in data.features]
        if unknown:
            raise UserError(f"pdp: '{unknown[0]}' is not a feature.")
        return names
    if found is None:
        raise UserError("pdp: features must be given, or shap asked for, whose weightiest features are taken.")
    weight = np.abs(found.local).mean(axis=(0, 2))
    order = np.argsort(-weight, kind="stable")[: int(settings.get("top_k_features") or TOP)]
    return [found.names[i] for i in order]


def _kind(data: Dataset, name: str) -> str:
    column = data.frame[name]
    if column.dtype.is_numeric():
        return "numerical"
    if column.dtype == pl.String and column.n_unique() > CATEGORIES:
        return "free_text"
    return "categorical"
