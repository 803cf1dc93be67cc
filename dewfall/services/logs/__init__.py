"""CloudWatch Logs: groups, streams, events, their filters and tails.

Log Insights queries are not built.
"""

from dewfall.services.logs import (
    events,
    exports,
    group_tags,
    groups,
    live_tail,
    metric_filters,
    resource_policies,
    retention,
    search,
    streams,
    subscription_filters,
)

__all__ = [
    "events",
    "exports",
    "group_tags",
    "groups",
    "live_tail",
    "metric_filters",
    "resource_policies",
    "retention",
    "search",
    "streams",
    "subscription_filters",
]
