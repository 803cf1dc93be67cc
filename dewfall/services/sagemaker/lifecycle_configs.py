"""Lifecycle configurations of notebook instances and of Studio: shell scripts under a name. Records: nothing here starts notebooks.

Why kept all the same: set-up programs create them, and tools list them.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import AlreadyExists, Key, Record, Tx
from dewfall.errors import AwsError, validation
from dewfall.services.common import drop_tags, order, page, put_tags, select, with_token
from dewfall.services.registry import operation

NOTEBOOK, STUDIO = "notebook-instance-lifecycle-config", "studio-lifecycle-config"
NAMES = {NOTEBOOK: "NotebookInstanceLifecycleConfigName", STUDIO: "StudioLifecycleConfigName"}
ARNS = {NOTEBOOK: "NotebookInstanceLifecycleConfigArn", STUDIO: "StudioLifecycleConfigArn"}
SCRIPTS = ("OnCreate", "OnStart")
SCRIPT_BYTES = 16384


@operation("sagemaker", "CreateNotebookInstanceLifecycleConfig", records=True)
def create_notebook_instance_lifecycle_config(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    scripts = _scripts(req)
    try:
        return _create(ctx, NOTEBOOK, req, scripts)
    except AlreadyExists:
        raise _refused(ctx, "create", req, "already exists") from None


@operation("sagemaker", "DescribeNotebookInstanceLifecycleConfig", records=True)
def describe_notebook_instance_lifecycle_config(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return _load(ctx, tx, req, "describe").document


@operation("sagemaker", "UpdateNotebookInstanceLifecycleConfig", records=True)
def update_notebook_instance_lifecycle_config(ctx: Ctx, req: dict[str, Any]) -> None:
    scripts = _scripts(req)
    with ctx.ports.store.transaction() as tx:
        record = _load(ctx, tx, req, "update")
        record.document |= scripts | {"LastModifiedTime": ctx.now()}
        tx.records.save(record)


@operation("sagemaker", "DeleteNotebookInstanceLifecycleConfig", records=True)
def delete_notebook_instance_lifecycle_config(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        _delete(ctx, tx, _load(ctx, tx, req, "delete"), NOTEBOOK)


@operation("sagemaker", "ListNotebookInstanceLifecycleConfigs", records=True)
def list_notebook_instance_lifecycle_configs(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    shown, token = _list(ctx, NOTEBOOK, select(_all(ctx, NOTEBOOK), req), req)
    return with_token({"NotebookInstanceLifecycleConfigs": shown}, token)


@operation("sagemaker", "CreateStudioLifecycleConfig", records=True)
def create_studio_lifecycle_config(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    _check_script(req["StudioLifecycleConfigContent"])
    kept = {member: req[member] for member in ("StudioLifecycleConfigContent", "StudioLifecycleConfigAppType")}
    try:
        return _create(ctx, STUDIO, req, kept)
    except AlreadyExists:
        message = f"Studio Lifecycle Config {_arn(ctx, STUDIO, req[NAMES[STUDIO]])} already exists."
        raise AwsError("ResourceInUse", message, status=400) from None


@operation("sagemaker", "DescribeStudioLifecycleConfig", records=True)
def describe_studio_lifecycle_config(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return _load_studio(ctx, tx, req).document


@operation("sagemaker", "DeleteStudioLifecycleConfig", records=True)
def delete_studio_lifecycle_config(ctx: Ctx, req: dict[str, Any]) -> None:
    with ctx.ports.store.transaction() as tx:
        _delete(ctx, tx, _load_studio(ctx, tx, req), STUDIO)


@operation("sagemaker", "ListStudioLifecycleConfigs", records=True)
def list_studio_lifecycle_configs(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    wanted = req.get("AppTypeEquals")
    found = select(_all(ctx, STUDIO), req)
    fitting = [record for record in found if wanted in (None, record.document["StudioLifecycleConfigAppType"])]
    shown, token = _list(ctx, STUDIO, fitting, req)
    return with_token({"StudioLifecycleConfigs": shown}, token)


# ---------------------------------------------------------------- both


def _create(ctx: Ctx, kind: str, req: dict[str, Any], kept: dict[str, Any]) -> dict[str, Any]:
    name, arn, now = req[NAMES[kind]], _arn(ctx, kind, req[NAMES[kind]]), ctx.now()
    document = {NAMES[kind]: name, ARNS[kind]: arn, "CreationTime": now, "LastModifiedTime": now, **kept}
    with ctx.ports.store.transaction() as tx:
        tx.records.create(Record(_key(ctx, kind, name), document))
        put_tags(tx, ctx, arn, req.get("Tags", ()))
    return {ARNS[kind]: arn}


def _delete(ctx: Ctx, tx: Tx, record: Record, kind: str) -> None:
    tx.records.delete(record.key)
    drop_tags(tx, ctx, record.document[ARNS[kind]])


def _all(ctx: Ctx, kind: str) -> list[Record]:
    with ctx.ports.store.reading() as tx:
        return tx.records.list(ctx.account, ctx.region, "sagemaker", kind)


def _list(ctx: Ctx, kind: str, records: list[Record], req: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
    shown, token = page(order(records, req), req, key=lambda record: record.key.name, default=10)
    hidden = (*SCRIPTS, "StudioLifecycleConfigContent")
    return [{name: value for name, value in record.document.items() if name not in hidden} for record in shown], token


def _load(ctx: Ctx, tx: Tx, req: dict[str, Any], verb: str) -> Record:
    record = tx.records.get(_key(ctx, NOTEBOOK, req[NAMES[NOTEBOOK]]))
    if record is None:
        raise _refused(ctx, verb, req, "does not exist")
    return record


def _load_studio(ctx: Ctx, tx: Tx, req: dict[str, Any]) -> Record:
    record = tx.records.get(_key(ctx, STUDIO, req[NAMES[STUDIO]]))
    if record is None:
        message = f"Studio Lifecycle Config {_arn(ctx, STUDIO, req[NAMES[STUDIO]])} does not exist."
        raise AwsError("ResourceNotFound", message, status=400)
    return record


def _refused(ctx: Ctx, verb: str, req: dict[str, Any], why: str) -> AwsError:
    arn = _arn(ctx, NOTEBOOK, req[NAMES[NOTEBOOK]])
    shown = arn if verb == "create" else f"'{arn}'"
    return validation(f"Unable to {verb} Notebook Instance Lifecycle Config {shown}. (Details: Notebook Instance Lifecycle Config {why}.)")


def _scripts(req: dict[str, Any]) -> dict[str, Any]:
    """The scripts that a request brings, each base64."""
    kept = {member: req[member] for member in SCRIPTS if req.get(member)}
    for hooks in kept.values():
        for hook in hooks:
            _check_script(hook.get("Content") or "")
    return kept


def _check_script(content: str) -> None:
    try:
        base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise validation("Lifecycle Config script must be base64 encoded.") from None
    if len(content) > SCRIPT_BYTES:
        raise validation(f"Lifecycle Config script must be at most {SCRIPT_BYTES} characters long.")


def _key(ctx: Ctx, kind: str, name: str) -> Key:
    return Key(ctx.account, ctx.region, "sagemaker", kind, name)


def _arn(ctx: Ctx, kind: str, name: str) -> str:
    return ctx.arn("sagemaker", f"{kind}/{name}")
