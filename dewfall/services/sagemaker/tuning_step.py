"""The job step of tuning: ends the job when its time has come, stops trials that lag behind, starts the next ones. Short and repeatable.

    look at the trials ─ to end? ─ stop those that run ─ all over: final status
                       └ stop laggards ─ room? ─ ask the search for a trial, start its training job ─ look again when one ends

It holds no slot and keeps nothing between two looks, so that a run after a crash goes on where the last one stopped.
"""

from __future__ import annotations

import logging

from dewfall.context import Ctx
from dewfall.engine.ports import Record, Task
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError
from dewfall.services.common import get_tags
from dewfall.services.sagemaker import tuning_decisions
from dewfall.services.sagemaker.training_logs import objective_curve
from dewfall.services.sagemaker.tuning_status import FINAL, Trial, job_key, results, save, trials_of
from dewfall.services.sagemaker.tuning_trials import former_trials, number_of_trials, start_trial

log = logging.getLogger(__name__)

POLL = 10.0  # seconds between looks; the end of a trial wakes the step at once
CURVE_POLL = 1.0  # where running trials may be stopped early
REASON_LIMIT = 1024


def step(ctx: Ctx, task: Task) -> Outcome:
    """One look at a tuning job. A Conflict (somebody stopped it meanwhile) makes the worker look again."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(job_key(ctx, task.key.name))
        if record is None or record.status in FINAL:
            return Done()
        trials = trials_of(ctx, tx, record.document)
        former = former_trials(ctx, tx, record.document)
    if record.status == "Stopping":
        return _wind_up(ctx, record, trials, former)
    document = record.document
    if "Ending" not in document:
        found = tuning_decisions.ending(document, trials, ctx.now())
        if found is None:
            return _go_on(ctx, record, trials, former)
        document["Ending"] = {"Reason": found.reason}
        with ctx.ports.store.transaction() as tx:
            record = tx.records.save(record)
    return _wind_up(ctx, record, trials, former)


def give_up(ctx: Ctx, task: Task, message: str) -> None:
    """The step kept raising: an internal error ends the job."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(job_key(ctx, task.key.name))
        trials = trials_of(ctx, tx, record.document) if record else []
    if record is not None and record.status not in FINAL:
        _stop_all(ctx, trials)
        _finish(ctx, record, trials, [], "Failed", f"InternalServerError: {message}")


def _go_on(ctx: Ctx, record: Record, trials: list[Trial], former: list[Trial]) -> Outcome:
    """Stop laggards, then start one trial; the next one in another look, which sees this one."""
    document = record.document
    config, most = document["HyperParameterTuningJobConfig"], number_of_trials(document)
    running = [trial for trial in trials if not trial.is_over]
    if running and tuning_decisions.looks_at_curves(config):
        with ctx.ports.store.reading() as tx:
            curves = {trial.name: objective_curve(ctx, tx, trial.name) for trial in trials}
        _stop_all(ctx, tuning_decisions.laggards(document, trials, curves))
    is_last = most is not None and len(trials) >= most
    if is_last and not running:
        reason = tuning_decisions.failure(trials)
        return _finish(ctx, record, trials, former, "Failed" if reason else "Completed", reason)
    if is_last or len(running) >= config["ResourceLimits"]["MaxParallelTrainingJobs"]:
        return Again(_patience(ctx, record))
    with ctx.ports.store.reading() as tx:
        tags = get_tags(tx, ctx, document["HyperParameterTuningJobArn"])
    number = max((trial.number for trial in trials), default=0) + 1
    try:
        start_trial(ctx, document, number, trials, former, tags)
    except AwsError as error:
        _stop_all(ctx, running)
        return _finish(ctx, record, trials, former, "Failed", f"ClientError: {error.message}")
    return Again(0.0)


def _patience(ctx: Ctx, record: Record) -> float:
    config = record.document["HyperParameterTuningJobConfig"]
    longest = CURVE_POLL if tuning_decisions.looks_at_curves(config) else POLL
    runtime = config["ResourceLimits"].get("MaxRuntimeInSeconds")
    left = runtime - (ctx.now() - record.document["CreationTime"]).total_seconds() if runtime else longest
    return float(max(0.1, min(longest, left)))


def _wind_up(ctx: Ctx, record: Record, trials: list[Trial], former: list[Trial]) -> Outcome:
    """No more trials: stop those that run, wait for their end, and say how the job ended."""
    running = [trial for trial in trials if not trial.is_over]
    if running:
        _stop_all(ctx, running)
        return Again(POLL)
    if record.status == "Stopping":
        return _finish(ctx, record, trials, former, "Stopped")
    reason = record.document["Ending"]["Reason"] or tuning_decisions.failure(trials)
    return _finish(ctx, record, trials, former, "Failed" if reason else "Completed", reason)


def _stop_all(ctx: Ctx, trials: list[Trial]) -> None:
    for trial in trials:
        if trial.status == "InProgress":
            try:
                ctx.call("sagemaker", "StopTrainingJob", {"TrainingJobName": trial.name})
            except AwsError as error:
                log.info("trial not stopped job=%s problem=%s", trial.name, error.message)  # it ended by itself meanwhile


def _finish(ctx: Ctx, record: Record, trials: list[Trial], former: list[Trial], status: str, reason: str = "") -> Outcome:
    """The final status, with what the trials came to."""
    document = record.document
    now = ctx.now()
    document |= {**results(document, trials, now, former), "HyperParameterTuningJobStatus": status, "HyperParameterTuningEndTime": now}
    if reason:
        log.info("tuning job failed job=%s reason=%s", record.key.name, reason.replace("\n", " ")[:200])
        document["FailureReason"] = reason[:REASON_LIMIT]
    with ctx.ports.store.transaction() as tx:
        save(ctx, tx, record)
    return Done()
