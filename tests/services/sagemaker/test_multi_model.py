"""Multi-model endpoints through a real client, with a user's own multi-model server that has room for two models."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from dewfall.testing import running

from .conftest import BUCKET, Hosting, tarball

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/shelf:latest"


class Shelf:
    """An endpoint of models a.tar.gz, b.tar.gz, c.tar.gz."""

    def __init__(self, hosting: Hosting, **members: Any) -> None:
        self.hosting = hosting
        for name in "abc":
            self.put(f"{name}.tar.gz", tarball({"weights.txt": name}))
        hosting.model(container={"Image": IMAGE, "Mode": "MultiModel", "ModelDataUrl": f"s3://{BUCKET}/shelf/", **members})
        hosting.config()
        assert hosting.endpoint()["EndpointStatus"] == "InService"

    def put(self, name: str, body: bytes) -> None:
        self.hosting.s3.put_object(Bucket=BUCKET, Key=f"shelf/{name}", Body=body)

    def ask(self, model: str, body: bytes = b"x") -> dict[str, Any]:
        return self.hosting.ask(body, TargetModel=f"{model}.tar.gz")


@pytest.fixture
def shelf(hosting: Hosting) -> Shelf:
    return Shelf(hosting)


def test_models_load_on_their_first_call_and_the_least_recently_used_one_leaves(shelf: Shelf) -> None:
    assert [shelf.ask(name)["weights"] for name in "abacabc"] == list("abacabc")
    told = shelf.ask("c")
    assert (told["asked"], told["loaded"]) == ("c.tar.gz", 2)
    assert told["path"].startswith("/opt/ml/models/")


def test_artifacts_come_and_go_without_a_deployment(shelf: Shelf) -> None:
    shelf.put("new/d.tar.gz", tarball({"weights.txt": "d"}))
    assert shelf.ask("new/d")["weights"] == "d"
    shelf.hosting.s3.delete_object(Bucket=BUCKET, Key="shelf/new/d.tar.gz")
    assert shelf.ask("new/d")["weights"] == "d"  # still loaded
    for name in "ab":
        shelf.ask(name)
    with pytest.raises(ClientError, match=r"Failed to download model data\(bucket: hosting-tests, key: shelf/new/d.tar.gz\)") as caught:
        shelf.ask("new/d")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_a_bad_model_harms_no_other(shelf: Shelf) -> None:
    shelf.put("bad.tar.gz", b"no archive")
    shelf.put("empty.tar.gz", tarball({"other.txt": ""}))
    for name, said in (("bad", "Failed to extract model data"), ("empty", "a model without weights")):
        with pytest.raises(shelf.hosting.runtime.exceptions.ModelError, match=said):
            shelf.ask(name)
        assert shelf.ask("a")["weights"] == "a"


def test_a_model_that_the_container_has_dropped_is_loaded_again(shelf: Shelf) -> None:
    for name in "ab":
        shelf.ask(name)
    assert shelf.ask("a", b"forget")["weights"] == "a"


def test_without_a_cache_a_model_leaves_after_its_call(hosting: Hosting) -> None:
    shelf = Shelf(hosting, MultiModelConfig={"ModelCacheSetting": "Disabled"})
    told = [shelf.ask(name) for name in "aababba"]
    assert [(answer["weights"], answer["loaded"]) for answer in told] == [(name, 1) for name in "aababba"]


def test_requests_that_name_no_model_or_a_container_are_refused(shelf: Shelf) -> None:
    with pytest.raises(ClientError, match="is missing a target model header"):
        shelf.hosting.ask()
    with pytest.raises(ClientError, match="is not a multi-container endpoint"):
        shelf.hosting.ask(TargetContainerHostname="first")


def test_more_models_at_once_than_there_is_room_for(shelf: Shelf) -> None:
    for name in "de":
        shelf.put(f"{name}.tar.gz", tarball({"weights.txt": name}))
    asked = list("abcde" * 12)
    random.Random(0).shuffle(asked)
    with ThreadPoolExecutor(8) as pool:
        assert [told["weights"] for told in pool.map(shelf.ask, asked)] == asked


def test_without_namespaces_the_container_is_told_where_models_really_lie(images_file: Path) -> None:
    variables = {**os.environ, "DEWFALL_IMAGES": str(images_file), "DEWFALL_NAMESPACES": "0"}
    with running(environment=variables) as server:
        told = Shelf(Hosting(server)).ask("a")
    assert told["weights"] == "a"
    assert told["path"].endswith("/root/opt/ml/models/" + told["path"].split("/")[-2] + "/model")
