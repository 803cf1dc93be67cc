"""Algorithm resources: a training image under a name, with the hyperparameters, channels, metrics and instance types that it supports.

Training and tuning jobs that name one get its image, metrics and defaults, and are held to what it supports.
"""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import not_built, validation
from dewfall.rules.instances import launched
from dewfall.services.common import drop_tags, name_of, order, page, put_tags, select, with_token
from dewfall.services.registry import operation

KIND = "algorithm"
KEPT_MEMBERS = ("AlgorithmDescription", "TrainingSpecification", "InferenceSpecification", "CertifyForMarketplace")
SUMMARY = ("AlgorithmName", "AlgorithmArn", "AlgorithmDescription", "CreationTime", "AlgorithmStatus")
RANGES = {"Integer": "IntegerParameterRangeSpecification", "Continuous": "ContinuousParameterRangeSpecification"}
NUMBERS = {"Integer": int, "Continuous": float}
ONE_OF_TWO = "Exactly one of TrainingImage or AlgorithmName must be specified in AlgorithmSpecification."
PLATFORM = ("sagemaker_", "_tuning_objective_metric")


@operation("sagemaker", "CreateAlgorithm")
def create_algorithm(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if req.get("ValidationSpecification"):
        raise not_built("the validation of algorithms")
    _check_specification(req["TrainingSpecification"])
    name = req["AlgorithmName"]
    arn = ctx.arn("sagemaker", f"{KIND}/{name}")
    document = {
        "AlgorithmName": name,
        "AlgorithmArn": arn,
        "CreationTime": ctx.now(),
        **{member: req[member] for member in KEPT_MEMBERS if req.get(member) is not None},
        "AlgorithmStatus": "Completed",
        "AlgorithmStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
    }
    try:
        with ctx.ports.store.transaction() as tx:
            tx.records.create(Record(_key(ctx, name), document, status="Completed"))
            put_tags(tx, ctx, arn, req.get("Tags", ()))
    except AlreadyExists:
        raise validation(f"Algorithm already exists: {arn}") from None
    return {"AlgorithmArn": arn}


@operation("sagemaker", "DescribeAlgorithm")
def describe_algorithm(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load(ctx, tx, req["AlgorithmName"]).document


@operation("sagemaker", "ListAlgorithms")
def list_algorithms(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = select(tx.records.list(ctx.account, ctx.region, "sagemaker", KIND), req)
    shown, token = page(order(records, req, direction="Ascending"), req, key=lambda record: record.key.name, default=10)
    summaries = [{member: record.document[member] for member in SUMMARY if member in record.document} for record in shown]
    return with_token({"AlgorithmSummaryList": summaries}, token)


@operation("sagemaker", "DeleteAlgorithm")
def delete_algorithm(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, req["AlgorithmName"])
        tx.records.delete(record.key)
        drop_tags(tx, ctx, record.document["AlgorithmArn"])


def load(ctx: Ctx, tx: Tx, name: str) -> Record:
    """An algorithm's record by name or ARN; an error when there is none."""
    record = tx.records.get(_key(ctx, name_of(name)))
    if record is None:
        raise validation(f"Algorithm {ctx.arn('sagemaker', f'{KIND}/{name_of(name)}')} does not exist.")
    return record


def with_algorithm(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """A training job's request with what its algorithm resource stands for: image, metrics, defaults. Unchanged when it names an image."""
    asked = req.get("AlgorithmSpecification", {})
    if not asked.get("AlgorithmName"):
        return req
    if asked.get("TrainingImage"):
        raise validation(ONE_OF_TWO)
    with ctx.ports.store.reading() as tx:
        found = load(ctx, tx, asked["AlgorithmName"]).document
    specification, arn = found["TrainingSpecification"], found["AlgorithmArn"]
    supported = specification.get("SupportedHyperParameters", [])
    defaults = {one["Name"]: one["DefaultValue"] for one in supported if "DefaultValue" in one}
    given = {**defaults, **req.get("HyperParameters", {})}
    _check_hyperparameters(arn, supported, given)
    _check_channels(arn, specification["TrainingChannels"], req)
    _check_instances(arn, specification, req.get("ResourceConfig") or {})
    metrics = [*specification.get("MetricDefinitions", ()), *asked.get("MetricDefinitions", ())]
    algorithm = {**asked, "AlgorithmName": arn, "TrainingImage": specification["TrainingImage"]}
    return {**req, "AlgorithmSpecification": algorithm | ({"MetricDefinitions": metrics} if metrics else {}), "HyperParameters": given}


def with_inference(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """A model package's request with the containers of its source algorithm and the data that it gives; unchanged without one."""
    sources = req.get("SourceAlgorithmSpecification", {}).get("SourceAlgorithms")
    if not sources:
        return req
    with ctx.ports.store.reading() as tx:
        found = load(ctx, tx, sources[0]["AlgorithmName"]).document
    inference = found.get("InferenceSpecification")
    if not inference or req.get("InferenceSpecification"):
        wrong = "has no InferenceSpecification" if not inference else "brings its own InferenceSpecification, so that none can be given"
        raise validation(f"The algorithm {found['AlgorithmArn']} {wrong}.")
    data = {member: sources[0][member] for member in ("ModelDataUrl", "ModelDataSource", "ModelDataETag") if member in sources[0]}
    first, *others = inference["Containers"]
    return {**req, "InferenceSpecification": {**inference, "Containers": [{**first, **data}, *others]}}


def without_image(document: dict[str, Any]) -> dict[str, Any]:
    """A training job as it is described: one that named an algorithm does not name the image behind it."""
    algorithm = document["AlgorithmSpecification"]
    if "AlgorithmName" not in algorithm:
        return document
    return {**document, "AlgorithmSpecification": {member: value for member, value in algorithm.items() if member != "TrainingImage"}}


def _check_specification(specification: dict[str, Any]) -> None:
    for what, members in (("Hyperparameter", specification.get("SupportedHyperParameters", ())), ("Channel", specification["TrainingChannels"])):
        names = [one["Name"] for one in members]
        if len(set(names)) != len(names):
            raise validation(f"{what} names of an algorithm must be unique.")
    metrics = {one["Name"] for one in specification.get("MetricDefinitions", ())}
    lost = [one["MetricName"] for one in specification.get("SupportedTuningJobObjectiveMetrics", ()) if one["MetricName"] not in metrics]
    if lost:
        raise validation(f"Objective metrics must be among the MetricDefinitions: {', '.join(lost)}.")


def _check_hyperparameters(arn: str, supported: list[dict[str, Any]], given: dict[str, str]) -> None:
    known = {one["Name"]: one for one in supported}
    missing = [name for name, one in known.items() if one.get("IsRequired") and name not in given]
    if missing:
        raise validation(f"The hyperparameters [{', '.join(missing)}] are required by the algorithm {arn}.")
    for name, text in given.items():
        if supported and name not in known and not name.startswith(PLATFORM):
            raise validation(f"The hyperparameter [{name}] is not supported by the algorithm {arn}.")
        if text and name in known and not _is_valid(known[name], text.strip('"')):
            raise validation(f"The value '{text}' of the hyperparameter [{name}] is not valid for the algorithm {arn}.")


def _is_valid(specification: dict[str, Any], text: str) -> bool:
    kind, limits = specification["Type"], specification.get("Range", {})
    if kind == "Categorical":
        choices = limits.get("CategoricalParameterRangeSpecification", {}).get("Values")
        return choices is None or text in choices
    if kind not in NUMBERS:
        return True
    try:
        value = NUMBERS[kind](text)
        bounds = limits.get(RANGES[kind])
        return bounds is None or float(bounds["MinValue"]) <= value <= float(bounds["MaxValue"])
    except ValueError:
        return False


def _check_channels(arn: str, supported: list[dict[str, Any]], req: dict[str, Any]) -> None:
    given = {one["ChannelName"]: one for one in req.get("InputDataConfig", ())}
    known = {one["Name"]: one for one in supported}
    missing = [name for name, one in known.items() if one.get("IsRequired") and name not in given]
    unknown = [name for name in given if name not in known]
    if missing or unknown:
        wrong = f"needs the channels [{', '.join(missing)}]" if missing else f"has no channels [{', '.join(unknown)}]"
        raise validation(f"The algorithm {arn} {wrong}.")
    for name, channel in given.items():
        mode = channel.get("InputMode") or req["AlgorithmSpecification"]["TrainingInputMode"]
        if mode not in known[name]["SupportedInputModes"]:
            raise validation(f"The channel [{name}] of the algorithm {arn} does not support the input mode {mode}.")
        if channel.get("ContentType") and channel["ContentType"] not in known[name]["SupportedContentTypes"]:
            raise validation(f"The channel [{name}] of the algorithm {arn} does not support the content type {channel['ContentType']}.")


def _check_instances(arn: str, specification: dict[str, Any], resources: dict[str, Any]) -> None:
    for member in resources.get("InstanceGroups") or resources.get("InstancePreferences") or [resources]:
        kind = member.get("InstanceType")
        if kind and kind not in specification["SupportedTrainingInstanceTypes"]:
            raise validation(f"The algorithm {arn} does not support the instance type {kind}.")
    if launched(resources)[1] > 1 and specification.get("SupportsDistributedTraining") is False:
        raise validation(f"The algorithm {arn} does not support distributed training.")


def _key(ctx: Ctx, name: str) -> Key:
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)
