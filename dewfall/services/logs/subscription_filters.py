"""Subscription filters: there are none, since nothing that could receive their events is built; readers are told so truly."""

from __future__ import annotations

from typing import Any

from dewfall.context import Ctx
from dewfall.services.logs.places import find_group, not_found
from dewfall.services.registry import operation


@operation("logs", "DescribeSubscriptionFilters")
def describe_subscription_filters(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    find_group(ctx, req["logGroupName"])
    return {"subscriptionFilters": []}


@operation("logs", "DeleteSubscriptionFilter")
def delete_subscription_filter(ctx: Ctx, req: dict[str, Any]) -> dict[str, Any]:
    find_group(ctx, req["logGroupName"])
    raise not_found("subscription filter")
