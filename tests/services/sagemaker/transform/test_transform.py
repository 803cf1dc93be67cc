"""Transform jobs through boto3 against a user's own container: what is sent, what is written, and how jobs end."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import BUCKET, Transforms

LINES = {"SplitType": "Line", "ContentType": "text/csv"}
ASSEMBLED = {"AssembleWith": "Line", "Accept": "text/csv"}


def test_every_input_has_its_output_under_its_own_path(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1,2\n3,4\n", "in/deep/b.csv": b"5,6\n", "in/empty.csv": b"", "in/folder/": b""})
    job = transforms.run(source=LINES, target=ASSEMBLED)
    assert job["TransformJobStatus"] == "Completed"
    assert transforms.outputs() == {"out/a.csv.out": b"3.0\n7.0\n", "out/deep/b.csv.out": b"11.0\n", "out/empty.csv.out": b""}
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]


def test_one_record_per_request(transforms: Transforms) -> None:
    transforms.model(MODE="tell")
    transforms.put({"in/a.csv": b"1,2\n3,4\n\n5,6"})
    transforms.run(source=LINES, target=ASSEMBLED, BatchStrategy="SingleRecord")
    assert [told["body"] for told in transforms.told()] == ["1,2", "3,4", "5,6"]


def test_as_many_records_per_request_as_the_payload_takes(transforms: Transforms) -> None:
    transforms.model(MODE="tell")
    transforms.put({"in/a.csv": b"\n".join([b"x" * 400_000] * 5)})
    transforms.run(source=LINES, target=ASSEMBLED, BatchStrategy="MultiRecord", MaxPayloadInMB=1, MaxConcurrentTransforms=4)
    assert [len(told["body"].split("\n")) for told in transforms.told()] == [2, 2, 1]


def test_the_container_is_told_how_it_is_used(transforms: Transforms) -> None:
    transforms.model(MODE="tell")
    transforms.put({"in/a": b"one"})
    asked: dict[str, Any] = {"BatchStrategy": "SingleRecord", "MaxPayloadInMB": 2, "MaxConcurrentTransforms": 3, "Environment": {"EXTRA": "yes"}}
    transforms.run(source={"ContentType": "a/b"}, target={"Accept": "c/d"}, **asked)
    (told,) = transforms.told()
    assert (told["type"], told["accept"], told["chunked"]) == ("a/b", "c/d", False)
    assert list(told["environment"].values()) == ["true", "SINGLE_RECORD", "2", "3", "tell", "yes"]


def test_a_payload_without_limit_is_sent_in_chunks(transforms: Transforms) -> None:
    transforms.model(MODE="tell")
    transforms.put({"in/a": b"z" * 3_000_000})
    transforms.run(MaxPayloadInMB=0)
    (told,) = transforms.told()
    assert (told["chunked"], len(told["body"])) == (True, 3_000_000)


def test_what_the_request_leaves_open_the_container_decides(transforms: Transforms) -> None:
    transforms.model(PARAMETERS=json.dumps({"MaxConcurrentTransforms": 5, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 4}))
    transforms.put({"in/a.csv": b"1\n"})
    transforms.run(source=LINES, MaxPayloadInMB=3)
    assert "[sagemaker logs]: MaxConcurrentTransforms=5, MaxPayloadInMB=3, BatchStrategy=SINGLE_RECORD" in transforms.log()


def test_a_bad_record_spoils_its_file_and_the_job_and_no_other_file(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1,2\n", "in/b.csv": b"1,2\nbad\n3,4\n", "in/c.csv": b"5,6\n"})
    job = transforms.run(source=LINES, target=ASSEMBLED, BatchStrategy="SingleRecord")
    assert (job["TransformJobStatus"], job["FailureReason"]) == ("Failed", "ClientError: See job logs for more information")
    assert list(transforms.outputs()) == ["out/a.csv.out", "out/c.csv.out"]
    for text in ("ClientError: 400", "Message:", "cannot parse", "the record bad"):
        assert f":[sagemaker logs]: {BUCKET}/in/b.csv: {text}" in transforms.log()


def test_an_error_of_the_container_is_the_algorithms(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"boom"})
    job = transforms.run(ModelClientConfig={"InvocationsMaxRetries": 0, "InvocationsTimeoutInSeconds": 5})
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert "in/a.csv: Bad HTTP status received from algorithm: 500" in transforms.log()


def test_requests_are_tried_again(transforms: Transforms) -> None:
    transforms.model(MODE="tell")
    transforms.put({"in/a.csv": b"flaky"})
    assert transforms.run(ModelClientConfig={"InvocationsMaxRetries": 2})["TransformJobStatus"] == "Completed"


def test_a_request_has_a_time_limit(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"sleep"})
    job = transforms.run(ModelClientConfig={"InvocationsMaxRetries": 0, "InvocationsTimeoutInSeconds": 1})
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert "Unable to get response from algorithm" in transforms.log()


def test_a_container_that_dies_fails_the_job(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"die"})
    job = transforms.run(ModelClientConfig={"InvocationsMaxRetries": 1})
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information"


def test_a_container_that_never_serves_fails_the_job(transforms: Transforms) -> None:
    transforms.model(MODE="fail")
    transforms.put({"in/a.csv": b"1"})
    job = transforms.run()
    assert job["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert "did not pass the ping health check: it exited with code 9" in transforms.log()
    assert "cannot load the model" in transforms.log("")


def test_a_job_can_be_stopped(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1", "in/b.csv": b"sleep"})
    transforms.create()
    transforms.sagemaker.stop_transform_job(TransformJobName="job")
    job = transforms.ended()
    assert job["TransformJobStatus"] == "Stopped"
    assert transforms.outputs() == {}
    with pytest.raises(ClientError, match="The request was rejected because the transform job is in status Stopped"):
        transforms.sagemaker.stop_transform_job(TransformJobName="job")


def test_several_instances_share_the_files(transforms: Transforms) -> None:
    transforms.model(MODE="tell")
    transforms.put({f"in/{n}": b"x" for n in range(4)})
    transforms.run(TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 2})
    assert len({told["pid"] for told in transforms.told()}) == 2


def test_a_pipeline_of_containers(transforms: Transforms) -> None:
    from .conftest import IMAGE, ROLE

    containers = [{"Image": IMAGE, "Environment": {"MODE": mode}} for mode in ("echo", "")]
    transforms.sagemaker.create_model(ModelName="model", ExecutionRoleArn=ROLE, Containers=containers)
    transforms.put({"in/a.csv": b"1,2\n3,4\n"})
    transforms.run(source=LINES, target=ASSEMBLED)
    assert transforms.outputs() == {"out/a.csv.out": b"3.0\n7.0\n"}


def test_compressed_input(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv.gz": gzip.compress(b"1,2\n"), "in/b.csv.gz": b"no gzip"})
    job = transforms.run(source={**LINES, "CompressionType": "Gzip"}, target=ASSEMBLED)
    assert job["FailureReason"] == "ClientError: See job logs for more information"
    assert transforms.outputs() == {"out/a.csv.gz.out": b"3.0\n"}


def test_a_manifest_names_the_inputs(transforms: Transforms) -> None:
    transforms.model()
    manifest = json.dumps([{"prefix": f"s3://{BUCKET}/in/"}, "a.csv", "deep/b.csv"]).encode()
    transforms.put({"in/a.csv": b"1\n", "in/deep/b.csv": b"2\n", "in/c.csv": b"3\n", "manifest": manifest})
    data = {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": f"s3://{BUCKET}/manifest"}}
    transforms.run(source={**LINES, "DataSource": data}, target=ASSEMBLED)
    assert transforms.outputs() == {"out/a.csv.out": b"1.0\n", "out/deep/b.csv.out": b"2.0\n"}


def test_a_record_larger_than_the_payload(transforms: Transforms) -> None:
    transforms.model()
    transforms.put({"in/a.csv": b"1" * 1_100_000})
    job = transforms.run(MaxPayloadInMB=1)
    assert job["FailureReason"] == "ClientError: See job logs for more information"
    assert "exceeds the maximum payload" in transforms.log()
