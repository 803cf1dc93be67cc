"""The variables that point AWS clients at this server: what `dewfall env`, `exec`, `activate` and the demo set.

What plain variables cannot cover (hosts that the SageMaker SDK writes out) is the proxy's part.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dewfall.accounts import owner_file, root_credentials
from dewfall.settings import Settings

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def exports(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Endpoint, region, keys, and the SDK defaults that keep it from asking real AWS hosts.

    Keys and region that the shell has already are kept. The account is the access key's where that has 12 digits; where signatures are
    enforced, such a key becomes that of the account's owner.
    """
    env = os.environ if environ is None else environ
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or settings.region
    key = env.get("AWS_ACCESS_KEY_ID") or settings.account
    account = key if len(key) == 12 and key.isdigit() else settings.account
    secret = env.get("AWS_SECRET_ACCESS_KEY") or "dewfall"
    named = bool(env.get("AWS_ACCESS_KEY_ID"))
    if settings.auth == "enforce" and ((named and key == account) or (not named and owner_file(settings.data, account, account).exists())):
        kept = root_credentials(settings.data, account, settings.account)
        key, secret = kept["AccessKeyId"], kept["SecretAccessKey"]
    ignored = {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"} if env.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") else {}
    return ignored | {
        "AWS_ENDPOINT_URL": settings.endpoint,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",  # a live tail asks for the host `stream-127.0.0.1`, which nobody has
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(write_sdk_defaults(settings.data / "sdk-defaults", region, account)),
        "NO_PROXY": no_proxy(env.get("NO_PROXY") or env.get("no_proxy") or ""),
        "no_proxy": no_proxy(env.get("NO_PROXY") or env.get("no_proxy") or ""),
    }


def clients(settings: Settings, *services: str) -> dict[str, Any]:
    """Clients of the running server for the command line, by service."""
    import botocore.session
    from botocore.config import Config

    variables = exports(settings)
    session = botocore.session.get_session()
    keys = {"aws_access_key_id": variables["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"]}
    where = {"endpoint_url": settings.endpoint, "region_name": variables["AWS_REGION"], "config": Config(s3={"addressing_style": "path"})}
    return {service: session.create_client(service, **where, **keys) for service in services}


def no_proxy(current: str) -> str:
    """The hosts that go past any proxy: the user's own and this machine."""
    hosts = [host for host in current.split(",") if host]
    return ",".join([*hosts, *(host for host in LOCAL_HOSTS if host not in hosts)])


def write_sdk_defaults(folder: Path, region: str, account: str) -> Path:
    """A defaults file for the SageMaker SDKs: the default bucket is known without asking STS, and nothing is reported to AWS.

    It takes the administrator's place, so that the user's own defaults are read too and override it.
    """
    text = (
        "SchemaVersion: '1.0'\n"
        "SageMaker:\n"
        "  PythonSDK:\n"
        "    Modules:\n"
        "      TelemetryOptOut: true\n"
        "      Session:\n"
        f"        DefaultS3Bucket: sagemaker-{region}-{account}\n"
    )
    file = folder / f"{region}-{account}.yaml"
    if not file.exists() or file.read_text() != text:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return file
