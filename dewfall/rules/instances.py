"""Instance types as data: how many processors, how much memory and how many GPUs each has.

Why data: a job gets the processors and memory of the type it names, bounded by the machine that really runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Instance:
    """What an instance type has."""

    cpus: int
    memory_gib: float
    gpus: int = 0

    @property
    def memory_bytes(self) -> int:
        return int(self.memory_gib * GIB)


# family → (GiB per vCPU): every size of these families has memory in proportion to its processors.
RATIOS: dict[str, float] = {
    "t2": 2, "t3": 2, "t3a": 2, "t4g": 2,
    "m4": 4, "m5": 4, "m5d": 4, "m5n": 4, "m5dn": 4, "m6i": 4, "m6id": 4, "m6in": 4, "m6idn": 4, "m6g": 4, "m6gd": 4, "m7i": 4, "m8g": 4, "m8i": 4,
    "c4": 1.875, "c5": 2, "c5d": 2, "c5n": 2.625, "c6i": 2, "c6id": 2, "c6in": 2, "c6g": 2, "c6gd": 2, "c6gn": 2, "c7g": 2, "c7i": 2, "c8g": 2,
    "c8i": 2,
    "r5": 8, "r5d": 8, "r5n": 8, "r5dn": 8, "r6i": 8, "r6id": 8, "r6in": 8, "r6idn": 8, "r6g": 8, "r6gd": 8, "r7g": 8, "r7gd": 8, "r7i": 8,
    "r8g": 8, "r8i": 8,
}  # fmt: skip

SIZES: dict[str, int] = {
    "medium": 1, "large": 2, "xlarge": 4, "2xlarge": 8, "3xlarge": 12, "4xlarge": 16, "6xlarge": 24, "8xlarge": 32, "9xlarge": 36,
    "10xlarge": 40, "12xlarge": 48, "16xlarge": 64, "18xlarge": 72, "24xlarge": 96, "32xlarge": 128, "48xlarge": 192, "96xlarge": 384,
}  # fmt: skip

# Types that follow no ratio: vCPUs, GiB, GPUs.
TYPES: dict[str, Instance] = {
    "ml.t2.medium": Instance(2, 4), "ml.t2.large": Instance(2, 8), "ml.t2.xlarge": Instance(4, 16), "ml.t2.2xlarge": Instance(8, 32),
    "ml.t3.medium": Instance(2, 4), "ml.t3.large": Instance(2, 8), "ml.t3.xlarge": Instance(4, 16), "ml.t3.2xlarge": Instance(8, 32),
    "ml.c4.8xlarge": Instance(36, 60),
    "ml.p2.xlarge": Instance(4, 61, 1), "ml.p2.8xlarge": Instance(32, 488, 8), "ml.p2.16xlarge": Instance(64, 732, 16),
    "ml.p3.2xlarge": Instance(8, 61, 1), "ml.p3.8xlarge": Instance(32, 244, 4), "ml.p3.16xlarge": Instance(64, 488, 8),
    "ml.p3dn.24xlarge": Instance(96, 768, 8), "ml.p4d.24xlarge": Instance(96, 1152, 8), "ml.p4de.24xlarge": Instance(96, 1152, 8),
    "ml.p5.4xlarge": Instance(16, 256, 1), "ml.p5.48xlarge": Instance(192, 2048, 8), "ml.p5e.48xlarge": Instance(192, 2048, 8),
    "ml.p5en.48xlarge": Instance(192, 2048, 8), "ml.p6-b200.48xlarge": Instance(192, 2048, 8),
    "ml.g4dn.xlarge": Instance(4, 16, 1), "ml.g4dn.2xlarge": Instance(8, 32, 1), "ml.g4dn.4xlarge": Instance(16, 64, 1),
    "ml.g4dn.8xlarge": Instance(32, 128, 1), "ml.g4dn.12xlarge": Instance(48, 192, 4), "ml.g4dn.16xlarge": Instance(64, 256, 1),
    "ml.g5.xlarge": Instance(4, 16, 1), "ml.g5.2xlarge": Instance(8, 32, 1), "ml.g5.4xlarge": Instance(16, 64, 1),
    "ml.g5.8xlarge": Instance(32, 128, 1), "ml.g5.12xlarge": Instance(48, 192, 4), "ml.g5.16xlarge": Instance(64, 256, 1),
    "ml.g5.24xlarge": Instance(96, 384, 4), "ml.g5.48xlarge": Instance(192, 768, 8),
    "ml.g6.xlarge": Instance(4, 16, 1), "ml.g6.2xlarge": Instance(8, 32, 1), "ml.g6.4xlarge": Instance(16, 64, 1),
    "ml.g6.8xlarge": Instance(32, 128, 1), "ml.g6.12xlarge": Instance(48, 192, 4), "ml.g6.16xlarge": Instance(64, 256, 1),
    "ml.g6.24xlarge": Instance(96, 384, 4), "ml.g6.48xlarge": Instance(192, 768, 8),
    "ml.g6e.xlarge": Instance(4, 32, 1), "ml.g6e.2xlarge": Instance(8, 64, 1), "ml.g6e.4xlarge": Instance(16, 128, 1),
    "ml.g6e.8xlarge": Instance(32, 256, 1), "ml.g6e.12xlarge": Instance(48, 384, 4), "ml.g6e.16xlarge": Instance(64, 512, 1),
    "ml.g6e.24xlarge": Instance(96, 768, 4), "ml.g6e.48xlarge": Instance(192, 1536, 8),
    "ml.trn1.2xlarge": Instance(8, 32), "ml.trn1.32xlarge": Instance(128, 512), "ml.trn1n.32xlarge": Instance(128, 512),
    "ml.trn2.48xlarge": Instance(192, 2048),
    "ml.inf1.xlarge": Instance(4, 8), "ml.inf1.2xlarge": Instance(8, 16), "ml.inf1.6xlarge": Instance(24, 48), "ml.inf1.24xlarge": Instance(96, 192),
    "ml.inf2.xlarge": Instance(4, 16), "ml.inf2.8xlarge": Instance(32, 128), "ml.inf2.24xlarge": Instance(96, 384),
    "ml.inf2.48xlarge": Instance(192, 768),
}  # fmt: skip


def find_instance(name: str) -> Instance | None:
    """What AWS's instance type has; None for a name that this table does not know."""
    known = TYPES.get(name)
    if known is not None:
        return known
    parts = name.split(".")
    if len(parts) != 3 or parts[0] != "ml" or parts[2] not in SIZES:
        return None
    ratio = RATIOS.get(parts[1].removesuffix("-flex"))
    if ratio is None:
        return None
    cpus = SIZES[parts[2]]
    return Instance(cpus, cpus * ratio)


def bound(instance: Instance | None, host_cpus: int, host_memory: int) -> tuple[float, int]:
    """Processors and memory bytes a process gets on a host: the instance's, but never more than the host has.

    An unknown type is bounded by the host alone; 0 bytes means no limit of its own.
    """
    if instance is None:
        return float(host_cpus), 0
    return float(min(instance.cpus, host_cpus)), instance.memory_bytes if instance.memory_bytes < host_memory else 0


def launched(resources: dict[str, Any]) -> tuple[str, int]:
    """The instance type of a job's resources and how many of it there are.

    >>> launched({"InstanceType": "ml.m5.large", "InstanceCount": 2})
    ('ml.m5.large', 2)
    >>> launched({"InstancePreferences": [{"InstanceType": "ml.c5.xlarge"}, {"InstanceType": "ml.m5.xlarge"}], "InstanceCount": 1})
    ('ml.c5.xlarge', 1)
    """
    first = (resources.get("InstancePreferences") or [{}])[0]
    both = resources | first
    return both.get("InstanceType", ""), int(both.get("InstanceCount") or 0)
