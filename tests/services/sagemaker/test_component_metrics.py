"""Metric summaries and series of trial components."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, pstdev
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dewfall.context import Caller, Ctx, HandClock
from dewfall.engine.ports import Key, Ports, Record
from dewfall.engine.store import SqliteStore
from dewfall.errors import AwsError
from dewfall.services.sagemaker import experiments, metrics
from dewfall.services.sagemaker.metrics import reduce_points
from dewfall.services.sagemaker.trial_components import measure

ACCOUNT = "000000000000"
AT = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = [3.0, 1.0, 4.0, 1.0, 5.0]


def test_a_summary_agrees_with_the_whole_series() -> None:
    component: dict[str, Any] = {}
    for at, value in enumerate(VALUES):
        measure(component, "arn", "loss", value, at)
    (summary,) = component["Metrics"]
    assert summary["Avg"] == pytest.approx(fmean(VALUES))
    assert summary["StdDev"] == pytest.approx(pstdev(VALUES))
    assert (summary["Min"], summary["Max"], summary["Last"], summary["Count"], summary["TimeStamp"]) == (1.0, 5.0, 5.0, 5, 4)


@pytest.mark.parametrize(
    ("stat", "expected"), [("Min", 1.0), ("Max", 5.0), ("Avg", fmean(VALUES)), ("Count", 5.0), ("Last", 5.0), ("StdDev", pstdev(VALUES))]
)
def test_a_period_s_points_become_one_value(stat: str, expected: float) -> None:
    assert reduce_points(VALUES, stat) == pytest.approx(expected)


def test_records_of_an_older_data_folder_are_found_under_their_capitals(tmp_path: Path) -> None:
    clock = HandClock(AT)
    store = SqliteStore(tmp_path / "dewfall.db", clock)
    ctx = Ctx(ACCOUNT, "us-east-1", Caller(ACCOUNT, "arn", "id"), cast(Ports, SimpleNamespace(store=store)), cast(Any, None), clock)
    with store.transaction() as tx:
        for kind, document in (
            ("experiment", {"ExperimentName": "Tides", "ExperimentArn": "arn:experiment/tides"}),
            ("trial-component", {"TrialComponentName": "Fit", "TrialComponentArn": "arn:experiment-trial-component/fit"}),
        ):
            name = next(iter(document.values()))
            tx.records.create(Record(Key(ACCOUNT, "us-east-1", "sagemaker", kind, name), document))
    assert experiments.describe_experiment(ctx, {"ExperimentName": "Tides"})["ExperimentName"] == "Tides"
    with pytest.raises(AwsError, match="already exists"):
        experiments.create_experiment(ctx, {"ExperimentName": "Tides"})
    experiments.create_trial(ctx, {"TrialName": "Neap", "ExperimentName": "Tides"})
    assert [trial["TrialName"] for trial in experiments.list_trials(ctx, {"ExperimentName": "Tides"})["TrialSummaries"]] == ["Neap"]
    point = {"MetricName": "loss", "Timestamp": AT, "Value": 1.0}
    assert metrics.batch_put_metrics(ctx, {"TrialComponentName": "fit", "MetricData": [point]}) == {"Errors": []}
    experiments.delete_trial(ctx, {"TrialName": "NEAP"})
    experiments.delete_experiment(ctx, {"ExperimentName": "Tides"})
    store.close()
