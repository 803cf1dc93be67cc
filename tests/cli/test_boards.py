"""`dewfall tensorboard`: what it shows, and what it says when there is nothing to show."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from dewfall.boards import NoBoard, copy_new, find_sources
from dewfall.testing import Server
from tests.cli.conftest import Tell
from tests.stories.test_training_story import BUCKET, Train, train, until

__all__ = ["train"]


def test_without_tensorboard_it_says_what_to_install(tell: Tell, dewfall: Server) -> None:
    if importlib.util.find_spec("tensorboard"):
        pytest.skip("TensorBoard is installed here")
    said = tell("tensorboard", "--port", dewfall.url.rpartition(":")[2])
    assert (said.code, said.err) == (1, "dewfall: TensorBoard is not installed here: pip install 'dewfall[tensorboard]'\n")


def test_jobs_and_folders_are_found(dewfall: Server, train: Train, tmp_path: Path) -> None:
    sagemaker = dewfall.client("sagemaker")
    with pytest.raises(NoBoard, match="no training job has a TensorBoardOutputConfig"):
        find_sources(sagemaker, [])
    train("pass", "plain")
    train("pass", "board", TensorBoardOutputConfig={"S3OutputPath": f"s3://{BUCKET}/boards/"})
    prefix = f"s3://{BUCKET}/boards/board/tensorboard-output/"
    assert find_sources(sagemaker, []) == {"board": prefix}
    assert find_sources(sagemaker, ["board", str(tmp_path)]) == {"board": prefix, tmp_path.name: str(tmp_path)}
    with pytest.raises(NoBoard, match="the training job plain has no TensorBoardOutputConfig"):
        find_sources(sagemaker, ["plain"])
    with pytest.raises(NoBoard, match="no training job called nothing"):
        find_sources(sagemaker, ["nothing"])


def test_only_what_has_grown_is_copied_again(dewfall: Server, tmp_path: Path) -> None:
    s3 = dewfall.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for key in ("p/run/events.1", "p/run/events.2", "p/../escape"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"abc")
    assert copy_new(s3, f"s3://{BUCKET}/p/", tmp_path) == 2
    s3.put_object(Bucket=BUCKET, Key="p/run/events.2", Body=b"abcdef")
    assert copy_new(s3, f"s3://{BUCKET}/p/", tmp_path) == 1
    assert (tmp_path / "run" / "events.2").read_bytes() == b"abcdef"


@pytest.mark.slow
def test_the_real_tensorboard_shows_a_job(dewfall: Server, train: Train, free_port: int) -> None:
    pytest.importorskip("tensorboard")
    code = """
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
writer = EventFileWriter('/opt/ml/output/tensorboard')
writer.add_event(Event(step=1, wall_time=1.0, summary=Summary(value=[Summary.Value(tag='loss', simple_value=0.5)])))
writer.close()
"""
    train(code, "board", TensorBoardOutputConfig={"S3OutputPath": f"s3://{BUCKET}/boards"})
    words = ["-m", "dewfall", "tensorboard", "--port", dewfall.url.rpartition(":")[2], "--board-port", str(free_port), "board"]
    board = subprocess.Popen([sys.executable, *words])
    try:
        until(lambda: "board" in _tags(free_port))
        assert "loss" in _tags(free_port)["board"]
    finally:
        board.terminate()
        board.wait(90)


def _tags(port: int) -> Any:
    import json

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/plugin/scalars/tags") as answer:
            return json.load(answer)
    except OSError:
        return {}
