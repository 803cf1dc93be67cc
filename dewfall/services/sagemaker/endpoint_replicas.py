"""From a variant to its replicas: the spec of a new one, and which agents there are of which fleet.

Why the roster is read off Compute and kept nowhere else: agents outlive the server, so they are the truth about themselves.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.objects import StoredObject
from dewfall.engine.ports import AgentSpec, AgentStatus, Archive, Channel, FileLink, Task
from dewfall.engine.serving.table import Replica
from dewfall.engine.worker import Again
from dewfall.errors import AwsError, validation
from dewfall.rules.instances import bound
from dewfall.services.identity import job_environment
from dewfall.services.sagemaker.endpoint_logs import agent_id
from dewfall.services.sagemaker.endpoint_variants import instance_of
from dewfall.services.sagemaker.explainers import with_explainer
from dewfall.services.sagemaker.training_spec import SOURCE_FILE, SOURCE_FOLDER, host_memory

MODEL = "/opt/ml/model"
GRACE = 30.0
END_SECONDS = 5.0  # from the request to end until what is left is killed, where everything goes
LOOK_ENDING = 0.5
OVER = ("Exited", "Lost")
PART = "+"  # between a replica's name and the place of a further container


@dataclass(frozen=True, slots=True)
class Member:
    """A replica of this endpoint: whose it is, and the last word of its agent, or of the one that matters most where its model has
    several containers, each with an agent."""

    id: str
    variant: str
    fleet: str
    number: int
    status: AgentStatus
    others: tuple[AgentStatus, ...] = ()  # of the further containers, in their order
    folders: tuple[str, ...] = ("",)  # of its agents

    @property
    def agents(self) -> tuple[str, ...]:
        """Its agents, the first container's first."""
        return (self.id, *(other.id for other in self.others))

    @property
    def is_over(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.status.state in OVER

    @property
    def is_ready(self) -> bool:
        """Whether it has answered a ping."""
        return not self.is_over and all(part.address for part in (self.status, *self.others))

    @property
    def began(self) -> float:
        """When it began, in seconds since the epoch; 0 when it has not said."""
        return self.status.phases[0][1] if self.status.phases else 0.0


def find_members(ctx: Ctx, endpoint: str, kind: str = "endpoint") -> list[Member]:
    """Every replica of an endpoint, or copy of an inference component, by number."""
    prefix = f"{kind}.{ctx.account}.{ctx.region}.{endpoint}."
    found: dict[str, dict[int, AgentStatus]] = {}
    for agent in ctx.ports.compute.agents():
        if agent.startswith(prefix):
            status = ctx.ports.compute.status(agent)
            first, _, place = agent.partition(PART)
            if status is not None and first.rpartition("-")[2].isdigit():
                found.setdefault(first, {})[int(place or 1)] = status
    members = [_member(ctx, agent, prefix, parts) for agent, parts in found.items()]
    return sorted(members, key=lambda member: member.number)


def _member(ctx: Ctx, agent: str, prefix: str, parts: dict[int, AgentStatus]) -> Member:
    """A replica from its agents by place. The first one is started last: without it, the others are left over from a crash."""
    variant, _, rest = agent[len(prefix) :].rpartition(".")
    fleet, _, number = rest.rpartition("-")
    first = parts.pop(1, None) or AgentStatus(agent, "Lost")
    others = tuple(parts[place] for place in sorted(parts))
    worst = next((status for status in (first, *others) if status.state in OVER), first)
    folders = tuple(str(ctx.ports.compute.log_file(part.id).parent) for part in (first, *others))
    return Member(agent, variant, fleet, int(number), worst, others, folders)


def as_replica(member: Member) -> Replica:
    """A member that is ready, as the router knows it."""
    first, *rest = member.folders
    others = tuple(Replica(other.id, other.address, folder=folder) for other, folder in zip(member.others, rest, strict=True))
    return Replica(member.id, member.status.address, others, first)


def discard(ctx: Ctx, member: Member) -> None:
    """Kill what is left of a replica and remove its folders."""
    for agent in reversed(member.agents):
        ctx.ports.compute.discard(agent)


def stop(ctx: Ctx, member: Member) -> None:
    """Ask a replica to end."""
    for agent in member.agents:
        ctx.ports.compute.stop(agent)


def ask_to_end(ctx: Ctx, task: Task, members: list[Member]) -> Again | None:
    """Where a whole endpoint or component goes: ask its replicas to end, and look again; None when all have, or had their time.

    What they print last belongs to the log.
    """
    now = ctx.now().timestamp()
    since = float(task.payload.get("ending", now))
    if now - since >= END_SECONDS or all(member.is_over for member in members):
        return None
    for member in members:
        stop(ctx, member)
    return Again(LOOK_ENDING, {"ending": since})


def start(ctx: Ctx, endpoint: str, fleet: str, variant: dict[str, Any], number: int) -> None:
    """Start a variant's replica: an agent per container of its model, the first one last. Raises AwsError, before any is started."""
    containers = variant.get("Containers") or [variant["Container"]]
    specs = []
    for place, container in enumerate(containers, 1):
        spec = replica_spec(ctx, endpoint, fleet, {**variant, "Container": container}, number)
        specs.append(spec if place == 1 else dataclasses.replace(spec, id=f"{spec.id}{PART}{place}"))
    for spec in reversed(specs):
        ctx.ports.compute.start(spec)


def replica_spec(ctx: Ctx, endpoint: str, fleet: str, variant: dict[str, Any], number: int) -> AgentSpec:
    """The spec of a variant's replica. Raises AwsError where its model data or runtime is missing."""
    from dewfall.engine.runtimes import find_runtime

    container = variant["Container"]
    runtime = find_runtime(container["Image"], ctx.ports.settings)
    is_multi = container["Mode"] == "MultiModel"
    archives, channels = ((), ()) if is_multi else _model_data(ctx, container, variant)
    source = _source_archive(ctx, container["Environment"])
    cpus, memory = bound(instance_of(variant), os.cpu_count() or 1, host_memory())
    credentials = job_environment(ctx, variant["Role"], "SageMaker")
    platform = {
        "DEWFALL_IMAGE": container["Image"],
        "SAGEMAKER_REGION": ctx.region,
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
        "SAGEMAKER_MULTI_MODEL": str(is_multi).lower(),
        **container["Environment"],
    }
    if source:
        platform["DEWFALL_SUBMIT_ARCHIVE"] = f"{SOURCE_FOLDER}/{SOURCE_FILE}"
    spec = AgentSpec(
        id=agent_id(ctx, endpoint, variant["VariantName"], fleet, number),
        kind="replica",
        command=runtime.serve_command,
        environment={**runtime.environment, **credentials, **platform},
        host="model",
        hosts=("model",),
        archives=archives,
        channels=(*channels, *source),
        port=runtime.port,
        shelf=is_multi,
        preload=runtime.preload,
        memory_bytes=memory,
        cpus=cpus,
        grace=GRACE,
        notes=runtime.notes,
    )
    return with_explainer(ctx, spec, variant["Explainer"]) if "Explainer" in variant else spec


def _model_data(ctx: Ctx, container: dict[str, Any], variant: dict[str, Any]) -> tuple[tuple[Archive, ...], tuple[Channel, ...]]:
    """The model's data as an archive to unpack, or as files to lay out."""
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if source is None:
        return (), ()
    found = _stored(ctx, source)
    if not found:
        raise _missing(container, variant, source["S3Uri"])
    if source["CompressionType"] == "Gzip":
        return (Archive(str(found[0].path), MODEL),), ()
    start = len(source["S3Uri"].removeprefix("s3://").partition("/")[2]) if source["S3DataType"] == "S3Prefix" else found[0].key.rfind("/") + 1
    return (), (Channel("model", MODEL, "File", tuple(FileLink(stored.key[start:].lstrip("/"), str(stored.path), stored.size) for stored in found)),)


def _stored(ctx: Ctx, source: dict[str, Any]) -> list[StoredObject]:
    """The objects that a model's data consists of; none where they cannot be read."""
    try:
        if source["S3DataType"] == "S3Prefix":
            return [stored for stored in ctx.ports.objects.list(source["S3Uri"]) if not stored.key.endswith("/")]
        one = ctx.ports.objects.get(source["S3Uri"])
    except AwsError:
        return []
    return [one] if one else []


def _source_archive(ctx: Ctx, environment: dict[str, str]) -> tuple[Channel, ...]:
    """The source tarball of a script-mode model as a file beside the model, to spare the toolkit its download."""
    uri = environment.get("SAGEMAKER_SUBMIT_DIRECTORY", "").strip('"')
    found = _stored(ctx, {"S3DataType": "S3Object", "S3Uri": uri}) if uri.startswith("s3://") and not uri.endswith("/") else []
    return tuple(Channel("source", SOURCE_FOLDER, "FastFile", (FileLink(SOURCE_FILE, str(one.path), one.size),)) for one in found)


def _missing(container: dict[str, Any], variant: dict[str, Any], uri: str) -> AwsError:
    name = container.get("ContainerHostname") or "container_1"
    return validation(
        f'Failed to download model data for container "{name}" from URL: "{uri}". Please ensure that there is an object located at the URL and '
        f"that the role passed to CreateModel has permissions to download the object. (production variant {variant['VariantName']})"
    )


def unreadable(variant: dict[str, Any], status: AgentStatus) -> str:
    """What AWS says where a container did not start because its model data is no archive; empty where that was not why."""
    if status.reason != "InputError":
        return ""
    for container in variant.get("Containers") or [variant["Container"]]:
        uri = container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri", "")
        name, _, problem = status.message.partition(" cannot be unpacked: ")
        if uri and problem and name.endswith(" " + uri.rpartition("/")[2]):
            return (
                f'Failed to extract model data archive for container "{container.get("ContainerHostname") or "container_1"}" from URL "{uri}". '
                "Please ensure that the object located at the URL is a valid tar.gz archive. "
                f"({problem}, production variant {variant['VariantName']})"
            )
    return ""
