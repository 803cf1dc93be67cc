"""Inference recommendations jobs as users see them: create, describe, list, stop, their steps, and the scaling that goes with a result.

The work itself is in inference_recommendation_step.py: it makes real endpoints, one at a time, and has them loaded.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.rules.recommendation import capacity
from dewfall.services.common import order, page, put_tags, select, transact, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker import recommendation_results as results
from dewfall.services.sagemaker.models import ROLE
from dewfall.services.sagemaker.recommendation_tests import make_tests, pattern_of, read_source

KIND = "inference-recommendations-job"
GROUP = "/aws/sagemaker/InferenceRecommendationsJobs"
FINAL = frozenset({"COMPLETED", "FAILED", "STOPPED"})
KEPT_MEMBERS = ("JobName", "JobDescription", "JobType", "RoleArn", "InputConfig", "StoppingConditions", "OutputConfig")
SUMMARY = ("JobName", "JobType", "JobArn", "Status", "CreationTime", "CompletionTime", "RoleArn", "LastModifiedTime", "FailureReason")
TARGET_CPU = 50  # percent of each core, where the request names none
COOLDOWN = 300


@operation("sagemaker", "CreateInferenceRecommendationsJob")
def create_inference_recommendations_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if not ROLE.match(req["RoleArn"]):
        raise validation(f"Invalid role ARN: {req['RoleArn']}")
    _check_type(req)
    name, now = req["JobName"], ctx.now()
    arn = ctx.arn("sagemaker", f"inference-recommendations-job/{name}")
    document: dict[str, Any] = {member: req[member] for member in KEPT_MEMBERS if req.get(member) is not None}
    document |= {"JobArn": arn, "Status": "PENDING", "CreationTime": now, "LastModifiedTime": now, "_Pattern": pattern_of(req)}
    try:
        with ctx.ports.store.transaction() as tx:
            document["_Source"] = read_source(ctx, tx, req["InputConfig"])
            document["_Tests"] = make_tests(req, document["_Source"])
            record = tx.records.create(Record(job_key(ctx, name), document, "PENDING"))
            put_tags(tx, ctx, arn, req.get("Tags", ()))
            tx.queue.put(KIND, record.key)
    except AlreadyExists:
        raise AwsError("ResourceInUse", f"Inference recommendations job already exists: {arn}") from None
    ctx.ports.series.create_log_stream(ctx.account, ctx.region, GROUP, stream(name))
    return {"JobArn": arn}


@operation("sagemaker", "DescribeInferenceRecommendationsJob")
def describe_inference_recommendations_job(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load_job(ctx, tx, req["JobName"]).document


@operation("sagemaker", "ListInferenceRecommendationsJobs")
def list_inference_recommendations_jobs(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    wanted = [record for record in select(records, req) if _is_of(record.document["InputConfig"], req)]
    shown, token = page(order(wanted, req), req, key=lambda record: record.key.name, default=10)
    return with_token({"InferenceRecommendationsJobs": [_summary(record.document) for record in shown]}, token)


@operation("sagemaker", "ListInferenceRecommendationsJobSteps")
def list_inference_recommendations_job_steps(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        document = load_job(ctx, tx, req["JobName"]).document
    wanted = [step for step in results.steps(document) if req.get("Status") in (None, step["Status"])]
    numbered = list(enumerate(wanted))
    shown, token = page(numbered, req, key=lambda pair: str(pair[0]), default=10)
    return with_token({"Steps": [step for _, step in shown]}, token)


@operation("sagemaker", "StopInferenceRecommendationsJob")
def stop_inference_recommendations_job(ctx: Ctx, req: dict[str, Any]) -> None:

    def act(tx: Tx) -> None:
        record = load_job(ctx, tx, req["JobName"])
        if record.status == "STOPPING":
            return
        if record.status in FINAL:
            raise validation(f"Cannot stop inference recommendations job {req['JobName']} in status {record.status}.")
        save(ctx, tx, record, "STOPPING")
        tx.queue.wake(KIND, record.key)

    transact(ctx, act)


@operation("sagemaker", "GetScalingConfigurationRecommendation")
def get_scaling_configuration_recommendation(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Never more invocations per instance than were measured; AWS's own formula is not published."""
    name, wanted = req["InferenceRecommendationsJobName"], req.get("RecommendationId")
    if bool(wanted) == bool(req.get("EndpointName")):
        raise validation("Exactly one of RecommendationId or EndpointName must be specified.")
    with ctx.ports.store.reading() as tx:
        document = load_job(ctx, tx, name).document
    if document["Status"] != "COMPLETED":
        raise validation(f"Inference recommendations job {name} is in status {document['Status']}; it must be COMPLETED.")
    found = document.get("InferenceRecommendations", ())
    of_endpoint = [one for one in found if one["EndpointConfiguration"]["EndpointName"] == req.get("EndpointName")]
    chosen = next((one for one in found if one["RecommendationId"] == wanted), None) if wanted else next(iter(of_endpoint), None)
    if chosen is None:
        raise AwsError("ResourceNotFound", f"Recommendation {wanted or req['EndpointName']} of job {name} does not exist.")
    target, objective = req.get("TargetCpuUtilizationPerCore", TARGET_CPU), req.get("ScalingPolicyObjective", {})
    each, least, most = capacity(chosen["Metrics"]["MaxInvocations"], results.cpu_per_core(chosen), target, objective)
    specification = {"Predefined": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}
    return {
        **{member: value for member, value in req.items() if value is not None},
        "TargetCpuUtilizationPerCore": target,
        "Metric": {"InvocationsPerInstance": each, "ModelLatency": chosen["Metrics"]["ModelLatency"]},
        "DynamicScalingConfiguration": {
            "MinCapacity": least,
            "MaxCapacity": most,
            "ScaleInCooldown": COOLDOWN,
            "ScaleOutCooldown": COOLDOWN,
            "ScalingPolicies": [{"TargetTracking": {"MetricSpecification": specification, "TargetValue": float(each)}}],
        },
    }


def load_job(ctx: Ctx, tx: Tx, name: str) -> Record:
    """A job's record; AWS's error when there is none."""
    record = tx.records.get(job_key(ctx, name))
    if record is None:
        raise AwsError("ResourceNotFound", f"Inference recommendations job {name} does not exist.")
    return record


def job_key(ctx: Ctx, name: str) -> Key:
    """Where a job is kept."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def stream(name: str) -> str:
    """The stream that SDKs wait for."""
    return f"{name}/execution"


def save(ctx: Ctx, tx: Tx, record: Record, status: str = "") -> Record:
    """Save the job, in a new status or not."""
    record.status = record.document["Status"] = status or record.status
    record.document["LastModifiedTime"] = ctx.now()
    return tx.records.save(record)


def _check_type(req: dict[str, Any]) -> None:
    config = req["InputConfig"]
    if req["JobType"] == "Default":
        given = [member for member in ("EndpointConfigurations", "TrafficPattern", "ResourceLimit", "Endpoints") if config.get(member)]
        given += ["StoppingConditions"] if req.get("StoppingConditions") else []
        if given:
            raise validation(f"{', '.join(given)} can only be specified for a job of type Advanced.")
    elif not config.get("EndpointConfigurations") and not config.get("Endpoints"):
        types = config.get("ContainerConfig", {}).get("SupportedInstanceTypes")
        if not types:
            raise validation("EndpointConfigurations or Endpoints must be specified in the InputConfig of an Advanced job.")


def _is_of(config: dict[str, Any], req: dict[str, Any]) -> bool:
    model, package = req.get("ModelNameEquals"), req.get("ModelPackageVersionArnEquals")
    return model in (None, config.get("ModelName")) and package in (None, config.get("ModelPackageVersionArn"))


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    config = document["InputConfig"]
    shown = {"JobDescription": "", **{member: document[member] for member in (*SUMMARY, "JobDescription") if member in document}}
    shown |= {member: config[member] for member in ("ModelName", "ModelPackageVersionArn") if config.get(member)}
    return {**shown, "SamplePayloadUrl": document["_Source"]["Payload"]}
