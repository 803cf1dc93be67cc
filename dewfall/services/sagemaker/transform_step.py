"""The job step of batch transform: starts replicas and record loop, introduces them, commits the outputs, ends the record.

    room? ─ start loop and replicas ─ all ready: publish their addresses ─ loop exited: stop replicas ─ commit outputs ─ final status

Everything it needs is in the record, the agents' folders and S3, so that a run after a crash goes on where the last one stopped.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dewfall.context import Ctx
from dewfall.engine import turns
from dewfall.engine.ports import AgentStatus, Record, Task
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError
from dewfall.services.sagemaker import transform_logs
from dewfall.services.sagemaker.endpoint_status import HEALTH_SECONDS
from dewfall.services.sagemaker.input_sources import InputError
from dewfall.services.sagemaker.models import s3_uri
from dewfall.services.sagemaker.training_failures import LOST
from dewfall.services.sagemaker.transform_capture import put_manifests
from dewfall.services.sagemaker.transform_checks import containers_of
from dewfall.services.sagemaker.transform_spec import (
    DRIVER,
    INPUTS,
    OUTPUT,
    RESULTS,
    addresses_file,
    agent_id,
    driver_spec,
    replica_parts,
    transform_replica_spec,
)
from dewfall.services.sagemaker.transform_status import FINAL, end, job_key, save
from dewfall.services.sagemaker.trial_components import close_job_component

log = logging.getLogger(__name__)

POLL = 1.0  # seconds between looks at a running job; its agents' pokes come at once
OTHERS_FIRST = 0.25  # seconds until the next look when there is room, but somebody else is starting
OVER = ("Exited", "Lost")
ALGORITHM_ERROR = "AlgorithmError: See job logs for more information"
CAUSES = ("ClientError:", "AlgorithmError:", "InternalServerError:")
LINK = ".dewfall-link"


def step(ctx: Ctx, task: Task) -> Outcome:
    """One look at a transform job. A Conflict (somebody stopped it meanwhile) makes the worker look again."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(job_key(ctx, task.key.name))
    if record is None or record.status in FINAL:
        _discard(ctx, task.key.name)
        outcome: Outcome = Done()
    else:
        outcome = Look(ctx, record, task).run()
    if isinstance(outcome, Done):
        turns.pass_on(ctx, task)
    return outcome


def give_up(ctx: Ctx, task: Task, message: str) -> None:
    """The step kept raising: an internal error ends the job."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(job_key(ctx, task.key.name))
    if record is not None and record.status not in FINAL:
        Look(ctx, record, task).finish("Failed", f"InternalServerError: {message}")
    turns.pass_on(ctx, task)


class Look:
    """One look at a job that is under way."""

    def __init__(self, ctx: Ctx, record: Record, task: Task) -> None:
        self.ctx = ctx
        self.record = record
        self.document = record.document
        self.task = task
        self.name = record.key.name
        self.instances = replica_parts(self.document)
        self.driver = ctx.ports.compute.status(agent_id(ctx, self.name, DRIVER))
        self.replicas = {part: ctx.ports.compute.status(agent_id(ctx, self.name, part)) for parts in self.instances for part in parts}

    def run(self) -> Outcome:
        """Bring the job a step further."""
        if self.driver is None:
            return self._begin()
        if turns.is_waiting(self.task):  # a former server started it and could not say so
            turns.pass_on(self.ctx, self.task)
            return Again(0.0, turns.without_mark(self.task))
        self._mark_start(self.driver)
        self._ship()
        if self.record.status == "Stopping":
            return self.finish("Stopped") if self._wind_down() else Again(POLL)
        if self.driver.state in OVER:
            return self._end(self.driver) if self._wind_down() else Again(POLL)
        if addresses_file(self.ctx, self.name).exists():
            return Again(POLL)
        return self._introduce()

    # ------------------------------------------------------------ beginning

    def _begin(self) -> Outcome:
        ctx = self.ctx
        if self.record.status == "Stopping":
            return self.finish("Stopped")
        is_first, has_room = turns.is_first(ctx, self.task), ctx.ports.compute.has_room()
        if not has_room:
            return Again(turns.AT_THE_HEAD if is_first else turns.IN_LINE)
        if not is_first:
            return Again(OTHERS_FIRST)
        addresses_file(ctx, self.name).unlink(missing_ok=True)
        try:
            self._check_output_bucket()
            specs = [transform_replica_spec(ctx, self.document, part) for part in self.replicas]
            driver = driver_spec(ctx, self.document)
        except InputError as error:
            return self.finish("Failed", str(error))
        except AwsError as error:
            return self.finish("Failed", f"ClientError: {error.message.partition(' (production variant')[0]}")
        for instance, parts in enumerate(self.instances, 1):
            for part in parts:
                transform_logs.open_stream(ctx, self._stream(instance, part))
        ctx.ports.compute.start(driver)
        for spec in specs:
            ctx.ports.compute.start(spec)
        turns.pass_on(ctx, self.task)
        return Again(POLL, turns.without_mark(self.task))

    def _check_output_bucket(self) -> None:
        """A job that could not upload its results would work in vain."""
        bucket = self._target().removeprefix("s3://").split("/", 1)[0]
        try:
            next(iter(self.ctx.ports.objects.list(f"s3://{bucket}/")), None)
        except AwsError as error:
            raise InputError(f"ClientError: {error.code} ({error.status or 404}): {error.message}: {bucket}") from None

    def _introduce(self) -> Outcome:
        """Tell the record loop its replicas, once all have answered; a replica that never will ends the job."""
        for part, status in self.replicas.items():
            if status is None:  # the server died between two starts
                self.ctx.ports.compute.start(transform_replica_spec(self.ctx, self.document, part))
            elif status.state in OVER or (not status.address and self._is_overdue(status)):
                return self._never_came(part, status)
        addresses = [[status.address if (status := self.replicas[part]) else "" for part in parts] for parts in self.instances]
        if all(address for container in addresses for address in container):
            file = addresses_file(self.ctx, self.name)
            draft = file.with_suffix(".draft")
            draft.write_text(json.dumps(addresses))
            os.replace(draft, file)
        return Again(POLL)

    def _is_overdue(self, status: AgentStatus) -> bool:
        return bool(status.phases) and self.ctx.now().timestamp() - status.phases[0][1] > HEALTH_SECONDS

    def _never_came(self, part: str, status: AgentStatus) -> Outcome:
        if status.state == "Lost":
            return self.finish("Failed", LOST)
        if status.reason == "InputError":
            return self.finish("Failed", f"ClientError: Failed to download model data: {status.message}")
        how = f"exited with code {status.exit_code}" if status.state == "Exited" else f"did not answer within {HEALTH_SECONDS} seconds"
        transform_logs.note(self.ctx, self.document, f"The container {self._container(part)} did not pass the ping health check: it {how}.")
        return self.finish("Failed", ALGORITHM_ERROR)

    # ------------------------------------------------------------ under way

    def _mark_start(self, driver: AgentStatus) -> None:
        if "TransformStartTime" in self.document or not driver.phases or self.record.status == "Stopping":
            return
        self.document["TransformStartTime"] = datetime.fromtimestamp(driver.phases[0][1], UTC)
        with self.ctx.ports.store.transaction() as tx:
            self.record = save(self.ctx, tx, self.record)
        self.document = self.record.document

    def _ship(self, *, at_end: bool = False) -> None:
        streams = {part: self._stream(instance, part) for instance, parts in enumerate(self.instances, 1) for part in parts}
        for part, stream in {**streams, DRIVER: transform_logs.data_stream(self.document)}.items():
            status = self.driver if part == DRIVER else self.replicas[part]
            if status is not None:
                over = at_end or status.state in OVER
                transform_logs.ship(self.ctx, self.document, status.id, stream, at_end=over)

    def _stream(self, instance: int, part: str) -> str:
        several = len(self.instances[0]) > 1
        return transform_logs.stream_name(self.document, instance, self._container(part) if several else "")

    def _container(self, part: str) -> str:
        number = int(part.partition("-")[2])
        label: str = containers_of(self.document["_Model"])[number - 1].get("ContainerHostname") or f"container-{number}"
        return label

    def _wind_down(self) -> bool:
        """Ask every agent to end; whether all have."""
        statuses = [status for status in (self.driver, *self.replicas.values()) if status is not None]
        alive = [status for status in statuses if status.state not in OVER]
        for status in alive:
            self.ctx.ports.compute.stop(status.id)
        return not alive

    # ------------------------------------------------------------ ending

    def _end(self, driver: AgentStatus) -> Outcome:
        """The loop has had its last word: commit the outputs of the files that went well, and only then say how the job ended."""
        if driver.state == "Lost":
            return self.finish("Failed", LOST)
        try:
            self._commit(driver)
        except AwsError as error:
            return self.finish("Failed", f"ClientError: {error.code}: {error.message}")
        if driver.exit_code == 0 and not driver.reason:
            return self.finish("Completed")
        if driver.message.startswith(CAUSES):
            return self.finish("Failed", driver.message)
        kind = "ClientError: Data download failed:" if driver.reason == "InputError" else "InternalServerError: "
        return self.finish("Failed", kind + (driver.message or driver.log_tail or LOST.partition(": ")[2]))

    def _commit(self, driver: AgentStatus) -> None:
        """Put outputs into S3. The agent's files stay until the record is final, so that a crash in between loses and doubles nothing."""
        ended = datetime.fromtimestamp(driver.phases[-1][1], UTC)
        for output in driver.outputs:
            folder = Path(output.path)
            if output.name != OUTPUT or not (folder / RESULTS).exists():
                continue
            results = {number: f"{self._target().rstrip('/')}/{path}" for number, path in json.loads((folder / RESULTS).read_text()).items()}
            for number, uri in results.items():
                self._put(uri, folder / number, ended)
            inputs = [f"s3://{name}" for name in json.loads((folder / INPUTS).read_text()).values()]
            put_manifests(self.ctx, self.document, inputs, list(results.values()))

    def _put(self, uri: str, file: Path, since: datetime) -> None:
        """Store a second name of the file, unless a former run has done so."""
        stored = self.ctx.ports.objects.get(uri)
        if stored is not None and stored.modified >= since and stored.size == file.stat().st_size:
            return
        link = file.with_name(file.name + LINK)
        link.unlink(missing_ok=True)
        os.link(file, link)
        self.ctx.ports.objects.put(uri, link)

    def _target(self) -> str:
        return s3_uri(self.document["TransformOutput"]["S3OutputPath"])

    def finish(self, status: str, reason: str = "") -> Outcome:
        """The last status; nothing of the job runs on."""
        ctx, document = self.ctx, self.document
        if status == "Failed":
            log.info("transform job failed job=%s reason=%s", self.name, reason.replace("\n", " ")[:200])
        self._ship(at_end=True)
        end(document, status, ctx.now(), reason)
        with ctx.ports.store.transaction() as tx:
            save(ctx, tx, self.record)
            close_job_component(ctx, tx, "transform", _component(document), [])
            transform_logs.drop_progress(ctx, tx, self.name)
        _discard(ctx, self.name)
        return Done()


def _component(document: dict[str, Any]) -> dict[str, Any]:
    """The job's document with the members by which components know start and end."""
    times = {"TrainingStartTime": document.get("TransformStartTime"), "TrainingEndTime": document.get("TransformEndTime")}
    return {**document, **{member: at for member, at in times.items() if at}}


def _discard(ctx: Ctx, name: str) -> None:
    prefix = agent_id(ctx, name, "")
    for agent in ctx.ports.compute.agents():
        if agent.startswith(prefix):
            ctx.ports.compute.discard(agent)
    addresses_file(ctx, name).unlink(missing_ok=True)
