"""The job step of training: starts the agent, follows it, commits its outputs, ends the record. Short and repeatable.

    Starting ─ room? ─ start agent ─ follow its phases, ship its log ─ exited: commit outputs ─ final status ─ discard agent

Everything it needs is in the record, the agent's folder and S3, so that a run after a crash goes on where the last one stopped.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine import crew, turns
from dewfall.engine.merging import merged
from dewfall.engine.ports import AgentStatus, Collected, Record, Task
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError
from dewfall.rules import lifecycle
from dewfall.services.sagemaker import spot, training_failures, training_logs
from dewfall.services.sagemaker.checkpoints import save_checkpoints
from dewfall.services.sagemaker.debug_rules import end_rules, start_rules, stop_profiler_rules
from dewfall.services.sagemaker.input_sources import InputError
from dewfall.services.sagemaker.job_outputs import by_name, put_once, put_trees
from dewfall.services.sagemaker.live_outputs import save_live_outputs
from dewfall.services.sagemaker.training_crew import training_crew, training_hosts, training_specs
from dewfall.services.sagemaker.training_spec import DATA, MODEL
from dewfall.services.sagemaker.training_status import artifact_uri, close_times, enter, fail, job_key, save, tell, wake_tuning
from dewfall.services.sagemaker.trial_components import close_job_component
from dewfall.services.sagemaker.warm_pools import drop_folder, leave_pool, take_pool

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between looks at a running job; its agent's pokes come at once
OTHERS_FIRST = 0.25  # seconds until the next look when there is room, but somebody else is starting

BETWEEN_ATTEMPTS = ("Restarting", "Interrupted")
# An agent's phase → the secondary status it means.
PHASES = {"Downloading": "Downloading", "Training": "Training", "Uploading": "Uploading"}


def step(ctx: Ctx, task: Task) -> Outcome:
    """One look at a training job. A Conflict (somebody stopped it meanwhile) makes the worker look again."""
    outcome = _look(ctx, task)
    if isinstance(outcome, Done):
        turns.pass_on(ctx, task)
    return outcome


def _look(ctx: Ctx, task: Task) -> Outcome:
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(job_key(ctx, task.key.name))
    if record is None or record.status in lifecycle.FINAL:
        for agent in ctx.ports.compute.agents():
            if agent.startswith(agent_prefix(ctx, task.key.name)):
                ctx.ports.compute.discard(agent)
        return Done()
    attempt = int(task.payload.get("Attempt", 1))
    agent = agent_id(ctx, record, attempt)
    agents = training_crew(record.document, agent)
    begun = crew.statuses(ctx.ports.compute, agents)
    if not any(begun):
        return _begin(ctx, record, agent, task)
    if not all(begun) and record.document["SecondaryStatus"] in BETWEEN_ATTEMPTS:  # a former server was killed while it discarded the last one
        crew.discard(ctx.ports.compute, agents)
        return Again(0.0, {**task.payload, "Attempt": attempt + 1})
    if not all(begun) and record.status != "Stopping":  # a former server was killed between two starts
        crew.start(ctx.ports.compute, training_specs(ctx, record.document, agent))
    status = crew.settle(ctx.ports.compute, agents, ctx.now().timestamp())
    if turns.is_waiting(task):  # a former server started it and could not say so
        turns.pass_on(ctx, task)
        return Again(0.0, turns.without_mark(task))
    if status.state in ("Exited", "Lost") and _is_interrupted(record, status):
        return _interrupted(ctx, record, agent, task)
    if status.state == "Lost" or (status.state == "Exited" and status.reason == "InternalError"):
        return _lost(ctx, record, status, attempt)
    if status.state == "Exited":
        return _end(ctx, record, status)
    if spot.is_due(ctx, record, status, attempt):
        spot.interrupt(ctx, record.key.name, "by chance")
        return Again(0.0)
    if record.status == "InProgress" and spot.has_waited_too_long(ctx, record.document):
        record.document["WaitedTooLong"] = True
        _move(ctx, record, "Stopping", ctx.now())
    if record.status == "Stopping" or spot.MARK in record.document:
        crew.stop(ctx.ports.compute, agents)
    _attend_rules(ctx, record)
    _follow(ctx, record, status)
    shipped = _ship(ctx, record, agent)
    _save_checkpoints(ctx, record, agent)
    return Again(POLL if shipped else 0.0)


def give_up(ctx: Ctx, task: Task, message: str) -> None:
    """The step kept raising: an internal error ends the job."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(job_key(ctx, task.key.name))
    if record is not None and record.status not in lifecycle.FINAL:
        _fail(ctx, record, f"InternalServerError: {message}", agent_id(ctx, record, int(task.payload.get("Attempt", 1))))
    turns.pass_on(ctx, task)


def agent_prefix(ctx: Ctx, name: str) -> str:
    """What the agents of a name have in common: these four parts are the record."""
    return f"training-job.{ctx.account}.{ctx.region}.{name}."


def agent_id(ctx: Ctx, record: Record, attempt: int) -> str:
    """The id of a job's agent. The creation is in it, because a name may be used again right after the job's deletion."""
    return f"{agent_prefix(ctx, record.key.name)}{int(record.document['CreationTime'].timestamp() * 1000)}-{attempt}"


def _begin(ctx: Ctx, record: Record, agent: str, task: Task) -> Outcome:
    document = record.document
    if record.status == "Stopping":
        return _finish(ctx, record, _stopped(record))
    if spot.has_waited_too_long(ctx, document):
        _move(ctx, record, "Stopping", ctx.now())
        return _finish(ctx, record, "MaxWaitTimeExceeded")
    if document["SecondaryStatus"] == "Interrupted" and turns.anyone_waits(ctx):
        return Again(turns.AT_THE_HEAD)
    hosts = training_hosts(document)
    is_first, has_room = turns.is_first(ctx, task), ctx.ports.compute.has_room(len(hosts))
    if not has_room and document["SecondaryStatus"] not in ("Pending", "Interrupted"):
        _move(ctx, record, "Pending", ctx.now())
    if not has_room and is_first and not document["EnableManagedSpotTraining"]:
        spot.make_room(ctx)
    if not has_room:
        return Again(turns.AT_THE_HEAD if is_first else turns.IN_LINE)
    if not is_first:
        return Again(OTHERS_FIRST)
    try:
        _check_output_bucket(ctx, document)
        take_pool(ctx, record)
        specs = training_specs(ctx, document, agent)
    except InputError as error:
        return _fail(ctx, record, str(error))
    except AwsError as error:
        return _fail(ctx, record, f"ClientError: {error.message}")
    was_starting = document["SecondaryStatus"] == "Starting"
    enter(document, "Starting", ctx.now(), lifecycle.STARTING_MESSAGES[1])
    with ctx.ports.store.transaction() as tx:
        tx.records.save(record)
        if not was_starting:
            tell(ctx, tx, document)
        training_logs.open_stream(ctx, document, [host.name for host in hosts])
    crew.start(ctx.ports.compute, specs)
    _attend_rules(ctx, record)  # after the job's own start, which they are not to delay
    turns.pass_on(ctx, task)
    return Again(POLL, turns.without_mark(task))


def _check_output_bucket(ctx: Ctx, document: dict[str, Any]) -> None:
    """A job that could not upload its model would train in vain."""
    bucket = document["OutputDataConfig"]["S3OutputPath"].removeprefix("s3://").split("/", 1)[0]
    try:
        next(iter(ctx.ports.objects.list(f"s3://{bucket}/")), None)
    except AwsError as error:
        raise InputError(f"ClientError: Artifact upload failed:{error.code} ({error.status or 404}): {error.message}: {bucket}") from None


def _attend_rules(ctx: Ctx, record: Record) -> None:
    """Rules that have no job yet are started, and Profiler's stopped when it has been disabled."""
    if record.status == "InProgress" and any((start_rules(ctx, record.document), stop_profiler_rules(ctx, record.document))):
        with ctx.ports.store.transaction() as tx:
            tx.records.save(record)


def _follow(ctx: Ctx, record: Record, status: AgentStatus) -> None:
    """Bring the record's transitions up to the agent's phases."""
    reached = [entry["Status"] for entry in record.document["SecondaryStatusTransitions"]]
    begun = max((n for n, entry in enumerate(reached) if entry in ("Starting", "Restarting", "Interrupted")), default=0)
    coming = [(PHASES[phase], at) for phase, at in status.phases if phase in PHASES and PHASES[phase] not in reached[begun:]]
    if spot.MARK in record.document:
        coming = [(secondary, at) for secondary, at in coming if secondary != "Uploading"]
    if not coming or record.status == "Stopping":
        return
    with ctx.ports.store.transaction() as tx:
        for secondary, seconds in coming[:-1]:
            _enter_phase(record.document, secondary, seconds)
            tell(ctx, tx, record.document)
        _enter_phase(record.document, *coming[-1])
        save(ctx, tx, record)


def _enter_phase(document: dict[str, Any], secondary: str, seconds: float) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    document.setdefault("TrainingStartTime", at)
    enter(document, secondary, at)


def _move(ctx: Ctx, record: Record, secondary: str, at: datetime) -> None:
    enter(record.document, secondary, at)
    with ctx.ports.store.transaction() as tx:
        save(ctx, tx, record)


def _end(ctx: Ctx, record: Record, status: AgentStatus) -> Outcome:
    """The agent has had its last word: ship the rest, commit what it collected, and only then say how the job ended."""
    was_stopping = record.status == "Stopping"
    record.document.pop(spot.MARK, None)  # it has ended before it could be interrupted
    _attend_rules(ctx, record)
    _follow(ctx, record, status)
    if not _ship(ctx, record, status.id, at_end=True):
        return Again(0.0)
    if status.phases and "TrainingStartTime" not in record.document:
        record.document["TrainingStartTime"] = datetime.fromtimestamp(status.phases[0][1], UTC)
    stopped = was_stopping or status.reason in ("Stopped", "MaxRuntimeExceeded")
    wanted = [output for output in status.outputs if status.exit_code == 0 or stopped]
    save_live_outputs(ctx, record.document, training_crew(record.document, status.id), at_end=True)
    try:
        save_checkpoints(ctx, record.document, training_crew(record.document, status.id), at_end=True)
        _commit(ctx, record.document, status, wanted)
    except AwsError as error:
        return _fail(ctx, record, f"ClientError: Artifact upload failed:{error.code}: {error.message}", status.id)
    except FileNotFoundError:
        log.exception("outputs are gone job=%s", record.key.name)
        return _fail(ctx, record, training_failures.LOST, status.id)
    if status.reason == "MaxRuntimeExceeded":
        return _finish(ctx, record, "MaxRuntimeExceeded", status.id)
    if status.reason == "Stopped" or (was_stopping and status.exit_code != 0):
        return _finish(ctx, record, _stopped(record), status.id)
    if status.exit_code == 0 and not status.reason:
        return _finish(ctx, record, "Completed", status.id)
    return _fail(ctx, record, training_failures.reason(status), status.id)


def _commit(ctx: Ctx, document: dict[str, Any], status: AgentStatus, collected: list[Collected]) -> None:
    """Put outputs into S3. The agent's files stay until the record is final, so that a crash in between loses and doubles nothing."""
    ended = datetime.fromtimestamp(status.phases[-1][1], UTC) if status.phases else document["CreationTime"]
    for name, paths in by_name(collected).items():
        target = _target(document, name)
        if target.endswith("/"):
            put_trees(ctx, target, paths, ended)
        else:
            put_once(ctx, target, merged(paths), ended)


def _target(document: dict[str, Any], name: str) -> str:
    return artifact_uri(document, {MODEL: "model", DATA: "output"}[name])


def _finish(ctx: Ctx, record: Record, secondary: str, agent: str = "") -> Outcome:
    close_times(record.document, ctx.now())
    enter(record.document, secondary, ctx.now())
    return _close(ctx, record, agent)


def _fail(ctx: Ctx, record: Record, reason: str, agent: str = "") -> Outcome:
    log.info("training job failed job=%s reason=%s", record.key.name, reason.replace("\n", " ")[:200])
    fail(record.document, ctx.now(), reason)
    return _close(ctx, record, agent)


def _close(ctx: Ctx, record: Record, agent: str) -> Outcome:
    end_rules(ctx, record.document)
    with ctx.ports.store.transaction() as tx:
        metrics = training_logs.final_metrics(ctx, tx, record.key.name)
        if metrics:
            record.document["FinalMetricDataList"] = metrics
        leave_pool(ctx, tx, record)
        save(ctx, tx, record)
        close_job_component(ctx, tx, "training", record.document, training_logs.summaries(ctx, tx, record.key.name))
        wake_tuning(ctx, tx, record)
    if agent:
        crew.discard(ctx.ports.compute, training_crew(record.document, agent))
    drop_folder(ctx, record.document)
    return Done()


def _ship(ctx: Ctx, record: Record, lead: str, *, at_end: bool = False) -> bool:
    """Ship the next piece of every host's log; True when nothing is left."""
    shipped = [training_logs.ship(ctx, record.document, agent, at_end=at_end) for agent in training_crew(record.document, lead)]
    return all(shipped)


def _lost(ctx: Ctx, record: Record, status: AgentStatus, attempt: int) -> Outcome:
    """The agent died without a last word, or of itself: tried again as often as the job's RetryStrategy says, else an internal error."""
    agent = status.id
    if not _ship(ctx, record, agent, at_end=True):
        return Again(0.0)
    _save_checkpoints(ctx, record, agent, at_end=True)
    if record.status == "Stopping":
        return _finish(ctx, record, _stopped(record), agent)
    if attempt > int(record.document.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)):
        return _fail(ctx, record, training_failures.reason(status) if status.state == "Exited" else training_failures.LOST, agent)
    _move(ctx, record, "Restarting", ctx.now())
    crew.discard(ctx.ports.compute, training_crew(record.document, agent))
    return Again(0.0, {"Attempt": attempt + 1, **turns.WAITING})


def _stopped(record: Record) -> str:
    """What a stopped job's end is called."""
    return "MaxWaitTimeExceeded" if record.document.get("WaitedTooLong") else "Stopped"


def _is_interrupted(record: Record, status: AgentStatus) -> bool:
    """Whether the agents have ended because their machine was wanted; a command that ended by itself has ended."""
    was_told = record.document["SecondaryStatus"] == "Interrupted"  # a former server was killed before it could discard them
    return was_told or (spot.MARK in record.document and record.status == "InProgress" and (status.state == "Lost" or status.reason == "Stopped"))


def _interrupted(ctx: Ctx, record: Record, agent: str, task: Task) -> Outcome:
    """Everything of this attempt is gone but its log and its checkpoints. The next one starts when nobody is in line for the room."""
    attempt = int(task.payload.get("Attempt", 1))
    if not _ship(ctx, record, agent, at_end=True):
        return Again(0.0)
    _save_checkpoints(ctx, record, agent, at_end=True)
    if record.document.pop(spot.MARK, None):
        log.info("spot training job interrupted job=%s attempt=%d", record.key.name, attempt)
        _move(ctx, record, "Interrupted", ctx.now())
    crew.discard(ctx.ports.compute, training_crew(record.document, agent))
    turns.pass_on(ctx, task)
    return Again(0.0, {"Attempt": attempt + 1})


def _save_checkpoints(ctx: Ctx, record: Record, lead: str, *, at_end: bool = False) -> None:
    """Store what there is; a bucket that is gone is the end's trouble."""
    save_live_outputs(ctx, record.document, training_crew(record.document, lead), at_end=at_end)
    try:
        save_checkpoints(ctx, record.document, training_crew(record.document, lead), at_end=at_end)
    except AwsError as error:
        log.warning("checkpoints cannot be stored job=%s problem=%s", record.key.name, error.message)
