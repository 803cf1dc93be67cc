"""From a transform job's record to its agents: the replicas that serve the model, and the process that sends them the records.

Why the replicas' spec is the endpoints': it is the same model behind the same server.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.objects import StoredObject
from dewfall.engine.ports import AgentSpec, Channel, FileLink, Output
from dewfall.errors import AwsError
from dewfall.rules import json_filters
from dewfall.services.sagemaker.endpoint_replicas import replica_spec
from dewfall.services.sagemaker.input_sources import InputError, nothing_found, relative_path
from dewfall.services.sagemaker.models import model_role, s3_uri
from dewfall.services.sagemaker.transform_checks import containers_of

DRIVER = "driver"
OUTPUT = "output"
RESULTS, INPUTS = "results.json", "inputs.json"
GRACE = 10.0
STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}


def agent_id(ctx: Ctx, name: str, part: str) -> str:
    """An agent of a job: `driver`, or `<instance>-<container>`. The first four parts are the record."""
    return f"transform-job.{ctx.account}.{ctx.region}.{name}.{part}"


def replica_parts(document: dict[str, Any]) -> list[list[str]]:
    """Per instance the parts that its containers' agents are called by."""
    containers = range(1, len(containers_of(document["_Model"])) + 1)
    return [[f"{instance}-{container}" for container in containers] for instance in range(1, document["TransformResources"]["InstanceCount"] + 1)]


def transform_replica_spec(ctx: Ctx, document: dict[str, Any], part: str) -> AgentSpec:
    """The spec of one container of one instance. Raises AwsError where its model data or runtime is missing."""
    model = document["_Model"]
    container = containers_of(model)[int(part.partition("-")[2]) - 1]
    batch = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_BATCH_STRATEGY": STRATEGIES[document.get("BatchStrategy", "MultiRecord")],
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": str(document.get("MaxPayloadInMB", 6)),
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": str(document.get("MaxConcurrentTransforms") or 1),
    }
    variant = {
        "VariantName": "transform",
        "InstanceType": document["TransformResources"]["InstanceType"],
        "Role": model_role(ctx, model),
        "Container": {**container, "Environment": {**container["Environment"], **document.get("Environment", {}), **batch}},
    }
    spec = replica_spec(ctx, document["TransformJobName"], "transform", variant, 1)
    return dataclasses.replace(spec, id=agent_id(ctx, document["TransformJobName"], part), grace=GRACE, shared=True)


def driver_spec(ctx: Ctx, document: dict[str, Any]) -> AgentSpec:
    """The spec of the record loop. Raises InputError when an input cannot be delivered."""
    inputs = resolve_inputs(ctx, document)
    processing = document["DataProcessing"]
    config = {
        **{member: document.get(member) for member in ("MaxConcurrentTransforms", "MaxPayloadInMB", "BatchStrategy")},
        "ModelClientConfig": document.get("ModelClientConfig", {}),
        "TransformInput": document["TransformInput"],
        "TransformOutput": document["TransformOutput"],
        "Processing": {
            "Input": json_filters.parse(processing["InputFilter"]),
            "Output": json_filters.parse(processing["OutputFilter"]),
            "Join": processing["JoinSource"] == "Input",
            "Stamp": bool(document.get("DataCaptureConfig", {}).get("GenerateInferenceId")),
        },
        "Files": [{"name": f"{stored.bucket}/{stored.key}", "output": f"{path}.out"} for path, stored in inputs],
    }
    files = tuple(FileLink(str(number), str(stored.path), stored.size) for number, (_, stored) in enumerate(inputs))
    return AgentSpec(
        id=agent_id(ctx, document["TransformJobName"], DRIVER),
        kind="job",
        command=(sys.executable, "-m", "dewfall.images.batch"),
        environment={"DEWFALL_REPLICAS": str(addresses_file(ctx, document["TransformJobName"]))},
        files={"/opt/ml/input/config/batch.json": json.dumps(config)},
        channels=(Channel("batch", "/opt/ml/input/data/batch", "File", files),),
        outputs=(Output(OUTPUT, "/opt/ml/output/data", "files"),),
        grace=GRACE,
    )


def addresses_file(ctx: Ctx, name: str) -> Path:
    """Where the record loop finds its replicas: a folder that every agent sees."""
    return ctx.ports.settings.data / "run" / f"{agent_id(ctx, name, 'replicas')}.json"


def resolve_inputs(ctx: Ctx, document: dict[str, Any]) -> list[tuple[str, StoredObject]]:
    """Every input with its path below the input's prefix. Raises InputError."""
    source = document["TransformInput"]["DataSource"]["S3DataSource"]
    uri = s3_uri(source["S3Uri"])
    try:
        found = _manifest(ctx, uri) if source["S3DataType"] == "ManifestFile" else _prefix(ctx, uri)
    except AwsError as error:
        raise InputError(f"ClientError: Data download failed:{error.message}") from None
    if not found:
        raise InputError("ClientError: Data download failed:" + nothing_found(ctx.region, uri, model_role(ctx, document["_Model"])))
    return found


def _prefix(ctx: Ctx, uri: str) -> list[tuple[str, StoredObject]]:
    prefix = uri.removeprefix("s3://").partition("/")[2]
    paths = [(relative_path(stored.key, prefix), stored) for stored in ctx.ports.objects.list(uri)]
    return [(path, stored) for path, stored in paths if path]


def _manifest(ctx: Ctx, uri: str) -> list[tuple[str, StoredObject]]:
    try:
        entries = json.loads(ctx.ports.objects.read(uri))
        prefix = str(entries[0]["prefix"])
        names = [str(entry) for entry in entries[1:]]
    except (ValueError, LookupError, TypeError):
        raise InputError(f"ClientError: Data download failed:The manifest {uri} is not a JSON array that begins with a prefix") from None
    found = []
    for name in names:
        stored = ctx.ports.objects.get(prefix + name)
        if stored is None:
            raise InputError(f"ClientError: Data download failed:NoSuchKey (404): The specified key does not exist: {prefix + name}")
        path = relative_path(name, "")
        if path:
            found.append((path, stored))
    return found
