"""A training job's inputs: which stored objects appear as which files of which channel, and the config files beside them.

Why resolved before the start: the agent never talks to the server, it only links or copies files.
"""

from __future__ import annotations

import json
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Channel
from dewfall.services.sagemaker.checkpoints import FOLDER
from dewfall.services.sagemaker.file_systems import file_system_folder
from dewfall.services.sagemaker.input_sources import augmented_files, stored_files
from dewfall.services.sagemaker.live_outputs import watching_files
from dewfall.services.sagemaker.models import s3_uri

CONFIG = "/opt/ml/input/config"
DATA = "/opt/ml/input/data"


def resolve_channels(ctx: Ctx, document: dict[str, Any]) -> tuple[Channel, ...]:
    """Every channel with all its files; job_hosts.py shares them out. Raises InputError."""
    return tuple(_channel(ctx, document, channel) for channel in document.get("InputDataConfig", ()))


def input_mode(document: dict[str, Any], channel: dict[str, Any]) -> str:
    """How a channel is delivered: as it says itself, else as the algorithm says."""
    mode: str = channel.get("InputMode") or document["AlgorithmSpecification"]["TrainingInputMode"]
    return mode


def config_files(document: dict[str, Any]) -> dict[str, str]:
    """/opt/ml/input/config as the platform writes it, but for resourceconfig.json, which every host has of its own (job_hosts.py)."""
    algorithm = document["AlgorithmSpecification"]
    files = {
        "hyperparameters.json": document.get("HyperParameters", {}),
        "inputdataconfig.json": {c["ChannelName"]: _channel_config(c, document) for c in document.get("InputDataConfig", ())},
        "metric-definition-regex.json": algorithm.get("MetricDefinitions", []),
        "trainingjobconfig.json": {
            "TrainingJobName": document["TrainingJobName"],
            "TrainingJobArn": document["TrainingJobArn"],
            "RoleArn": document["RoleArn"],
            "StoppingCondition": document["StoppingCondition"],
            "OutputDataConfig": document["OutputDataConfig"],
        },
    }
    if document.get("CheckpointConfig"):
        files["checkpointconfig.json"] = {"LocalPath": document["CheckpointConfig"].get("LocalPath") or FOLDER}
    return {f"{CONFIG}/{name}": json.dumps(content) for name, content in (files | watching_files(document)).items()}


def _channel(ctx: Ctx, document: dict[str, Any], channel: dict[str, Any]) -> Channel:
    name = channel["ChannelName"]
    target = f"{DATA}/{name}"
    if "FileSystemDataSource" in channel["DataSource"]:
        folder, writable = file_system_folder(ctx, channel["DataSource"]["FileSystemDataSource"])
        return Channel(name, target, "Folder", (), folder=folder, writable=writable)
    source = channel["DataSource"]["S3DataSource"]
    source = source | {"S3Uri": s3_uri(source["S3Uri"])}
    augmented = source["S3DataType"] == "AugmentedManifestFile"
    files = augmented_files(ctx, source) if augmented else stored_files(ctx, source["S3DataType"], source["S3Uri"], document["RoleArn"])
    mode, compression = input_mode(document, channel), channel.get("CompressionType", "None")
    if mode != "Pipe":
        return Channel(name, target, mode, files, compression)
    return Channel(
        name,
        target,
        mode,
        files,
        compression,
        wrapper=channel.get("RecordWrapperType", "None"),
        width=len(source["AttributeNames"]) if augmented else 1,
        seed=channel.get("ShuffleConfig", {}).get("Seed"),
    )


def _channel_config(channel: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    config = {
        "TrainingInputMode": input_mode(document, channel),
        "S3DistributionType": channel["DataSource"].get("S3DataSource", {}).get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    return {"ContentType": channel["ContentType"], **config} if channel.get("ContentType") else config
