"""Training jobs from end to end with a real client: script mode, failures, stops, limits, inputs and outputs."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
BUCKET = "training-stories"
MAIN = "/opt/ml/input/data/code/main.py"

SCRIPT = """
import argparse, json, os, pathlib
import sklearn
parser = argparse.ArgumentParser()
parser.add_argument("-n", type=int)
n = parser.parse_args().n
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps({"n": n, "channels": json.loads(os.environ["SM_CHANNELS"])}))
"""
HELLO = """
import json, os, pathlib
print("loss=0.5"); print("loss=0.25")
home = pathlib.Path("/opt/ml")
n = json.loads((home / "input/config/hyperparameters.json").read_text())["n"]
(home / "model/model.json").write_text(json.dumps({"n": n}))
(home / "output/data/note.txt").write_text("seen " + ",".join(sorted(os.listdir(home / "input/data/train"))))
"""
ENDLESS = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.05)"

Train = Callable[..., dict[str, Any]]


@pytest.fixture
def train(dewfall: Server) -> Train:
    """Upload a data file, create a job that runs Python code and, unless told otherwise, wait for its end."""
    s3, sagemaker = dewfall.client("s3"), dewfall.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="data/train.csv", Body=b"1,2\n")

    def run(code: str, name: str = "job", *, wait: bool = True, toolkit: bool = False, **members: Any) -> dict[str, Any]:
        asked = request(name) | members
        if toolkit:
            s3.put_object(Bucket=BUCKET, Key="source.tar.gz", Body=tarball({"train.py": code}))
        else:
            s3.put_object(Bucket=BUCKET, Key="code/main.py", Body=code.encode())
            asked["AlgorithmSpecification"] = {"ContainerEntrypoint": ["python3", MAIN], **asked["AlgorithmSpecification"]}
            asked["InputDataConfig"] = [*asked["InputDataConfig"], channel("code", "code/")]
        sagemaker.create_training_job(**asked)
        return finished(dewfall, name) if wait else {}

    return run


def request(name: str) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        },
        "HyperParameters": {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": f'"s3://{BUCKET}/source.tar.gz"', "n": "10"},
        "InputDataConfig": [channel("train", "data/")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def channel(name: str, prefix: str, **members: Any) -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}"}}, **members}


def finished(dewfall: Server, name: str) -> dict[str, Any]:
    sagemaker = dewfall.client("sagemaker")
    try:
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 180})
    except Exception as problem:
        if "terminal failure" not in str(problem):
            raise
    described: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
    return described


def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.05)


def tarball(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def unpacked(dewfall: Server, uri: str) -> dict[str, bytes]:
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    body = dewfall.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]


def log_of(dewfall: Server, name: str) -> list[str]:
    logs, group = dewfall.client("logs"), "/aws/sagemaker/TrainingJobs"
    (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)["events"]
    return [event["message"] for event in events]


def test_a_job_s_artifacts_are_in_s3(dewfall: Server, train: Train) -> None:
    job = train(HELLO)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert json.loads(unpacked(dewfall, job["ModelArtifacts"]["S3ModelArtifacts"])["model.json"]) == {"n": "10"}
    assert unpacked(dewfall, f"s3://{BUCKET}/out/job/output/output.tar.gz")["note.txt"] == b"seen train.csv"


def test_script_mode_gives_hyperparameters_as_arguments(dewfall: Server, train: Train) -> None:
    job = train(SCRIPT, toolkit=True)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    saved = json.loads(unpacked(dewfall, job["ModelArtifacts"]["S3ModelArtifacts"])["model.json"])
    assert saved == {"n": 10, "channels": ["train"]}


def test_a_finished_job_tells_its_whole_life(dewfall: Server, train: Train) -> None:
    job = train(HELLO)
    statuses = [entry["Status"] for entry in job["SecondaryStatusTransitions"]]
    assert statuses == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all("EndTime" in entry for entry in job["SecondaryStatusTransitions"])
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"] >= 1
    assert job["OutputDataConfig"]["KmsKeyId"] == ""


def test_metrics_and_log_lines_arrive(dewfall: Server, train: Train) -> None:
    job = train(HELLO)
    assert [(m["MetricName"], m["Value"]) for m in job["FinalMetricDataList"]] == [("loss", 0.25)]
    assert {"loss=0.5", "loss=0.25"} <= set(log_of(dewfall, "job"))


def test_a_script_that_raises_fails_with_its_message(dewfall: Server, train: Train) -> None:
    job = train("raise ValueError('no such column: price')", toolkit=True)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"].startswith("AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage")
    assert "no such column: price" in job["FailureReason"]
    assert job["FailureReason"].endswith(", exit code: 1")


def test_a_command_that_fails_gives_its_exit_code(train: Train) -> None:
    job = train("raise SystemExit(3)")
    assert (job["TrainingJobStatus"], job["FailureReason"]) == ("Failed", "AlgorithmError: , exit code: 3")


def test_the_failure_file_is_the_reason(train: Train) -> None:
    job = train("open('/opt/ml/output/failure', 'w').write('ClientError: no label column'); raise SystemExit(2)")
    assert job["FailureReason"] == "ClientError: no label column, exit code: 2"


def test_a_missing_output_bucket_fails_the_job(train: Train) -> None:
    job = train(HELLO, OutputDataConfig={"S3OutputPath": "s3://no-such-bucket/out"})
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Artifact upload failed:NoSuchBucket (404)")


def test_a_stopped_job_keeps_what_it_saved(dewfall: Server, train: Train) -> None:
    train("open('/opt/ml/model/half', 'w').write('x')\n" + ENDLESS, wait=False)
    sagemaker = dewfall.client("sagemaker")
    until(lambda: (sagemaker.describe_training_job(TrainingJobName="job")["SecondaryStatus"] == "Training") and "ready" in log_of(dewfall, "job"))
    sagemaker.stop_training_job(TrainingJobName="job")
    job = finished(dewfall, "job")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert unpacked(dewfall, job["ModelArtifacts"]["S3ModelArtifacts"]) == {"half": b"x"}


def test_a_job_ends_at_its_maximum_runtime(dewfall: Server, train: Train) -> None:
    job = train(ENDLESS, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_a_prefix_without_objects_is_refused(dewfall: Server, train: Train) -> None:
    with pytest.raises(ClientError, match="No S3 objects found under S3 URL"):
        train(HELLO, InputDataConfig=[channel("train", "nothing/")])


def test_checkpoints_have_an_absolute_path(dewfall: Server, train: Train) -> None:
    with pytest.raises(ClientError, match=r"ValidationException.*LocalPath 'checkpoints' of CheckpointConfig is not valid"):
        train(HELLO, CheckpointConfig={"S3Uri": f"s3://{BUCKET}/kept", "LocalPath": "checkpoints"})


@pytest.mark.parametrize(
    ("counts", "is_spot", "limit"),
    [
        ({"InstanceType": "ml.m5.large", "InstanceCount": 1000}, False, "per training job' is 20 Instances, .* request delta of 1000 Instances"),
        ({"InstanceType": "ml.m5.large", "InstanceCount": 21}, True, "per spot training job' is 20 Instances"),
        ({"InstanceGroups": [{"InstanceGroupName": n, "InstanceType": "ml.m5.large", "InstanceCount": 11} for n in "ab"]}, False, "delta of 22 Inst"),
    ],
)
def test_a_job_may_have_so_many_instances(dewfall: Server, train: Train, counts: dict[str, Any], is_spot: bool, limit: str) -> None:
    wait = {"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}} if is_spot else {}
    with pytest.raises(ClientError, match=f"Maximum number of instances .*{limit}") as refusal:
        train(HELLO, ResourceConfig={"VolumeSizeInGB": 1, **counts}, EnableManagedSpotTraining=is_spot, **wait)
    assert refusal.value.response["Error"]["Code"] == "ResourceLimitExceeded"


def test_a_name_is_used_once(dewfall: Server, train: Train) -> None:
    train(HELLO, wait=False)
    with pytest.raises(ClientError, match="a training job with this name already exists") as refusal:
        train(HELLO)
    assert refusal.value.response["Error"]["Code"] == "ResourceInUse"


def test_a_missing_job_is_not_found(dewfall: Server) -> None:
    with pytest.raises(ClientError, match="Requested resource not found") as refusal:
        dewfall.client("sagemaker").describe_training_job(TrainingJobName="absent")
    assert refusal.value.response["Error"]["Code"] == "ValidationException"


def test_the_status_filter_comes_after_the_page(dewfall: Server, train: Train) -> None:
    sagemaker = dewfall.client("sagemaker")
    train("raise SystemExit(1)", "bad")
    train(HELLO, "good")
    first = sagemaker.list_training_jobs(MaxResults=1, StatusEquals="Failed")
    rest = sagemaker.list_training_jobs(MaxResults=1, StatusEquals="Failed", NextToken=first["NextToken"])
    assert (first["TrainingJobSummaries"], [job["TrainingJobName"] for job in rest["TrainingJobSummaries"]]) == ([], ["bad"])
    (summary,) = sagemaker.list_training_jobs(StatusEquals="Completed")["TrainingJobSummaries"]
    assert {"TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "LastModifiedTime", "TrainingJobStatus"} <= set(summary)


def test_a_finished_job_cannot_be_stopped_but_deleted(dewfall: Server, train: Train) -> None:
    train(HELLO)
    sagemaker = dewfall.client("sagemaker")
    with pytest.raises(ClientError, match="rejected because the training job is in status Completed"):
        sagemaker.stop_training_job(TrainingJobName="job")
    sagemaker.delete_training_job(TrainingJobName="job")
    assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []


def test_pipe_channels_are_read_from_fifos(train: Train) -> None:
    code = "import shutil\nshutil.copyfileobj(open('/opt/ml/input/data/train_0', 'rb'), open('/opt/ml/model/seen', 'wb'))"
    job = train(code, InputDataConfig=[channel("train", "data/", InputMode="Pipe")])
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")


def test_a_manifest_names_the_files_of_its_channel(dewfall: Server, train: Train) -> None:
    manifest = [{"prefix": f"s3://{BUCKET}/data/"}, "train.csv"]
    dewfall.client("s3").put_object(Bucket=BUCKET, Key="list.manifest", Body=json.dumps(manifest).encode())
    listed = channel("train", "list.manifest")
    listed["DataSource"]["S3DataSource"]["S3DataType"] = "ManifestFile"
    job = train(HELLO, InputDataConfig=[listed])
    assert unpacked(dewfall, f"s3://{BUCKET}/out/job/output/output.tar.gz")["note.txt"] == b"seen train.csv", job.get("FailureReason")


def test_uncompressed_output_stays_a_tree(dewfall: Server, train: Train) -> None:
    job = train(HELLO, OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out", "CompressionType": "NONE"})
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/out/job/output/model/"
    found = dewfall.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="out/job/")["Contents"]
    assert {"out/job/output/model/model.json"} <= {item["Key"] for item in found}


def test_checkpoints_come_back_to_the_next_job(dewfall: Server, train: Train) -> None:
    script = "import pathlib\np = pathlib.Path('/opt/ml/checkpoints/n')\np.write_text((p.read_text() if p.exists() else '') + 'x')"
    config = {"S3Uri": f"s3://{BUCKET}/checkpoints"}
    train(script, "first", CheckpointConfig=config)
    job = train(script, "second", CheckpointConfig=config)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert dewfall.client("s3").get_object(Bucket=BUCKET, Key="checkpoints/n")["Body"].read() == b"xx"


def test_a_container_entry_point_runs_instead_of_the_image_s(dewfall: Server, train: Train) -> None:
    command = "cat /opt/ml/input/data/train/train.csv; echo from $TRAINING_JOB_NAME > /opt/ml/model/m"
    spec = {"TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": ["/bin/bash"], "ContainerArguments": ["-c", command]}
    job = train(HELLO, AlgorithmSpecification=spec)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert unpacked(dewfall, job["ModelArtifacts"]["S3ModelArtifacts"]) == {"m": b"from job\n"}
    assert "1,2" in log_of(dewfall, "job")


def test_a_job_s_trial_component_is_found_by_its_source(dewfall: Server, train: Train) -> None:
    sagemaker = dewfall.client("sagemaker")
    sagemaker.create_experiment(ExperimentName="Sea")
    job = train(HELLO, ExperimentConfig={"ExperimentName": "Sea"})
    arn = job["TrainingJobArn"].lower()
    (component,) = sagemaker.list_trial_components(SourceArn=arn)["TrialComponentSummaries"]
    assert component["TrialComponentName"] == "job-aws-training-job"
    assert component["Status"]["PrimaryStatus"] == "Completed"
    assert len(sagemaker.list_trials(ExperimentName="Sea")["TrialSummaries"]) == 1
    (found,) = sagemaker.search(Resource="ExperimentTrialComponent")["Results"]
    assert found["TrialComponent"]["SourceDetail"]["TrainingJob"]["TrainingJobName"] == "job"


def test_search_finds_jobs_by_tag_and_metric(dewfall: Server, train: Train) -> None:
    train(HELLO, Tags=[{"Key": "team", "Value": "sea"}])
    filters = [
        {"Name": "Tags.team", "Operator": "Equals", "Value": "sea"},
        {"Name": "Metrics.loss", "Operator": "LessThan", "Value": "0.3"},
    ]
    found = dewfall.client("sagemaker").search(Resource="TrainingJob", SearchExpression={"Filters": filters})
    assert [result["TrainingJob"]["TrainingJobName"] for result in found["Results"]] == ["job"]


def test_every_status_is_an_event(dewfall: Server, train: Train) -> None:
    events, sqs = dewfall.client("events"), dewfall.client("sqs")
    queue = sqs.create_queue(QueueName="states")["QueueUrl"]
    events.put_rule(Name="states", EventPattern=json.dumps({"source": ["aws.sagemaker"], "detail": {"TrainingJobName": ["job"]}}))
    events.put_targets(Rule="states", Targets=[{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:000000000000:states"}])
    train(HELLO)
    seen: list[str] = []

    def receive() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            seen.append(json.loads(message["Body"])["detail"]["SecondaryStatus"])
        return len(seen) >= 5

    until(receive)
    assert sorted(seen) == ["Completed", "Downloading", "Starting", "Training", "Uploading"]
