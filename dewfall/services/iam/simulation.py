"""SimulatePrincipalPolicy and SimulateCustomPolicy: the evaluator's own answers, and the policies that speak for an identity."""

from __future__ import annotations

import re
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Tx
from dewfall.errors import AwsError
from dewfall.rules.policy import Access, Decision, Policy, context_keys, decide
from dewfall.rules.policy_text import places
from dewfall.services.common import page
from dewfall.services.iam.entities import find
from dewfall.services.iam.policies import default_document, find_policy, managed
from dewfall.services.registry import operation

_PRINCIPAL = re.compile(r"^arn:aws[\w-]*:iam::(\d{12}):(user|group|role)/(?:.*/)?([^/]+)$")


def identity_policies(tx: Tx, ctx: Ctx, kind: str, name: str) -> list[Policy]:
    """Every policy of a user (with its groups'), group or role."""
    document = find(tx, ctx, kind, name).document
    found = [Policy.parse(policy, kind, text) for policy, text in document["_inline"].items()]
    for arn in document["_attached"]:
        if "/aws-service-role/" in arn:  # what these allow is not known here; no caller has such a role
            continue
        policy = find_policy(tx, ctx, arn)
        found.append(Policy.parse(policy["PolicyName"], "aws-managed" if arn in managed() else "user-managed", default_document(policy)))
    for group in document.get("_groups", []):
        found += identity_policies(tx, ctx, "group", group)
    return found


def boundary_of(tx: Tx, ctx: Ctx, kind: str, name: str) -> Policy | None:
    """The permissions boundary of a user or role."""
    arn = find(tx, ctx, kind, name).document.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    if not arn:
        return None
    policy = find_policy(tx, ctx, arn)
    return Policy.parse(policy["PolicyName"], "permissions-boundary", default_document(policy))


@operation("iam", "SimulatePrincipalPolicy")
def simulate_principal_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    source = req["PolicySourceArn"]
    kind, name = _principal(source)
    with ctx.ports.store.reading() as tx:
        policies = identity_policies(tx, ctx, kind, name)
        boundary = boundary_of(tx, ctx, kind, name) if kind != "group" else None
    return _simulate(ctx, req, source, policies, boundary)


def _principal(arn: str) -> tuple[str, str]:
    """(kind, name) of an entity's ARN."""
    parts = _PRINCIPAL.match(arn)
    if parts is None:
        raise AwsError("InvalidInput", f"Invalid Entity Arn: {arn} does not clearly define entity type and name.", status=400)
    return parts[2], parts[3]


@operation("iam", "SimulateCustomPolicy")
def simulate_custom_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return _simulate(ctx, req, req.get("CallerArn", ""), [], None)


def _simulate(ctx: Ctx, req: dict[str, Any], principal: str, policies: list[Policy], boundary: Policy | None) -> dict[str, Any]:
    extra = _given(req)
    bounds = [
        _parse(f"PermissionsBoundaryPolicyInputList.{n}", "none", t) for n, t in enumerate(req.get("PermissionsBoundaryPolicyInputList", []), 1)
    ]
    resource = _parse("ResourcePolicy", "resource", req["ResourcePolicy"]) if req.get("ResourcePolicy") else None
    context = {e["ContextKeyName"].lower(): tuple(e.get("ContextKeyValues", ())) for e in req.get("ContextEntries", [])}
    caller = req.get("CallerArn") or principal
    results = []
    for action in req["ActionNames"]:
        for arn in req.get("ResourceArns") or ["*"]:
            access = Access(action, arn, caller, caller.split(":")[4] if caller.count(":") >= 5 else ctx.account, context)
            decision = decide(access, [*policies, *extra], resource=resource, boundary=bounds[0] if bounds else boundary)
            results.append(_shown(action, arn, decision))
    taken, token = page(
        results, req, key=lambda r: f"{r['EvalActionName']} {r['EvalResourceName']}", limit_member="MaxItems", token_member="Marker", default=100
    )
    return {"EvaluationResults": taken, "IsTruncated": token is not None} | ({"Marker": token} if token else {})


def _parse(name: str, kind: str, text: str) -> Policy:
    try:
        return Policy.parse(name, kind, text)
    except ValueError as problem:
        raise AwsError("InvalidInput", f"Invalid policy {name}: {problem}", status=400) from None


def _shown(action: str, arn: str, decision: Decision) -> dict[str, Any]:
    matched = [_statement(policy, index) for policy, index in decision.matched]
    shown: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": arn,
        "EvalDecision": decision.verdict,
        "MatchedStatements": matched,
        "MissingContextValues": list(decision.missing),
    }
    if decision.boundary_allows is not None:
        shown["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": decision.boundary_allows}
    return shown


def _statement(policy: Policy, index: int) -> dict[str, Any]:
    """A statement that decided, with its place in the document's text."""
    kind = {"permissions-boundary": "Permissions Boundary Policy", "resource": "Resource Policy"}.get(policy.kind, "IAM Policy")
    shown: dict[str, Any] = {"SourcePolicyId": policy.name, "SourcePolicyType": kind}
    spans = places(policy.text)
    if index < len(spans):
        start, end = spans[index]
        shown |= {"StartPosition": {"Line": start[0], "Column": start[1]}, "EndPosition": {"Line": end[0], "Column": end[1]}}
    return shown


# ---------------------------------------------------------------- context keys


@operation("iam", "GetContextKeysForCustomPolicy")
def get_context_keys_for_custom_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    return {"ContextKeyNames": context_keys(_given(req))}


@operation("iam", "GetContextKeysForPrincipalPolicy")
def get_context_keys_for_principal_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    kind, name = _principal(req["PolicySourceArn"])
    with ctx.ports.store.reading() as tx:
        return {"ContextKeyNames": context_keys([*identity_policies(tx, ctx, kind, name), *_given(req)])}


def _given(req: dict[str, Any]) -> list[Policy]:
    return [_parse(f"PolicyInputList.{n}", "none", text) for n, text in enumerate(req.get("PolicyInputList", []), 1)]
