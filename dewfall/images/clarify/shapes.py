"""What kind of value each member of analysis_config.json is, as the SageMaker SDK's own schema says.

Why a table: a number where a list belongs would end the job with a traceback from deep inside an analysis; here it is told with its place.
"""

from __future__ import annotations

from typing import Any

from dewfall.images.contract import UserError

# A tuple of types, [what a list holds], or {member: …}. Members that are null or not named here are not looked at.
TEXT, FLAG, WHOLE, NUMBER, PLACE, VALUE = (str,), (bool,), (int,), (int, float), (str, int), (str, int, float, bool)
BIAS = {"methods": (str, list)}
SHAPES: dict[str, Any] = {
    "version": TEXT,
    "dataset_type": TEXT,
    "dataset_uri": TEXT,
    "headers": [TEXT],
    "label": PLACE,
    "predicted_label": PLACE,
    "features": TEXT,
    "label_values_or_threshold": [VALUE],
    "probability_threshold": NUMBER,
    "segment_config": [{"config_name": TEXT, "name_or_index": PLACE, "segments": [[VALUE]], "display_aliases": [TEXT]}],
    "facet": [{"name_or_index": PLACE, "value_or_threshold": [VALUE]}],
    "group_variable": PLACE,
    "facet_dataset_uri": TEXT,
    "facet_headers": [TEXT],
    "predicted_label_dataset_uri": TEXT,
    "predicted_label_headers": [TEXT],
    "excluded_columns": [PLACE],
    "joinsource_name_or_index": PLACE,
    "time_series_data_config": {
        "target_time_series": PLACE,
        "item_id": PLACE,
        "timestamp": PLACE,
        "related_time_series": [PLACE],
        "static_covariates": [PLACE],
        "dataset_format": TEXT,
    },
    "methods": {
        "pre_training_bias": BIAS,
        "post_training_bias": BIAS,
        "shap": {
            "baseline": (str, list, dict),
            "num_clusters": WHOLE,
            "num_samples": WHOLE,
            "use_logit": FLAG,
            "agg_method": TEXT,
            "save_local_shap_values": FLAG,
            "seed": WHOLE,
            "features_to_explain": [PLACE],
            "text_config": {"granularity": TEXT, "language": TEXT, "max_top_tokens": WHOLE},
            "image_config": {"debug": {"image_names": [TEXT], "class_ids": [WHOLE], "sample_from": WHOLE, "sample_to": WHOLE}},
        },
        "pdp": {"grid_resolution": WHOLE, "features": [PLACE], "top_k_features": WHOLE},
        "asymmetric_shapley_value": {"direction": TEXT, "granularity": TEXT, "num_samples": WHOLE, "baseline": (str, dict)},
        "report": {"name": TEXT, "title": TEXT},
    },
    "predictor": {
        "model_name": TEXT,
        "instance_type": TEXT,
        "initial_instance_count": WHOLE,
        "endpoint_name": TEXT,
        "endpoint_name_prefix": TEXT,
        "target_model": TEXT,
        "custom_attributes": TEXT,
        "content_type": TEXT,
        "accept_type": TEXT,
        "content_template": (str, dict),
        "record_template": TEXT,
        "label": PLACE,
        "probability": PLACE,
        "label_headers": [PLACE],
        "time_series_predictor_config": {"forecast": TEXT},
    },
}
WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "an object"}


def check(document: dict[str, Any]) -> None:
    """Raise UserError for the first member whose value is of another kind."""
    _look("", document, SHAPES)


def _look(place: str, value: Any, shape: Any) -> None:
    if value is None:
        return
    if isinstance(shape, tuple):
        if not isinstance(value, shape) or (isinstance(value, bool) and bool not in shape):
            raise _wrong(place, " or ".join(WORDS[kind] for kind in shape if not (kind is int and float in shape)), value)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise _wrong(place, "a list", value)
        for number, one in enumerate(value):
            if one is None:
                raise _wrong(f"{place}[{number}]", "given", None)
            _look(f"{place}[{number}]", one, shape[0])
    else:
        if not isinstance(value, dict):
            raise _wrong(place, "an object", value)
        for member, expected in shape.items():
            _look(f"{place}.{member}" if place else member, value.get(member), expected)


def _wrong(place: str, expected: str, value: Any) -> UserError:
    text = repr(value)
    return UserError(f"analysis_config: {place} must be {expected}, not {text if len(text) <= 60 else text[:60] + '…'}.")
