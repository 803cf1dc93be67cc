"""Inputs of training jobs from S3 and file systems, as user code and a built-in algorithm read them; and AWS's words when they are wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server
from tests.stories.test_training_story import BUCKET, IMAGE, channel, finished, log_of, request

KMEANS = "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"
READ = "import os, json\nhome = '/opt/ml/input/data'\nprint('read', ascii(open(f'{home}/train_0', 'rb').read()))"
LIST = "import os\nfor at, _, names in sorted(os.walk('/opt/ml/input/data/train')): print('seen', sorted(names))"

Job = Callable[..., dict[str, Any]]


@pytest.fixture
def job(dewfall: Server) -> Job:
    """Run a command over channel `train`; the finished job."""
    s3 = dewfall.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    some = json.dumps([{"prefix": f"s3://{BUCKET}/data/"}, "b.csv"])
    for key, body in {"data/a.csv": "1,2\n", "data/b.csv": "3,4\n", "lists/some": some}.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def run(code: str, train: dict[str, Any], **members: Any) -> dict[str, Any]:
        asked = request("job") | {"InputDataConfig": [train]} | members
        if code:
            asked["AlgorithmSpecification"] = {
                "ContainerEntrypoint": ["python3", "-c", f"exec({code!r})"],
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
            }
        dewfall.client("sagemaker").create_training_job(**asked)
        return finished(dewfall, "job")

    return run


def source(kind: str, uri: str, **members: Any) -> dict[str, Any]:
    return {"S3DataSource": {"S3DataType": kind, "S3Uri": f"s3://{BUCKET}/{uri}", **members}}


def seen(dewfall: Server, word: str) -> list[str]:
    return [line.removeprefix(f"{word} ") for line in log_of(dewfall, "job") if line.startswith(f"{word} ")]


def test_user_code_reads_a_pipe(dewfall: Server, job: Job) -> None:
    assert job(READ, channel("train", "data/", InputMode="Pipe"))["TrainingJobStatus"] == "Completed"
    assert seen(dewfall, "read") == [r"b'1,2\n3,4\n'"]


def test_a_manifest_names_the_files(dewfall: Server, job: Job) -> None:
    assert job(LIST, channel("train", "") | {"DataSource": source("ManifestFile", "lists/some")})["TrainingJobStatus"] == "Completed"
    assert seen(dewfall, "seen") == ["['b.csv']"]


def test_a_channel_may_have_an_https_address(dewfall: Server, job: Job) -> None:
    given = source("S3Prefix", "")
    given["S3DataSource"]["S3Uri"] = f"https://s3-us-east-1.amazonaws.com/{BUCKET}/data/"
    done = job(LIST, {"ChannelName": "train", "DataSource": given})
    assert (done["TrainingJobStatus"], done["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"][:8]) == ("Completed", "https://")
    assert seen(dewfall, "seen") == ["['a.csv', 'b.csv']"]


def test_an_augmented_manifest_streams_its_attributes(dewfall: Server, job: Job) -> None:
    lines = [{"source-ref": f"s3://{BUCKET}/data/{name}.csv", "class": n, "other": {}} for n, name in enumerate("ba")]
    dewfall.client("s3").put_object(Bucket=BUCKET, Key="lists/lines", Body="\n".join(map(json.dumps, lines)))
    given = source("AugmentedManifestFile", "lists/lines", AttributeNames=["source-ref", "class"])
    assert job(READ, {"ChannelName": "train", "InputMode": "Pipe", "DataSource": given})["TrainingJobStatus"] == "Completed"
    assert seen(dewfall, "read") == [r"b'3,4\n01,2\n1'"]


def test_an_algorithm_trains_from_a_pipe_of_wrapped_files(dewfall: Server, job: Job) -> None:
    given = channel("train", "data/", InputMode="Pipe", RecordWrapperType="RecordIO", ContentType="text/csv;label_size=0")
    parts = {"AlgorithmSpecification": {"TrainingImage": KMEANS, "TrainingInputMode": "File"}, "HyperParameters": {"k": "2", "feature_dim": "2"}}
    done = job("", given, **parts)
    assert done["TrainingJobStatus"] == "Completed", done.get("FailureReason")


def test_a_file_system_is_a_folder(dewfall: Server, job: Job) -> None:
    folder = dewfall.data / "file-systems" / "fs-0123456789abcdef0" / "sets"
    folder.mkdir(parents=True)
    (folder / "x.csv").write_text("1")
    given = {"FileSystemId": "fs-0123456789abcdef0", "FileSystemAccessMode": "ro", "FileSystemType": "EFS", "DirectoryPath": "/sets"}
    assert job(LIST, {"ChannelName": "train", "DataSource": {"FileSystemDataSource": given}})["TrainingJobStatus"] == "Completed"
    assert seen(dewfall, "seen") == ["['x.csv']"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{}", "The manifest file .* is not valid"),
        ('[{"prefix": "s3://training-stories/"}, "gone"]', r"NoSuchKey \(404\): The specified key does not exist: s3://training-stories/gone"),
        ('[{"prefix": "s3://training-stories/"}]', "No S3 objects found under S3 URL"),
    ],
)
def test_a_broken_manifest_fails_the_job(dewfall: Server, job: Job, body: str, reason: str) -> None:
    dewfall.client("s3").put_object(Bucket=BUCKET, Key="lists/broken", Body=body)
    done = job(LIST, {"ChannelName": "train", "DataSource": source("ManifestFile", "lists/broken")})
    assert (done["TrainingJobStatus"], done["FailureReason"].startswith("ClientError: Data download failed:")) == ("Failed", True)
    assert re.search(reason, done["FailureReason"])


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_a_key_that_is_file_and_folder_fails_the_job(dewfall: Server, job: Job, mode: str) -> None:
    for key in ("both/a", "both/a/b"):
        dewfall.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"x")
    done = job(LIST, channel("train", "both/", InputMode=mode))
    words = "Please check your s3 objects and ensure that there is no object that is both a folder as well as a file. Channel train: a"
    assert done["FailureReason"] == f"ClientError: Data download failed:{words}"


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (source("AugmentedManifestFile", "data/", AttributeNames=["a"]), "can only be used if the channel's input mode is Pipe"),
        (source("S3Prefix", "data/", AttributeNames=["a"]), "can only be specified if its S3DataType is AugmentedManifestFile"),
        (source("ManifestFile", "lists/none"), "No S3 objects found under S3 URL"),
        ({}, "Exactly one of S3DataSource or FileSystemDataSource must be specified"),
    ],
)
def test_channels_that_cannot_be_are_refused(job: Job, train: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        job(LIST, {"ChannelName": "train", "DataSource": train})
