"""Image URI → runtime, users' own images included."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dewfall.engine.runtimes import find_runtime
from dewfall.errors import AwsError
from dewfall.settings import read_settings

OWN = "123456789012.dkr.ecr.us-east-1.amazonaws.com/churn:7"


def test_framework_image() -> None:
    runtime = find_runtime("x.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3", read_settings({}))
    assert runtime.train_command == (sys.executable, "-m", "dewfall.images.training")
    assert runtime.serve_command == (sys.executable, "-m", "dewfall.images.serving")
    assert runtime.environment["SAGEMAKER_TRAINING_MODULE"] == "sagemaker_sklearn_container.training:main"


def test_algorithm_image() -> None:
    runtime = find_runtime("382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1", read_settings({}))
    assert runtime.train_command[1:] == ("-m", "dewfall.images.builtin.linear_learner", "train")


def test_unknown_image_names_the_ways_out() -> None:
    with pytest.raises(AwsError) as refused:
        find_runtime(OWN, read_settings({}))
    assert refused.value.code == "ValidationException"
    assert "DEWFALL_IMAGES" in refused.value.message
    assert "sagemaker-scikit-learn" in refused.value.message


def test_own_image_by_pattern(tmp_path: Path) -> None:
    file = tmp_path / "images.json"
    file.write_text(json.dumps({"*/churn:*": {"train": "python train.py --fast", "serve": ["./serve"], "environment": {"A": 1}, "port": 8080}}))
    runtime = find_runtime(OWN, read_settings({"DEWFALL_IMAGES": str(file)}))
    assert runtime.train_command == (sys.executable, "train.py", "--fast")
    assert (runtime.serve_command, dict(runtime.environment), runtime.port) == (("./serve",), {"A": "1"}, 8080)


def test_own_image_of_processing_jobs(tmp_path: Path) -> None:
    file = tmp_path / "images.json"
    file.write_text(json.dumps({"*/churn:*": {"process": ["./clean", "--all"]}}))
    assert find_runtime(OWN, read_settings({"DEWFALL_IMAGES": str(file)})).process_command == ("./clean", "--all")


def test_own_image_as_one_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "images.json"
    file.write_text(json.dumps({"*/churn:*": "sagemaker-scikit-learn:1.4-2"}))
    assert find_runtime(OWN, read_settings({"DEWFALL_IMAGES": str(file)})).name == "sagemaker-scikit-learn"


def test_unreadable_mapping_is_said(tmp_path: Path) -> None:
    with pytest.raises(AwsError, match="cannot be read"):
        find_runtime(OWN, read_settings({"DEWFALL_IMAGES": str(tmp_path / "none.json")}))


def test_what_is_no_repository_is_refused_in_aws_s_words() -> None:
    with pytest.raises(AwsError, match=r"Invalid image URI my image\. Please provide a valid Amazon Elastic Container Registry path of the Docker"):
        find_runtime("my image", read_settings({}))
    with pytest.raises(AwsError, match=r"^ValidationException: Dewfall has no runtime"):
        find_runtime(OWN, read_settings({}))
