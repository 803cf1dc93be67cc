"""Endpoints with Clarify's explainer, through a real client: their answers against Kernel SHAP of the same model computed here."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import time
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from dewfall.ml.explain import kernel_shap

from .conftest import BUCKET, Hosting
from .scores_model import score

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/scores:latest"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
BASELINE = "0,1,0.5\n1,0,-0.5\n"
CSV: dict[str, Any] = {"InferenceConfig": {"ProbabilityIndex": 1}}


def configured(hosting: Hosting, clarify: dict[str, Any], shap: dict[str, Any], **environment: str) -> None:
    hosting.model(container={"Image": IMAGE, "Environment": environment})
    source = shap.pop("source", {"ShapBaseline": BASELINE})
    explainer = {"ShapConfig": {"ShapBaselineConfig": source, **shap}, **clarify}
    hosting.config(members={"ExplainerConfig": {"ClarifyExplainerConfig": explainer}})


def explained(hosting: Hosting, clarify: dict[str, Any], shap: dict[str, Any], **environment: str) -> dict[str, Any]:
    """An endpoint in service; what DescribeEndpoint says of it."""
    configured(hosting, clarify, shap, **environment)
    found = hosting.endpoint()
    assert found["EndpointStatus"] == "InService", found.get("FailureReason")
    return found


def ask(hosting: Hosting, body: str, kind: str = "text/csv", **members: Any) -> dict[str, Any]:
    reply = hosting.runtime.invoke_endpoint(EndpointName="endpoint", ContentType=kind, Accept=kind, Body=body, **members)
    assert reply["ContentType"] == "application/json"
    found: dict[str, Any] = json.loads(reply["Body"].read())
    return found


def shap_of(rows: list[list[float]], baseline: list[list[float]], **settings: Any) -> Any:
    return kernel_shap(lambda table: np.array([score(list(row)) for row in table]), rows, baseline, **settings).values


def attributions(document: dict[str, Any]) -> Any:
    return np.array([[entry["attributions"][0]["attribution"] for entry in record] for record in document["explanations"]["kernel_shap"]])


def test_answers_carry_the_models_kernel_shap(hosting: Hosting) -> None:
    headers = {"InferenceConfig": {"ProbabilityIndex": 1, "FeatureHeaders": ["a", "b", "c"], "LabelHeaders": ["churn"]}}
    described = explained(hosting, headers, {"UseLogit": True, "Seed": 7})
    assert described["ExplainerConfig"] == hosting.sagemaker.describe_endpoint_config(EndpointConfigName="config")["ExplainerConfig"]
    rows = [[1.0, 2.0, 3.0], [-1.0, 0.5, 0.25]]
    found = ask(hosting, "\n".join(",".join(map(str, row)) for row in rows))
    assert (found["version"], found["label_headers"], found["predictions"]["content_type"]) == ("1.0", ["churn"], "text/csv")
    assert found["predictions"]["data"].splitlines()[0] == f"1,{score(rows[0])!r}"
    assert [entry["feature_header"] for entry in found["explanations"]["kernel_shap"][1]] == ["a", "b", "c"]
    expected = shap_of(rows, [[0, 1, 0.5], [1, 0, -0.5]], use_logit=True, seed=7)
    np.testing.assert_allclose(attributions(found), expected, rtol=1e-9, atol=1e-12)


def test_records_are_explained_where_the_expression_says_so(hosting: Hosting) -> None:
    explained(hosting, CSV | {"EnableExplanations": "[1]>`0.5`"}, {})
    found = ask(hosting, "1,2,3\n0,3,0")
    explanations = found["explanations"]["kernel_shap"]
    assert len(explanations[0]) == 3
    assert explanations[1] is None
    assert "label_headers" not in found
    assert ask(hosting, "1,2,3", EnableExplanations="`false`")["explanations"] == {}
    assert ask(hosting, "0,3,0", EnableExplanations="`true`")["explanations"]["kernel_shap"][0] is not None
    with pytest.raises(hosting.runtime.exceptions.ModelError, match="must give true or false"):
        ask(hosting, "1,2,3", EnableExplanations="[1]")
    with pytest.raises(hosting.runtime.exceptions.ModelError, match="4 features, but the SHAP baseline has 3"):
        ask(hosting, "1,2,3,4")
    with pytest.raises(hosting.runtime.exceptions.ModelError) as caught:
        ask(hosting, "bad")
    assert (caught.value.response["OriginalStatusCode"], caught.value.response["OriginalMessage"]) == (400, "one record only")


def test_json_lines_with_a_baseline_in_s3(hosting: Hosting) -> None:
    hosting.s3.put_object(Bucket=BUCKET, Key="baseline.jsonl", Body=b'{"x": [0, 1, 0.5]}\n')
    inference = {"FeaturesAttribute": "x", "ContentTemplate": '{"x":$features}', "ProbabilityAttribute": "p", "LabelAttribute": "names"}
    source = {"MimeType": "application/jsonlines", "ShapBaselineUri": f"s3://{BUCKET}/baseline.jsonl"}
    explained(hosting, {"InferenceConfig": inference}, {"source": source, "NumberOfSamples": 4})
    found = ask(hosting, '{"x": [1, 2, 3]}', "application/jsonlines")
    assert found["label_headers"] == ["yes"]
    np.testing.assert_allclose(attributions(found), shap_of([[1, 2, 3]], [[0, 1, 0.5]], num_samples=4), rtol=1e-9)


def test_a_model_that_takes_one_record_at_a_time(hosting: Hosting) -> None:
    explained(hosting, CSV, {"source": {"ShapBaseline": "0,1,0.5"}}, ONE_BY_ONE="1")
    np.testing.assert_allclose(attributions(ask(hosting, "1,2,3")), shap_of([[1, 2, 3]], [[0, 1, 0.5]]), rtol=1e-9)


def test_a_model_that_ends_is_replaced_together_with_its_explainer(hosting: Hosting) -> None:
    explained(hosting, CSV, {})
    with pytest.raises(hosting.runtime.exceptions.ModelError):
        ask(hosting, "die")
    end = time.monotonic() + 180
    while time.monotonic() < end:
        with contextlib.suppress(hosting.runtime.exceptions.ModelError):
            assert len(ask(hosting, "1,2,3")["explanations"]["kernel_shap"][0]) == 3
            return
        time.sleep(0.1)
    raise AssertionError("the endpoint does not answer again")


def test_pieces_of_a_text_are_the_players(hosting: Hosting) -> None:
    shap = {"source": {"ShapBaseline": '"x",1'}, "TextConfig": {"Language": "en", "Granularity": "token"}}
    inference = {"ProbabilityIndex": 1, "FeatureTypes": ["text", "numerical"], "FeatureHeaders": ["review", "stars"]}
    explained(hosting, {"InferenceConfig": inference}, shap)
    review, stars = ask(hosting, "very good,3")["explanations"]["kernel_shap"][0]
    assert (review["feature_header"], review["feature_type"], stars["feature_type"]) == ("review", "text", "numerical")
    assert [entry["description"] for entry in review["attributions"]] == [
        {"partial_text": "very", "start_idx": 0},
        {"partial_text": "good", "start_idx": 5},
    ]
    total = sum(entry["attribution"][0] for entry in [*review["attributions"], *stars["attributions"]])
    assert total == pytest.approx(score(["very good", 3]) - score(["x x", 1]))


@pytest.mark.parametrize(
    ("clarify", "shap", "says"),
    [
        ({}, {"source": {}}, "Exactly one of ShapBaseline and ShapBaselineUri"),
        ({}, {"source": {"ShapBaseline": "1", "ShapBaselineUri": "s3://a/b"}}, "Exactly one of ShapBaseline and ShapBaselineUri"),
        ({}, {"source": {"ShapBaseline": "1", "MimeType": "image/png"}}, "MimeType 'image/png'"),
        ({"InferenceConfig": {"FeatureTypes": ["numerical"]}}, {}, "at least one 'text'"),
        ({"InferenceConfig": {"FeatureTypes": ["text"]}}, {}, "TextConfig is required"),
    ],
)
def test_configurations_that_cannot_work_are_refused(hosting: Hosting, clarify: dict[str, Any], shap: dict[str, Any], says: str) -> None:
    with pytest.raises(ClientError, match=says) as caught:
        configured(hosting, clarify, dict(shap))
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_an_invalid_expression_fails_the_endpoint(hosting: Hosting) -> None:
    configured(hosting, {"EnableExplanations": "[1"}, {})
    found = hosting.endpoint()
    assert found["EndpointStatus"] == "Failed"
    assert "EnableExplanations '[1' is not a valid JMESPath expression" in found["FailureReason"]


def test_every_model_of_a_multi_model_endpoint_is_explained(hosting: Hosting) -> None:
    import xgboost

    source = np.random.default_rng(5)
    rows, boosters = source.normal(size=(200, 3)), {}
    for name, column in (("a", 0), ("b", 2)):
        boosters[name] = xgboost.train({"max_depth": 2, "nthread": 1}, xgboost.DMatrix(rows, rows[:, column] ** 2), 5)
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            raw = bytes(boosters[name].save_raw("ubj"))
            member = tarfile.TarInfo("xgboost-model")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
        hosting.s3.put_object(Bucket=BUCKET, Key=f"trees/{name}.tar.gz", Body=file.getvalue())
    hosting.model(container={"Image": XGBOOST, "Mode": "MultiModel", "ModelDataUrl": f"s3://{BUCKET}/trees/"})
    shap = {"ShapBaselineConfig": {"ShapBaseline": BASELINE}}
    hosting.config(members={"ExplainerConfig": {"ClarifyExplainerConfig": {"ShapConfig": shap}}})
    found = hosting.endpoint()
    assert found["EndpointStatus"] == "InService", found.get("FailureReason")
    for name, booster in boosters.items():
        document = ask(hosting, "1.5,2,-1", TargetModel=f"{name}.tar.gz")

        def predict(table: Any, booster: Any = booster) -> Any:
            return booster.predict(xgboost.DMatrix(np.array(table, float)))

        expected = kernel_shap(predict, [[1.5, 2.0, -1.0]], [[0, 1, 0.5], [1, 0, -0.5]]).values
        np.testing.assert_allclose(attributions(document).ravel(), np.ravel(expected), rtol=1e-4, atol=1e-6)
        assert float(document["predictions"]["data"]) == pytest.approx(float(predict([[1.5, 2, -1]])[0]), rel=1e-5)
    with pytest.raises(hosting.runtime.exceptions.ClientError, match="target model header"):
        ask(hosting, "1,2,3")
    with pytest.raises(hosting.runtime.exceptions.ClientError, match=r"missing\.tar\.gz"):
        ask(hosting, "1,2,3", TargetModel="missing.tar.gz")
