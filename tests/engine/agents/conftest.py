"""Jobs in both ways of running: isolated as far as this machine permits, and not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.agents.jobs import Jobs


@pytest.fixture(params=[True, False], ids=["namespaces", "plain"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Jobs]:
    opened = Jobs(tmp_path / "data", namespaces=request.param)
    yield opened
    opened.close()


@pytest.fixture
def plain_jobs(tmp_path: Path) -> Iterator[Jobs]:
    opened = Jobs(tmp_path / "data", namespaces=False)
    yield opened
    opened.close()


@pytest.fixture
def isolated_jobs(tmp_path: Path) -> Iterator[Jobs]:
    from dewfall.engine.namespaces import probe

    if probe().mode == "none":
        pytest.skip(probe().reason)
    opened = Jobs(tmp_path / "data")
    yield opened
    opened.close()
