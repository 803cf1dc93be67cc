"""What a model card's content may hold, as AWS's model card schema says it: names, types, choices, lengths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TEXT = "text"
ANY = "any"
METRIC_TYPES = ("number", "string", "boolean", "linear_graph", "bar_chart", "matrix")


class Choice(tuple[str, ...]):
    """One of these texts."""


class Listed:
    """A list of things of one kind, at most so many."""

    def __init__(self, of: Any, most: int = 1000) -> None:
        self.of = of
        self.most = most


Named = dict[str, Any]
HYPER_PARAMETER: Named = {"name*": TEXT, "value*": TEXT}
METRIC: Named = {
    "name*": TEXT, "notes": TEXT, "type*": Choice(METRIC_TYPES), "value*": ANY, "x_axis_name": ANY, "y_axis_name": ANY,
}  # fmt: skip
GROUP: Named = {"name*": TEXT, "metric_data*": Listed(METRIC)}
TRAINING_METRIC: Named = {"name*": TEXT, "value*": "number", "notes": TEXT}
CONTENT: Named = {
    "model_overview": {
        "model_name": TEXT, "model_id": TEXT, "model_description": TEXT, "model_version": "number", "problem_type": TEXT, "algorithm_type": TEXT,
        "model_creator": TEXT, "model_owner": TEXT, "model_artifact": Listed(TEXT, 15),
        "inference_environment": {"container_image": Listed(TEXT, 15)},
    },
    "model_package_details": ANY,
    "intended_uses": {
        "purpose_of_model": TEXT, "intended_uses": TEXT, "factors_affecting_model_efficiency": TEXT,
        "risk_rating": Choice(("High", "Medium", "Low", "Unknown")), "explanations_for_risk_rating": TEXT,
    },
    "business_details": {"business_problem": TEXT, "business_stakeholders": TEXT, "line_of_business": TEXT},
    "training_details": {
        "objective_function": {
            "function": {"function": Choice(("Maximize", "Minimize")), "facet": TEXT, "condition": TEXT}, "notes": TEXT,
        },
        "training_observations": TEXT,
        "training_job_details": {
            "training_arn": TEXT, "training_datasets": Listed(TEXT, 15), "training_environment": {"container_image": Listed(TEXT, 15)},
            "training_metrics": Listed(TRAINING_METRIC, 50), "user_provided_training_metrics": Listed(TRAINING_METRIC, 50),
            "hyper_parameters": Listed(HYPER_PARAMETER, 100), "user_provided_hyper_parameters": Listed(HYPER_PARAMETER, 100),
        },
    },
    "evaluation_details": Listed({
        "name*": TEXT, "evaluation_observation": TEXT, "evaluation_job_arn": TEXT, "datasets": Listed(TEXT, 10), "metadata": ANY,
        "metric_groups": Listed(GROUP),
    }),
    "additional_information": {"ethical_considerations": TEXT, "caveats_and_recommendations": TEXT, "custom_details": ANY},
}  # fmt: skip


def problems(content: Any, of: Any = CONTENT, path: str = "#") -> Iterator[str]:
    """Sentences about what does not fit, in AWS's form; none when all does.

    >>> list(problems({"intended_uses": {"risk_rating": "Huge"}, "colour": 1}))
    ['#/intended_uses/risk_rating: Huge is not a valid enum value', '#: extraneous key [colour] is not permitted']
    """
    if isinstance(of, dict):
        yield from _of_object(content, of, path)
    elif isinstance(of, Listed):
        yield from _of_list(content, of, path)
    elif isinstance(of, Choice):
        if content not in of:
            yield f"{path}: {content} is not a valid enum value"
    elif of == TEXT and not isinstance(content, str):
        yield f"{path}: expected type: String, found: {_kind(content)}"
    elif of == "number" and (isinstance(content, bool) or not isinstance(content, (int, float))):
        yield f"{path}: expected type: Number, found: {_kind(content)}"


def _of_object(content: Any, of: Named, path: str) -> Iterator[str]:
    if not isinstance(content, dict):
        yield f"{path}: expected type: JSONObject, found: {_kind(content)}"
        return
    known = {name.rstrip("*"): kind for name, kind in of.items()}
    for name in (name.rstrip("*") for name in of if name.endswith("*")):
        if name not in content:
            yield f"{path}: required key [{name}] not found"
    for name, value in content.items():
        if name not in known:
            yield f"{path}: extraneous key [{name}] is not permitted"
        elif value is not None:
            yield from problems(value, known[name], f"{path}/{name}")


def _of_list(content: Any, of: Listed, path: str) -> Iterator[str]:
    if not isinstance(content, list):
        yield f"{path}: expected type: JSONArray, found: {_kind(content)}"
        return
    if len(content) > of.most:
        yield f"{path}: expected maximum item count: {of.most}, found: {len(content)}"
    for place, item in enumerate(content):
        yield from problems(item, of.of, f"{path}/{place}")


def _kind(value: Any) -> str:
    names = {bool: "Boolean", str: "String", int: "Integer", float: "Double", list: "JSONArray", dict: "JSONObject", type(None): "Null"}
    return names.get(type(value), type(value).__name__)
