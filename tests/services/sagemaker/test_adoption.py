"""Endpoints that a request looks up: whatever happens to the record meanwhile, no table of a former endpoint is left with the router."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dewfall.context import Caller, Ctx, HandClock
from dewfall.engine.ports import Ports, Record
from dewfall.engine.serving.router import Router
from dewfall.engine.serving.table import Table, Variant
from dewfall.engine.store import SqliteStore
from dewfall.errors import AwsError
from dewfall.services.sagemaker.endpoint_status import endpoint_key
from dewfall.services.sagemaker.runtime import invoke_endpoint

ACCOUNT, REGION = "000000000000", "us-east-1"
KEY = (ACCOUNT, REGION, "churn")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Agents:
    """Compute as far as a lookup asks it: something may happen while it reads which agents there are."""

    meanwhile: list[Callable[[], None]] = field(default_factory=list)

    def agents(self) -> list[str]:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return []


class Scene:
    """A store with the endpoint `churn`, and a router that does not know it."""

    def __init__(self, store: SqliteStore) -> None:
        self.store, self.router, self.compute = store, Router(), Agents()
        ports = cast(Ports, SimpleNamespace(store=store, serving=self.router, compute=self.compute))
        self.ctx = Ctx(ACCOUNT, REGION, Caller(ACCOUNT, "arn", "id"), ports, cast(Any, None), HandClock(NOON))
        self.create("old", 0)

    def create(self, config: str, second: int, **members: Any) -> None:
        variant = {"VariantName": "Main", "Weight": 1.0, "Count": 1, "RoutingConfig": None, "ContainerLabel": "primary"}
        fleet = {"Id": config, "EndpointConfigName": config, "Variants": [{**variant, "Container": {"Mode": "SingleModel"}}]}
        document = {"CreationTime": NOON.replace(second=second), "_Fleet": fleet, **members}
        with self.store.transaction() as tx:
            tx.records.create(Record(endpoint_key(self.ctx, "churn"), document, "InService"))

    def delete(self) -> None:
        """What the endpoint's step does at the end."""
        self.router.drop_endpoint(KEY)
        with self.store.transaction() as tx:
            tx.records.delete(endpoint_key(self.ctx, "churn"))

    def ask(self) -> None:
        """A request; there is no loop that could answer it."""
        with pytest.raises(AwsError, match="Endpoint churn of account 000000000000 not found"):
            invoke_endpoint(self.ctx, {"EndpointName": "churn", "Body": b""})

    @property
    def served(self) -> list[str]:
        """The configurations that the router has variants of."""
        fleet = self.router._fleets.get(KEY)
        return [variant.config for variant in fleet.table.variants] if fleet else []


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    store = SqliteStore(tmp_path / "dewfall.db", HandClock(NOON))
    yield Scene(store)
    store.close()


def test_an_endpoint_that_is_looked_up_is_known(scene: Scene) -> None:
    scene.ask()
    assert scene.served == ["old"]


def test_one_that_is_deleted_meanwhile_leaves_no_table(scene: Scene) -> None:
    scene.compute.meanwhile.append(scene.delete)
    scene.ask()
    assert scene.served == []


def test_one_that_is_being_deleted_leaves_no_table(scene: Scene) -> None:
    def begin() -> None:
        with scene.store.transaction() as tx:
            record = tx.records.get(endpoint_key(scene.ctx, "churn"))
            assert record is not None
            record.status = "Deleting"
            tx.records.save(record)

    scene.compute.meanwhile.append(begin)
    scene.ask()
    assert scene.served == []


def test_one_that_was_made_anew_meanwhile_is_served_by_its_own_table(scene: Scene) -> None:
    def anew() -> None:
        scene.delete()
        scene.create("new", 1)

    scene.compute.meanwhile.append(anew)
    scene.ask()
    assert scene.served == ["new"]


def test_a_table_that_was_put_in_meanwhile_stays(scene: Scene) -> None:
    def anew() -> None:
        scene.delete()
        scene.create("new", 1)
        scene.router.set_endpoint(KEY, Table((Variant("Main", 1.0, (), config="new"),)))

    scene.compute.meanwhile.append(anew)
    scene.ask()
    assert scene.served == ["new"]
