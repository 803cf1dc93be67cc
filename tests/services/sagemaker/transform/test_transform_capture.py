"""Data capture of transform jobs: manifests, and an inference id beside each record."""

from __future__ import annotations

import json
import re

from .conftest import BUCKET, Transforms

ID = rb"[0-9a-f-]{36}"
CSV = {"SplitType": "Line", "ContentType": "text/csv"}
TO_CSV = {"AssembleWith": "Line", "Accept": "text/csv"}


def test_manifests_name_inputs_and_outputs(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1,2\n", "in/x/b.csv": b"3,4\n"})
    capture = {"DestinationS3Uri": f"s3://{BUCKET}/captured"}
    job = transforms.run(source=CSV, target=TO_CSV, DataCaptureConfig=capture)
    assert job["DataCaptureConfig"] == capture
    listed = transforms.s3.list_objects_v2(Bucket=BUCKET, Prefix="captured/")["Contents"]
    found = {one["Key"]: json.loads(transforms.s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()) for one in listed}
    assert list(found.values()) == [
        [{"prefix": f"s3://{BUCKET}/in/"}, "a.csv", "x/b.csv"],
        [{"prefix": f"s3://{BUCKET}/out/"}, "a.csv.out", "x/b.csv.out"],
    ]
    hour = f"{job['TransformStartTime']:%Y/%m/%d}"
    assert [key.split("/")[1] for key in found] == ["input", "output"]
    assert all(hour in key for key in found)


def test_each_record_of_the_output_has_an_id(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1,2\n3,4\n"})
    capture = {"DestinationS3Uri": f"s3://{BUCKET}/captured", "GenerateInferenceId": True}
    transforms.run(source=CSV, target=TO_CSV, DataCaptureConfig=capture)
    time = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(rb"3.0,%b,%b\n7.0,%b,%b\n" % (ID, time, ID, time), transforms.outputs()["out/a.csv.out"])
