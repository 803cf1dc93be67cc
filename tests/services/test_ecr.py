"""ECR repositories as records, by a real client."""

from __future__ import annotations

import json
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


def manifest(number: int, **more: Any) -> str:
    layers = [{"digest": f"sha256:{number:064x}", "size": 100 + number, "mediaType": "layer"}]
    config = {"digest": f"sha256:{number:064x}", "size": 10, "mediaType": "application/vnd.docker.container.image.v1+json"}
    media = "application/vnd.docker.distribution.manifest.v2+json"
    return json.dumps({"schemaVersion": 2, "mediaType": media, "config": config, "layers": layers} | more)


def put(ecr: Any, text: str, tag: str | None = None) -> str:
    tagged = {"imageTag": tag} if tag else {}
    return str(ecr.put_image(repositoryName="model", imageManifest=text, **tagged)["image"]["imageId"]["imageDigest"])


def test_a_tag_is_on_one_image(ecr: Any) -> None:
    ecr.create_repository(repositoryName="model")
    first, second = put(ecr, manifest(1), "v1"), put(ecr, manifest(2), "v2")
    assert put(ecr, manifest(1), "v2") == first
    assert refusal(put, ecr=ecr, text=manifest(1), tag="v2") == "ImageAlreadyExistsException"
    asked = ecr.list_images(repositoryName="model", filter={"tagStatus": "TAGGED"})["imageIds"]
    assert asked == [{"imageDigest": first, "imageTag": "v1"}, {"imageDigest": first, "imageTag": "v2"}]
    assert ecr.list_images(repositoryName="model", filter={"tagStatus": "UNTAGGED"})["imageIds"] == [{"imageDigest": second}]
    one, other = ecr.describe_images(repositoryName="model")["imageDetails"]
    assert (one["imageTags"], one["imageSizeInBytes"]) == (["v1", "v2"], 111)
    assert "imageTags" not in other
    ids = [{"imageTag": "v2"}, {"imageTag": "none"}, {}, {"imageDigest": "sha256:x"}]
    answer = ecr.batch_get_image(repositoryName="model", imageIds=ids)
    assert [image["imageManifest"] for image in answer["images"]] == [manifest(1)]
    assert [failure["failureCode"] for failure in answer["failures"]] == ["ImageNotFound", "MissingDigestAndTag", "InvalidImageDigest"]


def test_tags_that_may_not_move(ecr: Any) -> None:
    ecr.create_repository(repositoryName="model", imageTagMutability="IMMUTABLE")
    put(ecr, manifest(1), "v1")
    assert refusal(put, ecr=ecr, text=manifest(2), tag="v1") == "ImageTagAlreadyExistsException"
    filters = [{"filterType": "WILDCARD", "filter": "v*"}]
    ecr.put_image_tag_mutability(repositoryName="model", imageTagMutability="IMMUTABLE_WITH_EXCLUSION", imageTagMutabilityExclusionFilters=filters)
    put(ecr, manifest(2), "v1")


def test_images_go_with_their_last_tag_or_by_digest(ecr: Any) -> None:
    ecr.create_repository(repositoryName="model")
    digest = put(ecr, manifest(1), "v1")
    put(ecr, manifest(1), "v2")
    assert refusal(ecr.delete_repository, repositoryName="model") == "RepositoryNotEmptyException"
    listed = {"mediaType": "application/vnd.docker.distribution.manifest.list.v2+json", "manifests": [{"digest": digest}]}
    both = put(ecr, json.dumps(listed), "both")

    def delete(*ids: dict[str, str]) -> tuple[int, list[str]]:
        answer = ecr.batch_delete_image(repositoryName="model", imageIds=list(ids))
        return len(answer["imageIds"]), [failure["failureCode"] for failure in answer["failures"]]

    assert delete({"imageTag": "v1"}) == (1, [])
    assert delete({"imageDigest": digest}) == (0, ["ImageReferencedByManifestList"])
    assert delete({"imageDigest": both, "imageTag": "v2"}) == (0, ["ImageNotFound"])
    assert delete({"imageDigest": both}, {"imageTag": "v2"}) == (2, [])
    assert ecr.describe_images(repositoryName="model")["imageDetails"] == []
    put(ecr, manifest(1), "v1")
    ecr.delete_repository(repositoryName="model", force=True)
    ecr.create_repository(repositoryName="model")
    assert ecr.list_images(repositoryName="model")["imageIds"] == []


@pytest.mark.parametrize("text", ["no json", "[]", "{}", manifest(1, config=1), manifest(1, layers=[{}])])
def test_manifests_that_are_none(ecr: Any, text: str) -> None:
    ecr.create_repository(repositoryName="model")
    assert refusal(put, ecr=ecr, text=text) == "InvalidParameterException"


def test_policies_are_checked(ecr: Any) -> None:
    ecr.create_repository(repositoryName="model")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "ecr:CreateRepository"}
    for wrong in ({}, {"Action": "s3:GetObject"}, {"Resource": "*"}, {"Effect": "Maybe"}):
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement | wrong if wrong else {"Effect": "Allow"}]})
        assert refusal(ecr.set_repository_policy, repositoryName="model", policyText=document) == "InvalidParameterException"
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement | {"Resource": "*"}]})
    assert refusal(ecr.get_registry_policy) == "RegistryPolicyNotFoundException"
    assert refusal(ecr.put_registry_policy, policyText=text.replace("CreateRepository", "ListImages")) == "InvalidParameterException"
    ecr.put_registry_policy(policyText=text)
    assert ecr.delete_registry_policy()["policyText"] == text
    rule: dict[str, Any] = {"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 3}}
    rule |= {"action": {"type": "expire"}, "description": "keep the last three images"}
    ecr.put_lifecycle_policy(repositoryName="model", lifecyclePolicyText=json.dumps({"rules": [rule]}))
    assert "lastEvaluatedAt" in ecr.get_lifecycle_policy(repositoryName="model")
    for policy in ({"rules": [rule | {"more": 1}]}, {"rules": [{**rule, "action": {}}]}, {"rules": rule}, [rule]):
        assert refusal(ecr.put_lifecycle_policy, repositoryName="model", lifecyclePolicyText=json.dumps(policy)) == "InvalidParameterException"


def test_what_is_scanned_is_told(ecr: Any) -> None:
    ecr.create_repository(repositoryName="model")
    rule = {"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": [{"filter": "mod", "filterType": "WILDCARD"}]}
    ecr.put_registry_scanning_configuration(scanType="ENHANCED", rules=[rule])
    assert ecr.get_registry_scanning_configuration()["scanningConfiguration"]["rules"] == [rule]
    answer = ecr.batch_get_repository_scanning_configuration(repositoryNames=["model", "none"])
    assert answer["scanningConfigurations"][0]["appliedScanFilters"] == rule["repositoryFilters"]
    assert answer["failures"][0]["failureCode"] == "REPOSITORY_NOT_FOUND"


def test_what_is_not_built_says_so(ecr: Any) -> None:
    assert refusal(ecr.initiate_layer_upload, repositoryName="model") == "NotImplemented"


def test_another_registry_has_repositories_of_its_own(ecr: Any) -> None:
    made = ecr.create_repository(repositoryName="model", registryId="222222222222")["repository"]
    assert (made["registryId"], made["repositoryUri"]) == ("222222222222", "222222222222.dkr.ecr.us-east-1.amazonaws.com/model")
    assert ecr.describe_repositories()["repositories"] == []
    assert [r["repositoryName"] for r in ecr.describe_repositories(registryId="222222222222")["repositories"]] == ["model"]
