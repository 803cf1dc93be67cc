"""What replicas use, in CloudWatch and in Prometheus' text."""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

from .conftest import Hosting
from .test_endpoint_scaling import until

WHERE = [{"Name": "EndpointName", "Value": "endpoint"}, {"Name": "VariantName", "Value": "AllTraffic"}]


def statistics(hosting: Hosting, name: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    span = {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=5), "Period": 600}
    found = hosting.server.client("cloudwatch").get_metric_statistics(
        Namespace="/aws/sagemaker/Endpoints", MetricName=name, Dimensions=WHERE, Statistics=["Average"], **span
    )["Datapoints"]
    return found[0] if found else {}


def test_processors_memory_and_disk_are_measured(hosting: Hosting) -> None:
    hosting.model()
    hosting.config()
    hosting.endpoint()
    assert until(lambda: statistics(hosting, "DiskUtilization"))["Unit"] == "Percent"
    assert 0 < statistics(hosting, "MemoryUtilization")["Average"] < 50
    assert statistics(hosting, "CPUUtilization")["Average"] >= 0


def test_prometheus_reads_what_was_counted(hosting: Hosting) -> None:
    hosting.model()
    hosting.config()
    hosting.endpoint()
    for _ in range(3):
        hosting.ask()
    with urllib.request.urlopen(f"{hosting.server.url}/-/metrics") as answer:
        text = answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    labels = '{account="000000000000",region="us-east-1",endpoint="endpoint",variant="AllTraffic"}'
    assert f"dewfall_invocations_total{labels} 3" in text
    assert f"dewfall_model_latency_seconds_count{labels} 3" in text
    assert "# TYPE dewfall_requests_under_way gauge" in text
