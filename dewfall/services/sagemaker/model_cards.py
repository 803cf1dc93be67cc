"""Model cards: what a model is for, how it was made and how good it is; every change is a version. Export jobs have a file of their own."""

from __future__ import annotations

import json
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.rules.model_cards import problems
from dewfall.services.common import drop_tags, page, put_tags, with_token
from dewfall.services.registry import operation

KIND, VERSION = "model-card", "model-card-version"
MEMBERS = ("ModelCardArn", "ModelCardName", "ModelCardStatus", "CreationTime", "LastModifiedTime")


@operation("sagemaker", "CreateModelCard")
def create_model_card(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    name, arn = req["ModelCardName"], card_arn(ctx, req["ModelCardName"])
    check_content(req["Content"])
    with ctx.ports.store.transaction() as tx:
        if tx.records.get(card_key(ctx, name)) is not None:
            raise AwsError("ConflictException", f"Modelcard {name} already exists")
        document: dict[str, Any] = {
            member: req[member] for member in ("ModelCardName", "Content", "ModelCardStatus", "SecurityConfig") if member in req
        }
        now = ctx.now()
        document |= {"ModelCardArn": arn, "ModelCardVersion": 1, "CreationTime": now, "CreatedBy": {}}
        document |= {"LastModifiedTime": now, "LastModifiedBy": {}}
        tx.records.create(Record(card_key(ctx, name), document, status=req["ModelCardStatus"]))
        tx.records.create(Record(version_key(ctx, name, 1), document, status=req["ModelCardStatus"], parent=name))
        put_tags(tx, ctx, arn, req.get("Tags", ()))
    return {"ModelCardArn": arn}


@operation("sagemaker", "UpdateModelCard")
def update_model_card(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if "Content" in req and "ModelCardStatus" in req:
        raise validation("You cannot update both model card content and model card status in a single call.")
    if "Content" in req:
        check_content(req["Content"])
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, req["ModelCardName"])
        document = record.document
        if not {"Content", "ModelCardStatus"} & set(req):  # nothing is changed
            return {"ModelCardArn": document["ModelCardArn"]}
        if document["ModelCardStatus"] == "Archived" and req.get("ModelCardStatus", "Archived") == "Archived":
            raise validation("An archived model card cannot be changed: set ModelCardStatus to another value.")
        document |= {member: req[member] for member in ("Content", "ModelCardStatus") if member in req}
        document |= {"ModelCardVersion": document["ModelCardVersion"] + 1, "LastModifiedTime": ctx.now()}
        record.status = document["ModelCardStatus"]
        tx.records.save(record)
        key = version_key(ctx, record.key.name, document["ModelCardVersion"])
        tx.records.create(Record(key, document, status=record.status, parent=record.key.name))
        return {"ModelCardArn": document["ModelCardArn"]}


@operation("sagemaker", "DescribeModelCard")
def describe_model_card(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        document = load_version(ctx, tx, req["ModelCardName"], req.get("ModelCardVersion")).document
    if req.get("IncludedData") == "MetadataOnly":
        return {**document, "Content": "{}"}
    return document


@operation("sagemaker", "ListModelCards")
def list_model_cards(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", KIND)
    wanted = [record for record in records if _fits(record, req)]
    by_name = req.get("SortBy") == "Name"
    wanted.sort(key=lambda record: ("" if by_name else record.document["CreationTime"], record.key.name), reverse=_is_descending(req))
    shown, token = page(wanted, req, key=lambda record: record.key.name, default=10)
    return with_token({"ModelCardSummaries": [{member: r.document[member] for member in MEMBERS} for r in shown]}, token)


@operation("sagemaker", "ListModelCardVersions")
def list_model_card_versions(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        name = load(ctx, tx, req["ModelCardName"]).key.name
        records = tx.records.list(ctx.account, ctx.region, "sagemaker", VERSION, parent=name)
    wanted = [record for record in records if _fits(record, req)]
    wanted.sort(key=lambda record: record.document["ModelCardVersion"], reverse=_is_descending(req))
    shown, token = page(wanted, req, key=lambda record: record.key.name, default=10)
    members = (*MEMBERS, "ModelCardVersion")
    return with_token({"ModelCardVersionSummaryList": [{member: r.document[member] for member in members} for r in shown]}, token)


@operation("sagemaker", "DeleteModelCard")
def delete_model_card(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        record = load(ctx, tx, req["ModelCardName"])
        for version in tx.records.list(ctx.account, ctx.region, "sagemaker", VERSION, parent=record.key.name):
            tx.records.delete(version.key)
        tx.records.delete(record.key)
        drop_tags(tx, ctx, record.document["ModelCardArn"])


def load(ctx: Ctx, tx: Tx, name: str) -> Record:
    """A card by name or ARN; AWS's error when there is none."""
    record = tx.records.get(card_key(ctx, name.rsplit("/", 1)[-1]))
    if record is None:
        raise AwsError("ResourceNotFound", f"Modelcard {name} does not exist.")
    return record


def load_version(ctx: Ctx, tx: Tx, name: str, version: int | None) -> Record:
    """A card's version, the newest where none is named; AWS's error when there is none."""
    record = load(ctx, tx, name)
    if version is None:
        return record
    found = tx.records.get(version_key(ctx, record.key.name, version))
    if found is None:
        raise AwsError("ResourceNotFound", f"Modelcard with name {record.key.name} and version: {version} does not exist")
    return found


def card_key(ctx: Ctx, name: str) -> Key:
    """Where a card is kept."""
    return Key(ctx.account, ctx.region, "sagemaker", KIND, name)


def card_arn(ctx: Ctx, name: str) -> str:
    """AWS's name of a card."""
    return ctx.arn("sagemaker", f"model-card/{name}")


def version_key(ctx: Ctx, name: str, version: int) -> Key:
    """Where a version is kept."""
    return Key(ctx.account, ctx.region, "sagemaker", VERSION, f"{name}/{version:08d}")


def check_content(text: str) -> None:
    """Raises the error that AWS answers to content outside its schema."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise validation(f"Model card content is not valid JSON: {error}") from None
    found = list(problems(content))
    if found:
        raise validation(f"Model card content is invalid: {'; '.join(found[:10])}")


def _fits(record: Record, req: dict[str, Any]) -> bool:
    after, before = req.get("CreationTimeAfter"), req.get("CreationTimeBefore")
    at = record.document["CreationTime"]
    named = req.get("NameContains", "").lower() in record.document["ModelCardName"].lower()
    status = req.get("ModelCardStatus") in (None, record.document["ModelCardStatus"])
    return named and status and (after is None or at >= after) and (before is None or at <= before)


def _is_descending(req: dict[str, Any]) -> bool:
    return str(req.get("SortOrder", "Ascending")) == "Descending"
