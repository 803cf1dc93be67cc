"""ProfilerConfig's system metrics: what each host of a running job uses, a line per value, in the files that AWS's profiler leaves in S3.

    S3OutputPath/<job>/profiler-output/system/incremental/<YYYYMMDDHH>/<full minute>.algo-1.json
    {"Type": "cpu", "Name": "cpu0", "Dimension": "CPUUtilization", "Value": 50.0, "Timestamp": 1795659720.1, "NodeId": "algo-1"}

smdebug's readers know memory by the name MemoryUsedPercent and the network by the dimension Algorithm.

Why files beside the agent first: objects do not grow, so live_outputs.py stores a minute's file anew as it does.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.crew import host_of
from dewfall.engine.ports import Usage
from dewfall.rules.instances import bound, find_instance
from dewfall.services.sagemaker.job_usage import Running, memory_of, running
from dewfall.services.sagemaker.live_outputs import profile_folder
from dewfall.services.sagemaker.training_spec import host_memory
from dewfall.services.sagemaker.training_status import profiling_status

LAST = "last.json"  # the counters of the sample before, and when it was taken
INTERVAL = 500  # AWS's default, in milliseconds; a sample is taken once a second at most
RATES = {
    "read_bytes": ("disk", "disk0", "ReadBytesPerSecond"),
    "written_bytes": ("disk", "disk0", "WriteBytesPerSecond"),
    "received_bytes": ("network", "ReceiveBytesPerSecond", "Algorithm"),
    "sent_bytes": ("network", "TransmitBytesPerSecond", "Algorithm"),
}


def tick(ctx: Ctx) -> None:
    """A sample of every host whose job wants them."""
    now = ctx.now().timestamp()
    for job in running(ctx):
        if job.key.kind != "training-job" or profiling_status(job.document) != "Enabled":
            continue
        folder = profile_folder(ctx, job.agent)
        before = _read(folder / LAST)
        interval = job.document["ProfilerConfig"].get("ProfilingIntervalInMilliseconds", INTERVAL) / 1000
        usage = ctx.ports.compute.usage(job.agent) if now - before.get("at", 0.0) >= interval - 0.05 else None
        if usage is not None:
            _write(folder, now, job, usage, before)


def lines_of(now: float, job: Running, usage: Usage, before: dict[str, float]) -> list[dict[str, Any]]:
    """One sample as AWS writes it. The tree's processor time is spread evenly over the instance's processors."""
    cpus, _ = bound(find_instance(job.instance_type), os.cpu_count() or 1, host_memory())
    count = max(1, int(cpus))
    found = [("cpu", f"cpu{number}", "CPUUtilization", min(100.0, 100 * usage.processors / count)) for number in range(count)]
    found.append(("memory", "MemoryUsedPercent", "MemoryUsedPercent", 100 * usage.memory_bytes / memory_of(job.instance_type)))
    if before:
        seconds = max(0.001, now - before["at"])
        found += [(*names, max(0.0, getattr(usage, member) - before[member]) / seconds) for member, names in RATES.items()]
    node = host_of(job.agent)
    return [{"Type": kind, "Name": name, "Dimension": what, "Value": value, "Timestamp": now, "NodeId": node} for kind, name, what, value in found]


def _write(folder: Path, now: float, job: Running, usage: Usage, before: dict[str, float]) -> None:
    minute = int(now // 60 * 60)
    file = folder / "system" / "incremental" / time.strftime("%Y%m%d%H", time.gmtime(minute)) / f"{minute}.{host_of(job.agent)}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines_of(now, job, usage, before))
    (folder / LAST).write_text(json.dumps({"at": now, **{member: getattr(usage, member) for member in RATES}}))


def _read(file: Path) -> dict[str, float]:
    try:
        found: dict[str, float] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found
