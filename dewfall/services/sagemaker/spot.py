"""Interruptions of managed spot training: asked for, by chance, or because another job needs the room; and the end of a wait that took too long.

    Training ─ Interruption noted in the record ─ SIGTERM, grace ─ checkpoints stored ─ Interrupted ─ room? ─ Starting …

Only the record knows that a stop is an interruption, so a killed server remembers it.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AgentStatus, Conflict, Record, Tx
from dewfall.errors import validation
from dewfall.rules import spot
from dewfall.services.common import transact
from dewfall.services.sagemaker.training_status import KIND, job_key

RUNNING = ("Downloading", "Training")
MARK = "Interruption"  # of the record while its agents are being ended: why


def interrupt(ctx: Ctx, name: str, why: str = "requested") -> None:
    """Note that a running spot job is to be interrupted. ValidationException for any other job."""

    def act(tx: Tx) -> None:
        record = tx.records.get(job_key(ctx, name))
        if record is None:
            raise validation("Requested resource not found.")
        if not is_interruptible(record):
            status = record.document["SecondaryStatus"]
            raise validation(f"Only running managed spot training jobs can be interrupted; {name} is in status {status}.")
        _mark(ctx, tx, record, why)

    transact(ctx, act)


def make_room(ctx: Ctx) -> None:
    """Interrupt the spot job that has run the shortest, unless one is on its way out already."""
    with ctx.ports.store.reading() as tx:
        running = [record for record in tx.records.scan("sagemaker", KIND, status="InProgress") if record.document["EnableManagedSpotTraining"]]
    if any(MARK in record.document for record in running):
        return
    for record in sorted((r for r in running if is_interruptible(r)), key=lambda r: str(r.document["TrainingStartTime"]), reverse=True)[:1]:
        try:
            with ctx.ports.store.transaction() as tx:
                _mark(ctx, tx, record, "the room is needed")
        except Conflict:
            return  # somebody changed it; the next look decides anew


def is_interruptible(record: Record) -> bool:
    """Whether the job runs on spot capacity and is not being interrupted already."""
    document = record.document
    return bool(document["EnableManagedSpotTraining"]) and document["SecondaryStatus"] in RUNNING and MARK not in document


def is_due(ctx: Ctx, record: Record, status: AgentStatus, attempt: int) -> bool:
    """Whether chance, at the rate that the settings give, takes the machine now."""
    began = dict(status.phases).get("Training")
    if began is None or not is_interruptible(record):
        return False
    settings = ctx.ports.settings
    return ctx.now().timestamp() - began >= spot.interrupted_after(settings.spot_rate, settings.spot_seed, record.key.name, attempt)


def has_waited_too_long(ctx: Ctx, document: dict[str, Any]) -> bool:
    """Whether a spot job's MaxWaitTimeInSeconds is over."""
    limit = document["StoppingCondition"].get("MaxWaitTimeInSeconds")
    return limit is not None and (ctx.now() - document["CreationTime"]).total_seconds() >= limit


def _mark(ctx: Ctx, tx: Tx, record: Record, why: str) -> None:
    record.document[MARK] = why
    tx.records.save(record)
    tx.queue.wake(KIND, record.key)
