"""Nonsense at every operation of training and hosting: AWS's error, a message that says what is wrong, never a 500, no traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from dewfall.testing import Server
from tests.crash.world import BUCKET, ROLE, SKLEARN, channel, request

UNKNOWN = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mystery:1"
DATA = f"s3://{BUCKET}/model.tar.gz"


@pytest.fixture(scope="module")
def server(dewfall_server: Server) -> Iterator[Server]:
    s3 = dewfall_server.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for key in ("model.tar.gz", "train/a.csv"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"1,2\n")
    sagemaker = dewfall_server.client("sagemaker")
    sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": SKLEARN, "ModelDataUrl": DATA})
    yield dewfall_server
    dewfall_server.reset()
    log = dewfall_server.data.with_name(f"{dewfall_server.data.name}.log").read_text()
    assert "Traceback" not in log, log[-6000:]


def post(server: Server, operation: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """A raw request, past the client's own checks."""
    headers = {
        "X-Amz-Target": f"SageMaker.{operation}",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sagemaker/aws4_request, SignedHeaders=host, Signature=00",
    }
    answer = URLLib3Session().send(AWSRequest("POST", server.url, data=body, headers=headers).prepare())
    found = json.loads(answer.content or b"{}")
    return answer.status_code, {"message": "", **{name.lower(): value for name, value in found.items()}}


def changed(**members: Any) -> dict[str, Any]:
    """A good CreateTrainingJob with a flaw; `Member__Inner` reaches into a structure, None takes away."""
    asked: dict[str, Any] = request("job", SKLEARN, channel("train", "train/"))
    for path, value in members.items():
        *outer, name = path.split("__")
        place = asked
        for step in outer:
            place = place.setdefault(step, {})
        if value is None:
            place.pop(name, None)
        else:
            place[name] = value
    return asked


JOBS: list[tuple[dict[str, Any], str]] = [
    ({"TrainingJobName": "no spaces!"}, "TrainingJobName"),
    ({"TrainingJobName": "x" * 64}, "63"),
    ({"TrainingJobName": ""}, "rainingJobName"),
    ({"TrainingJobName": None}, "rainingJobName"),
    ({"RoleArn": None}, "oleArn"),
    ({"RoleArn": "me"}, "ole"),
    ({"OutputDataConfig": None}, "utputDataConfig"),
    ({"OutputDataConfig__S3OutputPath": "/tmp/out"}, "S3"),
    ({"OutputDataConfig__S3OutputPath": None}, "3OutputPath"),
    ({"OutputDataConfig__CompressionType": "ZIP"}, "ompressionType"),
    ({"AlgorithmSpecification": None}, "AlgorithmSpecification"),
    ({"AlgorithmSpecification__TrainingImage": UNKNOWN}, "DEWFALL_IMAGES"),
    ({"AlgorithmSpecification__TrainingImage": None}, "TrainingImage"),
    ({"AlgorithmSpecification__TrainingImage": " "}, "mage"),
    ({"AlgorithmSpecification__TrainingInputMode": "Fast"}, "rainingInputMode"),
    ({"AlgorithmSpecification__MetricDefinitions": [{"Name": "m", "Regex": "(["}]}, "regular expression"),
    ({"AlgorithmSpecification__MetricDefinitions": [{"Name": "m", "Regex": "a"}] * 2}, "unique"),
    (
        {
            "AlgorithmSpecification__TrainingImage": "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1",
            "AlgorithmSpecification__MetricDefinitions": [{"Name": "m", "Regex": "a"}],
        },
        "override the metric definitions",
    ),
    ({"AlgorithmSpecification__MetricDefinitions": [{"Name": f"m{n}", "Regex": "a"} for n in range(41)]}, "40"),
    ({"ResourceConfig": None}, "ResourceConfig"),
    ({"ResourceConfig__InstanceType": "ml.huge.9000xlarge"}, "nstanceType"),
    ({"ResourceConfig__InstanceType": None}, "InstanceType"),
    ({"ResourceConfig__InstanceCount": 0}, "InstanceCount"),
    ({"ResourceConfig__InstanceCount": -1}, "nstanceCount"),
    ({"ResourceConfig__VolumeSizeInGB": -1}, "olumeSizeInGB"),
    ({"StoppingCondition__MaxRuntimeInSeconds": 0}, "axRuntimeInSeconds"),
    ({"StoppingCondition__MaxWaitTimeInSeconds": 400}, "MaxWaitTimeInSeconds"),
    ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds"),
    ({"InputDataConfig": [channel("train", "train/"), channel("train", "train/")]}, "unique"),
    ({"InputDataConfig": [channel("train", "nothing/")]}, "No S3 objects found"),
    ({"InputDataConfig": [channel("tr ain", "train/")]}, "hannelName"),
    ({"InputDataConfig": [channel("train", "train/", InputMode="Slow")]}, "nputMode"),
    ({"InputDataConfig": [channel("train", "train/", CompressionType="Zip")]}, "ompressionType"),
    ({"InputDataConfig": [{"ChannelName": "train"}]}, "ataSource"),
    ({"InputDataConfig": [{"ChannelName": "train", "DataSource": {}}]}, "S3"),
    ({"HyperParameters": {"x" * 300: "1"}}, "yperParameters"),
    ({"HyperParameters": {"x": "1" * 2600}}, "yperParameters"),
    ({"HyperParameters": {f"p{n}": "1" for n in range(101)}}, "100"),
    ({"Environment": {"1bad": "x"}}, "nvironment"),
    ({"Tags": [{"Key": "", "Value": "x"}]}, "ey"),
    ({"Tags": [{"Key": "aws:mine", "Value": "x"}]}, "aws:"),
    ({"Tags": [{"Key": "a", "Value": "x"}] * 2}, "uplicate"),
    ({"Tags": [{"Key": f"k{n}", "Value": "x"} for n in range(51)]}, "50"),
    ({"RetryStrategy": {"MaximumRetryAttempts": 99}}, "aximumRetryAttempts"),
    ({"CheckpointConfig": {"S3Uri": "nowhere"}}, "S3"),
    ({"VpcConfig": {"SecurityGroupIds": [], "Subnets": []}}, "SecurityGroupIds"),
    ({"ExperimentConfig": {"ExperimentName": "absent"}}, "xperiment"),
]


@pytest.mark.parametrize(("members", "said"), JOBS, ids=[f"{next(iter(members))}-{said}" for members, said in JOBS])
def test_a_training_job_is_refused(server: Server, members: dict[str, Any], said: str) -> None:
    status, answer = post(server, "CreateTrainingJob", json.dumps(changed(**members)).encode())
    assert (status, said.lower() in answer["message"].lower()) == (400, True), answer
    assert server.client("sagemaker").list_training_jobs(NameContains="job")["TrainingJobSummaries"] == []


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"ResourceConfig__TrainingPlanArn": "arn:aws:sagemaker:us-east-1:000000000000:training-plan/a"}, "training plans"),
        ({"MlflowConfig": {"MlflowResourceArn": "arn:aws:sagemaker:us-east-1:000000000000:mlflow-tracking-server/a"}}, "MLflow tracking"),
    ],
)
def test_what_a_training_job_cannot_do_yet_is_not_built(server: Server, members: dict[str, Any], said: str) -> None:
    status, answer = post(server, "CreateTrainingJob", json.dumps(changed(**members)).encode())
    assert (status, answer["__type"].rpartition("#")[2]) == (501, "NotImplemented"), answer
    assert f"Dewfall has not built {said}" in answer["message"]


def container(**members: Any) -> dict[str, Any]:
    return {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": SKLEARN, "ModelDataUrl": DATA, **members}}


def variants(**members: Any) -> dict[str, Any]:
    one = {"VariantName": "v", "ModelName": "model", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large", **members}
    return {"EndpointConfigName": "c", "ProductionVariants": [{name: value for name, value in one.items() if value is not None}]}


HOSTING: list[tuple[str, dict[str, Any], str]] = [
    ("CreateModel", {"ModelName": "m"}, "PrimaryContainer"),
    ("CreateModel", {**container(), "Containers": [{"Image": SKLEARN}]}, "PrimaryContainer"),
    ("CreateModel", {**container(), "ExecutionRoleArn": "me"}, "ole"),
    ("CreateModel", {**container(), "ModelName": "a b"}, "odelName"),
    ("CreateModel", container(ModelDataUrl="s3://absent/model.tar.gz"), "model data"),
    ("CreateModel", container(ModelDataUrl=f"s3://{BUCKET}/absent.tar.gz"), "model data"),
    ("CreateModel", container(ModelDataUrl="/tmp/model.tar.gz"), "odel"),
    ("CreateModel", container(Image=""), "mage"),
    ("CreateModel", container(Mode="Triple"), "ode"),
    ("CreateModel", container(Environment={"a b": "x"}), "nvironment"),
    ("CreateModel", container(Environment={f"v{n}": "x" for n in range(101)}), "100"),
    ("CreateModel", {**container(), "Tags": [{"Key": "aws:x", "Value": "y"}]}, "aws:"),
    ("DescribeModel", {"ModelName": "absent"}, "Could not find model"),
    ("DeleteModel", {"ModelName": "absent"}, "Could not find model"),
    ("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": []}, "roductionVariants"),
    ("CreateEndpointConfig", {"EndpointConfigName": "c"}, "roductionVariants"),
    ("CreateEndpointConfig", variants(ModelName="absent"), "Could not find model"),
    ("CreateEndpointConfig", variants(VariantName="a b"), "ariantName"),
    ("CreateEndpointConfig", variants(InstanceType="ml.nothing"), "nstanceType"),
    ("CreateEndpointConfig", variants(InstanceType=None), "InstanceType"),
    ("CreateEndpointConfig", variants(InitialInstanceCount=0), "nitialInstanceCount"),
    ("CreateEndpointConfig", variants(InitialInstanceCount=None), "InitialInstanceCount"),
    ("CreateEndpointConfig", variants(InitialVariantWeight=-1), "nitialVariantWeight"),
    ("CreateEndpointConfig", variants(InitialVariantWeight=0), "Weight"),
    ("CreateEndpointConfig", {**variants(), "ProductionVariants": variants()["ProductionVariants"] * 2}, "unique"),
    ("DescribeEndpointConfig", {"EndpointConfigName": "absent"}, "Could not find endpoint configuration"),
    ("DeleteEndpointConfig", {"EndpointConfigName": "absent"}, "Could not find endpoint configuration"),
    ("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "absent"}, "Could not find endpoint configuration"),
    ("CreateEndpoint", {"EndpointName": "e"}, "ndpointConfigName"),
    ("CreateEndpoint", {"EndpointName": "a b", "EndpointConfigName": "c"}, "ndpointName"),
    ("UpdateEndpoint", {"EndpointName": "absent", "EndpointConfigName": "c"}, "Could not find endpoint"),
    ("DescribeEndpoint", {"EndpointName": "absent"}, "Could not find endpoint"),
    ("DeleteEndpoint", {"EndpointName": "absent"}, "Could not find endpoint"),
    (
        "UpdateEndpointWeightsAndCapacities",
        {"EndpointName": "absent", "DesiredWeightsAndCapacities": [{"VariantName": "v"}]},
        "Could not find endpoint",
    ),
    ("DescribeTrainingJob", {"TrainingJobName": "absent"}, "not found"),
    ("StopTrainingJob", {"TrainingJobName": "absent"}, "not found"),
    ("UpdateTrainingJob", {"TrainingJobName": "absent"}, "not found"),
    ("DeleteTrainingJob", {"TrainingJobName": "absent"}, "not found"),
    ("ListTrainingJobs", {"MaxResults": 101}, "axResults"),
    ("ListTrainingJobs", {"NextToken": "nonsense"}, "oken"),
    ("ListTrainingJobs", {"SortBy": "Color"}, "ortBy"),
    ("ListTrainingJobs", {"StatusEquals": "Lost"}, "tatusEquals"),
    ("ListTrainingJobs", {"NameContains": "(["}, "ameContains"),
    ("ListTrainingJobs", {"CreationTimeAfter": "yesterday"}, "imestamp"),
    ("ListEndpoints", {"NextToken": "!"}, "oken"),
    ("ListModels", {"MaxResults": 0}, "axResults"),
    ("AddTags", {"ResourceArn": "nonsense", "Tags": [{"Key": "a", "Value": "b"}]}, "esourceArn"),
    ("AddTags", {"ResourceArn": "arn:aws:sagemaker:us-east-1:000000000000:model/absent", "Tags": [{"Key": "a", "Value": "b"}]}, ""),
    ("ListTags", {"ResourceArn": "arn:aws:sagemaker:us-east-1:000000000000:model/absent"}, ""),
    ("Search", {"Resource": "TrainingJob", "SearchExpression": {"Filters": [{"Name": "x", "Operator": "Like", "Value": "y"}]}}, "perator"),
    ("Search", {"Resource": "Nothing"}, "esource"),
]


@pytest.mark.parametrize(("operation", "asked", "said"), HOSTING, ids=[f"{operation}-{n}" for n, (operation, _, _) in enumerate(HOSTING)])
def test_an_operation_is_refused(server: Server, operation: str, asked: dict[str, Any], said: str) -> None:
    status, answer = post(server, operation, json.dumps(asked).encode())
    assert (status, said.lower() in answer["message"].lower()) == (400, True), answer


TYPES: list[Any] = [None, True, 7, -1.5, "text", "\ud800", [], [1], {}, {"a": 1}, [[[]]], 10**400]


@pytest.mark.parametrize("operation", sorted({operation for operation, _, _ in HOSTING} | {"CreateTrainingJob"}))
def test_members_of_wrong_types(server: Server, operation: str) -> None:
    """Every member of every operation, with a value of every type."""
    from dewfall.wire.models import operation_model

    model = operation_model("sagemaker", operation)
    assert model is not None
    good: dict[str, Any] = (
        changed(TrainingJobName="typed") if operation == "CreateTrainingJob" else next(asked for name, asked, _ in HOSTING if name == operation)
    )
    for member in model.input_shape.members:
        for value in TYPES:
            status, answer = post(server, operation, json.dumps({**good, member: value}).encode())
            assert status < 500, (member, value, answer)
            if status == 200 and operation.startswith("Create"):
                good[f"{operation.removeprefix('Create')}Name"] += "x"


BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"\xff\xfe",
    b"{" * 100_000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b'{"TrainingJobName": NaN}',
    b"\0" * 100,
]


@pytest.mark.parametrize("operation", ["CreateTrainingJob", "CreateEndpoint", "ListModels"])
def test_bodies_that_are_no_request(server: Server, operation: str) -> None:
    for body in BODIES:
        status, answer = post(server, operation, body)
        assert status < 500, (body[:20], answer)


def test_invocations(server: Server) -> None:
    runtime = server.client("sagemaker-runtime")
    for name in ("absent", "a" * 63):
        with pytest.raises(ClientError) as caught:
            runtime.invoke_endpoint(EndpointName=name, Body=b"x")
        assert caught.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(EndpointName="absent", Body=b"x" * (26 << 20))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 413)
