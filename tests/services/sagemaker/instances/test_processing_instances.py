"""Processing jobs of several instances: shares of the inputs, one place for the outputs, a stream for each host."""

from __future__ import annotations

from typing import Any

from .conftest import BUCKET, IMAGE, ROLE, Jobs

ROOT = "/opt/ml/processing"
CODE = """
import json, os, pathlib
config = json.loads(pathlib.Path("/opt/ml/config/resourceconfig.json").read_text())
me, root = config["current_host"], pathlib.Path("/opt/ml/processing")
for name in os.listdir(root / "in"):
    (root / "out" / name).write_text(me)
print(me, "of", config["hosts"])
"""


def process(jobs: Jobs, code: str) -> dict[str, Any]:
    jobs.s3.put_object(Bucket=BUCKET, Key="code.py", Body=code.encode())
    shared = {"S3DataType": "S3Prefix", "S3InputMode": "File", "S3DataDistributionType": "ShardedByS3Key"}
    target = {"S3Uri": f"s3://{BUCKET}/results", "LocalPath": f"{ROOT}/out", "S3UploadMode": "EndOfJob"}
    jobs.sagemaker.create_processing_job(
        ProcessingJobName="job",
        RoleArn=ROLE,
        AppSpecification={"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", f"{ROOT}/code/code.py"]},
        ProcessingInputs=[
            {"InputName": "code", "S3Input": {"S3Uri": f"s3://{BUCKET}/code.py", "LocalPath": f"{ROOT}/code", "S3DataType": "S3Prefix"}},
            {"InputName": "data", "S3Input": {"S3Uri": f"s3://{BUCKET}/in/", "LocalPath": f"{ROOT}/in", **shared}},
        ],
        ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": target}]},
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5}},
    )
    while (found := jobs.sagemaker.describe_processing_job(ProcessingJobName="job"))["ProcessingJobStatus"] == "InProgress":
        pass
    described: dict[str, Any] = found
    return described


def test_hosts_share_the_inputs_and_the_outputs(jobs: Jobs) -> None:
    jobs.put(a="1", b="2", c="3")
    assert process(jobs, CODE)["ProcessingJobStatus"] == "Completed"
    found = {name: jobs.s3.get_object(Bucket=BUCKET, Key=f"results/{name}")["Body"].read().decode() for name in ("a", "b", "c")}
    assert found == {"a": "algo-1", "b": "algo-2", "c": "algo-1"}
    streams = jobs.server.client("logs").describe_log_streams(logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix="job/")
    assert [stream["logStreamName"].rpartition("-")[0] for stream in streams["logStreams"]] == ["job/algo-1", "job/algo-2"]


def test_one_host_that_fails_ends_the_job(jobs: Jobs) -> None:
    jobs.put(a="1", b="2")
    job = process(jobs, CODE + "\nimport sys, time\nsys.exit(5) if me == 'algo-1' else time.sleep(60)")
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].endswith("exit code: 5")
