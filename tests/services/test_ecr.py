"""ECR repositories as records, by a real client."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing_server import Server


@pytest.fixture
def ecr(dewfall: Server) -> Any:
    return dewfall.client("ecr")


def refusal(call: Any, **request: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return str(caught.value.response["Error"]["Code"])


def test_a_repository_lives_and_dies(ecr: Any) -> None:
    made = ecr.create_repository(repositoryName="team/model", tags=[{"Key": "a", "Value": "b"}])["repository"]
    assert made["repositoryUri"] == "000000000000.dkr.ecr.us-east-1.amazonaws.com/team/model"
    assert ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"] == [{"Key": "a", "Value": "b"}]
    assert refusal(ecr.create_repository, repositoryName="team/model") == "RepositoryAlreadyExistsException"
    ecr.delete_repository(repositoryName="team/model")
    assert refusal(ecr.list_images, repositoryName="team/model") == "RepositoryNotFoundException"


def test_settings_and_policies_are_kept(ecr: Any) -> None:
    ecr.create_repository(repositoryName="model")
    ecr.put_image_tag_mutability(repositoryName="model", imageTagMutability="IMMUTABLE")
    assert ecr.describe_repositories(repositoryNames=["model"])["repositories"][0]["imageTagMutability"] == "IMMUTABLE"
    assert refusal(ecr.get_repository_policy, repositoryName="model") == "RepositoryPolicyNotFoundException"
    ecr.set_repository_policy(repositoryName="model", policyText='{"Version": "2012-10-17", "Statement": []}')
    assert refusal(ecr.set_repository_policy, repositoryName="model", policyText='{"Version": "2012-10-17"}') == "InvalidParameterException"
    assert "Statement" in ecr.get_repository_policy(repositoryName="model")["policyText"]
    ecr.delete_repository_policy(repositoryName="model")
    assert refusal(ecr.delete_repository_policy, repositoryName="model") == "RepositoryPolicyNotFoundException"


def test_what_is_not_built_says_so(ecr: Any) -> None:
    assert refusal(ecr.put_image, repositoryName="model", imageManifest="{}") == "NotImplemented"


def test_another_registry_has_repositories_of_its_own(ecr: Any) -> None:
    made = ecr.create_repository(repositoryName="model", registryId="222222222222")["repository"]
    assert (made["registryId"], made["repositoryUri"]) == ("222222222222", "222222222222.dkr.ecr.us-east-1.amazonaws.com/model")
    assert ecr.describe_repositories()["repositories"] == []
    assert [r["repositoryName"] for r in ecr.describe_repositories(registryId="222222222222")["repositories"]] == ["model"]
