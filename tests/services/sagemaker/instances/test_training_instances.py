"""Training jobs of several instances: hosts, network, shares of the inputs, logs, outputs, ends and room."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.engine import namespaces

from .conftest import BUCKET, Jobs, channel

HOSTS = """
import json, os, pathlib, sys
config = json.loads(pathlib.Path("/opt/ml/input/config/resourceconfig.json").read_text())
me, data = config["current_host"], pathlib.Path("/opt/ml/input/data")
"""
CONFIG = HOSTS + "print(json.dumps(config))"
MODEL = (
    HOSTS
    + """
pathlib.Path("/opt/ml/model", f"{me}.txt").write_text(me)
pathlib.Path("/opt/ml/model/common.txt").write_text(me)
pathlib.Path("/opt/ml/output/data", f"{me}.txt").write_text("of " + me)
"""
)
SEEN = (
    HOSTS
    + """
seen = {c: sorted(os.listdir(data / c)) for c in sorted(os.listdir(data)) if c != "code"}
known = json.loads(pathlib.Path("/opt/ml/input/config/inputdataconfig.json").read_text())
print(json.dumps([seen, sorted(set(known) - {"code"})]))
"""
)
RING = (
    HOSTS
    + """
import socket, time
number, count = config["hosts"].index(me), len(config["hosts"])
server = socket.create_server((me, 5000))  # the same port on every host: each has an address of its own
other = config["hosts"][(number + 1) % count]
for _ in range(500):
    try:
        client = socket.create_connection((other, 5000)); break
    except OSError: time.sleep(0.02)
client.sendall(me.encode()); client.close()
print("heard", server.accept()[0].recv(100).decode())
"""
)
WAIT = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)\n"
ONE_FAILS = (
    HOSTS
    + f"""
if me == "algo-2":
    pathlib.Path("/opt/ml/output/failure").write_text("no luck on " + me)
    sys.exit(3)
{WAIT}"""
)
ANSWER = "open('/opt/ml/model/m', 'w').write('x')"


@pytest.fixture
def own_hosts() -> None:
    if namespaces.probe().mode == "none":
        pytest.skip("no mount namespaces here: names of hosts do not resolve")


def test_every_host_is_told_who_it_is(jobs: Jobs) -> None:
    jobs.train(CONFIG)
    told = {host: json.loads(lines[-1]) for host, lines in jobs.logs().items()}
    group: dict[str, Any] = {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large", "hosts": ["algo-1", "algo-2"]}
    expected: dict[str, Any] = {"current_instance_type": "ml.m5.large", "current_group_name": "homogeneousCluster", "hosts": ["algo-1", "algo-2"]}
    expected |= {"instance_groups": [group], "network_interface_name": "lo"}
    assert told == {host: {"current_host": host, **expected} for host in ("algo-1", "algo-2")}


@pytest.mark.usefixtures("own_hosts")
def test_hosts_talk_by_their_names(jobs: Jobs) -> None:
    assert jobs.train(RING, count=3)["TrainingJobStatus"] == "Completed", jobs.logs()
    assert {host: lines[-1] for host, lines in jobs.logs().items()} == {"algo-1": "heard algo-3", "algo-2": "heard algo-1", "algo-3": "heard algo-2"}


def test_what_all_hosts_wrote_is_one_artifact(jobs: Jobs) -> None:
    job = jobs.train(MODEL)
    assert job["TrainingJobStatus"] == "Completed", jobs.logs()
    assert jobs.archive() == {"algo-1.txt": "algo-1", "algo-2.txt": "algo-2", "common.txt": "algo-1"}
    assert jobs.archive("output") == {"algo-1.txt": "of algo-1", "algo-2.txt": "of algo-2"}


def test_files_that_are_not_packed_are_merged_too(jobs: Jobs) -> None:
    jobs.train(MODEL, OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out", "CompressionType": "NONE"})
    keys = [found["Key"] for found in jobs.s3.list_objects_v2(Bucket=BUCKET, Prefix="out/job/output/model/")["Contents"]]
    assert [key.rpartition("/")[2] for key in keys] == ["algo-1.txt", "algo-2.txt", "common.txt"]
    assert jobs.s3.get_object(Bucket=BUCKET, Key="out/job/output/model/common.txt")["Body"].read() == b"algo-1"


def seen(jobs: Jobs) -> dict[str, Any]:
    return {host: json.loads(lines[-1]) for host, lines in jobs.logs().items()}


def test_sharded_channels_are_dealt_out(jobs: Jobs) -> None:
    jobs.put(a="1", b="2", c="3")
    given = (channel("all", "in/"), channel("part", "in/", S3DataDistributionType="ShardedByS3Key"))
    jobs.train(SEEN, channels=given)
    everything = ["a", "b", "c"]
    parts = {"algo-1": ["a", "c"], "algo-2": ["b"]}
    assert seen(jobs) == {host: [{"all": everything, "part": part}, ["all", "part"]] for host, part in parts.items()}


def test_groups_have_their_own_types_and_channels(jobs: Jobs) -> None:
    jobs.put(a="1")
    groups = [
        {"InstanceGroupName": "big", "InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        {"InstanceGroupName": "small", "InstanceType": "ml.m5.large", "InstanceCount": 2},
    ]
    given = (channel("one", "in/", InstanceGroupNames=["big"]), channel("two", "in/", InstanceGroupNames=["big", "small"]))
    jobs.train(
        SEEN + "\nprint(json.dumps(config['current_instance_type']))", channels=given, ResourceConfig={"InstanceGroups": groups, "VolumeSizeInGB": 5}
    )
    told = {host: [json.loads(line) for line in lines[-2:]] for host, lines in jobs.logs().items()}
    assert told["algo-1"] == [[{"one": ["a"], "two": ["a"]}, ["one", "two"]], "ml.m5.xlarge"]
    assert told["algo-2"] == told["algo-3"] == [[{"two": ["a"]}, ["two"]], "ml.m5.large"]


def test_channels_for_unknown_groups_are_refused(jobs: Jobs) -> None:
    jobs.put(a="1")
    with pytest.raises(ClientError, match="names instance groups that ResourceConfig does not have: big"):
        jobs.create(SEEN, channels=(channel("one", "in/", InstanceGroupNames=["big"]),))


def test_one_host_that_fails_ends_the_job(jobs: Jobs) -> None:
    job = jobs.train(ONE_FAILS)
    assert (job["TrainingJobStatus"], job["FailureReason"]) == ("Failed", "AlgorithmError: no luck on algo-2, exit code: 3")


def test_a_stop_reaches_every_host(jobs: Jobs) -> None:
    jobs.create(MODEL + WAIT)
    jobs.prints("ready")
    jobs.sagemaker.stop_training_job(TrainingJobName="job")
    assert jobs.ended()["TrainingJobStatus"] == "Stopped"
    assert sorted(jobs.archive()) == ["algo-1.txt", "algo-2.txt", "common.txt"]


def test_runtime_is_limited_on_all(jobs: Jobs) -> None:
    job = jobs.train(WAIT, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_metrics_come_from_all_hosts(jobs: Jobs) -> None:
    job = jobs.train(HOSTS + "print('m=' + me[-1]) if me == 'algo-2' else None")
    assert [(metric["MetricName"], metric["Value"]) for metric in job["FinalMetricDataList"]] == [("m", 2.0)]


def test_a_job_starts_whole_or_waits(jobs: Jobs) -> None:
    """Two slots are taken of three: the second job waits for both of its own, and the third behind it, though it would fit."""
    jobs.create(WAIT, "first")
    jobs.prints("ready", "first")
    jobs.create(ANSWER, "second")
    jobs.create(ANSWER, "third", count=1)
    while jobs.describe("second")["SecondaryStatus"] != "Pending":
        pass
    assert list(jobs.logs("second")) == []
    jobs.sagemaker.stop_training_job(TrainingJobName="first")
    assert [jobs.ended(name)["TrainingJobStatus"] for name in ("second", "third")] == ["Completed", "Completed"]


def test_a_job_of_more_instances_than_slots_runs_alone(jobs: Jobs) -> None:
    assert jobs.train(ANSWER, count=5)["TrainingJobStatus"] == "Completed"
    assert len(jobs.logs()) == 5
