"""JumpStart's bucket: what the SageMaker SDK looks up in it."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from dewfall.services.s3 import jumpstart
from dewfall.testing import Server

BUCKET = "jumpstart-cache-prod-eu-west-1"


def document(key: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(jumpstart.find(BUCKET, key) or b"")
    return found


def test_the_manifest_names_specifications_that_exist() -> None:
    manifest = json.loads(jumpstart.find(BUCKET, "models_manifest.json") or b"")
    names = {entry["model_id"] for entry in manifest}
    assert names >= {"lightgbm-regression-model", "catboost-classification-model", "autogluon-regression-ensemble"}
    assert all(document(entry["spec_key"])["model_id"] == entry["model_id"] for entry in manifest)


@pytest.mark.parametrize("name", ["lightgbm-regression-model", "catboost-classification-model", "autogluon-classification-ensemble"])
@pytest.mark.parametrize("key", ["training_script_key", "hosting_script_key", "training_artifact_key", "hosting_artifact_key"])
def test_every_key_of_a_specification_is_an_archive(key: str, name: str) -> None:
    specification = document(f"community_models_specs/{name}/specs_v2.1.1.json")
    with tarfile.open(fileobj=io.BytesIO(jumpstart.find(BUCKET, str(specification[key])) or b"")) as archive:
        for member in archive.getmembers():
            body = archive.extractfile(member)
            assert body is not None
            if member.name.endswith(".py"):
                compile(body.read(), member.name, "exec")


def test_a_client_reads_the_bucket_that_nobody_made(dewfall: Server) -> None:
    s3 = dewfall.client("s3")
    manifest = json.loads(s3.get_object(Bucket=BUCKET, Key="models_manifest.json")["Body"].read())
    assert s3.head_object(Bucket=BUCKET, Key=manifest[0]["spec_key"])["ContentLength"] > 1000
    assert s3.list_buckets()["Buckets"] == []


def test_other_buckets_and_keys_hold_nothing() -> None:
    assert jumpstart.find("my-bucket", "models_manifest.json") is None
    assert jumpstart.find(BUCKET, "nothing") is None


def test_a_script_says_by_its_last_word_what_the_user_can_mend(tmp_path: Path) -> None:
    """The toolkit reports what a script exits with, but not what an inner call wrote to the failure file before."""
    specification = document("community_models_specs/autogluon-classification-ensemble/specs_v2.1.1.json")
    with tarfile.open(fileobj=io.BytesIO(jumpstart.find(BUCKET, str(specification["training_script_key"])) or b"")) as archive:
        archive.extractall(tmp_path, filter="data")
    done = subprocess.run([sys.executable, tmp_path / "transfer_learning.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("ClientError: AutoGluon is not installed.")
