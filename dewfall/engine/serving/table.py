"""What the router knows: endpoints, their variants and replicas, as frozen values put in by the endpoint step.

Why values: the step runs in another thread; a table is swapped whole, so a request sees the old one or the new one, never half of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# (account, region, endpoint)
EndpointKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Replica:
    """A process that answers: its agent's id, and "unix:/path" or "tcp:host:port". `others` are the further containers of the same
    instance, `folder` is its agent's, where models that are loaded later are laid."""

    id: str
    address: str
    others: tuple[Replica, ...] = ()
    folder: str = ""

    @property
    def parts(self) -> tuple[Replica, ...]:
        """A process per container, this one first."""
        return (self, *self.others)


@dataclass(frozen=True, slots=True)
class Shelf:
    """What a multi-model variant serves: the artifacts below an S3 prefix, kept loaded or not, in so many bytes of memory (0 = no limit)."""

    prefix: str
    cached: bool = True
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Chain:
    """What a variant with several containers does: they answer one after the other, or, where `direct`, the one that is named. `shelf`: what
    the one of them serves that has many models, and `place`: which one that is."""

    containers: tuple[str, ...]
    direct: bool = False
    shelf: Shelf | None = None
    place: int = 0


@dataclass(frozen=True, slots=True)
class Vacant:
    """A variant whose instances are for inference components."""


@dataclass(frozen=True, slots=True)
class OnDemand:
    """A serverless variant: how many requests at once it takes, and for how many it is kept ready."""

    concurrency: int
    provisioned: int = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """A production variant: its share of the traffic and who serves it. `container` is how AWS's messages name its container.

    While a deployment shifts traffic, a table has old and new variants of the same name; `share` is then how much each of them gets of the
    requests that name it as their target.
    """

    name: str
    weight: float
    replicas: tuple[Replica, ...]
    container: str = "primary"
    random_routing: bool = False
    share: float = 1.0
    special: Chain | Shelf | Vacant | OnDemand | None = None  # None: each request is one exchange with one container
    config: str = ""  # the endpoint configuration that it comes from


@dataclass(frozen=True, slots=True)
class CaptureRule:
    """Data capture of an endpoint: which share of the requests, which sides of them, where to, and which content types are text."""

    percentage: float
    destination: str
    takes_input: bool
    takes_output: bool
    csv_types: frozenset[str]
    json_types: frozenset[str]


@dataclass(frozen=True, slots=True)
class Shadow:
    """A shadow variant, and which share of the requests is copied to it."""

    variant: Variant
    share: float


@dataclass(frozen=True, slots=True)
class Table:
    """All variants of an endpoint. `partition` belongs to the ARNs in messages. `capture`: None where nothing is captured. `is_direct`: whether
    plain requests may go the straight way; where not, the operation decides. `explains`: an explainer stands before its models."""

    variants: tuple[Variant, ...]
    partition: str = "aws"
    capture: CaptureRule | None = None
    is_direct: bool = True
    shadow: Shadow | None = None
    explains: bool = False


@dataclass(slots=True)
class Counters:
    """What a variant did since the last look. Latencies in microseconds; at most LATENCIES_KEPT of them are kept one by one."""

    invocations: int = 0
    client_errors: int = 0
    server_errors: int = 0
    model_errors: int = 0
    unplaced: int = 0  # refused because an inference component has no copy
    model_latencies: list[float] = field(default_factory=list)
    overheads: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Comparison:
    """A shadow variant beside production since the last look: copies sent and dropped, answers compared and agreeing, how much longer each
    took (microseconds), and how far numbers lay apart."""

    copies: int = 0
    dropped: int = 0
    compared: int = 0
    agreed: int = 0
    delays: list[float] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)


LATENCIES_KEPT = 2000
