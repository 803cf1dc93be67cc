"""From a training job's record to the AgentSpec that runs it: image, command, environment, inputs, limits, outputs.

Why one function of its own: a spec is made again after a crash before the start, and must come out the same.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from dewfall.context import Ctx
from dewfall.engine.ports import AgentSpec, Channel, FileLink, Output
from dewfall.rules.lifecycle import trained_seconds
from dewfall.services.identity import job_environment
from dewfall.services.sagemaker.checkpoints import checkpoint_channel
from dewfall.services.sagemaker.sdk_defaults import defaults_file, defaults_variable
from dewfall.services.sagemaker.training_inputs import CONFIG, config_files, resolve_channels
from dewfall.services.sagemaker.warm_pools import CACHE, VARIABLE, cache_channel

if TYPE_CHECKING:
    from dewfall.engine.runtimes import Runtime

MODEL, DATA = "model", "output"
SOURCE_FOLDER = "/opt/ml/input/source"
SOURCE_FILE = "sourcedir.tar.gz"
SHELLS = ("sh", "bash")
PRIVATE_SHELL = (sys.executable, "-m", "dewfall.images.command")
GRACE = 120.0  # seconds that AWS leaves between SIGTERM and SIGKILL


def training_spec(ctx: Ctx, document: dict[str, Any], agent: str) -> AgentSpec:
    """The spec of attempt `agent` on its first host; training_crew.py makes those of all.

    Raises InputError when an input cannot be delivered, AwsError when no runtime fits.
    """
    from dewfall.engine.runtimes import find_runtime

    runtime = find_runtime(document["AlgorithmSpecification"]["TrainingImage"], ctx.ports.settings)
    source = source_archive(ctx, document)
    return AgentSpec(
        id=agent,
        kind="job",
        command=with_own_packages(training_command(document["AlgorithmSpecification"], runtime.train_command)),
        environment=_environment(ctx, document, runtime, bool(source)),
        files=config_files(document) | defaults_file(ctx, CONFIG),
        channels=(*resolve_channels(ctx, document), *checkpoint_channel(ctx, document), *cache_channel(ctx, document), *source),
        outputs=outputs(document),
        preload=runtime.preload,
        max_runtime=_time_left(ctx, document),
        grace=GRACE,
        notes=(*runtime.notes, *_notes(document)),
    )


def training_command(algorithm: dict[str, Any], command: tuple[str, ...]) -> tuple[str, ...]:
    """What `docker run image …` would run: the image's entry point with `train`, unless the request says otherwise."""
    entrypoint, arguments = algorithm.get("ContainerEntrypoint"), algorithm.get("ContainerArguments")
    if entrypoint:
        return (*entrypoint, *(arguments or ()))
    if arguments:
        return (*(command[:-1] if command[-1] == "train" else command), *arguments)
    return command


def with_own_packages(command: tuple[str, ...]) -> tuple[str, ...]:
    """A shell command gets a `python` and `pip` of the job's own, so that what it installs never reaches Dewfall's environment."""
    return (*PRIVATE_SHELL, *command) if command[0].rpartition("/")[2] in SHELLS else command


def outputs(document: dict[str, Any]) -> tuple[Output, ...]:
    """What is collected at the end. An empty model folder gives no model, as on AWS."""
    form = "files" if document["OutputDataConfig"].get("CompressionType") == "NONE" else "tar.gz"
    return (Output(MODEL, "/opt/ml/model", form), Output(DATA, "/opt/ml/output/data", form))


def source_archive(ctx: Ctx, document: dict[str, Any]) -> tuple[Channel, ...]:
    """The source tarball of script mode as a file beside the channels, to spare the toolkit its download."""
    uri = _text(document.get("HyperParameters", {}).get("sagemaker_submit_directory", ""))
    found = ctx.ports.objects.get(uri) if uri.startswith("s3://") and not uri.endswith("/") else None
    if found is None:
        return ()
    return (Channel("source", SOURCE_FOLDER, "FastFile", (FileLink(SOURCE_FILE, str(found.path), found.size),)),)


def host_memory() -> int:
    """This machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _environment(ctx: Ctx, document: dict[str, Any], runtime: Runtime, has_source: bool) -> dict[str, str]:
    name = document["TrainingJobName"]
    platform = {
        "TRAINING_JOB_NAME": name,
        "TRAINING_JOB_ARN": document["TrainingJobArn"],
        "AWS_REGION": ctx.region,
        "CURRENT_HOST": "algo-1",
        "DEWFALL_IMAGE": document["AlgorithmSpecification"]["TrainingImage"],
    }
    if "WarmPool" in document:
        platform[VARIABLE] = CACHE
    if has_source:
        platform["DEWFALL_SUBMIT_ARCHIVE"] = f"{SOURCE_FOLDER}/{SOURCE_FILE}"
    credentials = job_environment(ctx, document["RoleArn"], "SageMaker")
    return {**runtime.environment, **credentials, **defaults_variable(CONFIG), **document.get("Environment", {}), **platform}


def _time_left(ctx: Ctx, document: dict[str, Any]) -> float:
    """MaxRuntimeInSeconds holds for all attempts together."""
    used = trained_seconds(document["SecondaryStatusTransitions"], ctx.now())
    return max(1.0, float(document["StoppingCondition"]["MaxRuntimeInSeconds"]) - used)


def _notes(document: dict[str, Any]) -> tuple[str, ...]:
    notes = []
    if document["EnableNetworkIsolation"] or document.get("VpcConfig"):
        notes.append("Network isolation and VPC settings are recorded, but this job's network is the machine's.")
    return tuple(notes)


def _text(value: str) -> str:
    """A hyperparameter's text, whether JSON-encoded (SDK v2) or plain (SDK v3)."""
    try:
        decoded = json.loads(value)
    except ValueError:
        return value
    return decoded if isinstance(decoded, str) else value
