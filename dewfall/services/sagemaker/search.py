"""Search: resources of one kind by an expression over their properties, tags and metrics.

Why over whole documents and not by an index: a local account has hundreds of resources, not millions.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Record, Tx
from dewfall.errors import validation
from dewfall.rules.filters import asked_names, matches, property_names, sort_value
from dewfall.services.common import get_tags, page, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker.algorithms import without_image
from dewfall.services.sagemaker.experiments import components_of
from dewfall.services.sagemaker.monitoring_schedules import KIND as MONITORING_SCHEDULE
from dewfall.services.sagemaker.tuning import shown_now
from dewfall.services.sagemaker.warm_pools import status_now
from dewfall.wire.models import operation_model

# Resource → (member of a result, record kind). What is not here has no resources yet, so a search finds none.
RESOURCES = {
    "TrainingJob": ("TrainingJob", "training-job"),
    "Experiment": ("Experiment", "experiment"),
    "ExperimentTrial": ("Trial", "trial"),
    "ExperimentTrialComponent": ("TrialComponent", "trial-component"),
    "Endpoint": ("Endpoint", "endpoint"),
    "Model": ("Model", "model"),
    "ModelPackage": ("ModelPackage", "model-package"),
    "ModelPackageGroup": ("ModelPackageGroup", "model-package-group"),
    "ModelCard": ("ModelCard", "model-card"),
    "Pipeline": ("Pipeline", "pipeline"),
    "PipelineExecution": ("PipelineExecution", "pipeline-execution"),
    "FeatureGroup": ("FeatureGroup", "feature-group"),
    "HyperParameterTuningJob": ("HyperParameterTuningJob", "hyper-parameter-tuning-job"),
    "Project": ("Project", "project"),
}
# What a trial component may have been made for: type of its source → (member, record kind).
JOBS = {f"SageMaker{noun}Job": (f"{noun}Job", f"{noun.lower()}-job") for noun in ("Training", "Processing", "Transform")}
# What can be asked for besides the members that AWS's model gives a resource.
ALWAYS = {"Tags", "Metrics", "CreationTime", "LastModifiedTime"}
SUGGESTIONS = 100
SUMMARY = ("TrialComponentName", "TrialComponentArn", "CreationTime", "CreatedBy")


@operation("sagemaker", "Search")
def search(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    member, kind = RESOURCES.get(req["Resource"], ("", ""))
    expression = req.get("SearchExpression", {})
    _check_names(member, expression)
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", kind) if kind else []
        found = [(record, _entity(ctx, tx, record, member)) for record in records]
    chosen = [(record, entity) for record, entity in found if matches(entity, expression)]
    down = req.get("SortOrder", "Descending") == "Descending"
    by = req.get("SortBy", "LastModifiedTime")
    chosen.sort(key=lambda pair: (sort_value(pair[1], by), pair[0].key.name), reverse=down)
    shown, token = page(chosen, req, key=lambda pair: pair[0].key.name, default=10)
    results = [{member: {"Model": entity} if member == "Model" else entity} for _, entity in shown]
    return with_token({"Results": results, "TotalHits": {"Value": len(chosen), "Relation": "EqualTo"}}, token)


@operation("sagemaker", "GetSearchSuggestions")
def get_search_suggestions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Names of properties that the account's resources have, which begin as the hint does."""
    member, kind = RESOURCES.get(req["Resource"], ("", ""))
    hint = req.get("SuggestionQuery", {}).get("PropertyNameQuery", {}).get("PropertyNameHint", "").lower()
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", kind) if kind else []
        names = {name for record in records for name in property_names(_entity(ctx, tx, record, member))}
    kept = [name for name in sorted(names) if name.lower().startswith(hint)]
    return {"PropertyNameSuggestions": [{"PropertyName": name} for name in kept[:SUGGESTIONS]]}


def _check_names(member: str, expression: dict[str, Any]) -> None:
    """Raise AWS's error for a property that a resource of this kind cannot have; what lies beneath it is not looked at."""
    model = operation_model("sagemaker", "Search")
    shape = model.output_shape.members["Results"].member.members.get(member) if model else None
    if shape is None:
        return
    known = {name.lower() for name in ALWAYS | set(shape.members)}
    if member == "Model":
        known |= {name.lower() for name in shape.members["Model"].members}
    for name in asked_names(expression):
        if name.split(".")[0].lower() not in known:
            raise validation(f"Unknown property name: {name}")


def _entity(ctx: Ctx, tx: Tx, record: Record, member: str) -> dict[str, Any]:
    """A document as Search sees it: with its tags, its metrics by name, and a time of last change."""
    document = {"CreationTime": record.created, "LastModifiedTime": record.modified, **record.document}
    arn = document.get(f"{member}Arn")
    if arn:
        document["Tags"] = get_tags(tx, ctx, arn)
    if member == "TrainingJob":
        document = without_image(status_now(ctx, document))
        document["Metrics"] = document.get("FinalMetricDataList", [])
    if member == "Endpoint":
        schedules = tx.records.list(ctx.account, ctx.region, "sagemaker", MONITORING_SCHEDULE)
        watching = [schedule.document for schedule in schedules if schedule.document.get("EndpointName") == document["EndpointName"]]
        document |= {"MonitoringSchedules": watching} if watching else {}
    if member == "HyperParameterTuningJob":
        document |= shown_now(ctx, tx, record)
    if member == "Trial":
        document["TrialComponentSummaries"] = [_component(found.document) for found in components_of(ctx, tx, record.key.name)]
    if member == "TrialComponent" and "Source" in document:
        document["SourceDetail"] = _source_detail(ctx, tx, document["Source"])
    return document


def _component(document: dict[str, Any]) -> dict[str, Any]:
    """A trial component as its trial shows it."""
    summary = {name: document[name] for name in SUMMARY if name in document}
    return {**summary, "TrialComponentSource": document["Source"]} if "Source" in document else summary


def _source_detail(ctx: Ctx, tx: Tx, source: dict[str, Any]) -> dict[str, Any]:
    """The job that a component was made for, while it is there."""
    detail = {"SourceArn": source["SourceArn"]}
    member, kind = JOBS.get(source.get("SourceType", ""), ("", ""))
    if not kind:
        return detail
    jobs = tx.records.list(ctx.account, ctx.region, "sagemaker", kind)
    job = next((job for job in jobs if job.document[f"{member}Arn"].lower() == source["SourceArn"]), None)
    return {**detail, member: job.document} if job else detail
