"""What CreateTrainingJob refuses before anything is recorded: AWS's synchronous checks, and what Dewfall has not built.

Why here and not in the step: a wrong request must be answered with an error, not with a job that fails later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import not_built, validation
from dewfall.services.sagemaker.algorithms import ONE_OF_TWO
from dewfall.services.sagemaker.channel_checks import S3_URI, check_channels
from dewfall.services.sagemaker.instance_preferences import check_preferences
from dewfall.services.sagemaker.quotas import RUN_TIME, check_instances, check_quota, instances_of
from dewfall.services.sagemaker.warm_pools import check_warm_pool

ROLE = re.compile(r"^arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+$")

PROGRAM = "sagemaker_program"
# AWS runs these as scripts of JumpStart's: nobody restricts their hyperparameters, and their metrics are told.
SCRIPTS = ("lightgbm", "catboost", "autogluon-tabular", "tabtransformer", "text-classification")

# Members that would change what the job does, and are not built: member → what to say.
NOT_BUILT = {
    "ServerlessJobConfig": "serverless model customization jobs",
    "ModelPackageConfig": "model packages made by a training job",
    "MlflowConfig": "MLflow tracking of a training job",
}


def check_request(ctx: Ctx, req: dict[str, Any]) -> None:
    """Raise the AwsError that AWS answers to a wrong request."""
    for member, what in NOT_BUILT.items():
        if req.get(member):
            raise not_built(what)
    if "AlgorithmSpecification" not in req:
        raise validation("AlgorithmSpecification is a required parameter.")
    _check_algorithm(req["AlgorithmSpecification"])
    _check_metrics(req)
    if not ROLE.match(req["RoleArn"]):
        raise validation(f"Invalid role ARN: {req['RoleArn']}")
    resources = req.get("ResourceConfig")
    if not resources:
        raise validation("ResourceConfig is a required parameter.")
    _check_resources(resources, is_spot=bool(req.get("EnableManagedSpotTraining")))
    check_instances(ctx, "spot training job" if req.get("EnableManagedSpotTraining") else "training job", instances_of(resources))
    check_warm_pool(req)
    _check_stopping(req)
    check_channels(ctx, req)
    local = req.get("CheckpointConfig", {}).get("LocalPath")
    if local and not local.startswith("/"):
        raise validation(f"The LocalPath '{local}' of CheckpointConfig is not valid. It must be an absolute path.")
    for member, uri in _output_uris(req):
        if not S3_URI.match(uri):
            raise validation(f"The S3 URI '{uri}' of {member} is not valid. It must have the form s3://bucket/prefix.")


def _check_algorithm(algorithm: dict[str, Any]) -> None:
    if not algorithm.get("TrainingImage"):  # an algorithm resource has been replaced by its image before
        raise validation(ONE_OF_TWO)
    names = [definition["Name"] for definition in algorithm.get("MetricDefinitions", ())]
    if len(set(names)) != len(names):
        raise validation("Metric names in MetricDefinitions must be unique.")
    for definition in algorithm.get("MetricDefinitions", ()):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise validation(f"Invalid regular expression for metric {definition['Name']}: {error}") from None


def _check_metrics(req: dict[str, Any]) -> None:
    """The algorithms of AWS's own say which metrics they have; frameworks, scripts and JumpStart's algorithms are told."""
    from dewfall.images import catalog

    algorithm = req["AlgorithmSpecification"]
    is_script = PROGRAM in req.get("HyperParameters", {}) or PROGRAM.upper() in req.get("Environment", {}) or algorithm.get("ContainerEntrypoint")
    if not algorithm.get("MetricDefinitions") or algorithm.get("AlgorithmName") or is_script:
        return
    image = catalog.find(algorithm["TrainingImage"])
    if image is None or image.kind != "algorithm" or not image.metric_definitions or image.algorithm in SCRIPTS:
        return
    if any(image.metric_definitions.get(one["Name"]) != one["Regex"] for one in algorithm["MetricDefinitions"]):  # a tuning job's trials repeat them
        message = "You can't override the metric definitions for Amazon SageMaker algorithms. "
        raise validation(message + "Please retry the request without specifying metric definitions.")


def _check_resources(resources: dict[str, Any], *, is_spot: bool) -> None:
    groups = resources.get("InstanceGroups")
    if groups and (resources.get("InstanceType") or resources.get("InstanceCount")):
        raise validation("InstanceGroups cannot be specified together with InstanceType and InstanceCount.")
    if resources.get("TrainingPlanArn"):
        raise not_built("training plans")
    check_preferences(resources, is_spot=is_spot)
    members = groups or ([] if resources.get("InstancePreferences") else [resources])
    for member in members:
        if not member.get("InstanceType"):
            raise validation("InstanceType must be specified in ResourceConfig.")
        if not member.get("InstanceCount"):
            raise validation("InstanceCount must be at least 1.")
    names = [member["InstanceGroupName"] for member in groups or ()]
    if len(set(names)) != len(names):
        raise validation("Instance group names must be unique.")


def _check_stopping(req: dict[str, Any]) -> None:
    stopping = req.get("StoppingCondition", {})
    check_quota(RUN_TIME, stopping.get("MaxRuntimeInSeconds", 0))
    wait = stopping.get("MaxWaitTimeInSeconds")
    if req.get("EnableManagedSpotTraining"):
        if wait is None or wait < stopping.get("MaxRuntimeInSeconds", 86400):
            raise validation("Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds")
    elif wait is not None:
        raise validation("Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true")


def _output_uris(req: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "OutputDataConfig", req["OutputDataConfig"]["S3OutputPath"]
    if req.get("CheckpointConfig"):
        yield "CheckpointConfig", req["CheckpointConfig"]["S3Uri"]
