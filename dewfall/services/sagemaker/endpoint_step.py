"""The endpoint's step: one look at its replicas, again and again for as long as the endpoint lives. Short and repeatable.

    who is there (agents) ─ ship logs ─ the dead: count, discard, replace ─ the table for the router ─ what may the deployment do now?
                                                                                └ whoever is not wanted: drain, stop, discard

What is to be is in the record, what is there in the agents' folders, so a look after a crash goes on where the last one stopped.
"""

from __future__ import annotations

import logging
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Conflict, Record, Task
from dewfall.engine.serving.table import EndpointKey
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError
from dewfall.rules.deployment import BACK, FINISH, WAIT
from dewfall.services.common import drop_tags
from dewfall.services.sagemaker import endpoint_deployment as deployment
from dewfall.services.sagemaker import endpoint_logs, endpoint_metrics, endpoint_model_metrics
from dewfall.services.sagemaker.endpoint_replicas import Member, ask_to_end, discard, find_members, start, stop, unreadable
from dewfall.services.sagemaker.endpoint_status import KIND, REASON_LIMIT, endpoint_key, every_variant, save, save_stage, show_variants
from dewfall.services.sagemaker.endpoint_tables import adopt_table, table
from dewfall.services.sagemaker.lineage_tracking import track_endpoint
from dewfall.services.sagemaker.models import model_key

log = logging.getLogger(__name__)

LOOK = 5.0  # seconds between looks at an endpoint in service; its agents' pokes come at once
LOOK_MOVING = 0.5  # while something is on its way
LOOK_BAKING = 1.0  # while a deployment only waits, and watches its alarms
RESTARTS = 2  # of a variant's replicas during a deployment
LONGEST_PAUSE = 60.0  # seconds between restarts of a replica that keeps ending
DRAIN_SECONDS = 60.0  # a request may take that long
SETTLE_SECONDS = 1.0  # from the swap of a table until nobody uses the old one
PING_FAILED = "The {} container for production variant {} did not pass the ping health check. Please check CloudWatch logs for this endpoint."


class DeploymentFailed(Exception):
    """A deployment cannot succeed; the text is AWS's FailureReason."""


def step(ctx: Ctx, task: Task) -> Outcome:
    """One look at an endpoint."""
    try:
        return _step(ctx, task)
    except Conflict:
        return Again(0.0)


def give_up(ctx: Ctx, task: Task, message: str) -> None:
    """The step keeps raising: a deployment fails, an endpoint in service is looked after again later."""
    with ctx.ports.store.transaction() as tx:
        record = tx.records.get(task.key)
        if record is None or record.status == "Failed":
            return
        if "_Incoming" in record.document:
            _roll_back(ctx, tx, record, f"InternalServerError: {message}")
        tx.queue.put(KIND, task.key, delay=LOOK)


def adopt(ctx: Ctx, record: Record) -> bool:
    """Tell the router who serves an endpoint, from its record and the agents that run: a new server's first request needs it. False where the
    record is no longer the endpoint's."""
    return adopt_table(ctx, record, _key(record), table(ctx, record.document, find_members(ctx, record.key.name)))


def _step(ctx: Ctx, task: Task) -> Outcome:
    name = task.key.name
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(endpoint_key(ctx, name))
    members = find_members(ctx, name)
    if record is None or record.status in ("Failed", "Deleting"):
        return _end(ctx, task, record, members)
    for member in members:
        for agent in member.agents:
            endpoint_logs.ship(ctx, name, agent, at_end=member.is_over)
    return Look(ctx, record, members).run()


def _end(ctx: Ctx, task: Task, record: Record | None, members: list[Member]) -> Outcome:
    """The endpoint is going, or has failed: nothing of it runs on. A failed one keeps its record until it is deleted."""
    name = task.key.name
    if record is not None and "_Fleet" in record.document:
        endpoint_metrics.flush(ctx, name, record.document["_Fleet"])
        endpoint_model_metrics.flush(ctx, name)
    ctx.ports.serving.drop_endpoint((ctx.account, ctx.region, name))
    if (again := ask_to_end(ctx, task, members)) is not None:
        return again
    for member in members:
        for agent in member.agents:
            endpoint_logs.ship(ctx, name, agent, at_end=True)
        discard(ctx, member)
    if record is None or record.status == "Failed":
        return Done()
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(record.key)
        tx.records.delete(endpoint_logs.progress_key(ctx, name))
        drop_tags(tx, ctx, record.document["EndpointArn"])
    return Done()


class Look:
    """One look at an endpoint that lives, with what it remembers from former ones."""

    def __init__(self, ctx: Ctx, record: Record, members: list[Member]) -> None:
        self.ctx = ctx
        self.record = record
        self.document = record.document
        self.name = record.key.name
        self.members = members
        with ctx.ports.store.transaction() as tx:
            self.progress = endpoint_logs.load_progress(ctx, tx, self.name)
        self.memory = self.progress.document
        self.before = repr(self.memory)
        self.now = ctx.now().timestamp()
        self.moving = False
        self.lost: set[str] = set()  # of the replicas that live: those that no longer answer pings

    def run(self) -> Outcome:
        """Bring what is there closer to what is to be."""
        try:
            if "_Incoming" in self.document:
                self._deploy()
            fleet = self.document.get("_Fleet")
            if fleet is not None:
                self.lost = self.ctx.ports.serving.check(_key(self.record))
                scaling = "_Before" in self.document
                complete = self._reconcile(fleet, deploying=scaling)
                self.ctx.ports.serving.set_endpoint(_key(self.record), table(self.ctx, self.document, self.members))
                if scaling and complete:
                    self._scaled()
        except DeploymentFailed as failure:
            self._fail(str(failure))
            return Again(0.0)
        self._retire()
        self._remember()
        if self.document.get("_Fleet"):
            endpoint_metrics.flush(self.ctx, self.name, self.document["_Fleet"])
            endpoint_model_metrics.flush(self.ctx, self.name)
        return Again(self._pause())

    def _pause(self) -> float:
        baking = deployment.baked_in(self.document, self.now)
        if baking and not self.moving:
            return min(baking, LOOK_BAKING)
        return LOOK_MOVING if self.moving or self.record.status != "InService" else LOOK

    # ------------------------------------------------------------ deployments

    def _deploy(self) -> None:
        """Move the deployment on as far as it may go now."""
        incoming = self.document["_Incoming"]
        going_back = deployment.goes_back(self.document)
        self._reconcile(incoming, deploying=not going_back, starting=not going_back)
        stage = self.document.get("_Deployment", {}).get("Stage")
        shifted = False
        while (move := deployment.next_move(self.ctx, self.document, self.members)).kind != WAIT:
            if move.kind == BACK:
                self._turn_back(move.reason)
                return
            if move.kind == FINISH:
                self._restored() if going_back else self._promote(incoming)
                return
            deployment.shift(self.ctx, self.document)
            shifted = True
        if shifted:
            self._save_stage(deployment.ACTIVATING)
        elif stage == deployment.ACTIVATING:
            self._save_stage(deployment.BAKING)

    def _save_stage(self, stage: str) -> None:
        self.moving = True
        deployment.enter_stage(self.ctx, self.document, stage)
        with self.ctx.ports.store.transaction() as tx:
            save_stage(self.ctx, tx, self.record)

    def _turn_back(self, reason: str) -> None:
        """The old fleet takes the traffic again: what is left of it at once, the rest as it returns."""
        log.info("deployment rolls back endpoint=%s reason=%s", self.name, reason.replace("\n", " ")[:300])
        self.moving = True
        deployment.turn_back(self.ctx, self.document, reason)
        deployment.show(self.ctx, self.document)
        self.document["EndpointStatus"] = "RollingBack"
        with self.ctx.ports.store.transaction() as tx:
            save(self.ctx, tx, self.record)

    def _restored(self) -> None:
        """The old fleet is whole again: the new one leaves, and when it has left, the rollback is over."""
        self.moving = True
        state = self.document["_Deployment"]
        if any(member.fleet == self.document["_Incoming"]["Id"] for member in self.members):
            if not state.get("Gone"):
                state["Gone"] = True
                with self.ctx.ports.store.transaction() as tx:
                    save_stage(self.ctx, tx, self.record)
            return
        with self.ctx.ports.store.transaction() as tx:
            _roll_back(self.ctx, tx, self.record, state["Reason"])

    # ------------------------------------------------------------ replicas

    def _reconcile(self, fleet: dict[str, Any], *, deploying: bool, starting: bool = True) -> bool:
        """Replace the dead, start the missing; whether every variant has all the replicas ready that it should have now."""
        complete, counts = True, deployment.wanted(self.document, self.now)[fleet["Id"]]
        for variant in every_variant(fleet):
            mine = [m for m in self.members if m.fleet == fleet["Id"] and m.variant == variant["VariantName"]]
            for member in mine:
                if member.is_over or self.lost.intersection(member.agents) or self._is_overdue(member, variant):
                    self._bury(member, variant, deploying)
            alive = [member for member in mine if member in self.members]
            ready = sum(member.is_ready for member in alive)
            place = f"{fleet['Id']}.{variant['VariantName']}"
            count = counts[variant["VariantName"]] if "Container" in variant else 0  # the others' instances are for inference components
            if ready >= count:
                self.memory["Failures"].pop(place, None)
                continue
            complete = False
            self.moving = True
            if starting and (deploying or not self._is_pausing(place)):
                for _ in range(count - len(alive)):
                    self._start(fleet["Id"], variant, deploying)
        return complete

    def _is_overdue(self, member: Member, variant: dict[str, Any]) -> bool:
        return not member.is_ready and bool(member.began) and self.now - member.began > variant["HealthSeconds"]

    def _bury(self, member: Member, variant: dict[str, Any], deploying: bool) -> None:
        """A replica has ended, or never answered. During a deployment it may do so only a few times."""
        place = f"{member.fleet}.{member.variant}"
        count, _ = self.memory["Failures"].get(place, (0, 0.0))
        self.memory["Failures"][place] = (count + 1, self.now)
        if deploying and (count >= RESTARTS or self._is_overdue(member, variant)):
            raise DeploymentFailed(_reason(self.ctx, member, variant))
        log.warning("replica ended agent=%s state=%s exit_code=%s", member.id, member.status.state, member.status.exit_code)
        self._discard(member)

    def _is_pausing(self, place: str) -> bool:
        """A replica that ends at once is not started again at once."""
        count, at = self.memory["Failures"].get(place, (0, 0.0))
        return bool(count > 1 and self.now - at < min(2.0 ** (count - 2), LONGEST_PAUSE))

    def _start(self, fleet: str, variant: dict[str, Any], deploying: bool) -> None:
        place = f"{fleet}.{variant['VariantName']}"
        number = self.memory["Numbers"][place] = int(self.memory["Numbers"].get(place, 0)) + 1
        self._remember()  # a number is never used twice
        try:
            start(self.ctx, self.name, fleet, variant, number)
        except AwsError as error:
            if deploying:
                raise DeploymentFailed(error.message) from None
            log.warning("replica cannot start endpoint=%s variant=%s problem=%s", self.name, variant["VariantName"], error.message)
            count, _ = self.memory["Failures"].get(place, (0, 0.0))
            self.memory["Failures"][place] = (count + 1, self.now)

    def _discard(self, member: Member) -> None:
        for agent in member.agents:
            endpoint_logs.ship(self.ctx, self.name, agent, at_end=True)
        discard(self.ctx, member)
        self.members.remove(member)
        self.memory["Leaving"].pop(member.id, None)

    def _retire(self) -> None:
        """Who belongs to no fleet, or is one too many: no new requests, then a request to stop, then away."""
        for member in self._surplus():
            self.moving = True
            since = self.memory["Leaving"].setdefault(member.id, self.now)
            waited = self.now - since
            busy = self.ctx.ports.serving.busy(_key(self.record), member.id)
            if member.is_over or not member.is_ready or waited > DRAIN_SECONDS:
                self._discard(member)
            elif waited >= SETTLE_SECONDS and not busy:
                stop(self.ctx, member)

    def _fleets(self) -> dict[str, dict[str, Any]]:
        return {self.document[member]["Id"]: self.document[member] for member in ("_Fleet", "_Incoming") if member in self.document}

    def _surplus(self) -> list[Member]:
        keep: set[str] = set()
        for fleet, counts in deployment.wanted(self.document, self.now).items():
            for name, count in counts.items():
                mine = [m for m in self.members if m.fleet == fleet and m.variant == name]
                mine.sort(key=lambda member: not member.is_ready)  # stable: the ready ones first, the oldest of them first
                keep |= {member.id for member in mine[:count]}
        return [member for member in self.members if member.id not in keep]

    # ------------------------------------------------------------ the record

    def _promote(self, incoming: dict[str, Any]) -> None:
        """The new fleet is ready: it takes the traffic, and the record says so."""
        document = self.document
        document["_Fleet"] = document.pop("_Incoming")
        document.pop("_Deployment", None)
        self.ctx.ports.serving.set_endpoint(_key(self.record), table(self.ctx, document, self.members))
        document["EndpointConfigName"] = incoming["EndpointConfigName"]
        show_variants(document, self.ctx.now())
        self._settled()
        self._track(incoming)

    def _track(self, fleet: dict[str, Any]) -> None:
        """The endpoint's lineage: which models' data it serves."""
        names = {variant["ModelName"] for variant in fleet["Variants"] if variant.get("ModelName")}
        with self.ctx.ports.store.transaction() as tx:
            found = [tx.records.get(model_key(self.ctx, name)) for name in sorted(names)]
            track_endpoint(self.ctx, tx, self.document, [model.document for model in found if model is not None])

    def _scaled(self) -> None:
        del self.document["_Before"]
        show_variants(self.document, self.ctx.now())
        self._settled()

    def _settled(self) -> None:
        self.document["EndpointStatus"] = "InService"
        self.document.pop("PendingDeploymentSummary", None)
        self.document.pop("FailureReason", None)
        with self.ctx.ports.store.transaction() as tx:
            save(self.ctx, tx, self.record)

    def _fail(self, reason: str) -> None:
        if "_Incoming" in self.document and self.document.get("_Deployment", {}).get("Step"):
            self._turn_back(reason[:REASON_LIMIT])
            self._remember()
            return
        log.info("deployment failed endpoint=%s reason=%s", self.name, reason.replace("\n", " ")[:300])
        with self.ctx.ports.store.transaction() as tx:
            _roll_back(self.ctx, tx, self.record, reason)
        self._remember()

    def _remember(self) -> None:
        if repr(self.memory) == self.before:
            return
        with self.ctx.ports.store.transaction() as tx:
            fresh = endpoint_logs.load_progress(self.ctx, tx, self.name)
            known = {agent for member in self.members for agent in member.agents}
            offsets = {agent: offset for agent, offset in fresh.document["Offsets"].items() if agent in known}
            for kept in ("Failures", "Numbers"):
                self.memory[kept] = {place: value for place, value in self.memory[kept].items() if place.split(".")[0] in self._fleets()}
            fresh.document = {**self.memory, "Offsets": offsets}
            tx.records.save(fresh)
        self.before = repr(self.memory)


def _roll_back(ctx: Ctx, tx: Any, record: Record, reason: str) -> None:
    """A deployment has failed: an endpoint that served goes on as it was, one that never did is Failed."""
    document = record.document
    document.pop("_Incoming", None)
    document.pop("_Deployment", None)
    document.pop("PendingDeploymentSummary", None)
    if "_Before" in document:
        document["_Fleet"] = document.pop("_Before")
    document["FailureReason"] = reason[:REASON_LIMIT]
    if "_Fleet" in document:
        document["EndpointStatus"] = "InService"
        show_variants(document, ctx.now())
    else:
        document["EndpointStatus"] = "Failed"
    save(ctx, tx, record)


def _reason(ctx: Ctx, member: Member, variant: dict[str, Any]) -> str:
    """AWS's sentence, and what AWS leaves to the logs: how it ended and the log's last lines."""
    status = member.status
    if said := unreadable(variant, status):
        return said[:REASON_LIMIT]
    said = PING_FAILED.format(variant["ContainerLabel"], variant["VariantName"])
    if status.state == "Exited" and status.exit_code is None:
        said += " The container did not start."
    elif status.state == "Exited":
        said += f" The container exited with code {status.exit_code}" + (f" ({status.reason})." if status.reason else ".")
    elif status.state != "Lost":
        said += f" It did not answer within {variant['HealthSeconds']} seconds."
    tail = (status.log_tail or _last_lines(ctx, status.id) or status.message).strip()
    room = REASON_LIMIT - len(said) - 24
    return f"{said} The end of its log: {tail[-room:]}" if tail else said


def _last_lines(ctx: Ctx, agent: str) -> str:
    try:
        with ctx.ports.compute.log_file(agent).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()[-20:]
    except OSError:
        return ""
    return "\n".join(line.partition(" ")[2] for line in lines)


def _key(record: Record) -> EndpointKey:
    return record.key.account, record.key.region, record.key.name
