"""SageMaker SDK v2's @remote as a user writes it: a function that runs as a training job, and its result here."""

from __future__ import annotations

import json

import sagemaker
from sagemaker.remote_function import remote

IMAGE = "236514542706.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-311:1.0"


@remote(image_uri=IMAGE, instance_type="ml.m5.large", role=sagemaker.get_execution_role())  # type: ignore[untyped-decorator]
def divide(x: float, y: float) -> float:
    return x / y


print("FOUND " + json.dumps({"quotient": divide(10, 4)}), flush=True)
