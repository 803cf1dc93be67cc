"""Monitoring schedules and definitions: what is refused, when runs are due, what their executions and alerts say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from dewfall.context import Caller, Ctx, HandClock
from dewfall.engine.ports import Key, Ports, Record
from dewfall.engine.store import SqliteStore
from dewfall.errors import AwsError
from dewfall.services.sagemaker import job_definitions, monitoring_alerts, monitoring_jobs, monitoring_runs, monitoring_schedules
from dewfall.services.sagemaker.endpoint_status import endpoint_key
from dewfall.testing import Server

ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
NINE = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
DEFINITION: dict[str, Any] = {
    "JobDefinitionName": "data",
    "DataQualityAppSpecification": {"ImageUri": "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"},
    "DataQualityJobInput": {"EndpointInput": {"EndpointName": "shop", "LocalPath": "/opt/ml/processing/input/endpoint"}},
    "DataQualityJobOutputConfig": {"MonitoringOutputs": [{"S3Output": {"S3Uri": "s3://bkt/out", "LocalPath": "/opt/ml/processing/output"}}]},
    "JobResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}},
    "RoleArn": ROLE,
}
HOURLY: dict[str, Any] = {
    "ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"},
    "MonitoringJobDefinitionName": "data",
    "MonitoringType": "DataQuality",
}


KINDS = {
    "DataQuality": "data_quality",
    "ModelQuality": "model_quality",
    "ModelBias": "model_bias",
    "ModelExplainability": "model_explainability",
}


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Ctx]:
    """Operations over a store of their own, with a clock that is moved by hand; the endpoint cannot be described."""
    clock = HandClock(NINE)
    store = SqliteStore(tmp_path / "dewfall.db", clock)

    def invoke(ctx: Ctx, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        if operation == "DescribeProcessingJob":
            return {"ProcessingJobStatus": "Completed", "ExitMessage": "CompletedWithViolations: Job completed successfully with 2 violations."}
        raise AwsError("ValidationException", f"Could not find endpoint {params['EndpointName']}.")

    made = Ctx("000000000000", "us-east-1", Caller("000000000000", "arn", "id"), cast(Ports, SimpleNamespace(store=store)), invoke, clock)
    with store.transaction() as tx:
        tx.records.create(Record(endpoint_key(made, "shop"), {"EndpointName": "shop"}))
    job_definitions.create(made, DEFINITION, "DataQuality")
    monitoring_schedules.create_monitoring_schedule(made, {"MonitoringScheduleName": "watch", "MonitoringScheduleConfig": HOURLY})
    yield made
    store.close()


def move(ctx: Ctx, **span: float) -> None:
    cast(HandClock, ctx.clock).move(ctx.now() + timedelta(**span))


def executions(ctx: Ctx) -> list[dict[str, Any]]:
    found = monitoring_schedules.list_monitoring_executions(ctx, {"MonitoringScheduleName": "watch"})
    return cast(list[dict[str, Any]], found["MonitoringExecutionSummaries"])


def run(ctx: Ctx, hour: int, status: str = "InProgress") -> None:
    """An execution whose job has been started."""
    at = NINE.replace(hour=hour, minute=0)
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:processing-job/job-{hour}"
    document = {
        "MonitoringScheduleName": "watch",
        "ScheduledTime": at,
        "CreationTime": ctx.now(),
        "LastModifiedTime": at,
        "MonitoringExecutionStatus": status,
        "ProcessingJobArn": arn,
    }
    with ctx.ports.store.transaction() as tx:
        tx.records.create(Record(Key(ctx.account, ctx.region, "sagemaker", "monitoring-execution", f"watch/{hour:02d}"), document, status, "watch"))


def alert(ctx: Ctx) -> dict[str, Any]:
    (found,) = monitoring_alerts.list_monitoring_alerts(ctx, {"MonitoringScheduleName": "watch"})["MonitoringAlertSummaries"]
    return cast(dict[str, Any], found)


def test_nothing_is_due_before_the_hour(ctx: Ctx) -> None:
    assert monitoring_runs.tick(ctx) == []
    move(ctx, minutes=30)
    assert monitoring_runs.tick(ctx) == []


def test_a_run_that_cannot_have_a_job_fails_and_says_why(ctx: Ctx) -> None:
    move(ctx, minutes=31)
    assert monitoring_runs.tick(ctx) == ["watch: Failed Could not find endpoint shop."]
    (found,) = executions(ctx)
    assert (found["ScheduledTime"].hour, found["MonitoringExecutionStatus"], found["EndpointName"]) == (10, "Failed", "shop")
    assert found["MonitoringJobDefinitionName"] == "data"


def test_a_baselining_job_that_has_left_nothing(ctx: Ctx) -> None:
    job_definitions.create(
        ctx, DEFINITION | {"JobDefinitionName": "based", "DataQualityBaselineConfig": {"BaseliningJobName": "base"}}, "DataQuality"
    )
    with ctx.ports.store.reading() as tx:
        document = monitoring_schedules.load(ctx, tx, "watch").document
    document["MonitoringScheduleConfig"] = HOURLY | {"MonitoringJobDefinitionName": "based"}
    with pytest.raises(monitoring_jobs.NothingToDo, match=r"The baselining job base has left no constraints.json\."):
        monitoring_jobs.baseline_uri(ctx, monitoring_jobs.make_plan(ctx, document, NINE), "ConstraintsResource")


def test_missed_runs_are_caught_up_with_once(ctx: Ctx) -> None:
    move(ctx, hours=5)
    monitoring_runs.tick(ctx)
    monitoring_runs.tick(ctx)
    assert [found["ScheduledTime"].hour for found in executions(ctx)] == [14]
    move(ctx, hours=1)
    monitoring_runs.tick(ctx)
    assert [found["ScheduledTime"].hour for found in executions(ctx)] == [15, 14]


def test_a_stopped_schedule_does_not_run(ctx: Ctx) -> None:
    monitoring_schedules.stop_monitoring_schedule(ctx, {"MonitoringScheduleName": "watch"})
    move(ctx, hours=3)
    assert monitoring_runs.tick(ctx) == []
    monitoring_schedules.start_monitoring_schedule(ctx, {"MonitoringScheduleName": "watch"})
    move(ctx, minutes=31)
    assert [found["ScheduledTime"].hour for found in executions(ctx)] == []
    assert monitoring_runs.tick(ctx) != []


def test_violations_end_an_execution_and_raise_its_alert(ctx: Ctx) -> None:
    run(ctx, 8)
    assert monitoring_runs.tick(ctx) == ["watch: CompletedWithViolations"]
    (found,) = executions(ctx)
    assert found["FailureReason"] == "CompletedWithViolations: Job completed successfully with 2 violations."
    assert alert(ctx)["AlertStatus"] == "InAlert"
    history = monitoring_alerts.list_monitoring_alert_history(ctx, {"MonitoringScheduleName": "watch"})["MonitoringAlertHistory"]
    assert [entry["AlertStatus"] for entry in history] == ["InAlert"]


def test_an_alert_may_want_several_violations(ctx: Ctx) -> None:
    name = alert(ctx)["MonitoringAlertName"]
    wanted = {"MonitoringScheduleName": "watch", "MonitoringAlertName": name, "DatapointsToAlert": 2, "EvaluationPeriod": 3}
    monitoring_alerts.update_monitoring_alert(ctx, wanted)
    run(ctx, 7)
    monitoring_runs.tick(ctx)
    assert alert(ctx)["AlertStatus"] == "OK"
    run(ctx, 8)
    monitoring_runs.tick(ctx)
    assert (alert(ctx)["AlertStatus"], alert(ctx)["DatapointsToAlert"]) == ("InAlert", 2)


@pytest.fixture
def sagemaker(dewfall: Server) -> Any:
    """A client, and an endpoint `shop` that has no process before its first request."""
    client = dewfall.client("sagemaker")
    client.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": XGBOOST})
    variant = {"VariantName": "AllTraffic", "ModelName": "m", "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    client.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    client.create_endpoint(EndpointName="shop", EndpointConfigName="c")
    return client


def test_definitions_of_all_kinds_live_and_die(sagemaker: Any) -> None:
    for kind, snake in KINDS.items():
        request = {name.replace("DataQuality", kind): value for name, value in DEFINITION.items()}
        request[f"{kind}AppSpecification"] = {**request[f"{kind}AppSpecification"], **extras(kind)}
        if kind in ("ModelQuality", "ModelBias"):
            request[f"{kind}JobInput"] = answered(InferenceAttribute="0")
        arn = getattr(sagemaker, f"create_{snake}_job_definition")(**request)["JobDefinitionArn"]
        found = getattr(sagemaker, f"describe_{snake}_job_definition")(JobDefinitionName="data")
        assert (found["JobDefinitionArn"], found["StoppingCondition"]) == (arn, {"MaxRuntimeInSeconds": 3600})
        (listed,) = getattr(sagemaker, f"list_{snake}_job_definitions")(EndpointName="shop")["JobDefinitionSummaries"]
        assert listed["MonitoringJobDefinitionName"] == "data"
        getattr(sagemaker, f"delete_{snake}_job_definition")(JobDefinitionName="data")
        with pytest.raises(ClientError, match="ResourceNotFound"):
            getattr(sagemaker, f"describe_{snake}_job_definition")(JobDefinitionName="data")


def answered(**members: str) -> dict[str, Any]:
    """An input with ground truth, and what of the endpoint's answers is told."""
    source: dict[str, Any] = DEFINITION["DataQualityJobInput"]["EndpointInput"]
    return {"EndpointInput": source | members, "GroundTruthS3Input": {"S3Uri": "s3://bkt/truth"}}


def extras(kind: str) -> dict[str, str]:
    return {"ModelQuality": {"ProblemType": "Regression"}}.get(kind, {"ConfigUri": "s3://bkt/config.json"} if "Model" in kind else {})


def test_a_definition_may_leave_the_problem_to_the_container(sagemaker: Any) -> None:
    renamed = {member.replace("DataQuality", "ModelQuality"): value for member, value in DEFINITION.items()}
    sagemaker.create_model_quality_job_definition(**(renamed | {"ModelQualityJobInput": answered()}))
    assert "ProblemType" not in sagemaker.describe_model_quality_job_definition(JobDefinitionName="data")["ModelQualityAppSpecification"]


@pytest.mark.parametrize(
    ("problem", "members", "fits"),
    [
        ("Regression", {"ProbabilityAttribute": "0"}, False),
        ("MulticlassClassification", {}, False),
        ("BinaryClassification", {}, False),
        ("BinaryClassification", {"ProbabilityAttribute": "0"}, True),
    ],
)
def test_model_quality_is_told_where_the_answers_are(ctx: Ctx, problem: str, members: dict[str, str], fits: bool) -> None:
    request = {member.replace("DataQuality", "ModelQuality"): value for member, value in DEFINITION.items()}
    request |= {"ModelQualityAppSpecification": {"ImageUri": "i", "ProblemType": problem}, "ModelQualityJobInput": answered(**members)}
    if fits:
        job_definitions.create(ctx, request, "ModelQuality")
        return
    with pytest.raises(AwsError) as caught:
        job_definitions.create(ctx, request, "ModelQuality")
    field = "CreateModelQualityJobDefinitionInput.ModelQualityJobInputs.EndpointInput.InferenceAttribute"
    assert caught.value.message == f"InvalidParameter: 1 validation error(s) found.\n- missing required field, {field}.\n"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"ScheduleConfig": {"ScheduleExpression": "cron(5 * ? * * *)"}}, "ValidationException", "is not a supported schedule"),
        ({"ScheduleConfig": {"ScheduleExpression": "NOW"}}, "ValidationException", "DataAnalysisStartTime is required"),
        ({"MonitoringType": "ModelBias"}, "ResourceNotFound", "Could not find job definition"),
        ({"MonitoringJobDefinitionName": "nothing"}, "ResourceNotFound", "Could not find job definition with name: nothing"),
    ],
)
def test_schedules_that_are_refused(sagemaker: Any, change: dict[str, Any], code: str, said: str) -> None:
    sagemaker.create_data_quality_job_definition(**DEFINITION)
    with pytest.raises(ClientError, match=said) as caught:
        sagemaker.create_monitoring_schedule(MonitoringScheduleName="s", MonitoringScheduleConfig=HOURLY | change)
    assert caught.value.response["Error"]["Code"] == code


def test_a_schedules_life(sagemaker: Any) -> None:
    sagemaker.create_data_quality_job_definition(**DEFINITION)
    sagemaker.create_monitoring_schedule(MonitoringScheduleName="s", MonitoringScheduleConfig=HOURLY, Tags=[{"Key": "a", "Value": "b"}])
    found = sagemaker.describe_monitoring_schedule(MonitoringScheduleName="s")
    assert (found["MonitoringScheduleStatus"], found["EndpointName"], found["MonitoringType"]) == ("Scheduled", "shop", "DataQuality")
    (endpoint,) = sagemaker.search(Resource="Endpoint")["Results"]
    assert [one["MonitoringScheduleName"] for one in endpoint["Endpoint"]["MonitoringSchedules"]] == ["s"]
    with pytest.raises(ClientError, match="ResourceInUse"):
        sagemaker.delete_data_quality_job_definition(JobDefinitionName="data")
    sagemaker.stop_monitoring_schedule(MonitoringScheduleName="s")
    assert sagemaker.list_monitoring_schedules(StatusEquals="Stopped")["MonitoringScheduleSummaries"][0]["MonitoringJobDefinitionName"] == "data"
    assert sagemaker.list_tags(ResourceArn=found["MonitoringScheduleArn"])["Tags"] == [{"Key": "a", "Value": "b"}]
    sagemaker.delete_monitoring_schedule(MonitoringScheduleName="s")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        sagemaker.describe_monitoring_schedule(MonitoringScheduleName="s")


def test_history_outlives_its_schedule_and_its_alert_does_not(ctx: Ctx) -> None:
    run(ctx, 8)
    monitoring_runs.tick(ctx)
    assert alert(ctx)["AlertStatus"] == "InAlert"
    monitoring_schedules.delete_monitoring_schedule(ctx, {"MonitoringScheduleName": "watch"})
    assert [found["MonitoringExecutionStatus"] for found in executions(ctx)] == ["CompletedWithViolations"]
    move(ctx, minutes=1)
    monitoring_schedules.create_monitoring_schedule(ctx, {"MonitoringScheduleName": "watch", "MonitoringScheduleConfig": HOURLY})
    assert alert(ctx)["AlertStatus"] == "OK"
    assert "LastMonitoringExecutionSummary" not in monitoring_schedules.describe_monitoring_schedule(ctx, {"MonitoringScheduleName": "watch"})


def test_a_schedule_made_anew_runs_in_an_hour_in_which_a_deleted_one_ran(ctx: Ctx) -> None:
    names, ten = set(), NINE.replace(hour=10, minute=0)
    for number in range(2):
        move(ctx, minutes=31)
        with ctx.ports.store.transaction() as tx:
            record = monitoring_schedules.load(ctx, tx, "watch")
            record.document["_Next"] = ten
            names.add(monitoring_jobs.job_name(monitoring_jobs.make_plan(ctx, record.document, ten)))
            tx.records.save(record)
        assert monitoring_runs.tick(ctx) == ["watch: Failed Could not find endpoint shop."]
        assert len(executions(ctx)) == number + 1
        monitoring_schedules.delete_monitoring_schedule(ctx, {"MonitoringScheduleName": "watch"})
        monitoring_schedules.create_monitoring_schedule(ctx, {"MonitoringScheduleName": "watch", "MonitoringScheduleConfig": HOURLY})
    assert len(names) == 2


def test_an_inline_definition_needs_one_source_and_watches_data(dewfall: Server) -> None:
    inline = {
        "MonitoringInputs": [{}],
        "MonitoringOutputConfig": DEFINITION["DataQualityJobOutputConfig"],
        "MonitoringResources": DEFINITION["JobResources"],
        "MonitoringAppSpecification": DEFINITION["DataQualityAppSpecification"],
        "RoleArn": ROLE,
    }
    config: dict[str, Any] = {"ScheduleConfig": HOURLY["ScheduleConfig"], "MonitoringJobDefinition": inline}
    nowhere = {"MonitoringJobDefinition": inline | {"MonitoringInputs": [DEFINITION["DataQualityJobInput"]]}}
    for change, said in (
        ({}, "Exactly one of EndpointInput"),
        ({"MonitoringType": "ModelQuality"}, "requires MonitoringJobDefinitionName"),
        (nowhere, "Endpoint 'shop' does not exist or is not valid"),
    ):
        with pytest.raises(ClientError, match=said):
            dewfall.client("sagemaker").create_monitoring_schedule(MonitoringScheduleName="s", MonitoringScheduleConfig=config | change)


def test_an_endpoint_that_is_not_there_cannot_be_watched(ctx: Ctx) -> None:
    with ctx.ports.store.transaction() as tx:
        tx.records.delete(endpoint_key(ctx, "shop"))
    job_definitions.create(ctx, DEFINITION | {"JobDefinitionName": "more"}, "DataQuality")
    with pytest.raises(AwsError, match="Endpoint 'shop' does not exist or is not valid"):
        monitoring_schedules.create_monitoring_schedule(ctx, {"MonitoringScheduleName": "more", "MonitoringScheduleConfig": HOURLY})


def test_a_window_of_years_is_not_looked_for(ctx: Ctx) -> None:
    source = {"EndpointInput": {**DEFINITION["DataQualityJobInput"]["EndpointInput"], "StartTimeOffset": "-P9999D"}}
    job_definitions.create(ctx, DEFINITION | {"JobDefinitionName": "years", "DataQualityJobInput": source}, "DataQuality")
    config = HOURLY | {"MonitoringJobDefinitionName": "years"}
    monitoring_schedules.update_monitoring_schedule(ctx, {"MonitoringScheduleName": "watch", "MonitoringScheduleConfig": config})
    move(ctx, minutes=31)
    (said,) = monitoring_runs.tick(ctx)
    assert said.endswith("is longer than 31 days.")
