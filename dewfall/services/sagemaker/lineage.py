"""Lineage entities: artifacts, actions, contexts. Create, describe, list, update, delete.

Why one file: they differ in two members; associations and the query over all of them have files of their own.
"""

from __future__ import annotations

import hashlib
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.services.common import drop_tags, page, put_tags, with_token
from dewfall.services.registry import operation

ARTIFACT, ACTION, CONTEXT = "artifact", "action", "context"
WORDS = {ARTIFACT: "Artifact", ACTION: "Action", CONTEXT: "Context"}
PROPERTY_LIMIT = 30
GROUP = "sagemaker-default-lineage-group"


@operation("sagemaker", "CreateArtifact")
def create_artifact(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        return {"ArtifactArn": _create(ctx, tx, ARTIFACT, artifact_id(req["Source"]), req)}


@operation("sagemaker", "CreateAction")
def create_action(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        return {"ActionArn": _create(ctx, tx, ACTION, req["ActionName"], {"Status": "Unknown", **req})}


@operation("sagemaker", "CreateContext")
def create_context(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        return {"ContextArn": _create(ctx, tx, CONTEXT, req["ContextName"], req)}


@operation("sagemaker", "DescribeArtifact")
def describe_artifact(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load(ctx, tx, ARTIFACT, name_in(req["ArtifactArn"])).document | {"LineageGroupArn": group_arn(ctx)}


@operation("sagemaker", "DescribeAction")
def describe_action(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load(ctx, tx, ACTION, name_in(req["ActionName"])).document | {"LineageGroupArn": group_arn(ctx)}


@operation("sagemaker", "DescribeContext")
def describe_context(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return load(ctx, tx, CONTEXT, name_in(req["ContextName"])).document | {"LineageGroupArn": group_arn(ctx)}


@operation("sagemaker", "ListArtifacts")
def list_artifacts(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _list(ctx, ARTIFACT, req)


@operation("sagemaker", "ListActions")
def list_actions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _list(ctx, ACTION, req)


@operation("sagemaker", "ListContexts")
def list_contexts(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _list(ctx, CONTEXT, req)


@operation("sagemaker", "UpdateArtifact")
def update_artifact(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"ArtifactArn": _update(ctx, ARTIFACT, name_in(req["ArtifactArn"]), req, ("ArtifactName",))}


@operation("sagemaker", "UpdateAction")
def update_action(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"ActionArn": _update(ctx, ACTION, req["ActionName"], req, ("Description", "Status"))}


@operation("sagemaker", "UpdateContext")
def update_context(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"ContextArn": _update(ctx, CONTEXT, req["ContextName"], req, ("Description",))}


@operation("sagemaker", "DeleteArtifact")
def delete_artifact(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if bool(req.get("ArtifactArn")) == bool(req.get("Source")):
        raise validation("Exactly one of ArtifactArn or Source must be specified.")
    name = name_in(req["ArtifactArn"]) if req.get("ArtifactArn") else artifact_id(req["Source"])
    return {"ArtifactArn": _delete(ctx, ARTIFACT, name)}


@operation("sagemaker", "DeleteAction")
def delete_action(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"ActionArn": _delete(ctx, ACTION, req["ActionName"])}


@operation("sagemaker", "DeleteContext")
def delete_context(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"ContextArn": _delete(ctx, CONTEXT, req["ContextName"])}


def artifact_id(source: dict[str, Any]) -> str:
    """An artifact's id: one per source."""
    types = "".join(f"|{entry['SourceIdType']}={entry['Value']}" for entry in source.get("SourceTypes", ()))
    return hashlib.sha256((source["SourceUri"] + types).encode()).hexdigest()[:32]


def ensure(ctx: Ctx, tx: Tx, kind: str, document: dict[str, Any]) -> str:
    """The ARN of an entity, made when it is not there yet; for what Dewfall tracks by itself."""
    name = artifact_id(document["Source"]) if kind == ARTIFACT else document[f"{WORDS[kind]}Name"]
    found = tx.records.get(key_of(ctx, kind, name))
    if found is None:
        return _create(ctx, tx, kind, name, document)
    return str(found.document[f"{WORDS[kind]}Arn"])


def load(ctx: Ctx, tx: Tx, kind: str, name: str) -> Record:
    """An entity's record; AWS's error when there is none."""
    record = tx.records.get(key_of(ctx, kind, name))
    if record is None:
        raise AwsError("ResourceNotFound", f"{WORDS[kind]} '{name}' does not exist.")
    return record


def group_arn(ctx: Ctx) -> str:
    """The lineage group that every entity of the account belongs to."""
    return ctx.arn("sagemaker", f"lineage-group/{GROUP}")


def key_of(ctx: Ctx, kind: str, name: str) -> Key:
    """Where an entity is kept."""
    return Key(ctx.account, ctx.region, "sagemaker", f"lineage-{kind}", name)


def name_in(arn: str) -> str:
    """The id or name at the end of an ARN; a name stays as it is."""
    return arn.rsplit("/", 1)[-1]


def _create(ctx: Ctx, tx: Tx, kind: str, name: str, req: dict[str, Any]) -> str:
    _check_properties(req.get("Properties", {}))
    now, word = ctx.now(), WORDS[kind]
    arn = ctx.arn("sagemaker", f"{kind}/{name}")
    document = {member: value for member, value in req.items() if member != "Tags"} | {f"{word}Arn": arn}
    document |= {"CreationTime": now, "CreatedBy": {}, "LastModifiedTime": now, "LastModifiedBy": {}}
    document.setdefault("Properties", {})
    try:
        tx.records.create(Record(key_of(ctx, kind, name), document, parent=req["Source"]["SourceUri"]))
    except AlreadyExists:
        raise validation(f"{word} names must be unique within an AWS account and region. {word} with name ({name}) already exists.") from None
    put_tags(tx, ctx, arn, req.get("Tags", ()))
    return arn


def _check_properties(properties: dict[str, str]) -> None:
    if len(properties) > PROPERTY_LIMIT:
        raise validation(f"Too many properties: an entity can have at most {PROPERTY_LIMIT}.")


def _list(ctx: Ctx, kind: str, req: dict[str, Any]) -> dict[str, Any]:
    word = WORDS[kind]
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", f"lineage-{kind}", parent=req.get("SourceUri"))
    wanted = req.get(f"{word}Type")
    chosen = [record for record in records if wanted in (None, record.document[f"{word}Type"]) and is_created_within(record, req)]
    by_name = req.get("SortBy") == "Name"
    chosen.sort(key=lambda record: ("" if by_name else record.created, record.key.name), reverse=req.get("SortOrder", "Descending") == "Descending")
    shown, token = page(chosen, req, key=lambda record: record.key.name, default=10)
    return with_token({f"{word}Summaries": [record.document for record in shown]}, token)


def is_created_within(record: Record, req: dict[str, Any]) -> bool:
    """CreatedAfter and CreatedBefore of a List request."""
    after, before = req.get("CreatedAfter"), req.get("CreatedBefore")
    at = record.document["CreationTime"]
    return (after is None or at >= after) and (before is None or at <= before)


def _update(ctx: Ctx, kind: str, name: str, req: dict[str, Any], members: tuple[str, ...]) -> str:
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, kind, name)
        document = record.document
        document |= {member: req[member] for member in members if member in req}
        kept = {**document.get("Properties", {}), **req.get("Properties", {})}
        document["Properties"] = {key: value for key, value in kept.items() if key not in req.get("PropertiesToRemove", ())}
        _check_properties(document["Properties"])
        document["LastModifiedTime"] = ctx.now()
        tx.records.save(record)
        return str(document[f"{WORDS[kind]}Arn"])


def _delete(ctx: Ctx, kind: str, name: str) -> str:
    from dewfall.services.sagemaker.associations import touching

    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, kind, name)
        arn = str(record.document[f"{WORDS[kind]}Arn"])
        if touching(ctx, tx, arn):
            raise validation(f"{WORDS[kind]} '{name}' cannot be deleted because it has associations.")
        tx.records.delete(record.key)
        drop_tags(tx, ctx, arn)
    return arn
