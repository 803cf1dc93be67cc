"""The step of an inference recommendations job: one test after the other, each on an endpoint that is made for it and deleted after it.

    PENDING ─ IN_PROGRESS: for each test  make model, configuration, endpoint ─ in service: load process ─ over: measure, delete
                           then           report process ─ S3 ─ COMPLETED | FAILED;   Stop at any time: STOPPING ─ STOPPED

Why one at a time: candidates that share a machine would measure one another. The load process outlives the server; a level of load whose
requests failed, because it was down, counts for nothing.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AgentSpec, AgentStatus, Archive, Key, Output, Record, Task
from dewfall.engine.worker import Again, Done, Outcome
from dewfall.errors import AwsError
from dewfall.rules.instances import bound, find_instance
from dewfall.rules.recommendation import prices
from dewfall.services.identity import job_environment
from dewfall.services.sagemaker import recommendation_results as results
from dewfall.services.sagemaker.endpoint_replicas import find_members
from dewfall.services.sagemaker.endpoint_status import IN_MOTION, endpoint_key
from dewfall.services.sagemaker.inference_recommendations import FINAL, GROUP, KIND, job_key, save, stream
from dewfall.services.sagemaker.training_logs import Target, ship_log
from dewfall.services.sagemaker.training_spec import host_memory

log = logging.getLogger(__name__)

POLL = 0.5
OVER = ("Exited", "Lost")
REASON_LIMIT = 1024
FOLDER = "/opt/ml/output/data"
PAYLOAD = "/opt/ml/input/data/payload"
REPORT = "report"
LONGEST = 4 * 3600.0  # seconds of one load test
LONGEST_REPORT = 600.0


def step(ctx: Ctx, task: Task) -> Outcome:
    """One look at a job. A Conflict (somebody stopped it meanwhile) makes the worker look again."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(job_key(ctx, task.key.name))
    if record is None or record.status in FINAL:
        _discard(ctx, task.key.name)
        return Done()
    return Look(ctx, record).run()


def give_up(ctx: Ctx, task: Task, message: str) -> None:
    """The step kept raising: an internal error ends the job."""
    with ctx.ports.store.reading() as tx:
        record = tx.records.get(job_key(ctx, task.key.name))
    if record is not None and record.status not in FINAL:
        Look(ctx, record).finish("FAILED", f"InternalServerError: {message}")


class Look:
    """One look at a job that is under way."""

    def __init__(self, ctx: Ctx, record: Record) -> None:
        self.ctx = ctx
        self.record = record
        self.document = record.document
        self.name = record.key.name
        self.role: str = self.document["RoleArn"]
        self.conditions: dict[str, Any] = self.document.get("StoppingConditions", {})

    def run(self) -> Outcome:
        """Bring the job a step further."""
        if self.record.status == "STOPPING":
            return self._stop()
        if self.record.status == "PENDING":
            tests = self.document["_Tests"]
            self._say(f"Starting {self.document['JobType']} inference recommendations job {self.name} with {len(tests)} tests.")
            for test in tests:
                if test["Status"] == "FAILED":
                    self._say(f"Skipping test {test['Name']}: {test['FailureReason']}")
            return self._save("IN_PROGRESS")
        for number, test in enumerate(self.document["_Tests"], 1):
            if test["Status"] == "PENDING":
                return self._end_test(test, "The job has reached its JobDurationInSeconds.") if self._is_late() else self._open(number, test)
            if test["Status"] == "IN_PROGRESS":
                return self._look(test)
        return self._report()

    # ------------------------------------------------------------ a test

    def _open(self, number: int, test: dict[str, Any]) -> Outcome:
        self._say(f"Starting test {number} of {len(self.document['_Tests'])}: {test['Name']}.")
        try:
            if "Endpoint" not in test:
                self._make(test)
        except AwsError as error:
            return self._end_test(test, error.message)
        test |= {"Status": "IN_PROGRESS", "_Usage": []}
        return self._save()

    def _make(self, test: dict[str, Any]) -> None:
        """The model, configuration and endpoint of a candidate; they may be there from before a crash."""
        name = test["Made"]
        containers = self.document["_Source"]["Containers"][test.get("InferenceSpecificationName", "")]
        filled = [{**one, "Environment": {**one.get("Environment", {}), **test.get("Environment", {})}} for one in containers]
        variant: dict[str, Any] = {"VariantName": results.VARIANT, "ModelName": name}
        if "ServerlessConfig" in test:
            variant["ServerlessConfig"] = test["ServerlessConfig"]
        else:
            variant |= {"InstanceType": test["InstanceType"], "InitialInstanceCount": 1}
        self._call("CreateModel", {"ModelName": name, "ExecutionRoleArn": self.role, "Containers": filled})
        self._call("CreateEndpointConfig", {"EndpointConfigName": name, "ProductionVariants": [variant]})
        self._call("CreateEndpoint", {"EndpointName": name, "EndpointConfigName": name})

    def _call(self, operation: str, params: dict[str, Any]) -> None:
        try:
            self.ctx.call("sagemaker", operation, params, as_role=self.role)
        except AwsError as error:
            if "already existing" not in error.message:
                raise

    def _look(self, test: dict[str, Any]) -> Outcome:
        endpoint = test.get("Endpoint") or test["Made"]
        agent = self._agent(test["Made"])
        status = self.ctx.ports.compute.status(agent)
        if status is None:
            return self._load(test, endpoint, agent)
        self._ship(agent, at_end=status.state in OVER)
        if status.state in OVER:
            return self._measure(test, status)
        if self._is_late():
            self.ctx.ports.compute.stop(agent)
        self._sample(test, endpoint)
        return Again(POLL)

    def _load(self, test: dict[str, Any], endpoint: str, agent: str) -> Outcome:
        """Start the load as soon as the endpoint is in service."""
        try:
            found = self.ctx.call("sagemaker", "DescribeEndpoint", {"EndpointName": endpoint}, as_role=self.role)
        except AwsError as error:
            return self._end_test(test, error.message)
        if found["EndpointStatus"] == "Failed":
            return self._end_test(test, found.get("FailureReason", "The endpoint failed."))
        if found["EndpointStatus"] != "InService":
            return Again(POLL)
        self.ctx.ports.compute.start(self._load_spec(endpoint, agent))
        test |= {"InvocationStartTime": self.ctx.now(), "_Usage": []}
        return self._save()

    def _load_spec(self, endpoint: str, agent: str) -> AgentSpec:
        source = self.document["_Source"]
        payload = self.ctx.ports.objects.get(source["Payload"])
        if payload is None:
            raise AwsError("ValidationException", f"Could not access the sample payload archive at {source['Payload']}.")
        config = {
            "EndpointName": endpoint,
            "ContentTypes": source["ContentTypes"],
            "TrafficPattern": self.document["_Pattern"],
            "StoppingConditions": self.conditions,
        }
        return AgentSpec(
            id=agent,
            kind="job",
            command=(sys.executable, "-m", "dewfall.images.recommender"),
            environment=job_environment(self.ctx, self.role, "SageMaker"),
            working_directory="/opt/ml",
            files={"/opt/ml/input/config/load.json": json.dumps(config)},
            archives=(Archive(str(payload.path), PAYLOAD),),
            outputs=(Output("load", FOLDER, "files"),),
            max_runtime=LONGEST,
            grace=5.0,
        )

    def _sample(self, test: dict[str, Any], endpoint: str) -> None:
        """Note what the endpoint's replicas use at this moment."""
        compute = self.ctx.ports.compute
        members = [member for member in find_members(self.ctx, endpoint) if member.is_ready]
        used = [usage for member in members for agent in member.agents if (usage := compute.usage(agent)) is not None]
        if not used:
            return
        processors, memory = sum(one.processors for one in used), sum(one.memory_bytes for one in used)
        share = 100 * memory / max(1, len(members) * _memory(test))
        test["_Usage"] = [*test["_Usage"], [self.ctx.now().timestamp(), 100 * processors / len(members), share]]
        self._save()

    def _measure(self, test: dict[str, Any], status: AgentStatus) -> Outcome:
        if status.state == "Lost":
            return self._end_test(test, "The load test was lost.")
        if status.exit_code != 0 or not status.outputs:
            late = self._is_late()
            return self._end_test(test, "The job has reached its JobDurationInSeconds." if late else status.message or status.log_tail[-500:])
        with open(f"{status.outputs[0].path}/load.json", encoding="utf-8") as file:
            test |= json.load(file)
        test["InvocationEndTime"] = datetime.fromtimestamp(status.phases[-1][1], UTC)
        metrics = results.measured(test, self.conditions, test["_Usage"], prices(self.ctx.ports.settings.prices))
        if metrics is None:
            return self._end_test(test, "Requests failed at every level of load; the endpoint's log says why.")
        test["Metrics"] = metrics
        cost = f", ${metrics['CostPerInference']:.3g} each" if "CostPerInference" in metrics else ""
        self._say(f"Test {test['Name']}: {metrics['MaxInvocations']} invocations/min at {metrics['ModelLatency'] / 1000:.2f} ms{cost}.")
        return self._end_test(test, "")

    def _end_test(self, test: dict[str, Any], reason: str) -> Outcome:
        test["Status"] = "FAILED" if reason else "COMPLETED"
        if reason:
            test["FailureReason"] = reason[:REASON_LIMIT]
            self._say(f"Test {test['Name']} failed: {reason}")
        self._clear(test)
        test.pop("_Usage", None)
        return self._save()

    def _clear(self, test: dict[str, Any]) -> bool:
        """Delete what was made for the test; False while its endpoint is being created and cannot be deleted."""
        self.ctx.ports.compute.discard(self._agent(test["Made"]))
        if "Endpoint" in test:
            return True
        with self.ctx.ports.store.reading() as tx:
            endpoint = tx.records.get(endpoint_key(self.ctx, test["Made"]))
        if endpoint is not None and endpoint.status in IN_MOTION:
            return False
        for noun in ("Endpoint", "EndpointConfig", "Model"):
            try:
                self.ctx.call("sagemaker", f"Delete{noun}", {f"{noun}Name": test["Made"]}, as_role=self.role)
            except AwsError as error:
                log.info("not deleted job=%s %s=%s problem=%s", self.name, noun, test["Made"], error.message)
        return True

    # ------------------------------------------------------------ the end

    def _report(self) -> Outcome:
        """Draw what was measured, put it into S3, and say how the job ended."""
        agent = self._agent(REPORT)
        status = self.ctx.ports.compute.status(agent)
        if status is None:
            results.rank(self.document)
            self._save()
            self.ctx.ports.compute.start(self._report_spec(agent))
            return Again(POLL)
        if status.state not in OVER:
            return Again(POLL)
        if status.exit_code == 0 and status.outputs:
            self._publish(status.outputs[0].path)
        else:
            self._say(f"The report could not be drawn: {status.message or status.log_tail[-500:]}")
        if any("Metrics" in test for test in self.document["_Tests"]):
            return self.finish("COMPLETED")
        return self.finish("FAILED", "; ".join(dict.fromkeys(test.get("FailureReason", "") for test in self.document["_Tests"])))

    def _report_spec(self, agent: str) -> AgentSpec:
        return AgentSpec(
            id=agent,
            kind="job",
            command=(sys.executable, "-m", "dewfall.images.recommender.report"),
            environment={},
            working_directory="/opt/ml",
            files={"/opt/ml/input/config/results.json": json.dumps(results.told(self.document, prices(self.ctx.ports.settings.prices)))},
            outputs=(Output(REPORT, FOLDER, "files"),),
            max_runtime=LONGEST_REPORT,
        )

    def _publish(self, folder: str) -> None:
        given = self.document.get("OutputConfig", {}).get("CompiledOutputConfig", {}).get("S3OutputUri")
        bucket = self.document["_Source"]["Payload"].removeprefix("s3://").partition("/")[0]
        place = f"{(given or f's3://{bucket}/inference-recommendations').rstrip('/')}/{self.name}"
        try:
            for file, kind in (("report.html", "text/html"), ("results.json", "application/json")):
                with open(f"{folder}/{file}", "rb") as opened:
                    self.ctx.ports.objects.put(f"{place}/{file}", opened.read(), content_type=kind)
        except (AwsError, OSError) as error:
            self._say(f"The report cannot be stored at {place}: {error}")
            return
        self._say(f"Report: {place}/report.html")

    def _stop(self) -> Outcome:
        for test in self.document["_Tests"]:
            if test["Status"] in ("IN_PROGRESS", "PENDING"):  # a pending one may just have been made
                if not self._clear(test):
                    return Again(POLL)
                test["Status"] = "STOPPED"
        results.rank(self.document)
        return self.finish("STOPPED")

    def finish(self, status: str, reason: str = "") -> Outcome:
        """The last status; nothing of the job runs on."""
        for test in self.document["_Tests"]:
            if test["Status"] == "IN_PROGRESS":
                self._clear(test)
                test |= {"Status": "FAILED", "FailureReason": reason[:REASON_LIMIT]}
        self.document["CompletionTime"] = self.ctx.now()
        if reason:
            self.document["FailureReason"] = reason[:REASON_LIMIT]
        self._say(f"Inference recommendations job {self.name} {status}.")
        self._save(status)
        with self.ctx.ports.store.transaction() as tx:
            tx.records.delete(self._progress())
        _discard(self.ctx, self.name)
        return Done()

    # ------------------------------------------------------------ parts

    def _is_late(self) -> bool:
        most = self.document["InputConfig"].get("JobDurationInSeconds")
        return most is not None and (self.ctx.now() - self.document["CreationTime"]).total_seconds() > most

    def _agent(self, part: str) -> str:
        return f"{KIND}.{self.ctx.account}.{self.ctx.region}.{self.name}.{part}"

    def _progress(self) -> Key:
        return Key(self.ctx.account, self.ctx.region, "sagemaker", "recommendations-progress", self.name)

    def _ship(self, agent: str, *, at_end: bool) -> None:
        target = Target(GROUP, stream(self.name), self._progress())
        while not ship_log(self.ctx, target, agent, at_end=at_end):
            pass

    def _say(self, line: str) -> None:
        now = int(self.ctx.now().timestamp() * 1000)
        self.ctx.ports.series.append_logs(self.ctx.account, self.ctx.region, GROUP, stream(self.name), [(now, line)])

    def _save(self, status: str = "") -> Outcome:
        with self.ctx.ports.store.transaction() as tx:
            self.record = save(self.ctx, tx, self.record, status)
        self.document = self.record.document
        return Again(0.0)


def _memory(test: dict[str, Any]) -> int:
    """Bytes that the candidate's instance has here."""
    if "ServerlessConfig" in test:
        return int(test["ServerlessConfig"]["MemorySizeInMB"]) * 1024 * 1024
    _, memory = bound(find_instance(test.get("InstanceType", "")), os.cpu_count() or 1, host_memory())
    return memory or host_memory()


def _discard(ctx: Ctx, name: str) -> None:
    prefix = f"{KIND}.{ctx.account}.{ctx.region}.{name}."
    for agent in ctx.ports.compute.agents():
        if agent.startswith(prefix):
            ctx.ports.compute.discard(agent)
