"""Checkpoints of training jobs: what a job writes at CheckpointConfig's LocalPath is stored below its S3Uri, and is there at the next start.

Why by the server and not by the agent: the files must get out also when the agent was killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Channel
from dewfall.errors import AwsError
from dewfall.services.sagemaker.input_sources import FAILED, InputError, prefix_links
from dewfall.services.sagemaker.job_outputs import put_changed

FOLDER = "/opt/ml/checkpoints"
REST = 1.0  # seconds since its last change until a file counts as written


def local_path(document: dict[str, Any]) -> str:
    """Where the job finds and leaves its checkpoints."""
    return (document["CheckpointConfig"].get("LocalPath") or FOLDER).rstrip("/")


def stored_prefix(document: dict[str, Any]) -> str:
    """Where they are stored, with its last slash."""
    return str(document["CheckpointConfig"]["S3Uri"]).rstrip("/") + "/"


def checkpoint_channel(ctx: Ctx, document: dict[str, Any]) -> tuple[Channel, ...]:
    """What is stored already, as files at the LocalPath."""
    if not document.get("CheckpointConfig"):
        return ()
    prefix = stored_prefix(document)
    try:
        files = tuple(prefix_links(ctx, prefix))
    except AwsError as error:
        raise InputError(f"{FAILED}{error.message}") from None
    return (Channel("checkpoints", local_path(document), "File", files),)


def save_checkpoints(ctx: Ctx, document: dict[str, Any], agents: Sequence[str], *, at_end: bool = False) -> None:
    """Store what has changed; at the end also what has been written just now. Raises AwsError when the bucket is gone."""
    if not document.get("CheckpointConfig"):
        return
    for agent in agents:
        folder = ctx.ports.compute.written(agent, local_path(document))
        put_changed(ctx, stored_prefix(document), folder, rested=0.0 if at_end else REST, began=document["CreationTime"])
