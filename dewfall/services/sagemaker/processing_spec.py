"""From a processing job's record to the AgentSpec that runs it, and to the place of its log.

Why one function of its own: a spec is made again after a crash before the start, and must come out the same.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AgentSpec, Channel, FileLink, Key, Output
from dewfall.services.identity import job_environment
from dewfall.services.sagemaker.input_sources import InputError, NothingFound, stored_files
from dewfall.services.sagemaker.processing_checks import ROOT
from dewfall.services.sagemaker.processing_failures import NOTHING_FOUND, download_reason
from dewfall.services.sagemaker.processing_status import watches
from dewfall.services.sagemaker.sdk_defaults import defaults_file, defaults_variable
from dewfall.services.sagemaker.training_logs import Target
from dewfall.services.sagemaker.training_spec import GRACE, PRIVATE_SHELL

GROUP = "/aws/sagemaker/ProcessingJobs"
CONFIG = "/opt/ml/config"
MESSAGES = "dewfall-messages"  # the name under which /opt/ml/output is collected, where the exit message lies
CONFIG_MEMBERS = (
    "ProcessingJobArn", "ProcessingJobName", "AppSpecification", "Environment", "ProcessingInputs", "ProcessingOutputConfig", "ProcessingResources",
    "RoleArn", "StoppingCondition", "NetworkConfig", "ExperimentConfig",
)  # fmt: skip
PYTHON = re.compile(r"python(3(\.\d+)?)?")
IN_PROCESS = (sys.executable, "-m", "dewfall.images.processing")
PROGRAMS = {"smspark-submit": (sys.executable, "-m", "dewfall.images.spark")}  # which AWS's images have on their PATH


def processing_spec(ctx: Ctx, document: dict[str, Any], agent: str) -> AgentSpec:
    """The spec of attempt `agent` on its first host; processing_crew.py makes those of all.

    Raises InputError when an input cannot be delivered, AwsError when no runtime fits.
    """
    from dewfall.engine.runtimes import find_runtime

    application = document["AppSpecification"]
    runtime = find_runtime(application["ImageUri"], ctx.ports.settings)
    platform = {"AWS_REGION": ctx.region, "DEWFALL_IMAGE": application["ImageUri"]}
    return AgentSpec(
        id=agent,
        kind="watcher" if watches(document) else "job",
        command=processing_command(application, runtime.process_command),
        environment={
            **runtime.environment,
            **job_environment(ctx, document["RoleArn"], "SageMaker"),
            **defaults_variable(CONFIG),
            **document.get("Environment", {}),
            **platform,
        },
        working_directory=ROOT,
        files=config_files(document) | defaults_file(ctx, CONFIG),
        channels=_channels(ctx, document),
        outputs=(*(Output(name, path, "files") for name, path, _ in s3_outputs(document)), Output(MESSAGES, "/opt/ml/output", "files")),
        preload=runtime.preload,
        max_runtime=float(document["StoppingCondition"]["MaxRuntimeInSeconds"]),
        grace=GRACE,
        notes=(*runtime.notes, *_notes(document)),
    )


def processing_command(application: dict[str, Any], own: tuple[str, ...]) -> tuple[str, ...]:
    """What `docker run` would run. Whatever it is, packages that it installs go into a folder of the job's own."""
    words = (*(application.get("ContainerEntrypoint") or own), *application.get("ContainerArguments", ()))
    if words[:2] == (sys.executable, "-m"):  # an image of Dewfall's own
        return words
    if words[0] in PROGRAMS:
        return (*PROGRAMS[words[0]], *words[1:])
    if not PYTHON.fullmatch(words[0].rpartition("/")[2]):
        return (*PRIVATE_SHELL, *words)
    if len(words) > 1 and words[1].endswith(".py"):
        return (*IN_PROCESS, *words[1:])
    return (*PRIVATE_SHELL, "python3", *words[1:])  # wherever an image of AWS's has its interpreter


def config_files(document: dict[str, Any]) -> dict[str, str]:
    """/opt/ml/config as the platform writes it, but for resourceconfig.json, which every host has of its own (job_hosts.py)."""
    job = {member: document[member] for member in CONFIG_MEMBERS if member in document}
    return {f"{CONFIG}/processingjobconfig.json": json.dumps(job)}


def s3_outputs(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Outputs that the platform uploads: name, local folder, S3Output. The application itself looks after those that it manages."""
    outputs = document.get("ProcessingOutputConfig", {}).get("Outputs", ())
    return [(one["OutputName"], one["S3Output"]["LocalPath"].rstrip("/"), one["S3Output"]) for one in outputs if not one.get("AppManaged")]


def log_target(ctx: Ctx, document: dict[str, Any], host: str = "algo-1") -> Target:
    """The log stream of one of the job's hosts, named as AWS names it, and the record of how far it has been written."""
    name = document["ProcessingJobName"]
    stream = f"{name}/{host}-{int(document['CreationTime'].timestamp())}"
    return Target(GROUP, stream, Key(ctx.account, ctx.region, "sagemaker", "processing-progress", name))


def _channels(ctx: Ctx, document: dict[str, Any]) -> tuple[Channel, ...]:
    """Every input with all its files. One in Pipe mode is a FIFO per reading: <LocalPath>_0, <LocalPath>_1, …"""
    channels = []
    for given in document.get("ProcessingInputs", ()):
        if given.get("AppManaged"):
            continue
        source = given["S3Input"]
        files = _files(ctx, source, document["RoleArn"])
        mode, compression = source.get("S3InputMode", "File"), source.get("S3CompressionType", "None")
        channels.append(Channel(given["InputName"], source["LocalPath"].rstrip("/"), mode, files, compression))
    return tuple(channels)


def _files(ctx: Ctx, source: dict[str, Any], role: str) -> tuple[FileLink, ...]:
    try:
        return stored_files(ctx, source["S3DataType"], source["S3Uri"], role)
    except NothingFound:
        raise InputError(NOTHING_FOUND.format(uri=source["S3Uri"])) from None
    except InputError as error:
        raise InputError(download_reason(str(error))) from None


def _notes(document: dict[str, Any]) -> tuple[str, ...]:
    network = document.get("NetworkConfig", {})
    if network.get("EnableNetworkIsolation") or network.get("VpcConfig"):
        return ("Network isolation and VPC settings are recorded, but this job's network is the machine's.",)
    return ()
