"""Processing jobs from end to end with a real client: inputs, outputs, failures, stops and what they leave."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server
from tests.stories.test_training_story import until

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
BUCKET = "processing-stories"
ROOT = "/opt/ml/processing"

UPPER = """
import json, pathlib, sys
root = pathlib.Path("/opt/ml/processing")
text = (root / "input/data/a/words.txt").read_text()
(root / "output/train/part").mkdir(parents=True)
(root / "output/train/part/words.txt").write_text(text.upper() + " ".join(sys.argv[1:]))
(root / "output/train/link").symlink_to(root / "output/train/part/words.txt")
pathlib.Path("/opt/ml/output/message").write_text("all is well")
print("done with", json.loads(pathlib.Path("/opt/ml/config/processingjobconfig.json").read_text())["ProcessingJobName"])
print(json.loads(pathlib.Path("/opt/ml/config/resourceconfig.json").read_text())["hosts"])
"""
ENDLESS = """
import pathlib, time
out = pathlib.Path("/opt/ml/processing/output/train"); out.mkdir(parents=True, exist_ok=True)
(out / "early.txt").write_text("early")
print("ready", flush=True)
while True: time.sleep(0.05)
"""

FEATURES = {"OutputName": "features", "FeatureStoreOutput": {"FeatureGroupName": "group"}}

Process = Callable[..., dict[str, Any]]


@pytest.fixture
def process(dewfall: Server) -> Process:
    """Upload data and a script, create a job that runs it and, unless told otherwise, wait for its end."""
    s3, sagemaker = dewfall.client("s3"), dewfall.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="data/a/words.txt", Body=b"hello ")

    def run(code: str, name: str = "job", *, wait: bool = True, **members: Any) -> dict[str, Any]:
        s3.put_object(Bucket=BUCKET, Key="code/main.py", Body=code.encode())
        sagemaker.create_processing_job(**(request(name) | members))
        return finished(dewfall, name) if wait else {}

    return run


def request(name: str = "job", mode: str = "EndOfJob") -> dict[str, Any]:
    output = {"S3Uri": f"s3://{BUCKET}/out", "LocalPath": f"{ROOT}/output/train", "S3UploadMode": mode}
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", f"{ROOT}/input/code/main.py"], "ContainerArguments": ["--n", "1"]},
        "ProcessingInputs": [given("code", "code/main.py"), given("data", "data/")],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "train", "S3Output": output}]},
        "ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def given(name: str, prefix: str, **members: Any) -> dict[str, Any]:
    source = {"S3Uri": f"s3://{BUCKET}/{prefix}", "LocalPath": f"{ROOT}/input/{name}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": source | members}


def finished(dewfall: Server, name: str = "job") -> dict[str, Any]:
    from botocore.exceptions import WaiterError

    sagemaker = dewfall.client("sagemaker")
    with contextlib.suppress(WaiterError):
        sagemaker.get_waiter("processing_job_completed_or_stopped").wait(ProcessingJobName=name)
    found: dict[str, Any] = sagemaker.describe_processing_job(ProcessingJobName=name)
    return found


def keys(dewfall: Server, prefix: str = "out/") -> list[str]:
    return [one["Key"] for one in dewfall.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]


def log_of(dewfall: Server, name: str = "job") -> str:
    logs = dewfall.client("logs")
    group = "/aws/sagemaker/ProcessingJobs"
    (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
    assert stream["logStreamName"].startswith(f"{name}/algo-1-")
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)["events"]
    return "\n".join(event["message"] for event in events)


def test_a_script_reads_inputs_and_leaves_outputs(dewfall: Server, process: Process) -> None:
    job = process(UPPER)
    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Completed", "all is well")
    assert job["CreationTime"] <= job["ProcessingStartTime"] <= job["ProcessingEndTime"]
    assert keys(dewfall) == ["out/part/words.txt"]
    assert dewfall.client("s3").get_object(Bucket=BUCKET, Key="out/part/words.txt")["Body"].read() == b"HELLO --n 1"
    assert "done with job\n['algo-1']" in log_of(dewfall)


def test_shell_commands_run_and_install_nothing_here(dewfall: Server, process: Process) -> None:
    application = {
        "ImageUri": IMAGE,
        "ContainerEntrypoint": ["/bin/bash", "-c", "which pip; pwd; python3 -c 'import sklearn; print(sklearn.__name__)'"],
    }
    job = process("", AppSpecification=application)
    assert job["ProcessingJobStatus"] == "Completed"
    assert "/opt/ml/.packages/bin/pip\n/opt/ml/processing\nsklearn" in log_of(dewfall)


def test_a_script_that_installs_does_so_for_its_job(dewfall: Server, process: Process) -> None:
    process("import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'pip', '--version'])\nprint(sys.executable)")
    assert "/opt/ml/.packages/bin/python" in log_of(dewfall)


@pytest.mark.parametrize(("code", "end"), [("raise SystemExit(3)", "exit code: 3"), ("1/0", "exit code: 1")])
def test_a_failing_script_fails_its_job(dewfall: Server, process: Process, code: str, end: str) -> None:
    job = process("open('/opt/ml/processing/output/train/x', 'w').write('x')\n" + code)
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == f"AlgorithmError: , {end}"
    assert keys(dewfall) == []


def test_an_input_without_objects_fails_its_job(process: Process) -> None:
    job = process(UPPER, ProcessingInputs=[given("code", "code/main.py"), given("data", "nothing/")])
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == f"ClientError: Failed to download data. S3 key: s3://{BUCKET}/nothing/ matched no files on s3"


def test_an_input_of_a_missing_bucket_fails_its_job(process: Process) -> None:
    job = process(UPPER, ProcessingInputs=[given("code", "code/main.py"), given("data", "", S3Uri="s3://not-there-at-all/data")])
    assert job["FailureReason"] == "ClientError: Failed to download data. The specified bucket does not exist"


def test_a_script_that_has_said_why_it_fails_is_pointed_to(process: Process) -> None:
    job = process("open('/opt/ml/output/message', 'w').write('no label column')\nraise SystemExit(4)")
    assert (job["FailureReason"], job["ExitMessage"]) == ("AlgorithmError: See job logs for more information", "no label column")


def test_the_application_may_look_after_its_data_itself(process: Process) -> None:
    query = {"Catalog": "AwsDataCatalog", "Database": "d", "QueryString": "SELECT 1", "OutputS3Uri": f"s3://{BUCKET}/rows/", "OutputFormat": "JSON"}
    rows = {"InputName": "rows", "AppManaged": True, "DatasetDefinition": {"LocalPath": f"{ROOT}/rows", "AthenaDatasetDefinition": query}}
    features = {**FEATURES, "AppManaged": True}
    job = process("print('ready')", ProcessingInputs=[given("code", "code/main.py"), rows], ProcessingOutputConfig={"Outputs": [features]})
    assert job["ProcessingJobStatus"] == "Completed"
    assert job["ProcessingInputs"][1] == rows
    assert job["ProcessingOutputConfig"]["Outputs"] == [features]


def test_a_manifest_names_its_files(dewfall: Server, process: Process) -> None:
    manifest = json.dumps([{"prefix": f"s3://{BUCKET}/data/"}, "a/words.txt"])
    dewfall.client("s3").put_object(Bucket=BUCKET, Key="list.manifest", Body=manifest.encode())
    sharded = given("data", "list.manifest", S3DataType="ManifestFile", S3DataDistributionType="ShardedByS3Key")
    assert process(UPPER, ProcessingInputs=[given("code", "code/main.py"), sharded])["ProcessingJobStatus"] == "Completed"


def test_continuous_outputs_come_while_the_job_runs_and_a_stop_ends_it(dewfall: Server, process: Process) -> None:
    process(ENDLESS, wait=False, ProcessingOutputConfig=request(mode="Continuous")["ProcessingOutputConfig"])
    until(lambda: keys(dewfall) == ["out/early.txt"])
    sagemaker = dewfall.client("sagemaker")
    assert sagemaker.describe_processing_job(ProcessingJobName="job")["ProcessingJobStatus"] == "InProgress"
    sagemaker.stop_processing_job(ProcessingJobName="job")
    assert finished(dewfall)["ProcessingJobStatus"] == "Stopped"
    with pytest.raises(ClientError, match="is in status Stopped"):
        sagemaker.stop_processing_job(ProcessingJobName="job")


def test_the_time_limit_stops_a_job_and_keeps_its_outputs(dewfall: Server, process: Process) -> None:
    job = process(ENDLESS, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert job["ProcessingJobStatus"] == "Stopped"
    assert keys(dewfall) == ["out/early.txt"]


def test_lists_tags_components_and_deletion(dewfall: Server, process: Process) -> None:
    sagemaker = dewfall.client("sagemaker")
    arn = process(UPPER, Tags=[{"Key": "team", "Value": "blue"}])["ProcessingJobArn"]
    (found,) = sagemaker.list_processing_jobs(StatusEquals="Completed", NameContains="JO")["ProcessingJobSummaries"]
    assert (found["ProcessingJobArn"], found["ExitMessage"]) == (arn, "all is well")
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "blue"}]
    component = sagemaker.describe_trial_component(TrialComponentName="job-aws-processing-job")
    assert component["Status"]["PrimaryStatus"] == "Completed"
    assert component["InputArtifacts"]["data"]["Value"] == f"s3://{BUCKET}/data/"
    assert component["OutputArtifacts"]["train"]["Value"] == f"s3://{BUCKET}/out"
    sagemaker.delete_processing_job(ProcessingJobName="job")
    assert sagemaker.list_processing_jobs()["ProcessingJobSummaries"] == []


def test_an_input_may_be_a_pipe(dewfall: Server, process: Process) -> None:
    code = f"open('/opt/ml/output/message', 'wb').write(open('{ROOT}/input/data_0', 'rb').read())"
    job = process(code, ProcessingInputs=[given("code", "code/main.py"), given("data", "data/", S3InputMode="Pipe")])
    assert (job["ProcessingJobStatus"], job["ExitMessage"]) == ("Completed", "hello ")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"ProcessingInputs": [given("x", "data/", LocalPath="/opt/ml/input")]}, "must start with /opt/ml/processing/"),
        ({"ProcessingInputs": [given("x", "data/"), given("x", "data/")]}, "Input names must be unique"),
        ({"ProcessingInputs": [given("x", "data/"), given("y", "data/", LocalPath=f"{ROOT}/input/x/")]}, "a LocalPath of its own"),
        ({"ProcessingOutputConfig": {"Outputs": [FEATURES]}}, "only supported when AppManaged is specified"),
        ({"ProcessingOutputConfig": {"Outputs": [{"OutputName": "x"}]}}, "Exactly one of S3Output or FeatureStoreOutput"),
        ({"ProcessingInputs": [given("x", "data/", S3CompressionType="Gzip")]}, "only be used if Pipe mode"),
        ({"AppSpecification": {"ImageUri": IMAGE}}, "give ContainerEntrypoint"),
        (
            {"ProcessingResources": {"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 21, "VolumeSizeInGB": 1}}},
            r"ResourceLimitExceeded.* 'Maximum number of instances per processing job' is 20 Instances, .* request delta of 21 Instances\.",
        ),
        (
            {"AppSpecification": {"ImageUri": "1.dkr.ecr.us-east-1.amazonaws.com/sagemaker-data-wrangler-container:3.x"}},
            "not built processing jobs of",
        ),
    ],
)
def test_wrong_requests_are_refused(dewfall: Server, members: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        dewfall.client("sagemaker").create_processing_job(**(request() | members))


def test_names_are_taken_once(dewfall: Server, process: Process) -> None:
    process(UPPER)
    with pytest.raises(ClientError, match=r"\(ResourceInUse\).*a job with this name already exists"):
        process(UPPER)
    with pytest.raises(ClientError, match="Could not find requested job with name: other"):
        dewfall.client("sagemaker").describe_processing_job(ProcessingJobName="other")
