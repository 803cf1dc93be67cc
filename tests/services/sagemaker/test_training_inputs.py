"""Which file of a channel an S3 object becomes, and how commands come about."""

from __future__ import annotations

import pytest

from dewfall.services.sagemaker.input_sources import InputError, relative_path
from dewfall.services.sagemaker.training_spec import training_command

COMMAND = ("python", "-m", "dewfall.images.training")


@pytest.mark.parametrize(
    ("key", "prefix", "path"),
    [
        ("data/train/a.csv", "data/train", "a.csv"),
        ("data/train/a.csv", "data/train/", "a.csv"),
        ("data/train/x/a.csv", "data/train", "x/a.csv"),
        ("data/train.csv", "data/train.csv", "train.csv"),
        ("data/train-1.csv", "data/train", "train-1.csv"),
        ("train-1.csv", "tr", "train-1.csv"),
        ("a.csv", "", "a.csv"),
        ("data/train/", "data/train/", ""),
        ("data//a.csv", "data/", "a.csv"),
    ],
)
def test_an_object_appears_below_its_prefix(key: str, prefix: str, path: str) -> None:
    assert relative_path(key, prefix) == path


def test_a_key_that_leaves_the_channel_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be a file name"):
        relative_path("data/../etc/passwd", "data/")


def test_the_image_s_own_command_runs_by_default() -> None:
    assert training_command({}, COMMAND) == COMMAND


def test_an_entry_point_replaces_the_image_s() -> None:
    asked = {"ContainerEntrypoint": ["/bin/bash"], "ContainerArguments": ["-c", "true"]}
    assert training_command(asked, COMMAND) == ("/bin/bash", "-c", "true")


def test_arguments_alone_replace_train() -> None:
    assert training_command({"ContainerArguments": ["--fast"]}, ("python", "-m", "algorithm", "train")) == ("python", "-m", "algorithm", "--fast")
