"""Model packages: how a model is run, under a name or as a version of a group, with what is known about it and whether it is approved.

Why versions have numbers of their own record: a group never gives a number twice, also when the package is gone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, not_built, validation
from dewfall.services.common import drop_tags, name_of, page, put_tags, select, with_token
from dewfall.services.registry import operation
from dewfall.services.sagemaker.algorithms import with_inference
from dewfall.services.sagemaker.lineage_tracking import track_approval, track_package
from dewfall.services.sagemaker.model_package_groups import PACKAGE as KIND
from dewfall.services.sagemaker.model_package_groups import load_group

CUSTOMER_PROPERTIES = 50
KEPT_MEMBERS = (
    "ModelPackageDescription", "ModelPackageRegistrationType", "InferenceSpecification", "CertifyForMarketplace", "MetadataProperties",
    "ModelMetrics", "Domain", "Task", "SamplePayloadUrl", "CustomerMetadataProperties", "DriftCheckBaselines",
    "AdditionalInferenceSpecifications", "SkipModelValidation", "SourceUri", "SecurityConfig", "ModelCard", "ModelLifeCycle",
    "ManagedStorageType", "SourceAlgorithmSpecification",
)  # fmt: skip
SUMMARY = (
    "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription", "CreationTime", "ModelPackageStatus",
    "ModelApprovalStatus", "ModelLifeCycle", "ModelPackageRegistrationType",
)  # fmt: skip
BATCH = (*SUMMARY, "InferenceSpecification")
EVENT_MEMBERS = (
    "ModelPackageName", "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "ModelPackageDescription", "CreationTime",
    "InferenceSpecification", "ModelPackageStatus", "ModelPackageStatusDetails", "CertifyForMarketplace", "ModelApprovalStatus",
    "ApprovalDescription", "MetadataProperties", "ModelMetrics", "CustomerMetadataProperties", "ModelLifeCycle", "LastModifiedTime",
)  # fmt: skip


@operation("sagemaker", "CreateModelPackage")
def create_model_package(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """There is no validation job: a package is Completed at once. Its data is looked for when a model is made of it."""
    _check(req)
    req = with_inference(ctx, req)
    with ctx.ports.store.transaction() as tx:
        if req.get("ModelPackageGroupName"):
            return {"ModelPackageArn": _create_version(ctx, tx, req)}
        name = req["ModelPackageName"]
        arn = package_arn(ctx, name)
        try:
            _create(ctx, tx, name, {**_first_document(ctx, req, arn), "ModelPackageName": name}, req)
        except AlreadyExists:
            raise validation(f"ModelPackage already exists: {arn}") from None
        return {"ModelPackageArn": arn}


@operation("sagemaker", "DescribeModelPackage")
def describe_model_package(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        document = load_package(ctx, tx, req["ModelPackageName"]).document
    if req.get("IncludedData") == "MetadataOnly" and "ModelCard" in document:
        return {**document, "ModelCard": {**document["ModelCard"], "ModelCardContent": "{}"}}
    return document


@operation("sagemaker", "ListModelPackages")
def list_model_packages(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    group = name_of(req["ModelPackageGroupName"]) if req.get("ModelPackageGroupName") else None
    kind = req.get("ModelPackageType") or ("Versioned" if group else "Unversioned")
    with ctx.ports.store.reading() as tx:
        if group:
            load_group(ctx, tx, group)
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND, parent=group)
    approval = req.get("ModelApprovalStatus")
    wanted = [
        record
        for record in select(records, req)
        if kind in ("Both", "Versioned" if record.parent else "Unversioned") and approval in (None, record.document.get("ModelApprovalStatus"))
    ]
    shown, token = page(_ordered(wanted, req), req, key=lambda record: record.key.name, default=10)
    return with_token({"ModelPackageSummaryList": [_summary(record) for record in shown]}, token)


@operation("sagemaker", "BatchDescribeModelPackage")
def batch_describe_model_package(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    found, missing = {}, {}
    with ctx.ports.store.reading() as tx:
        for arn in req["ModelPackageArnList"]:
            try:
                document = load_package(ctx, tx, arn).document
                found[arn] = {"InferenceSpecification": {"Containers": []}} | {member: document[member] for member in BATCH if member in document}
                found[arn].setdefault("ModelPackageGroupName", document["ModelPackageName"])
            except AwsError as error:
                missing[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
    return {"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": missing}


@operation("sagemaker", "UpdateModelPackage")
def update_model_package(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = load_package(ctx, tx, req["ModelPackageArn"])
        document = record.document
        if "ModelApprovalStatus" in req and not record.parent:
            raise validation("ModelApprovalStatus can only be updated for a versioned model package.")
        plain = (
            "ModelApprovalStatus",
            "ApprovalDescription",
            "SourceUri",
            "InferenceSpecification",
            "ModelLifeCycle",
            "ModelPackageRegistrationType",
        )
        before = document.get("ModelApprovalStatus")
        document |= {member: req[member] for member in plain if req.get(member) is not None}
        if document.get("ModelApprovalStatus") != before:
            track_approval(ctx, tx, document)
        if req.get("ModelCard"):
            document["ModelCard"] = {**document.get("ModelCard", {}), **req["ModelCard"]}
        _update_properties(document, req)
        _add_specifications(document, req.get("AdditionalInferenceSpecificationsToAdd", ()))
        document |= {"LastModifiedTime": ctx.now(), "LastModifiedBy": {}}
        tx.records.save(record)
        tell(ctx, tx, document)
        return {"ModelPackageArn": document["ModelPackageArn"]}


@operation("sagemaker", "DeleteModelPackage")
def delete_model_package(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = load_package(ctx, tx, req["ModelPackageName"])
        tx.records.delete(record.key)
        drop_tags(tx, ctx, record.document["ModelPackageArn"])


def load_package(ctx: Ctx, tx: Tx, name_or_arn: str) -> Record:
    """A package by name (group/version), or ARN; AWS's error when there is none."""
    name = name_of(name_or_arn)
    if name_or_arn.startswith("arn:") and name_or_arn.split(":")[3] != ctx.region:
        raise validation(f"ARN should be scoped to correct region: {ctx.region}")
    record = tx.records.get(package_key(ctx, name))
    if record is None or (name_or_arn.startswith("arn:") and record.document["ModelPackageArn"] != name_or_arn):
        raise validation(f"ModelPackage {name_or_arn if name_or_arn.startswith('arn:') else package_arn(ctx, name)} does not exist.")
    return record


def package_key(ctx: Ctx, name: str) -> Key:
    """Where a package is kept."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def package_arn(ctx: Ctx, name: str) -> str:
    """A package's ARN; a version's name is `group/1`."""
    return ctx.arn("sagemaker", f"model-package/{name}")


def tell(ctx: Ctx, tx: Tx, document: dict[str, Any]) -> None:
    """Emit AWS's event of a package that is new or has changed."""
    event = {
        "version": "0",
        "id": new_uuid(),
        "detail-type": "SageMaker Model Package State Change",
        "source": "aws.sagemaker",
        "account": ctx.account,
        "time": _event_value(ctx.now()),
        "region": ctx.region,
        "resources": [document["ModelPackageArn"]],
        "detail": {member: _event_value(document[member]) for member in EVENT_MEMBERS if member in document},
    }
    tx.outbox.put("aws.events", ctx.account, ctx.region, event)


# ---------------------------------------------------------------- models of packages


def package_containers(ctx: Ctx, container: dict[str, Any]) -> list[dict[str, Any]]:
    """The containers that a model's container with a ModelPackageName stands for. Raises AwsError for a package that may not be deployed."""
    with ctx.ports.store.reading() as tx:
        package = load_package(ctx, tx, container["ModelPackageName"]).document
    approval = package.get("ModelApprovalStatus", "Approved")
    if approval != "Approved":
        arn = package["ModelPackageArn"]
        raise validation(f"Model package {arn} has ModelApprovalStatus {approval}. Only an Approved model package can be deployed.")
    found: list[dict[str, Any]] = []
    for given in specification(package, container.get("InferenceSpecificationName"))["Containers"]:
        kept = {member: given[member] for member in ("ContainerHostname", "Image", "ModelDataUrl", "ModelDataSource") if given.get(member)}
        if container.get("ContainerHostname") and not found:
            kept["ContainerHostname"] = container["ContainerHostname"]
        environment = {**given.get("Environment", {}), **container.get("Environment", {})}
        found.append({**kept, "Environment": environment, "ModelPackageName": package["ModelPackageArn"]})
    return found


def specification(package: dict[str, Any], name: str | None) -> dict[str, Any]:
    """A package's inference specification, or one of its additional ones by name. Raises AwsError where it has none like it."""
    if name is None:
        found = package.get("InferenceSpecification")
    else:
        found = next((one for one in package.get("AdditionalInferenceSpecifications", ()) if one["Name"] == name), None)
    if found is None:
        what = f"inference specification {name}" if name else "inference specification"
        raise validation(f"Model package {package['ModelPackageArn']} has no {what}.")
    answer: dict[str, Any] = found
    return answer


# ---------------------------------------------------------------- parts


def _check(req: dict[str, Any]) -> None:
    name, group = req.get("ModelPackageName"), req.get("ModelPackageGroupName")
    if name and group:
        raise validation("Both ModelPackageName and ModelPackageGroupName are provided in the input. Cannot determine which one to use.")
    if not name and not group:
        raise validation("Missing ARN.")
    if req.get("ValidationSpecification", {}).get("ValidationProfiles"):
        raise not_built("the validation of model packages by transform jobs (ValidationSpecification)")
    names = [one["Name"] for one in req.get("AdditionalInferenceSpecifications", ())]
    if len(set(names)) < len(names):
        raise validation("Names of AdditionalInferenceSpecifications must be unique.")


def _create_version(ctx: Ctx, tx: Tx, req: dict[str, Any]) -> str:
    try:
        group = load_group(ctx, tx, req["ModelPackageGroupName"])
    except AwsError:
        raise validation("Model Package Group does not exist.") from None
    for record in tx.records.list(ctx.account, ctx.region, "sagemaker", KIND, parent=group.key.name):
        if req.get("ClientToken") and record.document.get("_Token") == req["ClientToken"]:
            return str(record.document["ModelPackageArn"])
    number = group.document["_Versions"] + 1
    group.document["_Versions"] = number
    tx.records.save(group)
    name = f"{group.key.name}/{number}"
    document = _first_document(ctx, req, package_arn(ctx, name)) | {
        "ModelPackageName": group.key.name,
        "ModelPackageGroupName": group.key.name,
        "ModelPackageVersion": number,
        "ModelApprovalStatus": req.get("ModelApprovalStatus", "PendingManualApproval"),
        "_Token": req.get("ClientToken"),
    }
    _create(ctx, tx, name, document, req, group.key.name)
    track_package(ctx, tx, group.document, document)
    return str(document["ModelPackageArn"])


def _create(ctx: Ctx, tx: Tx, name: str, document: dict[str, Any], req: dict[str, Any], group: str = "") -> None:
    tx.records.create(Record(package_key(ctx, name), document, "Completed", group))
    put_tags(tx, ctx, document["ModelPackageArn"], req.get("Tags", ()))
    tell(ctx, tx, document)


def _first_document(ctx: Ctx, req: dict[str, Any], arn: str) -> dict[str, Any]:
    now = ctx.now()
    document: dict[str, Any] = {"CertifyForMarketplace": False, "SkipModelValidation": "None"}
    document |= {member: req[member] for member in KEPT_MEMBERS if req.get(member) is not None}
    return document | {
        "ModelPackageArn": arn,
        "CreationTime": now,
        "CreatedBy": {},
        "LastModifiedTime": now,
        "LastModifiedBy": {},
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
    }


def _update_properties(document: dict[str, Any], req: dict[str, Any]) -> None:
    kept = {**document.get("CustomerMetadataProperties", {}), **req.get("CustomerMetadataProperties", {})}
    kept = {name: value for name, value in kept.items() if name not in req.get("CustomerMetadataPropertiesToRemove", ())}
    if len(kept) > CUSTOMER_PROPERTIES:
        raise validation(f"A model package can have at most {CUSTOMER_PROPERTIES} CustomerMetadataProperties.")
    if kept:
        document["CustomerMetadataProperties"] = kept
    else:
        document.pop("CustomerMetadataProperties", None)


def _add_specifications(document: dict[str, Any], added: Any) -> None:
    if not added:
        return
    every = [*document.get("AdditionalInferenceSpecifications", ()), *added]
    if len({one["Name"] for one in every}) < len(every):
        raise validation("Names of AdditionalInferenceSpecifications must be unique.")
    document["AdditionalInferenceSpecifications"] = every


def _ordered(records: list[Record], req: dict[str, Any]) -> list[Record]:
    """As everywhere, but the versions of a group by their numbers."""
    down = req.get("SortOrder", "Descending") == "Descending"
    by_version = sorted(records, key=lambda record: record.document.get("ModelPackageVersion", 0), reverse=down)
    if req.get("SortBy") == "Name":
        return sorted(by_version, key=lambda record: record.document["ModelPackageName"], reverse=down)
    return sorted(by_version, key=lambda record: record.document["CreationTime"], reverse=down)


def _summary(record: Record) -> dict[str, Any]:
    summary = {member: record.document[member] for member in SUMMARY if member in record.document}
    return summary if record.parent else {"ModelPackageName": record.document["ModelPackageName"], **summary}


def _event_value(value: Any) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else value
