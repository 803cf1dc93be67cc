"""Defaults of the SageMaker SDKs inside a job: its bucket is known without asking STS at a host that the SDK writes out, nothing is reported to AWS.

Why a file and a variable: it is how an administrator sets them; the user's own defaults override them.
"""

from __future__ import annotations

from dewfall.context import Ctx

FILE = "sdk-defaults.yaml"
VARIABLE = "SAGEMAKER_ADMIN_CONFIG_OVERRIDE"
TEXT = """SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
      Session:
        DefaultS3Bucket: sagemaker-{region}-{account}
"""


def defaults_file(ctx: Ctx, folder: str) -> dict[str, str]:
    """The file, by its path in the container."""
    return {f"{folder}/{FILE}": TEXT.format(region=ctx.region, account=ctx.account)}


def defaults_variable(folder: str) -> dict[str, str]:
    """The variable that names it."""
    return {VARIABLE: f"{folder}/{FILE}"}
