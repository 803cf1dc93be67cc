"""The AWS CLI as a user types it, with the variables of `dewfall env`."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dewfall.testing_server import Server
from tests.cli.conftest import dewfall_command, port_of
from tests.sdk.conftest import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Aws = Callable[..., str]


@pytest.fixture
def aws(sdk_server: Server, tmp_path: Path) -> Aws:
    """Run `aws …` in a shell that has evaluated `dewfall env`; returns its output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {"HOME": str(tmp_path), "AWS_PAGER": ""}
    exports = dewfall_command("env", "--port", port_of(sdk_server)).stdout

    def run(command: str, stdin: str | None = None) -> str:
        script = f'{exports}\nexport PATH="{environment("cli")}:$PATH"\nset -e\n{command}\n'
        done = subprocess.run(["bash", "-c", script], env=clean, input=stdin, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    sdk_server.reset()
    return run


def test_s3_from_bucket_to_nothing(aws: Aws, tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    for name in ("a.txt", "b c.txt", "deep/ü.txt"):
        (tmp_path / "tree" / name).write_text(name)
    assert "make_bucket: cli" in aws("aws s3 mb s3://cli")
    aws("aws s3 cp tree/a.txt s3://cli/one.txt")
    aws("aws s3 cp - s3://cli/streamed.txt", stdin="from a pipe")
    assert aws("aws s3 cp s3://cli/streamed.txt -") == "from a pipe"
    assert aws("aws s3 sync tree s3://cli/tree").count("upload:") == 3
    assert aws("aws s3 sync tree s3://cli/tree") == ""
    assert [line.split(None, 3)[3] for line in aws("aws s3 ls --recursive s3://cli/tree/").splitlines()] == [
        "tree/a.txt",
        "tree/b c.txt",
        "tree/deep/ü.txt",
    ]
    assert "PRE tree/" in aws("aws s3 ls s3://cli/")
    aws("aws s3 sync s3://cli/tree back && diff -r tree back")
    aws("aws s3 mv s3://cli/one.txt s3://cli/two.txt")
    assert aws("rm tree/a.txt; aws s3 sync --delete tree s3://cli/tree").startswith("delete: s3://cli/tree/a.txt")
    assert aws("aws s3 rm --recursive s3://cli").count("delete:") == 4
    assert "remove_bucket: cli" in aws("aws s3 rb s3://cli")


def test_s3_large_files_in_parts(aws: Aws, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(20 * 1024 * 1024 + 7))
    aws("aws s3 mb s3://cli; aws s3 cp large s3://cli/large; aws s3 cp s3://cli/large s3://cli/copy; aws s3 cp s3://cli/copy back; cmp large back")
    head = json.loads(aws("aws s3api head-object --bucket cli --key large"))
    assert head["ContentLength"] == 20 * 1024 * 1024 + 7
    assert head["ETag"].endswith('-3"')


def test_s3_presign(aws: Aws) -> None:
    aws("aws s3 mb s3://cli; echo -n signed | aws s3 cp - s3://cli/key")
    url = aws("aws s3 presign s3://cli/key --expires-in 60").strip()
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"signed"


def job(name: str) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["sh", "-c", "echo line one; echo line two; ls /opt/ml/input/data/train"],
        },
        "RoleArn": "arn:aws:iam::000000000000:role/DewfallExecutionRole",
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://cli/train/"}}}],
        "OutputDataConfig": {"S3OutputPath": "s3://cli/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


def test_train_wait_and_read_the_log(aws: Aws, tmp_path: Path, sdk_server: Server) -> None:
    (tmp_path / "job.json").write_text(json.dumps(job("cli-job")))
    aws("aws s3 mb s3://cli; echo 1,2 | aws s3 cp - s3://cli/train/rows.csv")
    arn = json.loads(aws("aws sagemaker create-training-job --cli-input-json file://job.json"))["TrainingJobArn"]
    assert arn == "arn:aws:sagemaker:us-east-1:000000000000:training-job/cli-job"
    aws("aws sagemaker wait training-job-completed-or-stopped --training-job-name cli-job")
    query = "aws sagemaker describe-training-job --training-job-name cli-job --query TrainingJobStatus --output text"
    assert aws(query) == "Completed\n"
    group = "/aws/sagemaker/TrainingJobs"
    stream = aws(f"aws logs describe-log-streams --log-group-name {group} --query 'logStreams[0].logStreamName' --output text").strip()
    assert stream.startswith("cli-job/algo-1-")
    tailed = f"aws logs filter-log-events --log-group-name {group} --log-stream-name-prefix cli-job/ --query 'events[].message' --output json"
    assert [line for line in json.loads(aws(tailed)) if line.startswith("line") or "rows" in line] == ["line one", "line two", "rows.csv"]
    assert "line two\n" in dewfall_command("logs", "--port", port_of(sdk_server), "cli-job").stdout
    assert aws("aws sagemaker list-training-jobs --query 'TrainingJobSummaries[].TrainingJobName' --output text") == "cli-job\n"


def test_logs_are_followed_until_the_job_ends(aws: Aws, tmp_path: Path, sdk_server: Server) -> None:
    (tmp_path / "job.json").write_text(json.dumps(job("cli-followed")))
    aws("aws s3 mb s3://cli; echo 1,2 | aws s3 cp - s3://cli/train/rows.csv; aws sagemaker create-training-job --cli-input-json file://job.json")
    said = dewfall_command("logs", "-f", "--port", port_of(sdk_server), "cli-followed")
    assert said.returncode == 0
    assert "line one\nline two\n" in said.stdout


def test_live_tail(aws: Aws) -> None:
    aws("aws logs create-log-group --log-group-name g; aws logs create-log-stream --log-group-name g --log-stream-name s")
    arn = "arn:aws:logs:us-east-1:000000000000:log-group:g"
    put = 'aws logs put-log-events --log-group-name g --log-stream-name s --log-events "timestamp=$(date +%s%3N),message=seen-$n" > /dev/null'
    tail = f"timeout -s INT 60 aws logs start-live-tail --log-group-identifiers {arn} > tailed & tail=$!"
    told = aws(f"{tail}; n=0; until grep -q seen tailed; do n=$((n+1)); {put}; done; kill -INT $tail; wait $tail || true; cat tailed")
    assert "seen-" in told


def test_errors_are_told_as_aws_tells_them(aws: Aws) -> None:
    told = aws("aws sagemaker describe-training-job --training-job-name nobody 2>&1 || true")
    assert "An error occurred (ValidationException) when calling the DescribeTrainingJob operation: Requested resource not found." in told
    assert "An error occurred (NoSuchBucket)" in aws("aws s3 ls s3://nowhere 2>&1 || true")
    assert "NotImplemented" in aws("aws sagemaker list-auto-ml-jobs 2>&1 || true")
