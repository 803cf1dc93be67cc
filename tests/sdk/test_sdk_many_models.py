"""MultiDataModel, PipelineModel and inference components of the SageMaker SDK, against a server of the documented command."""

from __future__ import annotations

import sys
from collections import ChainMap
from pathlib import Path
from typing import Any

import pytest

from dewfall.testing_server import Server
from tests.cli.conftest import dewfall_command, port_of
from tests.sdk.conftest import Run

EXAMPLE = Path(__file__).parents[2] / "examples" / "many_models.py"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_many_models_on_one_endpoint(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_many_models.py"))
    assert told["listed"] == ["right.tar.gz", "sub/left.tar.gz"]
    assert told["many"] == [1, 0, 1]
    assert told["missing"] == "ValidationError"
    assert told["chained"] == [0, 1]
    assert (told["component"], told["named"], told["left"]) == (1, True, [])


def test_the_example_of_many_models(sdk_server: Server) -> None:
    said = dewfall_command("exec", "--port", port_of(sdk_server), "--", sys.executable, str(EXAMPLE))
    assert said.returncode == 0, said.stderr
    for text in ("not deployed but stored: 77.0", "double InService 14.0", "triple InService 21.0", "has no capacity to process this request"):
        assert text in said.stdout
