"""The instances of a job: their names, types, addresses and shares of the inputs, as AWS gives them to the containers.

One place for training and processing jobs, because user code reads resourceconfig.json the same way in both.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dewfall.engine.ports import AgentSpec, Channel
from dewfall.rules.instances import bound, find_instance, launched

NETWORK_INTERFACE = "lo"
ALONE = "homogeneousCluster"
SHARDED = "ShardedByS3Key"
# Loopback addresses from which jobs draw theirs: 127.64.0.0 to 127.255.255.255, beyond what people and distributions use.
FIRST_ADDRESS, ADDRESSES = (127 << 24) + (64 << 16), 192 << 16


@dataclass(frozen=True, slots=True)
class Host:
    """One instance of a job."""

    name: str  # algo-1
    group: str
    instance_type: str
    address: str


def hosts_of(resources: dict[str, Any], seed: str) -> tuple[Host, ...]:
    """The hosts of a ResourceConfig or ClusterConfig; `seed` is something that no other job has."""
    groups = [(g["InstanceGroupName"], g["InstanceType"], int(g["InstanceCount"])) for g in resources.get("InstanceGroups", ())]
    kind, count = launched(resources)
    groups = groups or [(ALONE, kind, count or 1)]
    kinds = [(group, kind) for group, kind, count in groups for _ in range(count)]
    if len(kinds) == 1:
        return (Host("algo-1", *kinds[0], "127.0.0.1"),)
    return tuple(Host(f"algo-{n}", group, kind, _address(seed, n)) for n, (group, kind) in enumerate(kinds, 1))


def resource_config(hosts: Sequence[Host], current: Host) -> dict[str, Any]:
    """resourceconfig.json as the platform writes it for one host."""
    groups: dict[str, dict[str, Any]] = {}
    for host in hosts:
        group = groups.setdefault(host.group, {"instance_group_name": host.group, "instance_type": host.instance_type, "hosts": []})
        group["hosts"].append(host.name)
    return {
        "current_host": current.name,
        "current_instance_type": current.instance_type,
        "current_group_name": current.group,
        "hosts": [host.name for host in hosts],
        "instance_groups": list(groups.values()),
        "network_interface_name": NETWORK_INTERFACE,
    }


def on_host(spec: AgentSpec, hosts: Sequence[Host], current: Host, config: str, *, beside: int = 1) -> AgentSpec:
    """A job's spec as one of its hosts has it, `config` being the folder of resourceconfig.json. Its channels are shared out by `share`.

    beside: how many jobs of this kind run at a time, as the trials of a tuning job do.
    """
    cpus, memory = bound(find_instance(current.instance_type), os.cpu_count() or 1, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    files = spec.files | {f"{config}/resourceconfig.json": json.dumps(resource_config(hosts, current))}
    environment = spec.environment
    if len(hosts) * beside > 1:
        environment = {"OMP_NUM_THREADS": str(threads(cpus, len(hosts) * beside))} | environment
    if len(hosts) == 1:
        return replace(spec, environment=environment, files=files, cpus=cpus, memory_bytes=memory)
    return replace(
        spec,
        id=spec.id if current is hosts[0] else f"{spec.id}.{current.name}",
        host=current.name,
        hosts=tuple(host.name for host in hosts),
        addresses=tuple(host.address for host in hosts),
        environment=environment | network(hosts, current),
        files=files,
        cpus=cpus,
        memory_bytes=memory,
    )


def network(hosts: Sequence[Host], current: Host) -> dict[str, str]:
    """What libraries that talk between hosts need to know: the interface, and addresses for those who cannot resolve names."""
    return {
        "CURRENT_HOST": current.name,
        "DEWFALL_HOSTS": ",".join(f"{host.name}={host.address}" for host in hosts),
        "GLOO_SOCKET_IFNAME": NETWORK_INTERFACE,
        "NCCL_SOCKET_IFNAME": NETWORK_INTERFACE,
        "TP_SOCKET_IFNAME": NETWORK_INTERFACE,
    }


def threads(cpus: float, hosts: int) -> int:
    """Threads of each host's libraries: the hosts, of one job or of jobs side by side, share this machine's processors.

    Threads that wait for each other in turn would spin.
    """
    return max(1, min(int(cpus), (os.cpu_count() or 1) // hosts))


def share(channel: Channel, source: dict[str, Any], hosts: Sequence[Host], current: Host) -> Channel | None:
    """What one host gets of a channel: all of it or its shard; None when the channel is for other instance groups."""
    groups = source.get("InstanceGroupNames")
    receiving = [host for host in hosts if not groups or host.group in groups]
    if current not in receiving:
        return None
    if source.get("S3DataDistributionType") != SHARDED or len(receiving) == 1:
        return channel
    place = receiving.index(current), len(receiving)
    if channel.mode == "Pipe":  # shared out after each epoch's shuffling
        return replace(channel, shard=place)
    return replace(channel, files=channel.files[place[0] :: place[1]])


def _address(seed: str, number: int) -> str:
    value = FIRST_ADDRESS + (zlib.crc32(seed.encode()) + number) % ADDRESSES
    value += (value & 255 in (0, 255)) * 7  # neither a network's nor a broadcast address
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))
