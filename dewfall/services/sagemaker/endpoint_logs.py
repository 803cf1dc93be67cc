"""What replicas print: shipped to /aws/sagemaker/Endpoints/<endpoint>, a stream per variant and instance, named as AWS names them.

How far each log has been shipped is kept in the endpoint's progress record, in the same transaction as the events.
"""

from __future__ import annotations

import hashlib
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.services.sagemaker.training_logs import read_lines

COMPONENT = "component/"  # before the name of an inference component; an endpoint's cannot contain it


def group_name(endpoint: str) -> str:
    """An endpoint's log group, or, where the name begins with `component/`, an inference component's."""
    if endpoint.startswith(COMPONENT):
        return f"/aws/sagemaker/InferenceComponents/{endpoint.removeprefix(COMPONENT)}"
    return f"/aws/sagemaker/Endpoints/{endpoint}"


def stream_name(agent: str) -> str:
    """A replica's log stream: `AllTraffic/i-0123456789abcdef0`. The instance id is made from the agent's, so it never changes.
    Further containers of a replica have a stream of their own: `AllTraffic/i-0123456789abcdef0/container-2`."""
    replica, _, place = agent.partition("+")
    name = f"{replica.split('.')[4]}/i-{hashlib.sha256(replica.encode()).hexdigest()[:17]}"
    return f"{name}/container-{place}" if place else name


def agent_id(ctx: Ctx, endpoint: str, variant: str, fleet: str, number: int) -> str:
    """A replica's agent; its first four parts are the record."""
    return f"endpoint.{ctx.account}.{ctx.region}.{endpoint}.{variant}.{fleet}-{number}"


def open_streams(ctx: Ctx, endpoint: str, fleet: dict[str, Any]) -> None:
    """Make group and first streams before anything is printed: the SDK's log reader gives up, or never ends, without them."""
    for variant in [*fleet["Variants"], *fleet.get("Shadows", ())]:
        if "Container" not in variant:
            continue
        first = agent_id(ctx, endpoint, variant["VariantName"], fleet["Id"], 1)
        ctx.ports.series.create_log_stream(ctx.account, ctx.region, group_name(endpoint), stream_name(first))


def component_agent(ctx: Ctx, component: str, variant: str, generation: str, number: int) -> str:
    """The agent of an inference component's copy; its first four parts are the record."""
    return f"inference-component.{ctx.account}.{ctx.region}.{component}.{variant}.{generation}-{number}"


def open_component_stream(ctx: Ctx, component: str, generation: dict[str, Any]) -> None:
    """Make an inference component's group and first stream."""
    first = component_agent(ctx, component, generation["VariantName"], generation["Id"], 1)
    ctx.ports.series.create_log_stream(ctx.account, ctx.region, group_name(COMPONENT + component), stream_name(first))


def ship(ctx: Ctx, endpoint: str, agent: str, *, at_end: bool = False) -> None:
    """Ship what an agent has printed since the last time; all of it when it has ended."""
    file = ctx.ports.compute.log_file(agent)
    while True:
        with ctx.ports.store.reading() as tx:
            record = tx.records.get(progress_key(ctx, endpoint))
        offset = int(record.document["Offsets"].get(agent, 0)) if record else 0
        lines, end = read_lines(file, offset, at_end=at_end)
        if end == offset:
            return
        with ctx.ports.store.transaction() as tx:
            record = load_progress(ctx, tx, endpoint)
            events = [(line.milliseconds, line.text.replace("#011", "\t")) for line in lines]
            ctx.ports.series.append_logs(ctx.account, ctx.region, group_name(endpoint), stream_name(agent), events)
            record.document["Offsets"][agent] = end
            tx.records.save(record)


def load_progress(ctx: Ctx, tx: Tx, endpoint: str) -> Record:
    """What the endpoint's step remembers between looks."""
    key = progress_key(ctx, endpoint)
    return tx.records.get(key) or tx.records.create(Record(key, {"Offsets": {}, "Failures": {}, "Leaving": {}, "Numbers": {}}))


def progress_key(ctx: Ctx, endpoint: str) -> Key:
    """Where it is kept."""
    return Key(ctx.account, ctx.region, "sagemaker", "endpoint-progress", endpoint)
