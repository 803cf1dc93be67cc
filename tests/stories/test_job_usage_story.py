"""What running jobs use, as CloudWatch and the profiler's files tell."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from dewfall.testing import Server

from .test_training_story import BUCKET, Train, finished, train, until

__all__ = ["train"]

BUSY = "import pathlib\nwhile True: pathlib.Path('/opt/ml/output/x').write_bytes(b'x' * 4096)"


def average(dewfall: Server, name: str, host: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    found = dewfall.client("cloudwatch").get_metric_statistics(
        Namespace="/aws/sagemaker/TrainingJobs",
        MetricName=name,
        Dimensions=[{"Name": "Host", "Value": host}],
        Statistics=["Maximum"],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=600,
    )["Datapoints"]
    return found[0] if found else {}


def profile(dewfall: Server) -> list[dict[str, Any]]:
    """The lines of the profile so far."""
    s3 = dewfall.client("s3")
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix="profiles/busy/profiler-output/system/incremental/").get("Contents", ())
    texts = [s3.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read() for entry in found]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def test_a_busy_job_is_seen_to_be_busy(dewfall: Server, train: Train) -> None:
    train(BUSY, "busy", wait=False, ProfilerConfig={"S3OutputPath": f"s3://{BUCKET}/profiles", "ProfilingIntervalInMilliseconds": 1000})
    sagemaker = dewfall.client("sagemaker")
    until(lambda: bool(average(dewfall, "DiskUtilization", "busy/algo-1")))
    assert average(dewfall, "CPUUtilization", "busy/algo-1")["Unit"] == "Percent"
    assert 0 < average(dewfall, "MemoryUtilization", "busy/algo-1")["Maximum"] < 50
    assert sagemaker.describe_training_job(TrainingJobName="busy")["ProfilingStatus"] == "Enabled"
    until(lambda: any(line["Dimension"] == "WriteBytesPerSecond" for line in profile(dewfall)))  # rates need a second sample
    sagemaker.stop_training_job(TrainingJobName="busy")
    assert finished(dewfall, "busy")["TrainingJobStatus"] == "Stopped"
    lines = profile(dewfall)
    assert {line["Dimension"] for line in lines} >= {"CPUUtilization", "WriteBytesPerSecond", "Algorithm"}
    assert {line["Name"] for line in lines} >= {"cpu0", "MemoryUsedPercent", "ReceiveBytesPerSecond"}
    assert {line["NodeId"] for line in lines} == {"algo-1"}
    assert max(line["Value"] for line in lines if line["Dimension"] == "CPUUtilization") > 1
