"""analysis_config.json: the members that Clarify knows, checked, with their defaults.

Why checked first: a wrong configuration must fail in seconds and say which member to change, not after an endpoint was made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dewfall.images.clarify import shapes
from dewfall.images.contract import UserError

CSV, JSON_LINES, JSON, CAPTURE, PARQUET, IMAGE = (
    "text/csv",
    "application/jsonlines",
    "application/json",
    "application/sagemakercapturejson",
    "application/x-parquet",
    "application/x-image",
)
JPEG = "image/jpeg"  # what a model is sent of images unless content_type says otherwise
DATASET_TYPES = (CSV, JSON_LINES, JSON, CAPTURE, PARQUET, IMAGE)
MEMBERS = frozenset((
    "version", "dataset_type", "dataset_uri", "headers", "label", "predicted_label", "features", "label_values_or_threshold", "probability_threshold",
    "facet", "group_variable", "segment_config", "facet_dataset_uri", "facet_headers", "predicted_label_dataset_uri", "predicted_label_headers",
    "excluded_columns", "joinsource_name_or_index", "time_series_data_config", "methods", "predictor",
))  # fmt: skip
METHODS = frozenset(("pre_training_bias", "post_training_bias", "shap", "pdp", "asymmetric_shapley_value", "report"))
PREDICTOR = frozenset((
    "model_name", "instance_type", "initial_instance_count", "endpoint_name", "endpoint_name_prefix", "target_model", "accelerator_type",
    "custom_attributes", "content_type", "accept_type", "content_template", "record_template", "label", "probability", "label_headers",
    "time_series_predictor_config",
))  # fmt: skip
TEMPLATED = (JSON_LINES, JSON)


@dataclass(frozen=True, slots=True)
class Analysis:
    """The configuration, with what is asked for by name."""

    document: dict[str, Any]
    methods: dict[str, Any] = field(default_factory=dict)
    predictor: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The dataset's media type, in lower case."""
        return str(self.document["dataset_type"]).lower()

    @property
    def threshold(self) -> float:
        """A probability above it means the positive label."""
        return float(self.document.get("probability_threshold", 0.5))

    @property
    def needs_model(self) -> bool:
        """Whether any analysis asks for predictions that the dataset does not hold."""
        given = "predicted_label" in self.document or "predicted_label_dataset_uri" in self.document
        asked = any(name in self.methods for name in ("shap", "pdp", "asymmetric_shapley_value"))
        return asked or ("post_training_bias" in self.methods and not given)

    def get(self, member: str, default: Any = None) -> Any:
        """A member of the document."""
        value = self.document.get(member)
        return default if value is None else value


def read(file: Path) -> Analysis:
    """The configuration of a job. Raises UserError naming the member that is wrong."""
    try:
        document = json.loads(file.read_text())
    except FileNotFoundError:
        others = sorted(one.name for one in file.parent.glob("*") if one.is_file())
        told = f"its input holds {', '.join(others[:5])}" if others else "add an input named analysis_config"
        raise UserError(f"The analysis configuration {file.name} was not found: {told}.") from None
    except ValueError as error:
        raise UserError(f"The analysis configuration is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise UserError("The analysis configuration must be a JSON object.")
    return check(document)


def check(document: dict[str, Any]) -> Analysis:
    """An analysis of a document. Raises UserError naming the member that is wrong."""
    _known("analysis_config", document, MEMBERS)
    for member in ("dataset_type", "methods"):
        if member not in document:
            raise UserError(f"analysis_config: the required member '{member}' is missing.")
    shapes.check(document)
    if str(document.get("version", "1.0")) != "1.0":
        raise UserError(f"analysis_config: version {document['version']} is not supported, only 1.0.")
    if str(document["dataset_type"]).lower() not in DATASET_TYPES:
        raise UserError(f"analysis_config: dataset_type '{document['dataset_type']}' is not one of {', '.join(DATASET_TYPES)}.")
    methods, predictor = document["methods"], document.get("predictor") or {}
    if not methods:
        raise UserError("analysis_config: methods must name at least one analysis.")
    _known("methods", methods, METHODS)
    for member in ("headers", "facet_headers", "predicted_label_headers"):
        _check_names(member, document.get(member) or [])
    if any(part in str((methods.get("report") or {}).get("name", "")) for part in ("/", "\0")):
        raise UserError(f"report: the name '{methods['report']['name']}' is that of a file and cannot have a /.")
    analysis = Analysis(document, methods, predictor)
    check_bias(analysis)
    _check_predictor(analysis)
    if analysis.kind in TEMPLATED and "features" not in document and "time_series_data_config" not in document:
        raise UserError(f"analysis_config: features (a JMESPath expression) is required for dataset_type {analysis.kind}.")
    if "asymmetric_shapley_value" in methods and "time_series_data_config" not in document:
        raise UserError("analysis_config: asymmetric_shapley_value needs time_series_data_config.")
    return analysis


def _known(where: str, held: dict[str, Any], names: frozenset[str]) -> None:
    unknown = sorted(set(held) - names)
    if unknown:
        raise UserError(f"{where}: unknown member '{unknown[0]}'. Allowed are {', '.join(sorted(names))}.")


def _check_names(member: str, names: list[str]) -> None:
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise UserError(f"analysis_config: {member} has the name '{twice[0]}' more than once.")


def check_bias(analysis: Analysis) -> None:
    """Raise UserError where bias metrics are asked for and not what they are about."""
    if not {"pre_training_bias", "post_training_bias"} & set(analysis.methods):
        return
    for member in ("label", "label_values_or_threshold", "facet"):
        if analysis.get(member) in (None, []) and not (member == "label" and analysis.kind == CAPTURE):
            raise UserError(f"analysis_config: {member} is required for bias metrics.")
    for member in ("facet", "segment_config"):
        for one in analysis.get(member, ()):
            if one.get("name_or_index") is None:
                raise UserError(f"analysis_config: every {member} needs name_or_index.")
    if any(not one.get("segments") for one in analysis.get("segment_config", ())):
        raise UserError("analysis_config: every segment_config needs segments.")


def _check_predictor(analysis: Analysis) -> None:
    predictor = analysis.predictor
    _known("predictor", predictor, PREDICTOR)
    if not analysis.needs_model:
        return
    if not predictor:
        raise UserError("analysis_config: predictor is required for the requested methods: give model_name or endpoint_name.")
    if not predictor.get("endpoint_name"):
        if not predictor.get("model_name"):
            raise UserError("predictor: either model_name or endpoint_name is required.")
        for member in ("instance_type", "initial_instance_count"):
            if not predictor.get(member):
                raise UserError(f"predictor: {member} is required with model_name.")
    kind = content_type(analysis)
    if kind == PARQUET:
        raise UserError("predictor: content_type is required for dataset_type application/x-parquet.")
    if kind in TEMPLATED and not predictor.get("content_template") and "time_series_data_config" not in analysis.document:
        raise UserError(f"predictor: content_template is required for content_type {kind}.")


def content_type(analysis: Analysis) -> str:
    """What the model is sent: the predictor's content_type, else the dataset's type; image/jpeg of images."""
    return str(analysis.predictor.get("content_type") or (JPEG if analysis.kind == IMAGE else analysis.kind)).lower()


def accept_type(analysis: Analysis) -> str:
    """What the model is asked to answer in: accept_type, else the content type; JSON about images."""
    return str(analysis.predictor.get("accept_type") or (JSON if analysis.kind == IMAGE else content_type(analysis))).lower()
