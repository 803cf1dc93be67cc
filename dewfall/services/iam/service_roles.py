"""Service-linked roles: made and removed for an AWS service, and changed by nobody else."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from dewfall.context import Ctx, new_uuid
from dewfall.errors import AwsError
from dewfall.services.iam.entities import create, find, missing, save
from dewfall.services.iam.policies import AWS_PREFIX
from dewfall.services.iam.roles import shown
from dewfall.services.registry import operation

SUFFIXED = ("autoscaling.amazonaws.com", "connect.amazonaws.com", "lexv2.amazonaws.com")


@functools.cache
def known() -> dict[str, tuple[str, str]]:
    """Service → the name that its role has after AWSServiceRoleFor, and the policy attached to it."""
    found = json.loads((Path(__file__).parent / "service_roles.json").read_text())
    return {f"{service}.amazonaws.com": (role, policy) for service, (role, policy) in found.items()}


def _trust(services: Any, actions: Any) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": services}, "Action": actions}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@operation("iam", "CreateServiceLinkedRole")
def create_service_linked_role(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    service, suffix = req["AWSServiceName"], req.get("CustomSuffix")
    if suffix and service in known() and service not in SUFFIXED:
        raise AwsError("InvalidInput", f"Custom suffix is not allowed for {service}", status=400)
    label, policy = known().get(service, (service.partition(".")[0], ""))
    name = f"AWSServiceRoleFor{label}" + (f"_{suffix}" if suffix else "")
    more: dict[str, Any] = {"AssumeRolePolicyDocument": _trust(service, "sts:AssumeRole"), "MaxSessionDuration": 3600}
    more |= {"Description": req["Description"]} if req.get("Description") else {}
    with ctx.ports.store.transaction() as tx:
        try:
            role = create(tx, ctx, "role", {"RoleName": name, "Path": f"/aws-service-role/{service}/"}, more)
            record = find(tx, ctx, "role", name)
            record.document["_attached"] = [f"{AWS_PREFIX}/aws-service-role/{policy}"] if policy else []
            save(tx, record)
        except AwsError:
            message = f"Service role name {name} has been taken in this account, please try a different suffix."
            raise AwsError("InvalidInput", message, status=400) from None
    return {"Role": shown(role | {"AssumeRolePolicyDocument": _trust([service], ["sts:AssumeRole"])})}


@operation("iam", "DeleteServiceLinkedRole")
def delete_service_linked_role(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    with ctx.ports.store.transaction() as tx:
        record = find(tx, ctx, "role", req["RoleName"])
        if not record.document["Path"].startswith("/aws-service-role/"):
            raise missing("role", req["RoleName"])
        tx.records.delete(record.key)
    return {"DeletionTaskId": f"task{record.document['Path']}{req['RoleName']}/{new_uuid()}"}


@operation("iam", "GetServiceLinkedRoleDeletionStatus")
def get_service_linked_role_deletion_status(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    """Deletion is done when its call returns."""
    if not req["DeletionTaskId"].startswith("task/aws-service-role/"):
        raise AwsError("NoSuchEntity", f"Deletion task {req['DeletionTaskId']} cannot be found.", status=404)
    return {"Status": "SUCCEEDED"}
