"""Every command, with what it does and with wrong inputs: each complaint says what to do next."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from dewfall.doctor import aws_cli_check
from dewfall.testing_server import Server
from tests.cli.conftest import Tell, port_of


@pytest.mark.parametrize("command", ["down", "status", "reset", "logs x", "tensorboard x", "clarify-check s3://a/b s3://a/c", "exec -- true"])
def test_without_a_server(tell: Tell, free_port: int, command: str) -> None:
    first, *rest = command.split()
    said = tell(first, "--port", str(free_port), *rest)
    assert said.code == 1
    assert said.err == f"dewfall: no server answers at http://127.0.0.1:{free_port}. Start one with `dewfall up --port {free_port}`.\n"


@pytest.mark.parametrize(
    "command", ["down", "status", "reset", "env", "exec", "logs", "tensorboard", "clarify-check", "operations", "doctor", "demo", "up"]
)
def test_help(tell: Tell, command: str) -> None:
    said = tell(command, "--help")
    assert (said.code, said.err) == (0, "")
    assert f"usage: dewfall {command}" in said.out


@pytest.mark.parametrize("port", ["70000", "abc", "-1"])
def test_a_port_that_is_none(tell: Tell, port: str) -> None:
    said = tell("up", f"--port={port}")
    assert said.code == 2
    assert f"'{port}' is no port (0 to 65535)" in said.err


def test_no_command(tell: Tell) -> None:
    alone = tell()
    assert alone.code == 2
    assert "exec -- python script.py" in alone.err
    assert tell("dance").code == 2


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("DEWFALL_PORT", "abc", "DEWFALL_PORT must be a whole number, not 'abc'"),
        ("DEWFALL_PORT", "70000", "DEWFALL_PORT must be a port (0 to 65535), not 70000"),
        ("DEWFALL_AUTH", "maybe", "DEWFALL_AUTH must be one of off, audit, enforce, not 'maybe'"),
        ("DEWFALL_COMPUTE", "cloud", "DEWFALL_COMPUTE must be local or ray://HOST:PORT, not 'cloud'"),
        ("DEWFALL_FSYNC", "2", "DEWFALL_FSYNC must be 1 or 0, not '2'"),
        ("DEWFALL_ACCOUNT", "12", "DEWFALL_ACCOUNT must be an account (12 digits), not '12'"),
        ("DEWFALL_LOG_LEVEL", "LOUD", "DEWFALL_LOG_LEVEL must be one of INFO, DEBUG, WARNING, ERROR, CRITICAL, not 'LOUD'"),
    ],
)
def test_a_setting_that_is_none(tell: Tell, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, complaint: str) -> None:
    monkeypatch.setenv(variable, value)
    said = tell("status")
    assert (said.code, said.err) == (1, f"dewfall: {complaint}")


def test_status(tell: Tell, dewfall: Server) -> None:
    said = tell("status", "--port", port_of(dewfall))
    assert said.code == 0
    assert f"runs at {dewfall.url}: process {dewfall.process.pid}, 0 jobs and replicas" in said.out
    assert f"Data in {dewfall.data}, account 000000000000, region us-east-1, authentication off." in said.out


def test_reset(tell: Tell, dewfall: Server) -> None:
    s3 = dewfall.client("s3")
    s3.create_bucket(Bucket="gone")
    assert tell("reset", "--port", port_of(dewfall)).code == 0
    assert s3.list_buckets()["Buckets"] == []


def test_operations_lists_every_service(tell: Tell) -> None:
    said = tell("operations")
    assert said.code == 0
    for service in ("s3", "sagemaker", "sagemaker-runtime", "logs", "iam", "sts"):
        assert f"│ {service} " in said.out


def test_operations_of_a_service(tell: Tell) -> None:
    said = tell("operations", "sts")
    assert "GetCallerIdentity" in said.out
    assert "dewfall/services/sts.py:" in said.out
    assert "not built (501)" in said.out


def test_an_operation_by_name(tell: Tell) -> None:
    said = tell("operations", "CreateTrainingJob")
    assert said.out.count("CreateTrainingJob") == 1
    assert "executes" in said.out


def test_an_operation_that_does_not_exist(tell: Tell) -> None:
    said = tell("operations", "DescribeTrainingJbo")
    assert said.code == 1
    assert "no service or operation is called DescribeTrainingJbo. Did you mean DescribeTrainingJob" in said.err


def test_doctor(tell: Tell, dewfall: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", dewfall.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://elsewhere:9000")
    said = tell("doctor", "--port", port_of(dewfall))
    assert said.code == 0
    for text in ("points here", "sends one service to http://elsewhere:9000", "namespaces", "free space", f"{dewfall.url}, process"):
        assert text in said.out
    for part in ("Java", "ray", "torch", "Docker"):
        assert part in said.out


@pytest.mark.parametrize(
    ("version", "means"),
    [
        ("aws-cli/2.9.19 Python/3.11.2", "does not know AWS_ENDPOINT_URL"),
        ("aws-cli/1.46.3 Python/3.11.7", "`aws sqs` goes to AWS all the same"),
        ("aws-cli/2.31.0 Python/3.13.7", ""),
    ],
)
def test_doctor_knows_the_aws_cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, means: str) -> None:
    program = tmp_path / "aws"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ((_, here, meaning),) = aws_cli_check()
    assert here == version.split()[0]
    assert means in meaning


def test_doctor_without_anything(tell: Tell, free_port: int) -> None:
    said = tell("doctor", "--port", str(free_port))
    assert "goes to AWS" in said.out
    assert "`dewfall up` starts one" in said.out


def test_logs_of_a_name_that_does_not_exist(tell: Tell, dewfall: Server) -> None:
    said = tell("logs", "--port", port_of(dewfall), "nobody")
    assert said.code == 1
    assert "no log of a job or endpoint called nobody" in said.err


def test_logs_of_an_endpoint(tell: Tell, dewfall: Server) -> None:
    logs = dewfall.client("logs")
    logs.create_log_group(logGroupName="/aws/sagemaker/Endpoints/front")
    logs.create_log_stream(logGroupName="/aws/sagemaker/Endpoints/front", logStreamName="all/i-1")
    now = int(time.time() * 1000)
    events = [{"timestamp": now + n, "message": f"line {n}"} for n in range(3)]
    logs.put_log_events(logGroupName="/aws/sagemaker/Endpoints/front", logStreamName="all/i-1", logEvents=events)
    assert tell("logs", "--port", port_of(dewfall), "front").out == "line 0\nline 1\nline 2\n"


def test_exec_without_a_program(tell: Tell) -> None:
    assert tell("exec").err == "dewfall: what shall run? dewfall exec -- python script.py\n"


def test_exec_of_a_program_that_does_not_exist(tell: Tell, dewfall: Server) -> None:
    said = tell("exec", "--port", port_of(dewfall), "--", "no-such-program")
    assert said.code == 127
    assert said.err == "dewfall: cannot run no-such-program: No such file or directory\n"


def test_exec_returns_the_programs_code(tell: Tell, dewfall: Server) -> None:
    assert tell("exec", "--port", port_of(dewfall), "--", "sh", "-c", "exit 7").code == 7


def test_ephemeral_removes_no_other_files(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    said = tell("up", "--ephemeral", "--data", str(tmp_path))
    assert said.code == 2
    assert "holds other files, which --ephemeral would remove" in said.err


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.168.1.4", "::"])
def test_others_get_in_only_where_signatures_are_enforced(tell: Tell, host: str) -> None:
    said = tell("up", "--host", host)
    assert said.code == 2
    assert "set DEWFALL_AUTH=enforce, or bind to 127.0.0.1" in said.err


def test_the_demo_needs_its_script(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dewfall.demo.SCRIPT", "other.py")
    said = tell("demo")
    assert said.code == 1
    assert "other.py is missing" in said.err


@pytest.mark.parametrize("path", ["/_dewfall/reset", "/_localstack/state/reset", "/moto-api/reset"])
def test_reset_has_the_names_that_others_know(dewfall: Server, path: str) -> None:
    dewfall.client("s3").create_bucket(Bucket="gone")
    assert dewfall.ask(path, method="POST") == {"reset": True}
    assert dewfall.client("s3").list_buckets()["Buckets"] == []


def test_health_is_json_that_others_read(dewfall: Server) -> None:
    found = dewfall.ask("/_localstack/health")
    assert found["services"]["s3"] == "available"
    assert found == json.loads(json.dumps(dewfall.ask("/_dewfall/health")))
