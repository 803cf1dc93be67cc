"""The Store on SQLite keeps the contract, and what it committed is there when it is opened again."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dewfall.context import HandClock
from dewfall.engine.store import SqliteStore
from tests.contract.store import StoreContract, create, names

KILLED = """
    import os, signal
    from pathlib import Path
    from dewfall.engine.store import SqliteStore
    from tests.contract.store import create
    create(SqliteStore(Path({path!r})), "kept")
    os.kill(os.getpid(), signal.SIGKILL)
"""


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock(datetime(2025, 6, 1, 12, tzinfo=UTC))

    @pytest.fixture
    def store(self, tmp_path: Path, clock: HandClock) -> Iterator[SqliteStore]:
        opened = SqliteStore(tmp_path / "dewfall.db", clock)
        yield opened
        opened.close()


def test_commits_survive_the_kill_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "dewfall.db"
    subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED).format(path=str(path))], check=False, timeout=60, cwd=Path(__file__).parents[2])
    store = SqliteStore(path)
    assert names(store) == ["kept"]
    store.close()


def test_reset_empties_an_open_store(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "dewfall.db")
    create(store, "a")
    assert names(store) == ["a"]
    store.reset()
    assert names(store) == []
    store.close()


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "dewfall.db")
    store._writer.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(ValueError, match="newer Dewfall"):
        SqliteStore(tmp_path / "dewfall.db")
