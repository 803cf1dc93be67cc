"""How long a group keeps its events: set, lifted, and carried out by a tick."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dewfall.context import Ctx
from dewfall.services.logs.places import find_group, invalid, name_in
from dewfall.services.registry import operation

DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)


@operation("logs", "PutRetentionPolicy")
def put_retention_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    if req["retentionInDays"] not in DAYS:
        raise invalid(
            f"1 validation error detected: Value '{req['retentionInDays']}' at 'retentionInDays' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(str(days) for days in DAYS)}]"
        )
    _set(ctx, req, req["retentionInDays"])
    return {}


@operation("logs", "DeleteRetentionPolicy")
def delete_retention_policy(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    _set(ctx, req, 0)
    return {}


def tick(ctx: Ctx) -> None:
    """Remove what is older than its group keeps it."""
    ctx.ports.series.expire_logs()


def _set(ctx: Ctx, req: dict[str, Any], days: int) -> None:
    with ctx.ports.store.transaction():
        group = find_group(ctx, name_in(req["logGroupName"]))
        ctx.ports.series.save_log_group(replace(group, retention=days))
