"""Lifecycle configurations and code repositories: made, told, listed, changed, deleted, and refused in AWS's words."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing_server import Server

SCRIPT = [{"Content": base64.b64encode(b"echo hello").decode()}]
ARN = "arn:aws:sagemaker:us-east-1:000000000000:notebook-instance-lifecycle-config/lc"


@pytest.fixture
def sagemaker(dewfall: Server) -> Any:
    return dewfall.client("sagemaker")


def refusal(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_lifecycle_config_of_notebooks(sagemaker: Any) -> None:
    name = {"NotebookInstanceLifecycleConfigName": "lc"}
    made = sagemaker.create_notebook_instance_lifecycle_config(**name, OnStart=SCRIPT, Tags=[{"Key": "a", "Value": "b"}])
    assert made["NotebookInstanceLifecycleConfigArn"] == ARN
    assert sagemaker.list_tags(ResourceArn=ARN)["Tags"] == [{"Key": "a", "Value": "b"}]
    sagemaker.update_notebook_instance_lifecycle_config(**name, OnCreate=SCRIPT)
    told = sagemaker.describe_notebook_instance_lifecycle_config(**name)
    assert (told["OnStart"], told["OnCreate"]) == (SCRIPT, SCRIPT)
    [listed] = sagemaker.list_notebook_instance_lifecycle_configs(NameContains="l")["NotebookInstanceLifecycleConfigs"]
    assert "OnStart" not in listed
    sagemaker.delete_notebook_instance_lifecycle_config(**name)
    assert sagemaker.list_notebook_instance_lifecycle_configs()["NotebookInstanceLifecycleConfigs"] == []


def test_lifecycle_config_is_refused_in_aws_words(sagemaker: Any) -> None:
    name = {"NotebookInstanceLifecycleConfigName": "lc"}
    missing = "(Details: Notebook Instance Lifecycle Config does not exist.)"
    told = refusal(sagemaker.describe_notebook_instance_lifecycle_config, **name)
    assert told == ("ValidationException", f"Unable to describe Notebook Instance Lifecycle Config '{ARN}'. {missing}")
    sagemaker.create_notebook_instance_lifecycle_config(**name)
    taken = "(Details: Notebook Instance Lifecycle Config already exists.)"
    told = refusal(sagemaker.create_notebook_instance_lifecycle_config, **name)
    assert told == ("ValidationException", f"Unable to create Notebook Instance Lifecycle Config {ARN}. {taken}")


def test_lifecycle_config_of_studio(sagemaker: Any) -> None:
    name = {"StudioLifecycleConfigName": "s"}
    content = SCRIPT[0]["Content"]
    sagemaker.create_studio_lifecycle_config(**name, StudioLifecycleConfigContent=content, StudioLifecycleConfigAppType="JupyterLab")
    assert sagemaker.describe_studio_lifecycle_config(**name)["StudioLifecycleConfigContent"] == content
    assert len(sagemaker.list_studio_lifecycle_configs(AppTypeEquals="JupyterLab")["StudioLifecycleConfigs"]) == 1
    assert sagemaker.list_studio_lifecycle_configs(AppTypeEquals="JupyterServer")["StudioLifecycleConfigs"] == []
    sagemaker.delete_studio_lifecycle_config(**name)
    assert refusal(sagemaker.describe_studio_lifecycle_config, **name)[0] == "ResourceNotFound"


def test_code_repository(sagemaker: Any) -> None:
    name, git = {"CodeRepositoryName": "repo"}, {"RepositoryUrl": "https://git.example.com/x.git", "Branch": "main"}
    sagemaker.create_code_repository(**name, GitConfig=git)
    assert refusal(sagemaker.create_code_repository, **name, GitConfig=git)[0] == "ValidationException"
    secret = "arn:aws:secretsmanager:us-east-1:000000000000:secret:git"
    sagemaker.update_code_repository(**name, GitConfig={"SecretArn": secret})
    assert sagemaker.describe_code_repository(**name)["GitConfig"] == git | {"SecretArn": secret}
    assert [entry["CodeRepositoryName"] for entry in sagemaker.list_code_repositories()["CodeRepositorySummaryList"]] == ["repo"]
    sagemaker.delete_code_repository(**name)
    assert refusal(sagemaker.describe_code_repository, **name)[0] == "ValidationException"
