"""What a measured load means, and which candidate is best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dewfall.rules.instances import find_instance
from dewfall.rules.recommendation import (
    best_level,
    capacity,
    cost_per_hour,
    cost_per_inference,
    environments,
    obstacle,
    prices,
    ranked,
    serverless_cost,
)

GIB = 1024**3


def level(per_minute: float, p95: int, failures: int = 0) -> dict[str, Any]:
    return {"requests": 1000, "failures": failures, "per_minute": per_minute, "latency": {"P95": p95}}


@pytest.mark.parametrize(
    ("name", "said"), [("ml.m5.large", ""), ("ml.m5.xlarge", "4 vCPUs"), ("ml.g5.xlarge", "1 GPU"), ("ml.r5.xlarge", "32 GiB"), ("ml.z", "nothing")]
)
def test_only_what_fits_is_measured(name: str, said: str) -> None:
    found = obstacle(find_instance(name), name, 2, 16 * GIB)
    assert (said in found, bool(found)) == (True, bool(said))


def test_the_best_level_keeps_the_latency_that_was_asked_for() -> None:
    levels = [level(100, 1000), level(300, 5000), level(900, 3000, failures=500)]
    assert best_level(levels) == levels[1]
    assert best_level(levels, {"Percentile": "P95", "ValueInMilliseconds": 2}) == levels[0]
    assert best_level(levels[2:]) is None


def test_costs_are_those_of_awss_example() -> None:
    assert cost_per_inference(0.204, 648) == pytest.approx(5.2469e-6, rel=1e-4)
    assert serverless_cost(prices(), 2048, 1e6) == pytest.approx(2 * prices()["serverless_gb_second"])


def test_a_users_prices_go_before_ours(tmp_path: Path) -> None:
    own = tmp_path / "prices.json"
    own.write_text('{"region": "eu-west-1", "hourly": {"ml.m5.large": 0.128}}')
    table = prices(str(own))
    assert (table["region"], cost_per_hour(table, "ml.m5.large"), cost_per_hour(table, "ml.m5.xlarge")) == ("eu-west-1", 0.128, 0.23)
    assert cost_per_hour(table, "ml.unknown.large") is None


@pytest.mark.parametrize("text", ["", "[]", '{"hourly": {"ml.m5.large": "free"}}', '{"hourly": {"ml.m5.large": -1}}'])
def test_a_file_that_is_no_price_table_is_refused(tmp_path: Path, text: str) -> None:
    own = tmp_path / "prices.json"
    own.write_text(text)
    with pytest.raises(ValueError, match="price table"):
        prices(str(own))


def test_our_prices_are_those_of_ec2_with_sagemakers_surcharge() -> None:
    """On-demand prices of EC2 in us-east-1, times 1.2 without a GPU; checked against the Price List API where its answers are published."""
    ec2 = {"m5.xlarge": 0.192, "c5.9xlarge": 1.53, "r5.12xlarge": 3.024, "m5d.24xlarge": 5.424, "c5d.18xlarge": 3.456, "t2.medium": 0.0464}
    for name, price in ec2.items():
        assert cost_per_hour(prices(), f"ml.{name}") == pytest.approx(1.2 * price, rel=0.01)


def test_what_reaches_the_request_comes_first_then_the_cheapest() -> None:
    found = [({"CostPerInference": 1.0, "ModelLatency": 1}, True), ({"CostPerInference": 0.5, "ModelLatency": 1}, False)]
    found += [({"CostPerInference": 0.9, "ModelLatency": 9}, True), ({"ModelLatency": 1}, True)]
    assert ranked(found) == [2, 0, 3, 1]


def test_environments_are_combined() -> None:
    assert environments([]) == [{}]
    assert len(environments([{"Name": "A", "Value": ["1", "2"]}, {"Name": "B", "Value": ["1", "2", "3"]}])) == 6


def test_capacity_never_exceeds_what_was_measured() -> None:
    assert capacity(100, 10, 90, {"MaxInvocationsPerMinute": 1000}) == (100, 1, 10)
