"""The environment variables of a monitoring container, as AWS names them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dewfall.images import contract
from dewfall.images.contract import UserError

ROOT = "/opt/ml/processing"
TRANSFORMED = "dewfall_batch_transform"


@dataclass(frozen=True, slots=True)
class Settings:
    """What one analysis is to do. Without baseline constraints it makes a baseline."""

    format: dict[str, Any]
    source: Path
    output: Path
    constraints: Path | None
    statistics: Path | None
    start: datetime | None
    end: datetime | None
    endpoint: str
    schedule: str
    publish: bool
    preprocessor: Path | None
    postprocessor: Path | None
    model_quality: bool
    problem: str
    variables: Mapping[str, str]

    def attribute(self, name: str) -> str | None:
        """`inference_attribute` and the like; None where it is not given."""
        return self.variables.get(name) or None

    @property
    def is_transformed(self) -> bool:
        """Whether the data are inputs and outputs of transform jobs, record beside record."""
        return self.variables.get(TRANSFORMED) == "Enabled"

    @property
    def is_captured(self) -> bool:
        """Whether the data are exchanges with a model, and no table that has all in its columns."""
        return self.is_transformed or next(iter(self.format)) == "sagemakerCaptureJson"

    @property
    def excluded(self) -> frozenset[str]:
        """Names or places of the columns that ExcludeFeaturesAttribute leaves out."""
        text = self.variables.get("exclude_features_attribute", "")
        return frozenset(part.strip() for part in text.split(",") if part.strip())


def read(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. Raises UserError naming the variable that is wrong."""
    held = os.environ if environ is None else environ
    try:
        form = json.loads(held.get("dataset_format") or '{"csv": {"header": true}}')
    except ValueError as error:
        raise UserError(f"dataset_format is not valid JSON: {error}") from None
    if not isinstance(form, dict) or len(form) != 1:
        raise UserError("dataset_format must name one of csv, json, parquet, sagemakerCaptureJson.")
    if not isinstance(next(iter(form.values())) or {}, dict):
        raise UserError(f"dataset_format: {next(iter(form))} must be an object.")
    source = _path(held.get("dataset_source"))
    if source is None:
        raise UserError("dataset_source is not set.")
    return Settings(
        form,
        source,
        _path(held.get("output_path")) or contract.folders().home / "processing" / "output",
        _path(held.get("baseline_constraints")),
        _path(held.get("baseline_statistics")),
        _time(held, "start_time"),
        _time(held, "end_time"),
        held.get("sagemaker_endpoint_name", ""),
        held.get("sagemaker_monitoring_schedule_name", ""),
        held.get("publish_cloudwatch_metrics", "Disabled") == "Enabled",
        _path(held.get("record_preprocessor_script")),
        _path(held.get("post_analytics_processor_script")),
        held.get("analysis_type") == "MODEL_QUALITY",
        held.get("problem_type", ""),
        held,
    )


def _path(text: str | None) -> Path | None:
    """A container path where it lies here."""
    if not text:
        return None
    return contract.folders().home / text.removeprefix("/opt/ml/") if text.startswith("/opt/ml/") else Path(text)


def _time(held: Mapping[str, str], name: str) -> datetime | None:
    text = held.get(name)
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except ValueError:
        raise UserError(f"{name} '{text}' is not an ISO 8601 time.") from None
