"""A training job over an S3 prefix of 100,000 small objects, whole: File and FastFile mode, and shards for two instances.

The script only counts its files, so that what is measured is the way of the data. BENCH_OBJECTS makes it shorter.
"""

from __future__ import annotations

import io
import os
import tarfile
import threading
import time
from typing import Any

import boto3

from benchmarks.load import connect, exchange, signed
from benchmarks.peers import dewfall

OBJECTS, WRITERS = int(os.environ.get("BENCH_OBJECTS", 100_000)), 4
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
ROLE = "arn:aws:iam::000000000000:role/DewfallExecutionRole"
COUNT = b"""
import os
found = sum(len(files) for _, _, files in os.walk(os.environ["SM_CHANNEL_TRAIN"]))
open(os.path.join(os.environ["SM_MODEL_DIR"], "count"), "w").write(str(found))
"""
WAYS = (("File", "FullyReplicated", 1), ("FastFile", "FullyReplicated", 1), ("File", "ShardedByS3Key", 2))
Row = tuple[str, str, str, bool]


def many_objects() -> list[Row]:
    """The wall time of each job, from its creation to Completed."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    with dewfall(pin=False) as (url, _, _):
        s3, sagemaker = (boto3.client(name, endpoint_url=url, **keys) for name in ("s3", "sagemaker"))
        s3.create_bucket(Bucket="many")
        s3.put_object(Bucket="many", Key="code.tar.gz", Body=_packed(COUNT))
        writers = [threading.Thread(target=_put, args=(url, place)) for place in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        return [_job(sagemaker, *way) for way in WAYS]


def _put(url: str, first: int) -> None:
    connection = connect(url)
    for number in range(first, OBJECTS, WRITERS):
        exchange(connection, signed(f"{url}/many/in/{number // 1000:03d}/{number:06d}", "s3", "PUT", {}, b"x" * 100))
    connection.close()


def _job(sagemaker: Any, mode: str, distribution: str, count: int) -> Row:
    name = f"{mode}-{distribution}"
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://many/in/", "S3DataDistributionType": distribution}
    began = time.perf_counter()
    sagemaker.create_training_job(
        TrainingJobName=name,
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": mode},
        HyperParameters={"sagemaker_program": "main.py", "sagemaker_submit_directory": "s3://many/code.tar.gz"},
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        OutputDataConfig={"S3OutputPath": "s3://many/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 900},
    )
    while (status := sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]) == "InProgress":
        time.sleep(0.1)
    took = time.perf_counter() - began
    hosts = f", {count} instances" if count > 1 else ""
    return (f"a job over {OBJECTS:,} objects, {mode}, {distribution}{hosts}", f"{took:.1f} s", status, status == "Completed")


def _packed(source: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo("main.py")
        member.size = len(source)
        archive.addfile(member, io.BytesIO(source))
    return file.getvalue()
