"""The job step of processing: starts the agent, follows it, uploads its outputs, ends the record. Short and repeatable.

    room? ─ start agent ─ ship its log, upload continuous outputs ─ exited: upload the rest ─ final status ─ discard agent

Everything it needs is in the record, the agent's folder and S3, so that a run after a crash goes on where the last one stopped.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from dewfall.context import Ctx
from dewfall.engine import crew, turns
from dewfall.engine.ports import AgentStatus, Record, Task
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError
from dewfall.services.sagemaker import processing_failures, training_failures
from dewfall.services.sagemaker.debug_rule_status import settle_rule
from dewfall.services.sagemaker.input_sources import InputError
from dewfall.services.sagemaker.job_outputs import by_name, put_changed, put_trees
from dewfall.services.sagemaker.processing_crew import processing_crew, processing_hosts, processing_specs
from dewfall.services.sagemaker.processing_spec import MESSAGES, log_target, s3_outputs
from dewfall.services.sagemaker.processing_status import FINAL, KIND, finish, job_key, save, watches
from dewfall.services.sagemaker.training_logs import ship_log
from dewfall.services.sagemaker.trial_components import close_job_component

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between looks at a running job; its agent's pokes come at once
OTHERS_FIRST = 0.25  # seconds until the next look when there is room, but somebody else is starting
MESSAGE_LIMIT = 1024


def step(ctx: Ctx, task: Task) -> Outcome:
    """One look at a processing job. A Conflict (somebody stopped it meanwhile) makes the worker look again."""
    outcome = _look(ctx, task)
    if isinstance(outcome, Done):
        turns.pass_on(ctx, task)
    return outcome


def give_up(ctx: Ctx, task: Task, message: str) -> None:
    """The step kept raising: an internal error ends the job."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(job_key(ctx, task.key.name))
    if record is not None and record.status not in FINAL:
        _close(ctx, record, "Failed", f"InternalServerError: {message}", agent_id(ctx, task.key.name))
    turns.pass_on(ctx, task)


def agent_id(ctx: Ctx, name: str) -> str:
    """The id of a job's agent; its first four parts are the record."""
    return f"{KIND}.{ctx.account}.{ctx.region}.{name}.1"


def _look(ctx: Ctx, task: Task) -> Outcome:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(job_key(ctx, task.key.name))
    agent = agent_id(ctx, task.key.name)
    if record is None or record.status in FINAL:
        for one in ctx.ports.compute.agents():
            if one == agent or one.startswith(f"{agent}."):
                ctx.ports.compute.discard(one)
        return Done()
    agents = processing_crew(record.document, agent)
    begun = crew.statuses(ctx.ports.compute, agents)
    if not any(begun):
        return _begin(ctx, record, agent, task)
    if not all(begun) and record.status != "Stopping":  # a former server was killed between two starts
        crew.start(ctx.ports.compute, processing_specs(ctx, record.document, agent))
    status = crew.settle(ctx.ports.compute, agents, ctx.now().timestamp())
    if turns.is_waiting(task):  # a former server started it and could not say so
        turns.pass_on(ctx, task)
        return Again(0.0, turns.without_mark(task))
    if status.state == "Lost":
        _ship(ctx, record, agent, at_end=True)
        stopped = record.status == "Stopping"
        return _close(ctx, record, "Stopped" if stopped else "Failed", "" if stopped else training_failures.LOST, agent)
    if status.state == "Exited":
        return _end(ctx, record, status)
    if record.status == "Stopping":
        crew.stop(ctx.ports.compute, agents)
    _follow(ctx, record, status)
    shipped = _ship(ctx, record, agent)
    for one in agents:
        _upload_continuously(ctx, record, one)
    return Again(POLL if shipped else 0.0)


def _begin(ctx: Ctx, record: Record, agent: str, task: Task) -> Outcome:
    if record.status == "Stopping":
        return _close(ctx, record, "Stopped")
    hosts = processing_hosts(record.document)
    waits = not watches(record.document)
    is_first, has_room = not waits or turns.is_first(ctx, task), not waits or ctx.ports.compute.has_room(len(hosts))
    if not has_room:
        return Again(turns.AT_THE_HEAD if is_first else turns.IN_LINE)
    if not is_first:
        return Again(OTHERS_FIRST)
    try:
        for _, _, output in s3_outputs(record.document):
            _check_bucket(ctx, output["S3Uri"])
        specs = processing_specs(ctx, record.document, agent)
    except InputError as error:
        return _close(ctx, record, "Failed", str(error))
    except AwsError as error:
        return _close(ctx, record, "Failed", f"ClientError: {error.message}")
    for host in hosts:
        target = log_target(ctx, record.document, host.name)
        ctx.ports.series.create_log_stream(ctx.account, ctx.region, target.group, target.stream)
    crew.start(ctx.ports.compute, specs)
    turns.pass_on(ctx, task)
    return Again(POLL, turns.without_mark(task))


def _check_bucket(ctx: Ctx, uri: str) -> None:
    """A job that could not upload its results would work in vain."""
    bucket = uri.removeprefix("s3://").split("/", 1)[0]
    try:
        next(iter(ctx.ports.objects.list(f"s3://{bucket}/")), None)
    except AwsError as error:
        raise InputError(f"ClientError: Failed to upload to {uri}: {error.code} ({error.status or 404}): {error.message}: {bucket}") from None


def _follow(ctx: Ctx, record: Record, status: AgentStatus) -> None:
    """ProcessingStartTime, once the command runs."""
    started = next((at for phase, at in status.phases if phase == "Training"), None)
    if started is None or "ProcessingStartTime" in record.document:
        return
    record.document["ProcessingStartTime"] = datetime.fromtimestamp(started, UTC)
    with ctx.ports.store.transaction() as tx:
        save(ctx, tx, record)


def _upload_continuously(ctx: Ctx, record: Record, agent: str) -> None:
    """Files of Continuous outputs that have rested for a moment, each version once."""
    for _, path, output in s3_outputs(record.document):
        if output["S3UploadMode"] == "Continuous":
            try:
                put_changed(ctx, _prefix(output["S3Uri"]), ctx.ports.compute.written(agent, path))
            except AwsError as error:
                log.warning("continuous upload failed job=%s uri=%s problem=%s", record.key.name, output["S3Uri"], error)


def _end(ctx: Ctx, record: Record, status: AgentStatus) -> Outcome:
    """The agent has had its last word: ship the rest, upload what it collected, and only then say how the job ended."""
    was_stopping = record.status == "Stopping"
    _follow(ctx, record, status)
    if not _ship(ctx, record, status.id, at_end=True):
        return Again(0.0)
    stopped = was_stopping or status.reason in ("Stopped", "MaxRuntimeExceeded")
    done = status.exit_code == 0 and not status.reason
    try:
        _upload(ctx, record, status, everything=done or stopped)
    except AwsError as error:
        return _close(ctx, record, "Failed", f"ClientError: Artifact upload failed:{error.code}: {error.message}", status.id)
    except FileNotFoundError:
        log.exception("outputs are gone job=%s", record.key.name)
        return _close(ctx, record, "Failed", training_failures.LOST, status.id)
    if done:
        return _close(ctx, record, "Completed", "", status.id)
    if stopped:
        return _close(ctx, record, "Stopped", "", status.id)
    return _close(ctx, record, "Failed", processing_failures.reason(status, record.document.get("ExitMessage", "")), status.id)


def _upload(ctx: Ctx, record: Record, status: AgentStatus, *, everything: bool) -> None:
    """Outputs into S3, of a failed job the continuous ones alone; and the exit message into the record."""
    ended = datetime.fromtimestamp(status.phases[-1][1], UTC) if status.phases else record.document["CreationTime"]
    collected = by_name(status.outputs)
    message = next((file for folder in collected.get(MESSAGES, ()) if (file := folder / "message").is_file()), None)
    if message is not None:
        record.document["ExitMessage"] = message.read_bytes()[: 4 * MESSAGE_LIMIT].decode("utf-8", "replace")[:MESSAGE_LIMIT]
    for name, _, output in s3_outputs(record.document):
        if name not in collected:
            continue
        if output["S3UploadMode"] == "Continuous":
            for folder in reversed(collected[name]):
                put_changed(ctx, _prefix(output["S3Uri"]), folder, rested=0.0)
        elif everything:
            put_trees(ctx, _prefix(output["S3Uri"]), collected[name], ended)


def _prefix(uri: str) -> str:
    return uri.rstrip("/") + "/"


def _close(ctx: Ctx, record: Record, status: str, reason: str = "", agent: str = "") -> Outcome:
    if reason:
        log.info("processing job failed job=%s reason=%s", record.key.name, reason.replace("\n", " ")[:200])
    finish(record.document, status, ctx.now(), reason)
    with ctx.ports.store.transaction() as tx:
        save(ctx, tx, record)
        settle_rule(ctx, tx, record.document)
        close_job_component(ctx, tx, "processing", record.document, [])
    if agent:
        crew.discard(ctx.ports.compute, processing_crew(record.document, agent))
    return Done()


def _ship(ctx: Ctx, record: Record, lead: str, *, at_end: bool = False) -> bool:
    """Ship the next piece of every host's log; True when nothing is left."""
    agents = processing_crew(record.document, lead)
    shipped = [ship_log(ctx, log_target(ctx, record.document, crew.host_of(agent)), agent, at_end=at_end) for agent in agents]
    return all(shipped)
