"""Models through a real client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from .conftest import Hosting

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/echo:latest"
ARN = "arn:aws:sagemaker:us-east-1:000000000000:model/"


def message(caught: pytest.ExceptionInfo[ClientError]) -> str:
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    said: str = caught.value.response["Error"]["Message"]
    return said


def test_a_model_is_described_with_what_aws_fills_in(hosting: Hosting) -> None:
    assert hosting.model() == ARN + "model"
    found = hosting.sagemaker.describe_model(ModelName="model")
    assert found["PrimaryContainer"] == {
        "Image": IMAGE,
        "Mode": "SingleModel",
        "ModelDataUrl": "s3://hosting-tests/model.tar.gz",
        "ModelDataSource": {"S3DataSource": {"S3Uri": "s3://hosting-tests/model.tar.gz", "S3DataType": "S3Object", "CompressionType": "Gzip"}},
        "Environment": {"MODEL_NAME": "model"},
    }
    assert found["EnableNetworkIsolation"] is False


@pytest.mark.parametrize(
    "host",
    [
        "s3.amazonaws.com/hosting-tests",
        "s3-us-east-1.amazonaws.com/hosting-tests",
        "hosting-tests.s3.amazonaws.com",
        "hosting-tests.s3.us-east-1.amazonaws.com",
        "hosting-tests.s3-us-east-1.amazonaws.com",
    ],
)
def test_model_data_may_have_an_https_address(hosting: Hosting, host: str) -> None:
    hosting.model()  # stores its archive
    url = f"https://{host}/model.tar.gz"
    hosting.sagemaker.create_model(ModelName="web", PrimaryContainer={"Image": IMAGE, "ModelDataUrl": url})
    found = hosting.sagemaker.describe_model(ModelName="web")["PrimaryContainer"]
    assert found["ModelDataUrl"] == url
    assert found["ModelDataSource"]["S3DataSource"]["S3Uri"] == "s3://hosting-tests/model.tar.gz"


def test_containers_come_back_as_containers(hosting: Hosting) -> None:
    hosting.sagemaker.create_model(ModelName="pair", Containers=[{"Image": IMAGE}, {"Image": IMAGE}], InferenceExecutionConfig={"Mode": "Serial"})
    found = hosting.sagemaker.describe_model(ModelName="pair")
    assert len(found["Containers"]) == 2
    assert found["InferenceExecutionConfig"] == {"Mode": "Serial"}
    assert "PrimaryContainer" not in found


@pytest.mark.parametrize(
    ("container", "said"),
    [
        ({"ModelDataUrl": "s3://hosting-tests/none.tar.gz"}, "Could not find model data at s3://hosting-tests/none.tar.gz."),
        ({"ModelDataUrl": "s3://no-such-bucket/m.tar.gz"}, "Could not find model data at s3://no-such-bucket/m.tar.gz."),
        (
            {"ModelDataSource": {"S3DataSource": {"S3Uri": "s3://hosting-tests/empty/", "S3DataType": "S3Prefix", "CompressionType": "None"}}},
            "Could not find model data at s3://hosting-tests/empty/.",
        ),
    ],
)
def test_missing_model_data_is_refused(hosting: Hosting, container: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError) as caught:
        hosting.sagemaker.create_model(ModelName="model", PrimaryContainer={"Image": IMAGE, **container})
    assert message(caught) == said


def test_a_container_needs_an_image(hosting: Hosting) -> None:
    with pytest.raises(ClientError) as caught:
        hosting.sagemaker.create_model(ModelName="model", PrimaryContainer={"ModelDataUrl": "s3://hosting-tests/model.tar.gz"})
    assert message(caught) == "Specify one of either Image and Model Data URL or ModelPackageName in container definition."


def test_vpc_and_isolation_come_back(hosting: Hosting) -> None:
    vpc = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    hosting.model(VpcConfig=vpc, EnableNetworkIsolation=True)
    found = hosting.sagemaker.describe_model(ModelName="model")
    assert (found["VpcConfig"], found["EnableNetworkIsolation"]) == (vpc, True)


def test_a_name_is_taken_once(hosting: Hosting) -> None:
    hosting.model()
    with pytest.raises(ClientError) as caught:
        hosting.model()
    assert message(caught) == f'Cannot create already existing model "{ARN}model".'


@pytest.mark.parametrize("operation", ["describe_model", "delete_model"])
def test_a_missing_model_is_not_found(hosting: Hosting, operation: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(hosting.sagemaker, operation)(ModelName="none")
    assert message(caught) == f'Could not find model "{ARN}none".'


def test_models_are_listed_by_pages_newest_first(hosting: Hosting) -> None:
    for name in ("a-one", "b-two", "c-one"):
        hosting.model(name)
    first = hosting.sagemaker.list_models(MaxResults=2)
    rest = hosting.sagemaker.list_models(MaxResults=2, NextToken=first["NextToken"])
    assert [model["ModelName"] for model in first["Models"] + rest["Models"]] == ["c-one", "b-two", "a-one"]
    named = hosting.sagemaker.list_models(NameContains="one", SortBy="Name", SortOrder="Ascending")
    assert [model["ModelName"] for model in named["Models"]] == ["a-one", "c-one"]


def test_a_deleted_model_is_gone_with_its_tags(hosting: Hosting) -> None:
    arn = hosting.model(Tags=[{"Key": "team", "Value": "a"}])
    assert hosting.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    hosting.sagemaker.delete_model(ModelName="model")
    assert hosting.sagemaker.list_models()["Models"] == []
    hosting.model()
    assert hosting.sagemaker.list_tags(ResourceArn=arn)["Tags"] == []
