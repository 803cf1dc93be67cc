"""Endpoints whose model has several containers: one after the other, or the one that is named."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import BUCKET, ROLE, Hosting, tarball

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/link:latest"


class Links:
    """An endpoint of the containers `first` and `second`."""

    def __init__(self, hosting: Hosting, mode: str) -> None:
        self.hosting = hosting
        containers = [{"Image": IMAGE, "ContainerHostname": name, "Environment": {"NAME": name}} for name in ("first", "second")]
        execution = {"InferenceExecutionConfig": {"Mode": mode}}
        hosting.sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, Containers=containers, **execution)
        hosting.config()
        assert hosting.endpoint()["EndpointStatus"] == "InService"

    def ask(self, body: bytes = b"x", **members: Any) -> tuple[bytes, str]:
        reply = self.hosting.runtime.invoke_endpoint(EndpointName="endpoint", Body=body, ContentType="text/csv", **members)
        return reply["Body"].read(), reply["ContentType"]


@pytest.fixture
def chain(hosting: Hosting) -> Links:
    return Links(hosting, "Serial")


def test_each_answer_is_the_next_ones_request_with_its_content_type(chain: Links) -> None:
    assert chain.ask() == (b"second<text/first|first<text/csv|x>>", "text/second")
    assert [image["SpecifiedImage"] for image in chain.hosting.describe()["ProductionVariants"][0]["DeployedImages"]] == [IMAGE, IMAGE]


def test_the_chains_last_answer_can_be_streamed(chain: Links) -> None:
    reply = chain.hosting.runtime.invoke_endpoint_with_response_stream(EndpointName="endpoint", Body=b"x", ContentType="text/csv")
    assert b"".join(event["PayloadPart"]["Bytes"] for event in reply["Body"]) == b"second<text/first|first<text/csv|x>>"


def test_an_error_names_the_container_that_gave_it(chain: Links) -> None:
    for name in ("first", "second"):
        with pytest.raises(chain.hosting.runtime.exceptions.ModelError, match=rf"Received client error \(400\) from {name} with message"):
            chain.ask(f"bad {name}".encode())


def test_a_container_that_dies_takes_its_replica_with_it_and_both_come_back(chain: Links) -> None:
    with pytest.raises(chain.hosting.runtime.exceptions.ModelError):
        chain.ask(b"die second")
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            assert chain.ask()[1] == "text/second"
            return
        except ClientError:
            time.sleep(0.1)
    raise AssertionError("the replica did not come back")


def test_in_direct_mode_the_named_container_answers(hosting: Hosting) -> None:
    links = Links(hosting, "Direct")
    assert links.ask(TargetContainerHostname="second") == (b"second<text/csv|x>", "text/second")
    with pytest.raises(ClientError, match="is missing a target container hostname header"):
        links.ask()
    with pytest.raises(ClientError, match="Container third of endpoint endpoint of account 000000000000 not found"):
        links.ask(TargetContainerHostname="third")
    with pytest.raises(ClientError, match="is not a multi-model endpoint"):
        links.ask(TargetModel="a.tar.gz")


class Shelved(Links):
    """An endpoint of the containers `first`, `many` (models a.tar.gz, b.tar.gz, c.tar.gz; room for two) and `last`."""

    def __init__(self, hosting: Hosting) -> None:
        self.hosting = hosting
        for name in "abc":
            hosting.s3.put_object(Bucket=BUCKET, Key=f"shelf/{name}.tar.gz", Body=tarball({"weights.txt": name}))
        hosting.s3.put_object(Bucket=BUCKET, Key="shelf/bad.tar.gz", Body=b"no archive")
        hosting.sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, Containers=[link("first"), SHELF, link("last")])
        hosting.config(AllTraffic={"InitialInstanceCount": 2})
        assert hosting.endpoint()["EndpointStatus"] == "InService"


SHELF = {
    "Image": IMAGE.replace("link", "shelf"),
    "ContainerHostname": "many",
    "Mode": "MultiModel",
    "ModelDataUrl": f"s3://{BUCKET}/shelf/",
}


def link(name: str) -> dict[str, Any]:
    return {"Image": IMAGE, "ContainerHostname": name, "Environment": {"NAME": name}}


@pytest.fixture
def shelved(hosting: Hosting) -> Shelved:
    return Shelved(hosting)


def test_one_container_of_a_chain_may_have_many_models(shelved: Shelved) -> None:
    for name in "abcab":
        body, kind = shelved.ask(TargetModel=f"{name}.tar.gz")
        assert kind == "text/last"
        assert body.startswith(b"last<application/json|")
        told = json.loads(body.removeprefix(b"last<application/json|").removesuffix(b">"))
        assert (told["weights"], told["asked"]) == (name, f"{name}.tar.gz")


def test_what_is_wrong_with_a_model_in_a_chain_is_told(shelved: Shelved) -> None:
    with pytest.raises(ClientError, match=r"Failed to download model data\(bucket: hosting-tests, key: shelf/none.tar.gz\)"):
        shelved.ask(TargetModel="none.tar.gz")
    with pytest.raises(shelved.hosting.runtime.exceptions.ModelError, match=r"from many with message .Failed to extract model data"):
        shelved.ask(TargetModel="bad.tar.gz")
    with pytest.raises(shelved.hosting.runtime.exceptions.ModelError, match="from first with message"):
        shelved.ask(b"bad first", TargetModel="a.tar.gz")
    with pytest.raises(ClientError, match="is missing a target model header"):
        shelved.ask()
    with pytest.raises(ClientError, match="is not a multi-container endpoint with direct invocation"):
        shelved.ask(TargetContainerHostname="first")


@pytest.mark.parametrize(
    ("containers", "mode", "said"),
    [([SHELF, {**SHELF, "ContainerHostname": "more"}], "Serial", "Only one container"), ([link("first"), SHELF], "Direct", "MultiModel mode cannot")],
)
def test_models_that_no_endpoint_can_serve_are_refused(hosting: Hosting, containers: list[dict[str, Any]], mode: Any, said: str) -> None:
    execution = {"InferenceExecutionConfig": {"Mode": mode}}
    with pytest.raises(ClientError, match=said):
        hosting.sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, Containers=containers, **execution)
