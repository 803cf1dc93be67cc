"""Model cards: versions, AWS's schema, and PDFs that are really drawn."""

from __future__ import annotations

import doctest
import json
import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.images import model_card
from dewfall.rules import model_cards
from dewfall.testing import Server

CONTENT: dict[str, Any] = {
    "model_overview": {"model_name": "churn", "model_artifact": ["s3://bkt/model.tar.gz"], "algorithm_type": "XGBoost"},
    "intended_uses": {"purpose_of_model": "Find customers who leave", "risk_rating": "Low"},
    "training_details": {"training_job_details": {"training_metrics": [{"name": "auc", "value": 0.9}]}},
    "evaluation_details": [
        {
            "name": "held out",
            "metric_groups": [
                {
                    "name": "quality",
                    "metric_data": [
                        {"name": "accuracy", "type": "number", "value": 0.93},
                        {"name": "roc", "type": "linear_graph", "value": [[0, 0], [0.1, 0.8], [1, 1]], "x_axis_name": "FPR", "y_axis_name": "TPR"},
                        {"name": "shap", "type": "bar_chart", "value": [0.3, 0.1], "x_axis_name": ["age", "plan"]},
                        {"name": "confusion", "type": "matrix", "value": [[9, 1], [2, 8]]},
                    ],
                }
            ],
        }
    ],
}


def test_examples() -> None:
    assert doctest.testmod(model_cards).failed == 0
    assert doctest.testmod(model_card).failed == 0


def make(dewfall: Server, content: Any = None, name: str = "card") -> Any:
    sagemaker = dewfall.client("sagemaker")
    sagemaker.create_model_card(ModelCardName=name, Content=json.dumps(content or CONTENT), ModelCardStatus="Draft")
    return sagemaker


def test_every_change_is_a_version(dewfall: Server) -> None:
    sagemaker = make(dewfall)
    sagemaker.update_model_card(ModelCardName="card", ModelCardStatus="Approved")
    found = sagemaker.describe_model_card(ModelCardName="card")
    assert (found["ModelCardVersion"], found["ModelCardStatus"], json.loads(found["Content"])) == (2, "Approved", CONTENT)
    assert sagemaker.describe_model_card(ModelCardName="card", ModelCardVersion=1)["ModelCardStatus"] == "Draft"
    versions = sagemaker.list_model_card_versions(ModelCardName="card", SortOrder="Ascending")["ModelCardVersionSummaryList"]
    assert [(one["ModelCardVersion"], one["ModelCardStatus"]) for one in versions] == [(1, "Draft"), (2, "Approved")]
    assert [one["ModelCardName"] for one in sagemaker.list_model_cards(ModelCardStatus="Approved")["ModelCardSummaries"]] == ["card"]
    sagemaker.delete_model_card(ModelCardName="card")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker.describe_model_card(ModelCardName="card")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"colour": 1}, r"#: extraneous key \[colour\] is not permitted"),
        ({"intended_uses": {"risk_rating": "Huge"}}, "#/intended_uses/risk_rating: Huge is not a valid enum value"),
        ({"evaluation_details": [{}]}, r"#/evaluation_details/0: required key \[name\] not found"),
        ({"model_overview": {"model_version": "one"}}, "#/model_overview/model_version: expected type: Number, found: String"),
        ({"business_details": {"line_of_business": "x" * 100_001}}, "less than or equal to 100000"),
    ],
)
def test_content_outside_the_schema(dewfall: Server, content: Any, said: str) -> None:
    with pytest.raises(ClientError, match=said):
        make(dewfall, content)


def test_names_are_taken_once(dewfall: Server) -> None:
    make(dewfall)
    with pytest.raises(ClientError, match=r"ConflictException.*Modelcard card already exists"):
        make(dewfall)


def test_a_request_without_a_change_makes_no_version(dewfall: Server) -> None:
    sagemaker = make(dewfall)
    assert sagemaker.update_model_card(ModelCardName="card")["ModelCardArn"].endswith("model-card/card")
    assert sagemaker.describe_model_card(ModelCardName="card")["ModelCardVersion"] == 1


def test_cards_and_versions_are_listed_from_the_first_on(dewfall: Server) -> None:
    sagemaker = make(dewfall, name="one")
    make(dewfall, name="two").update_model_card(ModelCardName="two", ModelCardStatus="Approved")
    assert [one["ModelCardName"] for one in sagemaker.list_model_cards()["ModelCardSummaries"]] == ["one", "two"]
    versions = sagemaker.list_model_card_versions(ModelCardName="two")["ModelCardVersionSummaryList"]
    assert [one["ModelCardVersion"] for one in versions] == [1, 2]


def test_a_card_that_is_missing(dewfall: Server) -> None:
    sagemaker = make(dewfall)
    calls: tuple[Any, ...] = (sagemaker.list_model_card_export_jobs, sagemaker.list_model_card_versions, sagemaker.delete_model_card)
    for call in (*calls, sagemaker.update_model_card, sagemaker.describe_model_card):
        with pytest.raises(ClientError, match=r"ResourceNotFound.*Modelcard none does not exist."):
            call(ModelCardName="none")
    with pytest.raises(ClientError, match=r"ResourceNotFound.*Modelcard with name card and version: 3 does not exist"):
        sagemaker.describe_model_card(ModelCardName="card", ModelCardVersion=3)


def exported(dewfall: Server, sagemaker: Any, bucket: str) -> dict[str, Any]:
    arn = sagemaker.create_model_card_export_job(
        ModelCardName="card", ModelCardExportJobName="export", OutputConfig={"S3OutputPath": f"s3://{bucket}/cards"}
    )["ModelCardExportJobArn"]
    for _ in range(600):
        found: dict[str, Any] = sagemaker.describe_model_card_export_job(ModelCardExportJobArn=arn)
        if found["Status"] != "InProgress":
            return found
        threading.Event().wait(0.1)
    raise AssertionError("the export does not end")


def test_a_card_becomes_a_pdf(dewfall: Server) -> None:
    sagemaker, s3 = make(dewfall), dewfall.client("s3")
    s3.create_bucket(Bucket="cards")
    found = exported(dewfall, sagemaker, "cards")
    assert found["Status"] == "Completed"
    bucket, _, key = found["ExportArtifacts"]["S3ExportArtifacts"].removeprefix("s3://").partition("/")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read()[:5] == b"%PDF-"
    (listed,) = sagemaker.list_model_card_export_jobs(ModelCardName="card", StatusEquals="Completed")["ModelCardExportJobSummaries"]
    assert listed["ModelCardVersion"] == 1


def test_an_export_into_no_bucket_fails(dewfall: Server) -> None:
    found = exported(dewfall, make(dewfall), "nobody")
    assert found["Status"] == "Failed"
    assert "cannot be stored at s3://nobody/cards" in found["FailureReason"]


def test_malformed_metrics_are_written_out() -> None:
    metric = {"name": "roc", "type": "linear_graph", "value": "nonsense"}
    group = {"name": "g", "metric_data": [metric]}
    card = {"ModelCardName": "c", "ModelCardVersion": 1, "ModelCardStatus": "Draft"}
    report = model_card.document({**card, "Content": {"evaluation_details": [{"name": "e", "metric_groups": [group]}]}})
    assert any(getattr(block, "text", "") == "roc: nonsense" for block in report.blocks)


def test_content_and_status_change_one_at_a_time(dewfall: Server) -> None:
    sagemaker = dewfall.client("sagemaker")
    sagemaker.create_model_card(ModelCardName="card", Content="{}", ModelCardStatus="Draft")
    with pytest.raises(ClientError, match="cannot update both model card content and model card status"):
        sagemaker.update_model_card(ModelCardName="card", Content="{}", ModelCardStatus="Approved")
