"""A server that knows a user's own image, `echo`, and what the tests of hosting make with it."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dewfall.testing import Server, running

ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
BUCKET = "hosting-tests"
DATA = f"s3://{BUCKET}/model.tar.gz"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/echo:latest"


class Hosting:
    """Clients, and models, configurations and endpoints in one line each."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sagemaker = server.client("sagemaker")
        self.runtime = server.client("sagemaker-runtime")
        self.s3 = server.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=tarball({"weights.txt": "42"}))

    def model(self, name: str = "model", **members: Any) -> str:
        container = {"Image": IMAGE, "ModelDataUrl": DATA, "Environment": {"MODEL_NAME": name}} | members.pop("container", {})
        arn: str = self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, **members)["ModelArn"]
        return arn

    def config(self, name: str = "config", members: dict[str, Any] | None = None, **variants: Any) -> str:
        """Variants as name=dict(ModelName=…, …); none: AllTraffic of the model `model`. `members`: more of the configuration."""
        wanted = variants or {"AllTraffic": {}}
        filled = [
            {"VariantName": variant, "ModelName": "model", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large", **members}
            for variant, members in wanted.items()
        ]
        arn: str = self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=filled, **members or {})["EndpointConfigArn"]
        return arn

    def objects(self, prefix: str) -> dict[str, bytes]:
        """What lies below a prefix of the bucket, by key; waited for."""
        end = time.monotonic() + 180
        while time.monotonic() < end:
            found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
            if found:
                return {one["Key"]: self.s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in found}
            threading.Event().wait(0.2)
        raise AssertionError(f"nothing came below {prefix}")

    def endpoint(self, name: str = "endpoint", config: str = "config") -> dict[str, Any]:
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        return self.settled(name)

    def settled(self, name: str = "endpoint") -> dict[str, Any]:
        """Describe it when it is in service or has failed."""
        from botocore.exceptions import WaiterError

        try:
            self.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
        except WaiterError as error:
            if "Failed" not in str(error):
                raise
        return self.describe(name)

    def component(self, name: str) -> None:
        """Ask for a copy of the model `model` on the endpoint."""
        self.sagemaker.create_inference_component(
            InferenceComponentName=name,
            EndpointName="endpoint",
            VariantName="AllTraffic",
            Specification={"ModelName": "model", "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 128}},
            RuntimeConfig={"CopyCount": 1},
        )

    def settled_component(self, name: str) -> dict[str, Any]:
        """Describe an inference component when it is in service or has failed."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            found: dict[str, Any] = self.sagemaker.describe_inference_component(InferenceComponentName=name)
            if found["InferenceComponentStatus"] in ("InService", "Failed"):
                return found
            time.sleep(0.1)
        raise AssertionError(f"{name} is still {found['InferenceComponentStatus']}")

    def describe(self, name: str = "endpoint") -> dict[str, Any]:
        found: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
        return found

    def ask(self, body: bytes = b"hello", **members: Any) -> dict[str, Any]:
        """The echo model's answer, parsed, with the variant that gave it."""
        reply = self.runtime.invoke_endpoint(EndpointName="endpoint", Body=body, **members)
        return {**json.loads(reply["Body"].read()), "variant": reply["InvokedProductionVariant"]}


@pytest.fixture(scope="session")
def images_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What DEWFALL_IMAGES names."""
    file = tmp_path_factory.mktemp("hosting") / "images.json"
    images = {f"*/{name}:*": {"serve": ["python", str(Path(__file__).with_name(f"{name}_model.py"))]} for name in ("echo", "link", "shelf", "scores")}
    file.write_text(json.dumps(images))
    return file


@pytest.fixture(scope="session")
def hosting_server(images_file: Path) -> Iterator[Server]:
    """A server of its own: it must know the image."""
    with running(environment={**os.environ, "DEWFALL_IMAGES": str(images_file)}) as server:
        yield server


@pytest.fixture
def hosting(hosting_server: Server) -> Iterator[Hosting]:
    """Empty but for a bucket with a model's data."""
    yield Hosting(hosting_server)
    hosting_server.reset()


def tarball(files: dict[str, str]) -> bytes:
    """A tar.gz of text files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()
