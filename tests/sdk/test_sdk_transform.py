"""The SageMaker SDKs' Transformers from their own environments, against a server of the documented command."""

from __future__ import annotations

from collections import ChainMap
from typing import Any

import pytest

from tests.sdk.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_the_transformer_of_version_2(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v2", "v2_transform.py"))
    assert (told["ids"], told["classes"]) == (["0", "1", "2", "3"], [0, 0, 1, 1])
    assert told["plain"] == 4
    assert (told["attached"], told["payload"]) == (True, 1)
    assert told["error"] == "UnexpectedStatusException"
    assert "Reason: ClientError: See job logs for more information" in told["reason"]


def test_the_transformer_of_version_3(run_script: Run) -> None:
    told: Any = ChainMap(*run_script("v3", "v3_transform.py"))
    assert (told["ids"], told["classes"]) == (["0", "1", "2", "3"], [0, 0, 1, 1])
    assert (told["jobs"], told["status"]) == (1, "Completed")
