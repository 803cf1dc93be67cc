"""Jobs that name instance types in order of priority."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import IMAGE, ROLE, Jobs

CONFIG = "import pathlib\nprint(pathlib.Path('/opt/ml/input/config/resourceconfig.json').read_text())"


def types(*names: str, **members: Any) -> list[dict[str, Any]]:
    return [{"InstanceType": f"ml.{name}", **members} for name in names]


def test_a_training_job_runs_on_the_first_type(jobs: Jobs) -> None:
    asked = {"InstancePreferences": types("m5.xlarge", "m5.large"), "InstanceCount": 1, "VolumeSizeInGB": 5}
    found = jobs.train(CONFIG, ResourceConfig=asked)
    assert found["TrainingJobStatus"] == "Completed"
    assert found["ResourceConfig"] == asked | {"SelectedInstanceType": "ml.m5.xlarge", "SelectedInstanceCount": 1}
    assert json.loads(jobs.logs()["algo-1"][-1])["current_instance_type"] == "ml.m5.xlarge"
    component = jobs.sagemaker.describe_trial_component(TrialComponentName="job-aws-training-job")
    assert component["Parameters"]["SageMaker.InstanceType"] == {"StringValue": "ml.m5.xlarge"}


def test_each_type_may_have_its_own_count(jobs: Jobs) -> None:
    preferences = [*types("m5.large", InstanceCount=2), *types("m5.xlarge", InstanceCount=1)]
    found = jobs.train(CONFIG, ResourceConfig={"InstancePreferences": preferences, "VolumeSizeInGB": 5})
    assert (found["ResourceConfig"]["SelectedInstanceCount"], sorted(jobs.logs())) == (2, ["algo-1", "algo-2"])


def test_processing_jobs_have_preferences_too(jobs: Jobs) -> None:
    asked = {"InstancePreferences": types("m5.large", "m5.xlarge"), "InstanceCount": 1, "VolumeSizeInGB": 5}
    application = {"ImageUri": IMAGE, "ContainerEntrypoint": ["true"]}
    resources = {"ClusterConfig": asked}
    jobs.sagemaker.create_processing_job(ProcessingJobName="job", RoleArn=ROLE, AppSpecification=application, ProcessingResources=resources)
    jobs.sagemaker.get_waiter("processing_job_completed_or_stopped").wait(ProcessingJobName="job", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    found = jobs.sagemaker.describe_processing_job(ProcessingJobName="job")["ProcessingResources"]["ClusterConfig"]
    assert found == asked | {"SelectedInstanceType": "ml.m5.large", "SelectedInstanceCount": 1}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"InstanceType": "ml.m5.large", "InstanceCount": 1}, "mutually exclusive with InstanceType"),
        ({"InstancePreferences": types("m5.large", "m5.large"), "InstanceCount": 1}, "can appear only once"),
        ({"InstancePreferences": [*types("m5.large", InstanceCount=1), *types("c5.xlarge")]}, "either for each .* or once"),
        ({"InstancePreferences": types("m5.large", InstanceCount=1), "InstanceCount": 1}, "either for each .* or once"),
        ({}, "at least 1"),
        ({"InstanceCount": 21}, "ResourceLimitExceeded.* request delta of 21 Instances"),
        ({"InstanceCount": 1, "SelectedInstanceType": "ml.m5.large"}, "SelectedInstanceType is read-only"),
    ],
)
def test_wrong_preferences_are_refused(jobs: Jobs, members: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match=said):
        jobs.create(CONFIG, ResourceConfig={"InstancePreferences": types("m5.large"), "VolumeSizeInGB": 5} | members)


def test_spot_training_has_no_preferences(jobs: Jobs) -> None:
    stopping = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    resources = {"InstancePreferences": types("m5.large"), "InstanceCount": 1, "VolumeSizeInGB": 5}
    with pytest.raises(ClientError, match="mutually exclusive with EnableManagedSpotTraining"):
        jobs.create(CONFIG, ResourceConfig=resources, EnableManagedSpotTraining=True, StoppingCondition=stopping)
