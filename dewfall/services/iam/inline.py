"""Policies of users, groups and roles: inline ones (put, get, list, delete) and attached ones (attach, detach, list).

The operations of the three kinds differ only in their names, so they are registered from one table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dewfall.context import Ctx
from dewfall.errors import AwsError
from dewfall.services.iam.entities import (
    NAMES,
    check_identity_document,
    check_modifiable,
    encoded,
    find,
    is_policy_arn,
    listing,
    names_page,
    save,
    size_of,
)
from dewfall.services.iam.policies import find_policy, policy_name, policy_path
from dewfall.services.registry import operation

Answer = dict[str, Any] | None
ATTACHED_LIMIT = 10
INLINE_BYTES = {"user": 2048, "group": 5120, "role": 10240}


def _check_modifiable(kind: str, document: dict[str, Any]) -> None:
    if kind == "role":
        check_modifiable(document)


def _put(kind: str) -> Callable[[Ctx, dict[str, Any]], Answer]:
    def put_policy(ctx: Ctx, req: dict[str, Any]) -> Answer:
        check_identity_document(req["PolicyDocument"])
        with ctx.ports.store.transaction() as tx:
            record = find(tx, ctx, kind, req[NAMES[kind]])
            _check_modifiable(kind, record.document)
            texts = record.document["_inline"] | {req["PolicyName"]: req["PolicyDocument"]}
            if sum(map(size_of, texts.values())) > INLINE_BYTES[kind]:
                message = f"Maximum policy size of {INLINE_BYTES[kind]} bytes exceeded for {kind} {req[NAMES[kind]]}"
                raise AwsError("LimitExceeded", message, status=409)
            record.document["_inline"] = texts
            save(tx, record)
        return None

    return put_policy


def _get(kind: str) -> Callable[[Ctx, dict[str, Any]], Answer]:
    def get_policy(ctx: Ctx, req: dict[str, Any]) -> Answer:
        with ctx.ports.store.reading() as tx:
            inline = find(tx, ctx, kind, req[NAMES[kind]]).document["_inline"]
        if req["PolicyName"] not in inline:
            raise _no_policy(kind, req["PolicyName"])
        return {NAMES[kind]: req[NAMES[kind]], "PolicyName": req["PolicyName"], "PolicyDocument": encoded(inline[req["PolicyName"]])}

    return get_policy


def _no_policy(kind: str, name: str) -> AwsError:
    return AwsError("NoSuchEntity", f"The {kind} policy with name {name} cannot be found.", status=404)


def _list(kind: str) -> Callable[[Ctx, dict[str, Any]], Answer]:
    def list_policies(ctx: Ctx, req: dict[str, Any]) -> Answer:
        with ctx.ports.store.reading() as tx:
            return names_page(find(tx, ctx, kind, req[NAMES[kind]]).document["_inline"], req, "PolicyNames")

    return list_policies


def _delete(kind: str) -> Callable[[Ctx, dict[str, Any]], Answer]:
    def delete_policy(ctx: Ctx, req: dict[str, Any]) -> Answer:
        with ctx.ports.store.transaction() as tx:
            record = find(tx, ctx, kind, req[NAMES[kind]])
            if record.document["_inline"].pop(req["PolicyName"], None) is None:
                raise _no_policy(kind, req["PolicyName"])
            save(tx, record)
        return None

    return delete_policy


def _check_arn(arn: str) -> None:
    if not is_policy_arn(arn):
        raise AwsError("ValidationError", f"ARN {arn} is not valid.", status=400)


def _attach(kind: str) -> Callable[[Ctx, dict[str, Any]], Answer]:
    def attach_policy(ctx: Ctx, req: dict[str, Any]) -> Answer:
        with ctx.ports.store.transaction() as tx:
            _check_arn(req["PolicyArn"])
            find_policy(tx, ctx, req["PolicyArn"])
            record = find(tx, ctx, kind, req[NAMES[kind]])
            _check_modifiable(kind, record.document)
            attached = record.document["_attached"]
            if req["PolicyArn"] in attached:
                return None
            if len(attached) >= ATTACHED_LIMIT:
                limit = f"Cannot exceed quota for PoliciesPer{kind.capitalize()}: {ATTACHED_LIMIT}"
                raise AwsError("LimitExceeded", limit, status=409)
            attached.append(req["PolicyArn"])
            save(tx, record)
        return None

    return attach_policy


def _detach(kind: str) -> Callable[[Ctx, dict[str, Any]], Answer]:
    def detach_policy(ctx: Ctx, req: dict[str, Any]) -> Answer:
        with ctx.ports.store.transaction() as tx:
            _check_arn(req["PolicyArn"])
            record = find(tx, ctx, kind, req[NAMES[kind]])
            if req["PolicyArn"] not in record.document["_attached"]:
                raise AwsError("NoSuchEntity", f"Policy {req['PolicyArn']} was not found.", status=404)
            record.document["_attached"].remove(req["PolicyArn"])
            save(tx, record)
        return None

    return detach_policy


def _list_attached(kind: str) -> Callable[[Ctx, dict[str, Any]], Answer]:
    def list_attached_policies(ctx: Ctx, req: dict[str, Any]) -> Answer:
        with ctx.ports.store.reading() as tx:
            arns = find(tx, ctx, kind, req[NAMES[kind]]).document["_attached"]
        items = [{"PolicyName": policy_name(arn), "PolicyArn": arn, "Path": policy_path(arn)} for arn in arns]
        return listing(items, req, "AttachedPolicies", "PolicyName")

    return list_attached_policies


for _kind in ("user", "group", "role"):
    _Word = _kind.capitalize()
    operation("iam", f"Put{_Word}Policy")(_put(_kind))
    operation("iam", f"Get{_Word}Policy")(_get(_kind))
    operation("iam", f"List{_Word}Policies")(_list(_kind))
    operation("iam", f"Delete{_Word}Policy")(_delete(_kind))
    operation("iam", f"Attach{_Word}Policy")(_attach(_kind))
    operation("iam", f"Detach{_Word}Policy")(_detach(_kind))
    operation("iam", f"ListAttached{_Word}Policies")(_list_attached(_kind))
