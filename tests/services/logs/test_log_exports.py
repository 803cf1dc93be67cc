"""Export tasks: a group's events as gzipped files in a bucket."""

from __future__ import annotations

import gzip
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server

HOUR = 3_600_000


@pytest.fixture
def logs(dewfall: Server) -> Any:
    client = dewfall.client("logs")
    dewfall.client("s3").create_bucket(Bucket="exports")
    client.create_log_group(logGroupName="g")
    return client


def write(logs: Any, stream: str, *lines: str) -> int:
    now = int(time.time() * 1000)
    logs.create_log_stream(logGroupName="g", logStreamName=stream)
    logs.put_log_events(logGroupName="g", logStreamName=stream, logEvents=[{"timestamp": now, "message": line} for line in lines])
    return now


def export(logs: Any, now: int, **more: Any) -> dict[str, Any]:
    task = logs.create_export_task(logGroupName="g", fromTime=now - HOUR, to=now + HOUR, destination="exports", **more)["taskId"]
    end = time.monotonic() + 180
    while (found := logs.describe_export_tasks(taskId=task)["exportTasks"][0])["status"]["code"] in ("PENDING", "RUNNING"):
        assert time.monotonic() < end
        time.sleep(0.01)
    return dict(found)


def test_a_group_is_exported_a_file_per_stream(dewfall: Server, logs: Any) -> None:
    now = write(logs, "a/b", "first", "second")
    write(logs, "c", "third")
    task = export(logs, now, destinationPrefix="logs", taskName="nightly")
    assert (task["status"], task["taskName"]) == ({"code": "COMPLETED", "message": "Completed successfully"}, "nightly")
    s3 = dewfall.client("s3")
    keys = {item["Key"] for item in s3.list_objects_v2(Bucket="exports")["Contents"]}
    base = f"logs/{task['taskId']}"
    assert keys == {"logs/aws-logs-write-test", f"{base}/a-b/000000.gz", f"{base}/c/000000.gz"}
    lines = gzip.decompress(s3.get_object(Bucket="exports", Key=f"{base}/a-b/000000.gz")["Body"].read()).decode().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["first", "second"]
    assert lines[0].split(" ")[0].endswith("Z")


def test_only_the_span_and_the_streams_asked_for(dewfall: Server, logs: Any) -> None:
    now = write(logs, "a", "x")
    write(logs, "b", "y")
    task = export(logs, now, logStreamNamePrefix="b")
    assert export(logs, now - 3 * HOUR)["status"]["code"] == "COMPLETED"
    keys = [item["Key"] for item in dewfall.client("s3").list_objects_v2(Bucket="exports")["Contents"]]
    assert keys == ["aws-logs-write-test", f"exportedlogs/{task['taskId']}/b/000000.gz"]


def test_what_is_refused(logs: Any) -> None:
    request = {"fromTime": 0, "to": 1, "destination": "exports"}
    with pytest.raises(ClientError, match="The given bucket does not exist"):
        logs.create_export_task(logGroupName="g", **(request | {"destination": "none"}))
    with pytest.raises(ClientError, match="The specified log group does not exist"):
        logs.create_export_task(logGroupName="none", **request)
    assert logs.describe_export_tasks(taskId="none")["exportTasks"] == []
    with pytest.raises(ClientError, match="The specified export task does not exist"):
        logs.cancel_export_task(taskId="none")
    task = export(logs, HOUR)
    with pytest.raises(ClientError, match=r"InvalidOperationException.*has already finished"):
        logs.cancel_export_task(taskId=task["taskId"])
