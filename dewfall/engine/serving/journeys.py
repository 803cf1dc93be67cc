"""Requests that are more than one exchange with one container: pipelines of containers, one named container, one of many models.

exchange ─ the variant's kind ─ Chain, serial → each container's answer is the next one's request; one of them may have many models
                                Chain, direct → the container that TargetContainerHostname names
                                Shelf         → a replica that has the model, which is loaded first where none has
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from dewfall.engine.serving import faults, ondemand
from dewfall.engine.serving.answer import Answer
from dewfall.engine.serving.asking import ask, head
from dewfall.engine.serving.connection import Pool, ReplicaGone
from dewfall.engine.serving.fleet import DEATHS, Fleet
from dewfall.engine.serving.library import TARGET, Rack, Refused, model_name
from dewfall.engine.serving.stock import Missing, Unreadable
from dewfall.engine.serving.table import LATENCIES_KEPT, Chain, OnDemand, Replica, Shelf, Vacant, Variant
from dewfall.errors import AwsError

SPREAD_FROM = 8  # requests under way at a model's replica, from which others may load the model too
Header = tuple[bytes, bytes]
CONTENT_TYPE, ACCEPT = b"content-type", b"accept"


@dataclass(frozen=True, slots=True)
class Message:
    """What one container is asked: how AWS's messages name it, the headers and the body that it gets, and until when (the loop's time)."""

    label: str
    headers: tuple[Header, ...]
    body: bytes
    deadline: float

    @property
    def seconds(self) -> float:
        """The time that is left."""
        return self.deadline - asyncio.get_running_loop().time()


class Call(Protocol):
    """What is read of the router's Invocation."""

    @property
    def passed(self) -> tuple[Header, ...]: ...
    @property
    def streamed(self) -> bool: ...
    @property
    def target_variant(self) -> str: ...
    @property
    def wish(self) -> tuple[bytes, str] | None: ...


async def exchange(fleet: Fleet, call: Call, body: bytes, *, begun: float, seconds: float) -> Answer:
    """Send a request on the way that its variant has, and count it. Raises AwsError."""
    variant = fleet.variant(call.target_variant)
    if variant.special is None and call.wish is None:
        request = head("POST", "/invocations", call.passed, len(body))
        return await fleet.exchange(request, body, call.target_variant, begun=begun, seconds=seconds, streamed=call.streamed, chosen=variant)
    if isinstance(variant.special, OnDemand) and call.wish is None:
        return await ondemand.exchange(fleet, call, variant, body, begun, seconds)
    if isinstance(variant.special, Vacant):
        if "/" in fleet.key[2]:
            fleet.count_unplaced(variant)
            raise faults.no_capacity()
        raise faults.component_needed()
    try:
        answer, model_seconds = await _journey(fleet, call, variant, body, begun, seconds)
    except AwsError as error:
        is_models = error.code == "ModelError"
        status = int(error.members.get("OriginalStatusCode") or 500) if is_models else error.status or 500
        fleet.count(variant, status, is_models=is_models)
        raise
    fleet.count(variant, 200, model_seconds, max(0.0, perf_counter() - begun - model_seconds))
    if fleet.table.capture is not None:
        request = head("POST", "/invocations", call.passed, len(body))
        if call.streamed:
            fleet.follow(answer, request, body, model_seconds)
        else:
            fleet.capture(variant.name, request, body, answer)
    return answer


async def _journey(fleet: Fleet, call: Call, variant: Variant, body: bytes, begun: float, seconds: float) -> tuple[Answer, float]:
    special, header = variant.special, call.wish[0] if call.wish else b""
    if isinstance(special, Shelf):
        if header != faults.TARGET_MODEL:
            raise faults.model_needed() if not header else faults.header_refused(fleet.key, header)
        return await _by_model(fleet, call, variant, special, body, seconds)
    if isinstance(special, Chain):
        wanted = faults.TARGET_CONTAINER if special.direct else faults.TARGET_MODEL if special.shelf else b""
        if header == wanted:
            return await _through(fleet, call, variant, special, body, seconds)
        if not header:
            raise faults.container_needed() if special.direct else faults.model_needed()
    raise faults.header_refused(fleet.key, header)


# ---------------------------------------------------------------- containers


async def _through(fleet: Fleet, call: Call, variant: Variant, chain: Chain, body: bytes, seconds: float) -> tuple[Answer, float]:
    """Through all containers of a replica, or to the named one; from the start at another replica where one has died before it answered."""
    places = list(range(len(chain.containers)))
    if chain.direct and call.wish:
        if call.wish[1] not in chain.containers:
            raise faults.container_not_found(fleet.key, call.wish[1])
        places = [chain.containers.index(call.wish[1])]
    deaths, avoid = 0, None
    while True:
        replica = _link(fleet, call, variant, chain, avoid)
        if replica is None:
            variant, _ = await fleet.someone(variant, call.target_variant)
            avoid = None
            continue
        pool = fleet.pool_of(replica.id)
        assert pool is not None
        pool.enter()
        try:
            return await _along(fleet, call, variant, chain, replica, places, body, seconds)
        except ReplicaGone as gone:
            deaths, avoid = deaths + (0 if gone.refused else 1), replica.id
            if gone.refused:
                pool.is_down = True
            if gone.answered or deaths >= DEATHS:
                raise faults.broken(fleet.key, variant.container, fleet.table.partition) from None
        finally:
            fleet.release(pool)


async def _along(
    fleet: Fleet, call: Call, variant: Variant, chain: Chain, replica: Replica, places: list[int], body: bytes, seconds: float
) -> tuple[Answer, float]:
    deadline = asyncio.get_running_loop().time() + seconds
    headers, model_seconds = call.passed, 0.0
    for place in places:
        is_last = place == places[-1]
        sent = headers if is_last or chain.direct else _without(headers, ACCEPT)
        part, label, streamed = replica.parts[place], chain.containers[place], call.streamed and is_last
        if chain.shelf is not None and place == chain.place:
            answer, taken = await _by_part(fleet, call, variant, chain.shelf, part, Message(label, sent, body, deadline))
        else:
            answer, taken = await _ask_part(fleet, variant, part, Message(label, sent, body, deadline), streamed)
        model_seconds += taken
        if not is_last:
            body = answer.body()
            kind = answer.header(CONTENT_TYPE)
            headers = (*_without(headers, CONTENT_TYPE), *(((CONTENT_TYPE, kind),) if kind else ()))
    return answer, model_seconds


async def _ask_part(fleet: Fleet, variant: Variant, part: Replica, message: Message, streamed: bool) -> tuple[Answer, float]:
    """One container's answer, and how long it took (where it is streamed, until it began)."""
    pool = _entered(fleet, part)
    held, begun = True, perf_counter()
    try:
        request = head("POST", "/invocations", message.headers, len(message.body))
        connection, reply = await ask(pool, request, message.body, seconds=message.seconds, streamed=streamed)
        seconds = perf_counter() - begun
        answer = Answer(fleet, variant, pool if streamed else None, connection, reply, message.deadline)
        held = not streamed
        if not 200 <= reply.status < 300:
            raise faults.model_error(fleet.key, message.label, reply.status, await _whole(answer, streamed), fleet.table.partition)
        return answer, seconds
    except TimeoutError:
        raise faults.timed_out(fleet.key, message.label, fleet.table.partition) from None
    finally:
        if held:
            fleet.release(pool)


async def _by_part(fleet: Fleet, call: Call, variant: Variant, shelf: Shelf, part: Replica, message: Message) -> tuple[Answer, float]:
    """The answer of one of a container's many models."""
    pool = _entered(fleet, part)
    try:
        return await _at(fleet, variant, fleet.library.rack(variant.name, shelf, part, pool), _target(call), message)
    finally:
        fleet.release(pool)


def _entered(fleet: Fleet, part: Replica) -> Pool:
    pool = fleet.pool_of(part.id)
    if pool is None:
        raise ReplicaGone
    pool.enter()
    return pool


def _without(headers: Iterable[Header], name: bytes) -> tuple[Header, ...]:
    return tuple(header for header in headers if header[0] != name)


def _link(fleet: Fleet, call: Call, variant: Variant, chain: Chain, avoid: str | None) -> Replica | None:
    """A replica for a chain: where one of its containers has many models, one that has the model loaded. None when all are down."""
    if chain.shelf is not None:
        return _with_model(fleet, variant, model_name(_target(call)), avoid, chain.place)
    pool = fleet.pool(variant, fleet.pool_of(avoid) if avoid else None)
    return next((replica for replica in variant.replicas if pool and fleet.pool_of(replica.id) is pool), None)


def _target(call: Call) -> str:
    """The model that the request names."""
    assert call.wish is not None
    return call.wish[1].removeprefix("/")


async def _whole(answer: Answer, streamed: bool) -> bytes:
    if not streamed:
        return answer.body()
    parts = []
    while chunk := await answer.next_chunk():
        parts.append(chunk)
    return b"".join(parts)


# ---------------------------------------------------------------- models


async def _by_model(fleet: Fleet, call: Call, variant: Variant, shelf: Shelf, body: bytes, seconds: float) -> tuple[Answer, float]:
    """To a replica that has the model; where it dies, to another one."""
    model = _target(call)
    message = Message(variant.container, call.passed, body, asyncio.get_running_loop().time() + seconds)
    deaths, avoid = 0, None
    while True:
        replica = _with_model(fleet, variant, model_name(model), avoid)
        if replica is None:
            variant, _ = await fleet.someone(variant, call.target_variant)
            avoid = None
            continue
        pool = fleet.pool_of(replica.id)
        assert pool is not None
        rack = fleet.library.rack(variant.name, shelf, replica, pool)
        pool.enter()
        try:
            return await _at(fleet, variant, rack, model, message)
        except ReplicaGone as gone:
            deaths, avoid = deaths + (0 if gone.refused else 1), replica.id
            if gone.refused:
                pool.is_down = True
            if gone.answered or deaths >= DEATHS:
                raise faults.broken(fleet.key, variant.container, fleet.table.partition) from None
        finally:
            fleet.release(pool)


def _with_model(fleet: Fleet, variant: Variant, name: str, avoid: str | None, place: int = 0) -> Replica | None:
    """Who has the model, the least busy of them, unless it is very busy and another one is not; else who has fewest models. `place`: which of
    its containers has the models."""
    up = [(pool, replica) for replica in variant.replicas if (pool := fleet.pool_of(replica.id)) and not pool.is_down]
    up = [pair for pair in up if pair[1].id != avoid] or up
    if not up:
        return None
    racks = {replica.id: fleet.library.racks.get(replica.parts[place].id) for _, replica in up}
    least = min(up, key=lambda pair: (pair[0].outstanding, len(rack.models) if (rack := racks[pair[1].id]) else 0, pair[0].last))
    holding = [pair for pair in up if (rack := racks[pair[1].id]) and rack.has(name)]
    if not holding:
        return least[1]
    best = min(holding, key=lambda pair: (pair[0].outstanding, pair[0].last))
    crowded = best[0].outstanding >= SPREAD_FROM and best[0].outstanding > 2 * least[0].outstanding
    return least[1] if crowded else best[1]


async def _at(fleet: Fleet, variant: Variant, rack: Rack, model: str, message: Message) -> tuple[Answer, float]:
    """The model's answer, from a replica. A model that the container has dropped by itself is loaded once more."""
    name = model_name(model)
    request = head("POST", f"/models/{name}/invoke", (*message.headers, (TARGET, model.encode())), len(message.body))
    for last in (False, True):
        await _hold(fleet, variant, rack, model, name, message)
        begun = perf_counter()
        try:
            connection, reply = await ask(rack.pool, request, message.body, seconds=message.seconds)
            if 200 <= reply.status < 300:
                return Answer(fleet, variant, None, connection, reply, message.deadline), perf_counter() - begun
            if reply.status != 404 or last or not await rack.is_gone(name):
                raise faults.model_error(fleet.key, message.label, reply.status, reply.body(), fleet.table.partition)
        except TimeoutError:
            raise faults.timed_out(fleet.key, message.label, fleet.table.partition) from None
        finally:
            rack.let_go(name)
    raise AssertionError("unreachable")


async def _hold(fleet: Fleet, variant: Variant, rack: Rack, model: str, name: str, message: Message) -> None:
    """Wait until the model is loaded, and count how long. Raises AwsError for a model that cannot be."""
    begun = perf_counter()
    try:
        async with asyncio.timeout_at(message.deadline):
            was_there = await rack.hold(model, name)
    except TimeoutError:
        raise faults.model_not_ready(model) from None
    except Missing:
        raise faults.model_missing(rack.shelf.prefix + model) from None
    except Unreadable as error:
        raise faults.model_unreadable(fleet.key, message.label, rack.shelf.prefix + model, str(error), fleet.table.partition) from None
    except Refused as refused:
        raise faults.model_error(fleet.key, message.label, refused.status, refused.body, fleet.table.partition) from None
    counters = fleet.library.counters(variant.name)
    if was_there:
        counters.hits += 1
    else:
        counters.misses += 1
        if len(counters.waits) < LATENCIES_KEPT:
            counters.waits.append((perf_counter() - begun) * 1e6)
