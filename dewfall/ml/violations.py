"""Constraints against what is found: Model Monitor's checks of data, of model quality, of bias and of feature attributions.

Every function returns AWS's list of violations, [] when all is well; the sentences are those that AWS's monitors print.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dewfall.ml import drift
from dewfall.ml.comparison import categories_of, sketch_of
from dewfall.ml.datatypes import Kinds
from dewfall.ml.profile import MONITORING

Document = Mapping[str, Any]
NDCG = 0.90
STAGES = ("pre_training_bias_metrics", "post_training_bias_metrics")
OF_ALL = ("CDDL", "CDDPL", "GE")  # metrics that have a value even where a facet is of nobody
NUMBER = r"-?(?:inf|[\d.]+(?:[eE][-+]?\d+)?)"
INTERVAL = re.compile(rf"^\(({NUMBER}), ({NUMBER})\]$")
INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf, "∞": math.inf, "-∞": -math.inf}


@dataclass(frozen=True, slots=True)
class _Group:
    """Who is looked at in a report of bias: a facet's value or interval, as Clarify writes it, with the values of its metrics."""

    facet: str
    text: str
    metrics: Mapping[str, float | None]


def data_quality(statistics: Document, constraints: Document, baseline: Document | None, kinds: Mapping[str, Kinds]) -> list[dict[str, str]]:
    """Violations of a data set.

    statistics: of the data (profile.profile). constraints: as suggested from the baseline, perhaps edited. baseline: its statistics, for
    drift; None leaves drift out. kinds: of the data's values (datatypes.count).

    >>> import polars as pl
    >>> from dewfall.ml.datatypes import count
    >>> from dewfall.ml.profile import profile, suggest_constraints
    >>> limits = suggest_constraints(profile(pl.DataFrame({"a": [1, 2]})))
    >>> frame = pl.DataFrame({"a": [1, None]})
    >>> [v["constraint_check_type"] for v in data_quality(profile(frame), limits, None, count(frame))]
    ['completeness_check']
    """
    config = {**MONITORING, **constraints.get("monitoring_config", {})}
    if config.get("evaluate_constraints") == "Disabled":
        return []
    found = _columns(statistics, constraints)
    held = {feature["name"]: feature for feature in statistics["features"]}
    before = {feature["name"]: feature for feature in (baseline or {}).get("features", ())}
    for limit in constraints["features"]:
        name = limit["name"]
        if name not in held:
            continue
        given = overrides(limit)
        comparison = {**config.get("distribution_constraints", {}), **given.get("distribution_constraints", {})}
        own = {**config, **given, "distribution_constraints": comparison}
        if own.get("evaluate_constraints") == "Disabled":
            continue
        found += _type(limit, kinds.get(name), own) + _completeness(limit, held[name]) + _values(limit, held[name], own)
        if name in before:
            found += _drift(held[name], before[name], own)
    return found


def distance(feature: Document, baseline: Document, settings: Document) -> float | None:
    """How far a feature's distribution is from its baseline's, [0, 1]; None where there is nothing to compare."""
    robust = settings.get("comparison_method", "Robust") == "Robust"
    here, there = sketch_of(feature), sketch_of(baseline)
    if here is not None and there is not None:
        return drift.numeric_distance(here, there, robust=robust)
    counts, known = categories_of(feature), categories_of(baseline)
    if not counts or not known:
        return None
    if settings.get("categorical_drift_method") == "ChiSquared":
        statistic, p_value = drift.chi_square(counts, known)
        return 1 - p_value if robust else statistic
    return drift.categorical_distance(counts, known, robust=robust)


def threshold(feature: Document, settings: Document) -> float:
    """The distance above which a feature has drifted."""
    limit = settings.get("comparison_threshold", 0.1)
    return float(settings.get("categorical_comparison_threshold", limit) if "string_statistics" in feature else limit)


def model_quality(statistics: Document, constraints: Document) -> list[dict[str, str]]:
    """Violations of model quality: metrics beyond their thresholds, with their standard deviation in the sentence.

    Raises ValueError (constraints) where they are of no or of another kind of model.

    >>> limits = {"regression_constraints": {"mae": {"threshold": 1.0, "comparison_operator": "GreaterThanThreshold"}}}
    >>> model_quality({"regression_metrics": {"mae": {"value": 2.0, "standard_deviation": "NaN"}}}, limits)[0]["description"]
    "Metric mae with 2.0 +/- NaN was GreaterThanThreshold '1.0'"
    """
    found = []
    sections = {name: name.replace("_constraints", "_metrics") for name in constraints if name.endswith("_constraints")}
    if not set(sections.values()) & set(statistics):
        raise ValueError(f"constraints: there are {', '.join(sections) or 'none'} for {', '.join(name for name in statistics if '_metrics' in name)}")
    for section, measured in sections.items():
        limits, metrics = constraints[section], statistics.get(measured, {})
        for name, limit in limits.items():
            entry = metrics.get(name)
            value = None if entry is None else _number(entry.get("value"))
            if value is None:
                continue
            operator, bound = limit["comparison_operator"], float(limit["threshold"])
            if (operator == "LessThanThreshold" and value < bound) or (operator == "GreaterThanThreshold" and value > bound):
                text = f"Metric {name} with {value} +/- {entry.get('standard_deviation', 'NaN')} was {operator} '{limit['threshold']}'"
                found.append({"constraint_check_type": operator, "description": text, "metric_name": name})
    return found


def clarify(analysis: Document, constraints: Document) -> dict[str, Any]:
    """constraint_violations.json of a Clarify job: what ClarifyCheckStep finds in its output against a baseline's.

    analysis, constraints: analysis.json of the job, and that of the baseline, perhaps edited. Bias metrics and Kernel SHAP values are held
    against the baseline where both have them. Raises ValueError (analysis, constraints) where that leaves nothing to check.

    >>> metrics = [{"name": "DPL", "description": "", "value": -0.3}]
    >>> now = {"pre_training_bias_metrics": {"facets": {"sex": [{"value_or_threshold": "0", "metrics": metrics}]}}}
    >>> before = {"pre_training_bias_metrics": {"facets": {"sex": [{"value_or_threshold": "0", "metrics": [{**metrics[0], "value": 0.2}]}]}}}
    >>> clarify(now, before)["violations"][0]["description"]
    "Metric value -0.3 doesn't meet the baseline constraint requirement 0.2"
    """
    checks = [check for check, there in ((bias, _has_bias), (attributions, _has_attributions)) if there(analysis) and there(constraints)]
    if not checks:
        raise ValueError(f"constraints: the baseline has {_told(constraints)}, the analysis {_told(analysis)}: there is nothing to compare")
    return {"version": "1.0", "violations": [one for check in checks for one in check(analysis, constraints)]}


def bias(analysis: Document, baseline: Document) -> list[dict[str, str]]:
    """Violations of bias: metrics further from fair (0; 1 for DI) than in the baseline's analysis.json.

    A facet that a threshold cuts is the baseline's where the threshold is the same, whatever the greatest values are, and also where nobody
    is above it: then there is nothing to violate. Raises ValueError (analysis, baseline) where one is no such document, or nothing in it is
    in the other.
    """
    found, compared = [], 0
    for stage in STAGES:
        before = _bias_values(baseline, stage, "baseline")
        for group in _bias_values(analysis, stage, "analysis"):
            limits = _same_group(group, before)
            shared = [name for name in group.metrics if name in limits]
            compared += len(shared)
            found += [one for name in shared for one in _further(group, name, limits[name])]
    if not compared:
        raise ValueError("baseline: it has none of the analysis' bias metrics, for the same facet and value")
    return found


def attributions(analysis: Document, baseline: Document) -> list[dict[str, str]]:
    """Violations of feature attribution: per label the nDCG of the live ranking below 0.90.

    Raises ValueError (analysis, baseline) where one is no analysis.json with Kernel SHAP values, or labels or features differ.
    """
    found, before = [], _global_values(baseline, "baseline")
    live = _global_values(analysis, "analysis")
    if not set(live) & set(before):
        raise ValueError(f"baseline: its labels are {', '.join(before) or 'none'}, those of the analysis {', '.join(live) or 'none'}")
    for label in (label for label in live if label in before):
        score = drift.attribution_drift(live[label], before[label])
        if score < NDCG:
            text = f"Feature attribution drift {score} exceeds threshold {NDCG}"
            found.append({"label": label, "metric_name": "shap", "constraint_check_type": "feature_attribution_drift_check", "description": text})
    return found


def overrides(limit: Document) -> dict[str, Any]:
    """A feature's own monitoring configuration, wherever in its constraints it stands."""
    for place in (limit, limit.get("string_constraints", {}), limit.get("num_constraints", {})):
        for name in ("monitoring_config_overrides", "monitoringConfigOverrides"):
            if isinstance(place, Mapping) and name in place:
                return dict(place[name]) if isinstance(place[name], Mapping) else {}
    return {}


def _columns(statistics: Document, constraints: Document) -> list[dict[str, str]]:
    here = [feature["name"] for feature in statistics["features"]]
    there = [feature["name"] for feature in constraints["features"]]
    counts = f"Number of columns in current dataset: {len(here)}, Number of columns in baseline constraints: {len(there)}"
    found = []
    if set(there) - set(here):
        found.append(_violation("Missing columns", "missing_column_check", f"There are missing columns in current dataset. {counts}"))
    if set(here) - set(there):
        found.append(_violation("Extra columns", "extra_column_check", f"There are extra columns in current dataset. {counts}"))
    return found


def _type(limit: Document, kinds: Kinds | None, settings: Document) -> list[dict[str, str]]:
    expected, needed = limit.get("inferred_type", "Unknown"), float(settings.get("datatype_check_threshold", 1.0))
    if kinds is None or not kinds.present:
        return []
    match = kinds.match(expected)
    if match >= needed:
        return []
    text = (
        f"Data type match requirement is not met. Expected data type: {expected}, Expected match: {needed * 100}%."
        f" Observed: Only {match * 100}% of data is {expected}."
    )
    return [_violation(limit["name"], "data_type_check", text)]


def _completeness(limit: Document, feature: Document) -> list[dict[str, str]]:
    common = _held(feature)["common"]
    total = common["num_present"] + common["num_missing"]
    share = common["num_present"] / total if total else 0.0
    if share >= float(limit.get("completeness", 0.0)):
        return []
    return [_violation(limit["name"], "completeness_check", f"Value: {share} does not meet the constraint requirement! ")]


def _values(limit: Document, feature: Document, settings: Document) -> list[dict[str, str]]:
    """Numbers that may not be negative, and texts outside their domain."""
    held = _held(feature)
    found = []
    if limit.get("num_constraints", {}).get("is_non_negative") and held.get("min", 0.0) < 0:
        found.append(_violation(limit["name"], "non_negative_check", f"Value: {held['min']} does not meet the constraint requirement! "))
    domain = limit.get("string_constraints", {}).get("domains")
    counts = categories_of(feature)
    if domain and counts:
        inside = sum(count for value, count in counts.items() if value in set(domain)) / held["common"]["num_present"]
        if inside < float(settings.get("domain_content_threshold", 1.0)):
            found.append(_violation(limit["name"], "categorical_values_check", f"Value: {inside} does not meet the constraint requirement! "))
    return found


def _drift(feature: Document, baseline: Document, settings: Document) -> list[dict[str, str]]:
    comparison = {**settings.get("distribution_constraints", {})}
    if comparison.get("perform_comparison", "Enabled") != "Enabled":
        return []
    far, limit = distance(feature, baseline, comparison), threshold(feature, comparison)
    if far is None or not far > limit:
        return []
    return [_violation(feature["name"], "baseline_drift_check", f"Baseline drift distance: {far} exceeds threshold: {limit}")]


def _held(feature: Document) -> Mapping[str, Any]:
    found: Mapping[str, Any] = feature.get("numerical_statistics") or feature["string_statistics"]
    return found


def _has_bias(document: Document) -> bool:
    return any(stage in document for stage in STAGES)


def _has_attributions(document: Document) -> bool:
    explanations = document.get("explanations")
    return isinstance(explanations, Mapping) and "kernel_shap" in explanations


def _told(document: Document) -> str:
    held = [name for name, there in (("bias metrics", _has_bias), ("Kernel SHAP values", _has_attributions)) if there(document)]
    return " and ".join(held) or "neither bias metrics nor Kernel SHAP values"


def _bias_values(document: Document, stage: str, name: str) -> list[_Group]:
    """The facets' values of a stage. Raises ValueError naming the document when the stage has not Clarify's form."""
    held = document.get(stage) or {}
    try:
        if "error" in held:
            raise ValueError(f"{name}: {stage} have an error: {held['error']}")
        return [
            _Group(facet, str(entry["value_or_threshold"]), {metric["name"]: _number(metric.get("value")) for metric in entry["metrics"]})
            for facet, entries in held.get("facets", {}).items()
            for entry in entries
        ]
    except (AttributeError, KeyError, TypeError):
        raise ValueError(f"{name}: {stage} are not as Clarify writes them") from None


def _same_group(group: _Group, others: list[_Group]) -> Mapping[str, float | None]:
    """The metrics of the one that is of the same facet and value; {} where there is none."""
    same = [other for other in others if other.facet == group.facet and _is_same(group, other)]
    same.sort(key=lambda other: _facet_values(other)[:1] != _facet_values(group)[:1])
    return same[0].metrics if same else {}


def _is_same(group: _Group, other: _Group) -> bool:
    here, there = _facet_values(group), _facet_values(other)
    if here and there:
        return bool(set(here) & set(there))
    return all(not values or INTERVAL.match(one.text) for values, one in ((here, group), (there, other)))


def _facet_values(group: _Group) -> list[str]:
    """What the configuration may have given as the facet's value: of an interval, which ends at the data's greatest value, the threshold.

    Where nobody is above the threshold there is nothing of them to measure, and Clarify writes the interval from the greatest value to the
    threshold; where the two are equal it writes none, and the threshold is unknown.

    >>> [_facet_values(_Group("age", text, {"CI": 0.1})) for text in ("(40, 68]", "(0.5, 1.0]", "f,m")]
    [['40'], ['0.5'], ['f,m']]
    >>> [_facet_values(_Group("age", text, {"CI": None})) for text in ("(35, 40]", "")]
    [['35', '40'], []]
    """
    measured = any(value is not None for name, value in group.metrics.items() if name not in OF_ALL)
    interval = INTERVAL.match(group.text)
    if interval:
        return [f"{float(bound):.12g}" for bound in interval.groups()[: 1 if measured else 2]]
    return [group.text] if group.text or measured else []


def _further(group: _Group, name: str, limit: float | None) -> list[dict[str, str]]:
    """The violation of a metric that is further from fair than its limit."""
    held, fair = group.metrics[name], 1.0 if name == "DI" else 0.0
    if held is None or limit is None or abs(held - fair) <= abs(limit - fair):
        return []
    text = f"Metric value {held} doesn't meet the baseline constraint requirement {limit}"
    about = {"facet": group.facet, "facet_value": group.text, "metric_name": name}
    return [{**about, "constraint_check_type": "bias_drift_check", "description": text}]


def _global_values(document: Document, name: str) -> dict[str, Mapping[str, float]]:
    """Label → feature → global SHAP value. Raises ValueError naming the document when there are none."""
    try:
        held = document["explanations"]["kernel_shap"]
        if isinstance(held.get("error"), str):
            raise ValueError(f"{name}: kernel_shap has an error: {held['error']}")
        return {label: {feature: float(value) for feature, value in entry["global_shap_values"].items()} for label, entry in held.items()}
    except (AttributeError, KeyError, TypeError):
        raise ValueError(f"{name}: it has no global SHAP values as Clarify writes them") from None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return INFINITIES.get(value)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _violation(feature: str, check: str, description: str) -> dict[str, str]:
    return {"feature_name": feature, "constraint_check_type": check, "description": description}
