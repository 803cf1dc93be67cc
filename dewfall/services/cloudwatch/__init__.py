"""CloudWatch: metric points, their statistics and mathematics, alarms, dashboards.

One function serves each operation in JSON, CBOR and query form. Anomaly detectors, insight rules and metric streams are not built.
"""

from dewfall.services.cloudwatch import (
    alarm_history,
    alarm_states,
    alarms,
    composites,
    dashboards,
    datapoints,
    metrics,
    queries,
    resource_tags,
    statistics,
)

__all__ = [
    "alarm_history",
    "alarm_states",
    "alarms",
    "composites",
    "dashboards",
    "datapoints",
    "metrics",
    "queries",
    "resource_tags",
    "statistics",
]
