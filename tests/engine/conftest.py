"""A store over a temporary folder with a clock that a test moves, and surroundings for steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dewfall.context import Caller, Ctx, HandClock
from dewfall.engine.ports import Ports
from dewfall.engine.store import SqliteStore

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(NOON)


@pytest.fixture
def store(tmp_path: Path, clock: HandClock) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "dewfall.db", clock)
    yield opened
    opened.close()


@pytest.fixture
def make_ctx(store: SqliteStore, clock: HandClock) -> Callable[[str, str], Ctx]:
    ports = cast(Ports, SimpleNamespace(store=store))

    def refuse(ctx: Ctx, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError(f"{service}:{operation} was called")

    return lambda account, region: Ctx(account, region, Caller(account, "arn", "id"), ports, refuse, clock)
