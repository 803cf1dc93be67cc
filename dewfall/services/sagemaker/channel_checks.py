"""What CreateTrainingJob refuses about InputDataConfig, before anything is recorded.

Why here and not in the step: a wrong request must be answered with an error, not with a job that fails later.
"""

from __future__ import annotations

import re
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError, not_built, validation
from dewfall.services.sagemaker.file_systems import folder_of_all
from dewfall.services.sagemaker.input_sources import nothing_found
from dewfall.services.sagemaker.models import s3_uri
from dewfall.services.sagemaker.training_inputs import input_mode

S3_URI = re.compile(r"^s3://[^/]+(/.*)?$")


def check_channels(ctx: Ctx, req: dict[str, Any]) -> None:
    """Raise the AwsError that AWS answers to wrong channels."""
    channels = req.get("InputDataConfig", ())
    names = [channel["ChannelName"] for channel in channels]
    if len(set(names)) != len(names):
        raise validation("Channel names must be unique.")
    for channel in channels:
        given = channel["DataSource"]
        if len([source for source in ("S3DataSource", "FileSystemDataSource") if given.get(source)]) != 1:
            raise validation(f"Exactly one of S3DataSource or FileSystemDataSource must be specified for channel {channel['ChannelName']}.")
        if given.get("S3DataSource"):
            _check_s3(ctx, req, channel, given["S3DataSource"])
        else:
            _check_file_system(ctx, req, channel, given["FileSystemDataSource"])


def _check_s3(ctx: Ctx, req: dict[str, Any], channel: dict[str, Any], source: dict[str, Any]) -> None:
    name, kind, mode = channel["ChannelName"], source["S3DataType"], input_mode(req, channel)
    if kind not in ("S3Prefix", "ManifestFile", "AugmentedManifestFile"):
        raise not_built(f"training channels of type {kind}")
    if kind == "AugmentedManifestFile" and mode != "Pipe":
        raise validation(f"S3DataType AugmentedManifestFile of channel {name} can only be used if the channel's input mode is Pipe.")
    if kind == "AugmentedManifestFile" and not source.get("AttributeNames"):
        raise validation(f"AttributeNames must be specified for channel {name} because its S3DataType is AugmentedManifestFile.")
    if kind != "AugmentedManifestFile" and source.get("AttributeNames"):
        raise validation(f"AttributeNames of channel {name} can only be specified if its S3DataType is AugmentedManifestFile.")
    uri = s3_uri(source["S3Uri"])
    if not S3_URI.match(uri):
        raise validation(f"The S3 URI '{uri}' of channel {name} is not valid.")
    groups = {group["InstanceGroupName"] for group in req["ResourceConfig"].get("InstanceGroups", ())}
    unknown = ", ".join(sorted(set(source.get("InstanceGroupNames", ())) - groups))
    if unknown:
        raise validation(f"Channel {name} names instance groups that ResourceConfig does not have: {unknown}.")
    _check_objects(ctx, uri, req["RoleArn"])


def _check_file_system(ctx: Ctx, req: dict[str, Any], channel: dict[str, Any], source: dict[str, Any]) -> None:
    name = channel["ChannelName"]
    if input_mode(req, channel) != "File":
        raise validation(f"Channel {name} reads a file system, so its input mode must be File.")
    if not (folder_of_all(ctx) / source["FileSystemId"]).is_dir():
        raise validation(f"File system {source['FileSystemId']} does not exist: Dewfall looks for it as a folder in {folder_of_all(ctx)}.")


def _check_objects(ctx: Ctx, uri: str, role: str) -> None:
    try:
        if next(iter(ctx.ports.objects.list(uri)), None) is not None:
            return
        why = ""
    except AwsError as error:
        why = f" Error message from S3: {error.message}"
    raise validation(nothing_found(ctx.region, uri, role) + why)
