"""From a schedule and a stretch of time to the processing job that looks at it: inputs, environment, output, as AWS makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.rules import monitoring
from dewfall.services.sagemaker import job_definitions, monitoring_schedules

ROOT = "/opt/ml/processing"
NAMES = {
    "DataQuality": "model-monitoring",
    "ModelQuality": "model-quality-monitoring",
    "ModelBias": "model-bias-monitoring",
    "ModelExplainability": "model-explainability-monitoring",
}
CLARIFY = ("ModelBias", "ModelExplainability")
NEEDS_TRUTH = ("ModelQuality", "ModelBias")
CAPTURE = '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}'
ATTRIBUTES = {
    "FeaturesAttribute": "features_attribute",
    "InferenceAttribute": "inference_attribute",
    "ProbabilityAttribute": "probability_attribute",
    "ProbabilityThresholdAttribute": "probability_threshold_attribute",
    "ExcludeFeaturesAttribute": "exclude_features_attribute",
}
APPLICATION = ("ImageUri", "ContainerEntrypoint", "ContainerArguments")
LONGEST = timedelta(days=31)  # of a window: every hour of it is looked for in S3
NO_DATA = "Job inputs had no data"


class NothingToDo(Exception):
    """The run cannot have a job; the text is the execution's FailureReason."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run: whose, by which definition, of which window."""

    schedule: str
    created: datetime  # the schedule: others may have had its name
    monitors: str
    definition: dict[str, Any]
    at: datetime
    start: datetime
    end: datetime

    @property
    def source(self) -> dict[str, Any]:
        """The EndpointInput or BatchTransformInput."""
        found: dict[str, Any] = self.definition["Input"].get("EndpointInput") or self.definition["Input"]["BatchTransformInput"]
        return found

    @property
    def endpoint(self) -> str:
        """The watched endpoint, "" for batch transform."""
        return str(self.definition["Input"].get("EndpointInput", {}).get("EndpointName", ""))


def make_plan(ctx: Ctx, document: dict[str, Any], at: datetime) -> Plan:
    """What a schedule's run at `at` is to do. Raises NothingToDo when its definition is gone."""
    config, monitors = document["MonitoringScheduleConfig"], document["MonitoringType"]
    if config.get("MonitoringJobDefinition"):
        definition = _inline(config["MonitoringJobDefinition"])
    else:
        try:
            with ctx.ports.store.reading() as tx:
                held = job_definitions.load(ctx, tx, monitors, config["MonitoringJobDefinitionName"]).document
        except AwsError as error:
            raise NothingToDo(error.message) from None
        definition = _named(held, monitors)
    schedule = config.get("ScheduleConfig", {})
    expression = schedule.get("ScheduleExpression", monitoring.NOW)
    start, end = monitoring.window(expression, at, schedule.get("DataAnalysisStartTime", ""), schedule.get("DataAnalysisEndTime", ""))
    given = definition["Input"].get("EndpointInput") or definition["Input"]["BatchTransformInput"]
    if given.get("StartTimeOffset") or given.get("EndTimeOffset"):
        start, end = monitoring.window(expression, at, given.get("StartTimeOffset", ""), given.get("EndTimeOffset", ""))
    if end - start > LONGEST:
        raise NothingToDo(f"The window from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} is longer than {LONGEST.days} days.")
    return Plan(document["MonitoringScheduleName"], document["CreationTime"], monitors, definition, at, start, end)


def job_request(ctx: Ctx, plan: Plan) -> dict[str, Any]:
    """CreateProcessingJob's request of a run. Raises NothingToDo where there is nothing to look at."""
    definition = plan.definition
    inputs = [*_data(ctx, plan), *_beside(ctx, plan)]
    target = definition["Output"]["MonitoringOutputs"][0]["S3Output"]
    outputs = [_output("result", result_uri(plan, plan.at), target["LocalPath"])]
    if plan.monitors in NEEDS_TRUTH:
        outputs.append(_output("merge", f"{target['S3Uri'].rstrip('/')}/merge/{plan.endpoint or 'batch'}", f"{ROOT}/merge"))
    application = {
        member: value for member, value in definition["App"].items() if member in ("ImageUri", "ContainerEntrypoint", "ContainerArguments")
    }
    return {
        "ProcessingJobName": job_name(plan),
        "AppSpecification": application,
        "Environment": _environment(plan, target["LocalPath"]),
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": {"Outputs": outputs} | ({"KmsKeyId": key} if (key := definition["Output"].get("KmsKeyId")) else {}),
        "ProcessingResources": definition["Resources"],
        "StoppingCondition": definition["StoppingCondition"],
        "RoleArn": definition["RoleArn"],
        **({"NetworkConfig": definition["NetworkConfig"]} if definition.get("NetworkConfig") else {}),
    }


def result_uri(plan: Plan, at: datetime) -> str:
    """Where the files of a run at `at` go."""
    target = plan.definition["Output"]["MonitoringOutputs"][0]["S3Output"]["S3Uri"].rstrip("/")
    return f"{target}/{plan.endpoint or 'batch'}/{plan.schedule}/{at:%Y/%m/%d/%H}"


def job_name(plan: Plan) -> str:
    """AWS's form: the kind, the minute, and some letters of its own."""
    mark = hashlib.sha256(f"{plan.schedule} {plan.created.isoformat()} {plan.at.isoformat()}".encode()).hexdigest()[:12]
    return f"{NAMES[plan.monitors]}-{plan.at:%Y%m%d%H%M}-{mark}"


def _inline(held: dict[str, Any]) -> dict[str, Any]:
    return {
        "Input": held["MonitoringInputs"][0],
        "Output": held["MonitoringOutputConfig"],
        "App": held["MonitoringAppSpecification"] | {"Environment": held.get("Environment", {})},
        "Baseline": held.get("BaselineConfig", {}),
        "Resources": held["MonitoringResources"],
        "StoppingCondition": held.get("StoppingCondition") or {"MaxRuntimeInSeconds": 3600},
        "RoleArn": held["RoleArn"],
        "NetworkConfig": held.get("NetworkConfig"),
    }


def _named(held: dict[str, Any], monitors: str) -> dict[str, Any]:
    return {
        "Input": held[f"{monitors}JobInput"],
        "Output": held[f"{monitors}JobOutputConfig"],
        "App": held[f"{monitors}AppSpecification"],
        "Baseline": held.get(f"{monitors}BaselineConfig", {}),
        "Resources": held["JobResources"],
        "StoppingCondition": held["StoppingCondition"],
        "RoleArn": held["RoleArn"],
        "NetworkConfig": held.get("NetworkConfig"),
    }


def _data(ctx: Ctx, plan: Plan) -> list[dict[str, Any]]:
    """Captured requests of the hours of the window."""
    local = plan.source["LocalPath"].rstrip("/")
    if not plan.endpoint:
        return _batch_data(ctx, plan, local)
    try:
        endpoint = ctx.call("sagemaker", "DescribeEndpoint", {"EndpointName": plan.endpoint})
    except AwsError as error:
        raise NothingToDo(error.message) from None
    capture = endpoint.get("DataCaptureConfig")
    if not capture:
        raise NothingToDo(f"Data capture is not enabled for endpoint {plan.endpoint}.")
    base = f"{capture['DestinationS3Uri'].rstrip('/')}/{plan.endpoint}"
    found: list[dict[str, Any]] = []
    for variant in endpoint.get("ProductionVariants", ()):
        for hour in _hours(plan.start, plan.end):
            path = f"{variant['VariantName']}/{hour:%Y/%m/%d/%H}"
            if _has_objects(ctx, f"{base}/{path}/"):
                found.append(_input(f"data-{len(found)}", f"{base}/{path}/", f"{local}/{plan.endpoint}/{path}"))
    if not found:
        raise NothingToDo(NO_DATA)
    return found


def _batch_data(ctx: Ctx, plan: Plan, local: str) -> list[dict[str, Any]]:
    """The files that batch transform jobs of the window told of in their manifests: what was read, and but for data quality what was written."""
    base = plan.source["DataCapturedDestinationS3Uri"].rstrip("/")
    bucket = base.removeprefix("s3://").split("/", 1)[0]
    found: list[dict[str, Any]] = []
    jobs = 0
    for hour in _hours(plan.start, plan.end):
        folder = f"{base}/input/{hour:%Y/%m/%d/%H}/"
        for entry in ctx.ports.objects.list(folder) if _has_objects(ctx, folder) else ():
            uri = f"s3://{bucket}/{entry.key}"
            if plan.monitors == "DataQuality":
                found.append(_manifest_input(f"data-{jobs}", uri, f"{local}/{jobs}"))
            elif _has_objects(ctx, written := uri.replace(f"{base}/input/", f"{base}/output/", 1)):
                found.append(_manifest_input(f"data-{jobs}", uri, f"{local}/{jobs}/input"))
                found.append(_manifest_input(f"answers-{jobs}", written, f"{local}/{jobs}/output"))
            jobs += 1
    if not found:
        raise NothingToDo(NO_DATA)
    return found


def _beside(ctx: Ctx, plan: Plan) -> Iterator[dict[str, Any]]:
    """Baseline, ground truth, scripts, Clarify's configuration."""
    for member, folder in (("ConstraintsResource", "constraints"), ("StatisticsResource", "statistics")):
        uri = baseline_uri(ctx, plan, member)
        if uri:
            yield _input(folder, uri, f"{ROOT}/baseline/{folder}")
    truth = plan.definition["Input"].get("GroundTruthS3Input", {}).get("S3Uri")
    if plan.monitors in NEEDS_TRUTH:
        uris = [f"{truth.rstrip('/')}/{hour:%Y/%m/%d/%H}/" for hour in _hours(plan.start, max(plan.end, plan.at))] if truth else []
        present = [uri for uri in uris if _has_objects(ctx, uri)]
        if not present:
            raise NothingToDo(f"{NO_DATA}: there is no ground truth under {truth} for the hours of the window.")
        for number, uri in enumerate(present):
            yield _input(f"groundtruth-{number}", uri, f"{ROOT}/groundtruth/{number}")
    application = plan.definition["App"]
    for member, folder in (("RecordPreprocessorSourceUri", "preprocessing"), ("PostAnalyticsProcessorSourceUri", "postprocessing")):
        if application.get(member):
            yield _input(folder, application[member], f"{ROOT}/code/{folder}")
    trend = _last_trend(ctx, plan)
    if trend:
        yield _input("history", trend, f"{ROOT}/history")
    if plan.monitors in CLARIFY:
        yield _input("analysis_config", application["ConfigUri"], f"{ROOT}/input/config")


def baseline_uri(ctx: Ctx, plan: Plan, member: str) -> str:
    """The given resource, or what the baselining job has written. Raises NothingToDo where it has not written what is needed."""
    baseline = plan.definition["Baseline"] or {}
    given = baseline.get(member, {}).get("S3Uri")
    if given or not baseline.get("BaseliningJobName"):
        return str(given or "")
    name = {"ConstraintsResource": "constraints.json", "StatisticsResource": "statistics.json"}[member]
    if plan.monitors in CLARIFY:
        name = "analysis.json" if member == "ConstraintsResource" else ""
    if not name:
        return ""
    try:
        job = ctx.call("sagemaker", "DescribeProcessingJob", {"ProcessingJobName": baseline["BaseliningJobName"]})
        uri = f"{job['ProcessingOutputConfig']['Outputs'][0]['S3Output']['S3Uri'].rstrip('/')}/{name}"
    except AwsError as error:
        raise NothingToDo(f"The baselining job {baseline['BaseliningJobName']} cannot be read: {error.message}") from None
    except (KeyError, IndexError):
        uri = ""
    if uri and _has_objects(ctx, uri):
        return uri
    if member == "StatisticsResource" and plan.monitors != "DataQuality":
        return ""
    raise NothingToDo(f"The baselining job {baseline['BaseliningJobName']} has left no {name}.")


def _last_trend(ctx: Ctx, plan: Plan) -> str:
    """The numbers of former runs, which the last one that completed has left; "" where there are none."""
    with ctx.ports.store.reading() as tx:
        runs = monitoring_schedules.executions_of(ctx, tx, plan.schedule, plan.created)
    ended = [run.document["ScheduledTime"] for run in runs if run.document["MonitoringExecutionStatus"].startswith("Completed")]
    uri = f"{result_uri(plan, max(ended))}/trend.json" if ended else ""
    return uri if uri and _has_objects(ctx, uri) else ""


def _environment(plan: Plan, output: str) -> dict[str, str]:
    source, application = plan.source, plan.definition["App"]
    baseline = plan.definition["Baseline"] or {}
    found: dict[str, str] = {
        "dataset_format": CAPTURE if plan.endpoint else _batch_format(source["DatasetFormat"]),
        "dataset_source": source["LocalPath"],
        "output_path": output,
        "publish_cloudwatch_metrics": "Enabled",
        "start_time": f"{plan.start:%Y-%m-%dT%H:%M:%SZ}",
        "end_time": f"{plan.end:%Y-%m-%dT%H:%M:%SZ}",
        "sagemaker_monitoring_schedule_name": plan.schedule,
    }
    if plan.endpoint:
        found |= {"sagemaker_endpoint_name": plan.endpoint}
    elif plan.monitors != "DataQuality":
        found |= {"dewfall_batch_transform": "Enabled"}
    if baseline.get("ConstraintsResource", {}).get("S3Uri") or baseline.get("BaseliningJobName"):
        found["baseline_constraints"] = f"{ROOT}/baseline/constraints"
    if plan.monitors == "DataQuality" and (baseline.get("StatisticsResource", {}).get("S3Uri") or baseline.get("BaseliningJobName")):
        found["baseline_statistics"] = f"{ROOT}/baseline/statistics"
    for member, name, folder in (
        ("RecordPreprocessorSourceUri", "record_preprocessor_script", "preprocessing"),
        ("PostAnalyticsProcessorSourceUri", "post_analytics_processor_script", "postprocessing"),
    ):
        if application.get(member):
            found[name] = f"{ROOT}/code/{folder}"
    if plan.monitors == "ModelQuality":
        found |= {"analysis_type": "MODEL_QUALITY", "problem_type": application.get("ProblemType", "")}
    found |= {name: str(source[member]) for member, name in ATTRIBUTES.items() if source.get(member) is not None}
    found |= application.get("Environment", {})
    return found


def _batch_format(form: dict[str, Any]) -> str:
    if "Csv" in form:
        return '{"csv": {"header": %s}}' % ("true" if form["Csv"].get("Header") else "false")
    if "Json" in form:
        return '{"json": {"lines": %s}}' % ("true" if form["Json"].get("Line") else "false")
    return '{"parquet": {}}'


def _hours(start: datetime, end: datetime) -> Iterator[datetime]:
    at = start.replace(minute=0, second=0, microsecond=0)
    while at < end:
        yield at
        at += timedelta(hours=1)


def _has_objects(ctx: Ctx, uri: str) -> bool:
    try:
        return next(iter(ctx.ports.objects.list(uri)), None) is not None
    except AwsError:
        return False


def _input(name: str, uri: str, local: str) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": local,
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        },
    }


def _manifest_input(name: str, uri: str, local: str) -> dict[str, Any]:
    made = _input(name, uri, local)
    return made | {"S3Input": made["S3Input"] | {"S3DataType": "ManifestFile"}}


def _output(name: str, uri: str, local: str) -> dict[str, Any]:
    return {"OutputName": name, "S3Output": {"S3Uri": uri, "LocalPath": local.rstrip("/"), "S3UploadMode": "EndOfJob"}}
