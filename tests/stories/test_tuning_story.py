"""Tuning jobs from end to end with a real client: trials that really train, the best of them, and how the search ends."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import Server
from tests.stories.test_training_story import IMAGE, ROLE, channel, tarball, until

BUCKET = "training-stories"

# A valley with its ground at x = 0.3, y = "low".
SCRIPT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("-x", type=float, default=0.3); parser.add_argument("-y", default="low"); parser.add_argument("-n", type=int, default=1)
options = parser.parse_args()
print("loss=%.6f" % ((options.x - 0.3) ** 2 + (options.y != "low") + options.n * 0.001))
"""
MUTE = "print('nothing to see')"
BROKEN = "raise SystemExit(4)"
ENDLESS = "import time\nprint('loss=1', flush=True)\nwhile True: time.sleep(0.05)"
X = {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1", "ScalingType": "Linear"}]}
Y = {"CategoricalParameterRanges": [{"Name": "y", "Values": ["high", "low"]}]}

Tune = Callable[..., dict[str, Any]]


@pytest.fixture
def tune(dewfall: Server) -> Tune:
    """Upload a script, create a tuning job over it and, unless told otherwise, wait for its end."""
    s3, sagemaker = dewfall.client("s3"), dewfall.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="data/train.csv", Body=b"1,2\n")

    def run(code: str = SCRIPT, name: str = "tuning", *, wait: bool = True, members: Any = None, **config: Any) -> dict[str, Any]:
        s3.put_object(Bucket=BUCKET, Key="source.tar.gz", Body=tarball({"train.py": code}))
        sagemaker.create_hyper_parameter_tuning_job(**(request(name, **config) | (members or {})))
        return finished(dewfall, name) if wait else {}

    return run


def definition(**members: Any) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
        },
        "StaticHyperParameters": {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": f'"s3://{BUCKET}/source.tar.gz"', "n": "1"},
        "RoleArn": ROLE,
        "InputDataConfig": [channel("train", "data/")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "HyperParameterTuningResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    } | members


def request(name: str = "tuning", *, jobs: int | None = 3, parallel: int = 2, ranges: Any = None, **config: Any) -> dict[str, Any]:
    limits = {"MaxParallelTrainingJobs": parallel} | ({"MaxNumberOfTrainingJobs": jobs} if jobs else {})
    standard = {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
        "ResourceLimits": limits,
        "ParameterRanges": X if ranges is None else ranges,
        "RandomSeed": 7,
    }
    return {"HyperParameterTuningJobName": name, "HyperParameterTuningJobConfig": standard | config, "TrainingJobDefinition": definition()}


def describe(dewfall: Server, name: str = "tuning") -> dict[str, Any]:
    found: dict[str, Any] = dewfall.client("sagemaker").describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    return found


def finished(dewfall: Server, name: str = "tuning") -> dict[str, Any]:
    until(lambda: describe(dewfall, name)["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping"))
    return describe(dewfall, name)


def trials(dewfall: Server, name: str = "tuning", **members: Any) -> list[dict[str, Any]]:
    sagemaker = dewfall.client("sagemaker")
    found = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name, MaxResults=100, **members)
    jobs: list[dict[str, Any]] = found["TrainingJobSummaries"]
    return jobs


def test_trials_train_and_the_best_is_told(dewfall: Server, tune: Tune) -> None:
    job = tune(Strategy="Bayesian", ranges={**X, **Y}, jobs=4)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"] == {"Completed": 4, "InProgress": 0, "RetryableError": 0, "NonRetryableError": 0, "Stopped": 0}
    assert job["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    ranked = trials(dewfall, SortBy="FinalObjectiveMetricValue", SortOrder="Ascending")
    values = [one["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for one in ranked]
    assert values == sorted(values)
    assert job["BestTrainingJob"]["TrainingJobName"] == ranked[0]["TrainingJobName"]
    tuned = job["BestTrainingJob"]["TunedHyperParameters"]
    assert values[0] == pytest.approx((float(tuned["x"]) - 0.3) ** 2 + (tuned["y"] != "low") + 0.001, abs=1e-5)


def test_what_the_request_left_out_is_told(dewfall: Server, tune: Tune) -> None:
    """The SDK's attach() looks for all of it, whoever made the job."""
    tune(wait=False, jobs=1, ranges={"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]})
    config = describe(dewfall)["HyperParameterTuningJobConfig"]
    assert config["TrainingJobEarlyStoppingType"] == "Off"
    assert config["ParameterRanges"] == {
        "IntegerParameterRanges": [],
        "ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1", "ScalingType": "Auto"}],
        "CategoricalParameterRanges": [],
    }


def test_a_trial_is_an_ordinary_training_job(dewfall: Server, tune: Tune) -> None:
    job = tune(jobs=1, members={"Tags": [{"Key": "team", "Value": "blue"}]})
    name = job["BestTrainingJob"]["TrainingJobName"]
    assert name.startswith("tuning-001-")
    trial = dewfall.client("sagemaker").describe_training_job(TrainingJobName=name)
    assert trial["TuningJobArn"] == job["HyperParameterTuningJobArn"]
    assert trial["HyperParameters"]["_tuning_objective_metric"] == "loss"
    assert trial["HyperParameters"]["x"] == job["BestTrainingJob"]["TunedHyperParameters"]["x"]
    assert trial["ResourceConfig"]["InstanceType"] == "ml.m5.large"
    assert dewfall.client("sagemaker").list_tags(ResourceArn=trial["TrainingJobArn"])["Tags"] == [{"Key": "team", "Value": "blue"}]
    assert "Trial" not in trial


def test_the_same_seed_gives_the_same_trials(dewfall: Server, tune: Tune) -> None:
    for name in ("first", "second"):
        tune(name=name, jobs=3)
    first, second = ([one["TunedHyperParameters"] for one in trials(dewfall, name)] for name in ("first", "second"))
    assert first == second


def test_a_grid_tries_every_combination(dewfall: Server, tune: Tune) -> None:
    tune(
        Strategy="Grid",
        jobs=None,
        ranges={"CategoricalParameterRanges": [*Y["CategoricalParameterRanges"], {"Name": "n", "Values": ["1", "2"]}]},
        members={
            "TrainingJobDefinition": definition(StaticHyperParameters={k: v for k, v in definition()["StaticHyperParameters"].items() if k != "n"})
        },
    )
    assert sorted(tuple(one["TunedHyperParameters"].values()) for one in trials(dewfall)) == [
        ("high", "1"),
        ("high", "2"),
        ("low", "1"),
        ("low", "2"),
    ]


def test_a_job_whose_trials_fail_gives_up(dewfall: Server, tune: Tune) -> None:
    job = tune(BROKEN, jobs=20, parallel=3)
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("No training job succeeded after 5 attempts.")
    assert 5 <= job["TrainingJobStatusCounters"]["NonRetryableError"] < 20
    assert all("ExitCode 4" in one["FailureReason"] for one in trials(dewfall, StatusEquals="Failed"))


def test_trials_without_the_metric_have_failed_objectives(tune: Tune) -> None:
    job = tune(MUTE, jobs=2)
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("No objective metrics found after running 2 training jobs.")
    assert job["ObjectiveStatusCounters"] == {"Succeeded": 0, "Pending": 0, "Failed": 2}


def test_a_target_ends_the_search(tune: Tune) -> None:
    job = tune(jobs=40, parallel=1, TuningJobCompletionCriteria={"TargetObjectiveMetricValue": 0.9})
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Completed"] == 1
    assert job["TuningJobCompletionDetails"] == {"NumberOfTrainingJobsObjectiveNotImproving": 0}


def test_stop_delete_and_lists(dewfall: Server, tune: Tune) -> None:
    sagemaker = dewfall.client("sagemaker")
    tune(ENDLESS, wait=False)
    until(lambda: len(trials(dewfall)) == 2)
    (seen,) = sagemaker.search(Resource="HyperParameterTuningJob")["Results"]
    assert seen["HyperParameterTuningJob"]["TrainingJobStatusCounters"]["InProgress"] == 2
    with pytest.raises(ClientError, match="is in status InProgress"):
        sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="tuning")
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="tuning")
    job = finished(dewfall)
    assert (job["HyperParameterTuningJobStatus"], job["TrainingJobStatusCounters"]["Stopped"]) == ("Stopped", 2)
    (found,) = sagemaker.list_hyper_parameter_tuning_jobs(StatusEquals="Stopped")["HyperParameterTuningJobSummaries"]
    assert (found["Strategy"], found["ResourceLimits"]["MaxNumberOfTrainingJobs"]) == ("Random", 3)
    sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="tuning")
    assert sagemaker.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"] == []
    assert len(sagemaker.list_training_jobs()["TrainingJobSummaries"]) == 2


def test_a_name_used_again_begins_anew(dewfall: Server, tune: Tune) -> None:
    tune(jobs=1)
    dewfall.client("sagemaker").delete_hyper_parameter_tuning_job(HyperParameterTuningJobName="tuning")
    assert tune(jobs=2)["TrainingJobStatusCounters"]["Completed"] == 2
    assert len(trials(dewfall)) == 2


def test_changes_are_told_as_events(dewfall: Server, tune: Tune) -> None:
    queue = dewfall.client("sqs").create_queue(QueueName="changes")["QueueUrl"]
    arn = dewfall.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events = dewfall.client("events")
    pattern = {"detail-type": ["SageMaker HyperParameter Tuning Job State Change"], "detail": {"HyperParameterTuningJobStatus": ["Completed"]}}
    events.put_rule(Name="changes", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="changes", Targets=[{"Id": "queue", "Arn": arn}])
    tune(jobs=1)
    (message,) = dewfall.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    detail = json.loads(message["Body"])["detail"]
    assert (detail["BestTrainingJob"]["TrainingJobName"].startswith("tuning-001-"), detail["Tags"]) == (True, {})


def test_several_definitions_take_turns(dewfall: Server, tune: Tune) -> None:
    asked = request()
    config = {
        member: value
        for member, value in asked["HyperParameterTuningJobConfig"].items()
        if member not in ("ParameterRanges", "HyperParameterTuningJobObjective")
    }
    objective = {"TuningObjective": {"Type": "Minimize", "MetricName": "loss"}}
    many = [
        definition(DefinitionName="numbers", HyperParameterRanges=X, **objective),
        definition(DefinitionName="words", HyperParameterRanges=Y, **objective),
    ]
    sagemaker = dewfall.client("sagemaker")
    tune(jobs=1)
    other = {**many[1], "TuningObjective": {"Type": "Maximize", "MetricName": "loss"}}
    with pytest.raises(ClientError, match=r"ValidationException.*TuningObjective must be the same in all training job definitions"):
        sagemaker.create_hyper_parameter_tuning_job(
            HyperParameterTuningJobName="many", HyperParameterTuningJobConfig=config, TrainingJobDefinitions=[many[0], other]
        )
    sagemaker.create_hyper_parameter_tuning_job(HyperParameterTuningJobName="many", HyperParameterTuningJobConfig=config, TrainingJobDefinitions=many)
    finished(dewfall, "many")
    assert [(one["TrainingJobDefinitionName"], *one["TunedHyperParameters"]) for one in trials(dewfall, "many")] == [
        ("numbers", "x"),
        ("words", "y"),
        ("numbers", "x"),
    ]


def test_a_warm_start_knows_the_best_of_its_parent(dewfall: Server, tune: Tune) -> None:
    parent = tune(name="parent", jobs=3)
    warm = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}], "WarmStartType": "IdenticalDataAndAlgorithm"}
    job = tune(name="child", jobs=1, Strategy="Bayesian", RandomSeed=8, members={"WarmStartConfig": warm})
    best = min((parent["BestTrainingJob"], job["BestTrainingJob"]), key=lambda one: one["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])
    assert job["OverallBestTrainingJob"]["TrainingJobName"] == best["TrainingJobName"]


def warm_from(name: str, kind: str = "TransferLearning") -> dict[str, Any]:
    return {"WarmStartConfig": {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": name}], "WarmStartType": kind}}


def test_a_warm_start_keeps_the_names_and_the_objective(dewfall: Server, tune: Tune) -> None:
    tune(name="parent", jobs=1)
    with pytest.raises(ClientError, match="set of tunable plus static HyperParameter names is not the same"):
        tune(name="child", ranges={**X, **Y}, members=warm_from("parent"))
    with pytest.raises(ClientError, match="objective metric must be the same"):
        tune(name="child", HyperParameterTuningJobObjective={"Type": "Maximize", "MetricName": "loss"}, members=warm_from("parent"))
    with pytest.raises(ClientError, match="parent hyperparameter tuning job nobody does not exist"):
        tune(name="child", members=warm_from("nobody"))


def test_a_warm_start_tunes_what_was_static(dewfall: Server, tune: Tune) -> None:
    tune(name="parent", jobs=1)
    static = {name: value for name, value in definition()["StaticHyperParameters"].items() if name != "n"}
    ranges = {**X, "IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "3"}]}
    job = tune(
        name="child", ranges=ranges, jobs=1, members={"TrainingJobDefinition": definition(StaticHyperParameters=static), **warm_from("parent")}
    )
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert set(job["BestTrainingJob"]["TunedHyperParameters"]) == {"x", "n"}
    assert "OverallBestTrainingJob" not in job


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}}, "Exactly one of ResourceConfig or"),
        (
            {
                "HyperParameterTuningResourceConfig": {
                    "InstanceType": "ml.m5.large",
                    "InstanceConfigs": [{"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5}],
                }
            },
            "InstanceType cannot be specified together with InstanceConfigs",
        ),
    ],
)
def test_resources_are_given_once(tune: Tune, resources: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        tune(members={"TrainingJobDefinition": definition(**resources)})


def test_names_are_taken_once(dewfall: Server, tune: Tune) -> None:
    tune(jobs=1)
    with pytest.raises(ClientError, match="A hyperparameter tuning job with the name, tuning, already exists"):
        tune(jobs=1)
    with pytest.raises(ClientError, match="can't find a tuning job called other"):
        describe(dewfall, "other")


@pytest.mark.slow
def test_hyperband_stops_those_that_lag_behind(tune: Tune) -> None:
    code = SCRIPT.replace("print(", "import time\nfor _ in range(3 if options.x < 0.6 else 10**6): time.sleep(0.05); print(")
    job = tune(code, jobs=8, parallel=2, Strategy="Hyperband", StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}})
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Stopped"] >= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ranges": {}}, "At least one hyperparameter range"),
        ({"ranges": {"IntegerParameterRanges": [{"Name": "n2", "MinValue": "a", "MaxValue": "2"}]}}, "is not an integer"),
        ({"ranges": {"IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "2"}]}}, "must be specified once"),
        ({"Strategy": "Grid", "jobs": None}, "only categorical"),
        ({"jobs": None}, "MaxNumberOfTrainingJobs, MaxRuntimeInSeconds or"),
        ({"jobs": 751, "Strategy": "Bayesian"}, "ResourceLimitExceeded.* is 750 Training Jobs, .* request delta of 751 Training Jobs"),
        ({"jobs": 200, "parallel": 101}, "parallel training jobs per hyperparameter tuning job' is 100 Training Jobs"),
        (
            {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "other"}},
            "A metric is required for this hyperparameter tuning job",
        ),
        (
            {"jobs": 4, "ranges": {"IntegerParameterRanges": [{"Name": "x", "MinValue": "1", "MaxValue": "3"}]}},
            r"enough combinations of hyperparameter ranges\. .* provided ranges \[3\.0\] must be equal or greater than .* MaxNumberOfJobs, \[4\]",
        ),
        ({"Strategy": "Hyperband"}, "MaxResource parameter is not provided and could not be inferred"),
        ({"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}, "must be Off when the strategy is Hyperband"),
        ({"Strategy": "Hyperband", "StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 20001}}}, "must not be greater than 20000"),
    ],
)
def test_wrong_requests_are_refused(dewfall: Server, tune: Tune, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        dewfall.client("sagemaker").create_hyper_parameter_tuning_job(**request(**copy.deepcopy(change)))
