"""A registry's own settings: its policy, and how its images should be scanned. They are kept; nothing is scanned or copied."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key, Record, Tx
from dewfall.errors import AwsError
from dewfall.services.ecr.policies import check_policy
from dewfall.services.ecr.repositories import find_repository
from dewfall.services.registry import operation


def _settings(tx: Tx, ctx: Ctx) -> Record:
    """The registry's record, which may not be saved yet."""
    key = Key(ctx.account, ctx.region, "ecr", "registry", "registry")
    return tx.records.get(key) or Record(key, {})


def _change(ctx: Ctx, **members: Any) -> dict[str, Any]:
    """Change members of the registry (None takes one away); what they were."""
    with ctx.ports.store.transaction() as tx:
        record = _settings(tx, ctx)
        before = record.document
        record.document = {name: value for name, value in (before | members).items() if value is not None}
        tx.records.save(record) if record.version else tx.records.create(record)
    return before


@operation("ecr", "DescribeRegistry", records=True)
def describe_registry(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"registryId": ctx.account, "replicationConfiguration": {"rules": []}}


# ---------------------------------------------------------------- policy


def _policy(ctx: Ctx, document: dict[str, Any]) -> dict[str, Any]:
    if "policyText" not in document:
        raise AwsError("RegistryPolicyNotFoundException", f"Registry policy does not exist in the registry with id '{ctx.account}'", status=400)
    return {"registryId": ctx.account, "policyText": document["policyText"]}


@operation("ecr", "PutRegistryPolicy", records=True)
def put_registry_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    check_policy(req["policyText"], "registry")
    _change(ctx, policyText=req["policyText"])
    return {"registryId": ctx.account, "policyText": req["policyText"]}


@operation("ecr", "GetRegistryPolicy", records=True)
def get_registry_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return _policy(ctx, _settings(tx, ctx).document)


@operation("ecr", "DeleteRegistryPolicy", records=True)
def delete_registry_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _policy(ctx, _change(ctx, policyText=None))


# ---------------------------------------------------------------- scanning


@operation("ecr", "PutRegistryScanningConfiguration", records=True)
def put_registry_scanning_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    scanning = {"scanType": req.get("scanType", "BASIC"), "rules": req.get("rules", [])}
    _change(ctx, scanning=scanning)
    return {"registryScanningConfiguration": scanning}


@operation("ecr", "GetRegistryScanningConfiguration", records=True)
def get_registry_scanning_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.reading() as tx:
        return {"registryId": ctx.account, "scanningConfiguration": _scanning(tx, ctx)}


def _scanning(tx: Tx, ctx: Ctx) -> dict[str, Any]:
    return dict(_settings(tx, ctx).document.get("scanning", {"scanType": "BASIC", "rules": []}))


@operation("ecr", "BatchGetRepositoryScanningConfiguration", records=True)
def batch_get_repository_scanning_configuration(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """For each repository the rule of the registry whose filter takes it in."""
    found: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    with ctx.ports.store.reading() as tx:
        rules = _scanning(tx, ctx)["rules"]
        for name in req["repositoryNames"]:
            try:
                repository = find_repository(tx, ctx, name).document
            except AwsError:
                failures.append({"repositoryName": name, "failureCode": "REPOSITORY_NOT_FOUND", "failureReason": "REPOSITORY_NOT_FOUND"})
                continue
            shown = {name: repository[name] for name in ("repositoryArn", "repositoryName")}
            shown |= {"scanOnPush": repository["imageScanningConfiguration"]["scanOnPush"], "scanFrequency": "MANUAL", "appliedScanFilters": []}
            if shown["scanOnPush"]:
                shown["scanFrequency"] = "SCAN_ON_PUSH"
            for rule in rules:
                filters = [f for f in rule["repositoryFilters"] if _takes(f["filter"], name)]
                if filters:
                    shown |= {"scanFrequency": rule["scanFrequency"], "appliedScanFilters": filters}
            found.append(shown)
    return {"scanningConfigurations": found, "failures": failures}


def _takes(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern if "*" in pattern else f"*{pattern}*")
