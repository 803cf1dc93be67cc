"""Trial components: what a step of an experiment took in, put out and measured; jobs get theirs by themselves.

Why a job's component is made here: ListTrialComponents by the job's (lower-cased) ARN is how code inside a job finds its run.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.rules.instances import launched
from dewfall.services.common import with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker.experiments import ARNS, COMPONENT, EXPERIMENT, TRIAL, components_of, create, delete, find, listed, load
from dewfall.services.sagemaker.lineage import group_arn
from dewfall.services.sagemaker.lineage_tracking import track_job

LARGEST_METRIC = 2.0**360
MAPS = ("Parameters", "InputArtifacts", "OutputArtifacts")


@operation("sagemaker", "CreateTrialComponent")
def create_trial_component(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    document = {"DisplayName": req["TrialComponentName"], **{member: value for member, value in req.items() if member != "Tags"}}
    with ctx.ports.store.transaction() as tx:
        return {"TrialComponentArn": create(ctx, tx, COMPONENT, document, req.get("Tags", ()))}


@operation("sagemaker", "DescribeTrialComponent")
def describe_trial_component(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        document = load(ctx, tx, COMPONENT, req["TrialComponentName"]).document
    shown = {"Parameters": {}, "InputArtifacts": {}, "OutputArtifacts": {}, "Metrics": [], **document, "LineageGroupArn": group_arn(ctx)}
    return {**shown, "Sources": [document["Source"]] if "Source" in document else []}


@operation("sagemaker", "ListTrialComponents")
def list_trial_components(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if sum(bool(req.get(member)) for member in ("ExperimentName", "TrialName", "SourceArn")) > 1:
        raise validation("Only one of ExperimentName, TrialName or SourceArn can be specified.")
    with ctx.ports.store.reading() as tx:
        records = _wanted(ctx, tx, req)
    shown, token = listed(records, req)
    return with_token({"TrialComponentSummaries": [_summary(record.document) for record in shown]}, token)


@operation("sagemaker", "UpdateTrialComponent")
def update_trial_component(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, COMPONENT, req["TrialComponentName"])
        document = record.document
        for member in MAPS:
            kept = {**document.get(member, {}), **req.get(member, {})}
            gone = set(req.get(f"{member}ToRemove", ()))
            document[member] = {name: value for name, value in kept.items() if name not in gone}
        document |= {member: req[member] for member in ("DisplayName", "Status", "StartTime", "EndTime") if member in req}
        document["LastModifiedTime"] = ctx.now()
        tx.records.save(record)
    return {"TrialComponentArn": document["TrialComponentArn"]}


@operation("sagemaker", "DeleteTrialComponent")
def delete_trial_component(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name = req["TrialComponentName"]
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, COMPONENT, name)
        if record.document.get("Parents"):
            raise validation(f"Trial Component '{name}' cannot be deleted because it is associated with trials.")
        delete(ctx, tx, record)
    return {"TrialComponentArn": record.document["TrialComponentArn"]}


@operation("sagemaker", "AssociateTrialComponent")
def associate_trial_component(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record, trial = _pair(ctx, tx, req)
        parent = {"TrialName": trial.document["TrialName"], "ExperimentName": trial.document["ExperimentName"]}
        parents = record.document.setdefault("Parents", [])
        if parent not in parents:
            parents.append(parent)
            tx.records.save(record)
    return {"TrialComponentArn": record.document["TrialComponentArn"], "TrialArn": trial.document["TrialArn"]}


@operation("sagemaker", "DisassociateTrialComponent")
def disassociate_trial_component(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record, trial = _pair(ctx, tx, req)
        record.document["Parents"] = [p for p in record.document.get("Parents", ()) if p["TrialName"].lower() != trial.key.name.lower()]
        tx.records.save(record)
    return {"TrialComponentArn": record.document["TrialComponentArn"], "TrialArn": trial.document["TrialArn"]}


# ---------------------------------------------------------------- components of jobs


def job_component(document: dict[str, Any], kind: str) -> str:
    """The name of a job's component."""
    return f"{document[f'{kind.title()}JobName']}-aws-{kind}-job"


def open_job_component(ctx: Ctx, tx: Tx, kind: str, document: dict[str, Any]) -> None:
    """Make the component of a new job (`kind` "training": its record's document), in the experiment and trial it names."""
    noun = f"{kind.title()}Job"
    name = job_component(document, kind)
    config = document.get("ExperimentConfig") or {}
    parents = _parents(ctx, tx, config, name)
    component = {
        "TrialComponentName": name,
        "DisplayName": config.get("TrialComponentDisplayName", name),
        "Source": {"SourceArn": document[f"{noun}Arn"].lower(), "SourceType": f"SageMaker{noun}"},
        "Status": {"PrimaryStatus": "InProgress", "Message": "Status: InProgress, secondary status: Starting, failure reason: ."},
        "Parameters": _job_parameters(document),
        "InputArtifacts": _job_inputs(document),
        "OutputArtifacts": {},
        "Metrics": [],
        "Parents": parents,
    }
    if config.get("RunName"):
        component["RunName"] = config["RunName"]
    if find(ctx, tx, COMPONENT, name) is None:
        create(ctx, tx, COMPONENT, component)


def close_job_component(ctx: Ctx, tx: Tx, kind: str, document: dict[str, Any], metrics: list[dict[str, Any]]) -> None:
    """Bring the component of a finished job up to date; one that the user has deleted stays away."""
    noun = f"{kind.title()}Job"
    record = find(ctx, tx, COMPONENT, job_component(document, kind))
    if record is None:
        return
    status = document[f"{noun}Status"]
    message = f"Status: {status}, secondary status: {document.get('SecondaryStatus', status)}, failure reason: {document.get('FailureReason', '')}."
    component = record.document
    component["Status"] = {"PrimaryStatus": status, "Message": " ".join(message.split())[:1024]}  # which clients send back, and may have one line
    for member, source in (("StartTime", f"{kind.title()}StartTime"), ("EndTime", f"{kind.title()}EndTime")):
        if source in document:
            component[member] = document[source]
    if status == "Completed" and document.get("ModelArtifacts"):
        component["OutputArtifacts"] = {"SageMaker.ModelArtifact": {"Value": document["ModelArtifacts"]["S3ModelArtifacts"]}}
    if status == "Completed" and kind == "processing":
        outputs = document.get("ProcessingOutputConfig", {}).get("Outputs", ())
        component["OutputArtifacts"] = {one["OutputName"]: {"Value": one["S3Output"]["S3Uri"]} for one in outputs if "S3Output" in one}
    component["Metrics"] = metrics
    component["LastModifiedTime"] = ctx.now()
    tx.records.save(record)
    if status == "Completed":
        track_job(ctx, tx, component["TrialComponentArn"], kind, document)


def is_a_metric(value: float) -> bool:
    """Whether CloudWatch, and with it everything that shows metrics, takes the value: NaN, the infinities and what is beyond 2^360 it does not."""
    return abs(value) <= LARGEST_METRIC


def measure(component: dict[str, Any], source: str, name: str, value: float, at: Any) -> None:
    """Add one measurement to a component's metric summaries."""
    metrics = component.setdefault("Metrics", [])
    found = next((metric for metric in metrics if metric["MetricName"] == name), None)
    if found is None:
        first = {"MetricName": name, "SourceArn": source, "TimeStamp": at, "Max": value, "Min": value, "Last": value}
        metrics.append({**first, "Count": 1, "Avg": value, "StdDev": 0.0})
        return
    count, mean = found["Count"] + 1, found["Avg"]
    deviation = found["StdDev"] ** 2 * found["Count"]
    average = mean + (value - mean) / count
    found |= {"TimeStamp": at, "Max": max(found["Max"], value), "Min": min(found["Min"], value), "Last": value, "Count": count, "Avg": average}
    found["StdDev"] = ((deviation + (value - mean) * (value - average)) / count) ** 0.5


def _parents(ctx: Ctx, tx: Tx, config: dict[str, Any], component: str) -> list[dict[str, str]]:
    experiment = load(ctx, tx, EXPERIMENT, config["ExperimentName"]) if config.get("ExperimentName") else None
    if config.get("TrialName"):
        trial = load(ctx, tx, TRIAL, config["TrialName"]).document
        return [{"TrialName": trial["TrialName"], "ExperimentName": trial["ExperimentName"]}]
    if experiment is None:
        return []
    made = f"{component[:110]}-aws-trial" if len(component) > 110 else f"{component}-aws-trial"
    named = experiment.document["ExperimentName"]
    if find(ctx, tx, TRIAL, made) is None:
        create(ctx, tx, TRIAL, {"TrialName": made, "DisplayName": made, "ExperimentName": named}, parent=experiment.key.name)
    return [{"TrialName": made, "ExperimentName": named}]


def _job_parameters(document: dict[str, Any]) -> dict[str, Any]:
    parameters = {name: _parameter(text) for name, text in document.get("HyperParameters", {}).items()}
    resources = document.get("ResourceConfig") or document.get("ProcessingResources", {}).get("ClusterConfig", {})
    kind, count = launched(resources)
    resources = resources | ({"InstanceType": kind, "InstanceCount": count} if resources.get("InstancePreferences") else {})
    for member in ("InstanceCount", "InstanceType", "VolumeSizeInGB"):
        if resources.get(member) is not None:
            parameters[f"SageMaker.{member}"] = _parameter(str(resources[member]))
    return parameters


def _parameter(text: str) -> dict[str, Any]:
    try:
        number = float(text)
    except ValueError:
        return {"StringValue": text[:2500]}
    return {"NumberValue": number} if number == number and abs(number) != float("inf") else {"StringValue": text}


def _job_inputs(document: dict[str, Any]) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    image = document.get("AlgorithmSpecification", {}).get("TrainingImage") or document.get("AppSpecification", {}).get("ImageUri")
    if image:
        inputs["SageMaker.ImageUri"] = {"Value": image}
    for channel in document.get("InputDataConfig", ()):
        source = channel["DataSource"].get("S3DataSource")
        if source:
            artifact = {"Value": source["S3Uri"]}
            inputs[channel["ChannelName"]] = {"MediaType": channel["ContentType"][:64], **artifact} if channel.get("ContentType") else artifact
    for given in document.get("ProcessingInputs", ()):
        if "S3Input" in given:
            inputs[given["InputName"]] = {"Value": given["S3Input"]["S3Uri"]}
    return inputs


def _wanted(ctx: Ctx, tx: Tx, req: dict[str, Any]) -> list[Record]:
    if req.get("TrialName"):
        load(ctx, tx, TRIAL, req["TrialName"])
        return components_of(ctx, tx, req["TrialName"])
    records = tx.records.list(ctx.account, ctx.region, "sagemaker", COMPONENT)
    if req.get("SourceArn"):
        arn = req["SourceArn"].lower()
        return [r for r in records if r.document.get("Source", {}).get("SourceArn", "").lower() == arn]
    if req.get("ExperimentName"):
        name = load(ctx, tx, EXPERIMENT, req["ExperimentName"]).key.name.lower()
        return [r for r in records if any(p["ExperimentName"].lower() == name for p in r.document.get("Parents", ()))]
    return records


def _pair(ctx: Ctx, tx: Tx, req: dict[str, Any]) -> tuple[Record, Record]:
    """A component's record and a trial's. AWS looks for the trial first, and its error has the ARN here."""
    trial = find(ctx, tx, TRIAL, req["TrialName"])
    if trial is None:
        arn = ctx.arn("sagemaker", f"{ARNS[TRIAL]}/{req['TrialName'].lower()}")
        raise AwsError("ResourceNotFound", f"Trial '{arn}' does not exist.")
    return load(ctx, tx, COMPONENT, req["TrialComponentName"]), trial


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "TrialComponentSource": document["Source"]} if "Source" in document else document
