"""rules/filters.py: Search's expressions over documents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dewfall.rules.filters import matches, sort_value

JOB: dict[str, Any] = {
    "TrainingJobName": "blue-1",
    "TrainingJobStatus": "Completed",
    "CreationTime": datetime(2026, 3, 1, 12, tzinfo=UTC),
    "HyperParameters": {"eta": "0.2", "sagemaker_program": "train.py"},
    "InputDataConfig": [
        {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://a/train"}}},
        {"ChannelName": "test", "DataSource": {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": "s3://b/test"}}},
    ],
    "Metrics": [{"MetricName": "validation:auc", "Value": 0.91}],
    "Tags": [{"Key": "team.name", "Value": "sea"}],
    "ResourceConfig": {"InstanceCount": 1},
    "Parameters": {"SageMaker.InstanceCount": {"NumberValue": 1.0}},
}


def one(name: str, operator: str | None = None, value: str | None = None) -> dict[str, Any]:
    item = {"Name": name} | ({"Operator": operator} if operator else {}) | ({"Value": value} if value is not None else {})
    return {"Filters": [item]}


@pytest.mark.parametrize(
    "expression",
    [
        {},
        one("TrainingJobName", "Equals", "blue-1"),
        one("TrainingJobName", None, "blue-1"),
        one("TrainingJobName", "Contains", "BLUE"),
        one("TrainingJobName", "In", "red-1, blue-1"),
        one("TrainingJobName", "Exists"),
        one("FailureReason", "NotExists"),
        one("TrainingJobStatus", "NotEquals", "Failed"),
        one("HyperParameters.eta", "LessThan", "0.5"),
        one("Metrics.validation:auc", "GreaterThan", "0.9"),
        one("Tags.team.name", "Equals", "sea"),
        one("ResourceConfig.InstanceCount", "GreaterThanOrEqualTo", "1"),
        one("Parameters.SageMaker.InstanceCount.NumberValue", "Equals", "1"),
        one("CreationTime", "GreaterThan", "2026-03-01T11:00:00Z"),
        one("InputDataConfig.DataSource.S3DataSource.S3Uri", "Contains", "s3://b"),
    ],
)
def test_what_matches(expression: dict[str, Any]) -> None:
    assert matches(JOB, expression)


@pytest.mark.parametrize(
    "expression",
    [
        one("TrainingJobName", "Equals", "blue"),
        one("TrainingJobStatus", "NotEquals", "Completed"),
        one("FailureReason", "Exists"),
        one("Metrics.validation:auc", "LessThan", "0.9"),
        one("Tags.owner", "Equals", "sea"),
        one("CreationTime", "LessThan", "2026-01-01"),
        one("HyperParameters.eta", "GreaterThan", "abc"),
    ],
)
def test_what_does_not_match(expression: dict[str, Any]) -> None:
    assert not matches(JOB, expression)


def test_nested_filters_hold_for_one_and_the_same_element() -> None:
    base = "InputDataConfig.DataSource"

    def nested(kind: str) -> dict[str, Any]:
        names = (("S3DataSource.S3DataType", kind), ("S3DataSource.S3Uri", "s3://a/train"))
        filters = [{"Name": f"{base}.{name}", "Operator": "Equals", "Value": value} for name, value in names]
        return {"NestedFilters": [{"NestedPropertyName": base, "Filters": filters}]}

    assert matches(JOB, nested("S3Prefix"))
    assert not matches(JOB, nested("ManifestFile"))


def test_sub_expressions_combine_with_or() -> None:
    yes, no = one("TrainingJobName", "Equals", "blue-1"), one("TrainingJobName", "Equals", "red")
    assert matches(JOB, {"SubExpressions": [yes, no], "Operator": "Or"})
    assert not matches(JOB, {"SubExpressions": [yes, no], "Operator": "And"})


def test_documents_without_the_property_sort_first() -> None:
    assert sort_value({}, "Metrics.x") < sort_value(JOB, "Metrics.validation:auc") < sort_value(JOB, "TrainingJobName")
