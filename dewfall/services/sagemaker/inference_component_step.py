"""The inference component's step: one look at its copies, again and again for as long as it lives. Short and repeatable.

    room on the instances? ─ the dead: discard, replace ─ the table for the router ─ all there? → InService
                                                            └ one too many, or of the old generation: drain, stop, discard

Copies are agents of their own, so each component grows, shrinks and is replaced without regard to the others.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Conflict, Record, Task
from dewfall.engine.serving.table import CaptureRule, EndpointKey, Table, Vacant, Variant
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError
from dewfall.services.common import drop_tags
from dewfall.services.sagemaker import endpoint_logs, inference_component_metrics
from dewfall.services.sagemaker.data_capture import capture_rule
from dewfall.services.sagemaker.endpoint_replicas import Member, as_replica, ask_to_end, discard, find_members, replica_spec, stop, unreadable
from dewfall.services.sagemaker.endpoint_status import endpoint_key
from dewfall.services.sagemaker.endpoint_tables import adopt_table
from dewfall.services.sagemaker.inference_component_placement import place
from dewfall.services.sagemaker.inference_component_status import KIND, component_key, save

log = logging.getLogger(__name__)

LOOK, LOOK_MOVING = 5.0, 0.5  # seconds between looks
RESTARTS = 2  # of copies while the component is created or updated
LONGEST_PAUSE = 60.0
DRAIN_SECONDS, SETTLE_SECONDS = 60.0, 1.0
REASON_LIMIT = 1024
MEBIBYTE = 1024**2
PING_FAILED = (
    "The container of the inference component did not pass the ping health check. Please check CloudWatch logs for this inference component."
)


class Failure(Exception):
    """What was asked for cannot be reached; the text is the FailureReason."""


def step(ctx: Ctx, task: Task) -> Outcome:
    """One look at a component."""
    name = task.key.name
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(component_key(ctx, name))
    try:
        if record is None or record.status in ("Deleting", "Failed"):
            return _end(ctx, task, record)
        return Look(ctx, record).run()
    except Conflict:
        return Again(0.0)


def give_up(ctx: Ctx, task: Task, message: str) -> None:
    """The step keeps raising: the component is looked after again later."""
    log.warning("inference component not looked after name=%s problem=%s", task.key.name, message)
    with ctx.ports.store.transaction() as tx:
        if tx.records.get(task.key) is not None:
            tx.queue.put(KIND, task.key, delay=LOOK)


def router_key(ctx: Ctx, document: dict[str, Any]) -> EndpointKey:
    """How the router knows a component."""
    return ctx.account, ctx.region, f"{document['EndpointName']}/{document['InferenceComponentName']}"


def adopt(ctx: Ctx, record: Record) -> bool:
    """Tell the router of a component's copies: a new server's first request needs it. False where the record is no longer the component's."""
    members = find_members(ctx, record.key.name, KIND)
    return adopt_table(ctx, record, router_key(ctx, record.document), table(ctx, record.document, members))


def table(ctx: Ctx, document: dict[str, Any], members: list[Member]) -> Table:
    """The copies that are ready, of both generations while there are two. Without any, requests are refused at once unless one is coming back."""
    counts = wanted(document, members)
    ready = [member for ident, count in counts.items() for member in _ready(members, ident)[:count]]
    serving = document["_Serving"]
    is_vacant = not ready and not document["RuntimeConfig"]["CurrentCopyCount"]
    random_routing = (serving["RoutingConfig"] or {}).get("RoutingStrategy") == "RANDOM"
    replicas = tuple(as_replica(member) for member in ready)
    variant = Variant(serving["VariantName"], 1.0, replicas, serving["ContainerLabel"], random_routing, special=Vacant() if is_vacant else None)
    return Table((variant,), ctx.partition, _capture(ctx, document["EndpointName"]))


def _capture(ctx: Ctx, endpoint: str) -> CaptureRule | None:
    """What its endpoint captures."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.peek(endpoint_key(ctx, endpoint))
    return capture_rule(record.document.get("_Fleet", {})) if record is not None else None


def wanted(document: dict[str, Any], members: list[Member]) -> dict[str, int]:
    """Copies that each generation is to have now: an old one goes when a new one is ready."""
    desired, incoming = document["RuntimeConfig"]["DesiredCopyCount"], document.get("_Incoming")
    if incoming is None:
        return {document["_Serving"]["Id"]: desired}
    new = min(incoming["Moved"], desired)
    ready = min(len(_ready(members, incoming["Id"])), new)
    return {document["_Serving"]["Id"]: desired - ready, incoming["Id"]: new}


def batch_of(document: dict[str, Any]) -> tuple[int, float]:
    """Copies that may change at a time, and the seconds between two batches."""
    desired = max(1, document["RuntimeConfig"]["DesiredCopyCount"])
    policy = document.get("LastDeploymentConfig", {}).get("RollingUpdatePolicy")
    if not policy:
        return desired, 0.0
    size = policy["MaximumBatchSize"]
    count = size["Value"] if size["Type"] == "COPY_COUNT" else math.ceil(desired * size["Value"] / 100)
    return max(1, count), float(policy["WaitIntervalInSeconds"])


def _ready(members: list[Member], generation: str) -> list[Member]:
    return [member for member in members if member.fleet == generation and member.is_ready]


def _end(ctx: Ctx, task: Task, record: Record | None) -> Outcome:
    """The component is going, or has failed: nothing of it runs on. A failed one keeps its record until it is deleted."""
    name = task.key.name
    logs = endpoint_logs.COMPONENT + name
    if record is not None:
        inference_component_metrics.flush(ctx, record.document)
        ctx.ports.serving.drop_endpoint(router_key(ctx, record.document))
    members = find_members(ctx, name, KIND)
    if (again := ask_to_end(ctx, task, members)) is not None:
        return again
    for member in members:
        endpoint_logs.ship(ctx, logs, member.id, at_end=True)
        discard(ctx, member)
    if record is None or record.status == "Failed":
        return Done()
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(record.key)
        tx.records.delete(endpoint_logs.progress_key(ctx, logs))
        drop_tags(tx, ctx, record.document["InferenceComponentArn"])
    place(ctx, record.document["EndpointName"], record.document["VariantName"])
    return Done()


class Look:
    """One look at a component that lives, with what it remembers from former ones."""

    def __init__(self, ctx: Ctx, record: Record) -> None:
        self.ctx, self.record, self.document, self.name = ctx, record, record.document, record.key.name
        self.logs = endpoint_logs.COMPONENT + self.name
        self.key = router_key(ctx, record.document)
        self.now = ctx.now().timestamp()
        self.is_changing = record.status in ("Creating", "Updating")
        self.members = find_members(ctx, self.name, KIND)
        for member in self.members:
            endpoint_logs.ship(ctx, self.logs, member.id, at_end=member.is_over)
        with ctx.ports.store.transaction() as tx:
            self.memory = endpoint_logs.load_progress(ctx, tx, self.logs).document
        self.before = repr(self.memory)
        self.moving = self.is_changing

    def run(self) -> Outcome:
        """Bring what is there closer to what is to be."""
        serving = self.ctx.ports.serving
        lost = serving.check(self.key)
        try:
            if self.is_changing and (problem := place(self.ctx, self.document["EndpointName"], self.document["VariantName"])):
                raise Failure(problem)
            counts = self._counts()
            for generation in self._generations():
                self._reconcile(generation, counts[generation["Id"]], lost)
        except Failure as failure:
            self._fail(str(failure))
            return Again(0.0)
        self._count_current()
        if self.record.status != "Creating":
            serving.set_endpoint(self.key, table(self.ctx, self.document, self.members))
        self._retire()
        self._settle()
        self._remember()
        inference_component_metrics.flush(self.ctx, self.document)
        return Again(LOOK_MOVING if self.moving else LOOK)

    # ------------------------------------------------------------ copies

    def _generations(self) -> list[dict[str, Any]]:
        return [self.document[member] for member in ("_Serving", "_Incoming") if member in self.document]

    def _generation(self, ident: str) -> dict[str, Any]:
        return next(generation for generation in self._generations() if generation["Id"] == ident)

    def _counts(self) -> dict[str, int]:
        """What is wanted, after another batch has been let in where it is time."""
        incoming = self.document.get("_Incoming")
        if incoming is not None:
            size, pause = batch_of(self.document)
            moved, desired = incoming["Moved"], self.document["RuntimeConfig"]["DesiredCopyCount"]
            if len(_ready(self.members, incoming["Id"])) >= moved < desired:
                if moved and not incoming["Since"]:
                    incoming["Since"] = self.now
                    self._save()
                elif not moved or self.now - incoming["Since"] >= pause:
                    incoming["Moved"], incoming["Since"] = min(desired, moved + size), 0.0
                    self._save()
        return wanted(self.document, self.members)

    def _reconcile(self, generation: dict[str, Any], count: int, lost: set[str]) -> None:
        for member in [member for member in self.members if member.fleet == generation["Id"]]:
            overdue = not member.is_ready and bool(member.began) and self.now - member.began > generation["HealthSeconds"]
            if member.is_over or member.id in lost or overdue:
                self._bury(member, overdue=overdue)
        alive = [member for member in self.members if member.fleet == generation["Id"]]
        if sum(member.is_ready for member in alive) >= count:
            self.memory["Failures"].pop(generation["Id"], None)
            return
        self.moving = True
        failures, at = self.memory["Failures"].get(generation["Id"], (0, 0.0))
        if failures <= 1 or self.now - at >= min(2.0 ** (failures - 2), LONGEST_PAUSE):
            for _ in range(count - len(alive)):
                self._start(generation)

    def _bury(self, member: Member, *, overdue: bool) -> None:
        failures, _ = self.memory["Failures"].get(member.fleet, (0, 0.0))
        self.memory["Failures"][member.fleet] = (failures + 1, self.now)
        if self.is_changing and (failures >= RESTARTS or overdue):
            if said := unreadable(self._generation(member.fleet), member.status):
                raise Failure(said)
            tail = (member.status.log_tail or member.status.message).strip()[-700:]
            raise Failure(f"{PING_FAILED} The end of its log: {tail}" if tail else PING_FAILED)
        self._discard(member)

    def _start(self, generation: dict[str, Any]) -> None:
        number = self.memory["Numbers"][generation["Id"]] = int(self.memory["Numbers"].get(generation["Id"], 0)) + 1
        self._remember()  # a number is never used twice
        try:
            self.ctx.ports.compute.start(copy_spec(self.ctx, self.name, generation, number))
        except AwsError as error:
            if self.is_changing:
                raise Failure(error.message) from None
            log.warning("copy cannot start component=%s problem=%s", self.name, error.message)
            self.memory["Failures"][generation["Id"]] = (self.memory["Failures"].get(generation["Id"], (0, 0.0))[0] + 1, self.now)

    def _discard(self, member: Member) -> None:
        endpoint_logs.ship(self.ctx, self.logs, member.id, at_end=True)
        discard(self.ctx, member)
        self.members.remove(member)
        self.memory["Leaving"].pop(member.id, None)

    def _retire(self) -> None:
        """Who is one too many: no new requests, then a request to stop, then away."""
        counts = wanted(self.document, self.members)
        kept: set[str] = set()
        for generation, count in counts.items():
            mine = sorted((m for m in self.members if m.fleet == generation), key=lambda member: not member.is_ready)
            kept |= {member.id for member in mine[:count]}
        for member in [member for member in self.members if member.id not in kept]:
            self.moving = True
            waited = self.now - self.memory["Leaving"].setdefault(member.id, self.now)
            if member.is_over or not member.is_ready or waited > DRAIN_SECONDS:
                self._discard(member)
            elif waited >= SETTLE_SECONDS and not self.ctx.ports.serving.busy(self.key, member.id):
                stop(self.ctx, member)

    # ------------------------------------------------------------ the record

    def _count_current(self) -> None:
        current = sum(min(count, len(_ready(self.members, ident))) for ident, count in wanted(self.document, self.members).items())
        runtime = self.document["RuntimeConfig"]
        if runtime["CurrentCopyCount"] != current and (current or self.is_changing):
            runtime["CurrentCopyCount"] = current
            self._save()

    def _settle(self) -> None:
        """All that was asked for is there, and nothing else: the component is in service."""
        document, runtime = self.document, self.document["RuntimeConfig"]
        desired, incoming = runtime["DesiredCopyCount"], document.get("_Incoming")
        last = (incoming or document["_Serving"])["Id"]
        if not self.is_changing or len(self.members) != desired or len(_ready(self.members, last)) != desired:
            return
        if incoming is not None:
            document["_Serving"] = {member: value for member, value in document.pop("_Incoming").items() if member not in ("Moved", "Since")}
            document |= document.pop("_Next")
        document["InferenceComponentStatus"] = "InService"
        self._done()
        self.ctx.ports.serving.set_endpoint(self.key, table(self.ctx, document, self.members))

    def _fail(self, reason: str) -> None:
        """A component that was never in service has failed; another one goes on as it was."""
        document = self.document
        document["FailureReason"] = reason[:REASON_LIMIT]
        document.pop("_Incoming", None)
        document.pop("_Next", None)
        if self.record.status == "Creating":
            document["InferenceComponentStatus"] = "Failed"
        else:
            document["RuntimeConfig"]["DesiredCopyCount"] = document.get("_Before", document["RuntimeConfig"]["CurrentCopyCount"])
            document["InferenceComponentStatus"] = "InService"
        self._done()
        self._remember()

    def _done(self) -> None:
        self.document.pop("_Before", None)
        with self.ctx.ports.store.transaction() as tx:
            self.record = save(self.ctx, tx, self.record)
        self.document = self.record.document
        place(self.ctx, self.document["EndpointName"], self.document["VariantName"])

    def _save(self) -> None:
        with self.ctx.ports.store.transaction() as tx:
            self.record = tx.records.save(self.record)
        self.document = self.record.document

    def _remember(self) -> None:
        if repr(self.memory) == self.before:
            return
        with self.ctx.ports.store.transaction() as tx:
            fresh = endpoint_logs.load_progress(self.ctx, tx, self.logs)
            known = {member.id for member in self.members}
            ids = {generation["Id"] for generation in self._generations()}
            for kept in ("Failures", "Numbers"):
                self.memory[kept] = {ident: value for ident, value in self.memory[kept].items() if ident in ids}
            offsets = {agent: offset for agent, offset in fresh.document["Offsets"].items() if agent in known}
            fresh.document = {**self.memory, "Offsets": offsets}
            tx.records.save(fresh)
        self.before = repr(self.memory)


def copy_spec(ctx: Ctx, name: str, generation: dict[str, Any], number: int) -> Any:
    """The spec of a copy: a replica, within the resources that the component asks for."""
    spec = replica_spec(ctx, name, generation["Id"], generation, number)
    needs = generation["Needs"]
    return dataclasses.replace(
        spec,
        id=endpoint_logs.component_agent(ctx, name, generation["VariantName"], generation["Id"], number),
        memory_bytes=needs.get("MaxMemoryRequiredInMb", 0) * MEBIBYTE or spec.memory_bytes,
        cpus=min(needs.get("NumberOfCpuCoresRequired") or spec.cpus, spec.cpus),
    )
