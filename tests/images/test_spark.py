"""smspark-submit: its options, the job's configuration, and what spark-submit is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dewfall.images import spark


def test_the_sdks_command_line_is_understood() -> None:
    words = ["--local-spark-event-logs-dir", "/logs", "--py-files", "/a,/b", "/code/app.py", "--rows", "3", "--py-files", "x"]
    options, application = spark.parse(words)
    assert (options.local_spark_event_logs_dir, options.py_files) == ("/logs", "/a,/b")
    assert application == ["/code/app.py", "--rows", "3", "--py-files", "x"]


def test_configurations_become_settings_and_variables() -> None:
    settings: dict[str, str] = {}
    environment: dict[str, str] = {}
    export = {"Classification": "export", "Properties": {"A": "b"}}
    for one in (
        {"Classification": "spark-defaults", "Properties": {"spark.executor.memory": "2g"}},
        {"Classification": "core-site", "Properties": {"io.file.buffer.size": 1}},
        {"Classification": "spark-env", "Properties": {}, "Configurations": [export]},
    ):
        spark.apply(one, settings, environment)
    assert (settings, environment) == ({"spark.executor.memory": "2g", "spark.hadoop.io.file.buffer.size": "1"}, {"A": "b"})


def test_folders_are_given_by_their_files(tmp_path: Path) -> None:
    for name in ("b.py", "a.py"):
        (tmp_path / name).touch()
    assert spark.expand(f"{tmp_path},/x.zip", tmp_path) == [f"{tmp_path}/a.py", f"{tmp_path}/b.py", "/x.zip"]


def test_only_the_first_host_runs_spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "config/resourceconfig.json", {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]})
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    assert spark.main(["app.py"]) == 0
    assert "Spark runs on algo-1" in capsys.readouterr().out


def test_shards_that_spark_would_miss_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyspark")
    monkeypatch.setenv("JAVA_HOME", "/somewhere")
    write(tmp_path / "config/resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]})
    one = {"InputName": "data", "S3Input": {"S3DataDistributionType": "ShardedByS3Key"}}
    write(tmp_path / "config/processingjobconfig.json", {"ProcessingInputs": [one]})
    assert "Input data is sharded over 2 hosts" in spark.missing(tmp_path)


def write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def test_an_application_that_fails_is_told_as_aws_s_image_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setattr(spark, "missing", lambda home: "")  # neither Spark nor Java is needed here
    monkeypatch.setattr(spark, "enter_private", lambda home: None)
    monkeypatch.setattr(spark, "submission", lambda *asked: (["bash", "-c", "exit 1"], {}))
    assert spark.main(["app.py"]) == 1
    told = (tmp_path / "output/message").read_text()
    assert told.startswith("Algorithm Error: (caused by CalledProcessError)")
    assert "returned non-zero exit status 1" in told
