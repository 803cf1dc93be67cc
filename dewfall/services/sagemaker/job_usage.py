"""What the instances of running jobs use of their processors, memory and disk, in CloudWatch: AWS's metrics per host, measured on the process trees.

/aws/sagemaker/TrainingJobs, ProcessingJobs, TransformJobs     CPUUtilization (100 per processor), MemoryUtilization, DiskUtilization
dimension Host: <job>/algo-1, of a transform job <job>/<instance id>
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.crew import host_of
from dewfall.engine.ports import Key, Usage
from dewfall.engine.series import Point
from dewfall.rules.instances import bound, find_instance
from dewfall.services.sagemaker.job_hosts import hosts_of
from dewfall.services.sagemaker.training_spec import host_memory
from dewfall.services.sagemaker.transform_logs import stream_name

NAMESPACES = {
    "training-job": "/aws/sagemaker/TrainingJobs",
    "processing-job": "/aws/sagemaker/ProcessingJobs",
    "transform-job": "/aws/sagemaker/TransformJobs",
}
DRIVER = "driver"  # the part of a transform job that is no container


@dataclass(frozen=True, slots=True)
class Running:
    """An agent of a job: the job's record, the host it plays, and what that host's instance type is."""

    agent: str
    key: Key
    document: dict[str, Any]
    host: str
    instance_type: str


def tick(ctx: Ctx) -> None:
    """Measure every job that runs."""
    disk = shutil.disk_usage(ctx.ports.settings.data)
    used: dict[tuple[str, str, str, str], tuple[Running, list[Usage]]] = {}
    for job in running(ctx):
        usage = ctx.ports.compute.usage(job.agent)
        if usage is not None:
            used.setdefault((job.key.account, job.key.region, job.key.kind, job.host), (job, []))[1].append(usage)
    for (account, region, kind, host), (job, usages) in used.items():
        values = {
            "CPUUtilization": 100 * sum(one.processors for one in usages),
            "MemoryUtilization": 100 * sum(one.memory_bytes for one in usages) / memory_of(job.instance_type),
            "DiskUtilization": 100 * disk.used / disk.total,
        }
        points = [Point(name, {"Host": host}, int(ctx.now().timestamp()), "Percent", 1.0, value, value, value) for name, value in values.items()]
        ctx.ports.series.append_points(account, region, NAMESPACES[kind], points)


def running(ctx: Ctx) -> Iterator[Running]:
    """The agents of jobs that have not ended."""
    agents = [agent for agent in ctx.ports.compute.agents() if agent.partition(".")[0] in NAMESPACES]
    for agent in agents:
        kind, account, region, name, part = agent.split(".", 4)
        key = Key(account, region, "sagemaker", kind, name)
        with ctx.ports.store.reading() as tx:
            record = tx.records.get(key)
        if record is not None and record.status in ("InProgress", "Stopping") and part != DRIVER:
            yield Running(agent, key, record.document, *_host(record.document, kind, agent, part))


def memory_of(instance_type: str) -> int:
    """Bytes that an instance has here."""
    _, memory = bound(find_instance(instance_type), os.cpu_count() or 1, host_memory())
    return memory or host_memory()


def of_job(ctx: Ctx, key: Key) -> Ctx:
    """The job's account and region."""
    return replace(ctx, account=key.account, region=key.region)


def _host(document: dict[str, Any], kind: str, agent: str, part: str) -> tuple[str, str]:
    """(value of the dimension Host, instance type)."""
    if kind == "transform-job":
        stream = stream_name(document, int(part.partition("-")[0])).rpartition("-")[0]
        return stream, document["TransformResources"]["InstanceType"]
    is_training = kind == "training-job"
    resources = document["ResourceConfig"] if is_training else document["ProcessingResources"]["ClusterConfig"]
    name = document["TrainingJobName" if is_training else "ProcessingJobName"]
    kinds = {host.name: host.instance_type for host in hosts_of(resources, name)}
    return f"{name}/{host_of(agent)}", kinds.get(host_of(agent), "")
