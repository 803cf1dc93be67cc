"""Tuning jobs over built-in algorithms: what may be tuned is theirs to say, and Autotune keeps within it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server
from tests.stories.test_training_story import ROLE, channel, until

BUCKET = "training-stories"
REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
XGBOOST = f"{REGISTRY}/sagemaker-xgboost:1.7-1"
ROWS = b"\n".join(b"%d,%d,%d" % (n % 2, n % 2 * 3 + n % 5, n % 7) for n in range(80))
XGBOOST_STATIC = {"objective": "binary:logistic", "num_round": "2"}


def tune(dewfall: Server, image: str, metric: tuple[str, str], ranges: dict[str, Any], static: dict[str, str], **members: Any) -> dict[str, Any]:
    """A finished tuning job of two trials."""
    s3, sagemaker = dewfall.client("s3"), dewfall.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="data/train.csv", Body=ROWS)
    channels = [{**channel(name, "data/"), "ContentType": "text/csv"} for name in ("train", "validation")]
    definition = {
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "StaticHyperParameters": static,
        "RoleArn": ROLE,
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }
    config = {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": metric[0], "MetricName": metric[1]},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": ranges,
    }
    name = {"HyperParameterTuningJobName": "tuning"}
    sagemaker.create_hyper_parameter_tuning_job(**name, HyperParameterTuningJobConfig=config, TrainingJobDefinition=definition, **members)
    until(lambda: sagemaker.describe_hyper_parameter_tuning_job(**name)["HyperParameterTuningJobStatus"] != "InProgress")
    job: dict[str, Any] = sagemaker.describe_hyper_parameter_tuning_job(**name)
    return job


def continuous(name: str, low: str, high: str) -> dict[str, Any]:
    return {"ContinuousParameterRanges": [{"Name": name, "MinValue": low, "MaxValue": high}]}


def test_what_is_not_tunable_is_refused(dewfall: Server) -> None:
    k = {"IntegerParameterRanges": [{"Name": "k", "MinValue": "2", "MaxValue": "4"}]}
    with pytest.raises(ClientError, match=r"\[k\], isn't tunable for the .* algorithm"):
        tune(dewfall, "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1", ("Minimize", "train:msd"), k, {"feature_dim": "3"})


def test_values_beyond_the_algorithm_are_refused(dewfall: Server) -> None:
    with pytest.raises(ClientError, match=r"2\.0 is greater than the maximum of 1 for 'eta'"):
        tune(dewfall, XGBOOST, ("Maximize", "validation:auc"), continuous("eta", "0.1", "2"), XGBOOST_STATIC)


@pytest.mark.parametrize(("name", "value"), [("max_depth", "deep"), ("subsample", "1.5"), ("booster", "rocket"), ("num_round", "0")])
def test_static_values_beyond_the_algorithm_are_refused(dewfall: Server, name: str, value: str) -> None:
    with pytest.raises(ClientError, match=rf"ValidationException.*The static hyperparameter, \[{name}\], isn't valid: .*{value}"):
        tune(dewfall, XGBOOST, ("Maximize", "validation:auc"), continuous("eta", "0.1", "1"), XGBOOST_STATIC | {name: value})


def test_an_objective_that_the_algorithm_lacks_is_refused(dewfall: Server) -> None:
    with pytest.raises(ClientError, match=r"\[validation:luck\], isn't valid for the"):
        tune(dewfall, XGBOOST, ("Maximize", "validation:luck"), continuous("eta", "0.1", "1"), XGBOOST_STATIC)


def test_autotune_without_ranges_tunes_what_the_algorithm_lets(dewfall: Server) -> None:
    job = tune(dewfall, XGBOOST, ("Maximize", "validation:auc"), {}, XGBOOST_STATIC | {"eval_metric": "auc"}, Autotune={"Mode": "Enabled"})
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    known = job["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
    assert "validation:auc" in {one["Name"] for one in known}  # which the SDK's attach() looks for
    tuned = job["BestTrainingJob"]["TunedHyperParameters"]
    assert {"eta", "max_depth", "subsample"} <= set(tuned)
    assert not set(tuned) & set(XGBOOST_STATIC)


def test_autotune_searches_around_its_hints(dewfall: Server) -> None:
    hints = {"eta": "0.3", "alpha": "0", "max_depth": "2", "objective": "binary:logistic", "eval_metric": "auc"}
    ranges = {"AutoParameters": [{"Name": name, "ValueHint": hint} for name, hint in hints.items()]}
    job = tune(dewfall, XGBOOST, ("Maximize", "validation:auc"), ranges, {"num_round": "2"}, Autotune={"Mode": "Enabled"})
    assert (job["HyperParameterTuningJobStatus"], job["Autotune"]) == ("Completed", {"Mode": "Enabled"})
    tuned = job["BestTrainingJob"]["TunedHyperParameters"]
    assert set(tuned) == {"eta", "alpha", "max_depth"}
    assert 0.03 <= float(tuned["eta"]) <= 1
    assert 0 <= float(tuned["alpha"]) <= 1
    trial = dewfall.client("sagemaker").describe_training_job(TrainingJobName=job["BestTrainingJob"]["TrainingJobName"])
    assert trial["HyperParameters"]["objective"] == "binary:logistic"
