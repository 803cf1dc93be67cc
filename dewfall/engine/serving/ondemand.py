"""Serverless variants: so many requests at once and no more, and a replica that is started when a request comes and none is there.

exchange ─ more than MaxConcurrency under way? → ThrottlingException
         ─ no replica? → call one up, wait until it has answered a ping (ModelSetupTime)
         ─ on as everybody
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from dewfall.engine.serving import faults
from dewfall.engine.serving.asking import head
from dewfall.engine.serving.table import OnDemand, Variant

if TYPE_CHECKING:
    from dewfall.engine.serving.answer import Answer
    from dewfall.engine.serving.fleet import Fleet

SETUP_SECONDS = 180.0  # until a replica that was called up must answer
PAYLOAD_LIMIT = 4 * 1024 * 1024


class Call(Protocol):
    """What is read of the router's Invocation."""

    @property
    def passed(self) -> tuple[tuple[bytes, bytes], ...]: ...
    @property
    def streamed(self) -> bool: ...
    @property
    def target_variant(self) -> str: ...


@dataclass(slots=True)
class Desk:
    """A serverless variant's requests: how many are under way, when the last one ended, and what is to be measured since the last look."""

    under_way: int = 0
    used: float = field(default_factory=time.monotonic)
    most: int = 0
    requests: int = 0
    spilled: int = 0  # of them: beyond the provisioned concurrency
    setups: list[float] = field(default_factory=list)  # microseconds

    @property
    def idle_seconds(self) -> float:
        """How long nothing has been under way."""
        return 0.0 if self.under_way else time.monotonic() - self.used

    def take(self) -> Desk:
        """What was measured since the last call."""
        taken = Desk(self.under_way, self.used, self.most, self.requests, self.spilled, self.setups)
        self.most, self.requests, self.spilled, self.setups = self.under_way, 0, 0, []
        return taken


async def exchange(fleet: Fleet, call: Call, variant: Variant, body: bytes, begun: float, seconds: float) -> Answer:
    """Send a request on, or refuse it. Raises AwsError."""
    limits = variant.special
    assert isinstance(limits, OnDemand)
    desk = fleet.desk(variant.name)
    if len(body) > PAYLOAD_LIMIT:
        raise faults.too_large(PAYLOAD_LIMIT)
    if desk.under_way >= limits.concurrency:
        fleet.count(variant, 429)
        raise faults.throttled()
    desk.under_way += 1
    desk.requests += 1
    desk.spilled += desk.under_way > limits.provisioned
    desk.most = max(desk.most, desk.under_way)
    try:
        if fleet.pool(variant) is None:
            asked = perf_counter()
            fleet.call_up(variant.name)
            variant, _ = await fleet.someone(variant, call.target_variant, SETUP_SECONDS)
            desk.setups.append((perf_counter() - asked) * 1e6)
        request = head("POST", "/invocations", call.passed, len(body))
        return await fleet.exchange(request, body, call.target_variant, begun=begun, seconds=seconds, streamed=call.streamed, chosen=variant)
    finally:
        desk.under_way -= 1
        desk.used = time.monotonic()
