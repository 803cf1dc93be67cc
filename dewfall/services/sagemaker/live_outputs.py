"""What a training job shows while it runs: Debugger's tensors, TensorBoard's events and the profiler's samples, stored in S3 as they come.

DebugHookConfig          LocalPath, else /opt/ml/output/tensors       →  S3OutputPath/<job>/debug-output/
TensorBoardOutputConfig  LocalPath, else /opt/ml/output/tensorboard   →  S3OutputPath/<job>/tensorboard-output/
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.services.sagemaker.job_outputs import put_changed

log = logging.getLogger(__name__)

# Member of the request → (its config file, folder in the container, folder in S3).
OUTPUTS = {
    "DebugHookConfig": ("debughookconfig.json", "/opt/ml/output/tensors", "debug-output"),
    "TensorBoardOutputConfig": ("tensorboardoutputconfig.json", "/opt/ml/output/tensorboard", "tensorboard-output"),
}
REST = 1.0  # seconds since its last change until a file counts as written
TRACES = "/opt/ml/output/profiler/framework"  # where a framework leaves its traces
SYSTEM, FRAMEWORK = "system", "framework"  # folders of the profiler's samples and of the traces
RECENT = 60.0  # seconds in which a running job's files are looked at; the end looks at all of them


def watching_files(document: dict[str, Any]) -> dict[str, Any]:
    """The config files that tell the container of them."""
    found = {}
    for member, (file, local, _) in OUTPUTS.items():
        if document.get(member):
            found[file] = {**document[member], "LocalPath": document[member].get("LocalPath") or local}
    if document.get("ProfilerConfig"):
        found["profilerconfig.json"] = document["ProfilerConfig"]
    return found


def live_prefix(document: dict[str, Any], member: str) -> str:
    """Where S3 has them, with the last slash; "" when the job has none."""
    base = (document.get(member) or {}).get("S3OutputPath", "").rstrip("/")
    return f"{base}/{document['TrainingJobName']}/{OUTPUTS[member][2]}/" if base else ""


def profile_prefix(document: dict[str, Any]) -> str:
    """Where S3 has the profile, with the last slash; "" when the job has none, or no more."""
    config = document.get("ProfilerConfig") or {}
    base = config.get("S3OutputPath", "").rstrip("/")
    return f"{base}/{document['TrainingJobName']}/profiler-output/" if base else ""


def save_live_outputs(ctx: Ctx, document: dict[str, Any], agents: Sequence[str], *, at_end: bool = False) -> None:
    """Store what has been written since. A bucket that is gone costs the job nothing."""
    since, rested = (0.0, 0.0) if at_end else (ctx.now().timestamp() - RECENT, REST)
    try:
        for target, local, grows in _places(document):
            for agent in agents:
                folder = ctx.ports.compute.written(agent, local) if local else profile_folder(ctx, agent) / SYSTEM
                put_changed(ctx, target, folder, rested=rested, began=document["CreationTime"] if grows else None, since=since)
    except AwsError as error:
        log.warning("live outputs cannot be stored job=%s problem=%s", document["TrainingJobName"], error.message)


def profile_folder(ctx: Ctx, agent: str) -> Path:
    """Where profiles.py keeps an agent's samples, beside what the job itself writes."""
    return ctx.ports.compute.log_file(agent).with_name("profile")


def _places(document: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """(prefix in S3, folder in the container, "" for the profile, whether its files grow).

    Tensors' files do not: they are stored once they rest, in the order of their writing, so that an index never comes before what it tells of.
    """
    for member, (_, local, _) in OUTPUTS.items():
        target = live_prefix(document, member)
        if target:
            yield target, (document[member].get("LocalPath") or local).rstrip("/"), member != "DebugHookConfig"
    profile = profile_prefix(document)
    if profile:
        yield f"{profile}{SYSTEM}/", "", True
        yield f"{profile}{FRAMEWORK}/", TRACES, True
