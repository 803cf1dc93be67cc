"""Model packages and their groups through a real client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from .conftest import Hosting

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/echo:latest"
DATA = "s3://hosting-tests/model.tar.gz"
GROUP_ARN = "arn:aws:sagemaker:us-east-1:000000000000:model-package-group/churn"
ARN = "arn:aws:sagemaker:us-east-1:000000000000:model-package/"
CONTAINER = {"Image": IMAGE, "ModelDataUrl": DATA, "Environment": {"MODEL_NAME": "package"}}
SPECIFICATION = {"Containers": [CONTAINER], "SupportedContentTypes": ["text/csv"], "SupportedResponseMIMETypes": ["text/csv"]}


def version(hosting: Hosting, **members: Any) -> str:
    """A version of the group `churn`, which is made when it is not there."""
    if not hosting.sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]:
        hosting.sagemaker.create_model_package_group(ModelPackageGroupName="churn", ModelPackageGroupDescription="who leaves")
    given = {"ModelPackageGroupName": "churn", "InferenceSpecification": SPECIFICATION, **members}
    arn: str = hosting.sagemaker.create_model_package(**given)["ModelPackageArn"]
    return arn


def refused(call: Any, **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_group_counts_its_versions(hosting: Hosting) -> None:
    assert [version(hosting), version(hosting)] == [ARN + "churn/1", ARN + "churn/2"]
    hosting.sagemaker.delete_model_package(ModelPackageName=ARN + "churn/2")
    assert version(hosting, ModelApprovalStatus="Approved") == ARN + "churn/3"
    found = hosting.sagemaker.list_model_packages(ModelPackageGroupName="churn")["ModelPackageSummaryList"]
    assert [(one["ModelPackageVersion"], one["ModelApprovalStatus"]) for one in found] == [(3, "Approved"), (1, "PendingManualApproval")]
    assert "ModelPackageName" not in found[0]
    assert hosting.sagemaker.list_model_packages()["ModelPackageSummaryList"] == []
    approved = hosting.sagemaker.list_model_packages(ModelPackageGroupName="churn", ModelApprovalStatus="Approved")
    assert len(approved["ModelPackageSummaryList"]) == 1


def test_a_version_is_described(hosting: Hosting) -> None:
    arn = version(hosting, ModelPackageDescription="first", CustomerMetadataProperties={"team": "a"}, Domain="MACHINE_LEARNING")
    found = hosting.sagemaker.describe_model_package(ModelPackageName=arn)
    assert found["InferenceSpecification"] == SPECIFICATION
    assert (found["ModelPackageStatus"], found["ModelPackageStatusDetails"]["ValidationStatuses"]) == ("Completed", [])
    assert (found["ModelPackageGroupName"], found["ModelPackageVersion"], found["ModelPackageDescription"]) == ("churn", 1, "first")
    assert (found["CustomerMetadataProperties"], found["Domain"]) == ({"team": "a"}, "MACHINE_LEARNING")


def test_approval_and_properties_change(hosting: Hosting) -> None:
    arn = version(hosting, CustomerMetadataProperties={"team": "a", "stage": "x"})
    told = {"ModelApprovalStatus": "Approved", "ApprovalDescription": "good", "CustomerMetadataProperties": {"owner": "me"}}
    extra = {"Name": "small", "Containers": [{"Image": IMAGE}]}
    hosting.sagemaker.update_model_package(
        ModelPackageArn=arn, CustomerMetadataPropertiesToRemove=["stage"], AdditionalInferenceSpecificationsToAdd=[extra], **told
    )
    found = hosting.sagemaker.describe_model_package(ModelPackageName=arn)
    assert (found["ModelApprovalStatus"], found["ApprovalDescription"]) == ("Approved", "good")
    assert found["CustomerMetadataProperties"] == {"team": "a", "owner": "me"}
    assert [one["Name"] for one in found["AdditionalInferenceSpecifications"]] == ["small"]
    assert found["LastModifiedTime"] > found["CreationTime"]


def test_the_same_token_is_the_same_version(hosting: Hosting) -> None:
    assert version(hosting, ClientToken="once") == version(hosting, ClientToken="once")


def test_packages_without_a_group(hosting: Hosting) -> None:
    create = hosting.sagemaker.create_model_package
    assert create(ModelPackageName="alone", InferenceSpecification=SPECIFICATION)["ModelPackageArn"] == ARN + "alone"
    version(hosting)
    found = hosting.sagemaker.list_model_packages()["ModelPackageSummaryList"]
    assert [one["ModelPackageName"] for one in found] == ["alone"]
    assert len(hosting.sagemaker.list_model_packages(ModelPackageType="Both")["ModelPackageSummaryList"]) == 2
    assert "ModelPackage already exists" in refused(create, ModelPackageName="alone", InferenceSpecification=SPECIFICATION)[1]
    both = refused(create, ModelPackageName="a", ModelPackageGroupName="churn", InferenceSpecification=SPECIFICATION)
    assert both[1].startswith("Both ModelPackageName and ModelPackageGroupName")


def test_what_is_missing_is_not_found(hosting: Hosting) -> None:
    sagemaker = hosting.sagemaker
    assert refused(sagemaker.describe_model_package_group, ModelPackageGroupName="churn") == (
        "ValidationException",
        f"ModelPackageGroup {GROUP_ARN} does not exist.",
    )
    made = refused(sagemaker.create_model_package, ModelPackageGroupName="churn", InferenceSpecification=SPECIFICATION)
    assert made == ("ValidationException", "Model Package Group does not exist.")
    missing = ("ValidationException", f"ModelPackage {ARN}churn/9 does not exist.")
    assert refused(sagemaker.describe_model_package, ModelPackageName=ARN + "churn/9") == missing
    assert refused(sagemaker.update_model_package, ModelPackageArn=ARN + "churn/9", ApprovalDescription="x") == missing
    elsewhere = (ARN + "churn/9").replace("us-east-1", "eu-west-1")
    assert refused(sagemaker.describe_model_package, ModelPackageName=elsewhere)[1] == "ARN should be scoped to correct region: us-east-1"
    arn = version(hosting)
    batch = sagemaker.batch_describe_model_package(ModelPackageArnList=[arn, ARN + "churn/9"])
    assert batch["ModelPackageSummaries"][arn]["ModelPackageVersion"] == 1
    assert batch["BatchDescribeModelPackageErrorMap"][ARN + "churn/9"]["ErrorCode"] == "ValidationException"


def test_a_group_with_packages_stays(hosting: Hosting) -> None:
    arn = version(hosting)
    assert refused(hosting.sagemaker.delete_model_package_group, ModelPackageGroupName="churn")[0] == "ConflictException"
    assert "already exists" in refused(hosting.sagemaker.create_model_package_group, ModelPackageGroupName="churn")[1]
    hosting.sagemaker.delete_model_package(ModelPackageName=arn)
    hosting.sagemaker.delete_model_package_group(ModelPackageGroupName="churn")
    assert hosting.sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


def test_tags_and_policies(hosting: Hosting) -> None:
    sagemaker = hosting.sagemaker
    arn = version(hosting, Tags=[{"Key": "team", "Value": "a"}])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    assert "Cannot find resource policy" in refused(sagemaker.get_model_package_group_policy, ModelPackageGroupName="churn")[1]
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    assert sagemaker.put_model_package_group_policy(ModelPackageGroupName="churn", ResourcePolicy=policy)["ModelPackageGroupArn"] == GROUP_ARN
    assert sagemaker.get_model_package_group_policy(ModelPackageGroupName="churn")["ResourcePolicy"] == policy
    sagemaker.delete_model_package_group_policy(ModelPackageGroupName="churn")


def test_search_finds_packages_and_groups(hosting: Hosting) -> None:
    version(hosting)
    version(hosting, ModelApprovalStatus="Approved")
    filters = [{"Name": "ModelPackageGroupName", "Operator": "Equals", "Value": "churn"}]
    groups = hosting.sagemaker.search(Resource="ModelPackageGroup", SearchExpression={"Filters": filters})["Results"]
    assert [one["ModelPackageGroup"]["ModelPackageGroupArn"] for one in groups] == [GROUP_ARN]
    filters.append({"Name": "ModelApprovalStatus", "Operator": "Equals", "Value": "Approved"})
    packages = hosting.sagemaker.search(Resource="ModelPackage", SearchExpression={"Filters": filters})["Results"]
    assert [one["ModelPackage"]["ModelPackageVersion"] for one in packages] == [2]


def test_only_an_approved_package_is_deployed(hosting: Hosting) -> None:
    arn = version(hosting)
    container = {"ModelPackageName": arn, "Environment": {"AWS_REGION": "mine"}}
    code, said = refused(hosting.sagemaker.create_model, ModelName="model", PrimaryContainer=container)
    assert (code, "PendingManualApproval" in said) == ("ValidationException", True)
    hosting.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    hosting.sagemaker.create_model(ModelName="model", PrimaryContainer={"ModelPackageName": arn})
    made = hosting.sagemaker.describe_model(ModelName="model")["PrimaryContainer"]
    assert (made["ModelPackageName"], made["Image"], made["ModelDataUrl"]) == (arn, IMAGE, DATA)
    hosting.config()
    assert hosting.endpoint()["EndpointStatus"] == "InService"
    answer = hosting.ask()
    assert (answer["environment"]["MODEL_NAME"], answer["model"]) == ("package", {"weights.txt": "42"})


def test_changes_are_told_on_the_bus(hosting: Hosting) -> None:
    server = hosting.server
    queue = server.client("sqs").create_queue(QueueName="packages")["QueueUrl"]
    pattern = {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Model Package State Change"]}
    server.client("events").put_rule(Name="packages", EventPattern=json.dumps(pattern))
    target = {"Id": "1", "Arn": "arn:aws:sqs:us-east-1:000000000000:packages"}
    server.client("events").put_targets(Rule="packages", Targets=[target])
    arn = version(hosting)
    hosting.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    seen: set[str] = set()
    while len(seen) < 2:
        for message in server.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=20, MaxNumberOfMessages=10).get("Messages", ()):
            seen.add(json.loads(message["Body"])["detail"]["ModelApprovalStatus"])
            server.client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert seen == {"PendingManualApproval", "Approved"}


def test_registering_leaves_lineage(hosting: Hosting) -> None:
    version(hosting)
    contexts = hosting.sagemaker.list_contexts(ContextType="ModelGroup")["ContextSummaries"]
    assert [one["ContextName"] for one in contexts] == ["churn-aws-model-group"]
    found = hosting.sagemaker.query_lineage(StartArns=[contexts[0]["ContextArn"]], Direction="Ascendants")["Vertices"]
    assert {one["LineageType"] for one in found} == {"Action", "Artifact"}
