"""What CreateProcessingJob refuses before anything is recorded: AWS's synchronous checks, and what Dewfall has not built.

Why here and not in the step: a wrong request must be answered with an error, not with a job that fails later.
"""

from __future__ import annotations

import re
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import not_built, validation
from dewfall.images.catalog import split_uri
from dewfall.rules.instances import launched
from dewfall.services.sagemaker.channel_checks import S3_URI
from dewfall.services.sagemaker.instance_preferences import check_preferences
from dewfall.services.sagemaker.quotas import check_instances, instances_of
from dewfall.services.sagemaker.training_checks import ROLE

ROOT = "/opt/ml/processing"
# Images of AWS's that do their own work in a processing job.
ANALYZERS = re.compile(r"sagemaker-(data-wrangler-container|geospatial.*)")


def check_request(ctx: Ctx, req: dict[str, Any]) -> None:
    """Raise the AwsError that answers a wrong request."""
    if not ROLE.match(req["RoleArn"]):
        raise validation(f"Invalid role ARN: {req['RoleArn']}")
    cluster = req["ProcessingResources"]["ClusterConfig"]
    _check_resources(cluster)
    check_instances(ctx, "processing job", instances_of(cluster))
    _check_inputs(req.get("ProcessingInputs", ()))
    _check_outputs(req.get("ProcessingOutputConfig", {}).get("Outputs", ()))
    _check_image(ctx, req["AppSpecification"])


def _check_resources(cluster: dict[str, Any]) -> None:
    check_preferences(cluster)
    if not all(launched(cluster)):
        raise validation("InstanceType and InstanceCount must be specified in ClusterConfig.")


def _check_inputs(inputs: Any) -> None:
    _check_unique("Input", [given["InputName"] for given in inputs])
    for given in inputs:
        source, defined = given.get("S3Input"), given.get("DatasetDefinition")
        if bool(source) == bool(defined):
            raise validation(f"Exactly one of S3Input or DatasetDefinition must be specified for input {given['InputName']}.")
        if defined and not given.get("AppManaged"):
            raise not_built("processing inputs from Athena or Redshift (DatasetDefinition) that the application does not manage itself")
        if not source:
            continue  # the application fetches it
        if not S3_URI.match(source["S3Uri"]):
            raise validation(f"The S3 URI '{source['S3Uri']}' of input {given['InputName']} is not valid.")
        if source.get("S3CompressionType", "None") == "Gzip" and source.get("S3InputMode") != "Pipe":
            raise validation("S3CompressionType Gzip can only be used if Pipe mode is specified as the S3InputMode.")
        if not given.get("AppManaged"):
            _check_path(f"input {given['InputName']}", source.get("LocalPath", ""))
    paths = [one["S3Input"]["LocalPath"].rstrip("/") for one in inputs if one.get("S3Input") and not one.get("AppManaged")]
    if len(set(paths)) != len(paths):
        raise validation("Each processing input must have a LocalPath of its own.")


def _check_outputs(outputs: Any) -> None:
    _check_unique("Output", [one["OutputName"] for one in outputs])
    for one in outputs:
        target, features = one.get("S3Output"), one.get("FeatureStoreOutput")
        if bool(target) == bool(features):
            raise validation(f"Exactly one of S3Output or FeatureStoreOutput must be specified for output {one['OutputName']}.")
        if features and not one.get("AppManaged"):
            raise validation(f"FeatureStoreOutput of output {one['OutputName']} is only supported when AppManaged is specified.")
        if not target:
            continue  # the application puts the records
        if not S3_URI.match(target["S3Uri"]):
            raise validation(f"The S3 URI '{target['S3Uri']}' of output {one['OutputName']} is not valid.")
        if not one.get("AppManaged"):
            _check_path(f"output {one['OutputName']}", target.get("LocalPath", ""))


def _check_path(what: str, path: str) -> None:
    parts = path.split("/")
    if not (path + "/").startswith(ROOT + "/") or ".." in parts:
        raise validation(f"The LocalPath '{path}' of {what} is not valid. It must start with {ROOT}/.")


def _check_unique(what: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise validation(f"{what} names must be unique.")


def _check_image(ctx: Ctx, application: dict[str, Any]) -> None:
    from dewfall.engine.runtimes import find_runtime

    image = application["ImageUri"]
    if ANALYZERS.fullmatch(split_uri(image)[0]):
        raise not_built(f"processing jobs of the image {image}")
    runtime = find_runtime(image, ctx.ports.settings)
    if not application.get("ContainerEntrypoint") and not runtime.process_command:
        raise validation(f"The image {image} has no entry point for processing jobs: give ContainerEntrypoint.")
