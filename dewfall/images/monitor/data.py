"""Data quality: the statistics of a data set, constraints suggested from them or held against them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from dewfall.images.contract import UserError
from dewfall.images.monitor import outcome, page, records, scripts, segments
from dewfall.images.monitor.outcome import Metric
from dewfall.images.monitor.settings import Settings
from dewfall.ml import datatypes, violations
from dewfall.ml.datatypes import Kinds
from dewfall.ml.profile import profile, suggest_constraints

EMPTY = "Error: Encountered an empty dataset. Check the data that was captured, or the S3 location of the input."


def run(settings: Settings, session: Any) -> list[dict[str, str]] | None:
    """One analysis; its violations, None where there was nothing to hold against."""
    preprocess = scripts.preprocessor(settings.preprocessor)
    limits = constraints_of(settings.constraints) if settings.constraints else None
    baseline = statistics_of(settings.statistics) if settings.statistics else None
    names = [feature["name"] for feature in limits["features"]] if limits else None

    def tables() -> Iterator[pl.DataFrame]:
        return (without(named(table, names), settings.excluded) for table in records.batches(settings, preprocess))

    kinds = datatypes.count(tables())
    if not kinds:
        raise UserError(EMPTY)
    wanted = {name: _kind(held, name, limits) for name, held in kinds.items()}
    columns = list(kinds)
    statistics = profile(datatypes.cast(records.whole(table, columns), wanted) for table in tables())
    outcome.write(settings.output, "statistics.json", statistics)
    suggested = suggest_constraints(statistics)
    method = settings.attribute("categorical_drift_method")
    if method:
        suggested["monitoring_config"]["distribution_constraints"]["categorical_drift_method"] = method
    outcome.write(settings.output, "constraints.json", suggested)
    parts = segments.data(settings, tables, wanted, baseline)
    if limits is None:
        page.data(settings, statistics, baseline, None, parts)
        return None
    kept = [one for place, one in enumerate(limits["features"]) if not {one["name"], str(place)} & settings.excluded]
    limits = {**limits, "features": kept}
    found = violations.data_quality(statistics, limits, baseline, kinds)
    outcome.write(settings.output, "constraint_violations.json", {"violations": found})
    if limits.get("monitoring_config", {}).get("emit_metrics", "Enabled") == "Enabled":
        outcome.publish(settings, "data", _metrics(statistics, baseline, limits), session)
    page.data(settings, statistics, baseline, found, parts)
    return found


def document(path: Path) -> dict[str, Any]:
    """A baseline's JSON file. Raises UserError where there is none."""
    held = next((one for one in records.files(path) if one.suffix == ".json"), path) if path.is_dir() else path
    try:
        found: dict[str, Any] = json.loads(held.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"The baseline file {held.name} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"The baseline file {held.name} cannot be read: it holds no JSON object.")
    return found


def constraints_of(path: Path) -> dict[str, Any]:
    """A constraints.json, perhaps edited by hand. Raises UserError naming what cannot be meant."""
    found = _with_features(path, "constraints")
    own = [(one["name"], violations.overrides(one)) for one in found["features"]]
    for place, config in [("monitoring_config", found.get("monitoring_config", {})), *own]:
        for name, value in _thresholds(config, place):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise UserError(f"The baseline constraints are invalid: {name} of {place} is {value!r}, a number is expected.")
    for one in found["features"]:
        if not isinstance(one.get("completeness", 1.0), (int, float)):
            raise UserError(f"The baseline constraints are invalid: completeness of {one['name']} is {one['completeness']!r}, a number is expected.")
    return found


def statistics_of(path: Path) -> dict[str, Any]:
    """A statistics.json. Raises UserError where it is none."""
    return _with_features(path, "statistics")


def without(table: pl.DataFrame, excluded: frozenset[str]) -> pl.DataFrame:
    """The table without ExcludeFeaturesAttribute's columns, which are named or counted from 0."""
    gone = [name for place, name in enumerate(table.columns) if name in excluded or str(place) in excluded]
    return table.drop(gone) if gone else table


def _with_features(path: Path, what: str) -> dict[str, Any]:
    found = document(path)
    features = found.get("features")
    if not isinstance(features, list) or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in features):
        raise UserError(f"The baseline {what} are invalid: features must be a list of objects with a name.")
    if not isinstance(found.get("monitoring_config", {}), dict):
        raise UserError(f"The baseline {what} are invalid: monitoring_config must be an object.")
    return found


def _thresholds(config: Any, place: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(config, dict) or not isinstance(config.get("distribution_constraints", {}), dict):
        raise UserError(f"The baseline constraints are invalid: the configuration of {place} must be an object.")
    for held in (config, config.get("distribution_constraints", {})):
        yield from ((name, value) for name, value in held.items() if name.endswith("_threshold"))


def named(table: pl.DataFrame, names: list[str] | None) -> pl.DataFrame:
    """Columns without names of their own get the baseline's, by place."""
    if names is None or not all(name == f"_c{i}" for i, name in enumerate(table.columns)) or names[: table.width] == table.columns:
        return table
    return table.rename({old: names[i] for i, old in enumerate(table.columns) if i < len(names)})


def _kind(held: Kinds, name: str, limits: dict[str, Any] | None) -> str:
    """The baseline's kind, so that both are compared as the same; else the one that is found."""
    expected = next((one.get("inferred_type") for one in (limits or {}).get("features", ()) if one["name"] == name), None)
    if expected in (datatypes.INTEGRAL, datatypes.FRACTIONAL):
        return datatypes.FRACTIONAL if held.fractional else str(expected)
    return datatypes.STRING if expected == datatypes.STRING else held.inferred


def _metrics(statistics: dict[str, Any], baseline: dict[str, Any] | None, limits: dict[str, Any]) -> list[Metric]:
    comparison = limits.get("monitoring_config", {}).get("distribution_constraints", {})
    before = {feature["name"]: feature for feature in (baseline or {}).get("features", ())}
    found = []
    for feature in statistics["features"]:
        name = feature["name"]
        held = feature.get("numerical_statistics") or feature["string_statistics"]
        common = held["common"]
        count = common["num_present"] + common["num_missing"]
        if "min" in held:
            numbers = {"SampleCount": float(common["num_present"]), "Sum": held["sum"], "Minimum": held["min"], "Maximum": held["max"]}
            found.append(Metric(f"feature_data_{name}", statistics=numbers))
        share = common["num_present"] / count if count else 0.0
        found.append(Metric(f"feature_non_null_{name}", value=share))
        far = violations.distance(feature, before[name], comparison) if name in before else None
        if far is not None:
            found.append(Metric(f"feature_baseline_drift_{name}", value=far))
    return found
