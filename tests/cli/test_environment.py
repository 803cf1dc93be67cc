"""The variables of `dewfall env`: quoted, the user's own kept, root's keys where signatures are enforced."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dewfall.accounts import account_of_key
from dewfall.environment import exports
from dewfall.settings import Settings
from dewfall.testing_server import Server, running
from tests.cli.conftest import Tell, dewfall_command, port_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "data")


def test_endpoint_region_and_keys(settings: Settings) -> None:
    found = exports(settings, {})
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert found["AWS_DISABLE_HOST_PREFIX_INJECTION"] == found["AWS_EC2_METADATA_DISABLED"] == "true"
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == "us-east-1"
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]) == ("000000000000", "dewfall")


def test_what_the_shell_has_is_kept(settings: Settings) -> None:
    own = {"AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "mine", "AWS_DEFAULT_REGION": "eu-west-1", "NO_PROXY": "intra.example"}
    found = exports(settings, own)
    assert {name: found[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")} == {
        "AWS_ACCESS_KEY_ID": "111122223333",
        "AWS_SECRET_ACCESS_KEY": "mine",
        "AWS_REGION": "eu-west-1",
    }
    assert found["NO_PROXY"] == "intra.example,127.0.0.1,localhost,::1"


def test_the_sdk_knows_its_bucket_without_asking(settings: Settings) -> None:
    found = exports(settings, {"AWS_ACCESS_KEY_ID": "111122223333", "AWS_REGION": "eu-west-1"})
    text = Path(found["SAGEMAKER_ADMIN_CONFIG_OVERRIDE"]).read_text()
    assert "DefaultS3Bucket: sagemaker-eu-west-1-111122223333" in text
    assert "TelemetryOptOut: true" in text


def test_a_switch_that_hides_the_endpoint_is_turned_back(settings: Settings) -> None:
    assert exports(settings, {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"})["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] == "false"
    assert "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS" not in exports(settings, {})


def test_roots_keys_where_signatures_are_enforced(settings: Settings) -> None:
    settings.data.mkdir()
    (settings.data / "root-credentials.json").write_text(json.dumps({"AccessKeyId": "AKIAROOT", "SecretAccessKey": "secret"}))
    assert exports(settings, {})["AWS_ACCESS_KEY_ID"] == "000000000000"
    enforced = exports(replace(settings, auth="enforce"), {})
    assert (enforced["AWS_ACCESS_KEY_ID"], enforced["AWS_SECRET_ACCESS_KEY"]) == ("AKIAROOT", "secret")
    assert exports(replace(settings, auth="enforce"), {"AWS_ACCESS_KEY_ID": "AKIAMINE"})["AWS_ACCESS_KEY_ID"] == "AKIAMINE"


def test_a_shell_reads_what_is_printed(tell: Tell, monkeypatch: pytest.MonkeyPatch, dewfall: Server) -> None:
    secret = 'it\'s "$HOME" and `true`; \\n'
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    said = tell("env", "--port", port_of(dewfall))
    assert all(shlex.split(line)[0] == "export" for line in said.out.splitlines())
    shell = subprocess.run(
        ["sh", "-c", said.out + 'printf "%s|%s" "$AWS_SECRET_ACCESS_KEY" "$AWS_ENDPOINT_URL"'], capture_output=True, text=True, check=True
    )
    assert shell.stdout == f"{secret}|{dewfall.url}"


def test_env_without_a_server_warns_and_prints(tell: Tell, free_port: int) -> None:
    said = tell("env", "--port", str(free_port))
    assert said.code == 0
    assert "no server answers" in said.err
    assert f"export AWS_ENDPOINT_URL=http://127.0.0.1:{free_port}\n" in said.out


def test_a_server_that_enforces_hands_its_key_to_its_owners_shell() -> None:
    with running(environment=os.environ | {"DEWFALL_AUTH": "enforce"}) as server:
        port = port_of(server)
        said = dewfall_command("env", "--port", port)
        keys = json.loads((server.data / "root-credentials.json").read_text())
        assert f"export AWS_ACCESS_KEY_ID={keys['AccessKeyId']}\n" in said.stdout
        script = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
        assert dewfall_command("exec", "--port", port, "--", sys.executable, "-c", script).stdout == "000000000000\n"
        refused = dewfall_command("exec", "--port", port, "--", sys.executable, "-c", script, AWS_ACCESS_KEY_ID="wrong", AWS_SECRET_ACCESS_KEY="x")
        assert "InvalidClientTokenId" in refused.stderr


def test_keys_of_another_accounts_owner(settings: Settings) -> None:
    shell = {"AWS_ACCESS_KEY_ID": "111111111111"}
    assert exports(settings, shell)["AWS_ACCESS_KEY_ID"] == "111111111111"
    first, second = (exports(replace(settings, auth="enforce"), shell) for _ in range(2))
    assert account_of_key(first["AWS_ACCESS_KEY_ID"], "") == "111111111111"
    assert (first["AWS_ACCESS_KEY_ID"], first["AWS_SECRET_ACCESS_KEY"]) == (second["AWS_ACCESS_KEY_ID"], second["AWS_SECRET_ACCESS_KEY"])
