"""What a processing job runs, from its AppSpecification."""

from __future__ import annotations

from typing import Any

import pytest

from dewfall.services.sagemaker.processing_spec import IN_PROCESS, processing_command, s3_outputs
from dewfall.services.sagemaker.training_spec import PRIVATE_SHELL


@pytest.mark.parametrize(
    ("application", "command"),
    [
        ({"ContainerEntrypoint": ["python3", "/a/b.py"], "ContainerArguments": ["-x"]}, (*IN_PROCESS, "/a/b.py", "-x")),
        ({"ContainerEntrypoint": ["/miniconda3/bin/python", "/a/b.py"]}, (*IN_PROCESS, "/a/b.py")),
        ({"ContainerEntrypoint": ["/usr/bin/python3.9", "-m", "tool"]}, (*PRIVATE_SHELL, "python3", "-m", "tool")),
        ({"ContainerEntrypoint": ["/bin/bash", "run.sh"]}, (*PRIVATE_SHELL, "/bin/bash", "run.sh")),
        ({"ContainerArguments": ["--fast"]}, (*PRIVATE_SHELL, "./clean", "--fast")),
    ],
)
def test_commands_run_where_packages_are_their_own(application: dict[str, Any], command: tuple[str, ...]) -> None:
    assert processing_command(application, ("./clean",)) == command


def test_the_application_looks_after_its_own_outputs() -> None:
    outputs = [
        {"OutputName": "mine", "AppManaged": True, "S3Output": {"S3Uri": "s3://b/x", "S3UploadMode": "EndOfJob"}},
        {"OutputName": "ours", "S3Output": {"S3Uri": "s3://b/y", "LocalPath": "/opt/ml/processing/out/", "S3UploadMode": "EndOfJob"}},
    ]
    assert [(name, path) for name, path, _ in s3_outputs({"ProcessingOutputConfig": {"Outputs": outputs}})] == [("ours", "/opt/ml/processing/out")]
