"""The role that a job, model or pipeline is to run with: it must exist and trust SageMaker, where signatures are enforced.

Why only there: without enforcement any key is somebody, and so any role is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dewfall.context import Ctx
from dewfall.engine.ports import Key
from dewfall.errors import AwsError
from dewfall.rules.policy import Access, trusts
from dewfall.settings import DEFAULT_ROLE

PRINCIPAL = "sagemaker.amazonaws.com"
MEMBERS = ("RoleArn", "ExecutionRoleArn")


def check_roles(ctx: Ctx, operation: str, params: dict[str, Any]) -> None:
    """ValidationException for a role that SageMaker could not assume."""
    if not operation.startswith("Create"):
        return
    for arn in _named(params):
        if not _is_usable(ctx, arn):
            message = f"Could not assume role {arn}. Please ensure that the role exists and allows principal '{PRINCIPAL}' to assume the role."
            raise AwsError("ValidationException", message, status=400)


def _named(params: dict[str, Any]) -> Iterator[str]:
    """The roles that a request names; those of a tuning job are in its training jobs."""
    definitions = [params.get("TrainingJobDefinition"), *(params.get("TrainingJobDefinitions") or [])]
    for holder in (params, *definitions):
        if isinstance(holder, dict):
            yield from (holder[member] for member in MEMBERS if isinstance(holder.get(member), str))


def _is_usable(ctx: Ctx, arn: str) -> bool:
    account, name = arn.split(":")[4], arn.rsplit("/", 1)[-1]
    record = ctx.ports.store.peek(Key(account, "", "iam", "role", name))
    if record is None:
        return name == DEFAULT_ROLE and account == ctx.account
    access = Access("sts:AssumeRole", arn, PRINCIPAL, "", {"aws:sourceaccount": [ctx.account], "aws:sourcearn": [ctx.arn("sagemaker", "*")]})
    return bool(record.document["Arn"] == arn and trusts(record.document["AssumeRolePolicyDocument"], access))
